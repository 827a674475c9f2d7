// SPDX-License-Identifier: GPL-2.0
//! Calls of the host to EL2 (HVC) and to the firmware (SMC): which is which, and which is refused.
//!
//! An SMC of the host is trapped (HCR_EL2.TSC). PSCI goes to the relay (`psci`). Refused are the
//! calls by which the firmware would enter Non-secure EL2 at an address of the host's choice, or
//! would give memory away that the host does not own. The rest is forwarded with x0 to x17.
//!
//! FF-A is refused as a whole, not only where it maps or shares: buffers and shares that were made
//! before take-over are still in force in the firmware, and a call that names no address, such as
//! FFA_PARTITION_INFO_GET or a message, then writes to a page that EL2 may own by now.
//!
//! The decision is made on the function identifier as the firmware reads it: W0, without the
//! hint bit, and with the reserved bits required to be zero, so that no two spellings of one
//! call are told apart here and taken for the same there.
//!
//! Sources: Arm DEN0028 (SMC Calling Convention, 1.5), DEN0077A (FF-A, 1.2), DEN0054 (SDEI),
//! DEN0113 (DRTM), DEN0137 (RMM), DEN0147 (live firmware activation). No state, no lock.

use crate::psci::Identifier;
use mvirt_abi::Call;

/// NOT_SUPPORTED, in PSCI's and SMCCC's numbering.
pub const NOT_SUPPORTED: u64 = (-1i64) as u64;

/// Bit 31: a fast call.
const FAST: u32 = 1 << 31;
/// Bit 30: SMC64.
const SMC64: u32 = 1 << 30;
/// Bits 23:17 of a fast call: must be zero.
const RESERVED: u32 = 0x00fe_0000;
/// Bit 16 of a fast call (SMCCC 1.3): the caller has no live SVE state. Not part of the function.
const SVE_HINT: u32 = 1 << 16;
/// Owning entity 4, "standard secure services", with the number of the function in bits 15:0.
const STANDARD: u32 = 0x0400_0000;

/// What an SMC of the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smc {
    /// PSCI: for the relay.
    Psci(Identifier),
    /// Answered by EL2 with these x0 to x3; x4 to x7 become 0 if `clears_x4_to_x7`.
    Refuse {
        /// Why.
        why: Refusal,
        /// x0 to x3.
        result: [u64; 4],
        /// FF-A: the unused result registers are zero (DEN0077A, 11.2).
        clears_x4_to_x7: bool,
    },
    /// Forwarded. x0 is this, x1 to x17 are the host's; the firmware's x0 to x17 go back.
    Forward {
        /// The function identifier, upper half of x0 cleared.
        x0: u64,
    },
}

/// Why an SMC is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The immediate is not 0, the only one that SMCCC defines.
    Immediate,
    /// A fast call with reserved bits set.
    ReservedBits,
    /// FF-A: reads and writes buffers that EL2 knows nothing of.
    Ffa,
    /// FFA_VERSION, whose error has a shape of its own: there is no FF-A.
    FfaVersion,
    /// SDEI: the firmware enters its handlers at EL2.
    Sdei,
    /// DRTM: launches a payload at EL2.
    Drtm,
    /// Live firmware activation: returns to an entry point at EL2.
    FirmwareActivation,
    /// RMI: moves memory to the Realm world.
    Realm,
}

impl Refusal {
    /// All, for the documentation and for tests.
    pub const ALL: [Refusal; 8] = [
        Refusal::Immediate,
        Refusal::ReservedBits,
        Refusal::Ffa,
        Refusal::FfaVersion,
        Refusal::Sdei,
        Refusal::Drtm,
        Refusal::FirmwareActivation,
        Refusal::Realm,
    ];
}

/// FF-A's share of the standard secure services (DEN0028).
const FFA: core::ops::RangeInclusive<u32> = 0x60..=0xef;
const FFA_ERROR: u64 = 0x8400_0060;
const FFA_VERSION: u32 = 0x63;
/// NOT_SUPPORTED in FF-A, a 32-bit code in W2.
const FFA_NOT_SUPPORTED: u64 = 0xffff_ffff;

/// The function identifier of FFA_RXTX_UNMAP, by which EL2 can have the firmware forget the buffers
/// that the host registered before take-over. W1 bits 31:16: the partition, 0 for the caller.
pub const FFA_RXTX_UNMAP: u32 = 0x8400_0067;

impl Smc {
    /// Classifies `smc #imm` with `x0`.
    pub fn classify(imm: u16, x0: u64) -> Smc {
        if imm != 0 {
            return refuse(Refusal::Immediate);
        }
        // Lossless: the function identifier is W0.
        let w0 = (x0 & 0xffff_ffff) as u32;
        let forward = Smc::Forward { x0: u64::from(w0) };
        if w0 & FAST == 0 {
            // Yielding calls are Trusted OSes' and follow their own scheme.
            return forward;
        }
        if w0 & RESERVED != 0 {
            return refuse(Refusal::ReservedBits);
        }
        let id = w0 & !SVE_HINT;
        if let Some(psci) = Identifier::decode(id) {
            return Smc::Psci(psci);
        }
        match standard_number(id).and_then(refusal) {
            Some(why) => refuse(why),
            None => forward,
        }
    }
}

/// The function number, if `id` is a standard secure service, whatever its form.
fn standard_number(id: u32) -> Option<u32> {
    let number = id & 0xffff;
    (id & !SMC64 == FAST | STANDARD | number).then_some(number)
}

/// Whether and why a standard secure service is refused. Both forms of a number are: what a form
/// that is not specified does, is the firmware's choice.
fn refusal(number: u32) -> Option<Refusal> {
    match number {
        0x20..=0x3f => Some(Refusal::Sdei),
        FFA_VERSION => Some(Refusal::FfaVersion),
        _ if FFA.contains(&number) => Some(Refusal::Ffa),
        0x110..=0x12f => Some(Refusal::Drtm),
        0x150..=0x1cf => Some(Refusal::Realm),
        0x2e0..=0x2ff => Some(Refusal::FirmwareActivation),
        _ => None,
    }
}

fn refuse(why: Refusal) -> Smc {
    match why {
        Refusal::Ffa => Smc::Refuse {
            why,
            // w0 = FFA_ERROR, w1 = 0 (no target), w2 = the code.
            result: [FFA_ERROR, 0, FFA_NOT_SUPPORTED, 0],
            clears_x4_to_x7: true,
        },
        _ => Smc::Refuse {
            why,
            result: [NOT_SUPPORTED, 0, 0, 0],
            clears_x4_to_x7: why == Refusal::FfaVersion,
        },
    }
}

/// The calls that the kernel makes to its hyp stub (arch/arm64/include/asm/virt.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StubCall {
    /// Sets VBAR_EL2: KVM at its start, and Hibernation.
    SetVectors = 0,
    /// Branches to an address at EL2: kexec.
    SoftRestart = 1,
    /// Restores the stub's vectors.
    ResetVectors = 2,
    /// Lets the CPU go on at EL2 if it can and is told to.
    FinaliseEl2 = 3,
    /// Reads ICH_VTR_EL2 into x1. Since 7.3, for each CPU that comes online.
    GetIchVtrEl2 = 4,
}

impl StubCall {
    /// All, by number.
    pub const ALL: [StubCall; 5] = [
        StubCall::SetVectors,
        StubCall::SoftRestart,
        StubCall::ResetVectors,
        StubCall::FinaliseEl2,
        StubCall::GetIchVtrEl2,
    ];

    /// What EL2 answers after take-over.
    pub const fn answer(self) -> StubAnswer {
        match self {
            // Each would end EL2's rule, or let the host run at EL2. The stub gives the error for
            // what it does not know, and its callers take it: cpu_soft_restart() falls through and
            // starts the new kernel at EL1, finalise_el2() stays at EL1.
            StubCall::SetVectors
            | StubCall::SoftRestart
            | StubCall::ResetVectors
            | StubCall::FinaliseEl2 => StubAnswer::Error,
            StubCall::GetIchVtrEl2 => StubAnswer::IchVtr,
        }
    }
}

/// x0 of a refused stub call: HVC_STUB_ERR.
pub const HVC_STUB_ERR: u64 = 0x0bad_ca11;

/// How a stub call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StubAnswer {
    /// x0 = [`HVC_STUB_ERR`].
    Error,
    /// x0 = 0 and x1 = ICH_VTR_EL2 if the CPU has the GIC's System registers; else
    /// [`StubAnswer::Error`], as the register would be undefined.
    IchVtr,
}

/// What an HVC of the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hvc {
    /// A call to the kernel's hyp stub.
    Stub(StubCall),
    /// A call of mvirt's own.
    Mvirt(Call),
    /// Anything else: x0 = [`NOT_SUPPORTED`]. KVM's and other hypervisors' services are not here,
    /// so that discovery by their UIDs fails, as it must.
    Unknown,
}

impl Hvc {
    /// Classifies `hvc #imm` with `x0`. All 64 bits of x0 count, as for the stub.
    pub fn classify(imm: u16, x0: u64) -> Hvc {
        if imm != 0 {
            return Hvc::Unknown;
        }
        // The stub's are below ours, and rare.
        if let Some(call) = Call::from_id(x0) {
            return Hvc::Mvirt(call);
        }
        let stub = StubCall::ALL.into_iter().find(|call| *call as u64 == x0);
        stub.map_or(Hvc::Unknown, Hvc::Stub)
    }
}

#[cfg(test)]
mod tests;
