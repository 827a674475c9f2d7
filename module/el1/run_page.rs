// SPDX-License-Identifier: GPL-2.0
//! The page that a vCPU shares with user space: `struct kvm_run`.
//!
//! User space may change it at any time. So there is no reference into it: each member is read once
//! and written once, by volatile accesses, and nothing that was written is believed when read back.
//!
//! Why unsafe: the accesses.

use crate::bindings::{self, kvm_run};
use core::mem::size_of;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

const _: () = assert!(size_of::<kvm_run>() <= PAGE_SIZE);

/// The page; freed when dropped and no longer mapped.
pub(crate) struct RunPage {
    page: *mut bindings::page,
    run: *mut kvm_run,
}

// SAFETY: it is plain memory, and each access stands for itself.
unsafe impl Send for RunPage {}
// SAFETY: as above.
unsafe impl Sync for RunPage {}

impl Drop for RunPage {
    fn drop(&mut self) {
        // SAFETY: the reference that `new` took.
        unsafe { bindings::mvirt_page_put(self.page) };
    }
}

/// Writes members of `kvm_run`, by their paths.
macro_rules! put {
    ($self:ident, $($($path:ident).+ = $value:expr),* $(,)?) => {
        $(
            // SAFETY: a member of the structure, which is in the page.
            unsafe { (&raw mut (*$self.run).$($path).+).write_volatile($value) };
        )*
    };
}

impl RunPage {
    /// A page of zeros.
    pub(crate) fn new() -> Result<RunPage> {
        // SAFETY: may sleep; answers a zeroed page of the linear map, or NULL.
        let page = unsafe { bindings::mvirt_page_new() };
        if page.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: such a page.
        let run = unsafe { bindings::mvirt_page_address(page) }.cast();
        Ok(RunPage { page, run })
    }

    /// For the fault handler.
    pub(crate) fn page(&self) -> *mut bindings::page {
        self.page
    }

    /// User space wants KVM_RUN to come back at once.
    pub(crate) fn immediate_exit(&self) -> bool {
        // SAFETY: as in `put`.
        unsafe { (&raw const (*self.run).immediate_exit__unsafe).read_volatile() != 0 }
    }

    /// KVM_EXIT_*.
    pub(crate) fn set_exit(&self, reason: u32) {
        put!(self, exit_reason = reason, flags = 0);
    }

    /// KVM_EXIT_MMIO.
    pub(crate) fn set_mmio(&self, ipa: u64, write: Option<u64>, len: u32) {
        self.set_exit(bindings::KVM_EXIT_MMIO);
        put!(
            self,
            __bindgen_anon_1.mmio.phys_addr = ipa,
            __bindgen_anon_1.mmio.data = write.unwrap_or(0).to_le_bytes(),
            __bindgen_anon_1.mmio.len = len,
            __bindgen_anon_1.mmio.is_write = u8::from(write.is_some()),
        );
    }

    /// What user space answered to a read of `len` bytes.
    pub(crate) fn mmio_data(&self, len: u32) -> u64 {
        // SAFETY: as in `put`.
        let mut data =
            unsafe { (&raw const (*self.run).__bindgen_anon_1.mmio.data).read_volatile() };
        let past = data.len().min(len as usize);
        data[past..].fill(0);
        u64::from_le_bytes(data)
    }

    /// KVM_EXIT_SYSTEM_EVENT.
    pub(crate) fn set_system_event(&self, event: u32, flags: u64) {
        self.set_exit(bindings::KVM_EXIT_SYSTEM_EVENT);
        put!(
            self,
            __bindgen_anon_1.system_event.type_ = event,
            __bindgen_anon_1.system_event.ndata = 1,
            __bindgen_anon_1.system_event.__bindgen_anon_1.data = {
                let mut data = [0; 16];
                data[0] = flags;
                data
            },
        );
    }

    /// KVM_EXIT_FAIL_ENTRY.
    pub(crate) fn set_fail_entry(&self, reason: u64, cpu: u32) {
        self.set_exit(bindings::KVM_EXIT_FAIL_ENTRY);
        put!(
            self,
            __bindgen_anon_1.fail_entry.hardware_entry_failure_reason = reason,
            __bindgen_anon_1.fail_entry.cpu = cpu,
        );
    }

    /// KVM_EXIT_INTERNAL_ERROR.
    pub(crate) fn set_internal_error(&self, suberror: u32, values: [u64; 2]) {
        self.set_exit(bindings::KVM_EXIT_INTERNAL_ERROR);
        put!(
            self,
            __bindgen_anon_1.internal.suberror = suberror,
            __bindgen_anon_1.internal.ndata = 2,
            __bindgen_anon_1.internal.data = {
                let mut data = [0; 16];
                data[..2].copy_from_slice(&values);
                data
            },
        );
    }
}
