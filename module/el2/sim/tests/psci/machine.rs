// SPDX-License-Identifier: GPL-2.0
//! The machine: its CPUs, its firmware, and the relay between the two.

use mvirt_hyp::psci::{
    Action, Arrival, EntryPoint, Firmware, Identifier, Relay, ReturnCode, State, Then,
};

pub const EL2: u64 = 0x4_0000_1000;
pub const MPIDRS: [u64; 3] = [0x0, 0x1, 0x100];
const CPU_ON: u32 = 0xc400_0003;
const CPU_OFF: u32 = 0x8400_0002;
const CPU_SUSPEND: u32 = 0xc400_0001;
const AFFINITY_INFO: u32 = 0xc400_0004;
const CPU_FREEZE: u32 = 0x8400_000b;
const CPU_DEFAULT_SUSPEND: u32 = 0xc400_000c;
const SYSTEM_SUSPEND: u32 = 0xc400_000e;
const SET_SUSPEND_MODE: u32 = 0x8400_000f;
/// The power level of a power_state argument in the original format; the tests use it in both.
const LEVEL_1: u64 = 1 << 24;

/// What a CPU is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doing {
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

/// The machine.
pub struct Machine {
    relay: Relay,
    /// What tells a power-down state, by the firmware's format of power_state.
    power_down: u64,
    /// The mode that the host has set: it coordinates idle states itself.
    osi: bool,
    pub cpus: [Doing; MPIDRS.len()],
    /// The entry point of the suspend that a CPU is powered down in.
    asleep: [Option<(EntryPoint, u64)>; MPIDRS.len()],
}

/// What may happen next.
#[derive(Clone, Debug)]
pub enum Step {
    /// The host on a CPU calls CPU_ON.
    On {
        cpu: usize,
        target: u64,
        entry: EntryPoint,
    },
    /// The host on a CPU calls CPU_OFF or CPU_FREEZE.
    Off { cpu: usize, freeze: bool },
    /// The host on a CPU calls CPU_SUSPEND, for itself or for what it shares power with.
    Suspend {
        cpu: usize,
        power_down: bool,
        for_all: bool,
        entry: EntryPoint,
    },
    /// The host on a CPU calls a function that only powers down: SYSTEM_SUSPEND or
    /// CPU_DEFAULT_SUSPEND.
    Down {
        cpu: usize,
        system: bool,
        entry: EntryPoint,
    },
    /// The host on a CPU says who coordinates idle states.
    Mode { cpu: usize, osi: bool },
    /// The host on a CPU asks for a state.
    Info { cpu: usize, target: u64 },
    /// The firmware works on a CPU's call, and refuses it if it may and `refuses`; a suspend that is
    /// not refused may return at once, as if an interrupt had come.
    Firmware {
        cpu: usize,
        refuses: bool,
        interrupted: bool,
    },
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
    /// With two CPUs that run the host and one that is off.
    pub fn new(extended_state: bool) -> Machine {
        let firmware = Firmware {
            version: 0x1_0000,
            extended_state,
            entry: EL2,
        };
        let mut relay = Relay::new(&MPIDRS, firmware).unwrap();
        assert!(relay.adopt(0));
        assert!(relay.adopt(1));
        let cpus = [Doing::Host, Doing::Host, Doing::Off];
        Machine {
            relay,
            power_down: if extended_state { 1 << 30 } else { 1 << 16 },
            osi: false,
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

    /// Whether all CPUs but this one are off, or powered down in a suspend if `asleep` counts.
    fn others_are_down(&self, cpu: usize, asleep: bool) -> bool {
        (0..MPIDRS.len())
            .filter(|n| *n != cpu)
            .all(|n| self.cpus[n] == Doing::Off && (asleep || self.asleep[n].is_none()))
    }

    /// The firmware powers a CPU down, from where it resumes.
    fn sleep(&mut self, cpu: usize, wanted: Option<EntryPoint>, entry: u64, context: u64) {
        assert_eq!(entry, EL2, "the host's entry point reached the firmware");
        assert_eq!(context, cpu as u64);
        let wanted = wanted.expect("a power-down state has an entry point");
        self.asleep[cpu] = Some((wanted, context));
        self.cpus[cpu] = Doing::Off;
    }

    /// The firmware works on the call of `cpu`.
    fn firmware(&mut self, cpu: usize, refuses: bool, interrupted: bool) {
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
            CPU_OFF | CPU_FREEZE if refuses => code(ReturnCode::Denied),
            CPU_OFF | CPU_FREEZE => {
                self.cpus[cpu] = Doing::Off;
                return;
            }
            CPU_SUSPEND => {
                assert_eq!(regs[2], EL2, "the host's entry point reached the firmware");
                assert_eq!(regs[3], cpu as u64);
                let last = self.others_are_down(cpu, true);
                // A host that coordinates must not ask for what its other CPUs still use.
                let early = self.osi && regs[1] & LEVEL_1 != 0 && !last;
                match regs[1] & self.power_down != 0 {
                    _ if early || refuses => code(ReturnCode::Denied),
                    true if !interrupted => return self.sleep(cpu, wanted, regs[2], regs[3]),
                    _ => 0,
                }
            }
            CPU_DEFAULT_SUSPEND | SYSTEM_SUSPEND => {
                let system = regs[0] == u64::from(SYSTEM_SUSPEND);
                if refuses || (system && !self.others_are_down(cpu, false)) {
                    code(ReturnCode::Denied)
                } else if interrupted {
                    0
                } else {
                    return self.sleep(cpu, wanted, regs[1], regs[2]);
                }
            }
            SET_SUSPEND_MODE if refuses => code(ReturnCode::NotSupported),
            SET_SUSPEND_MODE => {
                self.osi = regs[1] == 1;
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

    /// Moves on by one step, if it can be done now.
    pub fn step(&mut self, step: &Step) {
        match *step {
            Step::On { cpu, target, entry } if self.cpus[cpu] == Doing::Host => {
                self.call_on(cpu, target, entry);
            }
            Step::Off { cpu, freeze } if self.cpus[cpu] == Doing::Host => {
                let id = if freeze { CPU_FREEZE } else { CPU_OFF };
                assert_eq!(self.decide(cpu, id, [0; 3], None), None);
            }
            Step::Mode { cpu, osi } if self.cpus[cpu] == Doing::Host => {
                let x = [u64::from(osi), 0, 0];
                assert_eq!(self.decide(cpu, SET_SUSPEND_MODE, x, None), None);
            }
            Step::Down { cpu, system, entry } if self.cpus[cpu] == Doing::Host => {
                let id = if system {
                    SYSTEM_SUSPEND
                } else {
                    CPU_DEFAULT_SUSPEND
                };
                let got = self.decide(cpu, id, [entry.pc, entry.x0, 0], Some(entry));
                let refused = !is_good(&entry);
                assert_eq!(got, refused.then_some(code(ReturnCode::InvalidAddress)));
            }
            Step::Suspend {
                cpu,
                power_down,
                for_all,
                entry,
            } if self.cpus[cpu] == Doing::Host => {
                let state = if power_down { self.power_down } else { 0 };
                let power_state = state | if for_all { LEVEL_1 } else { 0 };
                let x = [power_state, entry.pc, entry.x0];
                let wanted = is_good(&entry).then_some(entry);
                let got = self.decide(cpu, CPU_SUSPEND, x, wanted);
                let refused = power_down && !is_good(&entry);
                assert_eq!(got, refused.then_some(code(ReturnCode::InvalidAddress)));
            }
            Step::Info { cpu, target } if self.cpus[cpu] == Doing::Host => {
                self.call_info(cpu, target);
            }
            Step::Firmware {
                cpu,
                refuses,
                interrupted,
            } => self.firmware(cpu, refuses, interrupted),
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
    pub fn check(&self) {
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
    pub fn settle(&mut self) {
        for _ in 0..4 {
            for cpu in 0..MPIDRS.len() {
                self.firmware(cpu, false, false);
                self.check();
                self.step(&Step::Return { cpu });
                self.check();
                self.up(cpu);
                self.check();
            }
        }
    }
}
