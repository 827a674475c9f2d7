// SPDX-License-Identifier: GPL-2.0
//! A thread that runs a vCPU: how it enters the guest, sleeps, and is made to come out.
//!
//! [`Thread`] also holds the mutex that serialises a vCPU's ioctls: one that a thread which is killed
//! need not wait for. [`Locked`] is the proof that it is held.
//!
//! Why unsafe: the kernel's side is C's (`glue_thread.c`), which says what each step means.

use crate::bindings;
use core::mem::MaybeUninit;
use kernel::prelude::*;
use kernel::types::{NotThreadSafe, Opaque};

/// What a thread has to do before it enters a guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing.
    None,
    /// Go back to user space: a signal.
    Signal,
    /// Go through the return to user space and come again: the kernel has something to do there.
    Resume,
    /// Let others run.
    Reschedule,
}

/// A vCPU's thread.
#[pin_data]
pub(crate) struct Thread {
    #[pin]
    inner: Opaque<bindings::mvirt_thread>,
}

// SAFETY: what is in it is under its mutex, under RCU, or a flag.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

/// Proof that the vCPU's mutex is held.
pub(crate) struct Locked<'a>(&'a Thread, NotThreadSafe);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: `lock` took it, in this thread.
        unsafe { bindings::mvirt_thread_unlock(self.0.inner.get()) };
    }
}

/// Proof that kicks go to the thread that has this.
pub(crate) struct Inside<'a>(&'a Thread, NotThreadSafe);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // SAFETY: `begin` noted this thread, which holds the mutex.
        unsafe { bindings::mvirt_thread_end(self.0.inner.get()) };
    }
}

impl Thread {
    /// Nobody's.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: initialises it in its place, which is pinned.
            inner <- Opaque::ffi_init(|at| unsafe { bindings::mvirt_thread_init(at) }),
        })
    }

    /// Waits for another ioctl of this vCPU's; EINTR if this thread is killed meanwhile.
    pub(crate) fn lock(&self) -> Result<Locked<'_>> {
        // SAFETY: initialised by `new`.
        kernel::error::to_result(unsafe { bindings::mvirt_thread_lock(self.inner.get()) })?;
        Ok(Locked(self, NotThreadSafe))
    }

    /// From here on kicks go to the calling thread.
    pub(crate) fn begin<'a>(&'a self, _locked: &Locked<'a>) -> Inside<'a> {
        // SAFETY: initialised; the mutex is held.
        unsafe { bindings::mvirt_thread_begin(self.inner.get()) };
        Inside(self, NotThreadSafe)
    }

    /// Wakes the vCPU if it sleeps, makes it come out if it is in the guest. From any context; also
    /// if nobody runs it.
    pub(crate) fn kick(&self) {
        // SAFETY: initialised by `new`.
        unsafe { bindings::mvirt_thread_kick(self.inner.get()) };
    }

    /// Gives the CPU to the thread, if it waits for one.
    pub(crate) fn yield_to(&self) -> bool {
        // SAFETY: initialised by `new`.
        unsafe { bindings::mvirt_thread_yield_to(self.inner.get()) }
    }
}

impl Inside<'_> {
    /// Sleeps until a kick, a signal, or so many nanoseconds from now. A kick since the last run of
    /// the guest began counts.
    pub(crate) fn wait(&self, ns: Option<u64>) {
        // SAFETY: this thread is the one that waits.
        unsafe { bindings::mvirt_thread_wait(self.0.inner.get(), ns.unwrap_or(u64::MAX)) };
    }

    /// Runs `guest` with interrupts masked and the FP registers free; `None` if there is work to do
    /// first.
    pub(crate) fn run<T>(&self, guest: impl FnOnce() -> T) -> Option<T> {
        let mut entry = MaybeUninit::uninit();
        // SAFETY: this thread may sleep here; `entry` has room for what `mvirt_guest_exit` needs.
        if !unsafe { bindings::mvirt_guest_enter(self.0.inner.get(), entry.as_mut_ptr()) } {
            return None;
        }
        let result = guest();
        // SAFETY: entered above, on this CPU, with this `entry`.
        unsafe { bindings::mvirt_guest_exit(entry.as_mut_ptr()) };
        Some(result)
    }
}

/// What the calling thread has to do.
pub(crate) fn work() -> Work {
    // SAFETY: reads the thread's flags.
    let work = unsafe { bindings::mvirt_thread_work() };
    if work & bindings::MVIRT_WORK_SIGNAL != 0 {
        Work::Signal
    } else if work & bindings::MVIRT_WORK_RESUME != 0 {
        Work::Resume
    } else if work & bindings::MVIRT_WORK_RESCHED != 0 {
        Work::Reschedule
    } else {
        Work::None
    }
}

/// Lets others run.
pub(crate) fn schedule() {
    // SAFETY: the callers hold no lock but mutexes.
    unsafe { bindings::mvirt_thread_schedule() };
}

/// The error with which the kernel does the system call again, unseen by its caller.
pub(crate) fn restart() -> Error {
    // SAFETY: sets a flag of this thread, which is on its way to user space.
    let errno = unsafe { bindings::mvirt_thread_restart() };
    // Lossless: an errno.
    Error::from_errno(errno as i32)
}
