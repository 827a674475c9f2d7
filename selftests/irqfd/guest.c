// SPDX-License-Identifier: GPL-2.0
/* Interrupts that eventfds raise, and writes that signal eventfds, with a guest. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fixture.h"
#include "tests.h"

GUEST_NUMBERS(IRQFD_TESTS);

#define DOORBELL(at, bytes, matches, value) { at, bytes, matches, value },
static const struct doorbell {
	uint64_t offset;
	unsigned int len;
	bool matches;
	uint64_t value;
} doorbells[] = { DOORBELLS(DOORBELL) };

#define NR_DOORBELLS	(sizeof(doorbells) / sizeof(doorbells[0]))

static struct {
	int signal[NR_FDS];
	int resample[NR_FDS];
	int doorbell[NR_DOORBELLS];
	uint64_t mmios;
	bool storm_ended;
} state;

static const uint32_t gsis[NR_FDS] = {
	[FD_PLAIN] = GSI_PLAIN,
	[FD_OTHER] = GSI_OTHER,
	[FD_SHARED_A] = GSI_SHARED,
	[FD_SHARED_B] = GSI_SHARED,
	[FD_LEVEL] = GSI_LEVEL,
	[FD_ROUTED] = GSI_ROUTED,
	[FD_TWIN] = GSI_ROUTED,
};

static bool is_resampled(int fd)
{
	return fd == FD_SHARED_A || fd == FD_SHARED_B || fd == FD_LEVEL || fd == FD_TWIN;
}

static int irqfd(struct vm *vm, int fd, uint32_t flags)
{
	struct kvm_irqfd args = {
		.fd = state.signal[fd],
		.gsi = gsis[fd],
		.flags = flags,
		.resamplefd = state.resample[fd],
	};

	return ioctl(vm->fd, KVM_IRQFD, &args) ? -errno : 0;
}

static uint64_t drained(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

struct work {
	int fd;
	uint64_t times;
};

static void *signal_later(void *arg)
{
	struct work *work = arg;

	usleep(50000);
	eventfd_write(state.signal[work->fd], 1);
	free(work);
	return NULL;
}

/* A device whose driver has to come so many times until it is content. */
static void *be_a_device(void *arg)
{
	struct work *work = arg;
	struct pollfd wait = { .fd = state.resample[work->fd], .events = POLLIN };

	while (work->times && poll(&wait, 1, 20000) > 0) {
		work->times -= drained(wait.fd) != 0;
		eventfd_write(state.signal[work->fd], 1);
	}
	free(work);
	return NULL;
}

static void *storm(void *arg)
{
	struct work *work = arg;

	while (work->times--)
		eventfd_write(state.signal[work->fd], 1);
	free(work);
	__atomic_store_n(&state.storm_ended, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static uint64_t start(void *(*function)(void *), uint64_t arg)
{
	struct work *work = malloc(sizeof(*work));
	pthread_t thread;
	int error;

	work->fd = arg & 0xff;
	work->times = arg >> 8;
	error = pthread_create(&thread, NULL, function, work);
	if (!error)
		pthread_detach(thread);
	return -error;
}

static uint64_t route(struct vm *vm, uint32_t pin)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[2];
	} table = {
		.head = { .nr = 2 },
		.entries = {
			{
				.gsi = GSI_LEVEL,
				.type = KVM_IRQ_ROUTING_IRQCHIP,
				.u.irqchip = { .pin = GSI_LEVEL },
			},
			{
				.gsi = GSI_ROUTED,
				.type = KVM_IRQ_ROUTING_IRQCHIP,
				.u.irqchip = { .pin = pin },
			},
		},
	};

	return ioctl(vm->fd, KVM_SET_GSI_ROUTING, &table) ? -errno : 0;
}

static uint64_t answer(struct vcpu *vcpu, uint64_t number, uint64_t arg)
{
	switch (number) {
	case REQUEST_SIGNAL:
		return eventfd_write(state.signal[arg], 1) ? -errno : 0;
	case REQUEST_SIGNAL_LATER:
		return start(signal_later, arg);
	case REQUEST_RESAMPLED:
		return drained(state.resample[arg]);
	case REQUEST_DEVICE:
		return start(be_a_device, arg);
	case REQUEST_STORM:
		return start(storm, arg);
	case REQUEST_STORM_ENDED:
		return __atomic_load_n(&state.storm_ended, __ATOMIC_SEQ_CST);
	case REQUEST_CLOSE:
		return close(state.signal[arg]);
	case REQUEST_DEASSIGN:
		return irqfd(vcpu->vm, arg, KVM_IRQFD_FLAG_DEASSIGN);
	case REQUEST_ROUTE:
		return route(vcpu->vm, arg);
	case REQUEST_DOORBELL:
		return drained(state.doorbell[arg]);
	case REQUEST_MMIOS:
		return __atomic_load_n(&state.mmios, __ATOMIC_SEQ_CST);
	}
	return -ENOSYS;
}

static bool hole(struct vcpu *vcpu, uint64_t ipa, uint8_t *data, unsigned int len, bool is_write)
{
	uint32_t value = 0x600df00d;

	if (ipa - GUEST_HOLE_BASE >= GUEST_HOLE_SIZE)
		return false;
	__atomic_fetch_add(&state.mmios, 1, __ATOMIC_SEQ_CST);
	if (!is_write)
		memcpy(data, &value, len < sizeof(value) ? len : sizeof(value));
	return true;
}

/* All of them, on a VM that is built. */
static void assign(struct __test_metadata *const _metadata, struct vm *vm)
{
	size_t n;

	for (n = 0; n < NR_FDS; n++) {
		state.signal[n] = eventfd(0, EFD_NONBLOCK);
		state.resample[n] = eventfd(0, EFD_NONBLOCK);
		ASSERT_LE(0, state.signal[n]);
		ASSERT_LE(0, state.resample[n]);
		ASSERT_EQ(0, irqfd(vm, n, is_resampled(n) ? KVM_IRQFD_FLAG_RESAMPLE : 0));
	}
	for (n = 0; n < NR_DOORBELLS; n++) {
		struct kvm_ioeventfd args = {
			.datamatch = doorbells[n].value,
			.addr = GUEST_HOLE_BASE + doorbells[n].offset,
			.len = doorbells[n].len,
			.flags = doorbells[n].matches ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0,
		};

		args.fd = state.doorbell[n] = eventfd(0, EFD_NONBLOCK);
		ASSERT_LE(0, args.fd);
		ASSERT_EQ(0, ioctl(vm->fd, KVM_IOEVENTFD, &args));
	}
	vm->request = answer;
	vm->mmio = hole;
}

#define IRQFD_TEST(name, cpus, flags)								\
	TEST_F(guest, name) {									\
		struct vm *vm = &self->vm;							\
												\
		ASSERT_VM(vm, vm_build(vm, cpus, GUEST_RAM_SIZE, BACKING_ANONYMOUS, TEST_##name)); \
		assign(_metadata, vm);								\
		guest_expect(_metadata, vm);							\
		EXPECT_TRUE(vm->done);								\
		EXPECT_LT(0, vm->checks);							\
	}

IRQFD_TESTS(IRQFD_TEST)

TEST_HARNESS_MAIN
