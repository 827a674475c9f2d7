// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <regex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "machine.h"

size_t ram_ranges(struct phys_range *ranges, size_t max)
{
	FILE *f = fopen("/proc/iomem", "r");
	uint64_t first, last, page = sysconf(_SC_PAGESIZE);
	char line[256], name[64];
	size_t n = 0;

	if (!f)
		return 0;
	/* Top-level lines alone: what lies inside RAM, such as the kernel, is indented. */
	while (n < max && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " : %63[^\n]", &first, &last, name) != 3 ||
		    line[0] == ' ' || strcmp(name, "System RAM"))
			continue;
		ranges[n].first_pfn = first / page;
		ranges[n++].last_pfn = last / page;
	}
	fclose(f);
	return n;
}

uint64_t meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "r");
	uint64_t kib, found = UINT64_MAX;
	char line[128], key[64];

	if (!f)
		return found;
	while (found == UINT64_MAX && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63[^:]: %" SCNu64, key, &kib) == 2 && !strcmp(key, name))
			found = kib * 1024;
	}
	fclose(f);
	return found;
}

/* Free pages that wait on the CPUs' own lists, which MemFree leaves out. */
static uint64_t percpu_free_pages(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	uint64_t count, sum = 0;
	char line[128];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " count: %" SCNu64, &count) == 1)
			sum += count;
	}
	fclose(f);
	return sum;
}

static uint64_t mem_free_now(void)
{
	write_file("/proc/sys/vm/stat_refresh", "1");
	return meminfo("MemFree") + percpu_free_pages() * sysconf(_SC_PAGESIZE);
}

/* Passes at least and at most, and what tells the one that nothing came free in, in bytes. */
#define PASSES		3
#define MAX_PASSES	30
#define STILL		(64 << 10)

uint64_t settled_mem_free(void)
{
	uint64_t last = 0, now = 0;

	/*
	 * More than one pass: what the first sets free late, through RCU and workqueues, the next one
	 * counts. A machine that has little time for that is waited for.
	 */
	for (int i = 0; i < MAX_PASSES && (i < PASSES || now > last + STILL); i++) {
		last = now;
		sync();
		write_file("/proc/sys/vm/drop_caches", "3");
		usleep(100000);
		now = mem_free_now();
	}
	return now;
}

int cpus_possible(void)
{
	char text[64];
	int first, last;

	if (read_file("/sys/devices/system/cpu/possible", text, sizeof(text)))
		return -1;
	switch (sscanf(text, "%d-%d", &first, &last)) {
	case 1:
		return first + 1;
	case 2:
		return last + 1;
	default:
		return -1;
	}
}

bool cpu_is_online(int cpu)
{
	char path[64], text[8];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	/* A CPU that cannot be hotplugged has no such file and is there. */
	return read_file(path, text, sizeof(text)) == -ENOENT || text[0] == '1';
}

int cpus_online(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

int cpu_set_online(int cpu, bool online)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	return write_file(path, online ? "1" : "0");
}

int pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		error = -errno;
	close(fd);
	return error;
}

int read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return n < 0 ? -EIO : 0;
}

int load_module(const char *name, const char *params)
{
	char path[64];
	int fd, error = 0;

	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, params, 0))
		error = -errno;
	close(fd);
	return error;
}

int unload_module(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

int log_open(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (log < 0)
		return -errno;
	lseek(log, 0, SEEK_END);
	return log;
}

int log_matches(int log, const char *pattern)
{
	char record[2048], *text;
	int matches = 0;
	regex_t regex;
	ssize_t n;

	if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB))
		return -EINVAL;
	/* One record for each read; what this test itself wrote is no finding. */
	while ((n = read(log, record, sizeof(record) - 1)) > 0) {
		record[n] = '\0';
		text = strchr(record, ';');
		if (text && strncmp(++text, "TAP: ", 5) && !regexec(&regex, text, 0, NULL, 0))
			matches++;
	}
	regfree(&regex);
	return matches;
}
