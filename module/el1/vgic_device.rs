// SPDX-License-Identifier: GPL-2.0
//! The file of a VM's GIC: KVM's attributes (Documentation/virt/kvm/devices/arm-vgic-v3.rst). The GIC
//! itself, its rules among them, is at EL2.

use crate::abi::{vgic, Caller};
use crate::bindings;
use crate::hvc::El2;
use crate::user;
use crate::vm::Vm;
use crate::vm_ioctl::vgic_set;
use kernel::prelude::*;

/// KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION's index of a region.
const REGION_INDEX: u64 = 0xfff;

/// An ioctl, by its number.
pub(crate) fn ioctl(vm: &Vm, cmd: u32, arg: usize) -> Result<isize> {
    if !vm.mm.is_current() {
        return Err(EIO);
    }
    let access = match u64::from(cmd) {
        bindings::NR_KVM_SET_DEVICE_ATTR => set,
        bindings::NR_KVM_GET_DEVICE_ATTR => get,
        bindings::NR_KVM_HAS_DEVICE_ATTR => has,
        _ => return Err(ENOTTY),
    };
    let attr: bindings::kvm_device_attr = user::read(arg)?;
    let known = Attribute::new(&attr).ok_or(ENXIO)?;
    access(vm, known, attr.addr as usize)
}

/// An attribute that there is.
#[derive(Clone, Copy)]
enum Attribute {
    /// u64.
    Address(u64),
    /// u64, with its index in it.
    Region,
    /// u32.
    NrIrqs,
    /// No value.
    Init,
}

impl Attribute {
    fn new(attr: &bindings::kvm_device_attr) -> Option<Attribute> {
        let number = u32::try_from(attr.attr).ok()?;
        Some(match (attr.group, number) {
            (bindings::KVM_DEV_ARM_VGIC_GRP_ADDR, bindings::KVM_VGIC_V3_ADDR_TYPE_DIST) => {
                Attribute::Address(vgic::DIST)
            }
            (bindings::KVM_DEV_ARM_VGIC_GRP_ADDR, bindings::KVM_VGIC_V3_ADDR_TYPE_REDIST) => {
                Attribute::Address(vgic::REDIST)
            }
            (
                bindings::KVM_DEV_ARM_VGIC_GRP_ADDR,
                bindings::KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION,
            ) => Attribute::Region,
            (bindings::KVM_DEV_ARM_VGIC_GRP_NR_IRQS, _) => Attribute::NrIrqs,
            (bindings::KVM_DEV_ARM_VGIC_GRP_CTRL, bindings::KVM_DEV_ARM_VGIC_CTRL_INIT) => {
                Attribute::Init
            }
            _ => return None,
        })
    }
}

fn has(_vm: &Vm, _attr: Attribute, _addr: usize) -> Result<isize> {
    Ok(0)
}

fn set(vm: &Vm, attr: Attribute, addr: usize) -> Result<isize> {
    let (number, value) = match attr {
        Attribute::Address(number) => (number, user::read::<u64>(addr)?),
        Attribute::Region => (vgic::REDIST_REGION, user::read::<u64>(addr)?),
        Attribute::NrIrqs => (vgic::NR_IRQS, user::read::<u32>(addr)?.into()),
        Attribute::Init => (vgic::INIT, 0),
    };
    let _config = vm.config.lock();
    vgic_set(vm, number, 0, value)?;
    Ok(0)
}

fn get(vm: &Vm, attr: Attribute, addr: usize) -> Result<isize> {
    let value = |number, index| {
        El2.vgic_get(vm.handle, number, index)
            .map(|[value, ..]| value)
    };
    match attr {
        Attribute::Address(number) => user::write(addr, &value(number, 0)?)?,
        Attribute::Region => {
            let index = user::read::<u64>(addr)? & REGION_INDEX;
            user::write(addr, &value(vgic::REDIST_REGION, index)?)?;
        }
        // Lossless: at most 1024.
        Attribute::NrIrqs => user::write(addr, &(value(vgic::NR_IRQS, 0)? as u32))?,
        Attribute::Init => return Err(ENXIO),
    }
    Ok(0)
}
