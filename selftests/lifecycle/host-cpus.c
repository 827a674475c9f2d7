// SPDX-License-Identifier: GPL-2.0
/*
 * The host's CPUs go offline and come back while guests run on them: their vCPUs move, their timers
 * fire on time and their counters never go back.
 */
#include <pthread.h>

#include "guest.h"
#include "tests.h"
#include "machine.h"

GUEST_NUMBERS(LIFECYCLE_PAYLOADS);

#define VMS	2
#define ROUNDS	15

static bool is_over;

static uint64_t answer(struct vcpu *vcpu, uint64_t number, uint64_t arg)
{
	return __atomic_load_n(&is_over, __ATOMIC_SEQ_CST);
}

static void *run_thread(void *arg)
{
	vm_run(arg, GUEST_SECONDS);
	return NULL;
}

/* The rounds that the guests have done, by the exits that each makes of one. */
static uint64_t exits(const struct vm *vms)
{
	return __atomic_load_n(&vms[0].vcpus[0].exits, __ATOMIC_SEQ_CST) +
	       __atomic_load_n(&vms[1].vcpus[0].exits, __ATOMIC_SEQ_CST);
}

TEST(go_and_come_back_under_guests)
{
	int cpus = cpus_possible(), round, i, cpu, error;
	static struct vm vms[VMS];
	pthread_t threads[VMS];
	uint64_t before;

	ASSERT_LT(1, cpus);
	for (i = 0; i < VMS; i++) {
		ASSERT_VM(&vms[i], vm_create(&vms[i], guests_protected(), 0));
		vms[i].request = answer;
		ASSERT_VM(&vms[i], vm_build(&vms[i], 2, GUEST_RAM_SIZE, BACKING_ANONYMOUS,
					    TEST_keep_time));
	}
	for (i = 0; i < VMS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, run_thread, &vms[i]));
	for (round = 0; round < ROUNDS; round++) {
		/* With four CPUs up to three are away. */
		for (cpu = 1; cpu < cpus; cpu++) {
			error = cpu_set_online(cpu, false);
			EXPECT_EQ(0, error);
			before = exits(vms);
			for (i = 0; i < 500 && exits(vms) < before + 6; i++)
				usleep(10000);
			EXPECT_LE(before + 6, exits(vms)) {
				TH_LOG("round %d: nothing runs without CPU %d", round, cpu);
			}
		}
		for (cpu = 1; cpu < cpus; cpu++) {
			EXPECT_EQ(0, cpu_set_online(cpu, true));
			usleep(5000);
		}
	}
	__atomic_store_n(&is_over, true, __ATOMIC_SEQ_CST);
	for (i = 0; i < VMS; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_STREQ("", vms[i].broken);
		EXPECT_TRUE(vms[i].done);
		EXPECT_EQ(0, vms[i].nr_failures);
		/* More than the last few. */
		EXPECT_LT(2 * ROUNDS, vms[i].checks);
		vm_destroy(&vms[i]);
	}
	EXPECT_EQ(cpus, cpus_online());
}

TEST_HARNESS_MAIN
