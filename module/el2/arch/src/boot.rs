// SPDX-License-Identifier: GPL-2.0
//! EL2's tables, built by the first CPU with the MMU off.
//!
//! This code runs at the image's physical address, on `el2_boot_stack`, in Device memory. So it
//! makes no atomic read-modify-write, no unaligned access, and uses no absolute address: what the
//! linker knows as an address reaches it relative to the PC and is a physical address here.
//! What it writes is in memory; what the caches hold of it is dropped before the MMU goes on.
//!
//! Why unsafe: it turns numbers that the trusted host passed into pointers and tables.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use mvirt_abi::{BootParams, Carveout, CpuRefusal, EntryError, Error, PhysRange, STACK_SIZE};
use mvirt_hyp::addr::{Level, Linear, Phys, Va};
use mvirt_hyp::pgtable::stage1::{tcr_el2, Access, El2Map, Memory, Regime, MAIR_EL2};
use mvirt_hyp::pgtable::stage2::pa_bits;
use mvirt_hyp::pgtable::{BootFrames, View};
use mvirt_hyp::pool::BootPool;

use crate::entry::{cpu_on_offset, Answer, BootRegs, EL2_BOOT_REGS};
use crate::layout::{
    self, in_phys_limit, stack_base, Page, IMAGE_BASE, LINEAR_BASE, PAGE_SHIFT, PAGE_SIZE, VA_BITS,
    WINDOWS_BASE,
};
use crate::machine::{invalidate_to_poc, set_windows, Physical};
use crate::sysreg::{e2h, read_sysreg, HCR_E2H};

/// Physical address of the carve-out, which starts with the image.
static CARVEOUT: AtomicU64 = AtomicU64::new(0);

/// EL2's address space and what is left of the pool, from `build` until `take_memory`.
struct Built(UnsafeCell<Option<(El2Map<Page>, BootPool)>>);

// SAFETY: written by the first CPU before any other enters; taken out by the one CPU that runs the
// hypercall `prepare`, which calls come to under a lock (`calls::MEMORY`).
unsafe impl Sync for Built {}

static BUILT: Built = Built(UnsafeCell::new(None));

/// SCTLR_EL2: RES1 bits of E2H = 0, which E2H = 1 wants set too (EOS, nTWI, nTWE, EIS, SPAN, LSMAOE,
/// nTLSMD).
const SCTLR_RES1: u64 = 0x30c5_0830;
/// M, A, C, SA, I: MMU, alignment checks, caches, stack alignment check.
const SCTLR_ON: u64 = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 3) | (1 << 12);
/// WXN: what is writable is never executable.
const SCTLR_WXN: u64 = 1 << 19;

/// The second frame of a redistributor: SGIs and PPIs.
const GICR_SGI_FRAME: u64 = 0x1_0000;

/// Where the carve-out is and how it is divided.
pub fn carveout() -> (u64, Carveout) {
    let base = CARVEOUT.load(Ordering::Relaxed);
    let params = params();
    let layout = Carveout::new(image_size() as u32, params.nr_cpus, PAGE_SHIFT);
    (base, layout.expect("checked by build"))
}

/// The boot parameters, where EL2 has them. The host wrote them before EL2 was entered and may do
/// so until finalise, when it loses the page; it is trusted until then.
pub fn params() -> &'static BootParams {
    let base = CARVEOUT.load(Ordering::Relaxed);
    // SAFETY: the parameters follow the image (`Carveout`), in the linear map, aligned to a page;
    // EL1 has filled them in, and all bits are values of them.
    unsafe { &*((LINEAR_BASE + base + image_size()) as *const BootParams) }
}

/// EL2's address space and the pool's untaken pages: once.
///
/// # Safety
///
/// The caller holds the lock that `Built` names.
pub unsafe fn take_memory() -> Option<(El2Map<Page>, BootPool)> {
    // SAFETY: by the caller's promise nothing else touches it.
    unsafe { (*BUILT.0.get()).take() }
}

/// Physical address of EL2's entry for CPUs that the firmware starts.
pub fn cpu_on_entry() -> u64 {
    CARVEOUT.load(Ordering::Relaxed) + cpu_on_offset()
}

extern "C" {
    static el2_header: u8;
    static el2_text_end: u8;
    static el2_rodata_end: u8;
    static el2_bss_end: u8;
}

fn image_size() -> u64 {
    (&raw const el2_bss_end as u64) - (&raw const el2_header as u64)
}

/// End of text and read-only data, from the image's start.
pub fn image_read_only_end() -> u64 {
    (&raw const el2_rodata_end as u64) - (&raw const el2_header as u64)
}

/// Builds EL2's stage-1 tables in the pool's first pages and fills [`BootRegs`]. Called by the
/// first CPU's entry with the MMU off.
#[no_mangle]
extern "C" fn el2_build(base: u64, image: u64) -> Answer {
    Answer::new(build(base, image).map(|()| 0))
}

fn build(base: u64, image: u64) -> Result<(), EntryError> {
    if image != base || base % PAGE_SIZE != 0 {
        return Err(Error::Invalid.into());
    }
    // SAFETY: as in `params`, at the physical address.
    let params = unsafe { &*((base + image_size()) as *const BootParams) };
    let layout =
        Carveout::new(image_size() as u32, params.nr_cpus, PAGE_SHIFT).ok_or(Error::Invalid)?;
    if params.carveout.base != base
        || params.carveout.size != layout.size
        || layout.params != image_size()
        || !in_phys_limit(params.carveout)
    {
        return Err(Error::Invalid.into());
    }
    let regime = if e2h() { Regime::El2And0 } else { Regime::El2 };
    let mut memory = Physical::mmu_off();
    let mut pool = BootPool::new::<Page>(
        Phys::new(base + layout.pool),
        Carveout::pool_pages(params.nr_cpus),
    )
    .ok_or(Error::Invalid)?;
    let mut frames = BootFrames::<Page>::new(&mut pool);
    let linear = Linear::new(Va::new(LINEAR_BASE));
    let map = El2Map::<Page>::new(&mut memory, &mut frames, regime, VA_BITS, linear)?;
    let mut add = |va: u64, from: u64, to: u64, access| {
        let pa = Phys::new(base + from);
        map.map(
            &mut memory,
            &mut frames,
            Va::new(va),
            pa,
            to - from,
            access,
            Memory::Normal,
        )
    };
    let at = |symbol: *const u8| symbol as u64 - base;
    let text = at(&raw const el2_text_end);
    let rodata = at(&raw const el2_rodata_end);
    // The identity page.
    add(base, 0, PAGE_SIZE, Access::ReadExecute)?;
    add(IMAGE_BASE, 0, text, Access::ReadExecute)?;
    add(IMAGE_BASE + text, text, rodata, Access::Read)?;
    add(
        IMAGE_BASE + rodata,
        rodata,
        layout.params,
        Access::ReadWrite,
    )?;
    for cpu in 0..u64::from(params.nr_cpus) {
        let stack = layout.stacks + cpu * STACK_SIZE;
        add(
            stack_base(cpu),
            stack,
            stack + STACK_SIZE,
            Access::ReadWrite,
        )?;
    }
    // Parameters and pool by the linear map. Image and stacks have no second address.
    let linear = LINEAR_BASE + base;
    add(
        linear + layout.params,
        layout.params,
        layout.stacks,
        Access::ReadWrite,
    )?;
    add(
        linear + layout.pool,
        layout.pool,
        layout.size,
        Access::ReadWrite,
    )?;

    for (cpu, &gicr) in (0..u64::from(params.nr_cpus)).zip(&params.gicr) {
        if gicr == 0 {
            continue;
        }
        let frame = PhysRange {
            base: gicr.checked_add(GICR_SGI_FRAME).ok_or(Error::Invalid)?,
            size: PAGE_SIZE,
        };
        if frame.base % PAGE_SIZE != 0 || !in_phys_limit(frame) {
            return Err(Error::Invalid.into());
        }
        map.map(
            &mut memory,
            &mut frames,
            Va::new(layout::gicr(cpu)),
            Phys::new(frame.base),
            PAGE_SIZE,
            Access::ReadWrite,
            Memory::Device,
        )?;
    }
    // Nothing is mapped in the windows yet; the walk ends in their table.
    let window = map.tree().walk(&memory, Va::new(WINDOWS_BASE));
    let window = window.filter(|entry| entry.level == Level::L3 && entry.view == View::Invalid);
    set_windows(window.ok_or(Error::Invalid)?.table, regime);

    CARVEOUT.store(base, Ordering::Relaxed);
    // ID_AA64MMFR0_EL1.PARange.
    let pa_bits =
        pa_bits(read_sysreg!("id_aa64mmfr0_el1") & 0xf).map_err(|_| CpuRefusal::PaRange)?;
    let regs = BootRegs {
        mair: MAIR_EL2,
        tcr: tcr_el2::<Page>(regime, VA_BITS, pa_bits)?,
        ttbr0: map.ttbr0(),
        sctlr: SCTLR_RES1 | SCTLR_ON | SCTLR_WXN,
        // A fresh CPU gets the rest with its kept registers.
        hcr: read_sysreg!("hcr_el2") & HCR_E2H,
    };
    // SAFETY: no other CPU has entered yet, and this one reads it only after.
    unsafe {
        EL2_BOOT_REGS.get().write(regs);
        BUILT.0.get().write(Some((map, pool)));
    }
    invalidate_to_poc(base + rodata, base + layout.size);
    Ok(())
}
