// SPDX-License-Identifier: GPL-2.0
/*
 * search WAY SECRET [PID]: looks for a secret of 32 bytes, in hexadecimal digits, as root of the
 * host can. WAY is mem (/proc/PID/mem), vm (process_vm_readv) or linear (all RAM by the kernel's
 * linear map; wants hostile.ko). The fourth way, the mapping of the guest's own VMM, is the VMM's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "el2.h"
#include "search.h"

static int usage(void)
{
	fprintf(stderr, "usage: search mem|vm SECRET PID, or search linear SECRET\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct search s;
	int error, fd;

	if (argc < 3 || search_begin(&s, argv[2]))
		return usage();
	if (!strcmp(argv[1], "mem") && argc == 4) {
		error = search_proc_mem(&s, atoi(argv[3]));
	} else if (!strcmp(argv[1], "vm") && argc == 4) {
		error = search_process_vm(&s, atoi(argv[3]));
	} else if (!strcmp(argv[1], "linear") && argc == 3) {
		fd = hostile_open();
		error = fd < 0 ? fd : search_linear_map(&s, fd);
	} else {
		return usage();
	}
	if (error) {
		fprintf(stderr, "search %s: %s\n", argv[1], strerror(-error));
		return 1;
	}
	printf("search: way=%s tried=%" PRIu64 " read=%" PRIu64 " refused=%" PRIu64
	       " found=%" PRIu64 "\n", argv[1], s.tried, s.read, s.tried - s.read, s.found);
	return 0;
}
