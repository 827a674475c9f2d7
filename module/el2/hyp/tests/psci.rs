// SPDX-License-Identifier: GPL-2.0
//! The PSCI relay between a host that calls at random and a firmware that is slow and refuses.
//!
//! The machine here is a few CPUs, each of which runs the host, is in a call that the firmware has
//! not worked on yet, has an answer that EL2 has not worked in yet, or is off. A step moves one of
//! them, so that calls of different CPUs overlap in every way that the lock around the relay
//! allows. The firmware is written from the specification; it checks what it is given, and knows
//! which request of the host each power-up goes back to. What the relay answers is compared with
//! what the truth of the machine demands.

use mvirt_hyp::psci::{
    Action, Arrival, EntryPoint, Firmware, Identifier, Relay, ReturnCode, State, Then,
};
use proptest::prelude::*;

const EL2: u64 = 0x4_0000_1000;
const MPIDRS: [u64; 3] = [0x0, 0x1, 0x100];
const CPU_ON: u32 = 0xc400_0003;
const CPU_OFF: u32 = 0x8400_0002;
const CPU_SUSPEND: u32 = 0xc400_0001;
const AFFINITY_INFO: u32 = 0xc400_0004;
const POWER_DOWN: u64 = 1 << 16;

/// What a CPU is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    /// Runs the host.
    Host,
    /// Made an SMC; `wanted` is the entry point that the host gave with it, if any.
    Calling {
        regs: [u64; 4],
        then: Then,
        wanted: Option<EntryPoint>,
    },
    /// The firmware is done with it, and EL2 is about to get the answer.
    Answered { x0: u64, then: Then },
    /// Off, or powered down in a suspend.
    Off,
    /// On its way to EL2's entry, because of the request for this entry point.
    PoweringUp {
        wanted: EntryPoint,
        context: u64,
        is_resume: bool,
    },
}

struct Machine {
    relay: Relay,
    cpus: [Doing; MPIDRS.len()],
    /// The entry point of the suspend that a CPU is powered down in.
    asleep: [Option<(EntryPoint, u64)>; MPIDRS.len()],
}

/// What may happen next.
#[derive(Clone, Debug)]
enum Step {
    /// The host on a CPU calls CPU_ON.
    On {
        cpu: usize,
        target: u64,
        entry: EntryPoint,
    },
    /// The host on a CPU calls CPU_OFF.
    Off { cpu: usize },
    /// The host on a CPU calls CPU_SUSPEND.
    Suspend {
        cpu: usize,
        power_down: bool,
        entry: EntryPoint,
    },
    /// The host on a CPU asks for a state.
    Info { cpu: usize, target: u64 },
    /// The firmware works on a CPU's call, and refuses it if it may and `refuses`.
    Firmware { cpu: usize, refuses: bool },
    /// EL2 gets the firmware's answer.
    Return { cpu: usize },
    /// A core that is powering up reaches EL2, or a suspended one is woken.
    Up { cpu: usize },
}

fn is_ram(pc: u64) -> bool {
    (0x8000_0000..0xc000_0000).contains(&pc)
}

fn is_good(entry: &EntryPoint) -> bool {
    is_ram(entry.pc) && entry.pc % 4 == 0
}

fn code(code: ReturnCode) -> u64 {
    code.to_x0()
}

impl Machine {
    fn new() -> Machine {
        let firmware = Firmware {
            version: 0x1_0000,
            extended_state: false,
            entry: EL2,
        };
        let mut relay = Relay::new(&MPIDRS, firmware).unwrap();
        assert!(relay.adopt(0));
        assert!(relay.adopt(1));
        let cpus = [Doing::Host, Doing::Host, Doing::Off];
        Machine {
            relay,
            cpus,
            asleep: [None; MPIDRS.len()],
        }
    }

    fn decide(
        &mut self,
        cpu: usize,
        id: u32,
        x: [u64; 3],
        wanted: Option<EntryPoint>,
    ) -> Option<u64> {
        let id = Identifier::decode(id).unwrap();
        match self.relay.decide(cpu, id, x, is_ram) {
            Action::Answer(x0) => Some(x0),
            Action::Call { regs, then } => {
                self.cpus[cpu] = Doing::Calling { regs, then, wanted };
                None
            }
        }
    }

    /// Whether a CPU_ON for `target` is anywhere between the host's call and the core's arrival.
    fn on_pending(&self, target: usize) -> bool {
        let called = self.cpus.iter().any(|doing| match doing {
            Doing::Calling {
                regs,
                then: Then::CpuOn(_),
                ..
            } => regs[1] == MPIDRS[target],
            _ => false,
        });
        called
            || matches!(
                self.cpus[target],
                Doing::PoweringUp {
                    is_resume: false,
                    ..
                }
            )
    }

    fn call_on(&mut self, cpu: usize, target: u64, entry: EntryPoint) {
        let slot = MPIDRS.iter().position(|m| *m == target);
        // What the truth of the machine demands, where it demands one answer.
        let demanded = match slot {
            None => Some(ReturnCode::InvalidParameters),
            Some(_) if !is_good(&entry) => Some(ReturnCode::InvalidAddress),
            Some(slot) => match self.cpus[slot] {
                Doing::Host => Some(ReturnCode::AlreadyOn),
                Doing::Calling { then, .. } | Doing::Answered { then, .. }
                    if !matches!(then, Then::Off(_)) =>
                {
                    Some(ReturnCode::AlreadyOn)
                }
                Doing::PoweringUp {
                    is_resume: true, ..
                } => Some(ReturnCode::AlreadyOn),
                Doing::Off if self.asleep[slot].is_some() => Some(ReturnCode::AlreadyOn),
                _ if self.on_pending(slot) => Some(ReturnCode::OnPending),
                _ => None,
            },
        };
        let got = self.decide(cpu, CPU_ON, [target, entry.pc, entry.x0], Some(entry));
        if let Some(demanded) = demanded {
            assert_eq!(got, Some(code(demanded)), "CPU_ON of {target:#x}");
        } else if let Some(x0) = got {
            // Answered without the firmware: only because the refusal of an earlier attempt is on
            // its way to the CPU that made it.
            let refusal = self.cpus.iter().any(|doing| match doing {
                Doing::Answered {
                    x0,
                    then: Then::CpuOn(_),
                } => *x0 != 0,
                _ => false,
            });
            assert_eq!(x0, code(ReturnCode::OnPending), "CPU_ON of {target:#x}");
            assert!(refusal, "CPU_ON of {target:#x}");
        }
    }

    fn call_info(&mut self, cpu: usize, target: u64) {
        let got = self.decide(cpu, AFFINITY_INFO, [target, 0, 0], None);
        let Some(slot) = MPIDRS.iter().position(|m| *m == target) else {
            assert_eq!(got, Some(code(ReturnCode::InvalidParameters)));
            return;
        };
        match self.cpus[slot] {
            // The host runs there: on. (`cpu` itself may be the target, and is still in the call.)
            Doing::Host => assert_eq!(got, Some(0)),
            Doing::PoweringUp { is_resume, .. } => {
                assert_eq!(got, Some(if is_resume { 0 } else { 2 }));
            }
            Doing::Off if self.asleep[slot].is_some() => assert_eq!(got, Some(0)),
            _ => {}
        }
    }

    /// The firmware works on the call of `cpu`.
    fn firmware(&mut self, cpu: usize, refuses: bool) {
        let Doing::Calling { regs, then, wanted } = self.cpus[cpu] else {
            return;
        };
        let x0 = match u32::try_from(regs[0]).unwrap() {
            CPU_ON => {
                let target = MPIDRS
                    .iter()
                    .position(|m| *m == regs[1])
                    .expect("a known core");
                assert_eq!(regs[2], EL2, "the host's entry point reached the firmware");
                assert_eq!(regs[3], target as u64);
                match self.cpus[target] {
                    _ if refuses => code(ReturnCode::InternalFailure),
                    Doing::Off if self.asleep[target].is_none() => {
                        let wanted = wanted.expect("CPU_ON comes from the host");
                        self.cpus[target] = Doing::PoweringUp {
                            wanted,
                            context: regs[3],
                            is_resume: false,
                        };
                        0
                    }
                    Doing::PoweringUp {
                        is_resume: false, ..
                    } => {
                        panic!("two CPU_ONs for one core are with the firmware")
                    }
                    _ => code(ReturnCode::AlreadyOn),
                }
            }
            CPU_OFF if refuses => code(ReturnCode::Denied),
            CPU_OFF => {
                self.cpus[cpu] = Doing::Off;
                return;
            }
            CPU_SUSPEND => {
                assert_eq!(regs[2], EL2, "the host's entry point reached the firmware");
                assert_eq!(regs[3], cpu as u64);
                if !refuses && regs[1] & POWER_DOWN != 0 {
                    let wanted = wanted.expect("a power-down state has an entry point");
                    self.asleep[cpu] = Some((wanted, regs[3]));
                    self.cpus[cpu] = Doing::Off;
                    return;
                }
                0
            }
            AFFINITY_INFO => {
                let target = MPIDRS
                    .iter()
                    .position(|m| *m == regs[1])
                    .expect("a known core");
                match self.cpus[target] {
                    Doing::Off if self.asleep[target].is_none() => 1,
                    _ => 0,
                }
            }
            other => panic!("{other:#x} reached the firmware"),
        };
        self.cpus[cpu] = Doing::Answered { x0, then };
    }

    /// The core of `cpu` reaches EL2.
    fn up(&mut self, cpu: usize) {
        if let (Doing::Off, Some((wanted, context))) = (self.cpus[cpu], self.asleep[cpu].take()) {
            self.cpus[cpu] = Doing::PoweringUp {
                wanted,
                context,
                is_resume: true,
            };
        }
        let Doing::PoweringUp {
            wanted,
            context,
            is_resume,
        } = self.cpus[cpu]
        else {
            return;
        };
        let expected = Arrival {
            entry: wanted,
            is_resume,
            watch_first_write: true,
        };
        assert_eq!(
            self.relay.enter(context),
            Ok(expected),
            "CPU {cpu} starts elsewhere"
        );
        self.cpus[cpu] = Doing::Host;
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::On { cpu, target, entry } if self.cpus[cpu] == Doing::Host => {
                self.call_on(cpu, target, entry);
            }
            Step::Off { cpu } if self.cpus[cpu] == Doing::Host => {
                assert_eq!(self.decide(cpu, CPU_OFF, [0; 3], None), None);
            }
            Step::Suspend {
                cpu,
                power_down,
                entry,
            } if self.cpus[cpu] == Doing::Host => {
                let power_state = if power_down { POWER_DOWN } else { 0 };
                let x = [power_state, entry.pc, entry.x0];
                let wanted = is_good(&entry).then_some(entry);
                let got = self.decide(cpu, CPU_SUSPEND, x, wanted);
                let refused = power_down && !is_good(&entry);
                assert_eq!(got, refused.then_some(code(ReturnCode::InvalidAddress)));
            }
            Step::Info { cpu, target } if self.cpus[cpu] == Doing::Host => {
                self.call_info(cpu, target);
            }
            Step::Firmware { cpu, refuses } => self.firmware(cpu, refuses),
            Step::Return { cpu } => {
                if let Doing::Answered { x0, then } = self.cpus[cpu] {
                    assert_eq!(
                        self.relay.complete(then, x0),
                        x0,
                        "the answer is the firmware's"
                    );
                    self.cpus[cpu] = Doing::Host;
                }
            }
            Step::Up { cpu } => self.up(cpu),
            _ => {}
        }
    }

    /// What must hold between any two steps.
    fn check(&self) {
        for (n, doing) in self.cpus.iter().enumerate() {
            let state = self.relay.state(n).unwrap();
            let ok = match doing {
                Doing::Host => state == State::Online,
                Doing::Calling { then, .. } | Doing::Answered { then, .. } => match then {
                    Then::Pass | Then::CpuOn(_) => state == State::Online,
                    Then::Off(_) => matches!(state, State::Offline | State::OnPending { .. }),
                    Then::Suspend(_) => matches!(state, State::Suspended { .. }),
                },
                Doing::Off if self.asleep[n].is_some() => matches!(state, State::Suspended { .. }),
                Doing::Off => {
                    matches!(state, State::Offline | State::OnPending { .. })
                }
                Doing::PoweringUp {
                    is_resume: true, ..
                } => {
                    matches!(state, State::Suspended { .. })
                }
                Doing::PoweringUp { wanted, .. } => {
                    matches!(state, State::OnPending { entry, .. } if entry == *wanted)
                }
            };
            assert!(ok, "CPU {n} is {doing:?}, but the relay says {state:?}");
        }
    }

    /// Lets everything that is under way come to an end, without refusals.
    fn settle(&mut self) {
        for _ in 0..4 {
            for cpu in 0..MPIDRS.len() {
                self.firmware(cpu, false);
                self.check();
                self.step(&Step::Return { cpu });
                self.check();
                self.up(cpu);
                self.check();
            }
        }
    }
}

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
    let power_down = any::<bool>();
    prop_oneof![
        3 => (cpu(), target(), entry()).prop_map(|(cpu, target, entry)| Step::On { cpu, target, entry }),
        2 => cpu().prop_map(|cpu| Step::Off { cpu }),
        1 => (cpu(), power_down, entry())
            .prop_map(|(cpu, power_down, entry)| Step::Suspend { cpu, power_down, entry }),
        1 => (cpu(), target()).prop_map(|(cpu, target)| Step::Info { cpu, target }),
        4 => (cpu(), prop::bool::weighted(0.3))
            .prop_map(|(cpu, refuses)| Step::Firmware { cpu, refuses }),
        3 => cpu().prop_map(|cpu| Step::Return { cpu }),
        2 => cpu().prop_map(|cpu| Step::Up { cpu }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving(steps in prop::collection::vec(step(), 1..200)) {
        let mut machine = Machine::new();
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
