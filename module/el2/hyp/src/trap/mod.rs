// SPDX-License-Identifier: GPL-2.0
//! Why the host came to EL2: ESR_EL2 decoded once, into an enum.
//!
//! [`Trap::decode`] takes the syndrome of a synchronous exception from a lower Exception level.
//! What it does not know is an error, never a default: an exception class that a lower level
//! cannot cause, a fault status code that is reserved. `abort` turns the fault registers into an
//! address, `inject` computes an exception that the host's EL1 is to take. All of it is a function
//! of register values; no state, no lock.
//!
//! Encodings: Arm ARM (DDI 0487) D24.2.40, "ESR_EL2, Exception Syndrome Register (EL2)".

mod abort;
mod inject;

pub use abort::{Abort, Access, Fault, FaultAddress, FaultRegisters};
pub use inject::{Exception, Host, Taken};

use crate::cpu::bits;

/// PSTATE.BTYPE and SS: an instruction that EL2 has done for a lower level ends both.
pub const PSTATE_DONE: u64 = 0b11 << 10 | 1 << 21;

/// A synchronous exception that a lower Exception level took to EL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// An HVC instruction executed in AArch64 state.
    Hvc {
        /// The instruction's immediate.
        imm: u16,
    },
    /// An SMC instruction executed in AArch64 state, trapped by HCR_EL2.TSC.
    Smc {
        /// The instruction's immediate.
        imm: u16,
    },
    /// A Data Abort or Instruction Abort.
    Abort(Abort),
    /// A trapped MSR, MRS or System instruction in AArch64 state.
    SystemRegister(SysregAccess),
    /// Any other class that a lower Exception level can cause.
    Other {
        /// ESR_EL2.EC.
        ec: u8,
        /// ESR_EL2.ISS.
        iss: u32,
    },
}

/// A syndrome that no architecture version known here gives to an exception from a lower level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// ESR_EL2.EC is reserved, or belongs to an exception from EL2 itself or to EL1 or EL3.
    Class(u8),
    /// The fault status code of an abort is reserved.
    FaultStatus(u8),
}

/// The five numbers that name a System register in an MSR or MRS instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// 2 or 3 for a register, 1 for a System instruction.
    pub op0: u8,
    /// 0 to 7.
    pub op1: u8,
    /// 0 to 15.
    pub crn: u8,
    /// 0 to 15.
    pub crm: u8,
    /// 0 to 7.
    pub op2: u8,
}

impl Encoding {
    /// From the five numbers, in the order of the generic name `S<op0>_<op1>_<Cn>_<Cm>_<op2>`.
    pub const fn new(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> Encoding {
        Encoding {
            op0,
            op1,
            crn,
            crm,
            op2,
        }
    }

    /// SCTLR_EL1.
    pub const SCTLR_EL1: Encoding = Encoding::new(3, 0, 1, 0, 0);

    /// As in bits 20:5 of the instruction: what `sys_reg()` of Linux computes.
    pub const fn in_instruction(self) -> u64 {
        ((self.op0 as u64) << 19)
            | ((self.op1 as u64) << 16)
            | ((self.crn as u64) << 12)
            | ((self.crm as u64) << 8)
            | ((self.op2 as u64) << 5)
    }
}

/// A trapped access to a System register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SysregAccess {
    /// Which register.
    pub register: Encoding,
    /// Number of the general-purpose register; 31 is XZR.
    pub rt: u8,
    /// MRS (or a System instruction with a result) if set, MSR if not.
    pub is_read: bool,
}

impl Trap {
    /// Decodes ESR_EL2 of a synchronous exception from a lower Exception level.
    pub fn decode(esr: u64) -> Result<Trap, Unknown> {
        // Lossless: 6, 25 and 16 bits.
        let ec = bits(esr, 26, 6) as u8;
        let iss = bits(esr, 0, 25) as u32;
        let imm = bits(esr, 0, 16) as u16;
        match ec {
            0x16 => Ok(Trap::Hvc { imm }),
            0x17 => Ok(Trap::Smc { imm }),
            0x18 => Ok(Trap::SystemRegister(SysregAccess::decode(esr))),
            0x20 => Abort::decode(esr, true).map(Trap::Abort),
            0x24 => Abort::decode(esr, false).map(Trap::Abort),
            // Unknown reason, WFx, AArch32 system registers and FP/SIMD traps.
            0x00 | 0x01 | 0x03..=0x08 => Ok(Trap::Other { ec, iss }),
            // PAC trap, LD64B and its like, MRRC, BTI, Illegal Execution state.
            0x09 | 0x0a | 0x0c..=0x0e => Ok(Trap::Other { ec, iss }),
            // HVC and SMC in AArch32 state, 128-bit MSRR and MRRS, SVE, ERET, TSTART, PAC failure,
            // SME.
            0x12 | 0x13 | 0x14 | 0x19 | 0x1a | 0x1b | 0x1c | 0x1d => Ok(Trap::Other { ec, iss }),
            // PC and SP alignment, memory copy, FP exceptions, GCS.
            0x22 | 0x26 | 0x27 | 0x28 | 0x2c | 0x2d => Ok(Trap::Other { ec, iss }),
            // Debug exceptions from a lower level, routed by MDCR_EL2.TDE; SVC by HCR_EL2.TGE.
            0x11 | 0x15 | 0x30 | 0x32 | 0x34 | 0x38 | 0x3a | 0x3c | 0x3d => {
                Ok(Trap::Other { ec, iss })
            }
            _ => Err(Unknown::Class(ec)),
        }
    }

    /// By how much ELR_EL2 has to grow before the host goes on behind the instruction.
    ///
    /// The preferred return address of an HVC is already the next instruction; that of a trapped
    /// SMC or register access is the instruction itself (Arm ARM D1.4.1). All are 4 bytes long.
    pub const fn advance(&self) -> u64 {
        match self {
            Trap::Hvc { .. } => 0,
            Trap::Smc { .. } | Trap::SystemRegister(_) => 4,
            // An abort or an unexpected trap is not completed: the instruction is to run again.
            Trap::Abort(_) | Trap::Other { .. } => 0,
        }
    }
}

impl SysregAccess {
    fn decode(esr: u64) -> SysregAccess {
        // ISS encoding for EC 0x18. Each field has at most 5 bits, so that the casts lose nothing.
        SysregAccess {
            register: Encoding {
                op0: bits(esr, 20, 2) as u8,
                op2: bits(esr, 17, 3) as u8,
                op1: bits(esr, 14, 3) as u8,
                crn: bits(esr, 10, 4) as u8,
                crm: bits(esr, 1, 4) as u8,
            },
            rt: bits(esr, 5, 5) as u8,
            is_read: bits(esr, 0, 1) == 1,
        }
    }

    /// The ISS that it was decoded from, for an exception that says the same.
    pub const fn iss(&self) -> u32 {
        let e = self.register;
        (e.op0 as u32) << 20
            | (e.op2 as u32) << 17
            | (e.op1 as u32) << 14
            | (e.crn as u32) << 10
            | (self.rt as u32) << 5
            | (e.crm as u32) << 1
            | self.is_read as u32
    }
}

#[cfg(test)]
mod tests;
