// SPDX-License-Identifier: GPL-2.0
//! The registers that only exist here, as the host reads and writes them for user space (ONE_REG).
//!
//! KVM lists all 16 breakpoints and watchpoints whatever the guest has, and ACTLR_EL1, DISR_EL1 and
//! AArch32's DBGVCR32_EL2, DACR32_EL2, IFSR32_EL2 and FPEXC32_EL2; user space writes back what it
//! read. So those that a guest has not are 0 here, and take no other value. An ID register takes its
//! own value only; AArch32's ignore what is written, but for those that KVM hides (as the kernel's
//! selftest aarch32_id_regs wants it).

use super::{Context, State};
use crate::guest::idregs::Folded;
use crate::trap::Encoding;

/// What a write of user space did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It holds the value.
    Done,
    /// It cannot hold the value.
    Invalid,
    /// There is no such register here.
    Absent,
}

impl State {
    /// Reads a register; `None` if it is none of those that exist only here.
    pub fn user_get(&self, r: Encoding, context: &Context) -> Option<u64> {
        match (r.op0, r.op1, r.crn, r.crm, r.op2) {
            (2, 0, 0, 2, 0) => Some(self.debug.mdccint),
            (2, 0, 0, 2, 2) => Some(self.debug.mdscr),
            (2, 0, 0, n, 4..=7) => {
                let value = self.debug.point_value(r.op2 - 4, n, context.debug());
                Some(value.unwrap_or(0))
            }
            (2, 0, 1, 1, 4) => Some(self.debug.oslsr()),
            // ACTLR_EL1, DISR_EL1, and AArch32's.
            (3, 0, 1, 0, 1) | (3, 0, 12, 1, 1) => Some(0),
            (2, 4, 0, 7, 0) | (3, 4, 3, 0, 0) | (3, 4, 5, 0, 1) | (3, 4, 5, 3, 0) => Some(0),
            (3, 2, 0, 0, 0) => Some(u64::from(self.csselr)),
            _ if r == Folded::Midr.encoding() => Some(context.ids.midr()),
            _ => context.ids.read(r, context.has_gic, u64::from(self.csselr)),
        }
    }

    /// Writes a register.
    pub fn user_set(&mut self, r: Encoding, value: u64, context: &Context) -> Written {
        let Some(old) = self.user_get(r, context) else {
            return Written::Absent;
        };
        let debug = &mut self.debug;
        match (r.op0, r.op1, r.crn, r.crm, r.op2) {
            (2, 0, 0, 2, 0) => debug.mdccint = value,
            (2, 0, 0, 2, 2) => debug.mdscr = value,
            (2, 0, 0, n, 4..=7) => match debug.point(r.op2 - 4, n, context.debug()) {
                Some(slot) => *slot = value,
                None if value == 0 => {}
                None => return Written::Invalid,
            },
            (2, 0, 1, 1, 4) if debug.set_oslsr(value) => {}
            // Lossless: the bits that it has.
            (3, 2, 0, 0, 0) if value & !super::CSSELR == 0 => self.csselr = value as u8,
            _ if value == old => {}
            // ID_AFR0_EL1, ID_DFR1_EL1, and two that are not allocated.
            (3, 0, 0, 1, 3) | (3, 0, 0, 3, 3 | 5 | 7) => return Written::Invalid,
            (3, 0, 0, 1..=3, _) => {}
            _ => return Written::Invalid,
        }
        Written::Done
    }
}
