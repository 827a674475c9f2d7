// SPDX-License-Identifier: GPL-2.0
//! Registers of a CPU that more than one part of EL2 asks for.
//!
//! Why unsafe: HCR_EL2 is written.

use mvirt_abi::Error;
use mvirt_hyp::cpu::{Feature, IdRegs};
use mvirt_hyp::sysreg::Kept;

use crate::kept;
use crate::sysreg::{isb, read_sysreg, write_sysreg};

/// HCR_EL2.TVM: writes of the host's translation registers trap.
pub const HCR_TVM: u64 = 1 << 26;

/// Sets or clears HCR_EL2.TVM, for the host or the guest that is in the CPU.
pub fn set_tvm(on: bool) {
    let hcr = read_sysreg!("hcr_el2");
    let hcr = if on { hcr | HCR_TVM } else { hcr & !HCR_TVM };
    // SAFETY: only adds or ends a trap.
    unsafe { write_sysreg!("hcr_el2", hcr) };
    isb();
}

/// ICC_SRE_EL2, 0 on a CPU without the GIC's System registers: without bit 0, SRE, the ICH_*
/// registers are UNDEFINED.
pub fn icc_sre(ids: &IdRegs) -> u64 {
    if ids.has(Feature::Gicv3) {
        read_sysreg!("s3_4_c12_c9_5")
    } else {
        0
    }
}

/// Reads the `index`th register of this CPU as it is now: the kept ones, and behind them those that
/// EL2 itself runs by. Their values tell the host what it knows or may know: where the image lies is
/// the host's own choice, and EL2's addresses are no secret.
pub fn read_reg(index: u64) -> Result<(u64, u64), Error> {
    let index = usize::try_from(index).map_err(|_| Error::NoEntry)?;
    let Some(register) = Kept::ALL.get(index).copied() else {
        let own = kept::read_own(index - Kept::ALL.len()).ok_or(Error::NoEntry)?;
        return Ok((own.0.in_instruction(), own.1));
    };
    let ids = id_regs();
    let (hcr, cptr) = (read_sysreg!("hcr_el2"), read_sysreg!("cptr_el2"));
    if !register.present(&ids, hcr, cptr, icc_sre(&ids)) {
        return Err(Error::NotSupported);
    }
    Ok((register.encoding().in_instruction(), kept::read(register)))
}

/// The ID registers of this CPU.
pub fn id_regs() -> IdRegs {
    let mut ids = IdRegs {
        midr: read_sysreg!("midr_el1"),
        revidr: read_sysreg!("revidr_el1"),
        ctr: read_sysreg!("ctr_el0"),
        pfr0: read_sysreg!("id_aa64pfr0_el1"),
        pfr1: read_sysreg!("id_aa64pfr1_el1"),
        pfr2: read_sysreg!("s3_0_c0_c4_2"),
        dfr0: read_sysreg!("id_aa64dfr0_el1"),
        dfr1: read_sysreg!("id_aa64dfr1_el1"),
        isar1: read_sysreg!("id_aa64isar1_el1"),
        isar2: read_sysreg!("s3_0_c0_c6_2"),
        mmfr0: read_sysreg!("id_aa64mmfr0_el1"),
        mmfr1: read_sysreg!("id_aa64mmfr1_el1"),
        mmfr2: read_sysreg!("s3_0_c0_c7_2"),
        mmfr3: read_sysreg!("s3_0_c0_c7_3"),
        mmfr4: read_sysreg!("s3_0_c0_c7_4"),
        ..IdRegs::default()
    };
    // These are UNDEFINED where their feature is absent.
    if ids.has(Feature::Sme) {
        ids.smidr = read_sysreg!("s3_1_c0_c0_6");
    }
    if ids.has(Feature::Mpam) {
        ids.mpamidr = read_sysreg!("s3_0_c10_c4_4");
    }
    if ids.has(Feature::Spe) {
        ids.pmbidr = read_sysreg!("s3_0_c9_c10_7");
    }
    ids
}
