/* SPDX-License-Identifier: GPL-2.0 */
/* The host sleeps, and the test's firmware answers. Included after harness.h. */
#ifndef SUSPEND_SLEEP_H
#define SUSPEND_SLEEP_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "el2.h"
#include "machine.h"
#include "protocol.h"

/* How often each thing is done: $rounds, from the kernel's command line. */
static inline int rounds(void)
{
	const char *text = getenv("rounds");

	return text ? atoi(text) : 2;
}

static inline uint64_t firmware(int fd, uint64_t function, uint64_t a, uint64_t b)
{
	struct hostile_call call = { .x = { function, a, b } };

	return ioctl(fd, HOSTILE_SMC, &call) ? UINT64_MAX : call.x[0];
}

static inline uint64_t firmware_get(int fd, enum firmware_value what, int cpu)
{
	return firmware(fd, FIRMWARE_GET, what, cpu);
}

static inline uint64_t firmware_set(int fd, enum firmware_value what, uint64_t value)
{
	return firmware(fd, FIRMWARE_SET, what, value);
}

/* The virt machine's PL031 (Arm DDI 0224), whose files the kernel of the tests does not have. */
#define RTC_BASE	0x09010000
#define RTC_DR		0
#define RTC_MR		1
#define RTC_IMSC	4

/* The clock's interrupt comes in so many seconds, at most. 0 or -errno. */
static inline int set_alarm(uint32_t seconds)
{
	static volatile uint32_t *rtc;
	int fd;

	if (!rtc) {
		fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		rtc = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, RTC_BASE);
		close(fd);
		if (rtc == MAP_FAILED) {
			rtc = NULL;
			return -errno;
		}
	}
	rtc[RTC_MR] = rtc[RTC_DR] + seconds;
	rtc[RTC_IMSC] = 1;
	return 0;
}

/* One attempt to sleep until the alarm; -EBUSY or -EINVAL if it was over before the machine slept. */
static inline int try_to_sleep(const char *state, uint32_t seconds)
{
	char count[32];
	int error;

	/*
	 * An alarm that comes after this is read ends the attempt: without that, one that is over before
	 * the machine sleeps wakes nobody.
	 */
	error = read_file("/sys/power/wakeup_count", count, sizeof(count));
	if (!error)
		error = set_alarm(seconds);
	if (!error)
		error = write_file("/sys/power/wakeup_count", count);
	return error ? error : write_file("/sys/power/state", state);
}

/* "freeze" is suspend to idle, "mem" is suspend to RAM; the alarm wakes the host. 0 or -errno. */
static inline int host_sleeps_for(const char *state, uint32_t seconds)
{
	int error = -EBUSY, tries;

	/* On a machine that is loaded it may take more than a second to fall asleep. */
	for (tries = 0; (error == -EBUSY || error == -EINVAL) && tries < 50; tries++)
		error = try_to_sleep(state, seconds + tries / 5);
	return error;
}

static inline int host_sleeps(const char *state)
{
	return host_sleeps_for(state, 1);
}

/* A number in a file; UINT64_MAX if there is none. */
static inline uint64_t file_number(const char *path)
{
	char text[32];

	return read_file(path, text, sizeof(text)) ? UINT64_MAX : strtoull(text, NULL, 0);
}

#define IDLE_STATES	3

/* A file of a CPU's idle state; 0 is the architecture's WFI, the others are the firmware's. */
static inline void idle_path(char *path, size_t size, int cpu, int state, const char *what)
{
	snprintf(path, size, "/sys/devices/system/cpu/cpu%d/cpuidle/state%d/%s", cpu, state, what);
}

static inline uint64_t idle_number(int cpu, int state, const char *what)
{
	char path[96];

	idle_path(path, sizeof(path), cpu, state, what);
	return file_number(path);
}

static inline int idle_set(int cpu, int state, const char *what, const char *value)
{
	char path[96];

	idle_path(path, sizeof(path), cpu, state, what);
	return write_file(path, value);
}

#endif /* SUSPEND_SLEEP_H */
