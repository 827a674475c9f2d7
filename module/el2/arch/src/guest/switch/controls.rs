// SPDX-License-Identifier: GPL-2.0
//! EL2's controls: what traps, and what a lower level may do.
//!
//! Why unsafe: they are written.

use crate::guest::system::Optional;
use crate::sysreg::{read_sysreg, write_sysreg};

/// EL2's controls of what a lower level may do. Those of FEAT_HCX and FEAT_FGT are 0 where the CPU
/// lacks them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Controls {
    pub(super) hcr: u64,
    pub(super) cptr: u64,
    pub(super) mdcr: u64,
    pub(super) hstr: u64,
    pub(super) cnthctl: u64,
    pub(super) cntvoff: u64,
    pub(super) vpidr: u64,
    pub(super) vmpidr: u64,
    pub(super) mdscr: u64,
    pub(super) icc_sre: u64,
    pub(super) hcrx: u64,
    pub(super) fgt: [u64; 5],
    pub(super) fgt2: [u64; 5],
    pub(super) mpam2: u64,
    pub(super) mpamhcr: u64,
}

impl Controls {
    #[inline(always)]
    pub(super) fn read(has: &Optional) -> Controls {
        Controls {
            hcr: read_sysreg!("hcr_el2"),
            cptr: read_sysreg!("cptr_el2"),
            mdcr: read_sysreg!("mdcr_el2"),
            hstr: read_sysreg!("hstr_el2"),
            cnthctl: read_sysreg!("cnthctl_el2"),
            cntvoff: read_sysreg!("cntvoff_el2"),
            vpidr: read_sysreg!("vpidr_el2"),
            vmpidr: read_sysreg!("vmpidr_el2"),
            mdscr: read_sysreg!("mdscr_el1"),
            icc_sre: read_sysreg!("s3_4_c12_c9_5"),
            hcrx: if has.hcrx {
                read_sysreg!("s3_4_c1_c2_2")
            } else {
                0
            },
            fgt: if has.fgt {
                [
                    read_sysreg!("s3_4_c1_c1_4"),
                    read_sysreg!("s3_4_c1_c1_5"),
                    read_sysreg!("s3_4_c1_c1_6"),
                    read_sysreg!("s3_4_c3_c1_4"),
                    read_sysreg!("s3_4_c3_c1_5"),
                ]
            } else {
                [0; 5]
            },
            fgt2: if has.fgt2 {
                [
                    read_sysreg!("s3_4_c3_c1_2"),
                    read_sysreg!("s3_4_c3_c1_3"),
                    read_sysreg!("s3_4_c3_c1_7"),
                    read_sysreg!("s3_4_c3_c1_0"),
                    read_sysreg!("s3_4_c3_c1_1"),
                ]
            } else {
                [0; 5]
            },
            mpam2: if has.mpam {
                read_sysreg!("s3_4_c10_c5_0")
            } else {
                0
            },
            mpamhcr: if has.mpamhcr {
                read_sysreg!("s3_4_c10_c4_0")
            } else {
                0
            },
        }
    }

    /// # Safety
    ///
    /// HCR_EL2.E2H is what it was, and the controls are those of whoever is entered next.
    pub(super) unsafe fn write(&self, has: &Optional) {
        // SAFETY: by the caller's promise; none of them changes EL2's own translation.
        unsafe {
            write_sysreg!("hcr_el2", self.hcr);
            write_sysreg!("cptr_el2", self.cptr);
            write_sysreg!("mdcr_el2", self.mdcr);
            write_sysreg!("hstr_el2", self.hstr);
            write_sysreg!("cnthctl_el2", self.cnthctl);
            write_sysreg!("cntvoff_el2", self.cntvoff);
            write_sysreg!("vpidr_el2", self.vpidr);
            write_sysreg!("vmpidr_el2", self.vmpidr);
            write_sysreg!("mdscr_el1", self.mdscr);
            write_sysreg!("s3_4_c12_c9_5", self.icc_sre);
            if has.hcrx {
                write_sysreg!("s3_4_c1_c2_2", self.hcrx);
            }
            if has.fgt {
                write_sysreg!("s3_4_c1_c1_4", self.fgt[0]);
                write_sysreg!("s3_4_c1_c1_5", self.fgt[1]);
                write_sysreg!("s3_4_c1_c1_6", self.fgt[2]);
                write_sysreg!("s3_4_c3_c1_4", self.fgt[3]);
                write_sysreg!("s3_4_c3_c1_5", self.fgt[4]);
            }
            if has.fgt2 {
                write_sysreg!("s3_4_c3_c1_2", self.fgt2[0]);
                write_sysreg!("s3_4_c3_c1_3", self.fgt2[1]);
                write_sysreg!("s3_4_c3_c1_7", self.fgt2[2]);
                write_sysreg!("s3_4_c3_c1_0", self.fgt2[3]);
                write_sysreg!("s3_4_c3_c1_1", self.fgt2[4]);
            }
            if has.mpam {
                write_sysreg!("s3_4_c10_c5_0", self.mpam2);
            }
            if has.mpamhcr {
                write_sysreg!("s3_4_c10_c4_0", self.mpamhcr);
            }
        }
    }
}
