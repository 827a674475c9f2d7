// SPDX-License-Identifier: GPL-2.0
/* Memory that is said to fail. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"
#include "stray.h"

/* linux/mman.h's number: the C library has no name for it. */
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

/* The VMM is told by SIGBUS; the page is not used again, once it is free. */
unsigned int way_hwpoison(struct stray *s)
{
	volatile int ret = 0;

	if (CAUGHT(ret = madvise(s->secret, s->page, MADV_HWPOISON)))
		return guard.code == BUS_MCEERR_AR || guard.code == BUS_MCEERR_AO ? OUT_SIGBUS : OUT_BROKEN;
	return gave(s, "MADV_HWPOISON", ret);
}

unsigned int way_soft_offline(struct stray *s)
{
	uint64_t pfn = pfn_of(s->secret);
	unsigned int got = gave(s, "MADV_SOFT_OFFLINE", madvise(s->secret, s->page, MADV_SOFT_OFFLINE));

	if (pfn != pfn_of(s->secret)) {
		note(s, "the page moved");
		got |= OUT_STRANGE;
	}
	return got;
}

/*
 * The same from without: as a machine's report of an error would. Of another page than above: a huge page
 * that could not be split is used again.
 */
unsigned int way_hwpoison_inject(struct stray *s)
{
	volatile uint64_t *at = (uint64_t *)(s->secret + 3 * s->page);
	volatile int error = 0;
	uint64_t value = 0;
	char text[32];

	snprintf(text, sizeof(text), "%#llx", (unsigned long long)pfn_of((void *)at));
	/* The VMM may be told at once. */
	if (CAUGHT(error = write_file("/sys/kernel/debug/hwpoison/corrupt-pfn", text)))
		return OUT_SIGBUS;
	/* Somebody still has the page: the guest. EHWPOISON: so that a huge page could not be split. */
	if (error && error != -EBUSY && error != -EHWPOISON) {
		errno = -error;
		return broke(s, "corrupt-pfn");
	}
	/* No longer mapped; a huge page is, and then the SIGBUS is EL2's. */
	if (CAUGHT(value = *at))
		return OUT_SIGBUS;
	return saw(s, &value, sizeof(value), 3 * s->page);
}
