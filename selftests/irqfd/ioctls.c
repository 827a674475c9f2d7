// SPDX-License-Identifier: GPL-2.0
/* What KVM_IRQFD, KVM_SET_GSI_ROUTING and KVM_IOEVENTFD take and refuse: Documentation/uapi.rst. */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fixture.h"

static int call(struct vm *vm, unsigned long cmd, void *arg)
{
	int ret = ioctl(vm->fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

static int irqfd_of(struct vm *vm, int fd, uint32_t gsi, uint32_t flags, int resample)
{
	struct kvm_irqfd args = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resample };

	return call(vm, KVM_IRQFD, &args);
}

static int irqfd(struct vm *vm, int fd, uint32_t gsi, uint32_t flags)
{
	return irqfd_of(vm, fd, gsi, flags, -1);
}

static int ioeventfd(struct vm *vm, int fd, uint64_t addr, uint32_t len, uint32_t flags, uint64_t data)
{
	struct kvm_ioeventfd args = {
		.datamatch = data,
		.addr = addr,
		.len = len,
		.fd = fd,
		.flags = flags,
	};

	return call(vm, KVM_IOEVENTFD, &args);
}

#define DEASSIGN	KVM_IRQFD_FLAG_DEASSIGN
#define RESAMPLE	KVM_IRQFD_FLAG_RESAMPLE
#define IO_DEASSIGN	KVM_IOEVENTFD_FLAG_DEASSIGN
#define IO_DATAMATCH	KVM_IOEVENTFD_FLAG_DATAMATCH
#define BASE		0x0b000000UL

/* A VM with a GIC that is initialised. */
#define READY(vm)	ASSERT_VM(vm, vm_build(vm, 1, GUEST_RAM_SIZE, BACKING_ANONYMOUS, 0))

TEST_F(guest, capabilities)
{
	struct vm *vm = &self->vm;

	EXPECT_EQ(1, ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD));
	EXPECT_EQ(1, ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD_RESAMPLE));
	EXPECT_EQ(1, ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD));
	EXPECT_EQ(1, ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH));
	EXPECT_EQ(4096, ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING));
	EXPECT_EQ(0, ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SIGNAL_MSI));
}

TEST_F(guest, irqfds_before_the_gic)
{
	struct vm *vm = &self->vm;
	int fd = eventfd(0, 0);

	EXPECT_EQ(-EINVAL, irqfd(vm, fd, 5, 4));
	EXPECT_EQ(-EAGAIN, irqfd(vm, fd, 5, 0));
	EXPECT_EQ(-EAGAIN, irqfd(vm, -1, 5, 0));
	EXPECT_EQ(0, irqfd(vm, fd, 5, DEASSIGN));
	ASSERT_VM(vm, vm_create_gic(vm));
	EXPECT_EQ(-EAGAIN, irqfd(vm, fd, 5, 0));
	close(fd);
}

TEST_F(guest, irqfds)
{
	struct vm *vm = &self->vm;
	int fd, other, file, resample, copy;

	READY(vm);
	fd = eventfd(0, 0);
	other = eventfd(0, 0);
	resample = eventfd(0, 0);
	file = open("/dev/null", O_RDWR);
	copy = dup(fd);
	ASSERT_LE(0, copy);
	EXPECT_EQ(-EINVAL, irqfd(vm, fd, 5, 1 << 2));
	EXPECT_EQ(-EINVAL, irqfd(vm, fd, 5, 1U << 31));
	EXPECT_EQ(-EBADF, irqfd(vm, -1, 5, 0));
	EXPECT_EQ(-EBADF, irqfd(vm, 1000, 5, 0));
	EXPECT_EQ(-EINVAL, irqfd(vm, file, 5, 0));
	EXPECT_EQ(-EBADF, irqfd_of(vm, fd, 5, RESAMPLE, -1));
	EXPECT_EQ(-EINVAL, irqfd_of(vm, fd, 5, RESAMPLE, file));
	EXPECT_EQ(-EBADF, irqfd_of(vm, -1, 5, RESAMPLE, resample));
	EXPECT_EQ(-EINVAL, irqfd_of(vm, file, 5, RESAMPLE, -1));
	EXPECT_EQ(-EFAULT, call(vm, KVM_IRQFD, NULL));

	/* An eventfd is one interrupt's, by whatever descriptor. */
	ASSERT_EQ(0, irqfd(vm, fd, 5, 0));
	EXPECT_EQ(-EBUSY, irqfd(vm, fd, 5, 0));
	EXPECT_EQ(-EBUSY, irqfd(vm, fd, 6, 0));
	EXPECT_EQ(-EBUSY, irqfd(vm, copy, 6, 0));
	EXPECT_EQ(-EBUSY, irqfd_of(vm, fd, 6, RESAMPLE, resample));
	/* An interrupt may be many eventfds'. */
	EXPECT_EQ(0, irqfd_of(vm, other, 5, RESAMPLE, resample));
	/* Gone, by a GSI and an eventfd that go together; others are no error. */
	EXPECT_EQ(0, irqfd(vm, fd, 6, DEASSIGN));
	EXPECT_EQ(-EBUSY, irqfd(vm, fd, 5, 0));
	EXPECT_EQ(0, irqfd(vm, copy, 5, DEASSIGN));
	EXPECT_EQ(0, irqfd(vm, fd, 5, DEASSIGN));
	EXPECT_EQ(0, irqfd(vm, fd, 5, 0));
	EXPECT_EQ(0, irqfd(vm, fd, 5, DEASSIGN | RESAMPLE));
	EXPECT_EQ(0, irqfd(vm, fd, 6, 0));
	EXPECT_EQ(-EBADF, irqfd(vm, -1, 6, DEASSIGN));
	EXPECT_EQ(-EINVAL, irqfd(vm, file, 6, DEASSIGN));
	/* A GSI that is no interrupt is no error either: its signals are lost. */
	EXPECT_EQ(0, irqfd(vm, fd, 6, DEASSIGN));
	EXPECT_EQ(0, irqfd(vm, fd, GUEST_NR_IRQS, 0));
	EXPECT_EQ(0, eventfd_write(fd, 1));
	EXPECT_EQ(0, irqfd(vm, fd, GUEST_NR_IRQS, DEASSIGN));
	EXPECT_EQ(0, irqfd_of(vm, fd, 0xffffffff, RESAMPLE, resample));
	EXPECT_EQ(0, eventfd_write(fd, 1));
	close(fd);
	close(copy);
	close(other);
	close(resample);
	close(file);
}

/* Who assigned it lets go of it with the VM's descriptor, though a vCPU keeps the VM. */
TEST_F(guest, an_eventfd_is_free_again)
{
	struct vm *vm = &self->vm, second;
	int fd = eventfd(0, 0), n;

	READY(vm);
	ASSERT_VM(&second, vm_create(&second, guests_protected(), 0));
	READY(&second);
	ASSERT_EQ(0, irqfd(vm, fd, 5, 0));
	EXPECT_EQ(-EBUSY, irqfd(&second, fd, 5, 0));
	close(vm->fd);
	vm->fd = -1;
	EXPECT_EQ(0, irqfd(&second, fd, 5, 0));
	EXPECT_EQ(0, eventfd_write(fd, 1));
	EXPECT_EQ(0, irqfd(&second, fd, 5, DEASSIGN));
	/* Many that are closed, and never deassigned. */
	for (n = 0; n < 500; n++) {
		int gone = eventfd(0, 0);

		ASSERT_EQ(0, irqfd_of(&second, gone, n % 32, n % 2 ? RESAMPLE : 0, fd));
		eventfd_write(gone, 1);
		close(gone);
	}
	close(fd);
	vm_destroy(&second);
}

static int route(struct vm *vm, uint32_t nr, uint32_t flags, struct kvm_irq_routing_entry *entries)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[2];
	} table = { .head = { .nr = nr, .flags = flags } };

	if (entries)
		memcpy(table.entries, entries, sizeof(table.entries));
	return call(vm, KVM_SET_GSI_ROUTING, &table);
}

TEST_F(guest, routes)
{
	struct vm *vm = &self->vm;
	struct kvm_irq_routing_entry good[2] = {
		{ .gsi = 4095, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { .pin = 987 } },
		{ .gsi = 0, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { .pin = 987 } },
	}, e[2];

#define EXPECT_INVALID(change) do {					\
		memcpy(e, good, sizeof(e));				\
		change;							\
		EXPECT_EQ(-EINVAL, route(vm, 2, 0, e));			\
	} while (0)
	EXPECT_EQ(0, route(vm, 0, 0, NULL));
	EXPECT_EQ(0, route(vm, 2, 0, good));
	EXPECT_EQ(-EINVAL, route(vm, 4097, 0, NULL));
	EXPECT_EQ(-EINVAL, route(vm, 0, 1, NULL));
	EXPECT_INVALID(e[0].gsi = 4096);
	EXPECT_INVALID(e[0].gsi = 0);
	EXPECT_INVALID(e[0].u.irqchip.pin = 988);
	EXPECT_INVALID(e[1].u.irqchip.irqchip = 1);
	EXPECT_INVALID(e[1].flags = KVM_MSI_VALID_DEVID);
	EXPECT_INVALID(e[1].type = KVM_IRQ_ROUTING_HV_SINT);
	/* There is no ITS. KVM takes such a route and lets its signals fail. */
	if (device_is_mvirt())
		EXPECT_INVALID(e[1].type = KVM_IRQ_ROUTING_MSI);
	EXPECT_EQ(-EFAULT, call(vm, KVM_SET_GSI_ROUTING, NULL));
}

TEST_F(guest, ioeventfds)
{
	struct vm *vm = &self->vm;
	int fd = eventfd(0, 0), other = eventfd(0, 0), file = open("/dev/null", O_RDWR);
	uint32_t len;

	for (len = 0; len < 20; len++) {
		bool good = !len || len == 1 || len == 2 || len == 4 || len == 8;

		EXPECT_EQ(good ? 0 : -EINVAL, ioeventfd(vm, fd, BASE + 0x100 * len, len, 0, 0));
	}
	EXPECT_EQ(-EINVAL, ioeventfd(vm, fd, -3UL, 4, 0, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(vm, fd, BASE, 4, 1U << 31, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(vm, fd, BASE + 8, 0, IO_DATAMATCH, 0));
	EXPECT_EQ(-EBADF, ioeventfd(vm, -1, BASE + 8, 4, 0, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(vm, file, BASE + 8, 4, 0, 0));
	EXPECT_EQ(-EFAULT, call(vm, KVM_IOEVENTFD, NULL));
	/* There are no ports. KVM takes it, and no write ever comes. */
	if (device_is_mvirt()) {
		EXPECT_EQ(-EINVAL, ioeventfd(vm, fd, 0x10, 4, KVM_IOEVENTFD_FLAG_PIO, 0));
		EXPECT_EQ(-ENOENT,
			  ioeventfd(vm, fd, 0x10, 4, KVM_IOEVENTFD_FLAG_PIO | IO_DEASSIGN, 0));
	}

	/* Two that one write could match do not go together, whoever they signal. */
	EXPECT_EQ(0, ioeventfd(vm, fd, BASE + 8, 4, IO_DATAMATCH, 1));
	EXPECT_EQ(0, ioeventfd(vm, fd, BASE + 8, 4, IO_DATAMATCH, 2));
	EXPECT_EQ(0, ioeventfd(vm, fd, BASE + 8, 2, IO_DATAMATCH, 1));
	EXPECT_EQ(0, ioeventfd(vm, fd, BASE + 8, 8, 0, 0));
	EXPECT_EQ(0, ioeventfd(vm, other, BASE + 9, 4, 0, 0));
	EXPECT_EQ(-EEXIST, ioeventfd(vm, fd, BASE + 8, 4, IO_DATAMATCH, 1));
	EXPECT_EQ(-EEXIST, ioeventfd(vm, other, BASE + 8, 4, IO_DATAMATCH, 2));
	EXPECT_EQ(-EEXIST, ioeventfd(vm, other, BASE + 8, 4, 0, 0));
	EXPECT_EQ(-EEXIST, ioeventfd(vm, other, BASE + 8, 8, IO_DATAMATCH, 7));
	EXPECT_EQ(-EEXIST, ioeventfd(vm, other, BASE + 8, 0, 0, 0));
	EXPECT_EQ(-EEXIST, ioeventfd(vm, other, BASE, 4, 0, 0));

	/* Gone by all that it was made of. */
	EXPECT_EQ(-ENOENT, ioeventfd(vm, other, BASE + 8, 4, IO_DEASSIGN | IO_DATAMATCH, 1));
	EXPECT_EQ(-ENOENT, ioeventfd(vm, fd, BASE + 8, 4, IO_DEASSIGN, 1));
	EXPECT_EQ(-ENOENT, ioeventfd(vm, fd, BASE + 8, 4, IO_DEASSIGN | IO_DATAMATCH, 3));
	EXPECT_EQ(-ENOENT, ioeventfd(vm, fd, BASE + 8, 1, IO_DEASSIGN | IO_DATAMATCH, 1));
	EXPECT_EQ(-ENOENT, ioeventfd(vm, fd, BASE + 12, 4, IO_DEASSIGN | IO_DATAMATCH, 1));
	EXPECT_EQ(-EBADF, ioeventfd(vm, -1, BASE + 8, 4, IO_DEASSIGN | IO_DATAMATCH, 1));
	EXPECT_EQ(0, ioeventfd(vm, fd, BASE + 8, 4, IO_DEASSIGN | IO_DATAMATCH, 1));
	EXPECT_EQ(-ENOENT, ioeventfd(vm, fd, BASE + 8, 4, IO_DEASSIGN | IO_DATAMATCH, 1));
	EXPECT_EQ(0, ioeventfd(vm, other, BASE + 8, 4, IO_DATAMATCH, 1));
	EXPECT_EQ(0, ioeventfd(vm, fd, BASE, 0, IO_DEASSIGN, 0));
	EXPECT_EQ(0, ioeventfd(vm, fd, BASE, 1, 0, 0));
	close(fd);
	close(other);
	close(file);
}

/* More than a bus of KVM's has devices: these do not count among them. */
TEST_F(guest, many_ioeventfds)
{
	struct vm *vm = &self->vm;
	int fd = eventfd(0, 0);
	uint64_t n;

	for (n = 0; n < 2000; n++)
		ASSERT_EQ(0, ioeventfd(vm, fd, BASE + n * 769 % 2000 * 4, 4, 0, 0));
	for (n = 0; n < 2000; n++)
		ASSERT_EQ(-EEXIST, ioeventfd(vm, fd, BASE + n * 4, 4, 0, 0));
	for (n = 0; n < 2000; n += 2)
		ASSERT_EQ(0, ioeventfd(vm, fd, BASE + n * 4, 4, IO_DEASSIGN, 0));
	for (n = 0; n < 2000; n++)
		ASSERT_EQ(n % 2 ? 0 : -ENOENT, ioeventfd(vm, fd, BASE + n * 4, 4, IO_DEASSIGN, 0));
	close(fd);
}

TEST_HARNESS_MAIN
