// SPDX-License-Identifier: GPL-2.0
/* Memory pressure: a swap device on compressed memory, and a group of which memory is reclaimed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include "machine.h"
#include "stray.h"

#define GROUPS	"/tmp/groups"
#define GROUP	GROUPS "/stray"
#define OWN	(16UL << 20)

/* The header that mkswap writes: linux/swap.h, union swap_header. */
static int make_swap(size_t page)
{
	static uint8_t head[1 << 16];
	uint32_t fields[2] = { 1, (64 << 20) / page - 1 };
	int fd, error;

	if (write_file("/sys/block/zram0/disksize", "64M"))
		return -1;
	memcpy(head + 1024, fields, sizeof(fields));
	memcpy(head + page - 10, "SWAPSPACE2", 10);
	fd = open("/dev/zram0", O_WRONLY | O_CLOEXEC);
	error = write(fd, head, page) != (ssize_t)page;
	close(fd);
	return error ? -1 : swapon("/dev/zram0", 0);
}

static int join_group(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	mkdir(GROUPS, 0700);
	if (mount("none", GROUPS, "cgroup2", 0, NULL) ||
	    write_file(GROUPS "/cgroup.subtree_control", "+memory") || mkdir(GROUP, 0700))
		return -1;
	return write_file(GROUP "/cgroup.procs", pid);
}

static void leave(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	write_file(GROUPS "/cgroup.procs", pid);
	rmdir(GROUP);
	umount2(GROUPS, MNT_DETACH);
	swapoff("/dev/zram0");
	write_file("/sys/block/zram0/reset", "1");
}

static long swapped_out(void)
{
	FILE *file = fopen("/proc/vmstat", "r");
	long value, found = 0;
	char name[64];

	while (file && fscanf(file, "%63s %ld", name, &value) == 2) {
		if (!strcmp(name, "pswpout"))
			found = value;
	}
	if (file)
		fclose(file);
	return found;
}

/* Memory of its own that is not all alike. */
static uint8_t *own_memory(void)
{
	uint8_t *own = mmap(NULL, OWN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	for (i = 0; own != MAP_FAILED && i < OWN; i += sizeof(uint64_t))
		*(uint64_t *)(own + i) = i * 0x9e3779b97f4a7c15UL;
	return own;
}

/* The process's own memory is swapped out by it, or there was no pressure. */
static unsigned int under_pressure(struct stray *s, unsigned int (*press)(struct stray *s, uint8_t *own))
{
	uint64_t first = pfn_of(s->secret);
	long before = swapped_out();
	unsigned int got;
	uint8_t *own;

	if (make_swap(s->page))
		return broke(s, "swap on zram");
	if (join_group()) {
		swapoff("/dev/zram0");
		return broke(s, "memory group");
	}
	own = own_memory();
	got = own == MAP_FAILED ? OUT_BROKEN : press(s, own);
	if (!stray_beats(s, 2))
		got = OUT_BROKEN;
	if (swapped_out() - before < (long)(OWN / s->page / 4)) {
		note(s, "%ld pages were swapped out", swapped_out() - before);
		got |= OUT_BROKEN;
	}
	if (!first || first != pfn_of(s->secret)) {
		note(s, "a page of the guest's left");
		got |= OUT_STRANGE;
	}
	munmap(own, OWN);
	leave();
	return got;
}

static unsigned int reclaim(struct stray *s, uint8_t *own)
{
	int i;

	/* EAGAIN where there is less to be had. */
	for (i = 0; i < 5; i++)
		write_file(GROUP "/memory.reclaim", "64M");
	return OUT_PASSES;
}

static unsigned int page_out(struct stray *s, uint8_t *own)
{
	if (madvise(own, OWN, MADV_PAGEOUT))
		return gave(s, "MADV_PAGEOUT", -1);
	return gave(s, "MADV_PAGEOUT", madvise(s->secret, SECRET_PAGES * s->page, MADV_PAGEOUT));
}

unsigned int way_reclaim(struct stray *s) { return under_pressure(s, reclaim); }
unsigned int way_pageout(struct stray *s) { return under_pressure(s, page_out); }
