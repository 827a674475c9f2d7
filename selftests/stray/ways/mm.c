// SPDX-License-Identifier: GPL-2.0
/* What a VMM does with the mapping behind its guest's memory, while the guest runs in it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"
#include "el2.h"
#include "machine.h"
#include "stray.h"

#define HUGE	(2UL << 20)

/* What the toolchain's headers may be too old for. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef UFFDIO_MOVE
#define UFFD_FEATURE_MOVE	(1UL << 16)
struct uffdio_move {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define UFFDIO_MOVE	_IOWR(UFFDIO, 0x05, struct uffdio_move)
#endif

/* What the VMM itself loads at the start of a page. */
static unsigned int load(struct stray *s, const uint8_t *at, unsigned int page)
{
	uint64_t value = 0;

	if (CAUGHT(value = *(const volatile uint64_t *)at))
		return OUT_SIGBUS;
	return saw(s, &value, sizeof(value), page * s->page);
}

static unsigned int load_page(struct stray *s, unsigned int page)
{
	return load(s, s->secret + page * s->page, page);
}

/* A child that loads, and writes to what is its own then. */
static unsigned int forked(struct stray *s, bool write)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return broke(s, "fork");
	if (!pid) {
		s->result->got = load_page(s, 0) | load_page(s, SECRET_PAGES / 2);
		if (write && CAUGHT(mark(s, s->secret, 2 * s->page)))
			s->result->got |= OUT_SIGBUS;
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		return broke(s, "the child");
	return s->result->got;
}

unsigned int way_fork(struct stray *s) { return forked(s, true); }
unsigned int way_fork_shared(struct stray *s) { return forked(s, false); }

unsigned int way_mremap(struct stray *s)
{
	size_t size = 4 * s->page;
	uint8_t *to = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mremap(s->secret, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		return gave(s, "mremap", -1);
	return load(s, to, 0);
}

static unsigned int advise(struct stray *s, int advice)
{
	return gave(s, "madvise", madvise(s->secret, 8 * s->page, advice));
}

unsigned int way_dontneed(struct stray *s)
{
	unsigned int got = advise(s, MADV_DONTNEED);

	return got == OUT_PASSES ? load_page(s, 0) | load_page(s, 7) : got;
}

unsigned int way_free(struct stray *s) { return advise(s, MADV_FREE); }
unsigned int way_cold(struct stray *s) { return advise(s, MADV_COLD); }
unsigned int way_mlock(struct stray *s) { return gave(s, "mlock", mlock(s->secret, 8 * s->page)); }

unsigned int way_mprotect(struct stray *s)
{
	unsigned int got = gave(s, "mprotect", mprotect(s->secret, SECRET_PAGES * s->page, PROT_NONE));

	return stray_beats(s, 3) ? got : OUT_BROKEN;
}

unsigned int way_munmap(struct stray *s)
{
	return gave(s, "munmap", munmap(s->secret, SECRET_PAGES * s->page));
}

/* The guest's first access to it finds none. */
unsigned int way_munmap_untouched(struct stray *s)
{
	unsigned int got = gave(s, "munmap", munmap(s->fresh, FRESH_PAGES * s->page));

	__atomic_store_n(&s->command, COMMAND_TOUCH, __ATOMIC_SEQ_CST);
	return got;
}

unsigned int way_truncate(struct stray *s)
{
	unsigned int got = gave(s, "ftruncate", ftruncate(s->memfd, 0));

	return got == OUT_PASSES ? load_page(s, 0) : got;
}

/* The frames of the secret's pages; how many are not there, or not where they were. */
static unsigned int frames(struct stray *s, uint64_t *pfns, bool first)
{
	unsigned int n, moved = 0;

	for (n = 0; n < SECRET_PAGES; n++) {
		uint64_t pfn = pfn_of(s->secret + n * s->page);

		moved += !pfn || (!first && pfn != pfns[n]);
		pfns[n] = pfn;
	}
	return moved;
}

/* A huge page in the place of the guest's pages: these would have to move into it. */
unsigned int way_collapse(struct stray *s)
{
	uint64_t pfns[SECRET_PAGES];
	unsigned int got;

	if (s->page != 4096)
		return lacks(s, "no huge pages of 2 MiB");
	if (frames(s, pfns, true) || madvise(s->secret, HUGE, MADV_HUGEPAGE))
		return broke(s, "MADV_HUGEPAGE");
	got = gave(s, "MADV_COLLAPSE", madvise(s->secret, HUGE, MADV_COLLAPSE));
	if (frames(s, pfns, false)) {
		note(s, "pages of the guest moved");
		got |= OUT_STRANGE;
	}
	return got;
}

static int open_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	int fd = syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);

	return fd >= 0 && ioctl(fd, UFFDIO_API, &api) ? -1 : fd;
}

/* Whether the guest's memory is a huge page. */
static bool is_huge(void)
{
	const char *wanted = getenv("backing");

	return wanted && !strcmp(wanted, "thp");
}

/*
 * A fault of the VMM's that is served by a page of the guest's: by a copy, and by the page itself. Not by a
 * part of a huge page: where that is pinned, by whomever, the kernel tries again until the caller is killed.
 */
unsigned int way_userfault(struct stray *s)
{
	uint8_t *to = mmap(NULL, 2 * s->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register area = { .range = { (uintptr_t)to, 2 * s->page }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_copy copy = { .dst = (uintptr_t)to, .src = (uintptr_t)s->secret, .len = s->page };
	struct uffdio_move move = { .dst = (uintptr_t)to + s->page, .src = (uintptr_t)s->secret + s->page, .len = s->page };
	uint64_t pfns[SECRET_PAGES];
	int fd = open_userfaultfd();
	unsigned int got;

	if (fd < 0 || to == MAP_FAILED || ioctl(fd, UFFDIO_REGISTER, &area) || frames(s, pfns, true))
		return broke(s, "userfaultfd");
	got = gave(s, "UFFDIO_COPY", ioctl(fd, UFFDIO_COPY, &copy));
	if (got == OUT_PASSES)
		got = saw(s, to, s->page, 0);
	if (!is_huge())
		got |= gave(s, "UFFDIO_MOVE", ioctl(fd, UFFDIO_MOVE, &move));
	if (frames(s, pfns, false)) {
		note(s, "a page of the guest moved");
		got |= OUT_STRANGE;
	}
	close(fd);
	return got;
}

/* Half a page: the kernel clears it in place. */
unsigned int way_punch_half(struct stray *s)
{
	return gave(s, "fallocate", fallocate(s->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					      s->page + 512, s->page - 1024));
}

unsigned int way_punch(struct stray *s)
{
	unsigned int got = gave(s, "fallocate", fallocate(s->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
							  0, 4 * s->page));

	return got == OUT_PASSES ? load_page(s, 0) | load_page(s, 3) : got;
}

/* A number of a file in /sys/kernel/mm/ksm. */
static long ksm(const char *name)
{
	char path[64], text[32] = "0";

	snprintf(path, sizeof(path), "/sys/kernel/mm/ksm/%s", name);
	read_file(path, text, sizeof(text));
	return atol(text);
}

/* Pages of the process's own merge meanwhile, or the merger did not run. */
unsigned int way_ksm(struct stray *s)
{
	uint8_t *own = mmap(NULL, 8 * s->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int got = advise(s, MADV_MERGEABLE);
	int i;

	memset(own, 0x5a, 8 * s->page);
	if (madvise(own, 8 * s->page, MADV_MERGEABLE) || write_file("/sys/kernel/mm/ksm/sleep_millisecs", "1") ||
	    write_file("/sys/kernel/mm/ksm/run", "1"))
		return broke(s, "KSM");
	for (i = 0; i < 3000 && ksm("pages_sharing") < 7; i++)
		usleep(10000);
	/* One scan more of all that is there. */
	for (i = ksm("full_scans"); got == OUT_PASSES && ksm("full_scans") < i + 2;)
		if (!stray_beats(s, 1))
			got = OUT_BROKEN;
	if (ksm("pages_sharing") < 7) {
		note(s, "KSM merged %ld of 7 pages", ksm("pages_sharing"));
		got = OUT_BROKEN;
	}
	write_file("/sys/kernel/mm/ksm/run", "2");
	return got;
}

/* Compaction, and the allocation of blocks that wants it: where the guest's pages are, they stay. */
unsigned int way_compact(struct stray *s)
{
	struct hostile_take take = { .order = 9, .pages = 64 };
	uint64_t first = pfn_of(s->secret), last = pfn_of(s->secret + 14 * s->page);
	int fd = hostile_open(), i;

	for (i = 0; i < 3; i++) {
		if (write_file("/proc/sys/vm/compact_memory", "1"))
			return broke(s, "compact_memory");
	}
	if (fd < 0 || ioctl(fd, HOSTILE_TAKE, &take) || !take.count)
		return broke(s, "blocks of 512 pages");
	close(fd);
	if (!first || first != pfn_of(s->secret) || last != pfn_of(s->secret + 14 * s->page)) {
		note(s, "pages of the guest moved");
		return OUT_STRANGE;
	}
	return OUT_PASSES;
}

/* By name and all together: where the guest's pages are, they stay. */
unsigned int way_move_pages(struct stray *s)
{
	unsigned long from = 1, to = 2, mask_size = 8 * sizeof(from);
	int nodes[SECRET_PAGES], status[SECRET_PAGES], i;
	uint64_t pfns[SECRET_PAGES];
	void *pages[SECRET_PAGES];
	long moved;

	if (access("/sys/devices/system/node/node1", F_OK))
		return lacks(s, "one NUMA node");
	if (frames(s, pfns, true))
		return broke(s, "pagemap");
	for (i = 0; i < SECRET_PAGES; i++) {
		pages[i] = s->secret + i * s->page;
		nodes[i] = 1;
		status[i] = -EINTR;
	}
	moved = syscall(SYS_move_pages, 0, SECRET_PAGES, pages, nodes, status, MPOL_MF_MOVE_ALL);
	note(s, "move_pages: %ld, and %d of the first page", moved, status[0]);
	if (moved < 0 || syscall(SYS_migrate_pages, 0, mask_size, &from, &to) < 0)
		return broke(s, "move_pages, migrate_pages");
	if (frames(s, pfns, false)) {
		note(s, "pages of the guest moved");
		return OUT_STRANGE;
	}
	return OUT_PASSES;
}
