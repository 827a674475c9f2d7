// SPDX-License-Identifier: GPL-2.0
//! Whose an SError is that a guest's accesses were answered with.
//!
//! It is taken from the guest (HCR_EL2.AMO), or it is still pending when the guest has left and all its
//! accesses have ended. Its syndrome says how bad it is, if the CPU has FEAT_RAS: Arm ARM (DDI 0487)
//! D24.2.40, "ISS encoding for an SError exception", and D24.2.34, DISR_EL1. The verdicts are those of
//! KVM (`kvm_handle_guest_serror`). No state, no lock.

use crate::cpu::bits;

/// EC of an SError.
const EC_SERROR: u64 = 0x2f << 26;
/// ESR_EL2, IL.
const IL: u64 = 1 << 25;
/// ESR_EL2 and DISR_EL1: the rest of the syndrome is the implementation's own.
const IDS: u64 = 1 << 24;
/// ISS.
const ISS: u64 = 0x1ff_ffff;
/// DISR_EL1: A, an SError was deferred.
const DISR_A: u64 = 1 << 31;
/// AET, EA and DFSC: all that DISR_EL1 has of the syndrome without IDS.
const SEVERITY: u64 = 0x1e3f;
/// DFSC: an asynchronous SError; only then does AET mean something.
const DFSC_SERROR: u64 = 0x11;

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Corrected, or of no effect on what runs: nothing.
    Ignore,
    /// What the guest works with is wrong: its vCPU fails.
    Guest,
    /// The error has gone further than the guest: the machine must end.
    Machine,
}

/// Judges an SError by its ESR_EL2. Without FEAT_RAS, or with a syndrome of the implementation's own,
/// it is the guest's whose access it was.
pub const fn judge(esr: u64, has_ras: bool) -> Verdict {
    if !has_ras || esr & IDS != 0 {
        return Verdict::Guest;
    }
    if bits(esr, 0, 6) != DFSC_SERROR {
        // Uncategorised: nothing says that it was contained.
        return Verdict::Machine;
    }
    match bits(esr, 10, 3) {
        // Corrected; restartable.
        0b110 | 0b010 => Verdict::Ignore,
        // Unrecoverable; recoverable.
        0b001 | 0b011 => Verdict::Guest,
        // Uncontainable, and what is reserved.
        _ => Verdict::Machine,
    }
}

/// ESR_EL2 of an SError that an ESB instruction deferred, from DISR_EL1; `None` if it found none.
pub const fn deferred(disr: u64) -> Option<u64> {
    if disr & DISR_A == 0 {
        return None;
    }
    let kept = if disr & IDS != 0 { ISS } else { SEVERITY };
    Some(EC_SERROR | IL | disr & kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        for (aet, expected) in [
            (0b000, Verdict::Machine),
            (0b001, Verdict::Guest),
            (0b010, Verdict::Ignore),
            (0b011, Verdict::Guest),
            (0b100, Verdict::Machine),
            (0b101, Verdict::Machine),
            (0b110, Verdict::Ignore),
            (0b111, Verdict::Machine),
        ] {
            let esr = EC_SERROR | IL | aet << 10 | DFSC_SERROR;
            assert_eq!(judge(esr, true), expected, "AET {aet:#b}");
            // EA changes nothing.
            assert_eq!(judge(esr | 1 << 9, true), expected, "AET {aet:#b}");
            // These bits are nobody's without the extension, or with IDS.
            assert_eq!(judge(esr, false), Verdict::Guest);
            assert_eq!(judge(esr | IDS, true), Verdict::Guest);
            // AET says nothing where DFSC does not.
            for dfsc in (0..64).filter(|dfsc| *dfsc != DFSC_SERROR) {
                let esr = EC_SERROR | IL | aet << 10 | dfsc;
                assert_eq!(judge(esr, true), Verdict::Machine, "DFSC {dfsc:#x}");
            }
        }
    }

    #[test]
    fn a_deferred_one_is_judged_as_one_that_was_taken() {
        assert_eq!(deferred(0), None);
        // Without A the rest says nothing.
        assert_eq!(deferred(!DISR_A), None);
        for aet in 0..8 {
            let disr = DISR_A | aet << 10 | 1 << 9 | DFSC_SERROR;
            let esr = deferred(disr).expect("it was deferred");
            assert_eq!(bits(esr, 26, 6), 0x2f);
            assert_eq!(esr & ISS, aet << 10 | 1 << 9 | DFSC_SERROR);
            assert_eq!(judge(esr, true), judge(EC_SERROR | aet << 10 | 0x11, true));
        }
        let own = deferred(DISR_A | IDS | 0xab_cdef).expect("it was deferred");
        assert_eq!(own & ISS, IDS | 0xab_cdef);
        assert_eq!(judge(own, true), Verdict::Guest);
    }
}
