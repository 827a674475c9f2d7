// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hostile.h"
#include "machine.h"
#include "search.h"

/* How a process's memory is read: the bytes read, or less than 1. */
typedef ssize_t (*read_fn)(int fd, pid_t pid, void *to, size_t size, uint64_t from);

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int search_begin(struct search *s, const char *hex)
{
	unsigned char *byte = (unsigned char *)s->complement;

	memset(s, 0, sizeof(*s));
	if (strlen(hex) != 2 * SECRET_BYTES)
		return -EINVAL;
	for (; *hex; hex += 2) {
		if (digit(hex[0]) < 0 || digit(hex[1]) < 0)
			return -EINVAL;
		*byte++ = ~(digit(hex[0]) << 4 | digit(hex[1]));
	}
	return 0;
}

void *search_piece(struct search *s)
{
	return s->words + SECRET_WORDS - 1;
}

void search_gap(struct search *s)
{
	s->before = 0;
}

static bool is_at(const struct search *s, const uint64_t *at)
{
	for (int i = 0; i < SECRET_WORDS; i++) {
		if (at[i] != ~s->complement[i])
			return false;
	}
	return true;
}

void search_take(struct search *s, size_t tried, size_t read)
{
	const uint64_t *at = s->words + SECRET_WORDS - 1 - s->before;
	const uint64_t *end = s->words + SECRET_WORDS - 1 + read / sizeof(uint64_t);

	s->tried += tried;
	s->read += read;
	for (; at + SECRET_WORDS <= end; at++)
		s->found += is_at(s, at);
	if (read < tried) {
		search_gap(s);
		return;
	}
	/* From the last words, which may be fewer, to before the next piece. */
	s->before = end - at;
	memmove(s->words + SECRET_WORDS - 1 - s->before, at, s->before * sizeof(uint64_t));
}

static void search_range(struct search *s, read_fn read, int fd, pid_t pid, uint64_t at,
			 uint64_t end)
{
	size_t page = sysconf(_SC_PAGESIZE);

	search_gap(s);
	while (at < end) {
		size_t size = end - at < PIECE_BYTES ? end - at : PIECE_BYTES;
		ssize_t got = read(fd, pid, search_piece(s), size, at);
		size_t whole = got > 0 ? got - got % sizeof(uint64_t) : 0;

		/* The rest of the page that ended it is lost; what is behind it is tried again. */
		if (whole < size)
			size = whole - whole % page + page;
		search_take(s, size, whole);
		at += size;
	}
}

/* All that a process has mapped and may read itself. */
static int search_process(struct search *s, read_fn read, int fd, pid_t pid)
{
	uint64_t start, end;
	char path[32], line[512], may;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	if (!maps)
		return -errno;
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %c", &start, &end, &may) == 3 &&
		    may == 'r')
			search_range(s, read, fd, pid, start, end);
	}
	fclose(maps);
	return 0;
}

static ssize_t read_proc_mem(int fd, pid_t pid, void *to, size_t size, uint64_t from)
{
	return pread(fd, to, size, from);
}

static ssize_t read_process_vm(int fd, pid_t pid, void *to, size_t size, uint64_t from)
{
	struct iovec local = { to, size };
	struct iovec remote = { (void *)(uintptr_t)from, size };

	return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}

int search_proc_mem(struct search *s, pid_t pid)
{
	char path[32];
	int fd, error;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = search_process(s, read_proc_mem, fd, pid);
	close(fd);
	return error;
}

int search_process_vm(struct search *s, pid_t pid)
{
	return search_process(s, read_process_vm, -1, pid);
}

int search_linear_map(struct search *s, int hostile)
{
	struct phys_range ranges[MAX_RAM_RANGES];
	size_t n = ram_ranges(ranges, MAX_RAM_RANGES), page = sysconf(_SC_PAGESIZE);

	if (n == 0)
		return -ENOENT;
	for (size_t i = 0; i < n; i++) {
		search_gap(s);
		for (uint64_t pfn = ranges[i].first_pfn; pfn <= ranges[i].last_pfn; pfn++) {
			struct hostile_page read = {
				.pfn = pfn, .buffer = (uintptr_t)search_piece(s),
			};

			if (ioctl(hostile, HOSTILE_READ_PAGE, &read))
				return -errno;
			search_take(s, page, read.error ? 0 : page);
		}
	}
	return 0;
}
