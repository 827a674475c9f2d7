// SPDX-License-Identifier: GPL-2.0
//! A guest's debug registers: it can use them, but its breakpoints and watchpoints do not fire.
//!
//! They are storage. The hardware's belong to the host, and MDSCR_EL1.MDE is 0 while a guest runs,
//! so that neither the host's breakpoints nor the guest's are seen there. Single stepping works
//! (gdb and ptrace in the guest): [`Debug::hardware_mdscr`]. The registers of an external debugger
//! are RAZ/WI: there is none. Arm ARM (DDI 0487) D24.3.

use super::Outcome;
use crate::trap::Encoding;

/// Breakpoints and watchpoints: ID_AA64DFR0_EL1.BRPs and WRPs are one less.
pub const POINTS: usize = 2;

/// MDSCR_EL1.
const MDSCR_SS: u64 = 1 << 0;
const MDSCR_KDE: u64 = 1 << 13;
/// OSLSR_EL1: OSLM, bits 3 and 0, is 0b10: the lock is implemented.
const OSLSR_OSLM: u64 = 1 << 3;
const OSLSR_OSLK: u64 = 1 << 1;
/// DBGAUTHSTATUS_EL1: Non-secure debug by an external debugger is implemented and disabled.
const DBGAUTHSTATUS: u64 = 0b1010;

/// The registers. The OS lock is open after a reset, as under KVM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debug {
    pub(super) mdscr: u64,
    pub(super) mdccint: u64,
    os_locked: bool,
    /// DBGBVR, DBGBCR, DBGWVR, DBGWCR.
    pub(super) points: [[u64; POINTS]; 4],
}

impl Debug {
    /// What the hardware's MDSCR_EL1 holds while the guest runs: software step, and no breakpoints.
    pub const fn hardware_mdscr(&self) -> u64 {
        if self.os_locked {
            0
        } else {
            self.mdscr & (MDSCR_SS | MDSCR_KDE)
        }
    }

    /// Does an access to a register with op0 2; `written` is what an MSR writes.
    pub fn access(&mut self, r: Encoding, written: Option<u64>) -> Outcome {
        match (r.op1, r.crn, r.crm, r.op2, written) {
            (0, 0, 2, 0, _) => storage(&mut self.mdccint, written),
            (0, 0, 2, 2, _) => storage(&mut self.mdscr, written),
            (0, 0, crm, 4..=7, _) => {
                let kind = self.points.get_mut(usize::from(r.op2 - 4));
                match kind.and_then(|points| points.get_mut(usize::from(crm))) {
                    Some(slot) => storage(slot, written),
                    // There are no more.
                    None => Outcome::Undefined,
                }
            }
            // OSLAR_EL1 is write-only, OSLSR_EL1 read-only.
            (0, 1, 0, 4, Some(value)) => {
                self.os_locked = value & 1 == 1;
                Outcome::Done
            }
            (0, 1, 1, 4, None) => Outcome::Value(self.oslsr()),
            (0, 7, 14, 6, None) => Outcome::Value(DBGAUTHSTATUS),
            // MDRAR_EL1: no ROM table. MDCCSR_EL0: the channel is empty.
            (0, 1, 0, 0, None) | (3, 0, 1, 0, None) => Outcome::Value(0),
            // OSDLR_EL1 (no double lock), DBGPRCR_EL1, DBGCLAIMSET_EL1, DBGCLAIMCLR_EL1,
            // OSDTRRX_EL1, OSDTRTX_EL1, OSECCR_EL1, DBGDTR_EL0 and DBGDTRxX_EL0.
            (0, 1, 3 | 4, 4, _)
            | (0, 7, 8 | 9, 6, _)
            | (0, 0, 0 | 3 | 6, 2, _)
            | (3, 0, 4 | 5, 0, _) => written.map_or(Outcome::Value(0), |_| Outcome::Done),
            _ => Outcome::Undefined,
        }
    }

    /// OSLSR_EL1.
    pub const fn oslsr(&self) -> u64 {
        if self.os_locked {
            OSLSR_OSLM | OSLSR_OSLK
        } else {
            OSLSR_OSLM
        }
    }

    /// OSLSR_EL1 as KVM lets user space write it: only OSLK can change. `false` for another value.
    #[must_use]
    pub fn set_oslsr(&mut self, value: u64) -> bool {
        let valid = value & !OSLSR_OSLK == OSLSR_OSLM;
        if valid {
            self.os_locked = value & OSLSR_OSLK != 0;
        }
        valid
    }
}

fn storage(slot: &mut u64, written: Option<u64>) -> Outcome {
    match written {
        None => Outcome::Value(*slot),
        Some(value) => {
            *slot = value;
            Outcome::Done
        }
    }
}
