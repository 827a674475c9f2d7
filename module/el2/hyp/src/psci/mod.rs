// SPDX-License-Identifier: GPL-2.0
//! The PSCI relay: CPUs of the host come and go only through EL2.
//!
//! PSCI starts a core at the highest Non-secure Exception level, which is EL2. An entry point that
//! reached the firmware as the host gave it would run host code at EL2. So each function of PSCI
//! has a row in [`Relay::decide`]; those that carry an entry point go to the firmware with EL2's
//! own entry and the core's slot number as context, and the host's entry is kept here until the
//! core arrives ([`Relay::enter`]). What has no row never reaches the firmware.
//!
//! The caller holds one lock around each method and none around the SMC: [`Relay::decide`] may
//! answer [`Action::Call`], the caller drops the lock, makes the call, which may not return, takes
//! the lock and has [`Relay::complete`] work the result in. Between the two, the core may arrive,
//! and other cores may call. A [`Ticket`] tells a late result from the state of a newer attempt.
//!
//! Invariant: for each slot at most one CPU_ON is under way, and the entry point that it was made
//! with is the one that the arriving core gets.

mod boot;
mod function;
mod slot;

pub use boot::{first_write, FirstWrite, FreshCpu, LetThrough, BOOT_CPU_MODE_EL2};
pub use function::{succeeded, Function, Identifier, ReturnCode};
pub use slot::{State, Ticket};

use mvirt_abi::MAX_CPUS;
use slot::Slot;

/// What the relay must know of the firmware. Read by SMC at take-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// PSCI_VERSION: major in bits 31:16, minor in bits 15:0.
    pub version: u32,
    /// PSCI_FEATURES(CPU_SUSPEND) bit 1: power_state uses the extended StateID format. Clear for
    /// firmware before PSCI 1.0.
    pub extended_state: bool,
    /// Physical address of EL2's entry from the firmware: MMU off, x0 holds the slot number.
    pub entry: u64,
}

/// Why a relay cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// PSCI before 0.2: its function identifiers are the platform's own.
    Version(u32),
    /// No CPU, or more than [`MAX_CPUS`].
    Count(usize),
    /// An MPIDR has bits outside the affinity fields. The slot.
    Mpidr(usize),
    /// Two CPUs with one MPIDR. The later slot.
    Duplicate(usize),
}

/// What to do about a PSCI call of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Return this in x0; x1 to x17 stay as they are.
    Answer(u64),
    /// Call the firmware with `regs` in x0 to x3 and no lock held, then hand x0 to
    /// [`Relay::complete`] with `then`, and return what that answers.
    Call {
        /// x0 to x3.
        regs: [u64; 4],
        /// What becomes of the result.
        then: Then,
    },
}

/// How a call to the firmware ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Then {
    /// The result is the host's.
    Pass,
    /// A CPU_ON.
    CpuOn(Ticket),
    /// CPU_OFF or CPU_FREEZE of a slot: returns only if it failed.
    Off(usize),
    /// A suspend of a slot: returns, or comes back through [`Relay::enter`].
    Suspend(usize),
}

impl Then {
    /// Whether the calling CPU may lose its EL2 state in the call: save it first.
    pub const fn may_lose_context(self) -> bool {
        matches!(self, Then::Off(_) | Then::Suspend(_))
    }
}

/// Where the host wants a core to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryPoint {
    /// Physical address of the first instruction, run at EL1 with the MMU off.
    pub pc: u64,
    /// The context identifier: x0.
    pub x0: u64,
}

/// A core that arrived from the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Where the host goes on.
    pub entry: EntryPoint,
    /// It resumes from a suspend; else it was started by CPU_ON.
    pub is_resume: bool,
    /// Set HCR_EL2.TVM and treat the first trap with [`first_write`].
    pub watch_first_write: bool,
}

/// A core arrived that nobody called: the firmware broke its contract. It must not run the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncalled {
    /// The context that the firmware passed is no slot.
    NoSlot,
    /// The slot's state when it arrived.
    State(State),
    /// It was suspended in a state that keeps its context, and the host gave no entry point.
    NoEntryPoint,
}

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

#[cfg(test)]
mod tests;
