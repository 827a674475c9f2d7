// SPDX-License-Identifier: GPL-2.0
/* What the ioctls of VMs, vCPUs and GICs take and refuse: KVM's errors, by Documentation/uapi.rst. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "harness.h"
#include "kvm.h"

#define PAGE	((size_t)sysconf(_SC_PAGESIZE))

FIXTURE(vm)
{
	int vm;
	char *memory;
};

FIXTURE_VARIANT(vm)
{
	unsigned long type;
};

FIXTURE_VARIANT_ADD(vm, plain) { .type = 0 };
FIXTURE_VARIANT_ADD(vm, guarded) { .type = PROTECTED };

FIXTURE_SETUP(vm)
{
	self->vm = kvm_vm(variant->type);
	ASSERT_LE(0, self->vm);
	self->memory = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
}

FIXTURE_TEARDOWN(vm)
{
	close(self->vm);
}

TEST(types_of_vms)
{
	int device = kvm_open();
	long limit = kvm_call(device, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);
	long bits;

	ASSERT_LE(40, limit);
	for (bits = 1; bits < 256; bits++) {
		long vm = kvm_call(device, KVM_CREATE_VM, bits);

		if (bits < 32 || bits > limit) {
			EXPECT_EQ(-EINVAL, vm);
		} else {
			EXPECT_LE(0, vm);
			close(vm);
		}
	}
	for (bits = 8; bits < 64; bits++)
		if (bits != 31)
			EXPECT_EQ(-EINVAL, kvm_call(device, KVM_CREATE_VM, 1UL << bits));
	close(device);
}

TEST_F(vm, capabilities)
{
	bool guarded = variant->type & PROTECTED;

	EXPECT_EQ(guarded, kvm_call(self->vm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PROTECTED_VM));
	EXPECT_EQ(!guarded, kvm_call(self->vm, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM));
	EXPECT_EQ(!guarded, kvm_call(self->vm, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_MMU));
	EXPECT_EQ(8, kvm_call(self->vm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS));
	EXPECT_EQ(0, kvm_call(self->vm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PMU_V3));
	EXPECT_EQ(0, kvm_call(self->vm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_SVE));
	EXPECT_EQ(0, kvm_call(self->vm, KVM_CHECK_EXTENSION, KVM_CAP_SIGNAL_MSI));
	EXPECT_EQ(-ENOTTY, kvm_call(self->vm, KVM_RUN, 0));
}

TEST_F(vm, the_firmware_of_a_protected_vm)
{
	struct kvm_protected_vm_info info = { .firmware_size = 1 };
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ARM_PROTECTED_VM,
		.flags = KVM_CAP_ARM_PROTECTED_VM_FLAGS_INFO,
		.args = { (uintptr_t)&info },
	};
	bool guarded = variant->type & PROTECTED;

	EXPECT_EQ(guarded ? 0 : -EINVAL, kvm_call(self->vm, KVM_ENABLE_CAP, (uintptr_t)&cap));
	EXPECT_EQ(!guarded, info.firmware_size);
	cap.args[0] = 0;
	EXPECT_EQ(guarded ? -EFAULT : -EINVAL, kvm_call(self->vm, KVM_ENABLE_CAP, (uintptr_t)&cap));
	cap.flags = KVM_CAP_ARM_PROTECTED_VM_FLAGS_SET_FW_IPA;
	cap.args[0] = 0x80000000;
	EXPECT_EQ(-EINVAL, kvm_call(self->vm, KVM_ENABLE_CAP, (uintptr_t)&cap));
}

TEST_F(vm, slots)
{
	bool guarded = variant->type & PROTECTED;
	uint64_t ipa = 0x80000000;
	char *at = self->memory;

	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 0, 0, ipa, at, 0));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 0, 0, ipa + 1, at, PAGE));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 0, 0, ipa, at + 1, PAGE));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 0, 0, ipa, at, PAGE + 1));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 0, 0, ipa, (void *)(1UL << 60), PAGE));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 1 << 16, 0, ipa, at, PAGE));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 0, 4, ipa, at, PAGE));
	EXPECT_EQ(-EFAULT, kvm_slot(self->vm, 0, 0, 1UL << 40, at, PAGE));
	EXPECT_EQ(guarded ? -EPERM : -EINVAL,
		  kvm_slot(self->vm, 0, KVM_MEM_LOG_DIRTY_PAGES, ipa, at, PAGE));
	EXPECT_EQ(guarded ? -EPERM : 0, kvm_slot(self->vm, 9, KVM_MEM_READONLY, ipa, at, PAGE));
	EXPECT_EQ(guarded ? -EINVAL : 0, kvm_slot(self->vm, 9, 0, ipa, at, 0));

	ASSERT_EQ(0, kvm_slot(self->vm, 0, 0, ipa, at, 4 * PAGE));
	ASSERT_EQ(0, kvm_slot(self->vm, 1, 0, ipa + 4 * PAGE, at + 4 * PAGE, 4 * PAGE));
	EXPECT_EQ(0, kvm_slot(self->vm, 0, 0, ipa, at, 4 * PAGE));
	EXPECT_EQ(-EEXIST, kvm_slot(self->vm, 2, 0, ipa + 7 * PAGE, at, 4 * PAGE));
	EXPECT_EQ(-EEXIST, kvm_slot(self->vm, 2, 0, ipa - PAGE, at, 16 * PAGE));
	EXPECT_EQ(-EEXIST, kvm_slot(self->vm, 0, 0, ipa + PAGE, at, 4 * PAGE));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 0, 0, ipa, at, 8 * PAGE));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 0, 0, ipa, at + PAGE, 4 * PAGE));
	/* Moved, with part of where it was. */
	EXPECT_EQ(0, kvm_slot(self->vm, 0, 0, ipa - PAGE, at, 4 * PAGE));
	EXPECT_EQ(0, kvm_slot(self->vm, 2, 0, ipa + 3 * PAGE, at, PAGE));
	EXPECT_EQ(0, kvm_slot(self->vm, 1, 0, 0, NULL, 0));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, 1, 0, 0, NULL, 0));
}

TEST_F(vm, as_many_slots_as_are_told)
{
	long nr = kvm_call(self->vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	long n;

	ASSERT_LT(0, nr);
	for (n = 0; n < nr; n++)
		ASSERT_EQ(0, kvm_slot(self->vm, n, 0, (nr - n) * PAGE, self->memory, PAGE));
	EXPECT_EQ(-EINVAL, kvm_slot(self->vm, n, 0, (nr + 1) * PAGE, self->memory, PAGE));
}

TEST_F(vm, region2_is_the_same)
{
	struct kvm_userspace_memory_region2 region = {
		.guest_phys_addr = 0x10000,
		.memory_size = PAGE,
		.userspace_addr = (uintptr_t)self->memory,
		.flags = 1 << 2,
	};

	EXPECT_EQ(-EINVAL, kvm_call(self->vm, KVM_SET_USER_MEMORY_REGION2, (uintptr_t)&region));
	region.flags = 0;
	EXPECT_EQ(0, kvm_call(self->vm, KVM_SET_USER_MEMORY_REGION2, (uintptr_t)&region));
	EXPECT_EQ(-EEXIST, kvm_slot(self->vm, 1, 0, 0x10000, self->memory, PAGE));
}

TEST_F(vm, vcpus)
{
	struct kvm_vcpu_init init = { .target = KVM_ARM_TARGET_GENERIC_V8 };
	struct kvm_mp_state state;
	uint64_t value;
	int n, vcpu[8];

	for (n = 0; n < 8; n++) {
		vcpu[n] = kvm_call(self->vm, KVM_CREATE_VCPU, n);
		ASSERT_LE(0, vcpu[n]);
		EXPECT_EQ(-EEXIST, kvm_call(self->vm, KVM_CREATE_VCPU, n));
	}
	EXPECT_EQ(-EINVAL, kvm_call(self->vm, KVM_CREATE_VCPU, 8));

	EXPECT_EQ(-ENOEXEC, kvm_call(vcpu[0], KVM_RUN, 0));
	EXPECT_EQ(-ENOEXEC, kvm_get(vcpu[0], CORE(regs.pc), &value));
	init.target = KVM_ARM_TARGET_AEM_V8;
	EXPECT_EQ(-EINVAL, kvm_call(vcpu[0], KVM_ARM_VCPU_INIT, (uintptr_t)&init));
	init.target = KVM_ARM_TARGET_GENERIC_V8;
	init.features[0] = 1 << KVM_ARM_VCPU_PMU_V3;
	EXPECT_EQ(-EINVAL, kvm_call(vcpu[0], KVM_ARM_VCPU_INIT, (uintptr_t)&init));
	init.features[0] = 1U << 31;
	EXPECT_EQ(-ENOENT, kvm_call(vcpu[0], KVM_ARM_VCPU_INIT, (uintptr_t)&init));
	init.features[0] = 1 << KVM_ARM_VCPU_PSCI_0_2 | 1 << KVM_ARM_VCPU_POWER_OFF;
	EXPECT_EQ(0, kvm_call(vcpu[0], KVM_ARM_VCPU_INIT, (uintptr_t)&init));
	EXPECT_EQ(0, kvm_call(vcpu[0], KVM_GET_MP_STATE, (uintptr_t)&state));
	EXPECT_EQ(KVM_MP_STATE_STOPPED, state.mp_state);
	init.features[0] = 1 << KVM_ARM_VCPU_PSCI_0_2;
	EXPECT_EQ(0, kvm_call(vcpu[0], KVM_ARM_VCPU_INIT, (uintptr_t)&init));
	EXPECT_EQ(0, kvm_call(vcpu[0], KVM_GET_MP_STATE, (uintptr_t)&state));
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, state.mp_state);
	init.features[0] = 0;
	EXPECT_EQ(-EINVAL, kvm_call(vcpu[0], KVM_ARM_VCPU_INIT, (uintptr_t)&init));
	state.mp_state = KVM_MP_STATE_HALTED;
	EXPECT_EQ(-EINVAL, kvm_call(vcpu[0], KVM_SET_MP_STATE, (uintptr_t)&state));
	EXPECT_EQ(-EINVAL, kvm_call(vcpu[0], KVM_RUN, 1));
	EXPECT_EQ(-ENOTTY, kvm_call(vcpu[0], KVM_CREATE_VCPU, 0));
	for (n = 0; n < 8; n++)
		close(vcpu[n]);
}

TEST_F(vm, registers)
{
	struct kvm_run *run;
	uint64_t value, sys = ARM64_SYS_REG(3, 0, 0, 0, 5);
	unsigned __int128 quad = 1, back = 0;
	struct kvm_one_reg v0 = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U128 | KVM_REG_ARM_CORE |
		      KVM_REG_ARM_CORE_REG(fp_regs.vregs[31]),
		.addr = (uintptr_t)&quad,
	};
	int vcpu = kvm_vcpu(self->vm, 3, false, &run);
	int n;

	ASSERT_LE(0, vcpu);
	for (n = 0; n < 31; n++)
		EXPECT_EQ(0, kvm_set(vcpu, CORE_X(n), 0x1000 + n));
	for (n = 0; n < 31; n++) {
		EXPECT_EQ(0, kvm_get(vcpu, CORE_X(n), &value));
		EXPECT_EQ(0x1000 + n, value);
	}
	EXPECT_EQ(0, kvm_set(vcpu, CORE(regs.pc), 0x80001000));
	EXPECT_EQ(0, kvm_get(vcpu, CORE(regs.pc), &value));
	EXPECT_EQ(0x80001000, value);
	quad = (quad << 64 | 2) << 1;
	EXPECT_EQ(0, kvm_call(vcpu, KVM_SET_ONE_REG, (uintptr_t)&v0));
	v0.addr = (uintptr_t)&back;
	EXPECT_EQ(0, kvm_call(vcpu, KVM_GET_ONE_REG, (uintptr_t)&v0));
	EXPECT_TRUE(quad == back);
	/* MPIDR_EL1: KVM's formula. */
	EXPECT_EQ(0, kvm_get(vcpu, sys, &value));
	EXPECT_EQ(0x80000003, value);
	/* The wrong size, half a register, another architecture, nothing. */
	EXPECT_EQ(-ENOENT, kvm_get(vcpu, CORE(regs.pc) ^ KVM_REG_SIZE_U64 ^ KVM_REG_SIZE_U32, &value));
	EXPECT_EQ(-ENOENT, kvm_get(vcpu, CORE(regs.pc) + 1, &value));
	EXPECT_EQ(-ENOENT, kvm_get(vcpu, CORE(regs.pc) ^ KVM_REG_ARM64 ^ KVM_REG_X86, &value));
	EXPECT_EQ(-ENOENT, kvm_get(vcpu, ARM64_SYS_REG(3, 7, 15, 15, 7), &value));
	EXPECT_EQ(-EFAULT, kvm_get(vcpu, CORE(regs.pc), NULL));
	close(vcpu);
}

/* What is on its way between a read and the next: KVM's numbers for CNTPCT_EL0 and CNTVCT_EL0. */
static bool is_counter(uint64_t reg)
{
	return reg == KVM_REG_ARM_PTIMER_CNT || reg == KVM_REG_ARM_TIMER_CNT;
}

TEST_F(vm, registers_that_are_listed_are_readable_and_writable)
{
	struct kvm_reg_list *list;
	struct kvm_run *run;
	uint64_t n, none = 0;
	int vcpu = kvm_vcpu(self->vm, 0, false, &run);

	ASSERT_LE(0, vcpu);
	EXPECT_EQ(-E2BIG, kvm_call(vcpu, KVM_GET_REG_LIST, (uintptr_t)&none));
	/* 75 of the core's, 160 System registers, 8 of firmware, 14 caches; keys where there are any. */
	EXPECT_TRUE(none == 257 || none == 267) {
		TH_LOG("%llu registers", (unsigned long long)none);
	}
	list = calloc(none + 1, sizeof(uint64_t));
	list->n = none - 1;
	EXPECT_EQ(-E2BIG, kvm_call(vcpu, KVM_GET_REG_LIST, (uintptr_t)list));
	EXPECT_EQ(none, list->n);
	ASSERT_EQ(0, kvm_call(vcpu, KVM_GET_REG_LIST, (uintptr_t)list));
	EXPECT_EQ(none, list->n);
	for (n = 0; n < none; n++) {
		unsigned __int128 value = 0, again = 0;
		struct kvm_one_reg one = { .id = list->reg[n], .addr = (uintptr_t)&value };
		uint64_t other;

		EXPECT_EQ(0, kvm_get(vcpu, one.id, &value));
		EXPECT_EQ(0, kvm_call(vcpu, KVM_SET_ONE_REG, (uintptr_t)&one)) {
			TH_LOG("register %#llx", list->reg[n]);
		}
		EXPECT_EQ(0, kvm_get(vcpu, one.id, &again));
		if (!is_counter(one.id))
			EXPECT_TRUE(value == again);
		/* Listed once. */
		for (other = 0; other < n; other++)
			EXPECT_NE(list->reg[other], one.id);
	}
	free(list);
	close(vcpu);
}

TEST_F(vm, registers_that_are_not_to_be_changed)
{
	static const struct {
		uint64_t reg;
		uint64_t value;
		long error;
	} table[] = {
		{ KVM_REG_ARM_PSCI_VERSION, 0x10003, 0 },
		{ KVM_REG_ARM_PSCI_VERSION, 0x10002, -EINVAL },
		{ KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1, 0, 0 },
		{ KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1, 3, -EINVAL },
		{ KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2, 2, -EINVAL },
		{ KVM_REG_ARM_STD_BMAP, 1ULL << 63, -EINVAL },
		{ KVM_REG_ARM_STD_HYP_BMAP, 1, -EINVAL },
		{ KVM_REG_ARM_VENDOR_HYP_BMAP, 0, -EINVAL },
		/* MIDR_EL1, CTR_EL0, CLIDR_EL1, ID_AA64MMFR0_EL1. */
		{ ARM64_SYS_REG(3, 0, 0, 0, 0), 1, -EINVAL },
		{ ARM64_SYS_REG(3, 3, 0, 0, 1), 1, -EINVAL },
		{ ARM64_SYS_REG(3, 1, 0, 0, 1), 0, -EINVAL },
		{ ARM64_SYS_REG(3, 0, 0, 7, 0), ~0ULL, -EINVAL },
		/* DBGBVR15_EL1, DACR32_EL2, SPSR_abt. */
		{ ARM64_SYS_REG(2, 0, 0, 15, 4), 1, -EINVAL },
		{ ARM64_SYS_REG(3, 4, 3, 0, 0), 1, -EINVAL },
		{ CORE(spsr[1]), 1, -EINVAL },
		{ CORE(spsr[0]), 0x3c5, 0 },
		{ CORE(regs.pstate), 0x1d3, -EINVAL },
		/* The counters, the timers. */
		{ KVM_REG_ARM_PTIMER_CNT, 0, 0 },
		{ KVM_REG_ARM_TIMER_CNT, 1ULL << 50, 0 },
		{ KVM_REG_ARM_PTIMER_CVAL, ~0ULL, 0 },
		/* There is no such register. */
		{ KVM_REG_ARM_FW_REG(4), 0, -ENOENT },
		{ KVM_REG_ARM_FW_REG(0x100), 0, -ENOENT },
		{ KVM_REG_ARM_FW_FEAT_BMAP_REG(4), 0, -ENOENT },
		{ KVM_REG_ARM_PSCI_VERSION ^ KVM_REG_SIZE_U64 ^ KVM_REG_SIZE_U32, 0, -ENOENT },
		{ KVM_REG_ARM64 | KVM_REG_SIZE_U32 | KVM_REG_ARM_DEMUX | 14, 0, -ENOENT },
		{ KVM_REG_ARM64 | KVM_REG_SIZE_U32 | KVM_REG_ARM_DEMUX | 1 << 8, 0, -ENOENT },
		{ KVM_REG_ARM64 | KVM_REG_SIZE_U32 | KVM_REG_ARM_DEMUX, 0x7fffffff, -EINVAL },
	};
	struct kvm_run *run;
	uint64_t value;
	size_t n;
	int vcpu = kvm_vcpu(self->vm, 0, false, &run);

	ASSERT_LE(0, vcpu);
	for (n = 0; n < sizeof(table) / sizeof(table[0]); n++)
		EXPECT_EQ(table[n].error, kvm_set(vcpu, table[n].reg, table[n].value)) {
			TH_LOG("row %zu, register %#llx", n, (unsigned long long)table[n].reg);
		}
	/* The VM's counter goes on from there. */
	EXPECT_EQ(0, kvm_get(vcpu, KVM_REG_ARM_TIMER_CNT, &value));
	EXPECT_LE(1ULL << 50, value);
	EXPECT_GT(1ULL << 51, value);
	EXPECT_EQ(0, kvm_get(vcpu, KVM_REG_ARM_PTIMER_CVAL, &value));
	EXPECT_EQ(~0ULL, value);
	close(vcpu);
}

TEST_F(vm, gics)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_ARM_VGIC_ITS };
	struct kvm_irq_level level = { .irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | 40 };
	struct kvm_run *run;
	uint64_t dist = 0x8000000, redist = 0x80a0000, value;
	uint32_t irqs = 63;
	int vcpu;

	EXPECT_EQ(-ENODEV, kvm_call(self->vm, KVM_CREATE_DEVICE, (uintptr_t)&device));
	device.type = KVM_DEV_TYPE_ARM_VGIC_V2;
	EXPECT_EQ(-ENODEV, kvm_call(self->vm, KVM_CREATE_DEVICE, (uintptr_t)&device));
	device.type = KVM_DEV_TYPE_ARM_VGIC_V3;
	device.flags = KVM_CREATE_DEVICE_TEST;
	EXPECT_EQ(0, kvm_call(self->vm, KVM_CREATE_DEVICE, (uintptr_t)&device));
	EXPECT_EQ(-ENXIO, kvm_call(self->vm, KVM_IRQ_LINE, (uintptr_t)&level));
	device.flags = 0;
	ASSERT_EQ(0, kvm_call(self->vm, KVM_CREATE_DEVICE, (uintptr_t)&device));
	EXPECT_EQ(-EEXIST, kvm_call(self->vm, KVM_CREATE_DEVICE, (uintptr_t)&device));

	vcpu = kvm_vcpu(self->vm, 0, false, &run);
	ASSERT_LE(0, vcpu);
	EXPECT_EQ(-EBUSY, kvm_call(vcpu, KVM_RUN, 0));
#define SET(group, attr, value)	kvm_attr(device.fd, KVM_SET_DEVICE_ATTR, group, attr, value)
#define GET(group, attr, value)	kvm_attr(device.fd, KVM_GET_DEVICE_ATTR, group, attr, value)
#define HAS(group, attr)	kvm_attr(device.fd, KVM_HAS_DEVICE_ATTR, group, attr, NULL)
	EXPECT_EQ(-ENXIO, HAS(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V2_ADDR_TYPE_DIST));
	EXPECT_EQ(0, HAS(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION));
	EXPECT_EQ(-ENXIO, HAS(99, 0));
	EXPECT_EQ(-EINVAL, SET(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &irqs));
	irqs = 128;
	EXPECT_EQ(0, SET(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &irqs));
	EXPECT_EQ(-EBUSY, SET(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &irqs));
	value = dist + 4096;
	EXPECT_EQ(-EINVAL, SET(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &value));
	value = 1UL << 40;
	EXPECT_EQ(-E2BIG, SET(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &value));
	EXPECT_EQ(0, SET(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &dist));
	EXPECT_EQ(-EEXIST, SET(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &dist));
	EXPECT_EQ(0, SET(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, &redist));
	EXPECT_EQ(-EFAULT, SET(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, NULL));
	EXPECT_EQ(0, SET(KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL));
	EXPECT_EQ(0, GET(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &value));
	EXPECT_EQ(dist, value);
	EXPECT_EQ(0, GET(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &irqs));
	EXPECT_EQ(128, irqs);
	EXPECT_EQ(-EBUSY, kvm_call(self->vm, KVM_CREATE_VCPU, 1));

	EXPECT_EQ(0, kvm_call(self->vm, KVM_IRQ_LINE, (uintptr_t)&level));
	level.irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | 128;
	EXPECT_EQ(-EINVAL, kvm_call(self->vm, KVM_IRQ_LINE, (uintptr_t)&level));
	level.irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | 31;
	EXPECT_EQ(-EINVAL, kvm_call(self->vm, KVM_IRQ_LINE, (uintptr_t)&level));
	level.irq = KVM_ARM_IRQ_TYPE_PPI << KVM_ARM_IRQ_TYPE_SHIFT | 27;
	EXPECT_EQ(0, kvm_call(self->vm, KVM_IRQ_LINE, (uintptr_t)&level));
	level.irq = KVM_ARM_IRQ_TYPE_PPI << KVM_ARM_IRQ_TYPE_SHIFT | 15;
	EXPECT_EQ(-EINVAL, kvm_call(self->vm, KVM_IRQ_LINE, (uintptr_t)&level));
	level.irq = KVM_ARM_IRQ_TYPE_PPI << KVM_ARM_IRQ_TYPE_SHIFT | 1 << 16 | 27;
	EXPECT_EQ(-EINVAL, kvm_call(self->vm, KVM_IRQ_LINE, (uintptr_t)&level));
	level.irq = KVM_ARM_IRQ_TYPE_CPU << KVM_ARM_IRQ_TYPE_SHIFT;
	EXPECT_EQ(-ENXIO, kvm_call(self->vm, KVM_IRQ_LINE, (uintptr_t)&level));
	close(vcpu);
	close(device.fd);
}

TEST(a_vm_outlives_its_file_by_a_vcpu)
{
	struct kvm_run *run;
	uint64_t value;
	int vm = kvm_vm(0);
	int vcpu = kvm_vcpu(vm, 0, false, &run);

	ASSERT_LE(0, vcpu);
	close(vm);
	EXPECT_EQ(0, kvm_get(vcpu, CORE(regs.pc), &value));
	close(vcpu);
	run->immediate_exit = 1;
	munmap(run, PAGE);
}

TEST(other_processes_may_not)
{
	int vm = kvm_vm(0), status;
	pid_t child = fork();

	if (!child)
		_exit(kvm_call(vm, KVM_CHECK_EXTENSION, KVM_CAP_ONE_REG) != -EIO);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	close(vm);
}

TEST(thirty_two_vms_and_not_one_more)
{
	int vms[64], n;
	int device = kvm_open();
	struct mvirt_info before, after;

	before = kvm_info(device);
	for (n = 0; n < 64; n++) {
		vms[n] = kvm_vm(n & 1 ? PROTECTED : 0);
		if (vms[n] < 0)
			break;
	}
	EXPECT_EQ(32, n);
	EXPECT_EQ(-EBUSY, vms[n]);
	while (n--)
		close(vms[n]);
	after = kvm_info(device);
	EXPECT_EQ(kvm_taken(&before), kvm_taken(&after));
	EXPECT_EQ(before.vm_bytes, after.vm_bytes);
	EXPECT_EQ(before.guest_table_bytes, after.guest_table_bytes);
	close(device);
}

TEST_HARNESS_MAIN
