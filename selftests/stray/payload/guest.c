// SPDX-License-Identifier: GPL-2.0
/* A guest with a secret, that looks after it all the time, and tells at each beat how it is. */
#include "payload.h"
#include "tests.h"

PAYLOAD_TESTS(STRAY_PAYLOADS)

static u64 count_wrong(u64 end, u64 seed)
{
	u64 a, wrong = 0;

	for (a = SECRET_BASE; a < end; a += 8)
		wrong += mmio_read64(a) != SECRET_AT(seed, a);
	return wrong;
}

/* Adds 1 to each word from @a on, which all are @count. */
static u64 count_on(u64 a, u64 end, u64 count)
{
	u64 wrong = 0;

	for (; a < end; a += 8) {
		wrong += mmio_read64(a) != count;
		mmio_write64(a, count + 1);
	}
	return wrong;
}

void keep(void)
{
	u64 page = request(REQUEST_PAGE, 0), seed = request(REQUEST_SEED, 0);
	u64 counters = SECRET_BASE + (SECRET_PAGES - 1) * page, end = SECRET_BASE + SECRET_PAGES * page;
	u64 a, wrong, command, beats = 0;

	for (a = SECRET_BASE; a < counters; a += 8)
		mmio_write64(a, SECRET_AT(seed, a));
	CHECK_EQ(count_wrong(counters, seed), 0);
	do {
		wrong = count_wrong(counters, seed) + count_on(counters, end, beats);
		command = request(REQUEST_BEAT, wrong);
		for (a = FRESH_BASE; command == COMMAND_TOUCH && a < FRESH_BASE + FRESH_PAGES * page; a += page)
			(void)mmio_read64(a);
		beats++;
	} while (command != COMMAND_END);
	CHECK_LE(2, beats);
}
