/* SPDX-License-Identifier: GPL-2.0 */
/* A VM's whole life, for the programs that end it early. Included after guest.h. */
#ifndef MVIRT_DEATH_LIFE_H
#define MVIRT_DEATH_LIFE_H

#include <stdio.h>
#include <unistd.h>

#include "guest.h"
#include "tests.h"

GUEST_NUMBERS(DEATH_PAYLOADS);

struct life {
	enum backing backing;
	int cpus;
	int payload;
	/* For TEST_touch. */
	uint64_t range[3];
	/* Set once it is in its middle: for whoever shares the memory that this is in. */
	volatile bool *alive;
};

static struct life the_life;

static inline uint64_t life_request(struct vcpu *vcpu, uint64_t number, uint64_t arg)
{
	switch (number) {
	case REQUEST_CPUS:
		return the_life.cpus;
	case REQUEST_RANGE:
		return the_life.range[arg % 3];
	case REQUEST_ALIVE:
		if (the_life.alive)
			*the_life.alive = true;
		return 0;
	}
	return -ENOSYS;
}

/* The VM up to its first run. RAM in pages, the rest by its backing. */
static inline int life_make(struct vm *vm, const struct life *life)
{
	int error;

	the_life = *life;
	error = vm_create(vm, guests_protected(), 0);
	vm->request = life_request;
	if (!error)
		error = vm_add_slot(vm, GUEST_RAM_BASE, GUEST_RAM_SIZE, BACKING_ANONYMOUS, 0);
	if (!error)
		error = vm_add_slot(vm, GUEST_EXTRA_BASE, EXTRA_SIZE, life->backing, 0);
	/* A slot that goes again. */
	if (!error)
		error = vm_set_slot(vm, 2, 1UL << 32, 1UL << 20, vm->slots[1].host, 0);
	if (!error)
		error = vm_set_slot(vm, 2, 1UL << 32, 0, vm->slots[1].host, 0);
	if (!error)
		error = vm_build(vm, life->cpus, GUEST_RAM_SIZE, life->backing, life->payload);
	return error;
}

/* All of it in this process: 0, or which part was not as it should be. */
static inline int life_live(const struct life *life)
{
	static struct vm vm;
	int i;

	if (life_make(&vm, life)) {
		printf("# life: %s: errno %d\n", vm.what, errno);
		return 2;
	}
	vm_run(&vm, GUEST_SECONDS);
	for (i = 0; i < vm.nr_failures && i < MAX_FAILURES; i++)
		printf("# life: line %u: %s: %#llx where %#llx was wanted\n", vm.failures[i].line,
		       vm.failures[i].text, (unsigned long long)vm.failures[i].got,
		       (unsigned long long)vm.failures[i].want);
	if (!vm.done || vm.nr_failures || vm.broken[0]) {
		printf("# life: %s: %s\n", vm.done ? "done" : "not done", vm.broken);
		fflush(stdout);
		return 3;
	}
	vm_destroy(&vm);
	return 0;
}

#endif /* MVIRT_DEATH_LIFE_H */
