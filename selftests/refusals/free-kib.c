// SPDX-License-Identifier: GPL-2.0
/* Prints the host's free memory in KiB, for scripts. */
#include <inttypes.h>
#include <stdio.h>

#include "machine.h"

int main(void)
{
	printf("%" PRIu64 "\n", settled_mem_free() / 1024);
	return 0;
}
