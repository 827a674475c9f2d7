// SPDX-License-Identifier: GPL-2.0
//! A VM's power states, moved by the guest's PSCI calls: PSCI 1.3 as KVM offers it.
//!
//! Arm DEN0022F.b; functions and numbers are those of [`crate::psci`]. The states:
//!
//! =========  ==========================================================================
//! Off        runs by a CPU_ON of another vCPU only
//! Pending    a CPU_ON named its entry point; the host has not run it since
//! On         runs when it is run
//! Suspended  an interrupt resumes it: after SYSTEM_SUSPEND at its entry point, and where it
//!            was if the host set this state
//! =========  ==========================================================================
//!
//! [`Power::enter`] is asked before a vCPU runs or its registers are read, and turns Pending into
//! On; the caller resets the vCPU to what it answers. CPU_SUSPEND is a WFI, as under KVM: a standby
//! state, which keeps the context. No lock: it is under the VM's.

use mvirt_abi::{power, MAX_VCPUS};

use super::reset::affinity;
use crate::psci::{Function, Identifier, ReturnCode};

/// Where a vCPU starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryPoint {
    /// IPA of the first instruction.
    pub pc: u64,
    /// The context identifier.
    pub x0: u64,
    /// The caller's data endianness at EL1: SCTLR_EL1.EE.
    pub big_endian: bool,
}

/// What the power state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    Pending(EntryPoint),
    On,
    Suspended(Option<EntryPoint>),
}

/// KVM_SYSTEM_EVENT_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SystemEvent {
    /// SYSTEM_OFF, SYSTEM_OFF2.
    Shutdown = 1,
    /// SYSTEM_RESET, SYSTEM_RESET2.
    Reset = 2,
    /// SYSTEM_SUSPEND.
    Suspend = 5,
}

/// KVM_SYSTEM_EVENT_SHUTDOWN_FLAG_PSCI_OFF2 and KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2.
const FLAG_SECOND_FORM: u64 = 1 << 0;

/// What is to be done about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// x0 to x3 are this and three zeros; the guest goes on.
    Answer(u64),
    /// x0 is SUCCESS; the vCPU with this index has become runnable: wake it.
    Started(usize),
    /// x0 is SUCCESS; the vCPU waits as by WFI.
    Wait,
    /// The vCPU is off: [`mvirt_abi::Exit::Off`].
    Off,
    /// [`mvirt_abi::Exit::SystemEvent`] with these flags.
    System {
        /// The event.
        event: SystemEvent,
        /// Its flags.
        flags: u64,
        /// x0, for a vCPU that the host runs on all the same; `None` leaves it.
        x0: Option<u64>,
        /// All other vCPUs have to come out: they are off.
        stops_others: bool,
    },
}

/// What a call depends on beside the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Index of the caller, which is on.
    pub caller: usize,
    /// SCTLR_EL1.EE of the caller.
    pub big_endian: bool,
    /// Bits of the VM's physical address.
    pub ipa_bits: u32,
    /// The host enabled SYSTEM_SUSPEND (KVM_CAP_ARM_SYSTEM_SUSPEND).
    pub may_suspend: bool,
}

/// The bits of MPIDR_EL1 that PSCI passes.
const AFFINITY: u64 = 0xff_00ff_ffff;
/// AFFINITY_INFO.
const AFFINITY_ON: u64 = 0;
const AFFINITY_OFF: u64 = 1;
/// MIGRATE_INFO_TYPE: there is no Trusted OS that would have to be moved.
const TOS_NOT_PRESENT_OR_MP: u64 = 2;
/// SYSTEM_OFF2's type, and what PSCI_FEATURES says of it: HIBERNATE_OFF.
const HIBERNATE_OFF: u64 = 1;
/// SYSTEM_RESET2: SYSTEM_WARM_RESET, and where the vendors' types begin.
const WARM_RESET: u64 = 0;
const VENDOR_RESETS: u64 = 1 << 31;
/// PSCI_VERSION: 1.3.
pub(super) const VERSION: u64 = 0x1_0003;
const SMCCC_VERSION: u64 = 0x8000_0000;

/// The power states of a VM's vCPUs.
#[derive(Clone, Debug, Default)]
pub struct Power {
    /// `None` where no vCPU was created.
    vcpus: [Option<State>; MAX_VCPUS],
}

impl Power {
    /// No vCPU yet.
    pub const fn new() -> Power {
        Power {
            vcpus: [None; MAX_VCPUS],
        }
    }

    /// A vCPU was created or got the state of a reset. `false` if there can be none of this index.
    pub fn init(&mut self, vcpu: usize, off: bool) -> bool {
        self.put(vcpu, if off { State::Off } else { State::On })
    }

    /// The state as [`mvirt_abi::reg::POWER`] shows it; `None` if there is no such vCPU.
    pub fn get(&self, vcpu: usize) -> Option<u64> {
        Some(match self.state(vcpu)? {
            State::Off => power::OFF,
            State::Pending(_) | State::On => power::ON,
            State::Suspended(_) => power::SUSPENDED,
        })
    }

    /// Sets the state by [`mvirt_abi::reg::POWER`]. `false` for a value or a vCPU that there is not.
    ///
    /// To set it on drops an entry point: the registers are as the host set them. To suspend what
    /// is suspended changes nothing, so that a VMM may answer SYSTEM_SUSPEND by that (as for KVM).
    pub fn set(&mut self, vcpu: usize, value: u64) -> bool {
        let Some(old) = self.state(vcpu) else {
            return false;
        };
        let state = match (value, old) {
            (power::ON, _) => State::On,
            (power::OFF, _) => State::Off,
            (power::SUSPENDED, State::Suspended(_)) => old,
            (power::SUSPENDED, _) => State::Suspended(None),
            _ => return false,
        };
        self.put(vcpu, state)
    }

    /// Whether the vCPU is to be run, and the entry point if it has to be reset to one first.
    /// `interrupt` says that one is pending for it, whether it masks it or not.
    pub fn enter(&mut self, vcpu: usize, interrupt: bool) -> Entry {
        match self.state(vcpu) {
            None | Some(State::Off) => Entry::Off,
            Some(State::On) => Entry::Run,
            Some(State::Suspended(_)) if !interrupt => Entry::Wait,
            Some(State::Suspended(None)) => {
                self.put(vcpu, State::On);
                Entry::Run
            }
            Some(State::Suspended(Some(entry)) | State::Pending(entry)) => {
                self.put(vcpu, State::On);
                Entry::Reset(entry)
            }
        }
    }

    /// Whether it waits for an interrupt, however it came to that.
    pub fn is_suspended(&self, vcpu: usize) -> bool {
        matches!(self.state(vcpu), Some(State::Suspended(_)))
    }

    /// Makes a call of `context.caller`. Arguments are x1 to x3.
    pub fn call(&mut self, id: Identifier, args: [u64; 3], context: &Context) -> Action {
        let Identifier::Known { function, smc64 } = id else {
            return answer(ReturnCode::NotSupported);
        };
        // SMC32: arguments have 32 bits.
        let narrow = |x: u64| if smc64 { x } else { x & 0xffff_ffff };
        let [x1, x2, x3] = args.map(narrow);
        match function {
            Function::Version => Action::Answer(VERSION),
            Function::Features => self.features(x1, context),
            Function::CpuSuspend => Action::Wait,
            Function::CpuOff => {
                self.put(context.caller, State::Off);
                Action::Off
            }
            Function::CpuOn => self.cpu_on(x1, x2, x3, context),
            Function::AffinityInfo => self.affinity_info(x1, x2),
            Function::MigrateInfoType => Action::Answer(TOS_NOT_PRESENT_OR_MP),
            Function::SystemOff => self.end(SystemEvent::Shutdown, 0),
            Function::SystemReset => self.end(SystemEvent::Reset, 0),
            Function::SystemOff2 => match (x1, x2) {
                (0 | HIBERNATE_OFF, 0) => self.end(SystemEvent::Shutdown, FLAG_SECOND_FORM),
                _ => answer(ReturnCode::InvalidParameters),
            },
            // The type has 32 bits in either form; the cookie is the vendor's.
            Function::SystemReset2 => match x1 & 0xffff_ffff {
                WARM_RESET | VENDOR_RESETS.. => self.end(SystemEvent::Reset, FLAG_SECOND_FORM),
                _ => answer(ReturnCode::InvalidParameters),
            },
            Function::SystemSuspend => self.system_suspend(x1, x2, context),
            Function::Migrate
            | Function::MigrateInfoUpCpu
            | Function::CpuFreeze
            | Function::CpuDefaultSuspend
            | Function::NodeHwState
            | Function::SetSuspendMode
            | Function::StatResidency
            | Function::StatCount
            | Function::MemProtect
            | Function::MemProtectCheckRange => answer(ReturnCode::NotSupported),
        }
    }

    fn features(&self, id: u64, context: &Context) -> Action {
        if id == SMCCC_VERSION {
            return answer(ReturnCode::Success);
        }
        // Lossless: the identifier is W1.
        let known = Identifier::decode((id & 0xffff_ffff) as u32);
        let Some(Identifier::Known { function, .. }) = known else {
            return answer(ReturnCode::NotSupported);
        };
        match function {
            Function::Version
            | Function::Features
            | Function::CpuOff
            | Function::CpuOn
            | Function::AffinityInfo
            | Function::MigrateInfoType
            | Function::SystemOff
            | Function::SystemReset
            | Function::SystemReset2 => answer(ReturnCode::Success),
            // The original format of power_state, platform-coordinated mode.
            Function::CpuSuspend => Action::Answer(0),
            Function::SystemSuspend if context.may_suspend => answer(ReturnCode::Success),
            Function::SystemOff2 => Action::Answer(HIBERNATE_OFF),
            _ => answer(ReturnCode::NotSupported),
        }
    }

    fn cpu_on(&mut self, target: u64, pc: u64, x0: u64, context: &Context) -> Action {
        let Some(vcpu) = self.find(target) else {
            return answer(ReturnCode::InvalidParameters);
        };
        if !is_entry(pc, context) {
            return answer(ReturnCode::InvalidAddress);
        }
        match self.state(vcpu) {
            Some(State::Off) => {
                self.put(
                    vcpu,
                    State::Pending(EntryPoint {
                        pc,
                        x0,
                        big_endian: context.big_endian,
                    }),
                );
                Action::Started(vcpu)
            }
            Some(State::Pending(_)) => answer(ReturnCode::OnPending),
            _ => answer(ReturnCode::AlreadyOn),
        }
    }

    /// A node is on if any vCPU below it is. A pending one counts as on, as under KVM: from the
    /// guest's view it runs whenever the host schedules it.
    fn affinity_info(&self, target: u64, level: u64) -> Action {
        if target & !AFFINITY != 0 || level > 3 {
            return answer(ReturnCode::InvalidParameters);
        }
        // Aff0 to Aff2 are 8 bits each from bit 0 up, Aff3 is bits 39:32: level 3 leaves it alone.
        let mask = AFFINITY & (u64::MAX << (8 * level));
        let below = |vcpu: &usize| (affinity(*vcpu) ^ target) & mask == 0;
        let mut states = (0..MAX_VCPUS)
            .filter(below)
            .filter_map(|vcpu| self.state(vcpu))
            .peekable();
        if states.peek().is_none() {
            return answer(ReturnCode::InvalidParameters);
        }
        let on = states.any(|state| state != State::Off);
        Action::Answer(if on { AFFINITY_ON } else { AFFINITY_OFF })
    }

    fn system_suspend(&mut self, pc: u64, x0: u64, context: &Context) -> Action {
        if !context.may_suspend {
            return answer(ReturnCode::NotSupported);
        }
        if !is_entry(pc, context) {
            return answer(ReturnCode::InvalidAddress);
        }
        let others_off = (0..MAX_VCPUS)
            .filter(|vcpu| *vcpu != context.caller)
            .all(|vcpu| matches!(self.state(vcpu), None | Some(State::Off)));
        if !others_off {
            return answer(ReturnCode::Denied);
        }
        let big_endian = context.big_endian;
        let entry = EntryPoint { pc, x0, big_endian };
        self.put(context.caller, State::Suspended(Some(entry)));
        Action::System {
            event: SystemEvent::Suspend,
            flags: 0,
            // KVM leaves the registers: user space may read the arguments.
            x0: None,
            stops_others: false,
        }
    }

    /// The end of the VM as it runs now: nothing runs before the host resets the vCPUs.
    fn end(&mut self, event: SystemEvent, flags: u64) -> Action {
        for state in self.vcpus.iter_mut().flatten() {
            *state = State::Off;
        }
        Action::System {
            event,
            flags,
            // Read only if the host runs the vCPU on all the same (as KVM).
            x0: Some(ReturnCode::InternalFailure.to_x0()),
            stops_others: true,
        }
    }

    fn find(&self, target: u64) -> Option<usize> {
        (0..MAX_VCPUS).find(|vcpu| affinity(*vcpu) == target && self.state(*vcpu).is_some())
    }

    fn state(&self, vcpu: usize) -> Option<State> {
        self.vcpus.get(vcpu).copied().flatten()
    }

    fn put(&mut self, vcpu: usize, state: State) -> bool {
        self.vcpus.get_mut(vcpu).is_some_and(|slot| {
            *slot = Some(state);
            true
        })
    }
}

/// How a vCPU is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// As its registers are.
    Run,
    /// After a reset to this entry point.
    Reset(EntryPoint),
    /// Not now: it waits for an interrupt.
    Wait,
    /// Not at all: it is off.
    Off,
}

fn answer(code: ReturnCode) -> Action {
    Action::Answer(code.to_x0())
}

/// Whether an entry point is an instruction's address in the VM.
fn is_entry(pc: u64, context: &Context) -> bool {
    pc & 3 == 0 && pc >> context.ipa_bits == 0
}

#[cfg(test)]
mod tests;
