// SPDX-License-Identifier: GPL-2.0
//! The PSCI relay between a host that calls at random and a firmware that is slow and refuses.
//!
//! The machine here is a few CPUs, each of which runs the host, is in a call that the firmware has
//! not worked on yet, has an answer that EL2 has not worked in yet, or is off. A step moves one of
//! them, so that calls of different CPUs overlap in every way that the lock around the relay
//! allows. The firmware is written from the specification; it checks what it is given, and knows
//! which request of the host each power-up goes back to. What the relay answers is compared with
//! what the truth of the machine demands.

mod machine;

use machine::{Doing, Machine, Step, EL2, MPIDRS};
use mvirt_hyp::psci::{Action, EntryPoint, Firmware, Identifier, Relay};
use proptest::prelude::*;

fn cpu() -> impl Strategy<Value = usize> {
    0..MPIDRS.len()
}

fn target() -> impl Strategy<Value = u64> {
    prop_oneof![9 => prop::sample::select(&MPIDRS[..]), 1 => Just(0x2), 1 => Just(0x1_0000_0001)]
}

fn entry() -> impl Strategy<Value = EntryPoint> {
    let pc = prop_oneof![
        8 => (0x2000_0000u64..0x3000_0000).prop_map(|pc| pc * 4),
        1 => Just(0x8000_0002),
        1 => Just(0xc000_0000),
        1 => Just(0),
    ];
    (pc, any::<u64>()).prop_map(|(pc, x0)| EntryPoint { pc, x0 })
}

fn step() -> impl Strategy<Value = Step> {
    let choice = any::<bool>;
    prop_oneof![
        3 => (cpu(), target(), entry())
            .prop_map(|(cpu, target, entry)| Step::On { cpu, target, entry }),
        2 => (cpu(), choice()).prop_map(|(cpu, freeze)| Step::Off { cpu, freeze }),
        2 => (cpu(), choice(), choice(), entry()).prop_map(|(cpu, power_down, for_all, entry)| {
            Step::Suspend { cpu, power_down, for_all, entry }
        }),
        2 => (cpu(), choice(), entry())
            .prop_map(|(cpu, system, entry)| Step::Down { cpu, system, entry }),
        1 => (cpu(), choice()).prop_map(|(cpu, osi)| Step::Mode { cpu, osi }),
        1 => (cpu(), target()).prop_map(|(cpu, target)| Step::Info { cpu, target }),
        6 => (cpu(), prop::bool::weighted(0.3), prop::bool::weighted(0.3)).prop_map(
            |(cpu, refuses, interrupted)| Step::Firmware { cpu, refuses, interrupted }),
        3 => cpu().prop_map(|cpu| Step::Return { cpu }),
        2 => cpu().prop_map(|cpu| Step::Up { cpu }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving(
        extended_state in any::<bool>(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut machine = Machine::new(extended_state);
        for step in &steps {
            machine.step(step);
            machine.check();
        }
        machine.settle();
        // Nothing is stuck: whoever is off can be turned on again by whoever is not, if anybody is.
        if let Some(caller) = machine.cpus.iter().position(|doing| *doing == Doing::Host) {
            let entry = EntryPoint { pc: 0x8000_0000, x0: 7 };
            for (slot, target) in MPIDRS.into_iter().enumerate() {
                if machine.cpus[slot] != Doing::Host {
                    machine.step(&Step::On { cpu: caller, target, entry });
                    machine.settle();
                }
                prop_assert_eq!(machine.cpus[slot], Doing::Host);
            }
        }
    }

    #[test]
    fn no_call_reaches_the_firmware_with_the_host_s_entry(
        id in prop_oneof![0x8400_0000u32..0x8400_0020, 0xc400_0000u32..0xc400_0020],
        x in any::<[u64; 3]>(),
        target in target(),
        extended_state in any::<bool>(),
    ) {
        let firmware = Firmware { version: 0x1_0003, extended_state, entry: EL2 };
        let mut relay = Relay::new(&MPIDRS, firmware).unwrap();
        prop_assert!(relay.adopt(0));
        let takes_entry: &[(u32, usize)] = &[(1, 2), (3, 2), (12, 1), (14, 1)];
        let id = Identifier::decode(id).unwrap();
        for x in [x, [target, x[1] & !3, x[2]], [x[0] & !3, x[1], x[2]]] {
            let action = relay.clone().decide(0, id, x, |_| true);
            let Action::Call { regs, .. } = action else { continue };
            let number = (regs[0] & 0x1f) as u32;
            if let Some((_, at)) = takes_entry.iter().find(|(n, _)| *n == number) {
                prop_assert_eq!(regs[*at], EL2);
                prop_assert!(regs[*at + 1] < MPIDRS.len() as u64);
                prop_assert_eq!(regs[0] >> 30, 3, "the SMC64 form");
            }
        }
    }
}
