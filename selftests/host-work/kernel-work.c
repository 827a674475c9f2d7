// SPDX-License-Identifier: GPL-2.0
/* The kernel's own machinery goes on under mvirt: modules, code patching, sleep, counters. */
#include <errno.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

#include "harness.h"
#include "load_threads.h"
#include "machine.h"

#define TRACING	"/sys/kernel/tracing/"

FIXTURE(kernel)
{
};

FIXTURE_SETUP(kernel)
{
}

FIXTURE_TEARDOWN(kernel)
{
}

TEST_F(kernel, module_loads_and_unloads_50_times)
{
	int i;

	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, load_module("hostile", ""));
		ASSERT_EQ(0, access("/dev/hostile", F_OK));
		ASSERT_EQ(0, unload_module("hostile"));
		ASSERT_NE(0, access("/dev/hostile", F_OK));
	}
}

/* Switching the function tracer rewrites tens of thousands of instructions of the kernel. */
TEST_F(kernel, function_tracer_on_and_off)
{
	char text[4096];
	int i;

	ASSERT_EQ(0, load_start(1));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, write_file(TRACING "current_tracer", "function"));
		usleep(20000);
		ASSERT_EQ(0, read_file(TRACING "trace", text, sizeof(text)));
		EXPECT_NE(NULL, strstr(text, "<-"));
		ASSERT_EQ(0, write_file(TRACING "current_tracer", "nop"));
	}
	EXPECT_LT(0, load_stop());
}

TEST_F(kernel, suspend_stops_at_each_stage)
{
	static const char * const stages[] = { "freezer", "devices", "platform" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(stages); i++) {
		ASSERT_EQ(0, write_file("/sys/power/pm_test", stages[i]));
		EXPECT_EQ(0, write_file("/sys/power/state", "freeze")) {
			TH_LOG("pm_test %s", stages[i]);
		}
	}
	ASSERT_EQ(0, write_file("/sys/power/pm_test", "none"));
}

/*
 * The alarm is set in the RTC when the machine goes to sleep, and wakes it. The kernel does not
 * sleep if it would wake within 2 s.
 */
TEST_F(kernel, suspend_to_idle_and_wake_by_alarm)
{
	struct itimerspec alarm = { .it_value.tv_sec = 4 };
	struct timespec before, after;
	uint64_t expired;
	int i, fd;

	fd = timerfd_create(CLOCK_BOOTTIME_ALARM, TFD_CLOEXEC);
	ASSERT_LE(0, fd);
	for (i = 0; i < 2; i++) {
		clock_gettime(CLOCK_BOOTTIME, &before);
		ASSERT_EQ(0, timerfd_settime(fd, 0, &alarm, NULL));
		ASSERT_EQ(0, write_file("/sys/power/state", "freeze"));
		ASSERT_EQ(sizeof(expired), read(fd, &expired, sizeof(expired)));
		clock_gettime(CLOCK_BOOTTIME, &after);
		EXPECT_LE(3, after.tv_sec - before.tv_sec);
		EXPECT_GT(30, after.tv_sec - before.tv_sec);
	}
	close(fd);
}

TEST_F(kernel, perf_counts)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.disabled = 1,
		.exclude_hv = 1,
	};
	uint64_t cycles = 0;
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	volatile int i;

	if (fd < 0 && (errno == ENOENT || errno == EOPNOTSUPP))
		SKIP(return, "this CPU model has no PMU that Linux uses");
	ASSERT_LE(0, fd) {
		TH_LOG("perf_event_open: %s", strerror(errno));
	}
	ASSERT_EQ(0, ioctl(fd, PERF_EVENT_IOC_ENABLE, 0));
	for (i = 0; i < 1000000; i++)
		;
	ASSERT_EQ(0, ioctl(fd, PERF_EVENT_IOC_DISABLE, 0));
	ASSERT_EQ(sizeof(cycles), read(fd, &cycles, sizeof(cycles)));
	EXPECT_LT(1000, cycles);
	close(fd);
}

TEST_HARNESS_MAIN
