/* SPDX-License-Identifier: GPL-2.0 */
/* Does something cost the host memory each time that it is done? */
#ifndef MVIRT_LEAK_H
#define MVIRT_LEAK_H

#include <stdint.h>

/* What a round may take or give back by chance, in bytes. */
#define LEAK_SLACK	(256 << 10)
#define LEAK_ROUNDS	6

/*
 * Calls @once @times times in a round, and measures the host's free memory before and after. A round that
 * moved it by less than LEAK_SLACK ends the search: 0 is returned. Else there is another one, up to
 * LEAK_ROUNDS in all: what the kernel's caches take once, or give back in the meantime, is in one round
 * or two. A leak is in each of them and is found if it is more than LEAK_SLACK / @times a time. What the
 * best round lost is returned then, in bytes, negative if memory came free.
 */
int64_t leaked(void (*once)(void *arg), void *arg, int times);

#endif /* MVIRT_LEAK_H */
