// SPDX-License-Identifier: GPL-2.0
//! KVM_CHECK_EXTENSION: what works, and nothing before it does.

use crate::abi::MAX_VCPUS;
use crate::bindings;
use crate::routes::MAX_ROUTES;
use crate::slots::MAX_SLOTS;
use crate::vm::{max_ipa_bits, Vm};

/// What is asked of the device (`vm` is none) or of a VM.
pub(crate) fn check(vm: Option<&Vm>, cap: usize) -> isize {
    let Ok(cap) = u32::try_from(cap) else {
        return 0;
    };
    match cap {
        bindings::KVM_CAP_USER_MEMORY
        | bindings::KVM_CAP_USER_MEMORY2
        | bindings::KVM_CAP_DESTROY_MEMORY_REGION_WORKS
        | bindings::KVM_CAP_JOIN_MEMORY_REGIONS_WORKS
        | bindings::KVM_CAP_ONE_REG
        | bindings::KVM_CAP_IRQCHIP
        | bindings::KVM_CAP_DEVICE_CTRL
        | bindings::KVM_CAP_ARM_PSCI
        | bindings::KVM_CAP_ARM_PSCI_0_2
        | bindings::KVM_CAP_ARM_SYSTEM_SUSPEND
        | bindings::KVM_CAP_MP_STATE
        | bindings::KVM_CAP_IMMEDIATE_EXIT
        | bindings::KVM_CAP_INTERNAL_ERROR_DATA
        | bindings::KVM_CAP_IRQFD
        | bindings::KVM_CAP_IRQFD_RESAMPLE
        | bindings::KVM_CAP_IOEVENTFD
        | bindings::KVM_CAP_IOEVENTFD_NO_LENGTH
        | bindings::KVM_CAP_IOEVENTFD_ANY_LENGTH
        | bindings::KVM_CAP_CHECK_EXTENSION_VM
        | bindings::KVM_CAP_ENABLE_CAP_VM => 1,
        bindings::KVM_CAP_SYNC_MMU => {
            // SAFETY: a constant of the kernel's.
            let follows = unsafe { bindings::mvirt_has_notifiers() };
            isize::from(follows && vm.is_none_or(|vm| !vm.pins))
        }
        bindings::KVM_CAP_READONLY_MEM => isize::from(vm.is_none_or(|vm| !vm.protected)),
        bindings::KVM_CAP_NR_VCPUS
        | bindings::KVM_CAP_MAX_VCPUS
        | bindings::KVM_CAP_MAX_VCPU_ID => MAX_VCPUS as isize,
        bindings::KVM_CAP_IRQ_ROUTING => MAX_ROUTES as isize,
        bindings::KVM_CAP_NR_MEMSLOTS => MAX_SLOTS as isize,
        bindings::KVM_CAP_ARM_VM_IPA_SIZE => max_ipa_bits() as isize,
        // Android's, and only of a VM: the device has both kinds.
        _ if u64::from(cap) == bindings::NR_KVM_CAP_ARM_PROTECTED_VM => {
            isize::from(vm.is_some_and(|vm| vm.protected))
        }
        _ => 0,
    }
}
