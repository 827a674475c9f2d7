/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The contract of /dev/mvirt.
 *
 * The device takes a frozen subset of KVM's ioctls, with the numbers, structures and meaning that
 * <linux/kvm.h> of Linux 7.3 gives them, and the ioctls that this file adds. Anything else is
 * answered -ENOTTY. Both lists belong to MVIRT_ABI_VERSION; within one version they only grow.
 *
 * KVM ioctls on the device in version 1:
 *
 *	KVM_GET_API_VERSION	KVM_API_VERSION (12). -EINVAL if the argument is not 0.
 *	KVM_CHECK_EXTENSION	0 for every capability: none is offered in this version.
 *	KVM_GET_VCPU_MMAP_SIZE	Bytes that a vCPU's shared area will take: one page, where KVM has
 *				two, as there is no ring of coalesced MMIO. -EINVAL if the argument
 *				is not 0.
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
 * @trap_fault_denied: Traps: stage-2 faults on memory that is not the host's
 * @trap_sysreg: Traps: system registers
 * @trap_other: Traps of any other class
 *
 * What mvirt is, what it has taken and what it has done. The members from @cpus_active on are the
 * counters of EL2, summed over all CPUs; they have the names and the order of EL2's own list
 * (module/abi/contract/stats.rs). They are read one after another while the machine runs, so
 * they are not a snapshot of one instant.
 *
 * The memory that mvirt has taken from the host is the sum of @image_bytes, @stack_bytes,
 * @meta_bytes, @el2_table_bytes, @host_table_bytes, @pool_bytes and @el1_bytes.
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
};

/* The size of struct mvirt_info in its first version: the least that a caller may pass. */
#define MVIRT_INFO_SIZE_VER1	192

/*
 * The number does not carry the structure's size, so that it stays the same when the structure
 * grows.
 */
#define MVIRT_GET_INFO		_IO(MVIRT_IOC, MVIRT_CMD_GET_INFO)

#endif /* _UAPI_LINUX_MVIRT_H */
