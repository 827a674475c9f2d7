// SPDX-License-Identifier: GPL-2.0
//! The decisions: a row for each function of PSCI, and what becomes of the firmware's answers.
//!
//! Owns the slots of all CPUs. The caller's lock is around each method; nothing here blocks, calls
//! out (but for the question whether an address is the host's RAM), or fails half way: a slot
//! changes only after everything about the call was checked.

use mvirt_abi::MAX_CPUS;

use super::slot::{Slot, State};
use super::{
    succeeded, Action, Arrival, EntryPoint, Firmware, Function, Identifier, ReturnCode, Then,
    Uncalled, Unusable,
};

/// The affinity fields of MPIDR_EL1: Aff3 in 39:32, Aff2 to Aff0 in 23:0.
const MPIDR_AFFINITY: u64 = 0xff_00ff_ffff;
/// PSCI_VERSION of the newest specification that the relay has rows for.
const NEWEST: u32 = 0x1_0003;
/// PSCI_VERSION 0.2.
const OLDEST: u32 = 0x2;
/// SMCCC_VERSION, the one function outside PSCI that PSCI_FEATURES takes.
const SMCCC_VERSION: u32 = 0x8000_0000;

/// The state of all CPUs, under the caller's lock.
#[derive(Clone, Debug)]
pub struct Relay {
    firmware: Firmware,
    slots: [Slot; MAX_CPUS],
    nr_cpus: usize,
    boot_mode_watch: bool,
}

impl Relay {
    /// A relay for the CPUs in `mpidrs`, which become the slots 0 and up, all offline.
    pub fn new(mpidrs: &[u64], firmware: Firmware) -> Result<Relay, Unusable> {
        if firmware.version < OLDEST {
            return Err(Unusable::Version(firmware.version));
        }
        if mpidrs.is_empty() || mpidrs.len() > MAX_CPUS {
            return Err(Unusable::Count(mpidrs.len()));
        }
        let mut slots = [Slot::default(); MAX_CPUS];
        for (n, (slot, &mpidr)) in slots.iter_mut().zip(mpidrs).enumerate() {
            if mpidr & !MPIDR_AFFINITY != 0 {
                return Err(Unusable::Mpidr(n));
            }
            if mpidrs.iter().take(n).any(|&other| other == mpidr) {
                return Err(Unusable::Duplicate(n));
            }
            slot.mpidr = mpidr;
        }
        Ok(Relay {
            firmware,
            slots,
            nr_cpus: mpidrs.len(),
            boot_mode_watch: true,
        })
    }

    /// Records that the CPU of `slot` entered EL2 at take-over. `false` if there is no such slot
    /// or it is not offline.
    pub fn adopt(&mut self, slot: usize) -> bool {
        self.slot(slot).is_some_and(Slot::adopt)
    }

    /// The state of a slot.
    pub fn state(&self, slot: usize) -> Option<State> {
        self.slots.get(..self.nr_cpus)?.get(slot).map(Slot::state)
    }

    /// The slot of the CPU with these affinity fields.
    pub fn find(&self, mpidr: u64) -> Option<usize> {
        self.slots
            .iter()
            .take(self.nr_cpus)
            .position(|s| s.mpidr == mpidr)
    }

    /// From now on no fresh CPU is watched: the host was refused a SOFT_RESTART, so a new kernel
    /// starts that saw its boot CPU come up at EL1, and must see all CPUs do so.
    pub fn soft_restart_refused(&mut self) {
        self.boot_mode_watch = false;
    }

    /// Decides what to do about the PSCI call `id` that the CPU of `slot` made with `x1` to `x3`.
    ///
    /// `is_host_ram` says whether the host may run code at a physical address.
    pub fn decide(
        &mut self,
        slot: usize,
        id: Identifier,
        x: [u64; 3],
        is_host_ram: impl Fn(u64) -> bool,
    ) -> Action {
        let Identifier::Known { function, smc64 } = id else {
            return answer(ReturnCode::NotSupported);
        };
        // An SMC32 call has its arguments in W1 to W3: the rest of the registers is ignored.
        let [x1, x2, x3] = if smc64 { x } else { x.map(|v| v & 0xffff_ffff) };
        let usable = |pc: u64| pc & 3 == 0 && is_host_ram(pc);
        match function {
            // The host must not believe in functions that have no row here.
            Function::Version => Action::Answer(u64::from(self.firmware.version.min(NEWEST))),
            Function::Features => features(x1),
            Function::CpuOn => self.cpu_on(x1, EntryPoint { pc: x2, x0: x3 }, usable),
            Function::CpuOff | Function::CpuFreeze => self.off(slot, function, x1),
            Function::AffinityInfo => self.affinity_info(x1, x2),
            Function::CpuSuspend => {
                let entry = EntryPoint { pc: x2, x0: x3 };
                let entry = usable(entry.pc).then_some(entry);
                if entry.is_none() && self.is_power_down(x1) {
                    return answer(ReturnCode::InvalidAddress);
                }
                // The firmware ignores the entry of a standby state, but it gets ours in any case:
                // it may disagree about which state is one.
                self.suspend(
                    slot,
                    entry,
                    [id64(function), x1, self.firmware.entry, slot as u64],
                )
            }
            Function::CpuDefaultSuspend | Function::SystemSuspend => {
                let entry = EntryPoint { pc: x1, x0: x2 };
                if !usable(entry.pc) {
                    return answer(ReturnCode::InvalidAddress);
                }
                let regs = [id64(function), self.firmware.entry, slot as u64, 0];
                self.suspend(slot, Some(entry), regs)
            }
            // They carry no entry point and change nothing that EL2 relies on. The functions that
            // end the system end EL2 with it; what RAM still holds is the firmware's to protect.
            Function::Migrate
            | Function::MigrateInfoType
            | Function::MigrateInfoUpCpu
            | Function::SystemOff
            | Function::SystemReset
            | Function::NodeHwState
            | Function::SetSuspendMode
            | Function::StatResidency
            | Function::StatCount
            | Function::SystemReset2
            | Function::MemProtect
            | Function::MemProtectCheckRange
            | Function::SystemOff2 => {
                let id = if smc64 {
                    function.id()
                } else {
                    function.id32()
                };
                forward([u64::from(id), x1, x2, x3])
            }
        }
    }

    /// Works the firmware's answer to an [`Action::Call`] in. Returns x0 for the host.
    pub fn complete(&mut self, then: Then, x0: u64) -> u64 {
        match then {
            Then::Pass => {}
            Then::CpuOn(ticket) => {
                if !succeeded(x0) {
                    if let Some(slot) = self.slot(ticket.slot) {
                        slot.on_refused(ticket);
                    }
                }
            }
            Then::Off(n) | Then::Suspend(n) => {
                if let Some(slot) = self.slot(n) {
                    slot.came_back();
                }
            }
        }
        x0
    }

    /// A core arrived at EL2's entry with `context` in x0.
    pub fn enter(&mut self, context: u64) -> Result<Arrival, Uncalled> {
        let n = usize::try_from(context).map_err(|_| Uncalled::NoSlot)?;
        let watch_first_write = self.boot_mode_watch;
        let (entry, is_resume) = self.slot(n).ok_or(Uncalled::NoSlot)?.arrive()?;
        Ok(Arrival {
            entry,
            is_resume,
            watch_first_write,
        })
    }

    /// The CPU of `slot` arrived and cannot run the host after all (no snapshot fits it): it is
    /// about to go off again by a CPU_OFF of EL2's own. `false` if it is not online.
    pub fn turn_away(&mut self, slot: usize) -> bool {
        self.slot(slot).is_some_and(Slot::turn_off)
    }

    fn slot(&mut self, n: usize) -> Option<&mut Slot> {
        self.slots.get_mut(..self.nr_cpus)?.get_mut(n)
    }

    fn cpu_on(&mut self, mpidr: u64, entry: EntryPoint, usable: impl Fn(u64) -> bool) -> Action {
        let Some(n) = self.find(mpidr) else {
            return answer(ReturnCode::InvalidParameters);
        };
        if !usable(entry.pc) {
            return answer(ReturnCode::InvalidAddress);
        }
        let el2_entry = self.firmware.entry;
        let Some(slot) = self.slot(n) else {
            return answer(ReturnCode::InternalFailure);
        };
        match slot.turn_on(n, entry) {
            // Always the SMC64 form: EL2's entry may lie above 4 GiB, and an SMC32 CPU_ON may
            // start a core in AArch32 state.
            Ok(ticket) => Action::Call {
                regs: [id64(Function::CpuOn), mpidr, el2_entry, n as u64],
                then: Then::CpuOn(ticket),
            },
            Err(code) => answer(code),
        }
    }

    fn off(&mut self, n: usize, function: Function, x1: u64) -> Action {
        if !self.slot(n).is_some_and(Slot::turn_off) {
            return answer(ReturnCode::InternalFailure);
        }
        // PSCI 0.1 gave CPU_OFF a power state, and Linux still passes one: firmware ignores it.
        Action::Call {
            regs: [u64::from(function.id32()), x1, 0, 0],
            then: Then::Off(n),
        }
    }

    fn suspend(&mut self, n: usize, entry: Option<EntryPoint>, regs: [u64; 4]) -> Action {
        if !self.slot(n).is_some_and(|slot| slot.suspend(entry)) {
            return answer(ReturnCode::InternalFailure);
        }
        Action::Call {
            regs,
            then: Then::Suspend(n),
        }
    }

    fn affinity_info(&self, mpidr: u64, level: u64) -> Action {
        // lowest_affinity_level has 32 bits in both forms.
        let level = level & 0xffff_ffff;
        if level > 3 {
            return answer(ReturnCode::InvalidParameters);
        }
        let forwarded = forward([id64(Function::AffinityInfo), mpidr, level, 0]);
        if level > 0 {
            return forwarded;
        }
        match self.find(mpidr).and_then(|n| self.state(n)) {
            None => answer(ReturnCode::InvalidParameters),
            // A suspended core is on.
            Some(State::Online | State::Suspended { .. }) => Action::Answer(AFFINITY_ON),
            // Until the core arrives at EL2 the firmware may say OFF, ON_PENDING or ON; the host
            // code that was asked for does not run in any of these.
            Some(State::OnPending { .. }) => Action::Answer(AFFINITY_ON_PENDING),
            // EL2 does not see a core go: only the firmware knows.
            Some(State::Offline) => forwarded,
        }
    }

    /// StateType of a power_state argument (DEN0022F.b, 5.4.2).
    fn is_power_down(&self, power_state: u64) -> bool {
        let bit = if self.firmware.extended_state { 30 } else { 16 };
        power_state & (1 << bit) != 0
    }
}

const AFFINITY_ON: u64 = 0;
const AFFINITY_ON_PENDING: u64 = 2;

fn id64(function: Function) -> u64 {
    u64::from(function.id())
}

fn answer(code: ReturnCode) -> Action {
    Action::Answer(code.to_x0())
}

fn forward(regs: [u64; 4]) -> Action {
    Action::Call {
        regs,
        then: Then::Pass,
    }
}

/// PSCI_FEATURES: what the relay does not pass is not supported, whatever the firmware says.
fn features(x1: u64) -> Action {
    // The argument has 32 bits; a lossless cast after the mask.
    let id = (x1 & 0xffff_ffff) as u32;
    let passes = matches!(Identifier::decode(id), Some(Identifier::Known { .. }));
    if passes || id == SMCCC_VERSION {
        forward([u64::from(Function::Features.id32()), u64::from(id), 0, 0])
    } else {
        answer(ReturnCode::NotSupported)
    }
}
