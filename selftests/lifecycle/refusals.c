// SPDX-License-Identifier: GPL-2.0
/*
 * Wrong calls: each gets the errno that KVM gives, changes nothing, and a VM that has been through all
 * of them runs. KVM's own are those of Linux 6.18 and 7.3.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "guest.h"
#include "tests.h"

GUEST_NUMBERS(LIFECYCLE_PAYLOADS);

#define PAGE	((uint64_t)sysconf(_SC_PAGESIZE))
#define MIB	(1UL << 20)

FIXTURE(refusals)
{
	struct vm vm;
};

FIXTURE_SETUP(refusals)
{
	MAKE_VM(&self->vm);
}

FIXTURE_TEARDOWN(refusals)
{
	vm_destroy(&self->vm);
}

/* What an ioctl gives: its result, or -errno. */
static long call(int fd, unsigned long number, unsigned long arg)
{
	long result = ioctl(fd, number, arg);

	return result < 0 ? -errno : result;
}

/* After all that was refused: the same VM runs. */
static void expect_runs(struct __test_metadata *const _metadata, struct vm *vm)
{
	guest_expect(_metadata, vm);
	EXPECT_TRUE(vm->done);
	EXPECT_LT(0, vm->checks);
}

TEST_F(refusals, of_vm_types)
{
	struct vm *vm = &self->vm;
	long limit = call(vm->dev, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);
	int fd;

	ASSERT_LE(32, limit);
	/* pKVM has one size for all, whatever is asked for. */
	if (!host_is_pkvm()) {
		EXPECT_EQ(-EINVAL, call(vm->dev, KVM_CREATE_VM, 31));
		EXPECT_EQ(-EINVAL, call(vm->dev, KVM_CREATE_VM, limit + 1));
		EXPECT_EQ(-EINVAL, call(vm->dev, KVM_CREATE_VM, 255));
	}
	EXPECT_EQ(-EINVAL, call(vm->dev, KVM_CREATE_VM, 1UL << 8));
	EXPECT_EQ(-EINVAL, call(vm->dev, KVM_CREATE_VM, 1UL << 30));
	EXPECT_EQ(-EINVAL, call(vm->dev, KVM_CREATE_VM, 1UL << 32));
	EXPECT_EQ(-EINVAL, call(vm->dev, KVM_CREATE_VM, ~0UL));
	/* The least and the most. */
	fd = call(vm->dev, KVM_CREATE_VM, 32 | (guests_protected() ? VM_TYPE_PROTECTED : 0));
	EXPECT_LE(0, fd);
	close(fd);
	fd = call(vm->dev, KVM_CREATE_VM, limit | (guests_protected() ? VM_TYPE_PROTECTED : 0));
	EXPECT_LE(0, fd);
	close(fd);
	EXPECT_EQ(-EINVAL, call(vm->dev, KVM_GET_API_VERSION, 1));
	EXPECT_EQ(-EINVAL, call(vm->dev, KVM_GET_VCPU_MMAP_SIZE, 1));
}

TEST_F(refusals, of_vcpus)
{
	struct vm *vm = &self->vm;
	long max = call(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	long max_id = call(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPU_ID);
	int fd, i;

	ASSERT_LE(GUEST_MAX_CPUS, max);
	if (max_id <= 0)
		max_id = max;
	EXPECT_EQ(-EINVAL, call(vm->fd, KVM_CREATE_VCPU, max_id));
	EXPECT_EQ(-EINVAL, call(vm->fd, KVM_CREATE_VCPU, 1UL << 20));
	EXPECT_EQ(-EINVAL, call(vm->fd, KVM_CREATE_VCPU, -1UL));
	ASSERT_VM(vm, vm_build(vm, 2, GUEST_RAM_SIZE, BACKING_ANONYMOUS, TEST_answer));
	/* The GIC is initialized for those that there are. */
	EXPECT_EQ(-EBUSY, call(vm->fd, KVM_CREATE_VCPU, 2));
	expect_runs(_metadata, vm);

	vm_destroy(vm);
	ASSERT_VM(vm, vm_create(vm, guests_protected(), 0));
	for (i = 0; i < max; i++) {
		fd = call(vm->fd, KVM_CREATE_VCPU, i);
		ASSERT_LE(0, fd) {
			TH_LOG("vCPU %d of %ld", i, max);
		}
		close(fd);
	}
	EXPECT_EQ(-EINVAL, call(vm->fd, KVM_CREATE_VCPU, max));

	/* One that is there already. */
	vm_destroy(vm);
	ASSERT_VM(vm, vm_create(vm, guests_protected(), 0));
	ASSERT_VM(vm, vcpu_create(vm, 0));
	EXPECT_EQ(-EEXIST, call(vm->fd, KVM_CREATE_VCPU, 0));
}

TEST_F(refusals, of_vcpu_init)
{
	struct vm *vm = &self->vm;
	struct kvm_vcpu_init init, wrong;
	struct vcpu *vcpu = &vm->vcpus[0];

	ASSERT_VM(vm, vm_add_slot(vm, GUEST_RAM_BASE, GUEST_RAM_SIZE, BACKING_ANONYMOUS, 0));
	ASSERT_VM(vm, vm_create_gic(vm));
	ASSERT_VM(vm, vcpu_create(vm, 0));
	/* Before it is initialized it neither runs nor has registers. */
	EXPECT_EQ(-ENOEXEC, vcpu_run_once(vcpu));
	EXPECT_EQ(-ENOEXEC, vcpu_set_reg(vcpu, CORE_REG(regs.pc), 0));
	EXPECT_EQ(-ENOEXEC, vcpu_get_reg(vcpu, MPIDR_REG, &(uint64_t){ 0 }));

	ASSERT_EQ(0, call(vm->fd, KVM_ARM_PREFERRED_TARGET, (unsigned long)&init));
	wrong = init;
	wrong.target = 0x1234;
	EXPECT_EQ(-EINVAL, call(vcpu->fd, KVM_ARM_VCPU_INIT, (unsigned long)&wrong));
	wrong = init;
	wrong.features[0] |= 1U << 31;
	EXPECT_EQ(-ENOENT, call(vcpu->fd, KVM_ARM_VCPU_INIT, (unsigned long)&wrong));
	wrong = init;
	wrong.features[3] = 1;
	EXPECT_EQ(-ENOENT, call(vcpu->fd, KVM_ARM_VCPU_INIT, (unsigned long)&wrong));
	EXPECT_EQ(-EFAULT, call(vcpu->fd, KVM_ARM_VCPU_INIT, 8));
	EXPECT_EQ(-ENOEXEC, vcpu_run_once(vcpu));
	EXPECT_EQ(-EFAULT, call(vm->fd, KVM_ARM_PREFERRED_TARGET, 8));

	ASSERT_VM(vm, vcpu_init(vcpu, false));
	/* The same again is a reset; another set of features is none. */
	EXPECT_EQ(0, vcpu_init(vcpu, false));
	EXPECT_EQ(-EINVAL, call(vcpu->fd, KVM_ARM_VCPU_INIT, (unsigned long)&init));

	/* A register that there is not, one of the wrong size, and a bad pointer. */
	EXPECT_EQ(-ENOENT, vcpu_set_reg(vcpu, KVM_REG_ARM64 | KVM_REG_SIZE_U64 | 0x7f0000, 0));
	EXPECT_NE(0, vcpu_set_reg(vcpu, CORE_REG(regs.pc) ^ KVM_REG_SIZE_U64 ^ KVM_REG_SIZE_U32, 0));
	EXPECT_NE(0, vcpu_set_reg(vcpu, CORE_REG(regs.pc) + 1, 0));
	EXPECT_EQ(-EFAULT, call(vcpu->fd, KVM_SET_ONE_REG, (unsigned long)&(struct kvm_one_reg){
		.id = CORE_REG(regs.pc), .addr = 8 }));

	/* And then it runs. */
	memcpy(vm_host(vm, GUEST_RAM_BASE), payload_image, payload_image_end - payload_image);
	ASSERT_VM(vm, vm_init_gic(vm));
	ASSERT_VM(vm, vcpu_set_reg(vcpu, CORE_REG(regs.pc), GUEST_RAM_BASE));
	ASSERT_VM(vm, vcpu_set_reg(vcpu, CORE_REG(regs.regs[0]), TEST_answer));
	expect_runs(_metadata, vm);
}

TEST_F(refusals, of_slots)
{
	struct vm *vm = &self->vm;
	uint64_t base = GUEST_EXTRA_BASE;
	long slots = call(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	long bits = call(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);
	uint8_t *host = memory_alloc(BACKING_ANONYMOUS, 4 * MIB);

	ASSERT_NE(NULL, host);
	ASSERT_LT(0, slots);
	/* Slots above those of vm_build(), which takes the first. */
	ASSERT_EQ(0, vm_set_slot(vm, 5, base, MIB, host, 0));
	/* Overlaps: the whole, the first page, the last page, around it. */
	EXPECT_EQ(-EEXIST, vm_set_slot(vm, 6, base, MIB, host, 0));
	EXPECT_EQ(-EEXIST, vm_set_slot(vm, 6, base - MIB, MIB + PAGE, host, 0));
	EXPECT_EQ(-EEXIST, vm_set_slot(vm, 6, base + MIB - PAGE, MIB, host, 0));
	EXPECT_EQ(-EEXIST, vm_set_slot(vm, 6, base - MIB, 3 * MIB, host, 0));
	/* Not by pages: address, size, the VMM's address. */
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 6, base + 2 * MIB + 8, MIB, host, 0));
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 6, base + 2 * MIB, MIB + 8, host, 0));
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 6, base + 2 * MIB, MIB, host + 8, 0));
	/* Around the end of addresses; the kernel's; without any. */
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 6, -PAGE, 2 * PAGE, host, 0));
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 6, base + 2 * MIB, MIB, (void *)0xffff000000000000UL, 0));
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 6, base + 2 * MIB, 0, host, 0));
	/* Beyond what the VM's IPA size (40 bits by default) reaches. */
	ASSERT_LE(40, bits);
	EXPECT_EQ(-EFAULT, vm_set_slot(vm, 6, 1UL << 40, MIB, host, 0));
	EXPECT_EQ(-EFAULT, vm_set_slot(vm, 6, (1UL << 40) - PAGE, 2 * PAGE, host, 0));
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, slots, base + 2 * MIB, MIB, host, 0));
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, ~0U, base + 2 * MIB, MIB, host, 0));
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 6, base + 2 * MIB, MIB, host, 1 << 7));
	EXPECT_EQ(-EFAULT, call(vm->fd, KVM_SET_USER_MEMORY_REGION, 8));
	/* A slot cannot grow, shrink or change its memory. */
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 5, base, 2 * MIB, host, 0));
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 5, base, MIB, host + MIB, 0));
	/* What is not there cannot be removed; what is there can, before it has run; and come back. */
	EXPECT_EQ(0, vm_set_slot(vm, 5, base, 0, host, 0));
	EXPECT_EQ(-EINVAL, vm_set_slot(vm, 5, base, 0, host, 0));
	EXPECT_EQ(0, vm_set_slot(vm, 6, base, MIB, host, 0));
	/* Side by side is no overlap. */
	EXPECT_EQ(0, vm_set_slot(vm, 5, base + MIB, MIB, host + MIB, 0));

	ASSERT_VM(vm, vm_build(vm, 1, GUEST_RAM_SIZE, BACKING_ANONYMOUS, TEST_answer));
	expect_runs(_metadata, vm);
	munmap(host, 4 * MIB);
}

static long set_attr(struct vm *vm, uint32_t group, uint64_t attr, uint64_t value)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)&value };

	return call(vm->gic, KVM_SET_DEVICE_ATTR, (unsigned long)&a);
}

static long set_irqs(struct vm *vm, uint32_t irqs)
{
	return set_attr(vm, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, irqs);
}

TEST_F(refusals, of_the_gic)
{
	struct vm *vm = &self->vm;
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	const uint32_t addr = KVM_DEV_ARM_VGIC_GRP_ADDR;
	const uint64_t dist = KVM_VGIC_V3_ADDR_TYPE_DIST, redist = KVM_VGIC_V3_ADDR_TYPE_REDIST;

	/* Lines of a GIC that there is not. */
	EXPECT_EQ(-ENXIO, vm_irq_line(vm, 1 << 24 | 40, true));
	create.type = 0x1234;
	EXPECT_EQ(-ENODEV, call(vm->fd, KVM_CREATE_DEVICE, (unsigned long)&create));
	create.type = KVM_DEV_TYPE_ARM_VGIC_V3;
	create.flags = KVM_CREATE_DEVICE_TEST;
	EXPECT_EQ(0, call(vm->fd, KVM_CREATE_DEVICE, (unsigned long)&create));
	ASSERT_VM(vm, vm_create_gic(vm));
	create.flags = 0;
	EXPECT_EQ(-EEXIST, call(vm->fd, KVM_CREATE_DEVICE, (unsigned long)&create));

	/* 64 to 1024 by steps of 32, once. */
	EXPECT_EQ(-EINVAL, set_irqs(vm, 32));
	EXPECT_EQ(-EINVAL, set_irqs(vm, 65));
	EXPECT_EQ(-EINVAL, set_irqs(vm, 1056));
	EXPECT_EQ(0, set_irqs(vm, GUEST_NR_IRQS));
	EXPECT_EQ(-EBUSY, set_irqs(vm, GUEST_NR_IRQS));
	EXPECT_EQ(-ENXIO, set_attr(vm, 0x1234, 0, 0));
	EXPECT_EQ(-ENXIO, set_attr(vm, KVM_DEV_ARM_VGIC_GRP_CTRL, 0x1234, 0));

	/* Frames are of 64 KiB, within the IPA size, apart from each other, and stay where they are. */
	EXPECT_EQ(-EINVAL, set_attr(vm, addr, dist, GUEST_GICD_BASE + 0x1000));
	EXPECT_EQ(-E2BIG, set_attr(vm, addr, dist, 1UL << 52));
	EXPECT_EQ(0, set_attr(vm, addr, dist, GUEST_GICD_BASE));
	EXPECT_EQ(-EEXIST, set_attr(vm, addr, dist, GUEST_GICD_BASE));
	EXPECT_EQ(-EINVAL, set_attr(vm, addr, redist, GUEST_GICR_BASE + 0x1000));
	EXPECT_EQ(0, set_attr(vm, addr, redist, GUEST_GICR_BASE));
	EXPECT_EQ(-EEXIST, set_attr(vm, addr, redist, GUEST_GICR_BASE));

	/* Initialized once and for all: the second time says the same. */
	ASSERT_VM(vm, vcpu_create(vm, 0));
	ASSERT_VM(vm, vcpu_init(&vm->vcpus[0], false));
	EXPECT_EQ(0, set_attr(vm, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0));
	EXPECT_EQ(0, set_attr(vm, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0));

	/* Lines: of an SPI beyond the last, of a vCPU that is not there, of an SGI, of no kind. */
	EXPECT_EQ(0, vm_irq_line(vm, 1 << 24 | 40, true));
	EXPECT_EQ(0, vm_irq_line(vm, 1 << 24 | 40, false));
	EXPECT_EQ(-EINVAL, vm_irq_line(vm, 1 << 24 | GUEST_NR_IRQS, true));
	EXPECT_EQ(-EINVAL, vm_irq_line(vm, 1 << 24 | 31, true));
	EXPECT_EQ(-EINVAL, vm_irq_line(vm, 2 << 24 | 1 << 16 | 20, true));
	EXPECT_EQ(-EINVAL, vm_irq_line(vm, 2 << 24 | 5, true));
	EXPECT_EQ(-EINVAL, vm_irq_line(vm, 2 << 24 | 32, true));
	EXPECT_EQ(-EINVAL, vm_irq_line(vm, 7 << 24 | 40, true));

	ASSERT_VM(vm, vm_add_slot(vm, GUEST_RAM_BASE, GUEST_RAM_SIZE, BACKING_ANONYMOUS, 0));
	memcpy(vm_host(vm, GUEST_RAM_BASE), payload_image, payload_image_end - payload_image);
	ASSERT_VM(vm, vcpu_set_reg(&vm->vcpus[0], CORE_REG(regs.pc), GUEST_RAM_BASE));
	ASSERT_VM(vm, vcpu_set_reg(&vm->vcpus[0], CORE_REG(regs.regs[0]), TEST_answer));
	expect_runs(_metadata, vm);
}

/* What may not change under a guest that has run. */
TEST_F(refusals, after_the_first_run)
{
	struct vm *vm = &self->vm;
	struct vcpu *vcpu = &vm->vcpus[0];
	uint64_t value = 0;

	ASSERT_VM(vm, vm_build(vm, 1, GUEST_RAM_SIZE, BACKING_ANONYMOUS, TEST_answer));
	EXPECT_EQ(0, vcpu_get_reg(vcpu, MPIDR_REG, &value));
	EXPECT_EQ(1UL << 31, value);
	expect_runs(_metadata, vm);
	vcpu->run->immediate_exit = 0;
	if (guests_protected()) {
		/* Registers and memory are the guest's. pKVM answers from a copy that is nobody's. */
		if (!host_is_pkvm()) {
			EXPECT_EQ(-EPERM, vcpu_get_reg(vcpu, CORE_REG(regs.pc), &value));
			EXPECT_EQ(-EPERM, vcpu_set_reg(vcpu, CORE_REG(regs.pc), 0));
		}
		EXPECT_EQ(-EPERM, vm_set_slot(vm, 0, GUEST_RAM_BASE, 0, vm->slots[0].host, 0));
	} else {
		EXPECT_EQ(0, vcpu_get_reg(vcpu, CORE_REG(regs.pc), &value));
		EXPECT_LE(GUEST_RAM_BASE, value);
		EXPECT_LT(value, GUEST_RAM_BASE + GUEST_RAM_SIZE);
		/* It is MMIO that the guest waits for: the state is that of one instruction. */
		EXPECT_EQ(0, vcpu_set_reg(vcpu, CORE_REG(regs.regs[20]), 0x1234567890));
		EXPECT_EQ(0, vcpu_get_reg(vcpu, CORE_REG(regs.regs[20]), &value));
		EXPECT_EQ(0x1234567890, value);
	}
}

/* A program counter where nothing is: the VMM hears of it, and the host is none the worse. */
TEST_F(refusals, of_a_start_in_nowhere)
{
	struct vm *vm = &self->vm;

	ASSERT_VM(vm, vm_build(vm, 1, GUEST_RAM_SIZE, BACKING_ANONYMOUS, TEST_answer));
	ASSERT_VM(vm, vcpu_set_reg(&vm->vcpus[0], CORE_REG(regs.pc), GUEST_HOLE_BASE));
	/* An abort on its vectors, and so on without end, or an error; but always an end by a signal. */
	vm_run(vm, 1);
	EXPECT_FALSE(vm->done);
	EXPECT_STRNE("", vm->broken);
	vm_destroy(vm);
	ASSERT_VM(vm, vm_create(vm, guests_protected(), 0));
	ASSERT_VM(vm, vm_build(vm, 1, GUEST_RAM_SIZE, BACKING_ANONYMOUS, TEST_answer));
	expect_runs(_metadata, vm);
}

TEST_HARNESS_MAIN
