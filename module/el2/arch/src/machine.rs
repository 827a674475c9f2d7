// SPDX-License-Identifier: GPL-2.0
//! The logic's view of memory and TLBs, on the real machine.
//!
//! With the MMU off a physical address is used as it is; with the MMU on EL2 reaches what it owns
//! through its linear map. [`Physical`] is both: it differs by the offset alone, so that the code
//! which builds the tables exists once.
//!
//! Why unsafe: it reaches physical memory and executes TLB and cache maintenance.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use mvirt_hyp::addr::{Ipa, Level, Phys, Va};
use mvirt_hyp::machine::Machine;

use crate::layout::{LINEAR_BASE, PAGE_SIZE};
use crate::sysreg::{dsb_ish, read_sysreg};

/// Physical memory that EL2 owns or that is shared with it.
///
/// # Invariants
///
/// `offset` is 0 and the MMU is off, or it is [`LINEAR_BASE`] and the MMU is on.
pub struct Physical {
    offset: u64,
}

impl Physical {
    /// With the MMU on.
    pub const fn linear() -> Physical {
        // INVARIANT: all code that is not `boot::build` runs with the MMU on.
        Physical {
            offset: LINEAR_BASE,
        }
    }

    /// With the MMU off, on the first CPU before it enters.
    pub const fn mmu_off() -> Physical {
        // INVARIANT: for `boot::build` alone.
        Physical { offset: 0 }
    }

    fn pointer(&self, phys: Phys) -> *mut u64 {
        (phys.raw() + self.offset) as *mut u64
    }
}

/// Set where a CPU's broadcast invalidation may complete too early (`errata`: 1286807 and its kin).
static REPEAT_TLBI: AtomicBool = AtomicBool::new(false);

/// From now on each invalidation is made twice.
pub fn repeat_tlbi() {
    REPEAT_TLBI.store(true, Ordering::Relaxed);
}

/// Ends a broadcast invalidation: waits for it, and makes it once more where that is needed. The
/// repetition may be of any kind (Linux, arch/arm64/include/asm/tlbflush.h); this one is cheap.
fn finish_tlbi() {
    // SAFETY: barriers, and an invalidation of EL2's own entry for address 0, which there is none
    // of.
    unsafe {
        asm!("dsb ish", options(nostack, preserves_flags));
        if REPEAT_TLBI.load(Ordering::Relaxed) {
            asm!(
                "tlbi vae2is, xzr",
                "dsb ish",
                options(nostack, preserves_flags)
            );
        }
        asm!("isb", options(nostack, preserves_flags));
    }
}

/// Bytes of the smallest data cache line (CTR_EL0.DminLine).
fn cache_line() -> u64 {
    4 << ((read_sysreg!("ctr_el0") >> 16) & 0xf)
}

/// Discards what caches hold of `start..end`, which was written with the MMU off: the host's linear
/// map may have brought stale lines in by speculation (Arm ARM D7.5.9.2). No line is dirty, for EL1
/// cleaned them and has not written since.
pub fn invalidate_to_poc(start: u64, end: u64) {
    let line = cache_line();
    let mut at = start & !(line - 1);
    while at < end {
        // SAFETY: memory holds the newest value of each line, so dropping the line loses nothing.
        unsafe { asm!("dc ivac, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += line;
    }
    dsb_ish();
}

impl Machine for Physical {
    fn read_desc(&self, table: Phys, index: usize) -> u64 {
        // SAFETY: the logic passes tables that EL2 owns, which are mapped, and an index below the
        // entries of a page (its own check); the walker only ever writes the Access flag, which
        // is set beforehand, so a plain volatile read sees the one value.
        unsafe { self.pointer(table).add(index).read_volatile() }
    }

    fn write_desc(&mut self, table: Phys, index: usize, desc: u64) {
        // SAFETY: as in `read_desc`. An aligned 64-bit store is single-copy atomic (Arm ARM
        // B2.2.1), so a walker sees the old descriptor or the new one.
        unsafe { self.pointer(table).add(index).write_volatile(desc) };
    }

    fn clear_table(&mut self, table: Phys) {
        let words = PAGE_SIZE as usize / 8;
        // SAFETY: a page of EL2's that is in no use: the logic took it from its pool.
        unsafe { core::ptr::write_bytes(self.pointer(table), 0, words) };
    }

    fn publish(&mut self) {
        // SAFETY: a barrier: table writes are visible to the walkers of all CPUs before what
        // follows; the ISB makes this CPU's own walks see them (Arm ARM K13.5.3 gives the pattern).
        unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
    }

    fn scrub(&mut self, page: Phys) {
        let start = self.pointer(page);
        // SAFETY: a page of EL2's that is about to go back; nothing else uses it.
        unsafe { core::ptr::write_bytes(start, 0, PAGE_SIZE as usize / 8) };
        let line = cache_line();
        let mut at = start as u64;
        let end = at + PAGE_SIZE;
        while at < end {
            // SAFETY: cleaning changes no value. To the point of coherency: the next owner may
            // read it uncached.
            unsafe { asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) };
            at += line;
        }
        dsb_ish();
    }

    fn tlb_flush_host_page(&mut self, ipa: Ipa, _level: Level) {
        // SAFETY: invalidation never makes an access possible. First what is cached of stage 2 for
        // this IPA, then, once that is complete, combined stage 1 and 2 entries, which are kept by
        // virtual address and so only go with all of the VMID (Arm ARM D8.16.5).
        unsafe {
            asm!(
                "dsb ishst",
                "tlbi ipas2e1is, {}",
                in(reg) ipa.raw() >> 12,
                options(nostack, preserves_flags)
            );
        }
        finish_tlbi();
        // SAFETY: as above.
        unsafe { asm!("tlbi vmalle1is", options(nostack, preserves_flags)) };
        finish_tlbi();
    }

    fn tlb_flush_host_all(&mut self) {
        // SAFETY: as above; VTTBR_EL2 is the host's, so this is all of the host's VMID.
        unsafe {
            asm!(
                "dsb ishst",
                "tlbi vmalls12e1is",
                options(nostack, preserves_flags)
            );
        }
        finish_tlbi();
    }

    fn tlb_flush_el2(&mut self, va: Va) {
        // SAFETY: as above, for EL2's own regime.
        unsafe {
            asm!(
                "dsb ishst",
                "tlbi vae2is, {}",
                in(reg) va.raw() >> 12,
                options(nostack, preserves_flags)
            );
        }
        finish_tlbi();
    }
}
