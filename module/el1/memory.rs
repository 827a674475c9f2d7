// SPDX-License-Identifier: GPL-2.0
//! The memory that EL2 lives in: allocated here, filled in with what EL2 must know, and given back
//! if the take-over fails or EL2 is released.
//!
//! Why unsafe: raw pages, and the kernel calls back through a C pointer.

use crate::abi::{
    BootParams, Carveout, Error, ImageHeader, PhysRange, BOOT_ALLOW_RELEASE, HASH, IMAGE_MAGIC,
    MAX_CPUS, MAX_META_CHUNKS, MAX_RAM_RANGES, META_BYTES_PER_PAGE, META_CHUNK,
};
use crate::bindings;
use crate::hvc::clean_to_poc;
use crate::probe::{possible_cpus, Refusal};
use crate::report;
use core::mem::size_of;
use kernel::ffi::c_void;
use kernel::page::{PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;

/// Physically contiguous, zeroed pages; freed when dropped.
pub(crate) struct Pages {
    virt: *mut u8,
    size: usize,
    /// EL2 did not give them back: they are lost to the kernel.
    kept: bool,
}

// SAFETY: the pages belong to this value alone, and freeing them is possible from any thread.
unsafe impl Send for Pages {}
// SAFETY: shared access only computes addresses and sizes.
unsafe impl Sync for Pages {}

impl Pages {
    fn new(size: usize) -> Result<Pages, Refusal> {
        // SAFETY: takes a size, answers NULL or that many zeroed bytes, page aligned.
        let virt = unsafe { bindings::mvirt_alloc_pages(size) }.cast::<u8>();
        if virt.is_null() {
            return Err(Refusal::NoMemory(size));
        }
        Ok(Pages {
            virt,
            size,
            kept: false,
        })
    }

    /// What the page allocator gives: whole pages.
    pub(crate) fn bytes(&self) -> usize {
        self.size.next_multiple_of(PAGE_SIZE)
    }

    pub(crate) fn phys(&self) -> u64 {
        // SAFETY: `virt` is in the linear map.
        unsafe { bindings::mvirt_virt_to_phys(self.virt.cast()) }
    }

    fn range(&self) -> PhysRange {
        PhysRange {
            base: self.phys(),
            size: self.bytes() as u64,
        }
    }

    fn as_ptr(&self) -> *mut u8 {
        self.virt
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // SAFETY: allocated with this size, and nobody else has them: not `kept` says that EL2 gave
        // them back or never had them.
        unsafe { bindings::mvirt_free_pages(self.virt.cast(), self.size) };
    }
}

/// All that EL2 lives in, and what it shares with EL1.
pub(crate) struct El2Memory {
    pub(crate) carveout: Pages,
    meta: KVec<Pages>,
    pub(crate) report: Pages,
    pub(crate) entry: u64,
}

impl Drop for El2Memory {
    fn drop(&mut self) {
        report::set_page(core::ptr::null_mut());
    }
}

impl El2Memory {
    pub(crate) fn bytes(&self) -> u64 {
        let meta: usize = self.meta.iter().map(Pages::bytes).sum();
        (self.carveout.bytes() + meta + self.report.bytes()) as u64
    }

    /// Leaves nothing of EL2's in pages that go back to the kernel.
    pub(crate) fn scrub(&self) {
        let wipe = |pages: &Pages| {
            // SAFETY: the pages are ours again, and nobody else has them.
            unsafe { core::ptr::write_bytes(pages.virt, 0, pages.bytes()) };
        };
        wipe(&self.carveout);
        wipe(&self.report);
        self.meta.iter().for_each(wipe);
    }

    /// EL2 keeps the pages: they must never be freed.
    pub(crate) fn forget(&mut self) {
        self.carveout.kept = true;
        self.report.kept = true;
        self.meta.iter_mut().for_each(|pages| pages.kept = true);
    }

    /// Allocates everything and fills it in.
    pub(crate) fn new(header: &ImageHeader, image: &[u8]) -> Result<El2Memory, Refusal> {
        let cpus = possible_cpus().count() as u32;
        if cpus as usize > MAX_CPUS {
            return Err(Refusal::TooManyCpus(cpus));
        }
        let layout = Carveout::new(header.bss_end, cpus, header.page_shift)
            .ok_or(Refusal::Step("the carve-out's layout", Error::Invalid))?;
        let carveout = Pages::new(layout.size as usize)?;
        let report_page = Pages::new(PAGE_SIZE)?;
        // SAFETY: the carve-out has room for the image (its layout says so) and is ours.
        unsafe { core::ptr::copy_nonoverlapping(image.as_ptr(), carveout.as_ptr(), image.len()) };

        // SAFETY: the layout keeps room for a BootParams here, page aligned; all-zero is a value
        // of it, and nobody else has the memory.
        let params = unsafe {
            &mut *carveout
                .as_ptr()
                .add(layout.params as usize)
                .cast::<BootParams>()
        };
        params.carveout = PhysRange {
            base: carveout.phys(),
            size: layout.size,
        };
        params.report = report_page.phys();
        // SAFETY: a bool that is set while parameters are parsed, before this.
        params.flags = if unsafe { bindings::mvirt_allow_release } {
            BOOT_ALLOW_RELEASE
        } else {
            0
        };
        fill_cpus(params, cpus)?;
        fill_ram(params)?;
        let meta = fill_meta(params)?;

        clean_to_poc(carveout.as_ptr(), carveout.bytes());
        let entry = carveout.phys() + u64::from(header.entry);
        report::set_page(report_page.as_ptr().cast());
        Ok(El2Memory {
            carveout,
            meta,
            report: report_page,
            entry,
        })
    }
}

/// EL2's index of a CPU is its place among the possible ones.
fn fill_cpus(params: &mut BootParams, cpus: u32) -> Result<(), Refusal> {
    params.nr_cpus = cpus;
    for (cpu, slot) in possible_cpus().zip(params.cpus.iter_mut()) {
        // SAFETY: writes one u64 on success.
        if unsafe { bindings::mvirt_cpu_mpidr(cpu, slot) } != 0 {
            return Err(Refusal::NoMpidr(cpu));
        }
    }
    // A CPU's redistributor, or 0: EL2 makes no VM then.
    for (mpidr, slot) in params
        .cpus
        .iter()
        .zip(params.gicr.iter_mut())
        .take(cpus as usize)
    {
        // SAFETY: takes a number; may sleep, which is fine here.
        *slot = unsafe { bindings::mvirt_gicr_phys(*mpidr) };
    }
    Ok(())
}

/// RAM as the kernel's resource tree has it; touching ranges become one.
fn fill_ram(params: &mut BootParams) -> Result<(), Refusal> {
    /// # Safety
    ///
    /// `arg` is the `BootParams` that `fill_ram` passes.
    unsafe extern "C" fn add(start: u64, size: u64, arg: *mut c_void) -> i32 {
        // SAFETY: by this function's contract.
        let params = unsafe { &mut *arg.cast::<BootParams>() };
        let mask = PAGE_SIZE as u64 - 1;
        let end = (start + size) & !mask;
        let base = (start + mask) & !mask;
        if base >= end {
            return 0;
        }
        let n = params.nr_ram as usize;
        if n > 0 && params.ram[n - 1].base + params.ram[n - 1].size == base {
            params.ram[n - 1].size += end - base;
            return 0;
        }
        if n == MAX_RAM_RANGES {
            return -1;
        }
        params.ram[n] = PhysRange {
            base,
            size: end - base,
        };
        params.nr_ram += 1;
        0
    }
    let arg: *mut BootParams = params;
    // SAFETY: `add` gets `params` while nothing else uses it.
    let full = unsafe { bindings::mvirt_walk_ram(Some(add), arg.cast()) };
    if full == -1 {
        return Err(Refusal::RamRanges);
    }
    if params.nr_ram == 0 {
        return Err(Refusal::NoRam);
    }
    Ok(())
}

/// Memory for the metadata of each page of RAM.
fn fill_meta(params: &mut BootParams) -> Result<KVec<Pages>, Refusal> {
    let ram: u64 = params.ram[..params.nr_ram as usize]
        .iter()
        .map(|r| r.size)
        .sum();
    let mut left = (ram >> PAGE_SHIFT) * META_BYTES_PER_PAGE;
    let mut chunks = KVec::new();
    while left > 0 {
        if chunks.len() == MAX_META_CHUNKS {
            return Err(Refusal::TooMuchRam);
        }
        let size = left.min(META_CHUNK);
        let pages = Pages::new(size as usize)?;
        params.meta[chunks.len()] = pages.range();
        params.nr_meta += 1;
        chunks
            .push(pages, GFP_KERNEL)
            .map_err(|_| Refusal::NoMemory(size_of::<Pages>()))?;
        left -= size;
    }
    Ok(chunks)
}

/// The image in the module, its header checked against the module's own contract.
///
/// # Safety
///
/// The module is being initialised, for as long as `'a`.
pub(crate) unsafe fn image<'a>() -> Result<(ImageHeader, &'a [u8]), Refusal> {
    let mut size = 0;
    // SAFETY: writes one usize.
    let start = unsafe { bindings::mvirt_image(&mut size) }.cast::<u8>();
    // SAFETY: the image is so long, in read-only data, which is there by the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(start, size) };
    // SAFETY: the image starts with the header, 16-byte aligned; all bits are values of it.
    let header = unsafe { *start.cast::<ImageHeader>() };
    if header.magic != IMAGE_MAGIC
        || header.abi_hash != HASH
        || header.params_size as usize != size_of::<BootParams>()
        || header.data_end as usize != bytes.len()
    {
        return Err(Refusal::AbiMismatch(header.abi_hash));
    }
    if header.page_shift != PAGE_SHIFT as u32 {
        return Err(Refusal::PageSize(header.page_shift));
    }
    Ok((header, bytes))
}
