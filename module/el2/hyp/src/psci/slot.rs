// SPDX-License-Identifier: GPL-2.0
//! One CPU of the host, as the relay sees it.
//!
//! Two things are kept apart: whether the CPU runs ([`Power`]), which it changes itself, and the
//! CPU_ON for it that is under way, if any, which another CPU made. They overlap. A CPU calls
//! CPU_OFF, another one calls CPU_ON for it, the firmware refuses the CPU_OFF, and the CPU may call
//! CPU_OFF again, all before the firmware works on the CPU_ON: which then succeeds, and its entry
//! point must still be known. So an attempt ends only when the firmware refuses it or when the core
//! arrives.
//!
//! | power, attempt | CPU_ON | refused | core arrives | CPU_OFF | suspend | call returns |
//! |---|---|---|---|---|---|---|
//! | off, none | attempt | - | uncalled | - | - | on (a) |
//! | off, under way | ON_PENDING | none | on, none: boots | - | - | on (a) |
//! | on, none | ALREADY_ON | - | uncalled | off | suspended | - |
//! | on, under way (b) | ALREADY_ON | none | uncalled | off | suspended | - |
//! | suspended, none | ALREADY_ON | - | on: resumes | - | - | on |
//! | suspended, under way (b) | ALREADY_ON | none | on: resumes | - | - | on |
//!
//! "Refused" is by the firmware, for the attempt's ticket; "-" cannot happen, as the CPU does not
//! run the host, or is answered INTERNAL_FAILURE. (a) CPU_OFF returns only when it failed. (b) The
//! overlap described above.
//!
//! All-zero is the safe state: off, nothing under way, no entry point.

use super::{EntryPoint, ReturnCode, Uncalled};

/// The state of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is off, was never on, or called CPU_OFF and will be off at a moment that only the
    /// firmware knows.
    Offline,
    /// It is offline, and a CPU_ON is with the firmware or was accepted by it.
    OnPending {
        /// Where the host wants it.
        entry: EntryPoint,
    },
    /// It runs the host, or EL2 on the host's behalf.
    Online,
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
    attempt: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Power {
    #[default]
    Off,
    On,
    Suspended(Option<EntryPoint>),
}

/// A CPU's state with what identifies it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// The affinity fields of its MPIDR_EL1.
    pub(super) mpidr: u64,
    power: Power,
    /// The CPU_ON under way.
    turning_on: Option<EntryPoint>,
    /// Number of the last attempt at CPU_ON; wraps.
    attempt: u32,
}

impl Slot {
    pub(super) fn state(&self) -> State {
        match (self.power, self.turning_on) {
            (Power::Off, None) => State::Offline,
            (Power::Off, Some(entry)) => State::OnPending { entry },
            (Power::On, _) => State::Online,
            (Power::Suspended(entry), _) => State::Suspended { entry },
        }
    }

    /// The CPU entered EL2 at take-over.
    pub(super) fn adopt(&mut self) -> bool {
        let ok = self.state() == State::Offline;
        if ok {
            self.power = Power::On;
        }
        ok
    }

    /// CPU_ON for the CPU, which is slot `n`.
    pub(super) fn turn_on(&mut self, n: usize, entry: EntryPoint) -> Result<Ticket, ReturnCode> {
        match self.state() {
            State::Online | State::Suspended { .. } => Err(ReturnCode::AlreadyOn),
            State::OnPending { .. } => Err(ReturnCode::OnPending),
            // If it is not off yet, the firmware answers ALREADY_ON.
            State::Offline => {
                self.attempt = self.attempt.wrapping_add(1);
                self.turning_on = Some(entry);
                Ok(Ticket {
                    slot: n,
                    attempt: self.attempt,
                })
            }
        }
    }

    /// The firmware refused the CPU_ON of `ticket`.
    pub(super) fn on_refused(&mut self, ticket: Ticket) {
        // Another attempt may have begun only if the core arrived for this one, which contradicts
        // the refusal; the entry point of the newer one must not be lost to broken firmware.
        if ticket.attempt == self.attempt {
            self.turning_on = None;
        }
    }

    /// The core arrived from the firmware. Answers where it goes and whether it resumes.
    pub(super) fn arrive(&mut self) -> Result<(EntryPoint, bool), Uncalled> {
        let arrival = match self.state() {
            State::OnPending { entry } => {
                self.turning_on = None;
                (entry, false)
            }
            State::Suspended { entry } => (entry.ok_or(Uncalled::NoEntryPoint)?, true),
            state @ (State::Offline | State::Online) => return Err(Uncalled::State(state)),
        };
        self.power = Power::On;
        Ok(arrival)
    }

    /// The CPU calls CPU_OFF.
    pub(super) fn turn_off(&mut self) -> bool {
        self.leave(Power::Off)
    }

    /// The CPU calls a suspend function.
    pub(super) fn suspend(&mut self, entry: Option<EntryPoint>) -> bool {
        self.leave(Power::Suspended(entry))
    }

    fn leave(&mut self, to: Power) -> bool {
        let ok = self.power == Power::On;
        if ok {
            self.power = to;
        }
        ok
    }

    /// CPU_OFF or a suspend call returned: the CPU runs on.
    pub(super) fn came_back(&mut self) {
        self.power = Power::On;
    }
}
