// SPDX-License-Identifier: GPL-2.0
#include "kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

long kvm_call(int fd, unsigned long cmd, unsigned long arg)
{
	long ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

int kvm_open(void)
{
	int fd = open("/dev/mvirt", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int kvm_vm(unsigned long type)
{
	int device = kvm_open();
	int vm;

	if (device < 0)
		return device;
	vm = kvm_call(device, KVM_CREATE_VM, type);
	close(device);
	return vm;
}

long kvm_slot(int vm, uint32_t slot, uint32_t flags, uint64_t ipa, void *at, size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = ipa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)at,
	};

	return kvm_call(vm, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&region);
}

int kvm_vcpu(int vm, unsigned int index, bool off, struct kvm_run **run)
{
	struct kvm_vcpu_init init;
	int device, vcpu;
	long ret, size;

	vcpu = kvm_call(vm, KVM_CREATE_VCPU, index);
	if (vcpu < 0)
		return vcpu;
	ret = kvm_call(vm, KVM_ARM_PREFERRED_TARGET, (uintptr_t)&init);
	if (ret)
		return ret;
	init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
	if (off)
		init.features[0] |= 1 << KVM_ARM_VCPU_POWER_OFF;
	ret = kvm_call(vcpu, KVM_ARM_VCPU_INIT, (uintptr_t)&init);
	if (ret)
		return ret;
	device = kvm_open();
	size = kvm_call(device, KVM_GET_VCPU_MMAP_SIZE, 0);
	close(device);
	*run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	return *run == MAP_FAILED ? -errno : vcpu;
}

long kvm_get(int vcpu, uint64_t reg, void *value)
{
	struct kvm_one_reg one = { .id = reg, .addr = (uintptr_t)value };

	return kvm_call(vcpu, KVM_GET_ONE_REG, (uintptr_t)&one);
}

long kvm_set(int vcpu, uint64_t reg, uint64_t value)
{
	struct kvm_one_reg one = { .id = reg, .addr = (uintptr_t)&value };

	return kvm_call(vcpu, KVM_SET_ONE_REG, (uintptr_t)&one);
}

long kvm_attr(int device, unsigned long cmd, uint32_t group, uint64_t attr, void *value)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)value };

	return kvm_call(device, cmd, (uintptr_t)&a);
}

int kvm_gic(int vm, uint64_t dist, uint64_t redist)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	long ret = kvm_call(vm, KVM_CREATE_DEVICE, (uintptr_t)&device);

	if (ret)
		return ret;
	ret = kvm_attr(device.fd, KVM_SET_DEVICE_ATTR, KVM_DEV_ARM_VGIC_GRP_ADDR,
		       KVM_VGIC_V3_ADDR_TYPE_DIST, &dist);
	if (!ret)
		ret = kvm_attr(device.fd, KVM_SET_DEVICE_ATTR, KVM_DEV_ARM_VGIC_GRP_ADDR,
			       KVM_VGIC_V3_ADDR_TYPE_REDIST, &redist);
	if (!ret)
		ret = kvm_attr(device.fd, KVM_SET_DEVICE_ATTR, KVM_DEV_ARM_VGIC_GRP_CTRL,
			       KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
	return ret ? ret : (int)device.fd;
}

struct mvirt_info kvm_info(int device)
{
	struct mvirt_info info = { .size = sizeof(info) };

	if (kvm_call(device, MVIRT_GET_INFO, (uintptr_t)&info))
		memset(&info, 0xff, sizeof(info));
	return info;
}

uint64_t kvm_taken(const struct mvirt_info *info)
{
	return info->pool_bytes + info->host_table_bytes + info->el2_table_bytes +
	       info->guest_table_bytes + info->vm_bytes + info->decoy_bytes;
}
