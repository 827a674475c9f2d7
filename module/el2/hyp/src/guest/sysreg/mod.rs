// SPDX-License-Identifier: GPL-2.0
//! What a guest's trapped MRS, MSR or System instruction does.
//!
//! [`State::access`] answers what it can by itself and names the rest. What it does not know is
//! UNDEFINED: that is the answer for everything that belongs to a hidden feature (PMU, SPE, TRBE,
//! trace, AMU, MPAM, RAS, LORegions, SVE, SME, MTE), for EL2's registers and for IMPLEMENTATION
//! DEFINED ones. No lock: [`State`] is part of its vCPU.

mod debug;
mod user;

pub use debug::{Counts, Debug, Points, MDSCR_MDE, POINTS};
pub use user::Written;

use super::idregs::GuestIds;
use super::timer;
use crate::cpu::bits;
use crate::trap::{Encoding, SysregAccess};
use crate::vm::registers::Reg;

/// Which interrupts an ICC_SGI register makes pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sgi {
    /// ICC_SGI0R_EL1: group 0.
    Group0,
    /// ICC_SGI1R_EL1: group 1 of the caller's Security state.
    Group1,
    /// ICC_ASGI1R_EL1: group 1 of the other Security state. With one Security state, as a VM has it,
    /// it makes SGIs of group 0 and 1 pending as the GIC's configuration says (KVM: as Group0).
    OtherGroup1,
}

/// What an access does. With a value, the guest's register gets it; in each case but Undefined the
/// guest goes on behind the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The read's value.
    Value(u64),
    /// The write is done.
    Done,
    /// The write is done, and may have changed what the hardware's debug registers have to hold.
    Debug,
    /// The guest takes the exception of [`syndrome`].
    Undefined,
    /// Make SGIs pending.
    Sgi(Sgi, u64),
    /// The physical timer: [`timer::Timer::read`], or with a value [`timer::Timer::write`].
    Timer(timer::Register, Option<u64>),
    /// DC ISW, CSW or CISW: [`setway`](super::setway).
    SetWay,
    /// The write of a translation register, which HCR_EL2.TVM has stopped: [`setway`](super::setway).
    Translation(Reg, u64),
}

/// What an access depends on beside the vCPU's own state.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What guests see.
    pub ids: &'a GuestIds,
    /// The VM has a GIC.
    pub has_gic: bool,
}

impl Context<'_> {
    /// How many breakpoints and watchpoints the guest is told of.
    pub fn debug(&self) -> Counts {
        // ID_AA64DFR0_EL1, which is always there.
        Counts::of(self.ids.feature(5, 0, self.has_gic).unwrap_or(0))
    }
}

/// The registers that trap, all zero after a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The debug registers.
    pub debug: Debug,
    /// CSSELR_EL1: which cache CCSIDR_EL1 tells of. Level and InD.
    pub csselr: u8,
}

/// What HCR_EL2.TVM traps, of what a guest has (Arm ARM D24.2, "HCR_EL2").
const TRANSLATION: [Reg; 11] = [
    Reg::Sctlr,
    Reg::Ttbr0,
    Reg::Ttbr1,
    Reg::Tcr,
    Reg::Esr,
    Reg::Far,
    Reg::Afsr0,
    Reg::Afsr1,
    Reg::Mair,
    Reg::Amair,
    Reg::Contextidr,
];

/// CSSELR_EL1 without TnD, which belongs to MTE.
const CSSELR: u64 = 0xf;
/// ICC_SRE_EL1: SRE, DFB and DIB, RAO/WI.
const ICC_SRE: u64 = 0b111;

impl State {
    /// Does an access; `value` is what an MSR writes.
    pub fn access(&mut self, access: SysregAccess, value: u64, context: &Context) -> Outcome {
        let r = access.register;
        let written = (!access.is_read).then_some(value);
        let gic = |outcome| {
            if context.has_gic {
                outcome
            } else {
                Outcome::Undefined
            }
        };
        match (r.op0, r.op1, r.crn, r.crm, r.op2, written) {
            (2, ..) => self.debug.access(r, written, context.debug()),
            (3, _, 0, ..) => self.id_space(r, written, context),
            // ACTLR_EL1: KVM ignores writes too.
            (3, 0, 1, 0, 1, None) => Outcome::Value(0),
            (3, 0, 1, 0, 1, Some(_)) => Outcome::Done,
            (3, 0, 12, 11, 5, Some(value)) => gic(Outcome::Sgi(Sgi::Group1, value)),
            (3, 0, 12, 11, 6, Some(value)) => gic(Outcome::Sgi(Sgi::OtherGroup1, value)),
            (3, 0, 12, 11, 7, Some(value)) => gic(Outcome::Sgi(Sgi::Group0, value)),
            (3, 0, 12, 12, 5, None) => gic(Outcome::Value(ICC_SRE)),
            (3, 0, 12, 12, 5, Some(_)) => gic(Outcome::Done),
            (3, 3, 14, 2, 0, _) => Outcome::Timer(timer::Register::Tval, written),
            (3, 3, 14, 2, 1, _) => Outcome::Timer(timer::Register::Ctl, written),
            (3, 3, 14, 2, 2, _) => Outcome::Timer(timer::Register::Cval, written),
            // DC ISW, CSW, CISW; their forms for tags (op2 4 and 6) belong to MTE.
            (1, 0, 7, 6 | 10 | 14, 2, Some(_)) => Outcome::SetWay,
            (3, 0, .., Some(value)) => {
                let found = TRANSLATION.iter().find(|reg| reg.encoding() == r);
                found.map_or(Outcome::Undefined, |reg| Outcome::Translation(*reg, value))
            }
            _ => Outcome::Undefined,
        }
    }

    fn id_space(&mut self, r: Encoding, written: Option<u64>, context: &Context) -> Outcome {
        // CSSELR_EL1, the only one that can be written.
        const CSSELR_EL1: Encoding = Encoding::new(3, 2, 0, 0, 0);
        match written {
            Some(value) if r == CSSELR_EL1 => {
                // Lossless: 4 bits.
                self.csselr = (value & CSSELR) as u8;
                Outcome::Done
            }
            Some(_) => Outcome::Undefined,
            None if r == CSSELR_EL1 => Outcome::Value(u64::from(self.csselr)),
            None => {
                let value = context.ids.read(r, context.has_gic, u64::from(self.csselr));
                value.map_or(Outcome::Undefined, Outcome::Value)
            }
        }
    }
}

/// The ISS with which the guest takes an [`Outcome::Undefined`], for EC 0x18; `None` for the usual
/// EC 0.
///
/// FEAT_IDST (ID_AA64MMFR2_EL1.IDS): an access to the feature ID space that is UNDEFINED reports
/// what it was.
pub fn syndrome(access: SysregAccess, context: &Context) -> Option<u32> {
    let r = access.register;
    let is_id = r.op0 == 3 && matches!(r.op1, 0 | 1 | 3) && r.crn == 0 && r.crm <= 7;
    let mmfr2 = context.ids.read(Encoding::new(3, 0, 0, 7, 2), true, 0);
    let has_idst = mmfr2.is_some_and(|mmfr2| bits(mmfr2, 36, 4) >= 1);
    (is_id && access.is_read && has_idst).then(|| access.iss())
}

#[cfg(test)]
mod tests;
