/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The contract of /dev/mvirt.
 *
 * The device takes a frozen subset of KVM's ioctls, with the numbers, structures and meaning that
 * <linux/kvm.h> of Linux 7.3 gives them, and the ioctls that this file adds. Anything else is
 * answered -ENOTTY. Both lists belong to MVIRT_ABI_VERSION; within one version they only grow.
 *
 * KVM ioctls in version 1; Documentation/uapi.rst has each one's errors.
 *
 * On the device:
 *
 *	KVM_GET_API_VERSION	KVM_API_VERSION (12). -EINVAL if the argument is not 0.
 *	KVM_CHECK_EXTENSION	What is in the list below; 0 for all else.
 *	KVM_GET_VCPU_MMAP_SIZE	Bytes of a vCPU's shared area: one page, where KVM has two, as there
 *				is no ring of coalesced MMIO. -EINVAL if the argument is not 0.
 *	KVM_CREATE_VM		A VM: bits of its physical address (0: 40) and
 *				KVM_VM_TYPE_ARM_PROTECTED. -EINVAL for any other bit or a size that
 *				the machine has not, -EOPNOTSUPP where there can be no VMs (the
 *				kernel's log says why), -EBUSY if there are 32.
 *
 * On a VM, by the process that made it (others get -EIO):
 *
 *	KVM_CHECK_EXTENSION	As on the device, but of this VM.
 *	KVM_CREATE_VCPU		A vCPU, number 0 to 7.
 *	KVM_SET_USER_MEMORY_REGION, KVM_SET_USER_MEMORY_REGION2
 *				A slot, number 0 to 511. KVM_MEM_READONLY.
 *	KVM_IRQ_LINE		An SPI's or a PPI's line, once there is a GIC.
 *	KVM_IRQFD		An eventfd that raises an SPI; KVM_IRQFD_FLAG_DEASSIGN, RESAMPLE.
 *	KVM_SET_GSI_ROUTING	Which SPI a GSI is: pins of irqchip 0, no MSIs.
 *	KVM_IOEVENTFD		An eventfd that a write signals; KVM_IOEVENTFD_FLAG_DATAMATCH,
 *				DEASSIGN.
 *	KVM_CREATE_DEVICE	KVM_DEV_TYPE_ARM_VGIC_V3; KVM_CREATE_DEVICE_TEST.
 *	KVM_ARM_PREFERRED_TARGET
 *				KVM_ARM_TARGET_GENERIC_V8.
 *	KVM_ENABLE_CAP		KVM_CAP_ARM_PROTECTED_VM on a protected VM: FLAGS_INFO tells that
 *				there is no firmware, FLAGS_SET_FW_IPA is -EINVAL for that reason.
 *
 * On a GIC:
 *
 *	KVM_SET_DEVICE_ATTR, KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR
 *				KVM_DEV_ARM_VGIC_GRP_ADDR (V3_ADDR_TYPE_DIST, REDIST,
 *				REDIST_REGION), GRP_NR_IRQS, GRP_CTRL (CTRL_INIT). Others -ENXIO.
 *
 * On a vCPU:
 *
 *	KVM_RUN			Exits: KVM_EXIT_MMIO, SYSTEM_EVENT, INTR, FAIL_ENTRY,
 *				INTERNAL_ERROR.
 *	KVM_ARM_VCPU_INIT	Target KVM_ARM_TARGET_GENERIC_V8; features PSCI_0_2, POWER_OFF.
 *	KVM_GET_ONE_REG, KVM_SET_ONE_REG, KVM_GET_REG_LIST
 *				Core, FP, System and firmware registers: KVM's without optional
 *				features.
 *	KVM_GET_MP_STATE, KVM_SET_MP_STATE
 *				KVM_MP_STATE_RUNNABLE, STOPPED, SUSPENDED.
 *	mmap			struct kvm_run, at offset 0.
 *
 * Capabilities: USER_MEMORY, USER_MEMORY2, DESTROY_MEMORY_REGION_WORKS,
 * JOIN_MEMORY_REGIONS_WORKS, SYNC_MMU (not of a protected VM), READONLY_MEM (the same), ONE_REG,
 * IRQCHIP, IRQFD, IRQFD_RESAMPLE, IRQ_ROUTING (4096), IOEVENTFD, IOEVENTFD_NO_LENGTH,
 * IOEVENTFD_ANY_LENGTH, DEVICE_CTRL, ARM_PSCI, ARM_PSCI_0_2, MP_STATE, IMMEDIATE_EXIT, INTERNAL_ERROR_DATA,
 * CHECK_EXTENSION_VM, ENABLE_CAP_VM, NR_VCPUS, MAX_VCPUS, MAX_VCPU_ID (8), NR_MEMSLOTS (512),
 * ARM_VM_IPA_SIZE, and of a protected VM alone ARM_PROTECTED_VM.
 *
 * The device is opened by root alone (mode 0600) and exists only while EL2 is ours: a take-over
 * that is refused leaves no device behind.
 *
 * All structures have the same layout on every architecture: each member is naturally aligned,
 * and none is implied by padding.
 */
#ifndef _UAPI_LINUX_MVIRT_H
#define _UAPI_LINUX_MVIRT_H

#include <linux/ioctl.h>
#include <linux/kvm.h>
#include <linux/types.h>

/*
 * The version of this contract. It changes when something that a program could rely on changes
 * its meaning, not when something is added.
 */
#define MVIRT_ABI_VERSION	1

/*
 * The ioctl letter: 0xD6, numbers 00-3F. Free in
 * Documentation/userspace-api/ioctl/ioctl-number.rst of Linux 6.18.15 and 7.3.4, and used by no
 * header of theirs.
 */
#define MVIRT_IOC		0xD6

/* The command numbers, for programs that cannot evaluate the macros of <linux/ioctl.h>. */
#define MVIRT_CMD_GET_INFO	0x00

/* What KVM has only in newer headers, or only on Android. The numbers and meanings are theirs. */
#ifndef KVM_VM_TYPE_ARM_PROTECTED
#define KVM_VM_TYPE_ARM_PROTECTED	(1UL << 31)
#endif
#ifndef KVM_CAP_ARM_PROTECTED_VM
#define KVM_CAP_ARM_PROTECTED_VM	0xffbadab1
#define KVM_CAP_ARM_PROTECTED_VM_FLAGS_SET_FW_IPA	0
#define KVM_CAP_ARM_PROTECTED_VM_FLAGS_INFO		1

/**
 * struct kvm_protected_vm_info - KVM_ENABLE_CAP(KVM_CAP_ARM_PROTECTED_VM), FLAGS_INFO
 * @firmware_size: Bytes of the firmware that protected VMs start with: 0, there is none
 * @reserved: 0
 */
struct kvm_protected_vm_info {
	__u64 firmware_size;
	__u64 reserved[7];
};
#endif

/* Bits of mvirt_info.options. */

/* The module may be unloaded again: it was loaded with allow_release=1. */
#define MVIRT_OPTION_RELEASE	(1 << 0)
/* EL2 checks its invariants at each exit to the host: built with CONFIG_MVIRT_DEBUG. */
#define MVIRT_OPTION_DEBUG	(1 << 1)
/* EL2 answers the call that breaks it on purpose: built for the crash tests. */
#define MVIRT_OPTION_CRASH_TEST	(1 << 2)

/**
 * struct mvirt_info - ioctl(MVIRT_GET_INFO)
 * @size: In: sizeof(struct mvirt_info) as the caller knows it. Out: as the kernel knows it
 * @flags: Must be 0
 * @abi_version: MVIRT_ABI_VERSION of the kernel
 * @page_size: Bytes of a page of EL2's tables and of the host's stage 2
 * @abi_hash: Hash of the contract between the module and its EL2 image
 * @cpus_possible: CPUs that may ever run the host
 * @options: MVIRT_OPTION_*
 * @takeover_ns: Time that the take-over of all CPUs took, from the first allocation to the return
 *	of finalise, by the virtual counter, in nanoseconds
 * @text_bytes: Bytes of the image that are executable
 * @rodata_bytes: Bytes of the image that are read-only
 * @el1_bytes: Bytes that the module keeps at EL1 for EL2's sake, apart from its own code and data
 * @cpus_active: CPUs that run under EL2 now
 * @image_bytes: Bytes of the EL2 image with its data, @text_bytes and @rodata_bytes among them
 * @stack_bytes: Bytes of EL2 stacks
 * @meta_bytes: Bytes of metadata about pages
 * @el2_table_bytes: Bytes of EL2's own stage-1 tables
 * @host_table_bytes: Bytes of the host's stage-2 tables
 * @pool_bytes: Bytes in EL2's pool of pages that are not in use
 * @shared_bytes: Bytes that the host shares with EL2. They are the host's and in no other sum
 * @trap_hypercall: Traps: hypercalls of mvirt
 * @trap_stub: Traps: other HVCs (calls to the kernel's hyp stub)
 * @trap_psci: Traps: SMCs answered by EL2 or relayed as PSCI
 * @trap_smc: Traps: SMCs forwarded to the firmware
 * @trap_fault_mapped: Traps: stage-2 faults that were mended
 * @trap_fault_denied: Traps: stage-2 faults on memory that is not the host's, which got an
 *	exception
 * @trap_sysreg: Traps: system registers
 * @trap_other: Traps of any other class
 * @guest_table_bytes: Bytes of the guests' stage-2 tables
 * @vm_bytes: Bytes of the state of VMs and vCPUs
 * @guest_bytes: Bytes that protected VMs own: their memory, in no other sum
 * @trap_fault_decoy: Traps: stage-2 faults of the host's kernel on memory that is not the host's,
 *	which had a decoy mapped: a page of zeros
 * @decoy_bytes: Bytes of decoys, and of pages kept for the tables that lead to them
 * @teardown_ns: Nanoseconds of the longest call that took something back from a VM or from EL2 since
 *	the take-over: how long a CPU was kept at EL2 at a time, its wait for locks included
 *
 * What mvirt is, what it has taken and what it has done. The members from @cpus_active on are the
 * counters of EL2, summed over all CPUs; they have the names and the order of EL2's own list
 * (module/abi/contract/stats.rs). They are read one after another while the machine runs, so
 * they are not a snapshot of one instant.
 *
 * The memory that mvirt has taken from the host is the sum of @image_bytes, @stack_bytes,
 * @meta_bytes, @el2_table_bytes, @host_table_bytes, @pool_bytes, @guest_table_bytes, @vm_bytes,
 * @decoy_bytes and @el1_bytes. The memory of protected VMs, @guest_bytes, comes on top.
 *
 * The structure grows at its end. The caller sets @size and @flags, the rest is output. The kernel
 * fills as much as both sides know, sets the bytes that only the caller knows to 0, and leaves its
 * own size in @size; so a member that lies beyond that size was not filled.
 *
 * Return: 0, or -1 with errno set to:
 *
 *	EINVAL	@size is below MVIRT_INFO_SIZE_VER1, or @flags is not 0
 *	E2BIG	@size is above the page size
 *	EFAULT	the structure is not in readable and writable memory
 *	EIO	EL2 refused to tell a counter
 */
struct mvirt_info {
	__u32 size;
	__u32 flags;
	__u32 abi_version;
	__u32 page_size;
	__u64 abi_hash;
	__u32 cpus_possible;
	__u32 options;
	__u64 takeover_ns;
	__u64 text_bytes;
	__u64 rodata_bytes;
	__u64 el1_bytes;
	__u64 cpus_active;
	__u64 image_bytes;
	__u64 stack_bytes;
	__u64 meta_bytes;
	__u64 el2_table_bytes;
	__u64 host_table_bytes;
	__u64 pool_bytes;
	__u64 shared_bytes;
	__u64 trap_hypercall;
	__u64 trap_stub;
	__u64 trap_psci;
	__u64 trap_smc;
	__u64 trap_fault_mapped;
	__u64 trap_fault_denied;
	__u64 trap_sysreg;
	__u64 trap_other;
	__u64 guest_table_bytes;
	__u64 vm_bytes;
	__u64 guest_bytes;
	__u64 trap_fault_decoy;
	__u64 decoy_bytes;
	__u64 teardown_ns;
};

/* The size of struct mvirt_info in its first version: the least that a caller may pass. */
#define MVIRT_INFO_SIZE_VER1	192

/*
 * The number does not carry the structure's size, so that it stays the same when the structure
 * grows.
 */
#define MVIRT_GET_INFO		_IO(MVIRT_IOC, MVIRT_CMD_GET_INFO)

#endif /* _UAPI_LINUX_MVIRT_H */
