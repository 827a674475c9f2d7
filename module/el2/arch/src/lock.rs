// SPDX-License-Identifier: GPL-2.0
//! The spinlock. EL2 cannot be interrupted, so a holder always comes to its unlock; a ticket lock
//! keeps the CPUs in order, so none waits for ever. A CPU that breaks while it holds a lock never
//! comes to its unlock: the report releases it in its place ([`SpinLock::abandon`]), so that the
//! host can still print and reset the machine, and exclusion holds all the same.
//!
//! Lock order, outermost first (Documentation/locking.rst): `calls::MEMORY`, then either of
//! `firmware::PSCI` and `cpu::SNAPSHOTS`. Nothing that may fault, and no firmware call that does
//! not return at once, runs under any of them.
//!
//! Why unsafe: handing out `&mut` to what a lock guards cannot be said without it.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::cpu::PerCpu;

/// Set once EL2 reported a broken invariant. What the locks guard may be half changed from then on:
/// EL2 changes nothing of it any more, but for what the host needs to come to its end.
pub static BROKEN: AtomicBool = AtomicBool::new(false);

/// Mutual exclusion between CPUs.
///
/// # Invariants
///
/// `data` is only reached by the CPU whose ticket equals `owner`, through its [`Guard`].
pub struct SpinLock<T> {
    next: AtomicU32,
    owner: AtomicU32,
    /// Index of the CPU that holds it, plus 1; 0 for none.
    holder: AtomicU32,
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
            holder: AtomicU32::new(0),
            data: UnsafeCell::new(data),
        }
    }

    /// Waits for its turn.
    pub fn lock(&self) -> Guard<'_, T> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        while self.owner.load(Ordering::Acquire) != ticket {
            core::hint::spin_loop();
        }
        let this = PerCpu::current().index() + 1;
        self.holder.store(this, Ordering::Relaxed);
        Guard { lock: self }
    }

    /// Releases the lock if this CPU holds it, whose code will not go on. For the report alone.
    pub fn abandon(&self) {
        if self.holder.load(Ordering::Relaxed) == PerCpu::current().index() + 1 {
            self.unlock();
        }
    }

    fn unlock(&self) {
        self.holder.store(0, Ordering::Relaxed);
        // Only the holder writes it.
        let owner = self.owner.load(Ordering::Relaxed);
        self.owner.store(owner.wrapping_add(1), Ordering::Release);
    }
}

/// The proof that the lock is held; dropping it unlocks.
pub struct Guard<'a, T> {
    lock: &'a SpinLock<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: by the invariant of SpinLock this CPU alone reaches the data now.
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
        self.lock.unlock();
    }
}
