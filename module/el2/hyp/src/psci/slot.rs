// SPDX-License-Identifier: GPL-2.0
//! One CPU of the host, as the relay sees it.
//!
//! The state changes only through the methods here, each a transition that is checked before
//! anything is written. All-zero is the safe state: offline, no entry point.

use super::{EntryPoint, ReturnCode, Uncalled};

/// The state of a CPU.
///
/// | from \ event | CPU_ON | CPU_ON failed | core arrives | CPU_OFF, CPU_FREEZE | suspend | call returns |
/// |---|---|---|---|---|---|---|
/// | `Offline` | `OnPending` | - | refused | impossible | impossible | impossible |
/// | `OnPending` | ON_PENDING | what it was before | `Online`, boots | impossible | impossible | `Online` (a) |
/// | `Online` | ALREADY_ON | - (b) | refused | `OffPending` | `Suspended` | stays |
/// | `OffPending` | `OnPending` | - | refused | impossible | impossible | `Online` |
/// | `Suspended` | ALREADY_ON | - (b) | `Online`, resumes | impossible | impossible | `Online` |
///
/// "Impossible" is what only the CPU itself can do while it runs the host, and is answered
/// INTERNAL_FAILURE. "Call returns" is the return from CPU_OFF or a suspend call.
/// (a) From `OffPending`, another CPU asked for CPU_ON, and then the firmware refused the CPU_OFF:
/// the CPU is online after all, and the failure of that CPU_ON, which must follow, is
/// (b) stale: its ticket is of an older generation and changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It is off, or was never on.
    #[default]
    Offline,
    /// CPU_ON is with the firmware, or was accepted by it, and the core has not arrived.
    OnPending {
        /// Where the host wants it.
        entry: EntryPoint,
        /// It was [`State::OffPending`] before; else [`State::Offline`].
        was_off_pending: bool,
    },
    /// It runs the host, or EL2 on the host's behalf.
    Online,
    /// It called CPU_OFF or CPU_FREEZE. Unless that fails, it is off at some moment that only the
    /// firmware knows.
    OffPending,
    /// It is in a suspend call, from which it returns or arrives anew.
    Suspended {
        /// Where the host wants it if it arrives anew. `None` if it asked for a standby state
        /// without a usable entry.
        entry: Option<EntryPoint>,
    },
}

/// One attempt at CPU_ON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) slot: usize,
    generation: u32,
}

/// A CPU's state with what identifies it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// The affinity fields of its MPIDR_EL1.
    pub(super) mpidr: u64,
    pub(super) state: State,
    /// Counts the changes into and out of [`State::OnPending`]; wraps.
    generation: u32,
}

impl Slot {
    /// The CPU entered EL2 at take-over.
    pub(super) fn adopt(&mut self) -> bool {
        let ok = self.state == State::Offline;
        if ok {
            self.state = State::Online;
        }
        ok
    }

    /// CPU_ON for the CPU, which is slot `n`.
    pub(super) fn turn_on(&mut self, n: usize, entry: EntryPoint) -> Result<Ticket, ReturnCode> {
        let was_off_pending = match self.state {
            State::Online | State::Suspended { .. } => return Err(ReturnCode::AlreadyOn),
            State::OnPending { .. } => return Err(ReturnCode::OnPending),
            State::Offline => false,
            // It may be off by now. The firmware answers ALREADY_ON if it is not.
            State::OffPending => true,
        };
        self.generation = self.generation.wrapping_add(1);
        self.state = State::OnPending { entry, was_off_pending };
        Ok(Ticket { slot: n, generation: self.generation })
    }

    /// The firmware refused the CPU_ON of `ticket`.
    pub(super) fn on_failed(&mut self, ticket: Ticket) {
        if ticket.generation != self.generation {
            return;
        }
        if let State::OnPending { was_off_pending, .. } = self.state {
            self.state = if was_off_pending { State::OffPending } else { State::Offline };
            self.generation = self.generation.wrapping_add(1);
        }
    }

    /// The core arrived from the firmware. Answers where it goes and whether it resumes.
    pub(super) fn arrive(&mut self) -> Result<(EntryPoint, bool), Uncalled> {
        let (entry, is_resume) = match self.state {
            State::OnPending { entry, .. } => (entry, false),
            State::Suspended { entry } => (entry.ok_or(Uncalled::NoEntryPoint)?, true),
            state @ (State::Offline | State::Online | State::OffPending) => {
                return Err(Uncalled::State(state));
            }
        };
        self.online();
        Ok((entry, is_resume))
    }

    /// The CPU calls CPU_OFF.
    pub(super) fn turn_off(&mut self) -> bool {
        let ok = self.state == State::Online;
        if ok {
            self.state = State::OffPending;
        }
        ok
    }

    /// The CPU calls a suspend function.
    pub(super) fn suspend(&mut self, entry: Option<EntryPoint>) -> bool {
        let ok = self.state == State::Online;
        if ok {
            self.state = State::Suspended { entry };
        }
        ok
    }

    /// CPU_OFF or a suspend call returned: the CPU runs on.
    pub(super) fn came_back(&mut self) {
        self.online();
    }

    fn online(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.state = State::Online;
    }
}
