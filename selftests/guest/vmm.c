// SPDX-License-Identifier: GPL-2.0
/* The VM as an object: device, memory, GIC, vCPUs. What runs it is in run.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm.h"

const char *guest_device(void)
{
	const char *device = getenv("device");

	return device ? device : "/dev/mvirt";
}

bool device_is_mvirt(void)
{
	return strstr(guest_device(), "mvirt") != NULL;
}

bool host_is_pkvm(void)
{
	char words[2048] = "";
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, words, sizeof(words) - 1) < 0)
		words[0] = '\0';
	close(fd);
	return !device_is_mvirt() && strstr(words, "kvm-arm.mode=protected");
}

bool guests_protected(void)
{
	const char *guests = getenv("guests");

	return guests && !strcmp(guests, "protected");
}

static int failed(struct vm *vm, const char *what)
{
	vm->what = what;
	return -errno;
}

int vm_create(struct vm *vm, bool protected, unsigned int ipa_bits)
{
	int error;

	memset(vm, 0, sizeof(*vm));
	vm->fd = vm->gic = -1;
	vm->device = guest_device();
	vm->protected = protected;
	vm->what = "";
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	vm->dev = open(vm->device, O_RDWR | O_CLOEXEC);
	if (vm->dev < 0)
		return failed(vm, vm->device);
	/* A signal ends it, and no other ioctl but KVM_RUN. */
	do {
		vm->fd = ioctl(vm->dev, KVM_CREATE_VM, ipa_bits | (protected ? VM_TYPE_PROTECTED : 0));
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0) {
		error = failed(vm, "KVM_CREATE_VM");
		close(vm->dev);
		vm->dev = -1;
		return error;
	}
	vm->run_size = ioctl(vm->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	return 0;
}

void vm_destroy(struct vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		if (vm->vcpus[i].run)
			munmap(vm->vcpus[i].run, vm->run_size);
		close(vm->vcpus[i].fd);
	}
	if (vm->gic >= 0)
		close(vm->gic);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->dev >= 0)
		close(vm->dev);
	for (i = 0; i < vm->nr_slots; i++)
		munmap(vm->slots[i].host, vm->slots[i].size);
}

uint8_t *memory_alloc(enum backing backing, uint64_t size)
{
	/* Aligned to a huge page, so that blocks can be mapped where the guest's address agrees. */
	const uint64_t huge = 2 << 20;
	int prot = PROT_READ | PROT_WRITE, fd = -1;
	uint8_t *area, *aligned, *memory;

	area = mmap(NULL, size + huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return NULL;
	aligned = (uint8_t *)(((uintptr_t)area + huge - 1) & ~(huge - 1));
	if (aligned > area)
		munmap(area, aligned - area);
	munmap(aligned + size, huge - (aligned - area));
	if (backing == BACKING_MEMFD) {
		fd = syscall(SYS_memfd_create, "guest", 1 /* MFD_CLOEXEC */);
		if (fd < 0 || ftruncate(fd, size)) {
			munmap(aligned, size);
			return NULL;
		}
		memory = mmap(aligned, size, prot, MAP_SHARED | MAP_FIXED, fd, 0);
		close(fd);
	} else {
		memory = mmap(aligned, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	if (memory == MAP_FAILED)
		return NULL;
	/* EINVAL: a kernel without huge pages, which is as good where none are wanted. */
	if ((backing == BACKING_THP && madvise(memory, size, MADV_HUGEPAGE)) ||
	    (backing == BACKING_ANONYMOUS && madvise(memory, size, MADV_NOHUGEPAGE) && errno != EINVAL)) {
		munmap(memory, size);
		return NULL;
	}
	return memory;
}

int vm_set_slot(struct vm *vm, uint32_t slot, uint64_t ipa, uint64_t size, void *host, uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = ipa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		return failed(vm, "KVM_SET_USER_MEMORY_REGION");
	return 0;
}

int vm_add_slot(struct vm *vm, uint64_t ipa, uint64_t size, enum backing backing, uint32_t flags)
{
	uint8_t *host = memory_alloc(backing, size);
	int error;

	if (!host) {
		vm->what = "mmap of guest memory";
		return -ENOMEM;
	}
	error = vm_set_slot(vm, vm->nr_slots, ipa, size, host, flags);
	if (error) {
		munmap(host, size);
		return error;
	}
	vm->slots[vm->nr_slots++] = (struct slot){ ipa, size, host };
	return 0;
}

void *vm_host(struct vm *vm, uint64_t ipa)
{
	int i;

	for (i = 0; i < vm->nr_slots; i++) {
		if (ipa - vm->slots[i].ipa < vm->slots[i].size)
			return vm->slots[i].host + (ipa - vm->slots[i].ipa);
	}
	return NULL;
}

static int set_attr(struct vm *vm, uint32_t group, uint64_t attr, void *value, const char *what)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)value };

	return ioctl(vm->gic, KVM_SET_DEVICE_ATTR, &a) ? failed(vm, what) : 0;
}

int vm_create_gic(struct vm *vm)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };

	if (ioctl(vm->fd, KVM_CREATE_DEVICE, &create))
		return failed(vm, "KVM_CREATE_DEVICE of a VGICv3");
	vm->gic = create.fd;
	return 0;
}

int vm_init_gic(struct vm *vm)
{
	uint64_t dist = GUEST_GICD_BASE, redist = GUEST_GICR_BASE;
	uint32_t nr_irqs = GUEST_NR_IRQS;
	int error;

	error = set_attr(vm, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &nr_irqs, "VGIC NR_IRQS");
	if (!error)
		error = set_attr(vm, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &dist,
				 "VGIC address of the distributor");
	if (!error)
		error = set_attr(vm, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, &redist,
				 "VGIC address of the redistributors");
	if (!error)
		error = set_attr(vm, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL,
				 "VGIC INIT");
	return error;
}

int vm_irq_line(struct vm *vm, uint32_t irq, bool level)
{
	struct kvm_irq_level line = { .irq = irq, .level = level };

	return ioctl(vm->fd, KVM_IRQ_LINE, &line) ? failed(vm, "KVM_IRQ_LINE") : 0;
}

int vcpu_create(struct vm *vm, int index)
{
	struct vcpu *vcpu = &vm->vcpus[index];

	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (long)index);
	if (vcpu->fd < 0)
		return failed(vm, "KVM_CREATE_VCPU");
	vm->nr_vcpus = index + 1;
	vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		vcpu->run = NULL;
		return failed(vm, "mmap of kvm_run");
	}
	return 0;
}

int vcpu_init(struct vcpu *vcpu, bool powered_off)
{
	struct kvm_vcpu_init init;

	if (ioctl(vcpu->vm->fd, KVM_ARM_PREFERRED_TARGET, &init))
		return failed(vcpu->vm, "KVM_ARM_PREFERRED_TARGET");
	init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
	if (powered_off)
		init.features[0] |= 1 << KVM_ARM_VCPU_POWER_OFF;
	if (ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &init))
		return failed(vcpu->vm, "KVM_ARM_VCPU_INIT");
	return 0;
}

int vcpu_set_reg(struct vcpu *vcpu, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	return ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg) ? failed(vcpu->vm, "KVM_SET_ONE_REG") : 0;
}

int vcpu_get_reg(struct vcpu *vcpu, uint64_t id, uint64_t *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)value };

	return ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg) ? failed(vcpu->vm, "KVM_GET_ONE_REG") : 0;
}

int vm_build(struct vm *vm, int nr_vcpus, uint64_t ram, enum backing backing, uint64_t word)
{
	int i, error;

	if (!vm_host(vm, GUEST_RAM_BASE)) {
		error = vm_add_slot(vm, GUEST_RAM_BASE, ram, backing, 0);
		if (error)
			return error;
	}
	memcpy(vm_host(vm, GUEST_RAM_BASE), payload_image, payload_image_end - payload_image);
	error = vm_create_gic(vm);
	for (i = 0; !error && i < nr_vcpus; i++)
		error = vcpu_create(vm, i);
	for (i = 0; !error && i < nr_vcpus; i++)
		error = vcpu_init(&vm->vcpus[i], i > 0);
	if (!error)
		error = vm_init_gic(vm);
	if (!error)
		error = vcpu_set_reg(&vm->vcpus[0], CORE_REG(regs.pc), GUEST_RAM_BASE);
	if (!error)
		error = vcpu_set_reg(&vm->vcpus[0], CORE_REG(regs.regs[0]), word);
	return error;
}
