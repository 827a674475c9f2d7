// SPDX-License-Identifier: GPL-2.0
//! A reader-writer semaphore around a value: the kernel crate has none yet.
//!
//! Why unsafe: the semaphore is C's.

use crate::bindings;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use kernel::prelude::*;
use kernel::types::{NotThreadSafe, Opaque};

/// A value that many may read or one may change. Its holders may sleep.
#[pin_data]
pub(crate) struct RwLock<T> {
    #[pin]
    sem: Opaque<bindings::mvirt_rwsem>,
    data: UnsafeCell<T>,
}

// SAFETY: as for any lock: the value moves with it.
unsafe impl<T: Send> Send for RwLock<T> {}
// SAFETY: readers share the value, so it must be Sync; a writer has it alone, so it must be Send.
unsafe impl<T: Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    /// A lock that nobody holds.
    pub(crate) fn new(data: T) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: initialises the semaphore in its place, which is pinned.
            sem <- Opaque::ffi_init(|sem| unsafe { bindings::mvirt_rwsem_init(sem) }),
            data: UnsafeCell::new(data),
        })
    }

    /// Waits for a writer to end.
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: initialised by `new`.
        unsafe { bindings::mvirt_rwsem_read(self.sem.get()) };
        ReadGuard(self, NotThreadSafe)
    }

    /// Waits for all others to end.
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: initialised by `new`.
        unsafe { bindings::mvirt_rwsem_write(self.sem.get()) };
        WriteGuard(self, NotThreadSafe)
    }
}

/// Proof that the lock is held for reading.
pub(crate) struct ReadGuard<'a, T>(&'a RwLock<T>, NotThreadSafe);

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: readers alone hold the lock as long as this guard lives.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `read` took it, in this thread.
        unsafe { bindings::mvirt_rwsem_read_end(self.0.sem.get()) };
    }
}

/// Proof that the lock is held alone.
pub(crate) struct WriteGuard<'a, T>(&'a RwLock<T>, NotThreadSafe);

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: nobody else holds the lock as long as this guard lives.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed alone.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `write` took it, in this thread.
        unsafe { bindings::mvirt_rwsem_write_end(self.0.sem.get()) };
    }
}
