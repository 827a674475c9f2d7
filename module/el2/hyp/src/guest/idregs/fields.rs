// SPDX-License-Identifier: GPL-2.0
//! The one table of the fields that guests see, and how each is folded over CPUs.
//!
//! Names and values: `arch/arm64/tools/sysreg` of Linux 6.18 and the Arm ARM. Folds: the tables of
//! `arch/arm64/kernel/cpufeature.c`. What has no row reads 0, which for every such field means that
//! the feature is absent; `text` has a reason for each of these too.

use super::Folded;

/// How a field of two CPUs becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The lower one, unsigned.
    Lower,
    /// The lower one of two signed values.
    LowerSigned,
    /// The higher one: a larger value promises less.
    Higher,
    /// The higher one, but 0 promises nothing at all.
    HigherOrZero,
    /// If they differ, this one.
    Exact(u8),
}

/// What a guest sees of the folded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It.
    Allow,
    /// It, but no more than this.
    Limit(u8),
    /// This, whatever the CPUs have.
    Fixed(u8),
    /// Part of pointer authentication: it, or 0 if guests have none.
    WithPauth,
}

/// A field that guests see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its register.
    pub register: Folded,
    /// Its lowest bit.
    pub shift: u8,
    /// Its bits.
    pub width: u8,
    /// How CPUs are folded.
    pub fold: Fold,
    /// What becomes of it.
    pub policy: Policy,
}

const fn sign_extend(value: u64, width: u8) -> i64 {
    let unused = 64 - width as u32;
    (value << unused) as i64 >> unused
}

impl Fold {
    pub(super) fn merge(self, a: u64, b: u64, width: u8) -> u64 {
        match self {
            _ if a == b => a,
            Fold::Lower => a.min(b),
            Fold::LowerSigned if sign_extend(a, width) < sign_extend(b, width) => a,
            Fold::LowerSigned => b,
            Fold::HigherOrZero if a == 0 || b == 0 => 0,
            Fold::Higher | Fold::HigherOrZero => a.max(b),
            Fold::Exact(safe) => u64::from(safe),
        }
    }
}

impl Policy {
    pub(super) fn apply(self, value: u64) -> u64 {
        match self {
            Policy::Allow | Policy::WithPauth => value,
            Policy::Limit(most) => value.min(u64::from(most)),
            Policy::Fixed(value) => u64::from(value),
        }
    }
}

macro_rules! fields {
    ($($register:ident { $($name:ident $shift:literal $(: $width:literal)? $fold:expr, $policy:expr, $why:literal;)* })*) => {
        /// All, by register.
        pub const FIELDS: &[Field] = &[$($(Field {
            register: Folded::$register,
            shift: $shift,
            width: fields!(@width $($width)?),
            fold: { use Fold::*; $fold },
            policy: { use Policy::*; $policy },
        }),*),*];

        /// The names of the fields and why they are what they are, in the order of [`FIELDS`].
        #[cfg(test)]
        pub(super) const TEXT: &[(&str, &str)] = &[$($((stringify!($name), $why)),*),*];
    };
    (@width) => { 4 };
    (@width $width:literal) => { $width };
}

fields! {
    Ctr {
        RES1 31:1 Lower, Fixed(1), "RES1";
        DIC 29:1 Lower, Allow, "cache maintenance for instructions";
        IDC 28:1 Lower, Allow, "cache maintenance for instructions";
        CWG 24 HigherOrZero, Allow, "granule of write-back";
        ERG 20 HigherOrZero, Allow, "granule of exclusives";
        DminLine 16 Lower, Allow, "the smallest line of any CPU";
        L1Ip 14:2 Exact(2), Allow, "VIPT where CPUs differ";
        IminLine 0 Lower, Allow, "the smallest line of any CPU";
    }
    Pfr0 {
        CSV3 60 Lower, Allow, "Meltdown";
        CSV2 56 Lower, Limit(1), "SCXTNUM_ELx is hidden (HCR_EL2.EnSCXT 0)";
        DIT 48 Lower, Allow, "PSTATE.DIT is in SPSR_EL2";
        GIC 24 Lower, Fixed(1), "the VM's own GICv3; 0 in a VM without one";
        AdvSIMD 20 LowerSigned, Allow, "switched with the vCPU";
        FP 16 LowerSigned, Allow, "switched with the vCPU";
        EL1 4 Lower, Fixed(1), "AArch64 only";
        EL0 0 Lower, Fixed(1), "AArch64 only";
    }
    Pfr1 {
        SSBS 4 Lower, Allow, "PSTATE.SSBS is in SPSR_EL2";
        BT 0 Lower, Allow, "stage 1's guarded pages";
    }
    Dfr0 {
        MTPMU 48 Lower, Fixed(15), "not implemented";
        DoubleLock 36 Lower, Fixed(15), "not implemented: OSDLR_EL1 is RAZ/WI";
        WRPs 20 Lower, Allow, "switched while the guest uses them";
        BRPs 12 Lower, Allow, "switched while the guest uses them";
        DebugVer 0 Lower, Fixed(6), "Armv8.0: trapped, see below";
    }
    Isar0 {
        RNDR 60 Lower, Allow, "no state";
        TLB 56 Lower, Allow, "TLBI by range and to the outer shareable domain stay within the VMID";
        TS 52 Lower, Allow, "no state";
        FHM 48 Lower, Allow, "no state";
        DP 44 Lower, Allow, "no state";
        SM4 40 Lower, Allow, "no state";
        SM3 36 Lower, Allow, "no state";
        SHA3 32 Lower, Allow, "no state";
        RDM 28 Lower, Allow, "no state";
        Atomic 20 Lower, Allow, "no state";
        CRC32 16 Lower, Allow, "no state";
        SHA2 12 Lower, Allow, "no state";
        SHA1 8 Lower, Allow, "no state";
        AES 4 Lower, Allow, "no state";
    }
    Isar1 {
        XS 56 Lower, Allow, "no state; HCRX_EL2.FnXS is 0";
        I8MM 52 Lower, Allow, "no state";
        DGH 48 Lower, Allow, "a hint";
        BF16 44 Lower, Allow, "FPCR.EBF is switched";
        SPECRES 40 Lower, Limit(2), "predictions of the guest's own context";
        SB 36 Lower, Allow, "no state";
        FRINTTS 32 Lower, Allow, "no state";
        GPI 28 Lower, WithPauth, "the keys are switched";
        GPA 24 Lower, WithPauth, "the keys are switched";
        LRCPC 20 Lower, Allow, "no state";
        FCMA 16 Lower, Allow, "no state";
        JSCVT 12 Lower, Allow, "no state";
        API 8 Exact(0), Allow, "the keys are switched; none where CPUs differ";
        APA 4 Exact(0), Allow, "the keys are switched; none where CPUs differ";
        DPB 0 Lower, Allow, "no state";
    }
    Isar2 {
        LUT 56 Lower, Allow, "no state";
        CSSC 52 Lower, Allow, "no state";
        RPRFM 48 Lower, Allow, "a hint";
        CLRBHB 28 Lower, Allow, "no state";
        BC 20 Lower, Allow, "no state";
        APA3 12 Exact(0), Allow, "the keys are switched; none where CPUs differ";
        GPA3 8 Lower, WithPauth, "the keys are switched";
        RPRES 4 Lower, Allow, "FPCR.AH is switched";
        WFxT 0 Lower, Allow, "trapped as WFI and WFE are";
    }
    Isar3 {
        FPRCVT 28 Lower, Allow, "no state";
        LSFE 16 Lower, Allow, "no state";
        FAMINMAX 4 Lower, Allow, "no state";
    }
    Mmfr0 {
        ECV 60 Lower, Limit(1), "CNTPOFF_EL2 is EL2's";
        ExS 44 Lower, Allow, "bits of SCTLR_EL1";
        TGran4 28 LowerSigned, Allow, "stage 1 is the guest's";
        TGran64 24 LowerSigned, Allow, "stage 1 is the guest's";
        TGran16 20 Lower, Allow, "stage 1 is the guest's";
        BigEndEL0 16 Lower, Allow, "a bit of SCTLR_EL1";
        BigEnd 8 Lower, Allow, "a bit of SCTLR_EL1";
        ASIDBits 4 Lower, Allow, "TLB entries have the VMID too";
        PARange 0 Lower, Limit(5), "48 bits are the most of a VM";
    }
    Mmfr1 {
        ECBHB 60 Lower, Allow, "the core's own protection";
        TIDCP1 52 Lower, Allow, "a bit of SCTLR_EL1";
        AFP 44 Lower, Allow, "FPCR is switched";
        ETS 36 Lower, Limit(3), "ordering of stage 1";
        SpecSEI 24 Higher, Allow, "an SError may come";
        PAN 20 Lower, Allow, "PSTATE.PAN is in SPSR_EL2";
        HPDS 12 Lower, Allow, "bits of TCR_EL1";
        HAFDBS 0 Lower, Limit(2), "above 2: TCR2_EL1 and EL2's own";
    }
    Mmfr2 {
        E0PD 60 Lower, Allow, "bits of TCR_EL1";
        BBM 52 Lower, Allow, "stage 1 is the guest's";
        TTL 48 Lower, Allow, "a hint";
        IDS 36 Lower, Allow, "what a trap of EL0 to EL1 reports";
        AT 32 Lower, Allow, "no state";
        ST 28 Lower, Allow, "stage 1 is the guest's";
        VARange 16 Lower, Limit(1), "stage 1 is the guest's";
        LSM 8 Lower, Allow, "bits of SCTLR_EL1";
        UAO 4 Lower, Allow, "PSTATE.UAO is in SPSR_EL2";
        CnP 0 Lower, Allow, "TLB entries have the VMID too";
    }
}
