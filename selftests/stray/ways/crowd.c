// SPDX-License-Identifier: GPL-2.0
/* More than one stray access at a time: on both sides of a copy, and by many threads. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "stray.h"

/* What the kernel copies from @from to @to. */
static unsigned int copy(struct stray *s, const uint8_t *from, uint8_t *to)
{
	struct iovec local = { to, s->page }, remote = { (void *)from, s->page };
	ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

	if (n >= 0 && n != (ssize_t)s->page) {
		note(s, "process_vm_readv: %zd bytes", n);
		return OUT_BROKEN;
	}
	return gave(s, "process_vm_readv", n);
}

/*
 * From one of the guest's pages to two others, at their halves: no page is the kernel's own, and where it
 * copies by FEAT_MOPS a single instruction comes to all three. What is there then is read back.
 */
unsigned int way_both_sides(struct stray *s)
{
	static uint8_t back[1 << 16];
	size_t half = s->page / 2, to;
	unsigned int got = 0, n, one;

	for (n = 0; n + 1 < SECRET_PAGES / 2; n++) {
		to = (SECRET_PAGES / 2 - 1 + n) * s->page + half;
		one = copy(s, s->secret + n * s->page, s->secret + to);
		if (one == OUT_PASSES)
			one = copy(s, s->secret + to, back);
		got |= one == OUT_PASSES ? saw(s, back, s->page, to) : one;
	}
	return got;
}

#define THREADS	16
#define ROUNDS	20
/* Seconds after which a thread begins no other round: the machine may have much else to do. */
#define ENOUGH	10

static struct one {
	struct stray *s;
	pthread_t thread;
	unsigned int number, got;
	/* What it could not do. */
	int error;
	uint8_t buffer[1 << 16];
} all[THREADS];

/* Halves of two pages that are side by side, all over the secret. */
static bool one_round(struct one *one, unsigned int round)
{
	/* The last page is not the secret's. */
	unsigned int places = SECRET_PAGES - 2, n, page;
	struct stray *s = one->s;

	for (n = 0; n < places; n++) {
		page = (one->number * 5 + round + n) % places;
		/* Every second thread goes the other way. */
		if (one->number % 2)
			page = places - 1 - page;
		size_t offset = page * s->page + s->page / 2;
		struct iovec local = { one->buffer, s->page }, remote = { s->secret + offset, s->page };
		ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

		if (got != (ssize_t)s->page) {
			one->error = got < 0 ? errno : EIO;
			return false;
		}
		one->got |= saw(s, one->buffer, s->page, offset);
	}
	return true;
}

static void *stray_on(void *arg)
{
	struct one *one = arg;
	time_t end = time(NULL) + ENOUGH;
	unsigned int round = 0;

	while (one_round(one, round) && ++round < ROUNDS && time(NULL) < end)
		;
	return NULL;
}

unsigned int way_crowd(struct stray *s)
{
	unsigned int got = 0, i, started;

	for (started = 0; started < THREADS; started++) {
		all[started].s = s;
		all[started].number = started;
		errno = pthread_create(&all[started].thread, NULL, stray_on, &all[started]);
		if (errno) {
			got = broke(s, "pthread_create");
			break;
		}
	}
	for (i = 0; i < started; i++) {
		pthread_join(all[i].thread, NULL);
		got |= all[i].got;
		errno = all[i].error;
		if (errno)
			got |= gave(s, "process_vm_readv", -1);
	}
	return got;
}
