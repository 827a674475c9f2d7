// SPDX-License-Identifier: GPL-2.0
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load_threads.h"

#define MAX_THREADS	32
#define BYTES		(256 << 10)

static pthread_t threads[MAX_THREADS];
static int nr_threads;
static atomic_bool stop;
static atomic_bool wrong;
static atomic_llong rounds;

/* Maps, fills, yields so that it may move to another CPU, checks, unmaps. */
static void *work(void *arg)
{
	uint64_t seed = (uintptr_t)arg + 1, value;
	size_t i;

	while (!stop) {
		uint64_t *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED) {
			wrong = true;
			break;
		}
		value = seed;
		for (i = 0; i < BYTES / sizeof(*p); i += 8)
			p[i] = value = value * 6364136223846793005ULL + 1442695040888963407ULL;
		sched_yield();
		value = seed;
		for (i = 0; i < BYTES / sizeof(*p); i += 8) {
			value = value * 6364136223846793005ULL + 1442695040888963407ULL;
			if (p[i] != value)
				wrong = true;
		}
		seed = value;
		munmap(p, BYTES);
		rounds++;
	}
	return NULL;
}

int load_start(int nr)
{
	stop = false;
	wrong = false;
	rounds = 0;
	for (nr_threads = 0; nr_threads < nr && nr_threads < MAX_THREADS; nr_threads++) {
		int error = pthread_create(&threads[nr_threads], NULL, work,
					   (void *)(uintptr_t)nr_threads);

		if (error) {
			load_stop();
			return -error;
		}
	}
	return 0;
}

int64_t load_stop(void)
{
	stop = true;
	while (nr_threads)
		pthread_join(threads[--nr_threads], NULL);
	return wrong ? -1 : rounds;
}
