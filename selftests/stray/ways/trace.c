// SPDX-License-Identifier: GPL-2.0
/* Tracing that copies user memory: perf's samples, ftrace's marker and arguments of a probe. */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"
#include "stray.h"

#define TRACING	"/sys/kernel/tracing/"
#define STACK_BYTES	512
#define RING_PAGES	16

/* Turns for ever with SP and the frame pointer in the guest's memory, and accesses neither. */
static int spin(void *arg)
{
	asm volatile("mov sp, %0\n\tmov x29, %0\n\t1: b 1b" : : "r"(arg));
	return 0;
}

static int open_samples(pid_t pid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 1000000,
		.sample_type = PERF_SAMPLE_CALLCHAIN | PERF_SAMPLE_STACK_USER,
		.sample_stack_user = STACK_BYTES,
		.exclude_kernel = 1,
		.exclude_callchain_kernel = 1,
	};

	return syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* One sample: its user call chain and the copy of its stack. What is of the guest's memory in it. */
static unsigned int sample(struct stray *s, const struct perf_event_header *head)
{
	const uint64_t *at = (const uint64_t *)(head + 1), *end = (const void *)((const uint8_t *)head + head->size);
	uint64_t nr = *at++, size, i;
	unsigned int got = 0;

	/* PERF_CONTEXT_USER and the PC; then return addresses out of frames, which are at the secret's start. */
	for (i = 0; i < nr && at < end; i++, at++) {
		if (i >= 2 && *at == SECRET_AT(s->seed, SECRET_BASE + 8))
			got |= OUT_SECRET;
	}
	if (at >= end)
		return got;
	size = *at++;
	/* Its size that was copied stands behind it. */
	if (!size || (const uint8_t *)at + size + 8 > (const uint8_t *)end)
		return got;
	return got | saw(s, at, at[size / 8] < size ? at[size / 8] : size, 0);
}

static unsigned int read_samples(struct stray *s, struct perf_event_mmap_page *page, size_t ring, unsigned int *n)
{
	static uint8_t record[1 << 16];
	const uint8_t *data = (const uint8_t *)page + s->page;
	uint64_t head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE), tail = page->data_tail;
	struct perf_event_header *one = (void *)record;
	unsigned int got = 0;
	size_t i;

	for (; tail < head; tail += one->size) {
		/* A record may go over the end. */
		for (i = 0; i < sizeof(*one); i++)
			record[i] = data[(tail + i) % ring];
		for (; i < one->size; i++)
			record[i] = data[(tail + i) % ring];
		if (one->type != PERF_RECORD_SAMPLE)
			continue;
		(*n)++;
		got |= sample(s, one);
	}
	__atomic_store_n(&page->data_tail, tail, __ATOMIC_RELEASE);
	return got;
}

unsigned int way_perf_stack(struct stray *s)
{
	static uint8_t stack[1 << 14] __attribute__((aligned(16)));
	struct perf_event_mmap_page *ring;
	unsigned int got = 0, n = 0;
	int fd, i;
	pid_t pid;

	pid = clone(spin, stack + sizeof(stack), CLONE_VM | SIGCHLD, s->secret);
	fd = open_samples(pid);
	if (pid < 0 || fd < 0)
		return broke(s, "perf_event_open");
	ring = mmap(NULL, (1 + RING_PAGES) * s->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED)
		return broke(s, "mmap of the samples");
	for (i = 0; n < 50 && i < 2000; i++) {
		usleep(10000);
		got |= read_samples(s, ring, RING_PAGES * s->page, &n);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
	if (n < 50) {
		note(s, "only %u samples came", n);
		return OUT_BROKEN;
	}
	return got;
}

/* The text of the trace, behind a mark that this process has put there. */
static char *read_trace(void)
{
	static char text[1 << 16];
	int fd = open(TRACING "trace", O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n;

	while (fd >= 0 && used < sizeof(text) - 1 && (n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += n;
	close(fd);
	text[used] = '\0';
	return text;
}

unsigned int way_trace_marker(struct stray *s)
{
	int fd = open(TRACING "trace_marker_raw", O_WRONLY | O_CLOEXEC), pipe;
	/* A number of the caller's own comes first: from the VMM's memory before the guest's. */
	uint8_t *from = s->secret - 8, raw[1 << 12];
	uint64_t word;
	ssize_t n = 0, i;

	pipe = open(TRACING "per_cpu/cpu0/trace_pipe_raw", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || pipe < 0 || pin_to_cpu(0) || write_file(TRACING "trace", ""))
		return broke(s, "trace_marker_raw");
	if (write(fd, from, 8 + 128) != 8 + 128)
		return gave(s, "trace_marker_raw", -1);
	n = read(pipe, raw, sizeof(raw));
	close(pipe);
	close(fd);
	/* The bytes behind the mark are as they were read. */
	for (i = 0; i + 8 + 128 <= n; i += 4) {
		memcpy(&word, raw + i, sizeof(word));
		if (word == s->marker)
			return saw(s, raw + i + 8, 128, 0);
	}
	note(s, "no mark in the %zd bytes of the trace", n);
	return OUT_BROKEN;
}

/* The first words of what write() is called with, as a probe of the kernel's sees them. */
unsigned int way_kprobe(struct stray *s)
{
	static const char probe[] = "p:stray/w vfs_write n=%x2:u64 a=+u0(%x1):x64 b=+u8(%x1):x64";
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	unsigned int got = OUT_BROKEN;
	unsigned long long value[2];
	char own[32], *line;

	if (write_file(TRACING "kprobe_events", probe) || write_file(TRACING "trace", "") ||
	    write_file(TRACING "events/stray/w/enable", "1"))
		return broke(s, "kprobe_events");
	if (write(null, s->secret, 16) != 16)
		return broke(s, "write");
	write_file(TRACING "events/stray/w/enable", "0");
	/* Of this thread alone. */
	snprintf(own, sizeof(own), "-%ld ", syscall(SYS_gettid));
	for (line = strtok(read_trace(), "\n"); line; line = strtok(NULL, "\n")) {
		/* The write that turned the probe off is in it, too. */
		if (strstr(line, own) && strstr(line, "n=16 ") &&
		    sscanf(strstr(line, "n=16 "), "n=16 a=%llx b=%llx", &value[0], &value[1]) == 2)
			got = saw(s, value, sizeof(value), 0);
	}
	write_file(TRACING "kprobe_events", "-:stray/w");
	return got;
}
