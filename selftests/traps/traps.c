// SPDX-License-Identifier: GPL-2.0
/* What a guest may do and what is UNDEFINED to it, and that no exit changes its registers. */
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>

#include "fixture.h"
#include "tests.h"

GUEST_NUMBERS(TRAPS_TESTS);

#define MAX_CPUS	64

/* The host's watchpoints, as events that count. */
static volatile uint64_t watched;
static int on_watched, on_kernel[MAX_CPUS];

static int open_watchpoint(uint64_t address, pid_t pid, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_W,
		.bp_addr = address,
		.bp_len = HW_BREAKPOINT_LEN_8,
		.pinned = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int64_t watch(uint64_t kernel)
{
	int i, nr = sysconf(_SC_NPROCESSORS_ONLN);

	on_watched = open_watchpoint((uintptr_t)&watched, 0, -1);
	if (on_watched < 0)
		return on_watched;
	for (i = 0; i < nr && i < MAX_CPUS; i++) {
		on_kernel[i] = open_watchpoint(kernel, -1, i);
		if (on_kernel[i] < 0)
			return on_kernel[i];
	}
	return 0;
}

/* ~0 if the event is gone or could not stay on its CPU. */
static uint64_t fired(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : ~0UL;
}

static uint64_t traps_request(struct vcpu *vcpu, uint64_t number, uint64_t arg)
{
	uint64_t sum = 0;
	int i;

	switch (number) {
	case REQUEST_WATCH:
		return watch(arg);
	case REQUEST_TOUCH:
		watched = arg;
		return 0;
	case REQUEST_TOUCHED:
		return fired(on_watched);
	case REQUEST_LEAKED:
		for (i = 0; i < MAX_CPUS && on_kernel[i]; i++)
			sum += fired(on_kernel[i]);
		return i ? sum : ~0UL;
	}
	return -ENOSYS;
}

#define TRAPS_TEST(name, cpus, flags)						\
	TEST_F(guest, name) {							\
		self->vm.request = traps_request;				\
		guest_run(_metadata, &self->vm, TEST_##name, cpus, flags, BACKING_ANONYMOUS);	\
	}

TRAPS_TESTS(TRAPS_TEST)

TEST_HARNESS_MAIN
