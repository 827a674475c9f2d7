// SPDX-License-Identifier: GPL-2.0
//! The verdicts in words, as the documentation and a refusal's report give them.

use super::{Handled, NotAffected, Refused, Verdict};

impl Verdict {
    /// One word for the verdict.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Handled(_) => "handled",
            Verdict::NotAffected(_) => "not affected",
            Verdict::Refused(_) => "refused",
        }
    }

    /// How, or why.
    pub const fn text(self) -> &'static str {
        match self {
            Verdict::Handled(how) => how.text(),
            Verdict::NotAffected(why) => why.text(),
            Verdict::Refused(why) => why.text(),
        }
    }
}

impl Handled {
    /// What EL2 does.
    pub const fn text(self) -> &'static str {
        match self {
            Handled::CleanByInvalidate => "cleans by DC CIVAC only",
            Handled::SpeculativeAt => "stops stage-1 walks while stage 2 is switched",
            Handled::RepeatTlbi => "repeats TLBI and DSB after each broadcast invalidation",
            Handled::Retranslate => "checks stage 1 with AT before a stage-2 Translation fault",
            Handled::ParBarrier => "DMB SY around each read of PAR_EL1",
            Handled::BreakBeforeMake => "changes live descriptors by break-before-make only",
            Handled::Linker => "image linked with --fix-cortex-a53-843419",
            Handled::Compiler => "image compiled with fix-cortex-a53-835769",
        }
    }
}

impl NotAffected {
    /// Why EL2 need not do anything.
    pub const fn text(self) -> &'static str {
        match self {
            NotAffected::HostKernel => "worked around by the kernel at EL1",
            NotAffected::NoHardwareUpdate => "no hardware update of Access flag or dirty state",
            NotAffected::NoDeviceLoads => "EL2 loads from no Device memory",
            NotAffected::NoAarch32El1 => "EL1 is AArch64 always",
            NotAffected::NoStepping => "EL2 neither steps EL1 nor traps pointer authentication",
            NotAffected::NoTrace => "EL2 leaves the trace unit and its buffer to the host",
            NotAffected::TraceUnderStage2 => "the stray write is under the host's stage 2",
            NotAffected::SsbsByException => "EL2's SSBS is 0 by exception entry, never by MSR",
            NotAffected::NoActivityMonitor => "EL2 reads no activity monitor",
            NotAffected::OtherRegime => "EL2's data is in another translation regime",
            NotAffected::SErrorFatal => "an SError at EL2 is fatal whatever its severity",
            NotAffected::NoNewCode => "EL2 writes no code after take-over",
            NotAffected::NoFaultingWalks => "EL2 sets neither NFD0 nor NFD1",
            NotAffected::NoBbmLevel2 => "EL2 changes block sizes by break-before-make always",
        }
    }
}

impl Refused {
    /// Why EL2 does not take the core over.
    pub const fn text(self) -> &'static str {
        match self {
            Refused::EarlyDvmSync => {
                "with SME, TLB invalidation completes before accesses by the old translation"
            }
        }
    }
}
