// SPDX-License-Identifier: GPL-2.0
//! Whether EL2 runs on a CPU: asked when it is taken over, and again when it comes up.
//!
//! No state, no lock.

use mvirt_abi::CpuRefusal;

use crate::cpu::IdRegs;
use crate::errata::{Mitigations, Workarounds};
use crate::pgtable::stage2::pa_bits;

/// What EL2 has to know of a CPU that it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Bits of physical address.
    pub pa_bits: u32,
    /// What the core needs.
    pub mitigations: Mitigations,
}

/// Admits the CPU with these ID registers and this firmware to an EL2 with pages of
/// `1 << page_shift` bytes, or says why not.
pub fn admit(
    ids: &IdRegs,
    page_shift: u32,
    firmware: &Workarounds,
) -> Result<Admitted, CpuRefusal> {
    if !ids.has_granule(page_shift) {
        return Err(CpuRefusal::Granule);
    }
    let pa_bits = pa_bits(ids.pa_range()).map_err(|_| CpuRefusal::PaRange)?;
    let mitigations =
        Mitigations::of(ids, firmware).map_err(|(erratum, _text)| CpuRefusal::Erratum(erratum))?;
    Ok(Admitted {
        pa_bits,
        mitigations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cortex-A76 r4p1: 40 bits of address, TGran4 0, TGran16 1, CSV2 1.
    fn a76() -> IdRegs {
        IdRegs {
            midr: 0x414f_d0b1,
            pfr0: 1 << 56,
            mmfr0: 0x10_0002,
            ..IdRegs::default()
        }
    }

    fn why(ids: IdRegs, page_shift: u32) -> Option<CpuRefusal> {
        admit(&ids, page_shift, &Workarounds::default()).err()
    }

    #[test]
    fn a_core_that_lacks_nothing() {
        let firmware = Workarounds::default();
        for page_shift in [12, 14] {
            let admitted = admit(&a76(), page_shift, &firmware).unwrap();
            assert_eq!(admitted.pa_bits, 40);
            let mitigations = Mitigations::of(&a76(), &firmware).unwrap();
            assert_eq!(admitted.mitigations, mitigations);
        }
    }

    #[test]
    fn each_reason_is_named() {
        let mmfr0 = |mmfr0| IdRegs { mmfr0, ..a76() };
        assert_eq!(why(mmfr0(2), 12), None);
        assert_eq!(why(mmfr0(2), 14), Some(CpuRefusal::Granule), "no TGran16");
        let stage1_only = mmfr0(0x10_0002 | 1 << 40);
        assert_eq!(why(stage1_only, 12), Some(CpuRefusal::Granule));
        assert_eq!(why(stage1_only, 14), None);
        assert_eq!(why(mmfr0(0x10_0008), 12), Some(CpuRefusal::PaRange));
        // C1-Pro r0p0, with SME.
        let c1_pro = IdRegs {
            midr: 0x410f_d8b0,
            pfr1: 2 << 24,
            ..a76()
        };
        assert_eq!(why(c1_pro, 12), Some(CpuRefusal::Erratum(4_193_714)));
    }
}
