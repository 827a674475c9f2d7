// SPDX-License-Identifier: GPL-2.0
//! Random sequences against the naive GIC.

use mvirt_abi::LINE_PULSE;
use mvirt_hyp::vgic::VTIMER;
use proptest::prelude::*;

use crate::migrate;
use crate::naive::NR_IRQS;
use crate::rig::Rig;

const VCPUS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Enter(usize),
    Leave(usize),
    Line(usize, u32, u64),
    Resample(u32, bool),
    Timer(usize, bool),
    Sgi(usize, u64, bool),
    Acknowledge(usize),
    End(usize),
    Deactivate(usize, usize),
    Interface(usize, u8, [bool; 2]),
    Distributor(usize, [bool; 2]),
    Bit(usize, u32, Register),
    Priority(usize, u32, u8),
    Config(usize, u32, bool),
    Route(usize, u32, usize),
    Check,
}

#[derive(Clone, Copy, Debug)]
enum Register {
    Group(bool),
    Enable(bool),
    Pending(bool),
    Active(bool),
}

/// A few private ones and a few SPIs, so that they meet.
fn intid() -> impl Strategy<Value = u32> {
    prop_oneof![
        0u32..4,
        Just(16u32),
        Just(20),
        Just(VTIMER),
        32u32..44,
        62u32..66,
        Just(95u32)
    ]
}

fn priority() -> impl Strategy<Value = u8> {
    (0u8..8).prop_map(|n| n << 5)
}

fn groups() -> impl Strategy<Value = [bool; 2]> {
    prop_oneof![4 => Just([true; 2]), 1 => any::<[bool; 2]>()]
}

fn op() -> impl Strategy<Value = Op> {
    let cpu = || 0..VCPUS;
    let register = prop_oneof![
        any::<bool>().prop_map(Register::Group),
        prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Register::Enable),
        any::<bool>().prop_map(Register::Pending),
        any::<bool>().prop_map(Register::Active),
    ];
    let mask = prop_oneof![4 => Just(0xf8u8), 1 => priority()];
    let level = prop_oneof![3 => Just(1u64), 3 => Just(0), 1 => Just(LINE_PULSE)];
    prop_oneof![
        3 => cpu().prop_map(Op::Enter),
        1 => cpu().prop_map(Op::Leave),
        8 => (cpu(), intid(), level).prop_map(|(c, i, l)| Op::Line(c, i, l)),
        2 => (intid(), prop_oneof![3 => Just(true), 1 => Just(false)])
            .prop_map(|(i, w)| Op::Resample(i, w)),
        2 => (cpu(), any::<bool>()).prop_map(|(c, l)| Op::Timer(c, l)),
        4 => (cpu(), any::<u64>(), any::<bool>()).prop_map(|(c, v, q)| Op::Sgi(c, v, q)),
        10 => cpu().prop_map(Op::Acknowledge),
        8 => cpu().prop_map(Op::End),
        5 => (cpu(), 0usize..4).prop_map(|(c, n)| Op::Deactivate(c, n)),
        1 => (cpu(), mask, groups()).prop_map(|(c, m, g)| Op::Interface(c, m, g)),
        1 => (cpu(), groups()).prop_map(|(c, g)| Op::Distributor(c, g)),
        8 => (cpu(), intid(), register).prop_map(|(c, i, r)| Op::Bit(c, i, r)),
        2 => (cpu(), intid(), priority()).prop_map(|(c, i, p)| Op::Priority(c, i, p)),
        1 => (cpu(), intid(), any::<bool>()).prop_map(|(c, i, e)| Op::Config(c, i, e)),
        2 => (cpu(), intid(), cpu()).prop_map(|(c, i, t)| Op::Route(c, i, t)),
        1 => Just(Op::Check),
    ]
}

fn apply(rig: &mut Rig<'static>, op: &Op) {
    match *op {
        Op::Enter(cpu) => {
            rig.enter(cpu);
            rig.settle(0, |_| ());
        }
        Op::Leave(cpu) => {
            rig.leave(cpu);
            rig.settle(0, |_| ());
        }
        Op::Line(cpu, intid, level) if intid >= 16 && intid != VTIMER => {
            let wake = rig.vgic.set_line(cpu as u64, intid.into(), level).unwrap();
            rig.settle(wake, |naive| {
                if level == LINE_PULSE {
                    naive.set_line(cpu, intid, true);
                }
                naive.set_line(cpu, intid, level == 1);
            });
        }
        Op::Line(..) => {}
        Op::Resample(intid, wanted) => {
            let done = rig.vgic.set_resampled(intid.into(), wanted.into());
            assert_eq!(done.is_ok(), intid >= 32);
            rig.settle(0, |naive| {
                naive.irq(0, intid).resampled = wanted && intid >= 32;
            });
        }
        Op::Timer(cpu, level) => rig.set_timer(cpu, level),
        Op::Sgi(cpu, value, quick) => {
            // To CPUs that there are, of the INTIDs that the rest uses; or to itself.
            let targets = if quick { 1 << cpu } else { value & 7 };
            let irm = if quick { 0 } else { value & 1 << 40 };
            rig.sgi(cpu, value & 3 << 24 | targets | irm, quick);
        }
        Op::Acknowledge(cpu) if rig.inside[cpu] => {
            rig.acknowledge(cpu);
        }
        Op::End(cpu) if rig.inside[cpu] => {
            rig.end(cpu);
        }
        Op::Acknowledge(_) | Op::End(_) => {}
        Op::Deactivate(cpu, n) => {
            // Any CPU deactivates what any CPU ended; a private one its own.
            let whose = if n < VCPUS { n } else { cpu };
            if !rig.inside[cpu] || rig.dropped[whose].is_empty() {
                return;
            }
            let at = n % rig.dropped[whose].len();
            if whose == cpu || rig.dropped[whose][at] >= 32 {
                let intid = rig.dropped[whose].remove(at);
                rig.deactivate(cpu, intid);
            }
        }
        Op::Interface(cpu, mask, groups) => rig.set_interface(cpu, mask, groups),
        Op::Distributor(cpu, groups) => {
            let value = u32::from(groups[0]) | u32::from(groups[1]) << 1;
            let wake = rig.write(cpu, 32, 0, value);
            rig.settle(wake, |naive| naive.groups = groups);
        }
        Op::Bit(cpu, intid, register) => bit(rig, cpu, intid, register),
        Op::Priority(cpu, intid, priority) => {
            // With EOImode 0 an active one keeps its priority: it says in which order they end.
            if !rig.split && rig.naive.see(cpu, intid).active {
                return;
            }
            let aligned = u64::from(intid & !3);
            let shift = 8 * (intid % 4);
            let old = rig.read(cpu, intid, 0x400 + aligned);
            let value = old & !(0xff << shift) | u32::from(priority) << shift;
            let wake = rig.write(cpu, intid, 0x400 + aligned, value);
            rig.settle(wake, |naive| naive.irq(cpu, intid).priority = priority);
        }
        Op::Config(cpu, intid, edge) => {
            let at = 0xc00 + u64::from(intid / 16) * 4;
            let bit = 1 << (intid % 16 * 2 + 1);
            let old = rig.read(cpu, intid, at);
            let value = if edge { old | bit } else { old & !bit };
            let wake = rig.write(cpu, intid, at, value);
            rig.settle(wake, |naive| {
                if intid >= 32 {
                    naive.irq(cpu, intid).edge = edge;
                }
            });
        }
        Op::Route(cpu, intid, target) if intid >= 32 => {
            let wake = rig.write(cpu, intid, 0x6000 + u64::from(intid) * 8, target as u32);
            rig.settle(wake, |naive| naive.irq(cpu, intid).target = target);
        }
        Op::Route(..) => {}
        Op::Check => rig.check_registers(),
    }
}

fn bit(rig: &mut Rig<'static>, cpu: usize, intid: u32, register: Register) {
    let (offset, set) = match register {
        Register::Group(set) => (0x80, set),
        Register::Enable(set) => (if set { 0x100 } else { 0x180 }, true),
        Register::Pending(set) => (if set { 0x200 } else { 0x280 }, true),
        // With EOImode 0 the order of ends says which one is meant: no active state out of the blue.
        Register::Active(_) if !rig.split => return,
        Register::Active(set) => (if set { 0x300 } else { 0x380 }, true),
    };
    let at = offset + u64::from(intid / 32) * 4;
    let mut value = u32::from(set) << (intid % 32);
    if offset == 0x80 {
        value |= rig.read(cpu, intid, at) & !(1 << (intid % 32));
    }
    let wake = rig.write(cpu, intid, at, value);
    rig.settle(wake, |naive| {
        let irq = naive.irq(cpu, intid);
        match register {
            Register::Group(set) => irq.group1 = set,
            Register::Enable(set) => irq.enabled = set,
            Register::Pending(set) => irq.latch = set,
            Register::Active(true) => irq.active = true,
            Register::Active(false) => naive.deactivate(cpu, intid),
        }
    });
}

/// All vCPUs inside, with all groups open and everything enabled.
fn start(nr_lrs: usize, split: bool) -> Rig<'static> {
    let mut rig = Rig::new(VCPUS, nr_lrs, split);
    apply(&mut rig, &Op::Distributor(0, [true; 2]));
    for cpu in 0..VCPUS {
        apply(&mut rig, &Op::Interface(cpu, 0xf8, [true; 2]));
        apply(&mut rig, &Op::Enter(cpu));
        for intid in 0..NR_IRQS {
            bit(&mut rig, cpu, intid, Register::Enable(true));
        }
    }
    rig
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn agrees_with_the_naive_gic(
        nr_lrs in prop_oneof![2 => 1usize..3, 2 => Just(4usize), 1 => Just(16usize)],
        split in any::<bool>(),
        ops in proptest::collection::vec(op(), 1..300),
    ) {
        let mut rig = start(nr_lrs, split);
        for op in &ops {
            apply(&mut rig, op);
        }
        rig.check_registers();
        migrate::check(&mut rig);
    }
}
