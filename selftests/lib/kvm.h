/* SPDX-License-Identifier: GPL-2.0 */
/* /dev/mvirt as a VMM sees it. Errors are answered as -errno. */
#ifndef MVIRT_SELFTEST_KVM_H
#define MVIRT_SELFTEST_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mvirt.h"

/* What the toolchain's headers may be too old for. */
#ifndef KVM_CAP_USER_MEMORY2
#define KVM_CAP_USER_MEMORY2	231
struct kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};
#define KVM_SET_USER_MEMORY_REGION2	_IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#endif

#define PROTECTED	KVM_VM_TYPE_ARM_PROTECTED

/* An ioctl's result, or -errno. */
long kvm_call(int fd, unsigned long cmd, unsigned long arg);
/* The open device, or -errno. */
int kvm_open(void);
/* A VM of this type, or -errno. */
int kvm_vm(unsigned long type);
/* A slot. */
long kvm_slot(int vm, uint32_t slot, uint32_t flags, uint64_t ipa, void *at, size_t size);
/* A vCPU after KVM_ARM_VCPU_INIT with PSCI, and its shared page. */
int kvm_vcpu(int vm, unsigned int index, bool off, struct kvm_run **run);
long kvm_get(int vcpu, uint64_t reg, void *value);
long kvm_set(int vcpu, uint64_t reg, uint64_t value);
/* A GICv3 at these addresses, initialised; its descriptor. */
int kvm_gic(int vm, uint64_t dist, uint64_t redist);
long kvm_attr(int device, unsigned long cmd, uint32_t group, uint64_t attr, void *value);
/* What mvirt has taken. */
struct mvirt_info kvm_info(int device);
/* Bytes that EL2 has of the host's, as tables or for them: a block of the host's stage 2 that was split may rejoin. */
uint64_t kvm_taken(const struct mvirt_info *info);

#define CORE_X(n)	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | \
			 KVM_REG_ARM_CORE_REG(regs.regs[n]))
#define CORE(name)	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | \
			 KVM_REG_ARM_CORE_REG(name))

#endif
