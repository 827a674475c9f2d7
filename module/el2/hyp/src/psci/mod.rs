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
mod relay;
mod slot;

pub use boot::{first_write, FirstWrite, FreshCpu, LetThrough, BOOT_CPU_MODE_EL2};
pub use function::{succeeded, Function, Identifier, ReturnCode};
pub use relay::Relay;
pub use slot::{State, Ticket};

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
    /// No CPU, or more than [`mvirt_abi::MAX_CPUS`].
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

#[cfg(test)]
mod tests;
