// SPDX-License-Identifier: GPL-2.0
//! A counted reference to an eventfd: it lives on when its file is closed.
//!
//! Why unsafe: the context is C's.

use crate::bindings;
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::ffi::c_int;
use kernel::prelude::*;

/// An eventfd.
pub(crate) struct EventFd(NonNull<bindings::eventfd_ctx>);

// SAFETY: a counted reference; what is done with it takes the eventfd's own lock.
unsafe impl Send for EventFd {}
// SAFETY: as above.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// The one that a descriptor of the caller's names: EBADF, or EINVAL if it is no eventfd.
    pub(crate) fn get(fd: u32) -> Result<EventFd> {
        // A number that is no int is no descriptor.
        let fd = c_int::try_from(fd).map_err(|_| EBADF)?;
        // SAFETY: looks the caller's descriptor up.
        let eventfd = from_err_ptr(unsafe { bindings::mvirt_eventfd_get(fd) })?;
        NonNull::new(eventfd).map(EventFd).ok_or(EBADF)
    }

    /// Adds 1 to its count, which wakes who waits for it. From any context.
    pub(crate) fn signal(&self) {
        // SAFETY: the reference is held.
        unsafe { bindings::mvirt_eventfd_signal(self.0.as_ptr()) };
    }

    /// For comparison.
    pub(crate) fn as_ptr(&self) -> *const bindings::eventfd_ctx {
        self.0.as_ptr()
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: the reference that `get` took.
        unsafe { bindings::mvirt_eventfd_put(self.0.as_ptr()) };
    }
}
