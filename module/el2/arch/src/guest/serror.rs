// SPDX-License-Identifier: GPL-2.0
//! SErrors around the world switch: what the host's accesses caused stays the host's, what the guest's
//! caused is taken here, before the host's registers are back.
//!
//! At EL2 PSTATE.A is set: an SError that arrives stays pending, and ISR_EL1.A shows the physical one
//! (Arm ARM D24.2.83). A DSB waits for all accesses before it, and so for the errors that they are
//! answered with; the ISB keeps the read of ISR_EL1 behind it.
//!
//! Why unsafe: DISR_EL1 is cleared, and without FEAT_RAS an SError is let in.

use core::arch::asm;

use mvirt_hyp::guest::serror::{deferred, judge, Verdict};

use crate::entry::el2_take_serror;
use crate::sysreg::{isb, read_sysreg, write_sysreg};

/// ISR_EL1.A.
const ISR_A: u64 = 1 << 8;

/// Whether one is pending that the host's accesses caused: then no guest is entered. With FEAT_RAS it
/// may be one that the host survives, so it is waited for (as KVM does); without it, an SError ends the
/// host wherever it is taken.
pub fn is_pending(has_ras: bool) -> bool {
    if has_ras {
        // SAFETY: barriers.
        unsafe { asm!("dsb nshst", "isb", options(nostack, preserves_flags)) };
    }
    read_sysreg!("isr_el1") & ISR_A != 0
}

/// Takes the one that the guest left, if there is one: whether its vCPU fails. The caller has waited
/// for all that the guest began, and HCR_EL2 is the guest's.
pub fn take(has_ras: bool) -> bool {
    read_sysreg!("isr_el1") & ISR_A != 0 && consume(has_ras)
}

#[cold]
fn consume(has_ras: bool) -> bool {
    let esr = if has_ras { defer() } else { None };
    // Not one that an ESB defers; or no FEAT_RAS. 0: EL3 took it away meanwhile.
    let esr = esr.unwrap_or_else(|| {
        // SAFETY: on EL2's stack; the vectors come back from an SError that is taken there.
        unsafe { el2_take_serror() }
    });
    esr != 0 && fails(esr, has_ras)
}

/// An Error Synchronization Barrier: with PSTATE.A set it moves a pending SError into DISR_EL1.
fn defer() -> Option<u64> {
    // SAFETY: a barrier.
    unsafe { asm!("hint #16", options(nostack, preserves_flags)) };
    isb();
    let disr = read_sysreg!("s3_0_c12_c1_1");
    // SAFETY: the CPU has FEAT_RAS; the record was read.
    unsafe { write_sysreg!("s3_0_c12_c1_1", 0) };
    deferred(disr)
}

/// Whether the vCPU fails by an SError of its guest's with this ESR_EL2.
pub fn fails(esr: u64, has_ras: bool) -> bool {
    match judge(esr, has_ras) {
        Verdict::Ignore => false,
        Verdict::Guest => true,
        Verdict::Machine => panic!("an SError that no guest contains: ESR_EL2 {esr:#x}"),
    }
}
