// SPDX-License-Identifier: GPL-2.0
//! The files of a VM, a vCPU and a GIC: what owns what, and the way from C's callbacks to the
//! ioctls.
//!
//! A VM's and a GIC's file own a reference to the VM; a vCPU's owns a [`VcpuFile`]. So the VM is taken
//! apart when the last of its files is closed, and no vCPU of it runs then.
//!
//! Why unsafe: the kernel keeps the owned thing as a bare pointer.

use crate::bindings;
use crate::vcpu::{self, Vcpu};
use crate::vgic_device;
use crate::vm::Vm;
use crate::vm_ioctl;
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::ffi::{c_long, c_uint, c_ulong, c_void};
use kernel::fs::file::{self, File, FileDescriptorReservation};
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::Arc;

/// What a vCPU's file owns.
pub(crate) struct VcpuFile {
    /// Its VM, which holds the vCPU.
    pub(crate) vm: Arc<Vm>,
    /// Its place there.
    pub(crate) index: usize,
}

impl VcpuFile {
    /// The vCPU. It was put in its place before the file was made.
    pub(crate) fn vcpu(&self) -> Result<&Vcpu> {
        self.vm.vcpu(self.index).ok_or(ENODEV)
    }
}

/// A file that no descriptor names yet: dropped, it is closed again.
pub(crate) struct NewFile {
    fd: FileDescriptorReservation,
    file: ARef<File>,
}

impl NewFile {
    fn new(kind: bindings::mvirt_file, private: *mut c_void) -> Result<NewFile> {
        let fd = FileDescriptorReservation::get_unused_fd_flags(file::flags::O_CLOEXEC)?;
        // SAFETY: `private` is what a file of this kind owns; by the callers.
        let file = from_err_ptr(unsafe { bindings::mvirt_new_file(kind, private) })?;
        let file = NonNull::new(file.cast::<File>()).ok_or(ENOMEM)?;
        // SAFETY: `File` is a `struct file`; the reference is the one that was made above, and no
        // other thread knows the file.
        let file = unsafe { ARef::from_raw(file) };
        Ok(NewFile { fd, file })
    }

    /// A VM's file, or its GIC's.
    fn of_vm(kind: bindings::mvirt_file, vm: Arc<Vm>) -> Result<NewFile> {
        let private = Arc::into_raw(vm);
        NewFile::new(kind, private.cast_mut().cast()).inspect_err(|_| {
            // SAFETY: no file took it.
            drop(unsafe { Arc::from_raw(private) });
        })
    }

    /// A VM's file.
    pub(crate) fn vm(vm: Arc<Vm>) -> Result<NewFile> {
        NewFile::of_vm(bindings::mvirt_file_MVIRT_FILE_VM, vm)
    }

    /// A GIC's file.
    pub(crate) fn vgic(vm: Arc<Vm>) -> Result<NewFile> {
        NewFile::of_vm(bindings::mvirt_file_MVIRT_FILE_VGIC, vm)
    }

    /// A vCPU's file.
    pub(crate) fn vcpu(vm: Arc<Vm>, index: usize) -> Result<NewFile> {
        let private = KBox::into_raw(KBox::new(VcpuFile { vm, index }, GFP_KERNEL_ACCOUNT)?);
        NewFile::new(bindings::mvirt_file_MVIRT_FILE_VCPU, private.cast()).inspect_err(|_| {
            // SAFETY: no file took it.
            drop(unsafe { KBox::from_raw(private) });
        })
    }

    /// The number that it will have.
    pub(crate) fn number(&self) -> u32 {
        self.fd.reserved_fd()
    }

    /// Lets user space have it: it can be closed from here on.
    pub(crate) fn install(self) -> isize {
        // Lossless: descriptors are positive ints.
        let number = self.number() as isize;
        self.fd.fd_install(self.file);
        number
    }
}

/// What an ioctl returns to C.
pub(crate) fn answer(result: Result<isize>) -> c_long {
    match result {
        Ok(value) => value,
        Err(e) => e.to_errno() as c_long,
    }
}

/// # Safety
///
/// `private` is of a VM's or a GIC's file, which is open.
unsafe fn vm_of<'a>(private: *mut c_void) -> &'a Vm {
    // SAFETY: the file holds a reference.
    unsafe { &*private.cast::<Vm>() }
}

/// # Safety
///
/// As `vm_of`.
unsafe fn vm_arc(private: *mut c_void) -> Arc<Vm> {
    // SAFETY: the pointer came from `Arc::into_raw`. The file's own reference is not dropped.
    let vm =
        core::mem::ManuallyDrop::new(unsafe { Arc::from_raw(private.cast::<Vm>().cast_const()) });
    Arc::clone(&vm)
}

/// # Safety
///
/// Called by `glue_files.c` for an open file of a VM.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_vm_ioctl(private: *mut c_void, cmd: c_uint, arg: c_ulong) -> c_long {
    // SAFETY: by the contract.
    let vm = unsafe { vm_arc(private) };
    answer(vm_ioctl::ioctl(&vm, cmd, arg as usize))
}

/// # Safety
///
/// Called by `glue_files.c` for an open file of a GIC.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_vgic_ioctl(
    private: *mut c_void,
    cmd: c_uint,
    arg: c_ulong,
) -> c_long {
    // SAFETY: by the contract.
    let vm = unsafe { vm_of(private) };
    answer(vgic_device::ioctl(vm, cmd, arg as usize))
}

/// # Safety
///
/// Called by `glue_files.c` when the last reference to a file of a VM has gone.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_vm_release(private: *mut c_void) {
    // SAFETY: the file's reference, which nobody uses any more.
    let vm = unsafe { Arc::from_raw(private.cast::<Vm>().cast_const()) };
    // As with KVM: eventfds raise nothing without the VM's file, though its vCPUs live on.
    vm.irqfds.shut_down();
}

/// # Safety
///
/// Called by `glue_files.c` when the last reference to a file of a GIC has gone.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_vgic_release(private: *mut c_void) {
    // SAFETY: the file's reference, which nobody uses any more.
    drop(unsafe { Arc::from_raw(private.cast::<Vm>().cast_const()) });
}

/// # Safety
///
/// `private` is of a vCPU's file, which is open.
unsafe fn vcpu_of<'a>(private: *mut c_void) -> &'a VcpuFile {
    // SAFETY: the file owns the box.
    unsafe { &*private.cast::<VcpuFile>() }
}

/// # Safety
///
/// Called by `glue_files.c` for an open file of a vCPU.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_vcpu_ioctl(
    private: *mut c_void,
    cmd: c_uint,
    arg: c_ulong,
) -> c_long {
    // SAFETY: by the contract.
    let file = unsafe { vcpu_of(private) };
    answer(vcpu::ioctl(file, cmd, arg as usize))
}

/// # Safety
///
/// Called by `glue_files.c` when the last reference to a vCPU's file has gone.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_vcpu_release(private: *mut c_void) {
    // SAFETY: the file's box, which nobody uses any more.
    drop(unsafe { KBox::from_raw(private.cast::<VcpuFile>()) });
}

/// # Safety
///
/// Called by `glue_files.c` for an open file of a vCPU.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_vcpu_page(private: *mut c_void) -> *mut bindings::page {
    // SAFETY: by the contract.
    let file = unsafe { vcpu_of(private) };
    // A file is made for a vCPU that there is: `vcpu` does not fail.
    file.vcpu()
        .map_or(core::ptr::null_mut(), |vcpu| vcpu.run.page())
}
