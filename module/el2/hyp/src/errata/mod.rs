// SPDX-License-Identifier: GPL-2.0
//! What a core needs of EL2 against speculation and against its errata.
//!
//! [`Mitigations::of`] is asked once for each CPU, at take-over and when a CPU comes up, and
//! answers plain data for `arch` to act on. It reads one table by MIDR ([`ROWS`]) and the kernel's
//! lists for branch prediction ([`Core`]). A row says what EL2 does, why the core is not
//! affected where EL2 is concerned, or that EL2 refuses to take the core over. What the firmware
//! can do for a CPU is asked on that CPU ([`Workarounds`]).
//!
//! A core that is in no list gets every measure that is harmless where it is not needed, and
//! against branch history the longest loop that Arm publishes, unless its ID registers promise
//! better: derivatives carry their parents' errata. `Documentation/errata.rst` shows the table; a
//! test keeps the two equal. No state, no lock.

mod cores;
mod rows;
mod text;

pub use cores::{Core, SpectreBhb, SpectreV2};

use crate::cpu::{bits, Feature, IdRegs, Midr};

/// What EL2 does about an erratum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// [`Mitigations::clean_by_invalidate`].
    CleanByInvalidate,
    /// [`Mitigations::speculative_at`].
    SpeculativeAt,
    /// [`Mitigations::repeat_tlbi`].
    RepeatTlbi,
    /// [`Mitigations::retranslate`].
    Retranslate,
    /// [`Mitigations::par_barrier`].
    ParBarrier,
    /// Live descriptors change only by break-before-make, on every core.
    BreakBeforeMake,
    /// The image is linked with `--fix-cortex-a53-843419`.
    Linker,
    /// The image is compiled with `fix-cortex-a53-835769`.
    Compiler,
}

/// Why an erratum does not matter to EL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAffected {
    /// The host's kernel works around it at EL1, and EL2 neither needs nor disturbs that.
    HostKernel,
    /// EL2 and its stage 2 do not let the hardware update Access flags or dirty state.
    NoHardwareUpdate,
    /// EL2 loads from no Device memory.
    NoDeviceLoads,
    /// EL1 is AArch64 always, so that EL2 switches no AArch32 state.
    NoAarch32El1,
    /// EL2 does not single-step EL1, and does not trap pointer authentication.
    NoStepping,
    /// EL2 leaves the trace unit and its buffer to the host.
    NoTrace,
    /// The trace buffer's stray write goes through the host's stage 2, as the host's own writes do.
    TraceUnderStage2,
    /// EL2's PSTATE.SSBS is 0 from the exception entry on (SCTLR_EL2.DSSBS is 0); it is never
    /// written by MSR.
    SsbsByException,
    /// EL2 reads no activity monitor.
    NoActivityMonitor,
    /// What the load may reach is in the translation regime of EL1; EL2 has its own.
    OtherRegime,
    /// An SError at EL2 is fatal whatever its severity says.
    SErrorFatal,
    /// EL2 writes no code after take-over.
    NoNewCode,
    /// EL2 does not set the TCR bits (NFD0, NFD1) that cause it.
    NoFaultingWalks,
    /// A live descriptor's size is never changed by one write, which FEAT_BBM at level 2 allows.
    NoBbmLevel2,
}

/// Why EL2 does not take a core over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// TLB invalidation completes before SME accesses by the old translation do: a page that was
    /// taken from the host could still be written.
    EarlyDvmSync,
}

/// A row's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// EL2 does something.
    Handled(Handled),
    /// EL2 need not.
    NotAffected(NotAffected),
    /// EL2 does not run there.
    Refused(Refused),
}

/// An erratum of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The core.
    pub core: Core,
    /// The number that its maker gave the erratum.
    pub erratum: u32,
    /// The first affected revision: variant in bits 7:4, revision in bits 3:0.
    pub first: u8,
    /// The last affected revision.
    pub last: u8,
    /// What it means here.
    pub verdict: Verdict,
}

/// All rows, in the order of the documentation.
pub const ROWS: &[Row] = rows::ROWS;

/// What SMCCC_ARCH_FEATURES answers for one of the firmware's workarounds, on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Support {
    /// The firmware does not know it, or there is no SMCCC 1.1.
    #[default]
    Unknown,
    /// This CPU needs the call, and the firmware has it.
    Required,
    /// This CPU does not need it.
    Unneeded,
}

impl Support {
    /// Reads the answer: 0 required, 1 not needed, negative not supported (DEN0028, 7.4 to 7.7).
    pub const fn from_features(x0: u64) -> Support {
        match bits(x0, 0, 32) {
            0 => Support::Required,
            1 => Support::Unneeded,
            _ => Support::Unknown,
        }
    }
}

/// The firmware's workarounds, as asked on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workarounds {
    /// SMCCC_ARCH_WORKAROUND_1, against Spectre-v2.
    pub wa1: Support,
    /// SMCCC_ARCH_WORKAROUND_3, against Spectre-v2 and Spectre-BHB.
    pub wa3: Support,
}

/// SMCCC_ARCH_WORKAROUND_1.
pub const WORKAROUND_1: u32 = 0x8000_8000;
/// SMCCC_ARCH_WORKAROUND_3.
pub const WORKAROUND_3: u32 = 0x8000_3fff;

/// What the vectors do first, on each entry to EL2 from a lower Exception level, before any
/// indirect branch: nothing that the lower level ran before may steer EL2's predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEntry {
    /// Nothing: the core is safe, or does it itself (FEAT_CSV2_3, FEAT_ECBHB).
    Nothing,
    /// CLRBHB (HINT #22) and ISB.
    ClearBhb,
    /// So many times a taken branch to the next instruction, then SB, or DSB NSH and ISB.
    Loop(u8),
    /// SMC with this function identifier, with x0 to x3 saved.
    Firmware(u32),
}

/// What EL2 does on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mitigations {
    /// On entry from a lower Exception level.
    pub on_entry: OnEntry,
    /// Spectre-v2 stays open: CSV2 is 0 and the firmware has no workaround. The kernel runs such a
    /// CPU too, and says "Vulnerable".
    pub spectre_v2_open: bool,
    /// The core is affected by Spectre-v2 and [`Mitigations::on_entry`] helps: guests are told that
    /// SMCCC_ARCH_WORKAROUND_1 is required.
    pub spectre_v2_call: bool,
    /// Errata 1165522, 1319367, 1319537, 1530923: an AT or a speculative walk may use registers of
    /// two contexts while they are being switched, and fill the TLB with what belongs to neither.
    /// Before VTTBR_EL2 or HCR_EL2.VM changes, set TCR_EL1.EPD0 and EPD1, ISB, set SCTLR_EL1.M,
    /// ISB; afterwards restore in the opposite order.
    pub speculative_at: bool,
    /// Errata 1286807, 2441007, 2441009, 4118414 and its kin: a broadcast TLBI may complete too
    /// early. After the DSB that completes an invalidation, one more TLBI and DSB.
    pub repeat_tlbi: bool,
    /// Erratum 834220: for [`crate::trap::Abort::address`].
    pub retranslate: bool,
    /// Errata 826319, 827319, 824069, 819472: clean by DC CIVAC, not DC CVAC or DC CVAU.
    pub clean_by_invalidate: bool,
    /// Erratum 1508412: DMB SY before and after a read of PAR_EL1.
    pub par_barrier: bool,
}

impl Mitigations {
    /// What the CPU with these ID registers needs, with this firmware, or why it is refused.
    pub fn of(ids: &IdRegs, firmware: &Workarounds) -> Result<Mitigations, (u32, Refused)> {
        let midr = ids.midr();
        let core = Core::of(midr);
        let (on_entry, v2) = branch_prediction(core, ids, firmware);
        // An unknown core gets what is harmless. A fault that is translated again is not: the
        // translation fails where only EL0 may read, and the host would run into it for ever.
        let unknown = core.is_none();
        let mut mitigations = Mitigations {
            on_entry,
            spectre_v2_open: v2 == V2::Open,
            spectre_v2_call: v2 == V2::Call,
            speculative_at: unknown,
            repeat_tlbi: unknown,
            retranslate: false,
            clean_by_invalidate: unknown,
            par_barrier: unknown,
        };
        for row in ROWS
            .iter()
            .filter(|row| Some(row.core) == core && row.covers(midr))
        {
            match row.verdict {
                Verdict::Handled(how) => mitigations.add(how),
                Verdict::NotAffected(_) => {}
                Verdict::Refused(why) if why.applies(ids) => return Err((row.erratum, why)),
                Verdict::Refused(_) => {}
            }
        }
        Ok(mitigations)
    }

    fn add(&mut self, how: Handled) {
        match how {
            Handled::CleanByInvalidate => self.clean_by_invalidate = true,
            Handled::SpeculativeAt => self.speculative_at = true,
            Handled::RepeatTlbi => self.repeat_tlbi = true,
            Handled::Retranslate => self.retranslate = true,
            Handled::ParBarrier => self.par_barrier = true,
            // In the image itself, for every core.
            Handled::BreakBeforeMake | Handled::Linker | Handled::Compiler => {}
        }
    }
}

impl Row {
    /// Whether the revision of `midr` is affected.
    pub fn covers(&self, midr: Midr) -> bool {
        (u32::from(self.first)..=u32::from(self.last)).contains(&midr.revision())
    }
}

impl Refused {
    /// What the revision alone does not say.
    fn applies(self, ids: &IdRegs) -> bool {
        match self {
            // Only with SME; r1p2 is mended where REVIDR_EL1 bit 0 is set.
            Refused::EarlyDvmSync => {
                let mended = ids.midr().revision() == 0x12 && bits(ids.revidr, 0, 1) == 1;
                ids.has(Feature::Sme) && !mended
            }
        }
    }
}

/// The longest loop that Arm publishes: for Cortex-X3 and Neoverse-V2.
const LONGEST_LOOP: u8 = 132;

/// What there is against Spectre-v2.
#[derive(PartialEq, Eq)]
enum V2 {
    Safe,
    Call,
    Open,
}

/// In the order of arch/arm64/kernel/proton-pack.c.
fn branch_prediction(core: Option<Core>, ids: &IdRegs, fw: &Workarounds) -> (OnEntry, V2) {
    let csv2 = bits(ids.pfr0, 56, 4);
    let v2_safe = csv2 != 0
        || core.is_some_and(|c| c.spectre_v2() == SpectreV2::Safe)
        || fw.wa1 == Support::Unneeded;
    if !v2_safe && fw.wa1 == Support::Required {
        // Either call makes the predictor forget, branch history included.
        let call = if fw.wa3 == Support::Required {
            WORKAROUND_3
        } else {
            WORKAROUND_1
        };
        return (OnEntry::Firmware(call), V2::Call);
    }
    let bhb = core.map_or(SpectreBhb::IdRegister, Core::spectre_bhb);
    let ecbhb = bits(ids.mmfr1, 60, 4) != 0;
    let clrbhb = bits(ids.isar2, 28, 4) != 0;
    let on_entry = if csv2 >= 3 || bhb == SpectreBhb::Safe || ecbhb {
        OnEntry::Nothing
    } else if clrbhb {
        OnEntry::ClearBhb
    } else {
        match (bhb, fw.wa3) {
            (SpectreBhb::Loop(k), _) => OnEntry::Loop(k),
            (_, Support::Required) => OnEntry::Firmware(WORKAROUND_3),
            (_, Support::Unneeded) => OnEntry::Nothing,
            (_, Support::Unknown) => OnEntry::Loop(LONGEST_LOOP),
        }
    };
    let v2 = if v2_safe { V2::Safe } else { V2::Open };
    (on_entry, v2)
}

#[cfg(test)]
mod tests;
