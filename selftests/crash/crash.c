// SPDX-License-Identifier: GPL-2.0
/* crash KIND: asks EL2 to break itself (EL2_CALL_CRASH). The console shows the result. */
#include <stdio.h>
#include <stdlib.h>

#include "el2.h"
#include "machine.h"

int main(int argc, char **argv)
{
	int fd = hostile_open();
	struct el2_answer answer;

	if (argc != 2 || fd < 0 || pin_to_cpu(cpus_possible() - 1)) {
		fprintf(stderr, "# crash: needs a kind, /dev/hostile and the last CPU\n");
		return 1;
	}
	answer = el2_call2(fd, EL2_CALL_CRASH, atoi(argv[1]), 0);
	printf("# EL2 came back with %lld\n", (long long)answer.x0);
	return 1;
}
