// SPDX-License-Identifier: GPL-2.0
/* The guest beside which the host strays, and what its VMM hears from it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "stray.h"

/* Seconds for a guest that does nothing wrong, on a machine that has much else to do. */
#define PATIENCE	60
#define LIFE		600

static struct stray *running;

static uint64_t stray_request(struct vcpu *vcpu, uint64_t number, uint64_t arg)
{
	struct stray *s = running;

	switch (number) {
	case REQUEST_PAGE:
		return s->page;
	case REQUEST_SEED:
		return s->seed;
	case REQUEST_BEAT:
		/* Once it was wrong it stays so. */
		if (arg)
			__atomic_store_n(&s->wrong, arg, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&s->beats, 1, __ATOMIC_SEQ_CST);
		return __atomic_load_n(&s->command, __ATOMIC_SEQ_CST);
	}
	return -ENOSYS;
}

static void *run(void *vm)
{
	vm_run(vm, LIFE);
	return NULL;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static bool stopped(struct stray *s)
{
	bool stopped;

	pthread_mutex_lock(&s->vm.lock);
	stopped = s->vm.stop;
	pthread_mutex_unlock(&s->vm.lock);
	return stopped;
}

bool stray_beats(struct stray *s, unsigned int n)
{
	uint64_t until = __atomic_load_n(&s->beats, __ATOMIC_SEQ_CST) + n;
	double end = seconds() + PATIENCE;

	while (__atomic_load_n(&s->beats, __ATOMIC_SEQ_CST) < until) {
		if (stopped(s) || seconds() > end)
			return false;
		usleep(500);
	}
	return true;
}

#define HUGE	(2UL << 20)

/* Memory that begins with a block of huge pages, with a page of the process's own before it. */
static uint8_t *reserve(struct stray *s, size_t size, enum backing backing)
{
	uint8_t *area = mmap(NULL, 3 * HUGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *at;

	if (area == MAP_FAILED)
		return NULL;
	at = (uint8_t *)(((uintptr_t)area + HUGE) & ~(HUGE - 1));
	/* EINVAL: a kernel without huge pages. */
	if (madvise(area, 3 * HUGE, MADV_NOHUGEPAGE) && errno != EINVAL)
		return NULL;
	if (backing == BACKING_THP && madvise(at, HUGE, MADV_HUGEPAGE))
		return NULL;
	if (backing == BACKING_MEMFD) {
		s->memfd = syscall(SYS_memfd_create, "guest", 1 /* MFD_CLOEXEC */);
		if (s->memfd < 0 || ftruncate(s->memfd, size) ||
		    mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, s->memfd, 0) == MAP_FAILED)
			return NULL;
	}
	return at;
}

static int build(struct stray *s, enum backing backing)
{
	/* The guest gets a block of all of it only if the slot has room for one. */
	size_t size = backing == BACKING_THP ? HUGE : SECRET_PAGES * s->page;
	struct vm *vm = &s->vm;
	int error;

	s->fresh = reserve(s, FRESH_PAGES * s->page, BACKING_ANONYMOUS);
	s->secret = reserve(s, size, backing);
	if (!s->secret || !s->fresh) {
		vm->what = "memory of the guest";
		return -ENOMEM;
	}
	mark(s, s->secret - s->page, s->page);
	error = vm_create(vm, s->protected, 0);
	if (error)
		return error;
	/* The VM does not own these: a way may take them away. */
	error = vm_set_slot(vm, 7, SECRET_BASE, size, s->secret, 0);
	if (!error)
		error = vm_set_slot(vm, 6, FRESH_BASE, FRESH_PAGES * s->page, s->fresh, 0);
	if (!error)
		error = vm_build(vm, 1, 2 << 20, BACKING_ANONYMOUS, 0);
	vm->request = stray_request;
	return error;
}

int stray_begin(struct stray *s, struct result *result, bool protected, enum backing backing)
{
	int error;

	memset(s, 0, sizeof(*s));
	running = s;
	s->result = result;
	s->protected = protected;
	s->page = sysconf(_SC_PAGESIZE);
	s->memfd = -1;
	if (getrandom(&s->seed, sizeof(s->seed), 0) != sizeof(s->seed) ||
	    getrandom(&s->marker, sizeof(s->marker), 0) != sizeof(s->marker)) {
		note(s, "getrandom: %s", strerror(errno));
		return -1;
	}
	/* No word of a secret is even. */
	s->marker &= ~1UL;
	result->seed = s->seed;
	result->marker = s->marker;
	error = build(s, backing);
	if (error) {
		note(s, "%s: %s", s->vm.what, strerror(-error));
		return -1;
	}
	if (pthread_create(&s->runner, NULL, run, &s->vm)) {
		note(s, "no thread for the guest");
		return -1;
	}
	if (!stray_beats(s, 2) || s->wrong) {
		note(s, "the guest does not begin: %s", s->vm.broken);
		return -1;
	}
	return 0;
}

enum guest_end stray_end(struct stray *s)
{
	bool beats = stray_beats(s, 3);
	struct vm *vm = &s->vm;
	int i;

	__atomic_store_n(&s->command, COMMAND_END, __ATOMIC_SEQ_CST);
	for (i = 0; beats && !stopped(s) && i < PATIENCE * 100; i++)
		usleep(10000);
	vm_stop(vm);
	pthread_join(s->runner, NULL);
	for (i = 0; i < vm->nr_failures && i < MAX_FAILURES; i++)
		note(s, "guest: %s: %#llx, not %#llx", vm->failures[i].text,
		     (unsigned long long)vm->failures[i].got, (unsigned long long)vm->failures[i].want);
	if (s->wrong)
		note(s, "guest: %llu words are not as they were", (unsigned long long)s->wrong);
	if (vm->broken[0])
		note(s, "guest: %s", vm->broken);
	vm_destroy(vm);
	if (s->wrong)
		return GUEST_HARMED;
	if (vm->vcpus[0].error == -EFAULT)
		return GUEST_FAULTS;
	if (!beats || !vm->done || vm->nr_failures || vm->broken[0])
		return GUEST_BROKEN;
	return GUEST_WELL;
}
