// SPDX-License-Identifier: GPL-2.0
//! The spinlock. EL2 cannot be interrupted, so a holder always comes to its unlock; a ticket lock
//! keeps the CPUs in order, so none waits for ever. A CPU that breaks while it holds a lock never
//! comes to its unlock: the report releases it in its place ([`SpinLock::abandon`]), so that the
//! host can still print and reset the machine, and exclusion holds all the same.
//!
//! Lock order, outermost first (Documentation/locking.rst): `calls::MEMORY`, then either of
//! `firmware::PSCI` and `cpu::take_over::SNAPSHOTS`. Nothing that may fault, and no firmware call
//! that does not return at once, runs under any of them.
//!
//! Why unsafe: handing out `&mut` to what a lock guards cannot be said without it.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
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

/// A value that is set once and only read afterwards.
///
/// # Invariants
///
/// `value` is initialised and never written again once `state` is [`SET`]; only the CPU that moved
/// it from [`EMPTY`] to [`FILLING`] writes it.
pub struct Once<T> {
    state: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

const EMPTY: u32 = 0;
const FILLING: u32 = 1;
const SET: u32 = 2;

// SAFETY: the value is handed out by shared reference alone, and set by one CPU for all.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// Not set.
    pub const fn new() -> Once<T> {
        Once {
            state: AtomicU32::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, if it is set.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: by the invariant it is initialised and nobody writes it.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value, made by `make` if it is not set. `None` if that makes none, or while another CPU
    /// makes it.
    pub fn get_or_set(&self, make: impl FnOnce() -> Option<T>) -> Option<&T> {
        let ours = self
            .state
            .compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
        if ours {
            match make() {
                Some(value) => {
                    // SAFETY: this CPU moved the state to FILLING: it alone writes, and nobody reads.
                    unsafe { (*self.value.get()).write(value) };
                    // INVARIANT: initialised above.
                    self.state.store(SET, Ordering::Release);
                }
                None => self.state.store(EMPTY, Ordering::Release),
            }
        }
        self.get()
    }
}
