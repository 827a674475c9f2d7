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
//! CPU hotplug and idle states of the firmware's are shut out from the first entry to finalise: "each
//! online CPU" does not change, and none loses its EL2 before its SMCs are trapped. Whatever fails before finalise is undone and leaves the machine as it was.
//!
//! Why unsafe: EL2 is handed physical memory, and the kernel calls back through C pointers.

use crate::abi::{Caller, EntryError, Error, ImageHeader, ENTERED_SPECTRE_V2_OPEN, HASH};
use crate::bindings;
use crate::hvc::{mrs, soft_restart, El2};
use crate::irq::Ppis;
use crate::memory::{image, El2Memory};
use crate::pool;
use crate::probe::{possible_cpus, Refusal};
use core::mem::size_of;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use kernel::ffi::c_void;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::global_lock;

global_lock! {
    // SAFETY: `init` is called before there is a host.
    unsafe(uninit) static LIFE: Mutex<Life> = Life { left: false };
}

/// What [`LIFE`] guards, beside taking EL2 and giving it back: both are done with the lock held, which
/// comes before all others of the module.
struct Life {
    /// The kernel is leaving the machine to another one: EL2 is not taken any more.
    left: bool,
}

/// To be called once, when the module is loaded.
pub(crate) fn init() {
    // SAFETY: called once.
    unsafe { LIFE.init() };
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
    /// CPUs on which neither the core nor the firmware closes Spectre-v2.
    spectre_v2_open: u32,
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

/// The host under EL2, once it is and until EL2 is given back.
///
/// The device, the notifier and the debugfs files, which call this, are gone before `Host` is
/// dropped (field order of `Mvirt`), so the reference lives long enough for each of them. [`leave`]
/// drops nothing.
pub(crate) fn host() -> Option<&'static TakenOver> {
    let ptr = HOST.load(Ordering::Acquire);
    // SAFETY: by the invariant of `Host` and the order of drops above.
    unsafe { ptr.as_ref() }
}

impl Host {
    /// Takes EL2 and publishes it, with its interrupts enabled.
    pub(crate) fn new(ppis: &mut Ppis) -> Result<Host, Refusal> {
        let no_memory = |_| Refusal::NoMemory(size_of::<TakenOver>());
        let place = KBox::<TakenOver>::new_uninit(GFP_KERNEL).map_err(no_memory)?;
        let life = LIFE.lock();
        if life.left {
            return Err(Refusal::Setup("a take-over on the way into kexec", EBUSY));
        }
        let taken = take_over()?;
        pr_info!(
            "host runs under EL2: {} CPUs possible, {} KiB taken, {} us\n",
            taken.cpus,
            taken.memory.bytes() / 1024,
            taken.ns / 1000,
        );
        if taken.spectre_v2_open > 0 {
            pr_warn!(
                "Spectre-v2 stays open on {} CPUs: the firmware has no SMCCC_ARCH_WORKAROUND_1\n",
                taken.spectre_v2_open,
            );
        }
        ppis.enable();
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
        let _life = LIFE.lock();
        if let Err(why) = self.0.release() {
            pr_err!("{}; its memory stays taken\n", why);
            self.0.memory.forget();
        }
        HOST.store(core::ptr::null_mut(), Ordering::Release);
    }
}

/// Why EL2 is not given back.
pub(crate) struct Kept(Error);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::Perm => {
                f.write_str("EL2 is kept, since mvirt was loaded without allow_release=1")
            }
            Error::Busy => f.write_str("EL2 is kept, since there are virtual machines"),
            other => write!(f, "EL2 refused to be released ({other:?})"),
        }
    }
}

impl TakenOver {
    /// Gives EL2 back to the kernel's stub, on each CPU that is online or on none, and scrubs what EL2
    /// had. The others had their EL2 from the firmware and get it there anew.
    ///
    /// With [`LIFE`] held. Done twice, the second time finds the stub and does nothing.
    fn release(&self) -> Result<(), Kept> {
        pool::reclaim();
        // SAFETY: taken and released in pairs.
        unsafe { bindings::mvirt_hold_cpus() };
        let released = release_cpus();
        // SAFETY: locked above.
        unsafe { bindings::mvirt_free_cpus() };
        released.map_err(Kept)?;
        self.memory.scrub();
        pr_info!("EL2 is given back to the kernel's stub\n");
        Ok(())
    }
}

/// Gives EL2 back, since the kernel leaves the machine to another one. The memory is scrubbed and not
/// freed: nobody needs it any more. Where there is no EL2 of ours, nothing is done.
pub(crate) fn leave() -> Result<(), Kept> {
    let mut life = LIFE.lock();
    life.left = true;
    if let Some(host) = host() {
        host.release()?;
        HOST.store(core::ptr::null_mut(), Ordering::Release);
    }
    Ok(())
}

/// EL2 is ours. Waits for a take-over that is under way.
pub(crate) fn is_in_force() -> bool {
    let _life = LIFE.lock();
    host().is_some()
}

/// EL2's index of a possible CPU.
fn index_of(cpu: u32) -> u64 {
    possible_cpus().take_while(|other| *other != cpu).count() as u64
}

/// What the CPUs are told, and the first error that one of them met.
///
/// Each CPU is done with it before the call that sent it there returns.
struct Round {
    entry: u64,
    carveout: u64,
    first: u32,
    /// 0, or the number of the CPU that failed first, plus 1.
    failed: AtomicU32,
    /// x0, x1 and MIDR_EL1 of that CPU.
    answer: [AtomicU64; 3],
    /// CPUs that entered and on which Spectre-v2 stays open.
    spectre_v2_open: AtomicU32,
}

impl Round {
    fn new(entry: u64, carveout: u64, first: u32) -> Round {
        Round {
            entry,
            carveout,
            first,
            failed: AtomicU32::new(0),
            answer: [const { AtomicU64::new(0) }; 3],
            spectre_v2_open: AtomicU32::new(0),
        }
    }

    /// Notes what a step answered on this CPU.
    fn note(&self, cpu: u32, x0: u64, x1: u64) {
        if EntryError::from_raw(x0, x1).is_none() {
            return;
        }
        let first = self
            .failed
            .compare_exchange(0, cpu + 1, Ordering::Relaxed, Ordering::Relaxed);
        if first.is_ok() {
            for (slot, value) in self.answer.iter().zip([x0, x1, mrs!("midr_el1")]) {
                slot.store(value, Ordering::Relaxed);
            }
        }
    }

    /// Notes what an entry answered.
    fn entered(&self, cpu: u32, (x0, x1): (u64, u64)) {
        self.note(cpu, x0, x1);
        if x0 == 0 && x1 & ENTERED_SPECTRE_V2_OPEN != 0 {
            self.spectre_v2_open.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The result of entries.
    fn refused(&self) -> Result<(), Refusal> {
        let [_, _, midr] = &self.answer;
        self.result().map_err(|(cpu, e)| match e {
            EntryError::Cpu(why) => Refusal::Cpu(cpu, midr.load(Ordering::Relaxed), why),
            EntryError::Failed(e) => Refusal::Entry(cpu, e),
        })
    }

    fn result(&self) -> Result<(), (u32, EntryError)> {
        let failed = self.failed.load(Ordering::Relaxed);
        let [x0, x1, _] = &self.answer;
        let error = EntryError::from_raw(x0.load(Ordering::Relaxed), x1.load(Ordering::Relaxed));
        match (failed.checked_sub(1), error) {
            (Some(cpu), Some(e)) => Err((cpu, e)),
            _ => Ok(()),
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
    let x = unsafe { soft_restart(round.entry, round.carveout, index_of(round.first), true) };
    round.entered(round.first, x);
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
        let x = unsafe { soft_restart(round.entry, round.carveout, index_of(cpu), false) };
        round.entered(cpu, x);
    }
}

/// # Safety
///
/// `arg` is a `Round`; this CPU has entered.
unsafe extern "C" fn enable(arg: *mut c_void) {
    // SAFETY: by the contract.
    let round = unsafe { &*arg.cast::<Round>() };
    if let Err(e) = El2.enable_cpu() {
        round.note(this_cpu(), e.to_raw(), 0);
    }
}

/// # Safety
///
/// `arg` is a `Round`.
unsafe extern "C" fn release(arg: *mut c_void) {
    // SAFETY: by the contract.
    let round = unsafe { &*arg.cast::<Round>() };
    // A CPU that did not enter has the stub, which refuses the number: nothing to undo there.
    if let Ok([HASH, ..]) = El2.version() {
        if let Err(e) = El2.release() {
            round.note(this_cpu(), e.to_raw(), 0);
        }
    }
}

fn release_cpus() -> Result<(), Error> {
    let mut round = Round::new(0, 0, 0);
    let arg: *mut Round = &mut round;
    // SAFETY: `release` gets a Round that outlives the call.
    unsafe { bindings::mvirt_on_each_cpu(Some(release), arg.cast()) };
    round.result().map_err(|(_, e)| e.error())
}

/// A test of what is seen of an EL2 that breaks before it is anybody's.
fn crash_if_asked() -> Result<(), Refusal> {
    if !cfg!(CONFIG_MVIRT_CRASH_TEST) {
        return Ok(());
    }
    // SAFETY: an int that is set while parameters are parsed, before this.
    let kind = unsafe { bindings::mvirt_crash_in_setup };
    match u64::try_from(kind) {
        Ok(kind) => El2
            .crash(kind)
            .map(|_| ())
            .map_err(|e| Refusal::Step("to crash", e)),
        Err(_) => Ok(()),
    }
}

/// Enters each CPU and puts the host under stage 2. Hotplug is shut out. On how many CPUs Spectre-v2
/// stays open.
fn run(memory: &El2Memory) -> Result<u32, Refusal> {
    let mut round = Round::new(memory.entry, memory.carveout.phys(), this_cpu());
    let first = round.first;
    let arg: *mut Round = &mut round;
    // SAFETY: the round's memory is ready and clean; `arg` outlives the calls, which wait.
    unsafe {
        if bindings::mvirt_on_cpu(first, Some(enter_first), arg.cast()) != 0 {
            return Err(Refusal::Step("the first CPU", Error::NoEntry));
        }
    }
    round.refused()?;
    // SAFETY: as above.
    unsafe { bindings::mvirt_on_each_cpu(Some(enter_other), arg.cast()) };
    round.refused()?;
    El2.prepare().map_err(|e| Refusal::Step("to prepare", e))?;
    crash_if_asked()?;
    // SAFETY: as above.
    unsafe { bindings::mvirt_on_each_cpu(Some(enable), arg.cast()) };
    round
        .result()
        .map_err(|(_, e)| Refusal::Step("to enable a CPU", e.error()))?;
    El2.finalise()
        .map_err(|e| Refusal::Step("to finalise", e))?;
    Ok(round.spectre_v2_open.load(Ordering::Relaxed))
}

/// Takes EL2 on all CPUs, or leaves everything as it was.
///
/// The CPUs are held first, which waits for an RCU grace period: that is the kernel's time and not
/// in `TakenOver::ns`.
pub(crate) fn take_over() -> Result<TakenOver, Refusal> {
    // SAFETY: taken and released in pairs.
    unsafe { bindings::mvirt_hold_cpus() };
    let result = take_over_held();
    // SAFETY: locked above.
    unsafe { bindings::mvirt_free_cpus() };
    result
}

fn take_over_held() -> Result<TakenOver, Refusal> {
    let start = mrs!("cntvct_el0");
    // SAFETY: the take-over is part of the module's initialisation, and `bytes` is used here alone.
    let (header, bytes) = unsafe { image() }?;
    let mut memory = El2Memory::new(&header, bytes)?;
    let mut result = run(&memory);
    if result.is_err() {
        if let Err(e) = release_cpus() {
            pr_err!(
                "a CPU could not be released ({:?}); EL2's memory stays taken\n",
                e
            );
            memory.forget();
            result = Err(Refusal::Step("to release a CPU", e));
        }
    }
    let spectre_v2_open = result?;
    let ticks = mrs!("cntvct_el0") - start;
    // Saturates after 18 seconds at 1 GHz, which no take-over lasts.
    let ns = ticks.saturating_mul(1_000_000_000) / mrs!("cntfrq_el0").max(1);
    let cpus = possible_cpus().count() as u32;
    Ok(TakenOver {
        memory,
        header,
        ns,
        cpus,
        spectre_v2_open,
    })
}
