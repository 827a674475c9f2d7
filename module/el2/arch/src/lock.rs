// SPDX-License-Identifier: GPL-2.0
//! The spinlock. EL2 cannot be interrupted, so a holder always comes to its unlock; a ticket lock
//! keeps the CPUs in order, so none waits for ever.
//!
//! Lock order, outermost first (Documentation/locking.rst): `calls::MEMORY`, `firmware::PSCI`.
//! Nothing that may fault or call the firmware for long runs under either.
//!
//! Why unsafe: handing out `&mut` to what a lock guards cannot be said without it.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Set once EL2 reported a broken invariant: from then on a lock that its holder can no longer
/// release is passed by, because the host must still be able to print and to reset the machine.
pub static BROKEN: AtomicBool = AtomicBool::new(false);

/// Mutual exclusion between CPUs.
///
/// # Invariants
///
/// `data` is only reached by the CPU whose ticket equals `owner`, through its [`Guard`].
pub struct SpinLock<T> {
    next: AtomicU32,
    owner: AtomicU32,
    data: UnsafeCell<T>,
}

// SAFETY: the lock admits one CPU at a time, so T needs to be Send and no more.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An unlocked lock.
    pub const fn new(data: T) -> Self {
        SpinLock {
            next: AtomicU32::new(0),
            owner: AtomicU32::new(0),
            data: UnsafeCell::new(data),
        }
    }

    /// Waits for its turn.
    pub fn lock(&self) -> Guard<'_, T> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        while self.owner.load(Ordering::Acquire) != ticket {
            if BROKEN.load(Ordering::Relaxed) {
                break;
            }
            core::hint::spin_loop();
        }
        Guard { lock: self, ticket }
    }
}

/// The proof that the lock is held; dropping it unlocks.
pub struct Guard<'a, T> {
    lock: &'a SpinLock<T>,
    ticket: u32,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: by the invariant of SpinLock this CPU alone reaches the data now. After BROKEN
        // that no longer holds, and nothing does: the machine is on its way to a panic.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes it the only reference of this guard.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock
            .owner
            .store(self.ticket.wrapping_add(1), Ordering::Release);
    }
}
