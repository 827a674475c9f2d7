// SPDX-License-Identifier: GPL-2.0
//! The logic's view of memory and TLBs, on the real machine.
//!
//! With the MMU off a physical address is used as it is; with the MMU on EL2 reaches what it owns
//! through its linear map. [`Physical`] is both: it differs by the offset alone, so that the code
//! which builds the tables exists once.
//!
//! Why unsafe: it reaches physical memory and executes TLB and cache maintenance.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mvirt_hyp::addr::{GuestIpa, Ipa, Level, Phys, Va};
use mvirt_hyp::machine::Machine;
use mvirt_hyp::pgtable::stage1::{attrs, Access, Memory, Regime};
use mvirt_hyp::pgtable::stage2::GuestRegime;
use mvirt_hyp::pgtable::Desc;

use crate::cpu::{PerCpu, Stage1Walks};
use crate::layout::{page_index, window, Page, LINEAR_BASE, PAGE_SIZE};
use crate::sysreg::{dsb_ish, isb, read_sysreg, write_sysreg};

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

/// CTR_EL0 of all CPUs in one, 0 before any was taken in.
static CTR: AtomicU64 = AtomicU64::new(0);

/// From now on caches are maintained by this CTR_EL0. Whoever calls it for a CPU that comes does so
/// before that one's caches hold anything that another CPU has to clean.
pub fn set_ctr(folded: u64) {
    CTR.store(folded, Ordering::Relaxed);
}

/// The CTR_EL0 to go by: with lines as small as any CPU's. An operation by address reaches the line of
/// that address in each cache of the domain (Arm ARM D7.5.9); on a CPU whose own lines are longer, a
/// step of its own would leave every other line of a cache with shorter ones.
fn ctr() -> u64 {
    match CTR.load(Ordering::Relaxed) {
        // The first CPU, which is alone.
        0 => read_sysreg!("ctr_el0"),
        folded => folded,
    }
}

/// Bytes of the smallest data cache line (CTR_EL0.DminLine).
fn cache_line() -> u64 {
    4 << ((ctr() >> 16) & 0xf)
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

/// Cleans and invalidates the page at `start`, an address of EL2's, to the point of coherency: its
/// next user may access it uncached. Such accesses are Outer Shareable, so the barrier that completes
/// the maintenance is for the full system, as Linux has it.
fn clean_to_poc(start: u64) {
    let line = cache_line();
    // Four at a time, as this is much of what a fault of a guest's takes at EL2; the lines of a page are
    // a power of two. A step shorter than a line, where a page has fewer than four, cleans it again.
    let step = line.min(PAGE_SIZE / 4);
    // SAFETY: cleaning changes no value, what is invalidated was cleaned, and each address is of the page.
    unsafe {
        asm!(
            "2:",
            "dc civac, {at}",
            "add {at}, {at}, {step}",
            "dc civac, {at}",
            "add {at}, {at}, {step}",
            "dc civac, {at}",
            "add {at}, {at}, {step}",
            "dc civac, {at}",
            "add {at}, {at}, {step}",
            "cmp {at}, {end}",
            "b.lo 2b",
            at = inout(reg) start => _,
            end = in(reg) start + PAGE_SIZE,
            step = in(reg) step,
            options(nostack)
        )
    };
    // SAFETY: a barrier changes no state of the program.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}

/// Has no CPU fetch instructions from what the page at `start`, an address of EL2's, held before its
/// data was cleaned to memory (Arm ARM D7.5, instruction caches).
///
/// Instruction caches that are physically indexed are invalidated by address, which is as good for
/// all other addresses of the page. From one that is virtually indexed (CTR_EL0.L1Ip) all goes, since
/// a guest's address may lie elsewhere in it. With CTR_EL0.DIC there is nothing to do.
fn invalidate_icache(start: u64) {
    const DIC: u64 = 1 << 29;
    const PHYSICAL: u64 = 0b11;
    let ctr = ctr();
    if ctr & DIC != 0 {
        return;
    }
    if (ctr >> 14) & 0b11 == PHYSICAL {
        let line = 4 << (ctr & 0xf);
        let mut at = start;
        while at < start + PAGE_SIZE {
            // SAFETY: what is dropped is fetched again from memory.
            unsafe { asm!("ic ivau, {}", in(reg) at, options(nostack, preserves_flags)) };
            at += line;
        }
    } else {
        // SAFETY: as above.
        unsafe { asm!("ic ialluis", options(nostack, preserves_flags)) };
    }
    dsb_ish();
}

/// Zeroes the page at `start` and cleans it to memory.
///
/// # Safety
///
/// The page is mapped for writing there, and nothing else uses it.
unsafe fn zero(start: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { core::ptr::write_bytes(start, 0, PAGE_SIZE as usize / 8) };
    clean_to_poc(start as u64);
}

/// The table of EL2's stage 1 that has the windows' descriptors: set once, with the MMU off.
static WINDOWS: AtomicU64 = AtomicU64::new(0);
/// Whether EL2's tables are in the format of EL2&0.
static EL2_AND_0: AtomicBool = AtomicBool::new(false);

/// Says where the windows' descriptors are, all of them invalid now.
pub fn set_windows(table: Phys, regime: Regime) {
    WINDOWS.store(table.raw(), Ordering::Relaxed);
    EL2_AND_0.store(regime == Regime::El2And0, Ordering::Relaxed);
}

/// A page that EL2 does not map, in this CPU's window for as long as this lives. EL2 cannot be
/// interrupted, and opens one at a time.
///
/// Cacheable and inner shareable, as all others that have the page may map it: there is no mismatch
/// of attributes but with those that ask for less themselves.
struct Window {
    start: *mut u64,
}

impl Window {
    fn open(page: Phys) -> Window {
        let regime = if EL2_AND_0.load(Ordering::Relaxed) {
            Regime::El2And0
        } else {
            Regime::El2
        };
        let attrs = attrs(regime, Access::ReadWrite, Memory::Normal);
        let desc = Desc::<Page>::leaf(Level::L3, page, attrs).expect("level 3 has leaves");
        let start = window(PerCpu::current().index().into());
        // From invalid to valid: no TLB holds anything, for what was last here was invalidated.
        Window::set(start, desc);
        Window {
            start: start as *mut u64,
        }
    }

    fn set(va: u64, desc: Desc<Page>) {
        let table = Phys::new(WINDOWS.load(Ordering::Relaxed));
        let mut memory = Physical::linear();
        memory.write_desc(table, page_index(va), desc.raw());
        memory.publish();
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let va = self.start as u64;
        Window::set(va, Desc::INVALID);
        // On this CPU alone, which is the only one that uses the address: what another may have walked
        // by speculation no instruction of its own ever asks for, and EL2 writes by none of it.
        // SAFETY: invalidation never makes an access possible.
        unsafe {
            asm!(
                "dsb nshst",
                "tlbi vae2, {}",
                "dsb nsh",
                "isb",
                in(reg) va >> 12,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// VTCR_EL2 and VTTBR_EL2 of the host, from `prepare` on; 0 before, when nothing runs under them.
static HOST_VTCR: AtomicU64 = AtomicU64::new(0);
static HOST_VTTBR: AtomicU64 = AtomicU64::new(0);

/// Says what the host's stage 2 is: once, before any CPU is under it.
pub fn set_host_regime(vtcr: u64, vttbr: u64) {
    HOST_VTCR.store(vtcr, Ordering::Relaxed);
    HOST_VTTBR.store(vttbr, Ordering::Relaxed);
}

/// Another stage 2 in VTTBR_EL2 while this lives: TLB maintenance of EL1&0 is for the VMID that is
/// there (Arm ARM D8.16), be it the host's or a guest's that made the call.
///
/// EL1's registers are still those of the old context. A walk by them under the new VMID would put
/// entries into TLBs that belong to neither. The PE makes none while it is at EL2, as EL1&0 is out of
/// context there (Arm ARM D8.16), but on cores with the errata that `Stage1Walks` names, where walks
/// are stopped. It executes nothing at EL1 or EL0 meanwhile.
struct Switched {
    vtcr: u64,
    vttbr: u64,
    /// Dropped, so that walks go on, after the old stage 2 is back.
    _walks: Option<Stage1Walks>,
}

impl Switched {
    /// `None` if that stage 2 is in force already.
    fn to(vtcr: u64, vttbr: u64) -> Option<Switched> {
        let old = (read_sysreg!("vtcr_el2"), read_sysreg!("vttbr_el2"));
        if old.1 == vttbr || vttbr == 0 {
            return None;
        }
        let switched = Switched {
            vtcr: old.0,
            vttbr: old.1,
            _walks: PerCpu::current().stop_walks(),
        };
        Switched::set(vtcr, vttbr);
        Some(switched)
    }

    fn to_host() -> Option<Switched> {
        let (vtcr, vttbr) = (&HOST_VTCR, &HOST_VTTBR);
        Switched::to(vtcr.load(Ordering::Relaxed), vttbr.load(Ordering::Relaxed))
    }

    fn set(vtcr: u64, vttbr: u64) {
        // SAFETY: EL2's own regime does not depend on them, and nothing else runs on this CPU until
        // `drop`, which puts back what was there. The ISB makes the TLBI that follows, or what the
        // caller does after `drop`, use the new VMID.
        unsafe {
            write_sysreg!("vtcr_el2", vtcr);
            write_sysreg!("vttbr_el2", vttbr);
        }
        isb();
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        Switched::set(self.vtcr, self.vttbr);
    }
}

/// Invalidates one IPA of the VMID in VTTBR_EL2.
fn flush_page(ipa: u64) {
    // SAFETY: invalidation never makes an access possible. First what is cached of stage 2 for
    // this IPA, then, once that is complete, combined stage 1 and 2 entries, which are kept by
    // virtual address and so only go with all of the VMID (Arm ARM D8.16.5).
    unsafe {
        asm!(
            "dsb ishst",
            "tlbi ipas2e1is, {}",
            in(reg) ipa >> 12,
            options(nostack, preserves_flags)
        );
    }
    finish_tlbi();
    // SAFETY: as above.
    unsafe { asm!("tlbi vmalle1is", options(nostack, preserves_flags)) };
    finish_tlbi();
}

/// Invalidates all of the VMID in VTTBR_EL2.
fn flush_all() {
    // SAFETY: as above.
    unsafe {
        asm!(
            "dsb ishst",
            "tlbi vmalls12e1is",
            options(nostack, preserves_flags)
        );
    }
    finish_tlbi();
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
        // SAFETY: a page of EL2's that is about to go back, in the linear map; nothing else uses it.
        unsafe { zero(self.pointer(page)) };
    }

    fn clean_page(&mut self, page: Phys, executed: bool) {
        let window = Window::open(page);
        clean_to_poc(window.start as u64);
        if executed {
            invalidate_icache(window.start as u64);
        }
    }

    fn scrub_page(&mut self, page: Phys) {
        let window = Window::open(page);
        // SAFETY: the window maps the page, which by the logic's promise is in no guest's tables any
        // more and not in the host's yet.
        unsafe { zero(window.start) };
    }

    fn tlb_flush_guest_page(&mut self, guest: GuestRegime, ipa: GuestIpa, _level: Level) {
        let _switched = Switched::to(guest.vtcr, guest.vttbr);
        flush_page(ipa.raw());
    }

    fn tlb_flush_guest_all(&mut self, guest: GuestRegime) {
        let _switched = Switched::to(guest.vtcr, guest.vttbr);
        flush_all();
    }

    fn tlb_flush_host_page(&mut self, ipa: Ipa, _level: Level) {
        let _switched = Switched::to_host();
        flush_page(ipa.raw());
    }

    fn tlb_flush_host_all(&mut self) {
        let _switched = Switched::to_host();
        flush_all();
    }

    fn tlb_flush_el2(&mut self, va: Va) {
        // SAFETY: invalidation never makes an access possible.
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
