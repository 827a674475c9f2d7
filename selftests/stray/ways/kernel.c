// SPDX-License-Identifier: GPL-2.0
/* The kernel's own mappings: the linear map, with fixup and without, new ones, and what shows them. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "el2.h"
#include "stray.h"

static uint8_t buffer[1 << 16];

/* Pages that one after the other is tried on. */
#define PAGES	4

static unsigned int access_page(struct stray *s, int fd, enum hostile_way way, unsigned int page, bool write)
{
	struct hostile_access access = {
		.pfn = pfn_of(s->secret + page * s->page),
		.value = s->marker,
		.offset = 64,
		.way = way,
		.write = write,
	};

	if (!access.pfn || ioctl(fd, HOSTILE_ACCESS, &access))
		return broke(s, "HOSTILE_ACCESS");
	if (access.error) {
		errno = -access.error;
		return gave(s, "the access", -1);
	}
	return write ? OUT_PASSES : saw(s, &access.value, 8, page * s->page + access.offset);
}

static unsigned int access_all(struct stray *s, bool linear, bool write)
{
	int fd = hostile_open(), way;
	unsigned int got = 0, page;

	for (way = linear ? HOSTILE_LINEAR : HOSTILE_VMAP; way < (linear ? HOSTILE_VMAP : HOSTILE_WAYS); way++) {
		for (page = 0; page < PAGES; page++)
			got |= access_page(s, fd, way, page, write);
	}
	close(fd);
	return got;
}

unsigned int way_nofault_read(struct stray *s) { return access_all(s, true, false); }
unsigned int way_nofault_write(struct stray *s) { return access_all(s, true, true); }
unsigned int way_vmap_read(struct stray *s) { return access_all(s, false, false); }
unsigned int way_vmap_write(struct stray *s) { return access_all(s, false, true); }

unsigned int way_kdump(struct stray *s)
{
	struct hostile_page read = { .buffer = (uintptr_t)buffer };
	int fd = hostile_open();
	unsigned int got = 0, page;

	for (page = 0; page < PAGES; page++) {
		read.pfn = pfn_of(s->secret + page * s->page);
		if (!read.pfn || ioctl(fd, HOSTILE_READ_PAGE, &read))
			return broke(s, "HOSTILE_READ_PAGE");
		errno = -read.error;
		got |= read.error ? gave(s, "the read", -1) : saw(s, buffer, s->page, page * s->page);
	}
	close(fd);
	return got;
}

/* What the kernel does to pages by the linear map; the first page's address there. */
static unsigned int touch(struct stray *s, uint32_t kind, size_t seen, uint64_t *address)
{
	struct hostile_touch call = { .buffer = (uintptr_t)buffer, .kind = kind };
	int fd = hostile_open();
	unsigned int got = 0, page;

	for (page = 0; page < PAGES; page++) {
		call.pfn = pfn_of(s->secret + page * s->page);
		if (!call.pfn || ioctl(fd, HOSTILE_TOUCH, &call))
			return broke(s, "HOSTILE_TOUCH");
		if (!page && address)
			*address = call.address;
		got |= seen ? saw(s, buffer, seen, page * s->page) : OUT_PASSES;
	}
	close(fd);
	return got;
}

unsigned int way_scan(struct stray *s) { return touch(s, HOSTILE_SCAN, s->page, NULL); }
unsigned int way_copy_page(struct stray *s) { return touch(s, HOSTILE_COPY, s->page, NULL); }
unsigned int way_clear_page(struct stray *s) { return touch(s, HOSTILE_CLEAR, 0, NULL); }
unsigned int way_poison_page(struct stray *s) { return touch(s, HOSTILE_POISON, 0, NULL); }
unsigned int way_clean_page(struct stray *s) { return touch(s, HOSTILE_CLEAN, 0, NULL); }
unsigned int way_atomic_page(struct stray *s) { return touch(s, HOSTILE_ATOMIC, 0, NULL); }

unsigned int way_zeropad(struct stray *s)
{
	uint64_t first;
	unsigned int got = touch(s, HOSTILE_ZEROPAD, 8, NULL);

	/* Half a word is neither zeros nor the guest's, by its measure: by this one it may be. */
	memcpy(&first, buffer, sizeof(first));
	if (got == OUT_STRANGE && first == (uint32_t)SECRET_AT(s->seed, SECRET_BASE + (PAGES - 1) * s->page))
		return OUT_SECRET;
	return got;
}

uint64_t linear_address(struct stray *s)
{
	uint64_t address = 0;

	/* Cleans the caches, and changes nothing. */
	touch(s, HOSTILE_CLEAN, 0, &address);
	return address;
}

/* The segment of /proc/kcore that has the address. */
unsigned int way_kcore(struct stray *s)
{
	uint64_t address = linear_address(s);
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC), i;
	Elf64_Phdr segment;
	Elf64_Ehdr head;

	if (fd < 0 || !address || pread(fd, &head, sizeof(head), 0) != sizeof(head))
		return broke(s, "/proc/kcore");
	for (i = 0; i < head.e_phnum; i++) {
		if (pread(fd, &segment, sizeof(segment), head.e_phoff + i * sizeof(segment)) != sizeof(segment))
			return broke(s, "/proc/kcore");
		if (segment.p_type != PT_LOAD || address - segment.p_vaddr >= segment.p_filesz)
			continue;
		if (pread(fd, buffer, s->page, segment.p_offset + address - segment.p_vaddr) != (ssize_t)s->page)
			return gave(s, "read of /proc/kcore", -1);
		close(fd);
		return saw(s, buffer, s->page, 0);
	}
	errno = ENOENT;
	return broke(s, "/proc/kcore");
}

/* RAM is not to be had there, whosever it is. */
unsigned int way_dev_mem(struct stray *s)
{
	int fd = open("/dev/mem", O_RDWR | O_CLOEXEC);
	off_t at = pfn_of(s->secret) * s->page;
	ssize_t n = pread(fd, buffer, s->page, at);
	void *map;

	if (n == (ssize_t)s->page)
		return saw(s, buffer, s->page, 0);
	if (gave(s, "/dev/mem", n) != OUT_EPERM)
		return broke(s, "/dev/mem");
	map = mmap(NULL, s->page, PROT_READ, MAP_SHARED, fd, at);
	return gave(s, "mmap of /dev/mem", map == MAP_FAILED ? -1 : 0);
}
