// SPDX-License-Identifier: GPL-2.0
//! The rows: each erratum that Linux works around on a known core, and what it means for EL2.
//!
//! Numbers and revisions: Documentation/arch/arm64/silicon-errata.rst,
//! arch/arm64/kernel/cpu_errata.c and cpufeature.c of Linux 7.3.4, which is a superset of 6.18.15;
//! where 7.3.4 adds a core to an erratum (4118414), 6.18.15 is behind and the row holds all the
//! same. 835769 is not in the kernel's registry, because there it is the compiler's.

use super::{Core, Handled::*, NotAffected::*, Refused::*, Row, Verdict};
use Core::*;

/// Any revision.
const ALL: (u8, u8) = (0x00, 0xff);

const fn handled(core: Core, erratum: u32, revisions: (u8, u8), how: super::Handled) -> Row {
    Row {
        core,
        erratum,
        first: revisions.0,
        last: revisions.1,
        verdict: Verdict::Handled(how),
    }
}

const fn unaffected(core: Core, erratum: u32, revisions: (u8, u8), why: super::NotAffected) -> Row {
    Row {
        core,
        erratum,
        first: revisions.0,
        last: revisions.1,
        verdict: Verdict::NotAffected(why),
    }
}

const fn refused(core: Core, erratum: u32, revisions: (u8, u8), why: super::Refused) -> Row {
    Row {
        core,
        erratum,
        first: revisions.0,
        last: revisions.1,
        verdict: Verdict::Refused(why),
    }
}

/// All rows. Revisions are `0xXY` for rXpY, first and last affected.
pub(super) const ROWS: &[Row] = &[
    handled(CortexA53, 826_319, (0x00, 0x02), CleanByInvalidate),
    handled(CortexA53, 827_319, (0x00, 0x02), CleanByInvalidate),
    handled(CortexA53, 824_069, (0x00, 0x02), CleanByInvalidate),
    handled(CortexA53, 819_472, (0x00, 0x01), CleanByInvalidate),
    unaffected(CortexA53, 845_719, (0x00, 0x04), HostKernel),
    handled(CortexA53, 843_419, (0x00, 0x04), Linker),
    handled(CortexA53, 835_769, (0x00, 0x04), Compiler),
    unaffected(CortexA55, 1_024_718, ALL, NoHardwareUpdate),
    handled(CortexA55, 1_530_923, (0x00, 0x20), SpeculativeAt),
    handled(CortexA55, 2_441_007, ALL, RepeatTlbi),
    unaffected(CortexA57, 832_075, (0x00, 0x12), NoDeviceLoads),
    unaffected(CortexA57, 852_523, ALL, NoAarch32El1),
    handled(CortexA57, 834_220, (0x00, 0x12), Retranslate),
    handled(CortexA57, 1_319_537, ALL, SpeculativeAt),
    unaffected(CortexA57, 1_742_098, ALL, HostKernel),
    unaffected(CortexA72, 853_709, ALL, NoAarch32El1),
    handled(CortexA72, 1_319_367, ALL, SpeculativeAt),
    unaffected(CortexA72, 1_655_431, ALL, HostKernel),
    unaffected(CortexA76, 1_188_873, (0x00, 0x20), HostKernel),
    unaffected(CortexA76, 1_418_040, (0x00, 0x31), HostKernel),
    handled(CortexA76, 1_165_522, (0x00, 0x20), SpeculativeAt),
    handled(CortexA76, 1_286_807, (0x00, 0x30), RepeatTlbi),
    unaffected(CortexA76, 1_463_225, (0x00, 0x31), NoStepping),
    unaffected(CortexA76, 1_490_853, ALL, NoTrace),
    unaffected(CortexA76, 3_324_349, ALL, SsbsByException),
    handled(CortexA76, 4_193_800, ALL, RepeatTlbi),
    handled(CortexA76ae, 4_193_801, ALL, RepeatTlbi),
    unaffected(CortexA77, 1_491_015, ALL, NoTrace),
    handled(CortexA77, 1_508_412, (0x00, 0x10), ParBarrier),
    unaffected(CortexA77, 3_324_348, ALL, SsbsByException),
    handled(CortexA77, 4_193_798, ALL, RepeatTlbi),
    unaffected(CortexA78, 3_324_344, ALL, SsbsByException),
    handled(CortexA78, 4_193_791, ALL, RepeatTlbi),
    handled(CortexA78ae, 4_193_793, ALL, RepeatTlbi),
    unaffected(CortexA78c, 3_324_346, ALL, SsbsByException),
    unaffected(CortexA78c, 3_324_347, ALL, SsbsByException),
    handled(CortexA78c, 4_193_794, ALL, RepeatTlbi),
    unaffected(CortexA510, 2_457_168, (0x00, 0x11), NoActivityMonitor),
    unaffected(CortexA510, 2_064_142, (0x00, 0x02), NoTrace),
    unaffected(CortexA510, 2_038_923, (0x00, 0x02), NoTrace),
    unaffected(CortexA510, 1_902_691, (0x00, 0x01), NoTrace),
    unaffected(CortexA510, 2_051_678, (0x00, 0x02), NoHardwareUpdate),
    unaffected(CortexA510, 2_077_057, (0x00, 0x02), NoStepping),
    handled(CortexA510, 2_441_009, (0x00, 0x11), RepeatTlbi),
    unaffected(CortexA510, 2_658_417, (0x00, 0x11), HostKernel),
    unaffected(CortexA510, 3_117_295, ALL, OtherRegime),
    unaffected(CortexA520, 2_966_298, (0x00, 0x01), OtherRegime),
    unaffected(CortexA710, 2_119_858, ALL, NoTrace),
    unaffected(CortexA710, 2_054_223, ALL, NoTrace),
    unaffected(CortexA710, 2_224_489, ALL, TraceUnderStage2),
    unaffected(CortexA710, 3_324_338, ALL, SsbsByException),
    handled(CortexA710, 4_193_788, ALL, RepeatTlbi),
    handled(CortexA715, 2_645_198, ALL, BreakBeforeMake),
    unaffected(CortexA715, 3_456_084, ALL, SsbsByException),
    unaffected(CortexA720, 3_456_091, ALL, SsbsByException),
    unaffected(CortexA725, 3_456_106, ALL, SsbsByException),
    unaffected(CortexA725, 3_821_522, (0x00, 0x02), NoActivityMonitor),
    unaffected(CortexX1, 1_502_854, ALL, NoTrace),
    unaffected(CortexX1, 3_324_344, ALL, SsbsByException),
    handled(CortexX1, 4_193_791, ALL, RepeatTlbi),
    unaffected(CortexX1c, 3_324_346, ALL, SsbsByException),
    handled(CortexX1c, 4_193_792, ALL, RepeatTlbi),
    unaffected(CortexX2, 2_119_858, (0x00, 0x20), NoTrace),
    unaffected(CortexX2, 2_224_489, (0x00, 0x20), TraceUnderStage2),
    unaffected(CortexX2, 3_324_338, ALL, SsbsByException),
    handled(CortexX2, 4_193_788, ALL, RepeatTlbi),
    unaffected(CortexX3, 3_324_335, ALL, SsbsByException),
    handled(CortexX3, 4_193_786, ALL, RepeatTlbi),
    unaffected(CortexX4, 3_194_386, ALL, SsbsByException),
    handled(CortexX4, 4_118_414, ALL, RepeatTlbi),
    unaffected(CortexX925, 3_324_334, ALL, SsbsByException),
    handled(CortexX925, 4_193_781, ALL, RepeatTlbi),
    refused(C1Pro, 4_193_714, (0x00, 0x12), EarlyDvmSync),
    unaffected(C1Premium, 3_683_289, (0x00, 0x10), NoBbmLevel2),
    handled(C1Premium, 4_193_780, ALL, RepeatTlbi),
    unaffected(C1Ultra, 3_683_289, (0x00, 0x10), NoBbmLevel2),
    handled(C1Ultra, 4_193_780, ALL, RepeatTlbi),
    unaffected(NeoverseN1, 1_188_873, (0x00, 0x20), HostKernel),
    unaffected(NeoverseN1, 1_418_040, (0x00, 0x31), HostKernel),
    unaffected(NeoverseN1, 1_349_291, ALL, SErrorFatal),
    unaffected(NeoverseN1, 1_490_853, ALL, NoTrace),
    unaffected(NeoverseN1, 1_542_419, ALL, NoNewCode),
    unaffected(NeoverseN1, 3_324_349, ALL, SsbsByException),
    handled(NeoverseN1, 4_193_800, ALL, RepeatTlbi),
    unaffected(NeoverseN2, 2_139_208, ALL, NoTrace),
    unaffected(NeoverseN2, 2_067_961, ALL, NoTrace),
    unaffected(NeoverseN2, 2_253_138, ALL, TraceUnderStage2),
    unaffected(NeoverseN2, 3_324_339, ALL, SsbsByException),
    handled(NeoverseN2, 4_193_789, ALL, RepeatTlbi),
    unaffected(NeoverseV1, 1_619_801, ALL, NoTrace),
    unaffected(NeoverseV1, 3_324_341, ALL, SsbsByException),
    handled(NeoverseV1, 4_193_790, ALL, RepeatTlbi),
    handled(Kryo4xxGold, 1_286_807, (0xce, 0xfe), RepeatTlbi),
    unaffected(Kryo4xxGold, 1_418_040, (0xce, 0xff), HostKernel),
    unaffected(Kryo4xxGold, 1_463_225, (0xce, 0xff), NoStepping),
    unaffected(Kryo4xxSilver, 1_024_718, (0xde, 0xde), NoHardwareUpdate),
    handled(Kryo4xxSilver, 1_530_923, (0xde, 0xde), SpeculativeAt),
    unaffected(A64fx, 10_001, (0x00, 0x10), NoFaultingWalks),
];
