// SPDX-License-Identifier: GPL-2.0
//! Walks of stage 1, held off where a speculative one would do harm.

use crate::sysreg::{host_sctlr, host_tcr, isb, set_host_sctlr, set_host_tcr};

/// No walk of stage 1 of EL1&0 starts while this lives, of the host or of the guest, whichever is
/// the context: errata 1165522, 1319367, 1319537 and 1530923, where a speculative one would mix the
/// old context with the new.
pub struct Stage1Walks {
    tcr: u64,
    sctlr: u64,
}

/// TCR_EL1.EPD0 and EPD1: no walks on a TLB miss.
pub const TCR_EPD: u64 = (1 << 7) | (1 << 23);
/// SCTLR_EL1.M.
pub const SCTLR_M: u64 = 1;

impl Stage1Walks {
    pub(super) fn stop() -> Stage1Walks {
        let walks = Stage1Walks {
            tcr: host_tcr(),
            sctlr: host_sctlr(),
        };
        set_host_tcr(walks.tcr | TCR_EPD);
        isb();
        set_host_sctlr(walks.sctlr | SCTLR_M);
        isb();
        walks
    }
}

impl Drop for Stage1Walks {
    fn drop(&mut self) {
        isb();
        set_host_sctlr(self.sctlr);
        isb();
        set_host_tcr(self.tcr);
        isb();
    }
}
