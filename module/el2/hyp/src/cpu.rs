// SPDX-License-Identifier: GPL-2.0
//! What a CPU is: its MIDR and the registers that say what it implements, as plain data.
//!
//! `arch` reads the registers and fills an [`IdRegs`]; everything here only interprets them, so
//! that the same code runs against the register values of any core in a test. No state, no lock.
//!
//! Fields are those of the Arm ARM (DDI 0487, chapter D24, "AArch64 System Register
//! Descriptions") and of `arch/arm64/tools/sysreg` in the Linux tree.

/// Extracts `width` bits of `value` from bit `shift` up.
pub(crate) const fn bits(value: u64, shift: u32, width: u32) -> u64 {
    (value >> shift) & ((1 << width) - 1)
}

/// MIDR_EL1: which core this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Midr(u32);

impl Midr {
    /// From the register: bits 63:32 are RES0 and are dropped.
    pub const fn from_register(value: u64) -> Midr {
        Midr(bits(value, 0, 32) as u32)
    }

    /// Implementer, bits 31:24: 0x41 is Arm.
    pub const fn implementer(self) -> u32 {
        self.0 >> 24
    }

    /// Part number, bits 15:4.
    pub const fn part(self) -> u32 {
        (self.0 >> 4) & 0xfff
    }

    /// Variant and revision as one number that sorts as `rXpY` does: variant in bits 7:4,
    /// revision in bits 3:0.
    pub const fn revision(self) -> u32 {
        ((self.0 >> 16) & 0xf0) | (self.0 & 0xf)
    }

    /// The register's value.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// The registers that identify what a CPU implements, as read on that CPU.
///
/// A register that a CPU must not read, because the feature it belongs to is absent, is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdRegs {
    /// MIDR_EL1.
    pub midr: u64,
    /// REVIDR_EL1.
    pub revidr: u64,
    /// CTR_EL0.
    pub ctr: u64,
    /// ID_AA64PFR0_EL1.
    pub pfr0: u64,
    /// ID_AA64PFR1_EL1.
    pub pfr1: u64,
    /// ID_AA64PFR2_EL1.
    pub pfr2: u64,
    /// ID_AA64DFR0_EL1.
    pub dfr0: u64,
    /// ID_AA64DFR1_EL1.
    pub dfr1: u64,
    /// ID_AA64ISAR1_EL1.
    pub isar1: u64,
    /// ID_AA64ISAR2_EL1.
    pub isar2: u64,
    /// ID_AA64MMFR0_EL1.
    pub mmfr0: u64,
    /// ID_AA64MMFR1_EL1.
    pub mmfr1: u64,
    /// ID_AA64MMFR2_EL1.
    pub mmfr2: u64,
    /// ID_AA64MMFR3_EL1.
    pub mmfr3: u64,
    /// ID_AA64MMFR4_EL1.
    pub mmfr4: u64,
    /// SMIDR_EL1, if [`Feature::Sme`].
    pub smidr: u64,
    /// MPAMIDR_EL1, if [`Feature::Mpam`].
    pub mpamidr: u64,
    /// PMBIDR_EL1, if [`Feature::Spe`].
    pub pmbidr: u64,
}

/// What a register or a bit of PSTATE depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Every Armv8.0 CPU with EL2.
    Base,
    /// FEAT_HCX: ID_AA64MMFR1_EL1.HCX.
    Hcx,
    /// FEAT_FGT: ID_AA64MMFR0_EL1.FGT.
    Fgt,
    /// FEAT_FGT with an activity monitor: HAFGRTR_EL2 is undefined without ID_AA64PFR0_EL1.AMU.
    FgtAmu,
    /// FEAT_FGT2: ID_AA64MMFR0_EL1.FGT is 2 or more.
    Fgt2,
    /// FEAT_SVE: ID_AA64PFR0_EL1.SVE.
    Sve,
    /// FEAT_SME: ID_AA64PFR1_EL1.SME.
    Sme,
    /// FEAT_SME with priority mapping: SMIDR_EL1.SMPS.
    SmePriority,
    /// FEAT_MPAM: ID_AA64PFR0_EL1.MPAM or ID_AA64PFR1_EL1.MPAM_frac.
    Mpam,
    /// MPAM virtualization: MPAMIDR_EL1.HAS_HCR.
    MpamHcr,
    /// FEAT_SPE: ID_AA64DFR0_EL1.PMSVer.
    Spe,
    /// FEAT_SPE that EL3 left to EL2: PMBIDR_EL1.P is 0. Else PMSCR_EL2 traps to EL3.
    SpeAtEl2,
    /// FEAT_BRBE: ID_AA64DFR0_EL1.BRBE.
    Brbe,
    /// FEAT_LOR: ID_AA64MMFR1_EL1.LO.
    Lor,
    /// FEAT_GCS: ID_AA64PFR1_EL1.GCS.
    Gcs,
    /// The GIC's System registers: ID_AA64PFR0_EL1.GIC.
    Gicv3,
    /// FEAT_GCIE, GICv5: ID_AA64PFR2_EL1.GCIE.
    Gicv5,
    /// FEAT_PAN: ID_AA64MMFR1_EL1.PAN.
    Pan,
    /// FEAT_SSBS: ID_AA64PFR1_EL1.SSBS.
    Ssbs,
    /// FEAT_MTE: ID_AA64PFR1_EL1.MTE.
    Mte,
    /// FEAT_NMI: ID_AA64PFR1_EL1.NMI.
    Nmi,
    /// PSTATE.PM: FEAT_EBEP, FEAT_SPE_EXC (FEAT_SPEv1p5) or FEAT_TRBE_EXC (FEAT_TRBEv1p1).
    ProfilingMask,
    /// FEAT_E2H0 is absent, so that HCR_EL2.E2H is RES1: ID_AA64MMFR4_EL1.E2H0 is negative.
    NoE2h0,
}

impl Feature {
    /// Every feature, for tests and for the documentation.
    pub const ALL: [Feature; 23] = [
        Feature::Base,
        Feature::Hcx,
        Feature::Fgt,
        Feature::FgtAmu,
        Feature::Fgt2,
        Feature::Sve,
        Feature::Sme,
        Feature::SmePriority,
        Feature::Mpam,
        Feature::MpamHcr,
        Feature::Spe,
        Feature::SpeAtEl2,
        Feature::Brbe,
        Feature::Lor,
        Feature::Gcs,
        Feature::Gicv3,
        Feature::Gicv5,
        Feature::Pan,
        Feature::Ssbs,
        Feature::Mte,
        Feature::Nmi,
        Feature::ProfilingMask,
        Feature::NoE2h0,
    ];

    /// The condition in the words of the Arm ARM.
    pub const fn condition(self) -> &'static str {
        match self {
            Feature::Base => "always",
            Feature::Hcx => "ID_AA64MMFR1_EL1.HCX >= 1",
            Feature::Fgt => "ID_AA64MMFR0_EL1.FGT >= 1",
            Feature::FgtAmu => "ID_AA64MMFR0_EL1.FGT >= 1 and ID_AA64PFR0_EL1.AMU >= 1",
            Feature::Fgt2 => "ID_AA64MMFR0_EL1.FGT >= 2",
            Feature::Sve => "ID_AA64PFR0_EL1.SVE >= 1",
            Feature::Sme => "ID_AA64PFR1_EL1.SME >= 1",
            Feature::SmePriority => "ID_AA64PFR1_EL1.SME >= 1 and SMIDR_EL1.SMPS = 1",
            Feature::Mpam => "ID_AA64PFR0_EL1.MPAM >= 1 or ID_AA64PFR1_EL1.MPAM_frac >= 1",
            Feature::MpamHcr => "MPAM and MPAMIDR_EL1.HAS_HCR = 1",
            Feature::Spe => "ID_AA64DFR0_EL1.PMSVer >= 1",
            Feature::SpeAtEl2 => "ID_AA64DFR0_EL1.PMSVer >= 1 and PMBIDR_EL1.P = 0",
            Feature::Brbe => "ID_AA64DFR0_EL1.BRBE >= 1",
            Feature::Lor => "ID_AA64MMFR1_EL1.LO >= 1",
            Feature::Gcs => "ID_AA64PFR1_EL1.GCS >= 1",
            Feature::Gicv3 => "ID_AA64PFR0_EL1.GIC >= 1",
            Feature::Gicv5 => "ID_AA64PFR2_EL1.GCIE >= 1",
            Feature::Pan => "ID_AA64MMFR1_EL1.PAN >= 1",
            Feature::Ssbs => "ID_AA64PFR1_EL1.SSBS >= 1",
            Feature::Mte => "ID_AA64PFR1_EL1.MTE >= 1",
            Feature::Nmi => "ID_AA64PFR1_EL1.NMI >= 1",
            Feature::ProfilingMask => {
                "ID_AA64DFR1_EL1.EBEP >= 1, ID_AA64DFR0_EL1.PMSVer >= 6 or \
                 ID_AA64DFR0_EL1.TraceBuffer >= 2"
            }
            Feature::NoE2h0 => "ID_AA64MMFR4_EL1.E2H0 < 0",
        }
    }
}

impl IdRegs {
    /// ID_AA64MMFR0_EL1.PARange.
    pub const fn pa_range(&self) -> u64 {
        bits(self.mmfr0, 0, 4)
    }

    /// Whether both stages can use pages of `1 << shift` bytes: 4 KiB and 16 KiB are known.
    ///
    /// ID_AA64MMFR0_EL1: TGran4 is 0 or 1 where stage 1 has 4 KiB, TGran16 1 or 2 where it has
    /// 16 KiB; TGran4_2 and TGran16_2 say 0 for "as stage 1", 1 for no, and more for yes.
    pub const fn has_granule(&self, shift: u32) -> bool {
        let (stage1, stage2) = match shift {
            12 => (bits(self.mmfr0, 28, 4) <= 1, bits(self.mmfr0, 40, 4)),
            14 => (
                matches!(bits(self.mmfr0, 20, 4), 1 | 2),
                bits(self.mmfr0, 32, 4),
            ),
            _ => return false,
        };
        stage1 && stage2 != 1
    }

    /// Which core it is.
    pub const fn midr(&self) -> Midr {
        Midr::from_register(self.midr)
    }

    /// Whether the CPU has `feature`.
    pub const fn has(&self, feature: Feature) -> bool {
        let fgt = bits(self.mmfr0, 56, 4);
        let sme = bits(self.pfr1, 24, 4) >= 1;
        let mpam = bits(self.pfr0, 40, 4) >= 1 || bits(self.pfr1, 16, 4) >= 1;
        let spe = bits(self.dfr0, 32, 4) >= 1;
        match feature {
            Feature::Base => true,
            Feature::Hcx => bits(self.mmfr1, 40, 4) >= 1,
            Feature::Fgt => fgt >= 1,
            Feature::FgtAmu => fgt >= 1 && bits(self.pfr0, 44, 4) >= 1,
            Feature::Fgt2 => fgt >= 2,
            Feature::Sve => bits(self.pfr0, 32, 4) >= 1,
            Feature::Sme => sme,
            Feature::SmePriority => sme && bits(self.smidr, 15, 1) == 1,
            Feature::Mpam => mpam,
            Feature::MpamHcr => mpam && bits(self.mpamidr, 17, 1) == 1,
            Feature::Spe => spe,
            Feature::SpeAtEl2 => spe && bits(self.pmbidr, 4, 1) == 0,
            Feature::Brbe => bits(self.dfr0, 52, 4) >= 1,
            Feature::Lor => bits(self.mmfr1, 16, 4) >= 1,
            Feature::Gcs => bits(self.pfr1, 44, 4) >= 1,
            Feature::Gicv3 => bits(self.pfr0, 24, 4) >= 1,
            Feature::Gicv5 => bits(self.pfr2, 12, 4) >= 1,
            Feature::Pan => bits(self.mmfr1, 20, 4) >= 1,
            Feature::Ssbs => bits(self.pfr1, 4, 4) >= 1,
            Feature::Mte => bits(self.pfr1, 8, 4) >= 1,
            Feature::Nmi => bits(self.pfr1, 36, 4) >= 1,
            Feature::ProfilingMask => {
                bits(self.dfr1, 48, 4) >= 1
                    || bits(self.dfr0, 32, 4) >= 6
                    || bits(self.dfr0, 44, 4) >= 2
            }
            // The one signed field here: 0xf and 0xe are negative, 0 means that E2H = 0 works.
            Feature::NoE2h0 => bits(self.mmfr4, 24, 4) >= 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granules() {
        let ids = |mmfr0| IdRegs {
            mmfr0,
            ..IdRegs::default()
        };
        // Cortex-A76: TGran4 0, TGran16 1, no separate stage 2.
        let a76 = ids(0x10_0000);
        assert!(a76.has_granule(12) && a76.has_granule(14) && !a76.has_granule(16));
        // Neither in stage 1.
        let none = ids(0xf000_0000);
        assert!(!none.has_granule(12) && !none.has_granule(14));
        // Stage 1 has both, stage 2 neither.
        let stage1 = ids(0x10_0000 | 1 << 40 | 1 << 32);
        assert!(!stage1.has_granule(12) && !stage1.has_granule(14));
        // Stage 2 says so itself.
        let both = ids(0x10_0000 | 2 << 40 | 2 << 32);
        assert!(both.has_granule(12) && both.has_granule(14));
    }
}
