// SPDX-License-Identifier: GPL-2.0
//! Memory that stays user space's: that of guests that are not protected.
//!
//! The guest has a page as long as user space has it. When that changes (unmapped, written back,
//! moved, copied on write) the kernel calls [`mvirt_rs_invalidate`] first, and the guest loses the
//! page and faults it in again. `lock` is taken by both sides: a page is mapped under it only if no
//! invalidation came since it was looked up, which the notifier's sequence count tells; an invalidation
//! sets the count under it, and unmaps after that. It is a spin lock, the last of all.
//!
//! Why unsafe: the kernel calls back with a pointer, and pages are held by bare references.

use crate::abi::{self, Caller, MAP_EXEC, MAP_WRITE};
use crate::bindings;
use crate::hvc::El2;
use crate::pin::{contiguous, may_be_block, Scratch};
use crate::pool;
use crate::slots::{Range, BLOCK};
use crate::vm::Mm;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::ffi::{c_ulong, c_void};
use kernel::page::{PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::{new_spinlock, SpinLock};
use kernel::types::Opaque;

/// A slot's memory, followed until this is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct Follower {
    handle: u64,
    range: Range,
    read_only: bool,
    inserted: AtomicBool,
    #[pin]
    notifier: Opaque<bindings::mvirt_notifier>,
    #[pin]
    lock: SpinLock<()>,
}

// SAFETY: the notifier is the kernel's, and made for use by several threads.
unsafe impl Send for Follower {}
// SAFETY: as above.
unsafe impl Sync for Follower {}

#[pinned_drop]
impl PinnedDrop for Follower {
    fn drop(self: Pin<&mut Self>) {
        if self.inserted.load(Ordering::Relaxed) {
            // SAFETY: inserted by `new`. Waits for callbacks that run; no lock is held that one of
            // them takes.
            unsafe { bindings::mvirt_notifier_remove(self.notifier.get()) };
        }
    }
}

/// Pages of user space's, by references in a [`Scratch`].
struct Held<'a> {
    pages: &'a [*mut bindings::page],
    dirty: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // SAFETY: references that `get` took. Lossless: no more than a block.
        unsafe {
            bindings::mvirt_put(
                self.pages.as_ptr().cast_mut(),
                self.pages.len() as i32,
                self.dirty,
            )
        };
    }
}

/// Takes references to `scratch.len()` pages from `hva` on.
fn get(hva: u64, write: bool, scratch: &mut [*mut bindings::page]) -> Result<Held<'_>> {
    // SAFETY: there is room for that many; may sleep.
    let got =
        unsafe { bindings::mvirt_get(hva, scratch.len() as i32, write, scratch.as_mut_ptr()) };
    if got < 0 {
        return Err(Error::from_errno(got));
    }
    let wanted = scratch.len();
    let held = Held {
        pages: &scratch[..got as usize],
        dirty: write,
    };
    if held.pages.len() != wanted {
        return Err(EFAULT);
    }
    Ok(held)
}

/// What [`Follower::try_map`] came to.
enum Tried {
    Done,
    /// Not as a block.
    Single,
    /// Not a page that so many share.
    OwnPage,
}

impl Follower {
    /// Follows the range from here on.
    pub(crate) fn new(
        handle: u64,
        mm: &Mm,
        range: Range,
        read_only: bool,
    ) -> Result<Pin<KBox<Follower>>> {
        let follower = KBox::pin_init(
            try_pin_init!(Follower {
                handle,
                range,
                read_only,
                inserted: AtomicBool::new(false),
                notifier: Opaque::zeroed(),
                lock <- new_spinlock!(()),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let owner: *const Follower = &raw const *follower;
        // SAFETY: the follower is pinned, and takes the notifier out before it goes.
        kernel::error::to_result(unsafe {
            bindings::mvirt_notifier_insert(
                follower.notifier.get(),
                owner.cast_mut().cast(),
                mm.as_ptr(),
                range.hva,
                range.bytes(),
            )
        })?;
        follower.inserted.store(true, Ordering::Relaxed);
        Ok(follower)
    }

    /// Maps the page that the guest faulted on, or the block around it; or nothing, if user space
    /// changes it just now: then the guest comes again.
    pub(crate) fn map(&self, gfn: u64, write: bool, fetch: bool, scratch: &mut Scratch) -> Result {
        let (mut single, mut write) = (false, write);
        loop {
            match self.try_map(gfn, write, fetch, single, scratch)? {
                Tried::Done => return Ok(()),
                Tried::Single => single = true,
                Tried::OwnPage if write => return Err(EBUSY),
                Tried::OwnPage => write = true,
            }
        }
    }

    fn try_map(
        &self,
        gfn: u64,
        write: bool,
        fetch: bool,
        single: bool,
        scratch: &mut Scratch,
    ) -> Result<Tried> {
        // SAFETY: inserted by `new`; may sleep.
        let seq = unsafe { bindings::mvirt_notifier_begin(self.notifier.get()) };
        let block = self.range.block(gfn).filter(|_| !single);
        let mut first = gfn;
        let mut held = get(self.range.hva_of(gfn), write, &mut scratch[..1])?;
        let mut writable = write;
        let huge = may_be_block(held.pages[0], gfn);
        if !writable && !self.read_only {
            let mut page = core::ptr::null_mut();
            // SAFETY: writes one reference if it answers true.
            if unsafe { bindings::mvirt_get_writable_now(self.range.hva_of(gfn), &mut page) } {
                drop(held);
                scratch[0] = page;
                held = Held {
                    pages: &scratch[..1],
                    dirty: true,
                };
                writable = true;
            }
        }
        if let (Some(start), true) = (block, huge) {
            drop(held);
            held = match get(
                self.range.hva_of(start),
                writable,
                &mut scratch[..BLOCK as usize],
            ) {
                Ok(held) => held,
                Err(_) => return Ok(Tried::Single),
            };
            first = start;
        }
        let nr = held.pages.len() as u64;
        let Some(pfn) = contiguous(held.pages).filter(|pfn| nr == 1 || pfn % BLOCK == 0) else {
            return Ok(Tried::Single);
        };
        let may_write = writable && !self.read_only;
        let rights = if may_write { MAP_WRITE } else { 0 } | if fetch { MAP_EXEC } else { 0 };
        let mapped = pool::supply(|| {
            let _guard = self.lock.lock();
            // SAFETY: the lock is held that `mvirt_rs_invalidate` takes.
            if unsafe { bindings::mvirt_notifier_retry(self.notifier.get(), seq) } {
                return Ok(());
            }
            El2.guest_map(self.handle, first, pfn, nr, rights)
                .map(|_| ())
        });
        match mapped {
            Ok(()) => Ok(Tried::Done),
            // Part of the block is mapped, another guest's, or mapped as often as can be; or another
            // vCPU was faster.
            Err(e) if (e == EEXIST || e == EPERM || e == EBUSY) && nr > 1 => Ok(Tried::Single),
            Err(e) if e == EEXIST => Ok(Tried::Done),
            Err(e) if e == EBUSY => Ok(Tried::OwnPage),
            Err(e) => Err(e),
        }
    }

    /// Takes from the guest what lies in `start..end` of user space, however much that is: other CPUs
    /// do not wait for it.
    ///
    /// Once the count is set nobody maps any of it: who looked a page up before finds the count
    /// changed, and who looks one up later waits for the end of the invalidation first. And who found
    /// it unchanged has mapped the page when the lock is had here.
    fn invalidate(&self, start: u64, end: u64, seq: c_ulong, may_sleep: bool) {
        let guard = self.lock.lock();
        // SAFETY: the lock is held that `try_map` looks at the count under.
        unsafe { bindings::mvirt_notifier_set_seq(self.notifier.get(), seq) };
        drop(guard);
        let Range { gfn, hva, .. } = self.range;
        let first = start.saturating_sub(hva) >> PAGE_SHIFT;
        let past = end.saturating_sub(hva).div_ceil(PAGE_SIZE as u64);
        let mut at = gfn + first.min(self.range.pages);
        let end = gfn + past.min(self.range.pages);
        while at < end {
            match El2.guest_unmap(self.handle, at, end - at) {
                Ok([_, next, ..]) => at = next,
                // There is no such VM. One that is taken apart has lost its slots before.
                Err(abi::Error::NoEntry) => return,
                Err(e) => {
                    pr_err!("EL2 did not unmap what user space lost ({:?})\n", e);
                    return;
                }
            }
            if may_sleep {
                // SAFETY: no lock is held here, and the kernel says that its own let it sleep.
                unsafe { bindings::mvirt_relax() };
            }
        }
    }
}

/// # Safety
///
/// Called by `glue_pages.c` with the owner that `Follower::new` gave, which lives until its notifier
/// is removed.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_invalidate(
    owner: *mut c_void,
    start: u64,
    end: u64,
    seq: c_ulong,
    may_sleep: bool,
) {
    // SAFETY: by the contract.
    let follower = unsafe { &*owner.cast::<Follower>() };
    follower.invalidate(start, end, seq, may_sleep);
}
