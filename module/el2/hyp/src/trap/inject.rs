// SPDX-License-Identifier: GPL-2.0
//! An exception that EL1, the host's or a guest's, is made to take.
//!
//! [`Exception::take`] does what the CPU would: it computes the PSTATE, the vector and the
//! syndrome registers, as AArch64.TakeException() in the Arm ARM (DDI 0487, J1.1) says, field by
//! field. `arch` writes the result: SPSR_EL2 and ELR_EL2 for the return from EL2, the others with
//! their EL1 names. EL1 uses AArch64 (HCR_EL2.RW is 1).

use super::{Abort, Access};
use crate::cpu::{Feature, IdRegs};

const PSTATE_M: u64 = 0xf;
const PSTATE_M4_AARCH32: u64 = 1 << 4;
const PSTATE_DAIF: u64 = 0xf << 6;
const PSTATE_SSBS: u64 = 1 << 12;
const PSTATE_ALLINT: u64 = 1 << 13;
const PSTATE_PAN: u64 = 1 << 22;
const PSTATE_DIT: u64 = 1 << 24;
const PSTATE_TCO: u64 = 1 << 25;
const PSTATE_NZCV: u64 = 0xf << 28;
const PSTATE_PM: u64 = 1 << 32;
const PSTATE_EXLOCK: u64 = 1 << 34;
const EL0T: u64 = 0;
const EL1T: u64 = 4;
const EL1H: u64 = 5;

const SCTLR_SPAN: u64 = 1 << 23;
const SCTLR_DSSBS: u64 = 1 << 44;
const SCTLR_SPINTMASK: u64 = 1 << 62;
const GCSCR_EXLOCKEN: u64 = 1 << 6;

const EC_UNKNOWN: u64 = 0x00;
const EC_SYSTEM_REGISTER: u64 = 0x18;
const EC_INSTRUCTION_ABORT_LOWER: u64 = 0x20;
const EC_PC_ALIGNMENT: u64 = 0x22;
const EC_DATA_ABORT_LOWER: u64 = 0x24;
const EC_DATA_ABORT_SAME: u64 = 0x25;
const EC_SERROR: u64 = 0x2f;
const ESR_IL: u64 = 1 << 25;
const ISS_CM: u64 = 1 << 8;
const ISS_WNR: u64 = 1 << 6;
/// IDS: the rest of the syndrome is IMPLEMENTATION DEFINED, so that no kernel reads it as an error
/// that it may contain (ISS encoding for an SError exception).
const ISS_IDS: u64 = 1 << 24;
const DFSC_ALIGNMENT: u64 = 0x21;
/// Synchronous External abort, not on a walk.
const FSC_EXTERNAL: u64 = 0x10;

/// Which exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// The answer to an access that the host has no right to: an alignment fault, because the
    /// arm64 kernel turns that one into SIGBUS at EL0 and into a fixup at EL1, without retrying
    /// (as with a Translation fault) and without tainting (as with an External abort).
    ///
    /// A data access takes a Data Abort with DFSC 0x21. A fetch takes a PC alignment fault: an
    /// Instruction Abort has no fault status code for alignment.
    Alignment {
        /// The abort that came to EL2.
        abort: Abort,
        /// FAR_EL2.
        far: u64,
    },
    /// Undefined Instruction: EC 0, the answer to a register that the host does not have.
    Undefined,
    /// A trapped System register access: EC 0x18, what FEAT_IDST makes of an UNDEFINED access to the
    /// feature ID space.
    SystemRegister {
        /// The access.
        iss: u32,
    },
    /// A synchronous External abort, not on a walk: nothing answers at this address.
    External {
        /// The access.
        access: Access,
        /// FAR_EL2.
        far: u64,
    },
    /// An SError that no kernel takes for mendable: EL2 itself is broken, and this ends the host
    /// by its own panic(), whatever it was doing. It is taken though the host may mask SErrors.
    SError,
}

/// The host's state that an exception depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// SPSR_EL2: the PSTATE that the host had.
    pub pstate: u64,
    /// ELR_EL2: where it was.
    pub pc: u64,
    /// SCTLR_EL1.
    pub sctlr: u64,
    /// VBAR_EL1.
    pub vbar: u64,
    /// GCSCR_EL1 if the CPU has FEAT_GCS, else 0.
    pub gcscr: u64,
}

/// What the registers hold after the exception was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// For SPSR_EL2: the PSTATE that the host's handler starts with.
    pub pstate: u64,
    /// For ELR_EL2: the entry in the host's vectors.
    pub pc: u64,
    /// SPSR_EL1.
    pub spsr: u64,
    /// ELR_EL1.
    pub elr: u64,
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1, or `None` where the exception leaves it alone.
    pub far: Option<u64>,
}

impl Exception {
    /// Takes the exception to EL1 on a CPU that implements `ids`.
    ///
    /// `None` if the host's PSTATE is not one of EL0 or EL1: the caller mistook whose exception it
    /// was.
    pub fn take(self, host: &Host, ids: &IdRegs) -> Option<Taken> {
        let from = Origin::of(host.pstate)?;
        let (esr, far) = self.syndrome(from);
        Some(Taken {
            pstate: new_pstate(host, ids, from),
            // Bits 10:0 of VBAR_EL1 are RES0. Synchronous exceptions come first in each group,
            // SErrors last.
            pc: (host.vbar & !0x7ff).wrapping_add(from.vector_group() + self.vector()),
            spsr: host.pstate,
            elr: host.pc,
            esr,
            far,
        })
    }

    /// Offset in the group of vectors.
    const fn vector(self) -> u64 {
        match self {
            Exception::Alignment { .. }
            | Exception::Undefined
            | Exception::SystemRegister { .. }
            | Exception::External { .. } => 0,
            Exception::SError => 0x180,
        }
    }

    fn syndrome(self, from: Origin) -> (u64, Option<u64>) {
        let esr = |ec: u64, iss: u64| (ec << 26) | ESR_IL | iss;
        match self {
            Exception::Undefined => (esr(EC_UNKNOWN, 0), None),
            Exception::SError => (esr(EC_SERROR, ISS_IDS), None),
            Exception::SystemRegister { iss } => (esr(EC_SYSTEM_REGISTER, u64::from(iss)), None),
            Exception::External { access, far } => {
                let (ec, iss) = match access {
                    Access::Fetch => (EC_INSTRUCTION_ABORT_LOWER, 0),
                    Access::Read => (EC_DATA_ABORT_LOWER, 0),
                    Access::Write => (EC_DATA_ABORT_LOWER, ISS_WNR),
                };
                // The class of the same level is one more than that of a lower level.
                let ec = ec + u64::from(from.is_el1());
                (esr(ec, iss | FSC_EXTERNAL), Some(far))
            }
            Exception::Alignment { abort, far } => match abort.access {
                Access::Fetch => (esr(EC_PC_ALIGNMENT, 0), Some(far)),
                Access::Read | Access::Write => {
                    let ec = match from {
                        Origin::El0 | Origin::El0Aarch32 => EC_DATA_ABORT_LOWER,
                        Origin::El1t | Origin::El1h => EC_DATA_ABORT_SAME,
                    };
                    // ISV is 0 for an abort that stage 1 reports, so that the fields of the
                    // instruction stay 0 and IL is 1 (ISS encoding for a Data Abort).
                    let wnr = if abort.access == Access::Write {
                        ISS_WNR
                    } else {
                        0
                    };
                    let cm = if abort.is_cache_maintenance {
                        ISS_CM
                    } else {
                        0
                    };
                    (esr(ec, cm | wnr | DFSC_ALIGNMENT), Some(far))
                }
            },
        }
    }
}

/// Where the host was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    El0,
    El0Aarch32,
    El1t,
    El1h,
}

impl Origin {
    fn of(pstate: u64) -> Option<Origin> {
        if pstate & PSTATE_M4_AARCH32 != 0 {
            // With EL1 in AArch64 state only User mode, M[3:0] = 0, can be AArch32.
            return (pstate & PSTATE_M == 0).then_some(Origin::El0Aarch32);
        }
        match pstate & PSTATE_M {
            EL0T => Some(Origin::El0),
            EL1T => Some(Origin::El1t),
            EL1H => Some(Origin::El1h),
            _ => None,
        }
    }

    /// Offset of the group of vectors (Arm ARM D1.3.1.5, "Exception vectors").
    const fn vector_group(self) -> u64 {
        match self {
            Origin::El1t => 0x000,
            Origin::El1h => 0x200,
            Origin::El0 => 0x400,
            Origin::El0Aarch32 => 0x600,
        }
    }

    const fn is_el1(self) -> bool {
        matches!(self, Origin::El1t | Origin::El1h)
    }
}

/// PSTATE on entry to EL1. The fields that AArch64.TakeException() leaves alone have the same
/// place in an SPSR_ELx that came from AArch32 state (Arm ARM C5.2.19, "SPSR_EL2").
fn new_pstate(host: &Host, ids: &IdRegs, from: Origin) -> u64 {
    let old = host.pstate;
    // M: EL1, with SP_EL1. D, A, I, F: masked. Kept: N, Z, C, V and DIT. All the fields that are
    // not named here become 0: UINJ, PACM, PPEND, UAO, SS, IL, BTYPE.
    let mut new = EL1H | PSTATE_DAIF | (old & (PSTATE_NZCV | PSTATE_DIT));

    // PAN is kept unless SCTLR_EL1.SPAN is 0, which sets it. SPAN is RES1 without FEAT_PAN, but a
    // kernel may have written 0 there, so ask for the feature.
    if ids.has(Feature::Pan) {
        new |= old & PSTATE_PAN;
        if host.sctlr & SCTLR_SPAN == 0 {
            new |= PSTATE_PAN;
        }
    }
    // SSBS takes the value of SCTLR_EL1.DSSBS.
    if ids.has(Feature::Ssbs) && host.sctlr & SCTLR_DSSBS != 0 {
        new |= PSTATE_SSBS;
    }
    // TCO is set: a handler starts with tag checks off.
    if ids.has(Feature::Mte) {
        new |= PSTATE_TCO;
    }
    // ALLINT takes the inverse of SCTLR_EL1.SPINTMASK.
    if ids.has(Feature::Nmi) && host.sctlr & SCTLR_SPINTMASK == 0 {
        new |= PSTATE_ALLINT;
    }
    // PM, the mask of the exceptions of PMU, SPE and TRBE, is set.
    if ids.has(Feature::ProfilingMask) {
        new |= PSTATE_PM;
    }
    // EXLOCK is 0 on the way to a higher level, and GCSCR_EL1.EXLOCKEN within one (R_WTXBY).
    if ids.has(Feature::Gcs) && from.is_el1() && host.gcscr & GCSCR_EXLOCKEN != 0 {
        new |= PSTATE_EXLOCK;
    }
    new
}
