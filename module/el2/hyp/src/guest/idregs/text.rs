// SPDX-License-Identifier: GPL-2.0
//! The fields and registers that guests do not see: what keeps them from using the feature anyway.

use super::Folded::{self, *};

/// Nothing traps the feature: it does no harm, as what it changes is the guest's own.
const NONE: &str = "no trap: without effect on others";
/// The feature belongs to an Exception level that a guest has not.
const ELSEWHERE: &str = "nothing of EL1's or EL0's";

/// Fields of registers that have others which are seen, by lowest bit.
pub(super) const HIDDEN: &[(Folded, &str, u8, &str)] = &[
    (Pfr0, "RME", 52, ELSEWHERE),
    (Pfr0, "AMU", 44, "CPTR_EL2.TAM"),
    (Pfr0, "MPAM", 40, "MPAM2_EL2.TRAPMPAMxEL1, MPAMHCR_EL2"),
    (Pfr0, "SEL2", 36, ELSEWHERE),
    (Pfr0, "SVE", 32, "CPTR_EL2.TZ"),
    (Pfr0, "RAS", 28, "HCR_EL2.TERR; ESB is a hint"),
    (Pfr0, "EL3", 12, ELSEWHERE),
    (Pfr0, "EL2", 8, ELSEWHERE),
    (Pfr1, "PFAR", 60, "HFGRTR2_EL2.nPFAR_EL1"),
    (Pfr1, "DF2", 56, ELSEWHERE),
    (Pfr1, "MTEX", 52, "as MTE"),
    (
        Pfr1,
        "THE",
        48,
        "HFGRTR_EL2.nRCWMASK_EL1; RCW instructions: no trap",
    ),
    (Pfr1, "GCS", 44, "HCRX_EL2.GCSEn, HFGxTR_EL2.nGCS_ELx"),
    (Pfr1, "MTE_frac", 40, "as MTE"),
    (
        Pfr1,
        "NMI",
        36,
        "HCRX_EL2.TALLINT for writes; reads of ALLINT: no trap",
    ),
    (Pfr1, "CSV2_frac", 32, "HCR_EL2.EnSCXT"),
    (Pfr1, "RNDR_trap", 28, ELSEWHERE),
    (
        Pfr1,
        "SME",
        24,
        "CPTR_EL2.TSM, HFGxTR_EL2.nSMPRI_EL1 and nTPIDR2_EL0",
    ),
    (Pfr1, "MPAM_frac", 16, "as MPAM"),
    (Pfr1, "RAS_frac", 12, "as RAS"),
    (Pfr1, "MTE", 8, "HCR_EL2.ATA, TID5"),
    (Dfr0, "HPMN0", 60, ELSEWHERE),
    (Dfr0, "ExtTrcBuff", 56, ELSEWHERE),
    (Dfr0, "BRBE", 52, "HDFGxTR_EL2.nBRBxxx, HFGITR_EL2.nBRBxxx"),
    (
        Dfr0,
        "TraceBuffer",
        44,
        "MDCR_EL2.E2TB, HDFGRTR_EL2.TRBIDR_EL1",
    ),
    (Dfr0, "TraceFilt", 40, "MDCR_EL2.TTRF"),
    (
        Dfr0,
        "PMSVer",
        32,
        "MDCR_EL2.TPMS, E2PB, HDFGRTR_EL2.PMBIDR_EL1 (without FEAT_FGT PMBIDR_EL1 can be read)",
    ),
    (Dfr0, "CTX_CMPs", 28, "0 is one, the last breakpoint"),
    (Dfr0, "SEBEP", 24, "as PMUVer"),
    (Dfr0, "PMSS", 16, "MDCR_EL2.PMSSE"),
    (Dfr0, "PMUVer", 8, "MDCR_EL2.TPM, TPMCR"),
    (Dfr0, "TraceVer", 4, "CPTR_EL2.TTA"),
    (Isar0, "TME", 24, "HCR_EL2.TME"),
    (Isar1, "LS64", 60, "HCRX_EL2.EnALS, EnASR, EnAS0"),
    (Isar2, "ATS1A", 60, "HFGITR_EL2.ATS1E1A"),
    (Isar2, "PCDPHINT", 44, "a hint"),
    (Isar2, "PRFMSLC", 40, "a hint"),
    (Isar2, "SYSINSTR_128", 36, NONE),
    (Isar2, "SYSREG_128", 32, "HCRX_EL2.D128En"),
    (Isar2, "PAC_frac", 24, "says nothing that can be used"),
    (Isar2, "MOPS", 16, "HCRX_EL2.MSCEn"),
    (Isar3, "LSUI", 24, NONE),
    (Isar3, "OCCMO", 20, NONE),
    (Isar3, "PACM", 12, "HCRX_EL2.PACMEn"),
    (Isar3, "TLBIW", 8, NONE),
    (
        Isar3,
        "CPA",
        0,
        "HCRX_EL2.SCTLR2En; the instructions: no trap",
    ),
    (Mmfr0, "FGT", 56, ELSEWHERE),
    (Mmfr0, "TGran4_2", 40, ELSEWHERE),
    (Mmfr0, "TGran64_2", 36, ELSEWHERE),
    (Mmfr0, "TGran16_2", 32, ELSEWHERE),
    (Mmfr0, "SNSMem", 12, ELSEWHERE),
    (Mmfr1, "CMOW", 56, "HCRX_EL2.CMOW; SCTLR_EL1.CMOW: no trap"),
    (Mmfr1, "nTLBPA", 48, "says nothing that can be used"),
    (Mmfr1, "HCX", 40, ELSEWHERE),
    (Mmfr1, "TWED", 32, NONE),
    (Mmfr1, "XNX", 28, ELSEWHERE),
    (Mmfr1, "LO", 16, "HCR_EL2.TLOR"),
    (Mmfr1, "VH", 8, ELSEWHERE),
    (Mmfr1, "VMIDBits", 4, ELSEWHERE),
    (Mmfr2, "EVT", 56, ELSEWHERE),
    (Mmfr2, "FWB", 40, ELSEWHERE),
    (Mmfr2, "NV", 24, ELSEWHERE),
    (
        Mmfr2,
        "CCIDX",
        20,
        "CCSIDR_EL1 is made up, CCSIDR2_EL1 traps (HCR_EL2.TID2 or TID4)",
    ),
    (Mmfr2, "IESB", 12, NONE),
];

/// Fields that are reserved, by lowest bit.
pub(super) const RESERVED: &[(Folded, u8)] = &[
    (Pfr1, 20),
    (Isar0, 0),
    (Isar3, 32),
    (Isar3, 36),
    (Isar3, 40),
    (Isar3, 44),
    (Isar3, 48),
    (Isar3, 52),
    (Isar3, 56),
    (Isar3, 60),
    (Mmfr0, 48),
    (Mmfr0, 52),
    (Mmfr2, 44),
];

/// Registers that read 0 as a whole.
pub(super) const REGISTERS: &[(&str, &str, &str)] = &[
    (
        "ID_AA64PFR2_EL1",
        "FPMR, GICv5, MTE's extensions",
        "HCRX_EL2.EnFPM; no GICv5 at EL1 (ICH_VCTLR_EL2)",
    ),
    ("ID_AA64ZFR0_EL1", "SVE", "CPTR_EL2.TZ"),
    ("ID_AA64SMFR0_EL1", "SME", "CPTR_EL2.TSM"),
    ("ID_AA64FPFR0_EL1", "FP8", "HCRX_EL2.EnFPM"),
    (
        "ID_AA64DFR1_EL1, DFR2",
        "later debug, PMU and trace",
        "as ID_AA64DFR0_EL1; MDCR_EL2.EnSPM, EBWE, EnSTEPOP",
    ),
    (
        "ID_AA64AFR0_EL1, AFR1",
        "IMPLEMENTATION DEFINED",
        "HCR_EL2.TIDCP",
    ),
    (
        "ID_AA64MMFR3_EL1",
        "TCR2, SCTLR2, permission indirection and overlays, D128, MEC",
        "HCRX_EL2.TCR2En, SCTLR2En, D128En, HFGxTR_EL2.nPIR_EL1, nPIRE0_EL1, nPOR_ELx",
    ),
    ("ID_AA64MMFR4_EL1", "EL2's, register masks", "HFGxTR2_EL2"),
    (
        "CRm 1 to 3",
        "AArch32",
        "a vCPU in AArch32 state is stopped",
    ),
    ("all others", "not allocated", ""),
];
