// SPDX-License-Identifier: GPL-2.0
//! Structures of the device's contract, copied from and to user space: once, before they are looked
//! at.
//!
//! Why unsafe: a structure is copied as bytes.

use core::mem::{size_of, MaybeUninit};
use kernel::prelude::*;
use kernel::uaccess::{UserPtr, UserSlice, UserSliceReader, UserSliceWriter};

/// A structure of C's that is nothing but its bytes.
///
/// # Safety
///
/// Every value of its bytes is a value of it.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for u128 {}
// SAFETY: as above.
unsafe impl Plain for [u32; 2] {}

macro_rules! plain {
    ($($name:ident),* $(,)?) => {
        $(
            // SAFETY: a structure of integers and arrays of them.
            unsafe impl Plain for crate::bindings::$name {}
        )*
    };
}
plain!(
    kvm_create_device,
    kvm_device_attr,
    kvm_enable_cap,
    kvm_ioeventfd,
    kvm_irq_level,
    kvm_irq_routing_entry,
    kvm_irqfd,
    kvm_mp_state,
    kvm_one_reg,
    kvm_protected_vm_info,
    kvm_userspace_memory_region,
    kvm_userspace_memory_region2,
    kvm_vcpu_init,
);

fn slice(at: usize, len: usize) -> UserSlice {
    UserSlice::new(UserPtr::from_addr(at), len)
}

/// Reads a structure.
pub(crate) fn read<T: Plain>(at: usize) -> Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the bytes of `value`, which lives longer than the slice.
    let bytes = unsafe {
        core::slice::from_raw_parts_mut(
            value.as_mut_ptr().cast::<MaybeUninit<u8>>(),
            size_of::<T>(),
        )
    };
    reader(at, size_of::<T>()).read_raw(bytes)?;
    // SAFETY: all bytes were written, and any are a value of a `Plain`.
    Ok(unsafe { value.assume_init() })
}

/// Writes a structure. It has no padding that was not zeroed: all are made from zeros or by `read`.
pub(crate) fn write<T: Plain>(at: usize, value: &T) -> Result {
    // SAFETY: see above: each byte is initialised.
    let bytes =
        unsafe { core::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) };
    writer(at, size_of::<T>()).write_slice(bytes)
}

/// For what has no fixed length.
pub(crate) fn reader(at: usize, len: usize) -> UserSliceReader {
    slice(at, len).reader()
}

/// For what has no fixed length.
pub(crate) fn writer(at: usize, len: usize) -> UserSliceWriter {
    slice(at, len).writer()
}

/// All zero.
pub(crate) fn zeroed<T: Plain>() -> T {
    // SAFETY: zeros are a value of a `Plain`.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
