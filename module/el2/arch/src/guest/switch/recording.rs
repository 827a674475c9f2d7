// SPDX-License-Identifier: GPL-2.0
//! What the host set up to record EL1 and EL0: stopped while a guest is in its place.
//!
//! Why unsafe: its registers are written, and barriers that have no other name are.

use core::arch::asm;

use crate::guest::system::Optional;
use crate::sysreg::{isb, read_sysreg, write_sysreg};

/// What the host set up to record EL1 and EL0: it would go on with the guest, into buffers whose
/// addresses EL2's controls give another meaning to. All of it is off while a guest is in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recording {
    pmscr: u64,
    pmblimitr: u64,
    trfcr: u64,
    trblimitr: u64,
    brbcr: u64,
}

impl Recording {
    /// Stops it, and waits until what was recorded is in memory: the host's stage 2 is in force yet
    /// (Arm ARM D16.4 "synchronization and Statistical Profiling", D6.8 for trace).
    pub(super) fn stop(has: &Optional) -> Recording {
        let &Optional {
            spe,
            trf,
            trbe,
            brbe,
            ..
        } = has;
        let was = Recording {
            pmscr: if spe { read_sysreg!("s3_0_c9_c9_0") } else { 0 },
            pmblimitr: if spe {
                read_sysreg!("s3_0_c9_c10_0")
            } else {
                0
            },
            trfcr: if trf { read_sysreg!("s3_0_c1_c2_1") } else { 0 },
            trblimitr: if trbe {
                read_sysreg!("s3_0_c9_c11_0")
            } else {
                0
            },
            brbcr: if brbe {
                read_sysreg!("s2_1_c9_c0_0")
            } else {
                0
            },
        };
        // SAFETY: EL1's registers of features that this CPU has; 0 is off for each.
        unsafe {
            if spe {
                write_sysreg!("s3_0_c9_c9_0", 0);
                isb();
                // PSB CSYNC.
                asm!("hint #17", "dsb nsh", options(nostack, preserves_flags));
                write_sysreg!("s3_0_c9_c10_0", 0);
            }
            if trf {
                write_sysreg!("s3_0_c1_c2_1", 0);
                isb();
            }
            if trbe {
                // TSB CSYNC.
                asm!("hint #18", "dsb nsh", options(nostack, preserves_flags));
                write_sysreg!("s3_0_c9_c11_0", 0);
            }
            if brbe {
                write_sysreg!("s2_1_c9_c0_0", 0);
            }
            if spe || trf || trbe || brbe {
                isb();
            }
        }
        was
    }

    /// Goes on: after the host's controls and stage 2 are back.
    pub(super) fn resume(&self, has: &Optional) {
        // SAFETY: what the host had.
        unsafe {
            if has.brbe {
                write_sysreg!("s2_1_c9_c0_0", self.brbcr);
            }
            if has.trbe {
                write_sysreg!("s3_0_c9_c11_0", self.trblimitr);
                isb();
            }
            if has.trf {
                write_sysreg!("s3_0_c1_c2_1", self.trfcr);
            }
            if has.spe {
                write_sysreg!("s3_0_c9_c10_0", self.pmblimitr);
                isb();
                write_sysreg!("s3_0_c9_c9_0", self.pmscr);
            }
        }
    }
}
