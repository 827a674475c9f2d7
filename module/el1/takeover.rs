// SPDX-License-Identifier: GPL-2.0
//! The take-over: memory, entry of each CPU, the host under stage 2, finalise.
//!
//! ```text
//!  allocate -> enter first CPU -> enter the others -> prepare -> enable each CPU -> finalise
//!     |              |                  |                |            |              |
//!     v              v                  v                v            v              v
//!   freed     <---------- each entered CPU released, then all memory freed      EL2's for good
//! ```
//!
//! CPU hotplug is shut out from the first entry to finalise, so "each online CPU" does not change
//! under it. Whatever fails before finalise is undone and leaves the machine as it was.
//!
//! Why unsafe: EL2 is handed physical memory, and the kernel calls back through C pointers.

use crate::abi::{
    BootParams, Caller, Carveout, Error, ImageHeader, PhysRange, BOOT_ALLOW_RELEASE, HASH,
    IMAGE_MAGIC, MAX_CPUS, MAX_META_CHUNKS, MAX_RAM_RANGES, META_BYTES_PER_PAGE, META_CHUNK,
};
use crate::bindings;
use crate::hvc::{clean_to_poc, mrs, soft_restart, El2};
use crate::probe::{possible_cpus, Refusal};
use crate::report;
use kernel::ffi::c_void;
use core::mem::size_of;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use kernel::page::{PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;

extern "C" {
    static mvirt_el2_image: [u8; 0];
    static mvirt_el2_image_end: [u8; 0];
}

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
        Ok(Pages { virt, size, kept: false })
    }

    /// What the page allocator gives: whole pages.
    pub(crate) fn bytes(&self) -> usize {
        self.size.next_multiple_of(PAGE_SIZE)
    }

    fn phys(&self) -> u64 {
        // SAFETY: `virt` is in the linear map.
        unsafe { bindings::mvirt_virt_to_phys(self.virt.cast()) }
    }

    fn range(&self) -> PhysRange {
        PhysRange { base: self.phys(), size: self.bytes() as u64 }
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
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
    carveout: Pages,
    meta: KVec<Pages>,
    report: Pages,
    entry: u64,
}

/// A host that runs under EL2.
pub(crate) struct TakenOver {
    memory: El2Memory,
    /// The image's header: what was built in.
    pub(crate) header: ImageHeader,
    /// From the first allocation to the return of finalise.
    pub(crate) ns: u64,
    /// CPUs that may ever run.
    pub(crate) cpus: u32,
}

impl TakenOver {
    /// Bytes that the module keeps at EL1 for EL2.
    pub(crate) fn el1_bytes(&self) -> u64 {
        self.memory.report.bytes() as u64
    }

}

/// The host under EL2, published to the rest of the module.
///
/// # Invariants
///
/// [`HOST`] is null or points to the `TakenOver` in the one `Host`.
pub(crate) struct Host(KBox<TakenOver>);

static HOST: AtomicPtr<TakenOver> = AtomicPtr::new(core::ptr::null_mut());

/// The host under EL2, once it is.
///
/// The device, the notifier and the debugfs files, which call this, are gone before `Host` is
/// dropped (field order of `Mvirt`), so the reference lives long enough for each of them.
pub(crate) fn host() -> Option<&'static TakenOver> {
    let ptr = HOST.load(Ordering::Acquire);
    // SAFETY: by the invariant of `Host` and the order of drops above.
    unsafe { ptr.as_ref() }
}

impl Host {
    /// Takes EL2 and publishes it.
    pub(crate) fn new() -> Result<Host, Refusal> {
        let no_memory = |_| Refusal::NoMemory(size_of::<TakenOver>());
        let place = KBox::<TakenOver>::new_uninit(GFP_KERNEL).map_err(no_memory)?;
        let taken = take_over()?;
        pr_info!(
            "host runs under EL2: {} CPUs possible, {} KiB taken, {} us\n",
            taken.cpus,
            taken.memory.bytes() / 1024,
            taken.ns / 1000,
        );
        let host = KBox::write(place, taken);
        // INVARIANT: the pointer is to the TakenOver in this Host.
        HOST.store((&raw const *host).cast_mut(), Ordering::Release);
        // SAFETY: reads a parameter; takes a reference to this module, which is being loaded.
        unsafe {
            if !bindings::mvirt_allow_release {
                bindings::mvirt_hold_module();
            }
        }
        Ok(Host(host))
    }
}

impl Drop for Host {
    /// Only reached if unloading was allowed: else the module holds itself.
    fn drop(&mut self) {
        HOST.store(core::ptr::null_mut(), Ordering::Release);
        // SAFETY: taken and released in pairs.
        unsafe { bindings::cpus_read_lock() };
        let released = release_cpus();
        // SAFETY: locked above.
        unsafe { bindings::cpus_read_unlock() };
        match released {
            Ok(()) => {
                self.0.memory.scrub();
                pr_info!("EL2 is given back to the kernel's stub\n");
            }
            Err(e) => {
                pr_err!("EL2 refused to be released ({:?}); its memory stays taken\n", e);
                self.0.memory.forget();
            }
        }
    }
}

impl Drop for El2Memory {
    fn drop(&mut self) {
        report::set_page(core::ptr::null_mut());
    }
}

impl El2Memory {
    fn bytes(&self) -> u64 {
        let meta: usize = self.meta.iter().map(Pages::bytes).sum();
        (self.carveout.bytes() + meta + self.report.bytes()) as u64
    }

    /// Leaves nothing of EL2's in pages that go back to the kernel.
    fn scrub(&mut self) {
        let wipe = |pages: &Pages| {
            // SAFETY: the pages are ours again, and nobody else has them.
            unsafe { core::ptr::write_bytes(pages.virt, 0, pages.bytes()) };
        };
        wipe(&self.carveout);
        wipe(&self.report);
        self.meta.iter().for_each(wipe);
    }

    /// EL2 keeps the pages: they must never be freed.
    fn forget(&mut self) {
        self.carveout.kept = true;
        self.report.kept = true;
        self.meta.iter_mut().for_each(|pages| pages.kept = true);
    }

    /// Allocates everything and fills it in.
    fn new(header: &ImageHeader, image: &[u8]) -> Result<El2Memory, Refusal> {
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
        let params = unsafe { &mut *carveout.as_ptr().add(layout.params as usize).cast::<BootParams>() };
        params.carveout = PhysRange { base: carveout.phys(), size: layout.size };
        params.report = report_page.phys();
        // SAFETY: a bool that is set while parameters are parsed, before this.
        params.flags = if unsafe { bindings::mvirt_allow_release } { BOOT_ALLOW_RELEASE } else { 0 };
        fill_cpus(params, cpus)?;
        fill_ram(params)?;
        let meta = fill_meta(params)?;

        clean_to_poc(carveout.as_ptr(), carveout.bytes());
        let entry = carveout.phys() + u64::from(header.entry);
        report::set_page(report_page.as_ptr().cast());
        Ok(El2Memory { carveout, meta, report: report_page, entry })
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
    Ok(())
}

/// EL2's index of a possible CPU.
fn index_of(cpu: u32) -> u64 {
    possible_cpus().take_while(|other| *other != cpu).count() as u64
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
        params.ram[n] = PhysRange { base, size: end - base };
        params.nr_ram += 1;
        0
    }
    let arg: *mut BootParams = params;
    // SAFETY: `add` gets `params` while nothing else uses it.
    let full = unsafe { bindings::mvirt_walk_ram(Some(add), arg.cast()) };
    if full == -1 {
        return Err(Refusal::Ram("RAM is in more ranges than EL2 keeps (64)"));
    }
    if params.nr_ram == 0 {
        return Err(Refusal::Ram("the kernel knows no System RAM"));
    }
    Ok(())
}

/// Memory for the metadata of each page of RAM.
fn fill_meta(params: &mut BootParams) -> Result<KVec<Pages>, Refusal> {
    let ram: u64 = params.ram[..params.nr_ram as usize].iter().map(|r| r.size).sum();
    let mut left = (ram >> PAGE_SHIFT) * META_BYTES_PER_PAGE;
    let mut chunks = KVec::new();
    while left > 0 {
        if chunks.len() == MAX_META_CHUNKS {
            return Err(Refusal::Ram("there is more RAM than EL2 has metadata for"));
        }
        let size = left.min(META_CHUNK);
        let pages = Pages::new(size as usize)?;
        params.meta[chunks.len()] = pages.range();
        params.nr_meta += 1;
        chunks.push(pages, GFP_KERNEL).map_err(|_| Refusal::NoMemory(size_of::<Pages>()))?;
        left -= size;
    }
    Ok(chunks)
}

/// The image in the module, its header checked against the module's own contract.
fn image() -> Result<(ImageHeader, &'static [u8]), Refusal> {
    let start = (&raw const mvirt_el2_image).cast::<u8>();
    let end = (&raw const mvirt_el2_image_end).cast::<u8>();
    // SAFETY: the linker placed the image between the two symbols, in read-only data.
    let bytes = unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) };
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

/// What the CPUs are told, and the first error that one of them met.
struct Round {
    entry: u64,
    carveout: u64,
    first: u32,
    /// 0, or CPU number in the upper half and the negative answer's low half.
    failed: AtomicU64,
}

impl Round {
    fn note(&self, cpu: u32, x0: u64) {
        if Error::from_raw(x0).is_some() {
            let value = (u64::from(cpu) << 32) | (x0 & 0xffff_ffff);
            let _ = self.failed.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn result(&self) -> Result<(), (u32, Error)> {
        match self.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            value => {
                let x0 = value as u32 as i32 as i64 as u64;
                Err(((value >> 32) as u32, Error::from_raw(x0).unwrap_or(Error::NotSupported)))
            }
        }
    }
}

fn this_cpu() -> u32 {
    // SAFETY: reads the current CPU's number.
    unsafe { bindings::mvirt_this_cpu() }
}

/// # Safety
///
/// `arg` is a `Round` whose entry and carve-out are ready.
unsafe extern "C" fn enter_first(arg: *mut c_void) {
    // SAFETY: by the contract.
    let round = unsafe { &*arg.cast::<Round>() };
    // SAFETY: called with interrupts off; the round's memory is what `soft_restart` asks for.
    let x0 = unsafe { soft_restart(round.entry, round.carveout, index_of(round.first), true) };
    round.note(round.first, x0);
}

/// # Safety
///
/// As `enter_first`, which has been called.
unsafe extern "C" fn enter_other(arg: *mut c_void) {
    // SAFETY: by the contract.
    let round = unsafe { &*arg.cast::<Round>() };
    let cpu = this_cpu();
    if cpu != round.first {
        // SAFETY: as in `enter_first`.
        let x0 = unsafe { soft_restart(round.entry, round.carveout, index_of(cpu), false) };
        round.note(cpu, x0);
    }
}

/// # Safety
///
/// `arg` is a `Round`; this CPU has entered.
unsafe extern "C" fn enable(arg: *mut c_void) {
    // SAFETY: by the contract.
    let round = unsafe { &*arg.cast::<Round>() };
    if let Err(e) = El2.enable_cpu() {
        round.note(this_cpu(), e.to_raw());
    }
}

/// # Safety
///
/// `arg` is a `Round`.
unsafe extern "C" fn release(arg: *mut c_void) {
    // SAFETY: by the contract.
    let round = unsafe { &*arg.cast::<Round>() };
    // A CPU that did not enter has the stub, which refuses the number: nothing to undo there.
    match El2.version() {
        Ok([HASH, ..]) => {
            if let Err(e) = El2.release() {
                round.note(this_cpu(), e.to_raw());
            }
        }
        _ => {}
    }
}

fn release_cpus() -> Result<(), Error> {
    let mut round = Round { entry: 0, carveout: 0, first: 0, failed: AtomicU64::new(0) };
    let arg: *mut Round = &mut round;
    // SAFETY: `release` gets a Round that outlives the call.
    unsafe { bindings::mvirt_on_each_cpu(Some(release), arg.cast()) };
    round.result().map_err(|(_, e)| e)
}

/// Enters each CPU and puts the host under stage 2. Hotplug is shut out.
fn run(memory: &El2Memory) -> Result<(), Refusal> {
    let mut round = Round {
        entry: memory.entry,
        carveout: memory.carveout.phys(),
        first: this_cpu(),
        failed: AtomicU64::new(0),
    };
    let first = round.first;
    let arg: *mut Round = &mut round;
    // SAFETY: the round's memory is ready and clean; `arg` outlives the calls, which wait.
    unsafe {
        if bindings::mvirt_on_cpu(first, Some(enter_first), arg.cast()) != 0 {
            return Err(Refusal::Step("the first CPU", Error::NoEntry));
        }
    }
    round.result().map_err(|(cpu, e)| Refusal::Cpu(cpu, e))?;
    // SAFETY: as above.
    unsafe { bindings::mvirt_on_each_cpu(Some(enter_other), arg.cast()) };
    round.result().map_err(|(cpu, e)| Refusal::Cpu(cpu, e))?;
    El2.prepare().map_err(|e| Refusal::Step("to prepare", e))?;
    // SAFETY: as above.
    unsafe { bindings::mvirt_on_each_cpu(Some(enable), arg.cast()) };
    round.result().map_err(|(_, e)| Refusal::Step("to enable a CPU", e))?;
    El2.finalise().map_err(|e| Refusal::Step("to finalise", e))?;
    Ok(())
}

/// Takes EL2 on all CPUs, or leaves everything as it was.
pub(crate) fn take_over() -> Result<TakenOver, Refusal> {
    let start = mrs!("cntvct_el0");
    let (header, bytes) = image()?;
    let mut memory = El2Memory::new(&header, bytes)?;
    // SAFETY: taken and released in pairs.
    unsafe { bindings::cpus_read_lock() };
    let mut result = run(&memory);
    if result.is_err() {
        if let Err(e) = release_cpus() {
            pr_err!("a CPU could not be released ({:?}); EL2's memory stays taken\n", e);
            memory.forget();
            result = Err(Refusal::Step("to release a CPU", e));
        }
    }
    // SAFETY: locked above.
    unsafe { bindings::cpus_read_unlock() };
    result?;
    let ticks = mrs!("cntvct_el0") - start;
    // Saturates after 18 seconds at 1 GHz, which no take-over lasts.
    let ns = ticks.saturating_mul(1_000_000_000) / mrs!("cntfrq_el0").max(1);
    let cpus = possible_cpus().count() as u32;
    Ok(TakenOver { memory, header, ns, cpus })
}
