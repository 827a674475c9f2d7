// SPDX-License-Identifier: GPL-2.0
//! ESR_EL2 of an exception that a guest took to EL2, decoded into what is to be done.
//!
//! The decoding is total: what the traps of [`traps`](super::traps) cannot cause is a failure of the
//! vCPU, never a default. Encodings: Arm ARM (DDI 0487) D24.2.40. No state, no lock.

use mvirt_abi::Failure;

use super::mmio::Mmio;
use crate::cpu::bits;
use crate::trap::{Abort, Fault, SysregAccess, Trap};

/// WFI or WFE, with or without a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wfx {
    /// WFE or WFET: the guest spins. Else it waits for an interrupt.
    pub is_event: bool,
    /// The register that holds the limit of WFIT or WFET, a value of CNTVCT_EL0; 31 is XZR.
    pub limit: Option<u8>,
}

/// An access to memory that stage 2 stopped.
///
/// Cache maintenance ([`Abort::is_cache_maintenance`]) of an address that is no memory has nothing to
/// do, and is not for the host: the guest goes on behind it (KVM does so too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// What it was; [`Abort::address`] says where.
    pub abort: Abort,
    /// The instruction, if the syndrome describes it: only then can the access be done in the
    /// guest's place.
    pub mmio: Option<Mmio>,
}

impl Access {
    /// Whether stage 2 maps the page, but not with this right.
    pub const fn is_permission(&self) -> bool {
        matches!(self.abort.fault, Fault::Permission { .. })
    }

    /// The second result of [`mvirt_abi::Exit::Abort`]; `guarded` is
    /// [`Guard::contains`](super::guard::Guard::contains) of a protected guest.
    pub fn exit_bits(&self, guarded: bool) -> u64 {
        use crate::trap::Access::{Fetch, Read, Write};
        use mvirt_abi::abort as exit;
        let mut value = match self.abort.access {
            Read => 0,
            Write => exit::WRITE,
            Fetch => exit::FETCH,
        };
        if let Some(mmio) = self.mmio {
            value |= exit::DECODED | (u64::from(mmio.size_log2) << exit::SIZE_SHIFT);
        }
        let mut set = |condition, bit| value |= if condition { bit } else { 0 };
        set(self.abort.on_walk, exit::TABLE_WALK);
        set(self.is_permission(), exit::PERMISSION);
        set(guarded, exit::GUARDED);
        value
    }
}

/// What a guest's exception asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call by HVC: [`services`](super::services). The PC is behind the instruction already.
    Hvc {
        /// The immediate.
        imm: u16,
    },
    /// A call by SMC, answered as one by HVC. The PC is at the instruction.
    Smc {
        /// The immediate.
        imm: u16,
    },
    /// The guest has nothing to do. The PC is at the instruction.
    Wait(Wfx),
    /// Its first use of FP or SIMD registers, with CPTR_EL2.TFP set. The instruction runs again.
    FpSimd,
    /// A System register: [`sysreg`](super::sysreg). The PC is at the instruction.
    Sysreg(SysregAccess),
    /// Memory that stage 2 does not map, or not with this right.
    Memory(Access),
    /// The guest takes an Undefined Instruction exception: a feature that it was told is not there.
    Undefined,
    /// The guest takes a synchronous External abort for this access.
    External(Abort),
    /// EL2 cannot go on with this vCPU; with it the exception class.
    Failed(Failure, u8),
}

/// PSTATE.M, of which bit 4 means AArch32.
const PSTATE_M: u64 = 0x1f;
/// One bit for each PSTATE.M that a guest may be in: EL0t, EL1t, EL1h.
const LEGAL: u32 = 1 | 1 << 4 | 1 << 5;

/// Whether a guest may be in this PSTATE: AArch64 and EL0 or EL1.
///
/// On a CPU whose EL0 can do AArch32, HCR_EL2.RW does not keep a guest from returning to AArch32
/// EL0, though its ID registers say that there is none. The run loop asks at every exit, an
/// interrupt's included, and before it takes a PSTATE from the host.
pub const fn is_legal(pstate: u64) -> bool {
    LEGAL >> (pstate & PSTATE_M) & 1 == 1
}

impl Event {
    /// Decodes ESR_EL2 of a synchronous exception; `pstate` is SPSR_EL2.
    pub fn decode(esr: u64, pstate: u64) -> Event {
        // Lossless: 6 bits.
        let class = bits(esr, 26, 6) as u8;
        if !is_legal(pstate) {
            return Event::Failed(Failure::IllegalState, class);
        }
        match Trap::decode(esr) {
            Ok(Trap::Hvc { imm }) => Event::Hvc { imm },
            Ok(Trap::Smc { imm }) => Event::Smc { imm },
            Ok(Trap::SystemRegister(access)) => Event::Sysreg(access),
            Ok(Trap::Abort(abort)) => of_abort(abort, esr, class),
            Ok(Trap::Other { ec, iss }) => of_class(ec, iss),
            Err(_) => Event::Failed(Failure::UnexpectedTrap, class),
        }
    }
}

fn of_abort(abort: Abort, esr: u64, class: u8) -> Event {
    match abort.fault {
        Fault::Translation { .. }
        | Fault::Permission { .. }
        | Fault::AccessFlag { .. }
        | Fault::AddressSize { .. } => Event::Memory(Access {
            abort,
            mmio: Mmio::decode(esr),
        }),
        // HCR_EL2.TEA: the memory that the guest named answered with an error. Or it is of a kind
        // that does no exclusives or atomics, which stage 2 does not hide.
        Fault::External { level: None } | Fault::UnsupportedAtomic => Event::External(abort),
        // On a walk the descriptors are at fault, be they the guest's or those of stage 2. A
        // granule protection fault means that the page left Non-secure memory.
        Fault::External { level: Some(_) } | Fault::GranuleProtection { .. } => {
            Event::Failed(Failure::MemoryError, class)
        }
        // Faults of stage 1 go to the guest itself; a TLB conflict says that break-before-make was
        // not kept for stage 2.
        Fault::TagCheck | Fault::Alignment | Fault::TlbConflict | Fault::Lockdown => {
            Event::Failed(Failure::UnexpectedTrap, class)
        }
    }
}

fn of_class(ec: u8, iss: u32) -> Event {
    match ec {
        0x01 => Event::Wait(Wfx::decode(iss)),
        0x07 => Event::FpSimd,
        // Unknown reason: nothing else describes an instruction that EL2's controls made UNDEFINED.
        // Then features that are hidden: pointer authentication (HCR_EL2.API), LD64B and its like
        // (HCRX_EL2.EnALS), MSRR, MRRS (HCRX_EL2.D128En), SVE, TSTART (HCR_EL2.TME), SME, GCS.
        0x00 | 0x09 | 0x0a | 0x14 | 0x19 | 0x1b | 0x1d | 0x2d => Event::Undefined,
        0x0e => Event::Failed(Failure::IllegalState, ec),
        // AArch32 classes cannot come from a legal PSTATE; debug exceptions go to the guest as
        // MDCR_EL2.TDE is clear, SVC, ERET, BTI, FPAC, alignment and the others as nothing routes
        // them to EL2.
        _ => Event::Failed(Failure::UnexpectedTrap, ec),
    }
}

impl Wfx {
    /// ISS encoding for an exception from a WF* instruction: TI bits 1:0, RV bit 2, RN bits 9:5.
    fn decode(iss: u32) -> Wfx {
        let iss = u64::from(iss);
        let has_limit = bits(iss, 1, 1) == 1 && bits(iss, 2, 1) == 1;
        Wfx {
            is_event: bits(iss, 0, 1) == 1,
            // Without RV the register is not known: a wait without limit is a legal WFIT too, as
            // it may end early or late by any event (KVM does the same).
            limit: has_limit.then_some(bits(iss, 5, 5) as u8),
        }
    }
}

#[cfg(test)]
mod tests;
