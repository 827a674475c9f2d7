// SPDX-License-Identifier: GPL-2.0
//! The hypercalls, and the one lock around all that EL2 knows of memory.
//!
//! A handler decodes, calls the logic, encodes. `MEMORY` is the outermost lock: a CPU that faults
//! while another changes the tables waits here and then finds a valid entry.
//!
//! Why unsafe: the metadata chunks become slices once.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mvirt_abi::{
    results, BootParams, Call, Error, Handler, PhysRange, Results, Stat, BOOT_ALLOW_RELEASE, HASH,
    META_BYTES_PER_PAGE, NONE, STACK_SIZE,
};
use mvirt_hyp::addr::{Ipa, Phys};
use mvirt_hyp::memory::{Accessor, Boot, Chunks, Decoys, GuestTable, Memory, Outcome};
use mvirt_hyp::page::PageWord;
use mvirt_hyp::pgtable::stage1::El2Map;
use mvirt_hyp::pgtable::BootFrames;
use mvirt_hyp::pool::BootPool;

use crate::cpu::{self, PerCpu, Phase};
use crate::entry::Frame;
use crate::layout::{Page, LINEAR_BASE, PAGE_SHIFT};
use crate::lock::{Guard, SpinLock, BROKEN};
use crate::machine::Physical;
use crate::sysreg::read_sysreg;
use crate::{boot, firmware, guest, machine, report};

/// All that EL2 knows of memory.
struct State {
    memory: Option<Memory<'static, Page>>,
    /// A CPU was released after finalise: the host on it is under no stage 2. Nothing is given to EL2
    /// or to a guest any more, until the others are released too.
    released: bool,
}

static MEMORY: SpinLock<State> = SpinLock::new(State {
    memory: None,
    released: false,
});

/// The host is no longer trusted. Set once, under `MEMORY`, and never cleared: so the calls about VMs
/// need not take the lock for it, which all CPUs would queue for at each run of a vCPU.
static FINALISED: AtomicBool = AtomicBool::new(false);

/// Ticks of the longest call that took something back.
static TEARDOWN: AtomicU64 = AtomicU64::new(0);

/// Releases the lock of this file if this CPU, which is broken, holds it.
pub fn abandon_lock() {
    MEMORY.abandon();
}

/// The physical counter. It may be read some instructions early or late, which is nothing beside the
/// microseconds that are measured.
fn ticks() -> u64 {
    read_sysreg!("cntpct_el0")
}

/// Answers a hypercall of mvirt in the host's registers, and notes how long the calls took that take
/// something back: the host cannot use the CPU meanwhile, and there is any amount to take back.
pub fn call(frame: &mut Frame, call: Call) {
    let takes_back = matches!(call, Call::VmDestroy | Call::GuestUnmap | Call::PoolReclaim);
    let start = takes_back.then(ticks);
    answer(frame, call);
    if let Some(start) = start {
        TEARDOWN.fetch_max(ticks().wrapping_sub(start), Ordering::Relaxed);
    }
}

fn answer(frame: &mut Frame, call: Call) {
    let args = [
        frame.x[1], frame.x[2], frame.x[3], frame.x[4], frame.x[5], frame.x[6],
    ];
    // A VM's lock comes before this one.
    let state = (!is_about_vms(call)).then(|| MEMORY.lock());
    // Asked with the lock held: a CPU that broke may have passed it on.
    if BROKEN.load(Ordering::Acquire) {
        // EL2's record of memory may be half changed: nothing is changed any more.
        frame.x[0] = Error::NoCall.to_raw();
        return;
    }
    let finalised = FINALISED.load(Ordering::Acquire);
    let released = state.as_ref().is_some_and(|state| state.released);
    let phase_ok = match call.phase() {
        _ if released => matches!(call, Call::Release | Call::Version),
        mvirt_abi::Phase::Any => true,
        // With the lock held: nobody finalises meanwhile.
        mvirt_abi::Phase::Setup => state.is_some() && !finalised,
        mvirt_abi::Phase::Run => finalised,
    };
    let answer = if phase_ok {
        Calls(state).dispatch(call, &args)
    } else {
        Err(Error::NoCall)
    };
    match answer {
        Ok(_) if call == Call::Release => cpu::release(PerCpu::current(), frame),
        Ok(results) => {
            frame.x[0] = 0;
            let [_, x1, x2, x3, x4, x5, x6, ..] = &mut frame.x;
            [*x1, *x2, *x3, *x4, *x5, *x6] = results;
        }
        Err(e) => frame.x[0] = e.to_raw(),
    }
}

/// Whether the trust in the host has ended.
pub fn is_finalised() -> bool {
    FINALISED.load(Ordering::Acquire)
}

/// Whether a call is answered by `guest`, which takes the locks that it needs itself.
fn is_about_vms(call: Call) -> bool {
    call as u16 >= Call::VmCreate as u16
}

/// Calls `f` with all that EL2 knows of memory.
pub fn with_memory<R>(
    f: impl FnOnce(&mut Memory<'static, Page>, &mut Physical) -> Result<R, Error>,
) -> Result<R, Error> {
    let mut state = MEMORY.lock();
    if BROKEN.load(Ordering::Acquire) {
        return Err(Error::NoCall);
    }
    let memory = state.memory.as_mut().ok_or(Error::NoCall)?;
    f(memory, &mut Physical::linear())
}

/// As [`with_memory`], to make a guest: not once a CPU was released. What concerns a guest that there
/// is needs no such question, because a release does.
pub fn with_memory_in_force<R>(
    f: impl FnOnce(&mut Memory<'static, Page>, &mut Physical) -> Result<R, Error>,
) -> Result<R, Error> {
    let mut state = MEMORY.lock();
    if BROKEN.load(Ordering::Acquire) || state.released {
        return Err(Error::NoCall);
    }
    let memory = state.memory.as_mut().ok_or(Error::NoCall)?;
    f(memory, &mut Physical::linear())
}

/// A stage-2 fault of the host: what it counts as.
pub fn host_fault(ipa: u64, by: Accessor) -> Stat {
    let mut state = MEMORY.lock();
    let Some(memory) = state.memory.as_mut() else {
        return Stat::TrapFaultDenied;
    };
    // The record of who owns RAM may be half changed; devices, which the host needs to print and to
    // reset, have no owner.
    if BROKEN.load(Ordering::Acquire) && memory.ram().range_of(ipa >> PAGE_SHIFT).is_some() {
        return Stat::TrapFaultDenied;
    }
    match memory.host_fault(&mut Physical::linear(), Ipa::new(ipa), by) {
        Outcome::Mapped | Outcome::Retry => Stat::TrapFaultMapped,
        Outcome::Decoy => Stat::TrapFaultDecoy,
        Outcome::Denied(_) => Stat::TrapFaultDenied,
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

/// The handlers, with the lock held but for the calls about VMs.
struct Calls(Option<Guard<'static, State>>);

impl Calls {
    fn state(&mut self) -> Result<&mut State, Error> {
        self.0.as_deref_mut().ok_or(Error::NoCall)
    }

    fn memory(&mut self) -> Result<&mut Memory<'static, Page>, Error> {
        self.state()?.memory.as_mut().ok_or(Error::NoCall)
    }
}

impl Handler for Calls {
    fn version(&mut self) -> Result<Results, Error> {
        Ok(results([HASH, FINALISED.load(Ordering::Relaxed).into()]))
    }

    #[cold]
    #[inline(never)]
    fn prepare(&mut self) -> Result<Results, Error> {
        if self.state()?.memory.is_some() {
            return Err(Error::Exists);
        }
        let params = boot::params();
        // SAFETY: MEMORY is held.
        let (el2, pool) = unsafe { boot::take_memory() }.ok_or(Error::Exists)?;
        let memory = memory(params, el2, pool)?;
        machine::set_host_regime(memory.vtcr(), memory.host_root().raw());
        self.state()?.memory = Some(memory);
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
        Ok(NONE)
    }

    fn enable_cpu(&mut self) -> Result<Results, Error> {
        let memory = self.memory()?;
        let regime = (
            memory.vtcr(),
            memory.host_root().raw(),
            memory.host_tree().bits(),
        );
        cpu::enable(PerCpu::current(), regime)?;
        Ok(NONE)
    }

    fn finalise(&mut self) -> Result<Results, Error> {
        let cpus = || PerCpu::all().iter().map(PerCpu::phase);
        if cpus().any(|phase| phase == Phase::Entered)
            || cpus().all(|phase| phase == Phase::Outside)
        {
            return Err(Error::Busy);
        }
        self.memory()?;
        FINALISED.store(true, Ordering::Release);
        Ok(NONE)
    }

    fn release(&mut self) -> Result<Results, Error> {
        if !FINALISED.load(Ordering::Relaxed) {
            return Ok(NONE);
        }
        if boot::params().flags & BOOT_ALLOW_RELEASE == 0 {
            return Err(Error::Perm);
        }
        // The report page is EL1's own and goes with us; anything else is still in use.
        let memory = self.memory()?;
        if memory.shared_pages() > 1 || memory.donated_pages() > 0 || memory.guests() > 0 {
            return Err(Error::Busy);
        }
        self.state()?.released = true;
        Ok(NONE)
    }

    fn stat(&mut self, stat: u64, cpu: u64) -> Result<Results, Error> {
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
            Stat::TeardownNs => nanoseconds(TEARDOWN.load(Ordering::Relaxed)),
            stat => match self.memory()?.stat(stat) {
                Some(value) => value,
                None => PerCpu::all()
                    .iter()
                    .zip(0..nr_cpus)
                    .filter(|(_, n)| cpu == u64::MAX || cpu == *n)
                    .fold(0u64, |sum, (this, _)| sum.wrapping_add(this.counter(stat))),
            },
        };
        Ok(results([value]))
    }

    fn read_reg(&mut self, index: u64) -> Result<Results, Error> {
        let (encoding, value) = cpu::read_reg(index)?;
        Ok(results([encoding, value]))
    }

    fn pool_donate(&mut self, pfn: u64, nr: u64) -> Result<Results, Error> {
        let pages = self
            .memory()?
            .pool_donate(&mut Physical::linear(), pfn, nr)?;
        Ok(results([pages]))
    }

    fn pool_reclaim(&mut self) -> Result<Results, Error> {
        let (pfn, pages) = self.memory()?.pool_reclaim(&mut Physical::linear())?;
        Ok(results([pfn, pages]))
    }

    fn share(&mut self, pfn: u64) -> Result<Results, Error> {
        self.memory()?
            .host_share_el2(&mut Physical::linear(), pfn)?;
        Ok(NONE)
    }

    fn unshare(&mut self, pfn: u64) -> Result<Results, Error> {
        self.memory()?
            .host_unshare_el2(&mut Physical::linear(), pfn)?;
        Ok(NONE)
    }

    fn page_state(&mut self, pfn: u64) -> Result<Results, Error> {
        let (owner, view) = self.memory()?.page_state(pfn)?;
        Ok(results([owner, view]))
    }

    fn vm_create(&mut self, flags: u64, ipa_bits: u64) -> Result<Results, Error> {
        guest::create(flags, ipa_bits).map(|vm| results([vm]))
    }

    fn vm_destroy(&mut self, vm: u64) -> Result<Results, Error> {
        guest::destroy(vm).map(|more| results([more.into()]))
    }

    fn vm_enable(&mut self, vm: u64, features: u64) -> Result<Results, Error> {
        guest::enable(vm, features).map(|()| NONE)
    }

    fn vcpu_create(&mut self, vm: u64, vcpu: u64) -> Result<Results, Error> {
        guest::vcpu_create(vm, vcpu).map(|()| NONE)
    }

    fn vcpu_init(&mut self, vm: u64, vcpu: u64, flags: u64) -> Result<Results, Error> {
        guest::vcpu_init(vm, vcpu, flags).map(|()| NONE)
    }

    fn vcpu_run(&mut self, vm: u64, vcpu: u64, flags: u64, v: u64) -> Result<Results, Error> {
        guest::run(vm, vcpu, flags, v)
    }

    fn vcpu_get_reg(&mut self, vm: u64, vcpu: u64, reg: u64) -> Result<Results, Error> {
        guest::get_reg(vm, vcpu, reg).map(|value| results([value]))
    }

    fn vcpu_set_reg(&mut self, vm: u64, vcpu: u64, reg: u64, v: u64) -> Result<Results, Error> {
        guest::set_reg(vm, vcpu, reg, v).map(|()| NONE)
    }

    fn guest_map(&mut self, vm: u64, g: u64, p: u64, nr: u64, r: u64) -> Result<Results, Error> {
        guest::map(vm, g, p, nr, r).map(|()| NONE)
    }

    fn guest_unmap(&mut self, vm: u64, gfn: u64, nr: u64) -> Result<Results, Error> {
        guest::unmap(vm, gfn, nr).map(|(unmapped, next)| results([unmapped, next]))
    }

    fn vgic_set(&mut self, vm: u64, attr: u64, index: u64, v: u64) -> Result<Results, Error> {
        guest::vgic_set(vm, attr, index, v).map(|()| NONE)
    }

    fn vgic_get(&mut self, vm: u64, attr: u64, index: u64) -> Result<Results, Error> {
        guest::vgic_get(vm, attr, index).map(|value| results([value]))
    }

    fn irq_line(&mut self, vm: u64, vcpu: u64, irq: u64, level: u64) -> Result<Results, Error> {
        guest::irq_line(vm, vcpu, irq, level).map(|wake| results([wake]))
    }

    fn irq_resample(&mut self, vm: u64, irq: u64, wanted: u64) -> Result<Results, Error> {
        guest::irq_resample(vm, irq, wanted).map(|()| NONE)
    }

    fn irq_ended(&mut self, vm: u64) -> Result<Results, Error> {
        guest::irq_ended(vm).map(|(first, ended)| results([first.into(), ended.into()]))
    }

    fn crash(&mut self, kind: u64) -> Result<Results, Error> {
        report::crash(kind)
    }
}

/// What ticks of the counter are in nanoseconds; five minutes at the most.
fn nanoseconds(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000) / read_sysreg!("cntfrq_el0").max(1)
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
        guests: guests(),
        decoys: decoys(),
        pa_bits: cpu::least_pa_bits()?,
        fwb: false,
    };
    Memory::new(&mut Physical::linear(), boot)
}

/// Where the memory of guests is kept, once `prepare` has handed it out.
struct Guests(UnsafeCell<GuestTable<Page>>);

// SAFETY: reached through the one reference that `guests` gives out.
unsafe impl Sync for Guests {}

fn guests() -> &'static mut GuestTable<Page> {
    static GUESTS: Guests = Guests(UnsafeCell::new(GuestTable::new()));
    // SAFETY: `prepare` runs once, so that this is the only reference.
    unsafe { &mut *GUESTS.0.get() }
}

/// Where decoys are kept, once `prepare` has handed it out.
struct DecoyTable(UnsafeCell<Decoys>);

// SAFETY: reached through the one reference that `decoys` gives out.
unsafe impl Sync for DecoyTable {}

fn decoys() -> &'static mut Decoys {
    static DECOYS: DecoyTable = DecoyTable(UnsafeCell::new(Decoys::new()));
    // SAFETY: `prepare` runs once, so that this is the only reference.
    unsafe { &mut *DECOYS.0.get() }
}

/// A chunk of metadata as EL2 sees it.
fn words(chunk: PhysRange) -> &'static mut [PageWord] {
    let at = (LINEAR_BASE + chunk.base) as *mut PageWord;
    // SAFETY: just mapped there, page aligned; `prepare` runs once, and the logic refuses chunks
    // that overlap each other or the carve-out, so that this is the only reference. EL1 zeroed the
    // memory, and any bits are a PageWord.
    unsafe { core::slice::from_raw_parts_mut(at, (chunk.size / META_BYTES_PER_PAGE) as usize) }
}
