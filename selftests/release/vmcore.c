// SPDX-License-Identifier: GPL-2.0
/*
 * The crash kernel reads all of the crashed kernel's memory. What was EL2's, whose pages el2_pages= on the
 * command line names, reads as zeros. Powers the machine off itself: a boot that crashed does not say that
 * it is done.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "kselftest.h"

#define MAX_SEGMENTS	64

static Elf64_Phdr segments[MAX_SEGMENTS];
static int nr_segments;
static char *page;
static size_t page_size;

static int open_core(void)
{
	int fd = open("/proc/vmcore", O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr elf;

	if (fd < 0)
		ksft_exit_fail_msg("/proc/vmcore: %s\n", strerror(errno));
	if (pread(fd, &elf, sizeof(elf), 0) != sizeof(elf) || elf.e_phnum > MAX_SEGMENTS)
		ksft_exit_fail_msg("no ELF header\n");
	nr_segments = elf.e_phnum;
	if (pread(fd, segments, nr_segments * sizeof(*segments), elf.e_phoff) !=
	    (ssize_t)(nr_segments * sizeof(*segments)))
		ksft_exit_fail_msg("no segments\n");
	return fd;
}

/* Reads the page at a physical address: 1, 0 if the core has no such page, or -errno. */
static int read_page(int fd, uint64_t phys)
{
	for (int i = 0; i < nr_segments; i++) {
		const Elf64_Phdr *s = &segments[i];

		if (s->p_type != PT_LOAD || phys < s->p_paddr || phys - s->p_paddr >= s->p_memsz)
			continue;
		if (pread(fd, page, page_size, s->p_offset + phys - s->p_paddr) != (ssize_t)page_size)
			return errno ? -errno : -EIO;
		return 1;
	}
	return 0;
}

static int is_zero(void)
{
	for (size_t i = 0; i < page_size; i++)
		if (page[i])
			return 0;
	return 1;
}

/* All of it, page by page; what could not be read. */
static uint64_t read_all(int fd, uint64_t *read)
{
	uint64_t failed = 0, phys, end;

	for (int i = 0; i < nr_segments; i++) {
		if (segments[i].p_type != PT_LOAD)
			continue;
		end = segments[i].p_paddr + segments[i].p_memsz;
		for (phys = segments[i].p_paddr; phys + page_size <= end; phys += page_size) {
			if (read_page(fd, phys) == 1)
				(*read)++;
			else
				failed++;
		}
	}
	return failed;
}

int main(void)
{
	const char *list = getenv("el2_pages");
	uint64_t read = 0, failed, pages = 0, zero = 0, pfn;
	int fd;

	page_size = sysconf(_SC_PAGESIZE);
	page = malloc(page_size);
	ksft_print_header();
	ksft_set_plan(2);
	fd = open_core();
	failed = read_all(fd, &read);
	ksft_print_msg("%" PRIu64 " pages read, %" PRIu64 " not\n", read, failed);
	ksft_test_result(read > 0 && !failed, "all_memory_is_readable\n");
	while (list && sscanf(list, "%" SCNx64, &pfn) == 1) {
		if (read_page(fd, pfn * page_size) == 1) {
			pages++;
			zero += is_zero();
		}
		list = strchr(list, ',');
		list = list ? list + 1 : NULL;
	}
	ksft_print_msg("%" PRIu64 " pages of EL2's, %" PRIu64 " read as zeros\n", pages, zero);
	ksft_test_result(pages > 0 && zero == pages, "what_was_el2s_is_zeros\n");
	fflush(stdout);
	usleep(500000);
	reboot(RB_POWER_OFF);
	return 1;
}
