// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>

#include "leak.h"
#include "machine.h"

int64_t leaked(void (*once)(void *arg), void *arg, int times)
{
	int64_t lost, best = INT64_MAX;
	uint64_t before, after;
	int round, i;

	before = settled_mem_free();
	for (round = 0; round < LEAK_ROUNDS; round++) {
		for (i = 0; i < times; i++)
			once(arg);
		after = settled_mem_free();
		lost = before - after;
		if (llabs(lost) < LEAK_SLACK)
			return 0;
		if (llabs(lost) < llabs(best))
			best = lost;
		before = after;
	}
	return best;
}
