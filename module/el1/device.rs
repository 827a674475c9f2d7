// SPDX-License-Identifier: GPL-2.0
//! /dev/mvirt: the contract of `uapi/mvirt.h`, ioctl by ioctl.
//!
//! Root only (mode 0600).
//!
//! Why unsafe: the kernel calls through C, and a structure of the contract is copied as bytes.

use crate::abi::{Caller, Stat, HASH};
use crate::bindings;
use crate::caps;
use crate::files::answer;
use crate::hvc::El2;
use crate::takeover;
use crate::vm;
use core::mem::{offset_of, size_of};
use kernel::error::to_result;
use kernel::ffi::{c_int, c_long, c_uint, c_ulong};
use kernel::ioctl::{_IO, _IOC_SIZE};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::uaccess::{UserPtr, UserSlice};

const MVIRT_GET_INFO: u64 = _IO(bindings::MVIRT_IOC, bindings::MVIRT_CMD_GET_INFO) as u64;

/// All counters, summed over the CPUs.
const ALL_CPUS: u64 = u64::MAX;

// The counters of `mvirt_info` have the order of EL2's list and follow each other.
const COUNTERS: usize = offset_of!(bindings::mvirt_info, cpus_active);
const _: () = assert!(COUNTERS + 8 * Stat::ALL.len() == size_of::<bindings::mvirt_info>());
const _: () = assert!(size_of::<bindings::mvirt_info>() >= bindings::MVIRT_INFO_SIZE_VER1 as usize);

/// The device, until dropped. An open file of it holds the module.
pub(crate) struct Device;

impl Device {
    /// Registers it. Until the host is under EL2 it cannot be opened.
    pub(crate) fn new() -> Result<Device> {
        // SAFETY: what is called lives as long as the module, which each file holds.
        to_result(unsafe { bindings::mvirt_device_add() })?;
        Ok(Device)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: registered in `new`.
        unsafe { bindings::mvirt_device_remove() };
    }
}

/// # Safety
///
/// Called by `glue_handover.c` alone, for a file that is being opened.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_device_open() -> c_int {
    takeover::host().map_or(ENODEV.to_errno(), |_| 0)
}

/// # Safety
///
/// Called by `glue_handover.c` alone, for an open file.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_device_ioctl(cmd: c_uint, arg: c_ulong) -> c_long {
    answer(ioctl(cmd, arg as usize))
}

fn ioctl(cmd: u32, arg: usize) -> Result<isize> {
    // Gone when the kernel is on its way into another one.
    takeover::host().ok_or(ENODEV)?;
    match u64::from(cmd) {
        bindings::NR_KVM_GET_API_VERSION => no_argument(arg, bindings::KVM_API_VERSION as isize),
        bindings::NR_KVM_CHECK_EXTENSION => Ok(caps::check(None, arg)),
        bindings::NR_KVM_GET_VCPU_MMAP_SIZE => no_argument(arg, PAGE_SIZE as isize),
        bindings::NR_KVM_CREATE_VM => vm::create(arg),
        MVIRT_GET_INFO => get_info(arg),
        _ => Err(ENOTTY),
    }
}

/// KVM's ioctls that take no argument refuse one.
fn no_argument(arg: usize, answer: isize) -> Result<isize> {
    if arg != 0 {
        return Err(EINVAL);
    }
    Ok(answer)
}

/// Fills in what both sides know; see `struct mvirt_info` in uapi/mvirt.h.
fn get_info(arg: usize) -> Result<isize> {
    const KNOWN: usize = size_of::<bindings::mvirt_info>();
    let user =
        |at: usize, len: usize| UserSlice::new(UserPtr::from_addr(arg.wrapping_add(at)), len);

    let mut head = user(0, 8).reader();
    let (size, flags) = (head.read::<u32>()? as usize, head.read::<u32>()?);
    if size < bindings::MVIRT_INFO_SIZE_VER1 as usize || flags != 0 {
        return Err(EINVAL);
    }
    if size > PAGE_SIZE {
        return Err(E2BIG);
    }
    let info = info()?;
    // SAFETY: the structure has no padding (its layout test says so), so each byte is initialised.
    let bytes = unsafe { core::slice::from_raw_parts((&raw const info).cast::<u8>(), KNOWN) };
    user(0, size)
        .writer()
        .write_slice(&bytes[..size.min(KNOWN)])?;
    let zeros = [0u8; 64];
    let mut at = KNOWN;
    while at < size {
        let n = zeros.len().min(size - at);
        user(at, n).writer().write_slice(&zeros[..n])?;
        at += n;
    }
    Ok(0)
}

fn info() -> Result<bindings::mvirt_info> {
    let host = takeover::host().ok_or(ENODEV)?;
    let mut counters = [0u64; Stat::ALL.len()];
    for (value, stat) in counters.iter_mut().zip(Stat::ALL) {
        *value = El2.stat(*stat as u64, ALL_CPUS).map_err(|_| EIO)?[0];
    }
    let [cpus_active, image_bytes, stack_bytes, meta_bytes, el2_table_bytes, host_table_bytes, pool_bytes, shared_bytes, trap_hypercall, trap_stub, trap_psci, trap_smc, trap_fault_mapped, trap_fault_denied, trap_sysreg, trap_other, guest_table_bytes, vm_bytes, guest_bytes, trap_fault_decoy, decoy_bytes, teardown_ns] =
        counters;
    // SAFETY: reads a parameter.
    let release = if unsafe { bindings::mvirt_allow_release } {
        bindings::MVIRT_OPTION_RELEASE
    } else {
        0
    };
    let debug = if cfg!(CONFIG_MVIRT_DEBUG) {
        bindings::MVIRT_OPTION_DEBUG
    } else {
        0
    };
    let crash = if cfg!(CONFIG_MVIRT_CRASH_TEST) {
        bindings::MVIRT_OPTION_CRASH_TEST
    } else {
        0
    };
    Ok(bindings::mvirt_info {
        size: size_of::<bindings::mvirt_info>() as u32,
        flags: 0,
        abi_version: bindings::MVIRT_ABI_VERSION,
        page_size: PAGE_SIZE as u32,
        abi_hash: HASH,
        cpus_possible: host.cpus,
        options: release | debug | crash,
        takeover_ns: host.ns,
        text_bytes: u64::from(host.header.text_end),
        rodata_bytes: u64::from(host.header.rodata_end - host.header.text_end),
        el1_bytes: host.el1_bytes(),
        cpus_active,
        image_bytes,
        stack_bytes,
        meta_bytes,
        el2_table_bytes,
        host_table_bytes,
        pool_bytes,
        shared_bytes,
        trap_hypercall,
        trap_stub,
        trap_psci,
        trap_smc,
        trap_fault_mapped,
        trap_fault_denied,
        trap_sysreg,
        trap_other,
        guest_table_bytes,
        vm_bytes,
        guest_bytes,
        trap_fault_decoy,
        decoy_bytes,
        teardown_ns,
    })
}

const _: () = assert!(_IOC_SIZE(MVIRT_GET_INFO as u32) == 0);
