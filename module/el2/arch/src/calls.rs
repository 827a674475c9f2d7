// SPDX-License-Identifier: GPL-2.0
//! The hypercalls, and the one lock around all that EL2 knows of memory.
//!
//! A handler decodes, calls the logic, encodes. `MEMORY` is the outermost lock: a CPU that faults
//! while another changes the tables waits here and then finds a valid entry.
//!
//! Why unsafe: the metadata chunks become slices once.

use core::sync::atomic::Ordering;

use mvirt_abi::{
    BootParams, Call, Error, Handler, PhysRange, Stat, BOOT_ALLOW_RELEASE, HASH,
    META_BYTES_PER_PAGE, STACK_SIZE,
};
use mvirt_hyp::addr::{Ipa, Phys};
use mvirt_hyp::memory::{Boot, Chunks, Memory, Outcome};
use mvirt_hyp::page::PageWord;
use mvirt_hyp::pgtable::stage1::El2Map;
use mvirt_hyp::pgtable::BootFrames;
use mvirt_hyp::pool::BootPool;

use crate::cpu::{self, PerCpu, Phase};
use crate::entry::Frame;
use crate::layout::{Page, LINEAR_BASE, PAGE_SHIFT};
use crate::lock::{Guard, SpinLock, BROKEN};
use crate::machine::Physical;
use crate::{boot, firmware, report};

/// All that EL2 knows of memory, and whether the host is still trusted.
struct State {
    memory: Option<Memory<'static, Page>>,
    finalised: bool,
}

static MEMORY: SpinLock<State> = SpinLock::new(State {
    memory: None,
    finalised: false,
});

/// Releases the lock of this file if this CPU, which is broken, holds it.
pub fn abandon_lock() {
    MEMORY.abandon();
}

/// Answers a hypercall of mvirt in the host's registers.
pub fn call(frame: &mut Frame, call: Call) {
    let args = [
        frame.x[1], frame.x[2], frame.x[3], frame.x[4], frame.x[5], frame.x[6],
    ];
    if BROKEN.load(Ordering::Acquire) {
        // EL2's record of memory may be half changed: nothing is changed any more.
        frame.x[0] = Error::NoCall.to_raw();
        return;
    }
    let mut state = MEMORY.lock();
    let phase_ok = match call.phase() {
        mvirt_abi::Phase::Any => true,
        mvirt_abi::Phase::Setup => !state.finalised,
        mvirt_abi::Phase::Run => state.finalised,
    };
    let answer = if phase_ok {
        Calls(&mut state).dispatch(call, &args)
    } else {
        Err(Error::NoCall)
    };
    drop(state);
    match answer {
        Ok(_) if call == Call::Release => cpu::release(PerCpu::current(), frame),
        Ok(results) => {
            frame.x[0] = 0;
            frame.x[1..4].copy_from_slice(&results);
        }
        Err(e) => frame.x[0] = e.to_raw(),
    }
}

/// A stage-2 fault of the host. `false` if the host has no right to the address.
pub fn host_fault(ipa: u64) -> bool {
    let mut state = MEMORY.lock();
    let Some(memory) = state.memory.as_mut() else {
        return false;
    };
    // The record of who owns RAM may be half changed; devices, which the host needs to print and to
    // reset, have no owner.
    if BROKEN.load(Ordering::Acquire) && memory.ram().range_of(ipa >> PAGE_SHIFT).is_some() {
        return false;
    }
    match memory.host_fault(&mut Physical::linear(), Ipa::new(ipa)) {
        Outcome::Mapped | Outcome::Retry => true,
        Outcome::Denied(_) => false,
    }
}

/// VTCR_EL2 and VTTBR_EL2 of the host (VMID 0), and the bits of address that they are for.
pub fn host_regime() -> Option<(u64, u64, u32)> {
    let state = MEMORY.lock();
    let memory = state.memory.as_ref()?;
    Some((
        memory.vtcr(),
        memory.host_root().raw(),
        memory.host_tree().bits(),
    ))
}

/// Calls `f` with a test for physical addresses at which the host may run code.
pub fn with_host_ram<R>(f: impl FnOnce(&dyn Fn(u64) -> bool) -> R) -> R {
    let state = MEMORY.lock();
    f(&|address| {
        let page = state
            .memory
            .as_ref()
            .map(|memory| memory.page(address >> PAGE_SHIFT));
        matches!(page, Some(Ok(page)) if page.host_may_access())
    })
}

/// Stops the machine if the tables and the record of who owns what disagree.
#[cfg(mvirt_debug)]
pub fn check_invariants() {
    let state = MEMORY.lock();
    if let Some(memory) = state.memory.as_ref() {
        if let Err(violation) = memory.check_tables(&Physical::linear()) {
            panic!("invariant broken: {violation:?}");
        }
    }
}

/// The handlers, with the lock held.
struct Calls<'a, 'g>(&'a mut Guard<'g, State>);

impl Calls<'_, '_> {
    fn memory(&mut self) -> Result<&mut Memory<'static, Page>, Error> {
        self.0.memory.as_mut().ok_or(Error::NoCall)
    }
}

impl Handler for Calls<'_, '_> {
    fn version(&mut self) -> Result<[u64; 3], Error> {
        Ok([HASH, self.0.finalised.into(), 0])
    }

    #[cold]
    #[inline(never)]
    fn prepare(&mut self) -> Result<[u64; 3], Error> {
        if self.0.memory.is_some() {
            return Err(Error::Exists);
        }
        let params = boot::params();
        // SAFETY: MEMORY is held.
        let (el2, pool) = unsafe { boot::take_memory() }.ok_or(Error::Exists)?;
        self.0.memory = Some(memory(params, el2, pool)?);
        let report = params.report >> PAGE_SHIFT;
        let memory = self.memory()?;
        memory.host_share_el2(&mut Physical::linear(), report)?;
        memory.pin(report)?;
        report::set_page(params.report);
        firmware::init(
            params
                .cpus
                .get(..params.nr_cpus as usize)
                .ok_or(Error::Invalid)?,
        )?;
        Ok([0; 3])
    }

    fn enable_cpu(&mut self) -> Result<[u64; 3], Error> {
        let memory = self.memory()?;
        let regime = (
            memory.vtcr(),
            memory.host_root().raw(),
            memory.host_tree().bits(),
        );
        cpu::enable(PerCpu::current(), regime)?;
        Ok([0; 3])
    }

    fn finalise(&mut self) -> Result<[u64; 3], Error> {
        let cpus = || PerCpu::all().iter().map(PerCpu::phase);
        if cpus().any(|phase| phase == Phase::Entered)
            || cpus().all(|phase| phase == Phase::Outside)
        {
            return Err(Error::Busy);
        }
        self.memory()?;
        self.0.finalised = true;
        Ok([0; 3])
    }

    fn release(&mut self) -> Result<[u64; 3], Error> {
        if !self.0.finalised {
            return Ok([0; 3]);
        }
        if boot::params().flags & BOOT_ALLOW_RELEASE == 0 {
            return Err(Error::Perm);
        }
        // The report page is EL1's own and goes with us; anything else is still in use.
        let memory = self.memory()?;
        if memory.shared_pages() > 1 || memory.donated_pages() > 0 {
            return Err(Error::Busy);
        }
        Ok([0; 3])
    }

    fn stat(&mut self, stat: u64, cpu: u64) -> Result<[u64; 3], Error> {
        let index = usize::try_from(stat).map_err(|_| Error::Invalid)?;
        let stat = *Stat::ALL.get(index).ok_or(Error::Invalid)?;
        let nr_cpus = u64::from(boot::params().nr_cpus);
        if cpu != u64::MAX && cpu >= nr_cpus {
            return Err(Error::NoEntry);
        }
        let (_, layout) = boot::carveout();
        let value = match stat {
            Stat::CpusActive => firmware::cpus_online(),
            Stat::ImageBytes => layout.stacks,
            Stat::StackBytes => nr_cpus * STACK_SIZE,
            stat => match self.memory()?.stat(stat) {
                Some(value) => value,
                None => PerCpu::all()
                    .iter()
                    .zip(0..nr_cpus)
                    .filter(|(_, n)| cpu == u64::MAX || cpu == *n)
                    .fold(0u64, |sum, (this, _)| sum.wrapping_add(this.counter(stat))),
            },
        };
        Ok([value, 0, 0])
    }

    fn read_reg(&mut self, index: u64) -> Result<[u64; 3], Error> {
        let (encoding, value) = cpu::read_reg(index)?;
        Ok([encoding, value, 0])
    }

    fn pool_donate(&mut self, pfn: u64, nr: u64) -> Result<[u64; 3], Error> {
        let pages = self
            .memory()?
            .pool_donate(&mut Physical::linear(), pfn, nr)?;
        Ok([pages, 0, 0])
    }

    fn pool_reclaim(&mut self) -> Result<[u64; 3], Error> {
        let (pfn, pages) = self.memory()?.pool_reclaim(&mut Physical::linear())?;
        Ok([pfn, pages, 0])
    }

    fn share(&mut self, pfn: u64) -> Result<[u64; 3], Error> {
        self.memory()?
            .host_share_el2(&mut Physical::linear(), pfn)?;
        Ok([0; 3])
    }

    fn unshare(&mut self, pfn: u64) -> Result<[u64; 3], Error> {
        self.memory()?
            .host_unshare_el2(&mut Physical::linear(), pfn)?;
        Ok([0; 3])
    }

    fn page_state(&mut self, pfn: u64) -> Result<[u64; 3], Error> {
        let (owner, view) = self.memory()?.page_state(pfn)?;
        Ok([owner, view, 0])
    }

    fn crash(&mut self, kind: u64) -> Result<[u64; 3], Error> {
        report::crash(kind)
    }
}

/// Maps the metadata and builds the state of memory. Not inlined: its frame is large, and the trap
/// handler's would be.
#[cold]
#[inline(never)]
fn memory(
    params: &'static BootParams,
    el2: El2Map<Page>,
    mut pool: BootPool,
) -> Result<Memory<'static, Page>, Error> {
    let chunks = params
        .meta
        .get(..params.nr_meta as usize)
        .ok_or(Error::Invalid)?;
    let mut meta: Chunks<'static> = core::array::from_fn(|_| <&mut [PageWord]>::default());
    for (slot, chunk) in meta.iter_mut().zip(chunks) {
        if !crate::layout::in_phys_limit(*chunk) {
            return Err(Error::NotSupported);
        }
        let mut frames = BootFrames::<Page>::new(&mut pool);
        el2.map_linear(
            &mut Physical::linear(),
            &mut frames,
            Phys::new(chunk.base),
            chunk.size,
        )?;
        *slot = words(*chunk);
    }
    let (_, layout) = boot::carveout();
    let boot = Boot {
        params,
        layout,
        image_read_only_end: boot::image_read_only_end(),
        el2,
        pool,
        meta,
        pa_bits: cpu::least_pa_bits()?,
        fwb: false,
    };
    Memory::new(&mut Physical::linear(), boot)
}

/// A chunk of metadata as EL2 sees it.
fn words(chunk: PhysRange) -> &'static mut [PageWord] {
    let at = (LINEAR_BASE + chunk.base) as *mut PageWord;
    // SAFETY: just mapped there, page aligned; `prepare` runs once, and the logic refuses chunks
    // that overlap each other or the carve-out, so that this is the only reference. EL1 zeroed the
    // memory, and any bits are a PageWord.
    unsafe { core::slice::from_raw_parts_mut(at, (chunk.size / META_BYTES_PER_PAGE) as usize) }
}
