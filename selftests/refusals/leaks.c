// SPDX-License-Identifier: GPL-2.0
/*
 * leaks MODULE: loads a module that is refused, over and over. The first line says how many times; the
 * status is 0 if that took no memory, 1 if it did, and 2 if a load was not refused.
 */
#include <inttypes.h>
#include <stdio.h>

#include "leak.h"
#include "machine.h"

/* In a round: more than 32 KiB each time are found. */
#define TIMES	8

struct loads {
	const char *module;
	int refused;
	int taken;
};

static void load(void *arg)
{
	struct loads *loads = arg;

	if (load_module(loads->module, ""))
		loads->refused++;
	else
		loads->taken++;
}

int main(int argc, char **argv)
{
	struct loads loads = { .module = argc == 2 ? argv[1] : "mvirt" };
	int64_t lost = leaked(load, &loads, TIMES);

	printf("%d\n", loads.refused);
	if (loads.taken) {
		printf("%d loads were not refused\n", loads.taken);
		return 2;
	}
	printf("%" PRId64 " KiB lost by %d loads\n", lost / 1024, lost ? TIMES : loads.refused);
	return lost ? 1 : 0;
}
