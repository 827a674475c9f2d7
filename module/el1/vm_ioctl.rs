// SPDX-License-Identifier: GPL-2.0
//! The ioctls of a VM's file.

use crate::abi::{Caller, VM_SYSTEM_SUSPEND};
use crate::bindings;
use crate::caps;
use crate::files::NewFile;
use crate::hvc::El2;
use crate::pool;
use crate::routes::{Routes, PRIVATE_IRQS};
use crate::slots;
use crate::user;
use crate::vm::Vm;
use kernel::prelude::*;
use kernel::sync::Arc;

/// Interrupts below this are SGIs, which have no line.
const SGIS: u64 = 16;

/// An ioctl, by its number.
pub(crate) fn ioctl(vm: &Arc<Vm>, cmd: u32, arg: usize) -> Result<isize> {
    if !vm.mm.is_current() {
        return Err(EIO);
    }
    match u64::from(cmd) {
        bindings::NR_KVM_CHECK_EXTENSION => Ok(caps::check(Some(vm), arg)),
        bindings::NR_KVM_CREATE_VCPU => vm.add_vcpu(arg),
        bindings::NR_KVM_SET_USER_MEMORY_REGION => slots::set(vm, &user::read(arg)?),
        bindings::NR_KVM_SET_USER_MEMORY_REGION2 => set_memory2(vm, arg),
        bindings::NR_KVM_IRQ_LINE => irq_line(vm, &user::read(arg)?),
        bindings::NR_KVM_IRQFD => vm.irqfds.set(vm, &user::read(arg)?),
        bindings::NR_KVM_SET_GSI_ROUTING => {
            vm.irqfds.route(Routes::read(arg)?);
            Ok(0)
        }
        bindings::NR_KVM_IOEVENTFD => vm.ioeventfds.set(&user::read(arg)?),
        bindings::NR_KVM_CREATE_DEVICE => create_device(vm, arg),
        bindings::NR_KVM_ARM_PREFERRED_TARGET => preferred_target(arg),
        bindings::NR_KVM_ENABLE_CAP => enable_cap(vm, &user::read(arg)?),
        _ => Err(ENOTTY),
    }
}

/// KVM_SET_USER_MEMORY_REGION2: as the older one; there is no guest_memfd, so its flag is refused
/// and its members are not looked at.
fn set_memory2(vm: &Vm, arg: usize) -> Result<isize> {
    let region: bindings::kvm_userspace_memory_region2 = user::read(arg)?;
    slots::set(
        vm,
        &bindings::kvm_userspace_memory_region {
            slot: region.slot,
            flags: region.flags,
            guest_phys_addr: region.guest_phys_addr,
            memory_size: region.memory_size,
            userspace_addr: region.userspace_addr,
        },
    )
}

/// KVM_IRQ_LINE, by KVM's encoding for arm64 (Documentation/virt/kvm/api.rst, 4.25).
fn irq_line(vm: &Vm, level: &bindings::kvm_irq_level) -> Result<isize> {
    let field = |shift: u32, mask: u32| (irq_of(level) >> shift) & mask;
    let kind = field(
        bindings::KVM_ARM_IRQ_TYPE_SHIFT,
        bindings::KVM_ARM_IRQ_TYPE_MASK,
    );
    let vcpu = field(
        bindings::KVM_ARM_IRQ_VCPU_SHIFT,
        bindings::KVM_ARM_IRQ_VCPU_MASK,
    ) + field(
        bindings::KVM_ARM_IRQ_VCPU2_SHIFT,
        bindings::KVM_ARM_IRQ_VCPU2_MASK,
    ) * (bindings::KVM_ARM_IRQ_VCPU_MASK + 1);
    let number = u64::from(field(
        bindings::KVM_ARM_IRQ_NUM_SHIFT,
        bindings::KVM_ARM_IRQ_NUM_MASK,
    ));
    // A vCPU's IRQ and FIQ inputs, which are for a GIC in user space, are not there.
    if !matches!(
        kind,
        bindings::KVM_ARM_IRQ_TYPE_SPI | bindings::KVM_ARM_IRQ_TYPE_PPI
    ) {
        return Err(if kind == bindings::KVM_ARM_IRQ_TYPE_CPU {
            ENXIO
        } else {
            EINVAL
        });
    }
    if !vm.config.lock().vgic {
        return Err(ENXIO);
    }
    let vcpu = if kind == bindings::KVM_ARM_IRQ_TYPE_PPI {
        if vm.vcpu(vcpu as usize).is_none() || !(SGIS..u64::from(PRIVATE_IRQS)).contains(&number) {
            return Err(EINVAL);
        }
        u64::from(vcpu)
    } else if number < u64::from(PRIVATE_IRQS) {
        return Err(EINVAL);
    } else {
        0
    };
    let [wake, ..] = El2.irq_line(vm.handle, vcpu, number, u64::from(level.level != 0))?;
    vm.kick(wake);
    Ok(0)
}

fn irq_of(level: &bindings::kvm_irq_level) -> u32 {
    // SAFETY: both members of the union are a u32.
    unsafe { level.__bindgen_anon_1.irq }
}

/// KVM_CREATE_DEVICE: a GICv3, once, and before a vCPU runs.
fn create_device(vm: &Arc<Vm>, arg: usize) -> Result<isize> {
    let mut device: bindings::kvm_create_device = user::read(arg)?;
    if u64::from(device.type_) != bindings::NR_KVM_DEV_TYPE_ARM_VGIC_V3 {
        return Err(ENODEV);
    }
    if device.flags & bindings::KVM_CREATE_DEVICE_TEST != 0 {
        return Ok(0);
    }
    let mut config = vm.config.lock();
    if config.vgic {
        return Err(EEXIST);
    }
    if vm.has_run() {
        return Err(EBUSY);
    }
    let file = NewFile::vgic(vm.clone())?;
    device.fd = file.number();
    user::write(arg, &device)?;
    config.vgic = true;
    drop(config);
    file.install();
    Ok(0)
}

/// KVM_ARM_PREFERRED_TARGET: there is one.
fn preferred_target(arg: usize) -> Result<isize> {
    let mut init: bindings::kvm_vcpu_init = user::zeroed();
    init.target = bindings::KVM_ARM_TARGET_GENERIC_V8;
    user::write(arg, &init)?;
    Ok(0)
}

/// KVM_ENABLE_CAP: what a protected VM's firmware is: none.
fn enable_cap(vm: &Vm, cap: &bindings::kvm_enable_cap) -> Result<isize> {
    if cap.cap == bindings::KVM_CAP_ARM_SYSTEM_SUSPEND {
        if cap.flags != 0 {
            return Err(EINVAL);
        }
        El2.vm_enable(vm.handle, VM_SYSTEM_SUSPEND)?;
        return Ok(0);
    }
    let known = u64::from(cap.cap) == bindings::NR_KVM_CAP_ARM_PROTECTED_VM;
    if !known || !vm.protected || cap.args[1..].iter().any(|arg| *arg != 0) {
        return Err(EINVAL);
    }
    match cap.flags {
        bindings::KVM_CAP_ARM_PROTECTED_VM_FLAGS_INFO => {
            let info: bindings::kvm_protected_vm_info = user::zeroed();
            user::write(cap.args[0] as usize, &info)?;
            Ok(0)
        }
        // SET_FW_IPA is refused where there is no firmware.
        _ => Err(EINVAL),
    }
}

/// For the GIC's file: a call that sets one of its attributes.
pub(crate) fn vgic_set(vm: &Vm, attr: u64, index: u64, value: u64) -> Result {
    pool::supply(|| El2.vgic_set(vm.handle, attr, index, value).map(|_| ()))
}
