// SPDX-License-Identifier: GPL-2.0
//! EL2's tables, built by the first CPU with the MMU off.
//!
//! This code runs at the image's physical address, on `el2_boot_stack`, in Device memory. So it
//! makes no atomic read-modify-write, no unaligned access, and uses no absolute address: what the
//! linker knows as an address reaches it relative to the PC and is a physical address here.
//! What it writes is in memory; what the caches hold of it is dropped before the MMU goes on.
//!
//! Why unsafe: it turns numbers that the trusted host passed into pointers and tables.

use core::sync::atomic::{AtomicU64, Ordering};

use mvirt_abi::{BootParams, Carveout, Error, INITIAL_POOL_PAGES, STACK_SIZE};
use mvirt_hyp::addr::{Phys, Va};
use mvirt_hyp::pgtable::{El2Map, Protection, Regime};

use crate::entry::{cpu_on_offset, BootRegs, EL2_BOOT_REGS};
use crate::layout::{
    in_phys_limit, stack_base, Page, IMAGE_BASE, LINEAR_BASE, PAGE_SHIFT, PAGE_SIZE, VA_BITS,
};
use crate::machine::{invalidate_to_poc, Physical};
use crate::sysreg::{e2h, read_sysreg, HCR_E2H};

/// Physical address of the carve-out, which starts with the image.
static CARVEOUT: AtomicU64 = AtomicU64::new(0);
/// Pages of the pool that EL2's first tables took.
static POOL_USED: AtomicU64 = AtomicU64::new(0);

/// MAIR_EL2: attribute 0 is Normal, Inner and Outer Write-Back, Read- and Write-Allocate,
/// Non-transient (Arm ARM D24.2.110). EL2 maps no devices.
const MAIR: u64 = 0xff;

/// SCTLR_EL2: RES1 bits of E2H = 0, which E2H = 1 wants set too (EOS, nTWI, nTWE, EIS, SPAN, LSMAOE,
/// nTLSMD).
const SCTLR_RES1: u64 = 0x30c5_0830;
/// M, A, C, SA, I: MMU, alignment checks, caches, stack alignment check.
const SCTLR_ON: u64 = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 3) | (1 << 12);
/// WXN: what is writable is never executable.
const SCTLR_WXN: u64 = 1 << 19;

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

/// Pages of the pool that are in use as EL2's first tables.
pub fn pool_used() -> u64 {
    POOL_USED.load(Ordering::Relaxed)
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

/// Builds EL2's stage-1 tables in the pool's first pages and fills [`BootRegs`]. Called by the
/// first CPU's entry with the MMU off.
#[no_mangle]
extern "C" fn el2_build(base: u64, image: u64) -> i64 {
    match build(base, image) {
        Ok(()) => 0,
        // Lossless: the other direction of the same reinterpretation.
        Err(e) => e.to_raw() as i64,
    }
}

fn build(base: u64, image: u64) -> Result<(), Error> {
    if image != base || base % PAGE_SIZE != 0 {
        return Err(Error::Invalid);
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
        return Err(Error::Invalid);
    }
    let regime = if e2h() { Regime::El2And0 } else { Regime::El2 };
    let mut pool = Bump { next: base + layout.pool, left: INITIAL_POOL_PAGES };
    let mut memory = Physical::MMU_OFF;
    let root = pool.take().ok_or(Error::NoMemory)?;
    let mut map = El2Map::<Page>::create(root, regime, VA_BITS, &mut memory);
    let mut add = |va: u64, pa: u64, size: u64, protection| {
        map.map(&mut memory, &mut || pool.take(), Va::new(va), Phys::new(pa), size, protection)
    };
    let at = |symbol: *const u8| symbol as u64 - base;
    let text = at(&raw const el2_text_end);
    let rodata = at(&raw const el2_rodata_end);
    // The identity page.
    add(base, base, PAGE_SIZE, Protection::ReadExecute)?;
    add(IMAGE_BASE, base, text, Protection::ReadExecute)?;
    add(IMAGE_BASE + text, base + text, rodata - text, Protection::Read)?;
    add(IMAGE_BASE + rodata, base + rodata, image_size() - rodata, Protection::ReadWrite)?;
    for cpu in 0..u64::from(params.nr_cpus) {
        let stack = base + layout.stacks + cpu * STACK_SIZE;
        add(stack_base(cpu), stack, STACK_SIZE, Protection::ReadWrite)?;
    }
    // Parameters and pool by the linear map. Image and stacks have no second, writable address.
    add(LINEAR_BASE + base + layout.params, base + layout.params, layout.stacks - layout.params, Protection::ReadWrite)?;
    add(LINEAR_BASE + base + layout.pool, base + layout.pool, layout.size - layout.pool, Protection::ReadWrite)?;

    CARVEOUT.store(base, Ordering::Relaxed);
    POOL_USED.store(INITIAL_POOL_PAGES - pool.left, Ordering::Relaxed);
    let pa_range = read_sysreg!("id_aa64mmfr0_el1") & 0xf;
    let regs = BootRegs {
        mair: MAIR,
        tcr: regime.tcr::<Page>(VA_BITS, pa_range),
        ttbr0: root.raw(),
        sctlr: SCTLR_RES1 | SCTLR_ON | SCTLR_WXN,
        // A fresh CPU gets the rest with its kept registers.
        hcr: read_sysreg!("hcr_el2") & HCR_E2H,
    };
    // SAFETY: no other CPU has entered yet, and this one reads it only after.
    unsafe { EL2_BOOT_REGS.get().write(regs) };
    invalidate_to_poc(base + rodata, base + layout.size);
    Ok(())
}

/// The pool's pages in order.
struct Bump {
    next: u64,
    left: u64,
}

impl Bump {
    fn take(&mut self) -> Option<Phys> {
        self.left = self.left.checked_sub(1)?;
        let page = Phys::new(self.next);
        self.next += PAGE_SIZE;
        Some(page)
    }
}
