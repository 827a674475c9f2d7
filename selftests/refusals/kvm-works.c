// SPDX-License-Identifier: GPL-2.0
/* The KVM that was there first still has EL2: it runs a virtual machine, on each CPU. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "machine.h"

#define MEMORY	0x80000000ULL	/* the guest's one page, which its code is in */
#define DEVICE	0x08000000ULL	/* nothing: a write there ends KVM_RUN */
#define EXITS	3
#define REG_PC	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | \
		 KVM_REG_ARM_CORE_REG(regs.pc))

/* Counts up at DEVICE, and needs nothing but that: no stack, no vectors, no interrupt. */
static const uint32_t payload[] = {
	0xd2a10000,	/*	mov	x0, #0x08000000	*/
	0x52800001,	/*	mov	w1, #0		*/
	0x11000421,	/* 1:	add	w1, w1, #1	*/
	0xb9000001,	/*	str	w1, [x0]	*/
	0x17fffffe,	/*	b	1b		*/
};

FIXTURE(kvm)
{
	int kvm;
	int vm;
	int vcpu;
	void *memory;
	struct kvm_run *run;
};

FIXTURE_SETUP(kvm)
{
	size_t page = sysconf(_SC_PAGESIZE);
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = MEMORY, .memory_size = page };
	struct kvm_vcpu_init init = {};
	uint64_t pc = MEMORY;
	struct kvm_one_reg reg = { .id = REG_PC, .addr = (uintptr_t)&pc };
	int size;

	self->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->kvm);
	self->memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memcpy(self->memory, payload, sizeof(payload));
	slot.userspace_addr = (uintptr_t)self->memory;

	self->vm = ioctl(self->kvm, KVM_CREATE_VM, 0);
	ASSERT_LE(0, self->vm);
	ASSERT_EQ(0, ioctl(self->vm, KVM_SET_USER_MEMORY_REGION, &slot));
	self->vcpu = ioctl(self->vm, KVM_CREATE_VCPU, 0);
	ASSERT_LE(0, self->vcpu);
	ASSERT_EQ(0, ioctl(self->vm, KVM_ARM_PREFERRED_TARGET, &init));
	ASSERT_EQ(0, ioctl(self->vcpu, KVM_ARM_VCPU_INIT, &init));
	ASSERT_EQ(0, ioctl(self->vcpu, KVM_SET_ONE_REG, &reg));
	size = ioctl(self->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	ASSERT_LE((int)sizeof(*self->run), size);
	self->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self->vcpu, 0);
	ASSERT_NE(MAP_FAILED, self->run);
}

FIXTURE_TEARDOWN(kvm)
{
	close(self->vcpu);
	close(self->vm);
	close(self->kvm);
}

TEST_F(kvm, a_guest_runs_on_each_cpu)
{
	uint32_t written, count = 0;
	int cpu, i;

	for (cpu = 0; cpu < cpus_possible(); cpu++) {
		ASSERT_EQ(0, pin_to_cpu(cpu));
		for (i = 0; i < EXITS; i++) {
			ASSERT_EQ(0, ioctl(self->vcpu, KVM_RUN, 0)) {
				TH_LOG("CPU %d: %s", cpu, strerror(errno));
			}
			ASSERT_EQ(KVM_EXIT_MMIO, self->run->exit_reason);
			ASSERT_EQ(DEVICE, self->run->mmio.phys_addr);
			ASSERT_EQ(sizeof(written), self->run->mmio.len);
			ASSERT_TRUE(self->run->mmio.is_write);
			memcpy(&written, self->run->mmio.data, sizeof(written));
			ASSERT_EQ(++count, written);
		}
	}
}

TEST_HARNESS_MAIN
