// SPDX-License-Identifier: GPL-2.0
/*
 * patch-image MEMBER: changes a member of the EL2 image's header in /modules/mvirt.ko, so that the
 * next load finds an image that it must refuse. The members are those of struct ImageHeader in
 * module/abi/contract/header.rs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest.h"

#define MODULE		"/modules/mvirt.ko"
#define LINK_BASE	(1ULL << 47)

struct header {
	char magic[8];
	uint64_t abi_hash;
	uint64_t link_base;
	uint32_t page_shift;
};

/* The magic alone may stand elsewhere in the module, as a constant of its code. */
static struct header *find(char *file, size_t size)
{
	for (size_t at = 0; at + sizeof(struct header) <= size; at += 8) {
		struct header *header = (struct header *)(file + at);

		if (!memcmp(header->magic, "mvirtEL2", 8) && header->link_base == LINK_BASE)
			return header;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *member = argc == 2 ? argv[1] : "";
	struct header *header;
	struct stat st;
	char *file;
	int fd;

	ksft_print_header();
	ksft_set_plan(1);
	fd = open(MODULE, O_RDWR);
	if (fd < 0 || fstat(fd, &st))
		ksft_exit_fail_msg("%s: %s\n", MODULE, strerror(errno));
	file = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	header = find(file, st.st_size);
	if (!header)
		ksft_exit_fail_msg("no EL2 image in %s\n", MODULE);
	if (!strcmp(member, "page_shift"))
		header->page_shift ^= 12 ^ 14;
	else if (!strcmp(member, "abi_hash"))
		header->abi_hash ^= 1;
	else
		ksft_exit_fail_msg("usage: patch-image page_shift|abi_hash\n");
	munmap(file, st.st_size);
	close(fd);
	ksft_test_result_pass("%s\n", member);
	ksft_finished();
}
