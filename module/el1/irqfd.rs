// SPDX-License-Identifier: GPL-2.0
//! KVM_IRQFD: an eventfd raises an SPI, from any context; and KVM_SET_GSI_ROUTING, which says which.
//!
//! ```text
//!   plain:     signal -> up and down at once (an edge)
//!   resample:  signal -> up ... the guest ends the interrupt -> EL2 lowers the line -> WAKE_ENDED
//!              -> every resamplefd of the GSI is signalled; who is not content signals again
//! ```
//!
//! An [`Irqfd`] is attached to its eventfd's wait queue from the end of [`Irqfds::assign`] on, and is
//! called with that queue's lock held ([`mvirt_rs_irqfd_event`]); so all that it looks at does not
//! change, or is atomic, and the call to EL2 and the kick of a vCPU's thread take no lock that sleeps.
//! It goes by KVM_IRQFD_FLAG_DEASSIGN, when the last file of its eventfd is closed (the sweeper does it),
//! or when the VM's file is closed.
//!
//! The lock of [`State`] is taken inside a vCPU's mutex, and the wait queues' locks inside it.
//!
//! Why unsafe: the wait queue is C's, and calls back with a pointer.

use crate::abi::{vgic, Caller, LINE_PULSE};
use crate::bindings;
use crate::eventfd::EventFd;
use crate::hvc::El2;
use crate::lock::RwLock;
use crate::routes::{Routes, PRIVATE_IRQS};
use crate::vm::Vm;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use kernel::container_of;
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;
use kernel::types::Opaque;

const DEASSIGN: u32 = bindings::KVM_IRQFD_FLAG_DEASSIGN;
const RESAMPLE: u32 = bindings::KVM_IRQFD_FLAG_RESAMPLE;

/// An eventfd that raises an interrupt.
#[pin_data(PinnedDrop)]
struct Irqfd {
    /// Its VM, which outlives it.
    vm: *const Vm,
    gsi: u32,
    /// The SPI's INTID, or 0: the GSI has no route.
    intid: AtomicU32,
    resample: Option<EventFd>,
    /// The eventfd's last file was closed.
    closed: AtomicBool,
    #[pin]
    wait: Opaque<bindings::mvirt_irqfd>,
}

// SAFETY: what changes is atomic, or the wait queue's and under its lock.
unsafe impl Send for Irqfd {}
// SAFETY: as above.
unsafe impl Sync for Irqfd {}

#[pinned_drop]
impl PinnedDrop for Irqfd {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: initialised by `assign`; may sleep, as only a list's writer drops one.
        unsafe { bindings::mvirt_irqfd_detach(self.wait.get()) };
    }
}

impl Irqfd {
    fn vm(&self) -> &Vm {
        // SAFETY: the VM's file holds it, and lets go of all of these before that.
        unsafe { &*self.vm }
    }

    /// Sets the line, if there is such an interrupt; as with KVM, else nothing happens.
    fn line(&self, level: u64) {
        let intid = self.intid.load(Ordering::Acquire);
        if intid == 0 {
            return;
        }
        let vm = self.vm();
        if let Ok([wake, ..]) = El2.irq_line(vm.handle, 0, intid.into(), level) {
            vm.kick(wake);
        }
    }

    /// The eventfd was signalled.
    fn event(&self) {
        let level = if self.resample.is_some() {
            1
        } else {
            LINE_PULSE
        };
        self.line(level);
    }

    fn is_resampled(&self, gsi: u32) -> bool {
        self.resample.is_some() && self.gsi == gsi
    }

    /// EL2 tells of the interrupt's ends, or no longer.
    fn mark(&self, intid: u32, wanted: bool) {
        if intid != 0 {
            // Refused for an interrupt that is not there: it never ends.
            let _ = El2.irq_resample(self.vm().handle, intid.into(), wanted.into());
        }
    }
}

/// What the lock guards.
struct State {
    list: KVec<Pin<KBox<Irqfd>>>,
    routes: Routes,
}

impl State {
    /// Takes out whom `which` names, and lets go of their eventfds.
    fn remove(&mut self, which: impl Fn(&Irqfd) -> bool) {
        while let Some(at) = self.list.iter().position(|irqfd| which(irqfd)) {
            let Ok(irqfd) = self.list.remove(at) else {
                return;
            };
            // SAFETY: pinned, and initialised. After this no call comes, and the line stays as it is.
            unsafe { bindings::mvirt_irqfd_detach(irqfd.wait.get()) };
            self.leave(&irqfd);
        }
    }

    /// An irqfd that is not, or no longer, in the list: the last resampled one of an interrupt, which
    /// several GSIs may be routed to, takes the mark along, and lowers the line that nobody would lower
    /// any more.
    fn leave(&self, irqfd: &Irqfd) {
        let intid = irqfd.intid.load(Ordering::Acquire);
        let shared = self
            .list
            .iter()
            .any(|other| other.resample.is_some() && other.intid.load(Ordering::Acquire) == intid);
        if irqfd.resample.is_some() && !shared {
            irqfd.mark(intid, false);
            irqfd.line(0);
        }
    }
}

/// The irqfds of a VM.
#[pin_data(PinnedDrop)]
pub(crate) struct Irqfds {
    #[pin]
    state: RwLock<State>,
    #[pin]
    sweeper: Opaque<bindings::mvirt_sweeper>,
}

// SAFETY: the state is under its lock, the sweeper is the workqueue's.
unsafe impl Send for Irqfds {}
// SAFETY: as above.
unsafe impl Sync for Irqfds {}

#[pinned_drop]
impl PinnedDrop for Irqfds {
    fn drop(self: Pin<&mut Self>) {
        self.shut_down();
    }
}

impl Irqfds {
    /// None, and each GSI is the SPI of this number.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- RwLock::new(State { list: KVec::new(), routes: Routes::Default }),
            // SAFETY: initialises it in its place, which is pinned.
            sweeper <- Opaque::ffi_init(|at| unsafe { bindings::mvirt_sweeper_init(at) }),
        })
    }

    /// KVM_IRQFD.
    pub(crate) fn set(&self, vm: &Vm, args: &bindings::kvm_irqfd) -> Result<isize> {
        if args.flags & !(DEASSIGN | RESAMPLE) != 0 {
            return Err(EINVAL);
        }
        if args.flags & DEASSIGN == 0 {
            return self.assign(vm, args);
        }
        let eventfd = EventFd::get(args.fd)?;
        // As with KVM it is no error if there was none.
        self.state.write().remove(|irqfd| {
            // SAFETY: initialised, and in the list: its eventfd does not change.
            let same = unsafe { bindings::mvirt_irqfd_is(irqfd.wait.get(), eventfd.as_ptr()) };
            same && irqfd.gsi == args.gsi
        });
        Ok(0)
    }

    /// EAGAIN before the GIC is initialised; EBUSY for an eventfd that is assigned already, wherever.
    fn assign(&self, vm: &Vm, args: &bindings::kvm_irqfd) -> Result<isize> {
        let [ready, ..] = El2.vgic_get(vm.handle, vgic::INIT, 0)?;
        if ready == 0 {
            return Err(EAGAIN);
        }
        let fd = c_int::try_from(args.fd).map_err(|_| EBADF)?;
        let resample = if args.flags & RESAMPLE != 0 {
            // The other one's fault comes first.
            EventFd::get(args.fd)?;
            Some(EventFd::get(args.resamplefd)?)
        } else {
            None
        };
        let mut state = self.state.write();
        state.list.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let intid = state.routes.intid(args.gsi);
        let irqfd = KBox::pin_init(
            pin_init!(Irqfd {
                vm,
                gsi: args.gsi,
                intid: AtomicU32::new(intid),
                resample,
                closed: AtomicBool::new(false),
                // SAFETY: all zero is an irqfd that is not attached.
                wait <- Opaque::ffi_init(|at: *mut bindings::mvirt_irqfd| unsafe {
                    at.write_bytes(0, 1)
                }),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        if irqfd.resample.is_some() {
            // Before the first signal, whose end would go untold.
            irqfd.mark(intid, true);
        }
        let owner: *const Irqfd = &raw const *irqfd;
        // SAFETY: it stays in its place, and until it is detached it lives: `remove` and its drop see
        // to that.
        let attached = kernel::error::to_result(unsafe {
            bindings::mvirt_irqfd_attach(
                irqfd.wait.get(),
                fd,
                owner.cast_mut().cast(),
                self.sweeper.get(),
            )
        });
        if let Err(e) = attached {
            state.leave(&irqfd);
            return Err(e);
        }
        state.list.push_within_capacity(irqfd).map_err(|_| ENOMEM)?;
        Ok(0)
    }

    /// EL2 says that resampled interrupts ended: their lines are low. Their devices get to know.
    pub(crate) fn tell_ends(&self, vm: &Vm) -> Result {
        let state = self.state.read();
        loop {
            let [first, ended, ..] = El2.irq_ended(vm.handle)?;
            if ended == 0 {
                return Ok(());
            }
            for n in (0..32).filter(|n| ended >> n & 1 == 1) {
                // Lossless: an INTID.
                let Some(gsi) = state.routes.gsi(first as u32 + n) else {
                    continue;
                };
                let of_it = state.list.iter().filter(|irqfd| irqfd.is_resampled(gsi));
                of_it
                    .filter_map(|irqfd| irqfd.resample.as_ref())
                    .for_each(EventFd::signal);
            }
        }
    }

    /// KVM_SET_GSI_ROUTING, the entries having been read.
    pub(crate) fn route(&self, routes: Routes) {
        let mut state = self.state.write();
        let resampled = |irqfd: &&Pin<KBox<Irqfd>>| irqfd.resample.is_some();
        for irqfd in state.list.iter().filter(resampled) {
            // What stays keeps what is to be told of it.
            let old = irqfd.intid.load(Ordering::Acquire);
            let mut others = state.list.iter().filter(resampled);
            if !others.any(|other| routes.intid(other.gsi) == old) {
                irqfd.mark(old, false);
            }
        }
        for irqfd in &state.list {
            let new = routes.intid(irqfd.gsi);
            if irqfd.resample.is_some() {
                irqfd.mark(new, true);
            }
            irqfd.intid.store(new, Ordering::Release);
        }
        state.routes = routes;
    }

    /// No eventfd raises anything any more.
    pub(crate) fn shut_down(&self) {
        self.state.write().remove(|_| true);
        // Who asked for it is detached.
        // SAFETY: initialised by `new`; may sleep.
        unsafe { bindings::mvirt_sweeper_stop(self.sweeper.get()) };
    }
}

const _: () = assert!(PRIVATE_IRQS != 0, "an SPI's INTID is not 0");

/// # Safety
///
/// Called by `glue_eventfd.c` while the irqfd is attached.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_irqfd_event(owner: *mut c_void) {
    // SAFETY: the owner that `assign` named; by the contract.
    unsafe { &*owner.cast::<Irqfd>() }.event();
}

/// # Safety
///
/// Called by `glue_eventfd.c` while the irqfd is attached.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_irqfd_closed(owner: *mut c_void) {
    // SAFETY: as above.
    let irqfd = unsafe { &*owner.cast::<Irqfd>() };
    irqfd.closed.store(true, Ordering::Release);
}

/// # Safety
///
/// Called by `glue_eventfd.c` in a thread, between `mvirt_sweeper_init` and `mvirt_sweeper_stop`.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_irqfds_sweep(sweeper: *mut bindings::mvirt_sweeper) {
    let sweeper: *mut Opaque<bindings::mvirt_sweeper> = sweeper.cast();
    // SAFETY: the field of an `Irqfds`, which waits for this call before it goes.
    let irqfds = unsafe { &*container_of!(sweeper, Irqfds, sweeper) };
    let closed = |irqfd: &Irqfd| irqfd.closed.load(Ordering::Acquire);
    irqfds.state.write().remove(closed);
}
