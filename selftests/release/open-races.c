// SPDX-License-Identifier: GPL-2.0
/* Programs open, use and close /dev/mvirt all the time while the module comes and goes. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "harness.h"
#include "kvm.h"
#include "machine.h"

#define THREADS		2
#define LOADS		12
/* Opens in a row; then the unload has a chance. */
#define BURST		4
/* Seconds until the module is found unused. */
#define PATIENCE	60

struct opener {
	pthread_t thread;
	atomic_bool *stop;
	long opened;
	long refused;
	long wrong;
};

static void *open_and_close(void *arg)
{
	struct opener *o = arg;
	int fd, vm;

	while (!*o->stop) {
		fd = kvm_open();
		if (fd < 0) {
			/* Not there, or on its way in or out. */
			if (fd == -ENOENT || fd == -ENODEV || fd == -ENXIO)
				o->refused++;
			else
				o->wrong++;
			continue;
		}
		o->opened++;
		if (kvm_call(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
			o->wrong++;
		vm = o->opened % (4 * BURST) ? -EBUSY : kvm_call(fd, KVM_CREATE_VM, PROTECTED);
		close(fd);
		if (vm >= 0)
			close(vm);
		else if (vm != -ENOMEM && vm != -EBUSY)
			o->wrong++;
		if (o->opened % BURST == 0)
			usleep(5000);
	}
	return NULL;
}

FIXTURE(races)
{
	struct opener openers[THREADS];
};

FIXTURE_SETUP(races)
{
}

FIXTURE_TEARDOWN(races)
{
}

TEST_F_TIMEOUT(races, open_while_the_module_comes_and_goes, 600)
{
	struct opener *openers = self->openers;
	atomic_bool stop = false;
	long opened = 0, busy = 0;
	time_t start;
	int i, error;

	for (i = 0; i < THREADS; i++) {
		openers[i].stop = &stop;
		ASSERT_EQ(0, pthread_create(&openers[i].thread, NULL, open_and_close, &openers[i]));
	}
	for (i = 0; i < LOADS; i++) {
		error = load_module("mvirt", "allow_release=1");
		if (error)
			break;
		start = time(NULL);
		while ((error = unload_module("mvirt")) == -EWOULDBLOCK &&
		       time(NULL) - start < PATIENCE)
			busy++;
		if (error)
			break;
	}
	stop = true;
	for (int t = 0; t < THREADS; t++) {
		pthread_join(openers[t].thread, NULL);
		opened += openers[t].opened;
		EXPECT_EQ(0, openers[t].wrong);
	}
	EXPECT_EQ(LOADS, i) {
		TH_LOG("load or unload %d: %s", i, strerror(-error));
	}
	/* The race took place. */
	EXPECT_LT(0, opened);
	ksft_print_msg("%ld opened, %ld times busy\n", opened, busy);
}

TEST_HARNESS_MAIN
