// SPDX-License-Identifier: GPL-2.0
/*
 * CPUs that leave and come back run under EL2 as before: with the same EL2 register state, each as
 * its own and as the CPUs that never left, while a load runs.
 */
#include <errno.h>
#include <pthread.h>

#include "el2.h"
#include "harness.h"
#include "load_threads.h"
#include "machine.h"

#define ROUNDS	20

/*
 * VMPIDR_EL2, the one register that each CPU has its own of, as an MRS instruction encodes it in
 * bits 19:5: op0 is 3, of which bit 19 is the lower half, op1 is 4, CRn and CRm are 0, op2 is 5.
 */
#define MRS_ENCODING	0xfffe0
#define VMPIDR_EL2	((1 << 19) | (4 << 16) | (5 << 5))

struct cpu_regs {
	struct el2_reg reg[EL2_MAX_REGS];
	int nr;
};

FIXTURE(hotplug)
{
	int hostile;
	int nr_cpus;
};

FIXTURE_SETUP(hotplug)
{
	self->hostile = hostile_open();
	ASSERT_LE(0, self->hostile);
	self->nr_cpus = cpus_possible();
	ASSERT_LT(1, self->nr_cpus);
}

FIXTURE_TEARDOWN(hotplug)
{
	close(self->hostile);
}

static void read_cpu(struct __test_metadata *const _metadata, int fd, int cpu,
		     struct cpu_regs *regs)
{
	ASSERT_EQ(0, pin_to_cpu(cpu)) {
		TH_LOG("CPU %d", cpu);
	}
	ASSERT_TRUE(el2_answers(fd)) {
		TH_LOG("CPU %d is not under EL2", cpu);
	}
	regs->nr = el2_read_regs(fd, regs->reg);
	ASSERT_LT(10, regs->nr);
}

static void expect_same(struct __test_metadata *const _metadata, const char *what, int cpu,
			const struct cpu_regs *want, const struct cpu_regs *got, bool other_cpu)
{
	int i;

	ASSERT_EQ(want->nr, got->nr);
	for (i = 0; i < want->nr; i++) {
		if (other_cpu && (want->reg[i].encoding & MRS_ENCODING) == VMPIDR_EL2)
			continue;
		EXPECT_EQ(want->reg[i].error, got->reg[i].error);
		EXPECT_EQ(want->reg[i].encoding, got->reg[i].encoding);
		EXPECT_EQ(want->reg[i].value, got->reg[i].value) {
			TH_LOG("CPU %d: register %d (%#llx): %s", cpu, i,
			       (unsigned long long)want->reg[i].encoding, what);
		}
	}
}

static void set_online(struct __test_metadata *const _metadata, int cpu, bool online)
{
	int error = cpu_set_online(cpu, online);

	ASSERT_EQ(0, error) {
		TH_LOG("CPU %d %s: %s", cpu, online ? "on" : "off", strerror(-error));
	}
	ASSERT_EQ(online, cpu_is_online(cpu));
}

/* For machines where CPUs were offline at take-over; runs before the others, which need them up. */
TEST_F(hotplug, cpus_that_were_offline_come_up)
{
	static struct cpu_regs first, late;
	uint64_t psci = el2_stat(self->hostile, EL2_STAT_TRAP_PSCI);
	int cpu, brought = 0;

	read_cpu(_metadata, self->hostile, 0, &first);
	for (cpu = 1; cpu < self->nr_cpus; cpu++) {
		if (cpu_is_online(cpu))
			continue;
		set_online(_metadata, cpu, true);
		read_cpu(_metadata, self->hostile, cpu, &late);
		expect_same(_metadata, "differs from CPU 0", cpu, &first, &late, true);
		brought++;
	}
	EXPECT_LT(0, brought);
	EXPECT_EQ(self->nr_cpus, el2_stat(self->hostile, EL2_STAT_CPUS_ACTIVE));
	EXPECT_LE(psci + brought, el2_stat(self->hostile, EL2_STAT_TRAP_PSCI));
}

TEST_F(hotplug, registers_are_the_same_on_all_cpus)
{
	static struct cpu_regs first, other;
	int cpu;

	read_cpu(_metadata, self->hostile, 0, &first);
	for (cpu = 1; cpu < self->nr_cpus; cpu++) {
		read_cpu(_metadata, self->hostile, cpu, &other);
		expect_same(_metadata, "differs from CPU 0", cpu, &first, &other, true);
	}
}

TEST_F_TIMEOUT(hotplug, each_cpu_20_times_under_load, 280)
{
	static struct cpu_regs before, after;
	uint64_t psci, active;
	int cpu, other, round;

	ASSERT_EQ(0, load_start(self->nr_cpus));
	for (cpu = 0; cpu < self->nr_cpus; cpu++) {
		other = (cpu + 1) % self->nr_cpus;
		read_cpu(_metadata, self->hostile, cpu, &before);
		psci = el2_stat(self->hostile, EL2_STAT_TRAP_PSCI);
		ASSERT_EQ(0, pin_to_cpu(other));
		for (round = 0; round < ROUNDS; round++) {
			set_online(_metadata, cpu, false);
			active = el2_stat(self->hostile, EL2_STAT_CPUS_ACTIVE);
			EXPECT_EQ(self->nr_cpus - 1, active);
			set_online(_metadata, cpu, true);
		}
		read_cpu(_metadata, self->hostile, cpu, &after);
		expect_same(_metadata, "changed over hotplug", cpu, &before, &after, false);
		/* A CPU_OFF and a CPU_ON at least for each round went through EL2. */
		EXPECT_LE(psci + 2 * ROUNDS, el2_stat(self->hostile, EL2_STAT_TRAP_PSCI));
	}
	EXPECT_LT(0, load_stop());
	EXPECT_EQ(self->nr_cpus, el2_stat(self->hostile, EL2_STAT_CPUS_ACTIVE));
}

struct toggler {
	pthread_t thread;
	int cpu;
	int error;
};

static void *toggle(void *arg)
{
	struct toggler *toggler = arg;
	int i;

	/* A CPU that is not there any more or yet gives EINVAL or EBUSY to the slower of the two. */
	for (i = 0; i < 2 * ROUNDS && !toggler->error; i++) {
		int error = cpu_set_online(toggler->cpu, i % 2);

		if (error && error != -EBUSY && error != -EINVAL)
			toggler->error = error;
	}
	return NULL;
}

TEST_F(hotplug, from_two_threads_at_once)
{
	static struct cpu_regs before[MAX_CPUS], after;
	int last = self->nr_cpus - 1, cpu, i;
	struct toggler togglers[] = {
		{ .cpu = last }, { .cpu = last > 1 ? last - 1 : last },
	};

	for (cpu = 0; cpu < self->nr_cpus; cpu++)
		read_cpu(_metadata, self->hostile, cpu, &before[cpu]);
	ASSERT_EQ(0, pin_to_cpu(0));
	ASSERT_EQ(0, load_start(self->nr_cpus));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&togglers[i].thread, NULL, toggle, &togglers[i]));
	for (i = 0; i < 2; i++) {
		pthread_join(togglers[i].thread, NULL);
		EXPECT_EQ(0, togglers[i].error);
	}
	EXPECT_LT(0, load_stop());
	for (i = 0; i < 2; i++)
		if (!cpu_is_online(togglers[i].cpu))
			set_online(_metadata, togglers[i].cpu, true);
	for (cpu = 0; cpu < self->nr_cpus; cpu++) {
		read_cpu(_metadata, self->hostile, cpu, &after);
		expect_same(_metadata, "changed over hotplug", cpu, &before[cpu], &after, false);
	}
	EXPECT_EQ(self->nr_cpus, el2_stat(self->hostile, EL2_STAT_CPUS_ACTIVE));
}

TEST_HARNESS_MAIN
