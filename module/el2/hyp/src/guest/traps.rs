// SPDX-License-Identifier: GPL-2.0
//! The EL2 registers that a CPU runs a guest with: what is trapped, and why.
//!
//! HCR_EL2.E2H is 0. A bit that is not named is 0. Where a feature is hidden from the ID registers,
//! its trap is set if the CPU has the feature; `Documentation/guest-cpu.rst` says for which hidden
//! features there is no trap. Bits: Arm ARM (DDI 0487) D24.2. No state, no lock.

use super::idregs::GuestIds;
use crate::cpu::{bits, Feature, IdRegs};

/// HCR_EL2.
mod hcr {
    /// Stage 2 is on.
    pub const VM: u64 = 1 << 0;
    /// Invalidation by set and way also cleans.
    pub const SWIO: u64 = 1 << 1;
    /// A walk of stage 1 that meets Device memory faults: it would be an access with side effects.
    pub const PTW: u64 = 1 << 2;
    /// Physical FIQ, IRQ and SError come to EL2, and virtual ones are on.
    pub const FMO: u64 = 1 << 3;
    /// See [`FMO`].
    pub const IMO: u64 = 1 << 4;
    /// See [`FMO`].
    pub const AMO: u64 = 1 << 5;
    /// TLB and instruction cache maintenance reaches the CPUs that the vCPU ran on before.
    pub const FB: u64 = 1 << 9;
    /// Barriers reach at least the inner shareable domain, for the same reason.
    pub const BSU_IS: u64 = 1 << 10;
    /// WFI: another may run.
    pub const TWI: u64 = 1 << 13;
    /// WFE: another may run.
    pub const TWE: u64 = 1 << 14;
    /// REVIDR_EL1, AIDR_EL1, SMIDR_EL1.
    pub const TID1: u64 = 1 << 16;
    /// CTR_EL0, CCSIDR_EL1, CCSIDR2_EL1, CLIDR_EL1, CSSELR_EL1.
    pub const TID2: u64 = 1 << 17;
    /// The feature registers.
    pub const TID3: u64 = 1 << 18;
    /// SMC: the firmware is not the guest's.
    pub const TSC: u64 = 1 << 19;
    /// IMPLEMENTATION DEFINED registers.
    pub const TIDCP: u64 = 1 << 20;
    /// ACTLR_EL1.
    pub const TACR: u64 = 1 << 21;
    /// Maintenance by set and way.
    pub const TSW: u64 = 1 << 22;
    /// EL1 is AArch64.
    pub const RW: u64 = 1 << 31;
    /// LORegions.
    pub const TLOR: u64 = 1 << 35;
    /// The RAS error records: hidden.
    pub const TERR: u64 = 1 << 36;
    /// Synchronous External aborts come to EL2, which decides whose error it is.
    pub const TEA: u64 = 1 << 37;
    /// The keys of pointer authentication are not trapped.
    pub const APK: u64 = 1 << 40;
    /// Instructions of pointer authentication are not trapped.
    pub const API: u64 = 1 << 41;
    /// Stage 2 attributes override stage 1's.
    pub const FWB: u64 = 1 << 46;
    /// As TID2, without CTR_EL0, which EL0 reads often.
    pub const TID4: u64 = 1 << 49;
    /// GMID_EL1.
    pub const TID5: u64 = 1 << 58;
}

/// What the run loop chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Stage 2 is written in the encoding of FEAT_S2FWB.
    pub fwb: bool,
    /// Trap FP and SIMD: the vCPU's registers are not loaded.
    pub trap_fp: bool,
    /// The host's MDCR_EL2.
    pub host_mdcr: u64,
}

/// The values for one CPU. Those of a feature that the CPU has not are 0 and not to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traps {
    /// HCR_EL2, without the virtual interrupts.
    pub hcr: u64,
    /// HCRX_EL2, with FEAT_HCX.
    pub hcrx: u64,
    /// CPTR_EL2.
    pub cptr: u64,
    /// MDCR_EL2.
    pub mdcr: u64,
    /// CNTHCTL_EL2.
    pub cnthctl: u64,
    /// HFGITR_EL2, with FEAT_FGT.
    pub hfgitr: u64,
    /// HDFGRTR_EL2, with FEAT_FGT.
    pub hdfgrtr: u64,
}

/// HSTR_EL2: its traps are AArch32's.
pub const HSTR: u64 = 0;
/// HFGRTR_EL2 and HFGWTR_EL2, with FEAT_FGT: every bit that allows something (the names with n)
/// is 0, so that what belongs to a hidden feature traps: nAMAIR2, nMAIR2, nPOR, nPIR, nPIRE0,
/// nRCWMASK, nTPIDR2, nSMPRI, nGCS, nACCDATA. What the bits that forbid would trap is either the
/// guest's, or trapped by HCR_EL2 on every CPU.
pub const HFGXTR: u64 = 0;
/// HDFGWTR_EL2, HAFGRTR_EL2 and, with FEAT_FGT2, HFGRTR2_EL2, HFGWTR2_EL2, HFGITR2_EL2,
/// HDFGRTR2_EL2 and HDFGWTR2_EL2: the same. Trace, SPE, PMU and AMU are trapped by MDCR_EL2 and
/// CPTR_EL2 as a whole.
pub const OTHER_FGT: u64 = 0;

impl Traps {
    /// For a CPU with `cpu`'s registers and guests that see `guest`.
    pub fn new(cpu: &IdRegs, guest: &GuestIds, options: &Options) -> Traps {
        Traps {
            hcr: hcr(cpu, guest, options),
            hcrx: hcrx(cpu),
            cptr: cptr(cpu, options),
            mdcr: mdcr(options),
            cnthctl: CNTHCTL,
            hfgitr: hfgitr(cpu),
            hdfgrtr: hdfgrtr(cpu),
        }
    }
}

/// `bit` if `condition`.
const fn when(condition: bool, bit: u64) -> u64 {
    if condition {
        bit
    } else {
        0
    }
}

fn hcr(cpu: &IdRegs, guest: &GuestIds, options: &Options) -> u64 {
    use hcr::*;
    let always = VM | SWIO | PTW | FMO | IMO | AMO | FB | BSU_IS | TWI | TWE | RW;
    let registers = TID1 | TID3 | TSC | TIDCP | TACR | TSW;
    // CTR_EL0 itself is trapped only where it is not what guests are told. TminLine, above bit 31, is
    // of use with MTE only.
    let has_tid4 = bits(cpu.mmfr2, 56, 4) >= 1;
    let caches = if has_tid4 && bits(cpu.ctr, 0, 32) == guest.ctr() {
        TID4
    } else {
        TID2
    };
    // RAS: ID_AA64PFR0_EL1. Without it the bits are RES0.
    let has_ras = bits(cpu.pfr0, 28, 4) >= 1;
    always
        | registers
        | caches
        | when(cpu.has(Feature::Lor), TLOR)
        | when(has_ras, TERR | TEA)
        // Not ATA: no tags are read or written, and the registers of MTE trap.
        | when(cpu.has(Feature::Mte), TID5)
        | when(guest.has_pauth(), API | APK)
        | when(options.fwb, FWB)
}

/// Every bit that allows something is 0: EnAS0, EnALS, EnASR (LD64B), SMPME, MSCEn (MOPS: UNDEFINED),
/// TCR2En, SCTLR2En, D128En, EnSNERR, EnSDERR, EnIDCP128, GCSEn, EnFPM, PACMEn. FnXS and FGTnXS are
/// 0: the nXS forms stay what they are.
fn hcrx(cpu: &IdRegs) -> u64 {
    /// TALLINT: writes of ALLINT trap. Reads do not; ALLINT stays 0.
    const TALLINT: u64 = 1 << 6;
    when(cpu.has(Feature::Hcx) && cpu.has(Feature::Nmi), TALLINT)
}

fn cptr(cpu: &IdRegs, options: &Options) -> u64 {
    /// RES1 with E2H 0: bits 13, 9 and 7:0. TZ (8) and TSM (12) trap SVE and SME, and are RES1
    /// without them.
    const SET: u64 = 0x33ff;
    const TFP: u64 = 1 << 10;
    /// Trace registers.
    const TTA: u64 = 1 << 20;
    /// Activity monitors.
    const TAM: u64 = 1 << 30;
    // TCPAC (31) is 0: CPACR_EL1 is the guest's.
    let has_amu = bits(cpu.pfr0, 44, 4) >= 1;
    SET | TTA | when(has_amu, TAM) | when(options.trap_fp, TFP)
}

/// The bits of the host that say how its counters count stay: HPMN (4:0), HPME, HPMD, HCCD, HLP,
/// MTPME, HPMFZO, HPMFZS. The owners of the profiling (E2PB) and trace (E2TB) buffers are 0: EL2,
/// so that their registers trap. TDE is 0: debug exceptions of the guest are the guest's. EnSPM,
/// PMEE, EBWE, PMSSE and EnSTEPOP are 0.
fn mdcr(options: &Options) -> u64 {
    const COUNTING: u64 = 0x1f | 1 << 7 | 1 << 17 | 1 << 23 | 1 << 26 | 1 << 28 | 1 << 29 | 1 << 36;
    const TPMCR: u64 = 1 << 5;
    const TPM: u64 = 1 << 6;
    /// Debug registers.
    const TDA: u64 = 1 << 9;
    /// OSLAR_EL1, OSDLR_EL1, DBGPRCR_EL1.
    const TDOSA: u64 = 1 << 10;
    /// MDRAR_EL1.
    const TDRA: u64 = 1 << 11;
    /// SPE's sampling controls.
    const TPMS: u64 = 1 << 14;
    /// TRFCR_EL1.
    const TTRF: u64 = 1 << 19;
    (options.host_mdcr & COUNTING) | TPMCR | TPM | TDA | TDOSA | TDRA | TPMS | TTRF
}

/// CNTHCTL_EL2 with E2H 0: EL1PCTEN is 1, the physical counter is not trapped; EL1PCEN is 0, the
/// physical timer is. The virtual timer and counter are the guest's (EL1TVT, EL1TVCT 0), CNTPOFF_EL2
/// is off (ECV 0), there are no events.
pub const CNTHCTL: u64 = 1 << 0;

/// MPAM2_EL2 for a guest, with FEAT_MPAM, from the host's: MPAM0_EL1 and MPAM1_EL1 trap. A guest runs
/// in the host's partition.
pub const fn mpam2(host: u64) -> u64 {
    const TRAPMPAM0EL1: u64 = 1 << 49;
    const TRAPMPAM1EL1: u64 = 1 << 48;
    host | TRAPMPAM0EL1 | TRAPMPAM1EL1
}

/// MPAMHCR_EL2 for a guest, with MPAMIDR_EL1.HAS_HCR, from the host's: MPAMIDR_EL1 traps.
pub const fn mpamhcr(host: u64) -> u64 {
    const TRAP_MPAMIDR_EL1: u64 = 1 << 31;
    host | TRAP_MPAMIDR_EL1
}

/// The bits that allow something are 0: nGCS*, nBRB*.
fn hfgitr(cpu: &IdRegs) -> u64 {
    /// AT S1E1A is hidden (ID_AA64ISAR2_EL1.ATS1A).
    const ATS1E1A: u64 = 1 << 62;
    let has_ats1a = bits(cpu.isar2, 60, 4) >= 1;
    when(cpu.has(Feature::Fgt) && has_ats1a, ATS1E1A)
}

/// The bits that allow something are 0: nBRB*, nPMSNEVFR.
fn hdfgrtr(cpu: &IdRegs) -> u64 {
    /// What MDCR_EL2.E2PB and E2TB leave readable.
    const PMBIDR: u64 = 1 << 63;
    const TRBIDR: u64 = 1 << 51;
    let fgt = cpu.has(Feature::Fgt);
    let has_trbe = bits(cpu.dfr0, 44, 4) >= 1;
    when(fgt && cpu.has(Feature::Spe), PMBIDR) | when(fgt && has_trbe, TRBIDR)
}

#[cfg(test)]
mod tests;
