// SPDX-License-Identifier: GPL-2.0
/*
 * CPUs that sleep in idle states of the firmware's, with the machine, and while they are off wake up
 * under EL2 as before: with the same EL2 registers, the host under its stage 2, started where EL2 says.
 * The firmware (firmware/) leaves nothing in the registers. What it refuses changes nothing.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

#include "harness.h"
#include "sleep.h"

#define PSCI_CPU_SUSPEND_32	0x84000001
#define PSCI_CPU_SUSPEND	0xc4000001
#define PSCI_SYSTEM_SUSPEND_32	0x8400000e
#define PSCI_SYSTEM_SUSPEND	0xc400000e
#define INVALID_PARAMETERS	(-2)
#define DENIED			(-3)
#define INVALID_ADDRESS		(-9)

/* Seconds that CPUs have to fall asleep as often as a test wants. */
#define PATIENCE	100
#define NOTED		"/tmp/el2-registers"

struct cpu_regs {
	struct el2_reg reg[EL2_MAX_REGS];
	int nr;
};

static struct cpu_regs before[MAX_CPUS];
static sigjmp_buf back;

FIXTURE(suspend)
{
	int fd;
	int nr_cpus;
	size_t page;
	/* A page of EL2's. */
	uint64_t pfn;
	uint64_t entry, entry_changes;
};

static void on_sigbus(int signal)
{
	siglongjmp(back, 1);
}

/* Whether a program that reads a page of EL2's, on this CPU, is stopped. */
static bool is_denied(int fd, uint64_t pfn, size_t size)
{
	struct sigaction action = { .sa_handler = on_sigbus }, old;
	volatile uint64_t *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, pfn * size);
	volatile bool denied = false;

	if (p == MAP_FAILED)
		return false;
	sigaction(SIGBUS, &action, &old);
	if (sigsetjmp(back, 1))
		denied = true;
	else
		(void)p[8];
	sigaction(SIGBUS, &old, NULL);
	munmap((void *)p, size);
	return denied;
}

static void all_is_as_before(struct __test_metadata *const _metadata, FIXTURE_DATA(suspend) *self)
{
	static struct cpu_regs now;
	int cpu, i;

	for (cpu = 0; cpu < self->nr_cpus; cpu++) {
		ASSERT_EQ(0, pin_to_cpu(cpu)) {
			TH_LOG("CPU %d", cpu);
		}
		ASSERT_TRUE(el2_answers(self->fd)) {
			TH_LOG("CPU %d is not under EL2", cpu);
		}
		now.nr = el2_read_regs(self->fd, now.reg);
		ASSERT_EQ(before[cpu].nr, now.nr);
		for (i = 0; i < now.nr; i++) {
			EXPECT_EQ(before[cpu].reg[i].error, now.reg[i].error);
			EXPECT_EQ(before[cpu].reg[i].encoding, now.reg[i].encoding);
			EXPECT_EQ(before[cpu].reg[i].value, now.reg[i].value) {
				TH_LOG("CPU %d: register %d (%#llx) changed over sleep", cpu, i,
				       (unsigned long long)now.reg[i].encoding);
			}
		}
		EXPECT_TRUE(is_denied(self->fd, self->pfn, self->page)) {
			TH_LOG("CPU %d reads EL2's memory", cpu);
		}
	}
	ASSERT_EQ(0, pin_to_cpu(0));
	EXPECT_EQ(self->nr_cpus, el2_stat(self->fd, EL2_STAT_CPUS_ACTIVE));
	/* What the firmware was given is EL2's entry each time. */
	EXPECT_EQ(self->entry_changes, firmware_get(self->fd, FIRMWARE_ENTRY_CHANGES, 0));
	EXPECT_EQ(self->entry, firmware_get(self->fd, FIRMWARE_ENTRY, 0));
}

/*
 * The registers as they are before any CPU has slept under EL2: the first test finds all idle states
 * disabled ("idle off" before the module is loaded), notes them for the others, and enables the states.
 */
static void first(struct __test_metadata *const _metadata, FIXTURE_DATA(suspend) *self)
{
	int cpu, state;
	FILE *f;

	f = fopen(NOTED, "r");
	if (!f) {
		for (cpu = 0; cpu < self->nr_cpus; cpu++) {
			ASSERT_EQ(0, pin_to_cpu(cpu));
			for (state = 1; state < IDLE_STATES; state++)
				ASSERT_EQ(1, idle_number(cpu, state, "disable"));
			before[cpu].nr = el2_read_regs(self->fd, before[cpu].reg);
			ASSERT_LT(10, before[cpu].nr);
		}
		f = fopen(NOTED, "w");
		ASSERT_NE(NULL, f);
		/* It takes a look at all of RAM. */
		ASSERT_LT(0, el2_find_pages(self->fd, &self->pfn, 1));
		ASSERT_EQ(1, fwrite(before, sizeof(before), 1, f));
		ASSERT_EQ(1, fwrite(&self->pfn, sizeof(self->pfn), 1, f));
		for (cpu = 0; cpu < self->nr_cpus; cpu++)
			for (state = 1; state < IDLE_STATES; state++)
				ASSERT_EQ(0, idle_set(cpu, state, "disable", "0"));
	} else {
		ASSERT_EQ(1, fread(before, sizeof(before), 1, f));
		ASSERT_EQ(1, fread(&self->pfn, sizeof(self->pfn), 1, f));
	}
	fclose(f);
}

FIXTURE_SETUP(suspend)
{
	struct el2_page page = { .owner = EL2_OWNER_HOST };
	int i;

	self->fd = hostile_open();
	ASSERT_LE(0, self->fd);
	self->page = sysconf(_SC_PAGESIZE);
	self->nr_cpus = cpus_possible();
	first(_metadata, self);
	/* Once a CPU has slept, the firmware has EL2's entry, and no other any more. */
	for (i = 0; i < 100 * PATIENCE && page.owner != EL2_OWNER_EL2; i++) {
		usleep(10000);
		self->entry = firmware_get(self->fd, FIRMWARE_ENTRY, 0);
		ASSERT_EQ(0, el2_page_state(self->fd, self->entry / self->page, &page));
	}
	ASSERT_EQ(EL2_OWNER_EL2, page.owner);
	self->entry_changes = firmware_get(self->fd, FIRMWARE_ENTRY_CHANGES, 0);
}

FIXTURE_TEARDOWN(suspend)
{
	all_is_as_before(_metadata, self);
	close(self->fd);
}

/* Sleeps until a count of the firmware's has grown so much on each CPU. */
static void wait_for_counts(struct __test_metadata *const _metadata, FIXTURE_DATA(suspend) *self,
			    enum firmware_value what, uint64_t growth)
{
	uint64_t start[MAX_CPUS];
	int cpu, i;

	for (cpu = 0; cpu < self->nr_cpus; cpu++)
		start[cpu] = firmware_get(self->fd, what, cpu);
	for (cpu = 0; cpu < self->nr_cpus; cpu++) {
		/* There, something happens now and then: a CPU on which nothing does sleeps for long. */
		ASSERT_EQ(0, pin_to_cpu(cpu));
		for (i = 0; i < PATIENCE * 100; i++) {
			if (firmware_get(self->fd, what, cpu) >= start[cpu] + growth)
				break;
			usleep(10000);
		}
		EXPECT_LE(start[cpu] + growth, firmware_get(self->fd, what, cpu)) {
			TH_LOG("CPU %d: value %d of the firmware's", cpu, what);
		}
	}
}

static uint64_t idle_sum(int nr_cpus, int state, const char *what)
{
	uint64_t sum = 0;
	int cpu;

	for (cpu = 0; cpu < nr_cpus; cpu++)
		sum += idle_number(cpu, state, what);
	return sum;
}

/* Sleeps until the CPUs have been in a state of idleness more often than that; whether they have. */
static bool idles_more(int nr_cpus, int state, uint64_t usage)
{
	int i;

	for (i = 0; i < PATIENCE * 100; i++) {
		if (idle_sum(nr_cpus, state, "usage") > usage)
			return true;
		usleep(10000);
	}
	return false;
}

TEST_F_TIMEOUT(suspend, in_idle_states, 250)
{
	uint64_t usage[IDLE_STATES];
	int state;

	for (state = 0; state < IDLE_STATES; state++)
		usage[state] = idle_sum(self->nr_cpus, state, "usage");
	wait_for_counts(_metadata, self, FIRMWARE_DOWN, 20 * rounds());
	EXPECT_TRUE(idles_more(self->nr_cpus, 1, usage[1]));
	/* One CPU keeps the others' time, and is never in a state that stops it. */
	if (self->nr_cpus > 1)
		EXPECT_TRUE(idles_more(self->nr_cpus, 2, usage[2]));
}

static void refused(struct __test_metadata *const _metadata, FIXTURE_DATA(suspend) *self, int64_t with)
{
	ASSERT_EQ(0, firmware_set(self->fd, FIRMWARE_REFUSE_WITH, with));
	ASSERT_EQ(0, firmware_set(self->fd, FIRMWARE_REFUSE_EVERY, 3));
	wait_for_counts(_metadata, self, FIRMWARE_REFUSED, 5 * rounds());
	wait_for_counts(_metadata, self, FIRMWARE_DOWN, 5 * rounds());
	ASSERT_EQ(0, firmware_set(self->fd, FIRMWARE_REFUSE_EVERY, 0));
}

/* An interrupt came first: SUCCESS, and nothing has happened. */
TEST_F_TIMEOUT(suspend, or_return_at_once, 250)
{
	refused(_metadata, self, 0);
}

TEST_F_TIMEOUT(suspend, or_are_refused, 250)
{
	uint64_t rejected = idle_sum(self->nr_cpus, 1, "rejected") + idle_sum(self->nr_cpus, 2, "rejected");

	refused(_metadata, self, DENIED);
	EXPECT_LT(rejected, idle_sum(self->nr_cpus, 1, "rejected") + idle_sum(self->nr_cpus, 2, "rejected"));
}

TEST_F_TIMEOUT(suspend, to_idle, 280)
{
	uint64_t down[MAX_CPUS];
	int round, cpu;

	for (round = 0; round < rounds(); round++) {
		for (cpu = 0; cpu < self->nr_cpus; cpu++)
			down[cpu] = firmware_get(self->fd, FIRMWARE_DOWN, cpu);
		ASSERT_EQ(0, host_sleeps("freeze")) {
			TH_LOG("round %d", round);
		}
		for (cpu = 0; cpu < self->nr_cpus; cpu++)
			EXPECT_LT(down[cpu], firmware_get(self->fd, FIRMWARE_DOWN, cpu));
		all_is_as_before(_metadata, self);
	}
}

TEST_F_TIMEOUT(suspend, to_ram, 280)
{
	uint64_t suspends = firmware_get(self->fd, FIRMWARE_SYSTEM_SUSPENDS, 0), off[MAX_CPUS];
	int round, cpu;

	for (cpu = 1; cpu < self->nr_cpus; cpu++)
		off[cpu] = firmware_get(self->fd, FIRMWARE_OFF, cpu);
	for (round = 1; round <= rounds(); round++) {
		ASSERT_EQ(0, host_sleeps("mem")) {
			TH_LOG("round %d", round);
		}
		EXPECT_EQ(suspends + round, firmware_get(self->fd, FIRMWARE_SYSTEM_SUSPENDS, 0));
		for (cpu = 1; cpu < self->nr_cpus; cpu++)
			EXPECT_LE(off[cpu] + round, firmware_get(self->fd, FIRMWARE_OFF, cpu));
		all_is_as_before(_metadata, self);
	}
}

TEST_F_TIMEOUT(suspend, to_ram_while_cpus_are_off, 280)
{
	uint64_t off;
	int cpu;

	if (self->nr_cpus == 1)
		SKIP(return, "one CPU");
	for (cpu = 1; cpu < self->nr_cpus; cpu += 2)
		ASSERT_EQ(0, cpu_set_online(cpu, false));
	off = firmware_get(self->fd, FIRMWARE_OFF, 1);
	ASSERT_EQ(0, host_sleeps("mem"));
	EXPECT_EQ(off, firmware_get(self->fd, FIRMWARE_OFF, 1));
	EXPECT_FALSE(cpu_is_online(1));
	for (cpu = 1; cpu < self->nr_cpus; cpu += 2)
		ASSERT_EQ(0, cpu_set_online(cpu, true));
}

TEST_F_TIMEOUT(suspend, to_ram_is_refused, 280)
{
	uint64_t suspends = firmware_get(self->fd, FIRMWARE_SYSTEM_SUSPENDS, 0);
	int round;

	ASSERT_EQ(0, firmware_set(self->fd, FIRMWARE_REFUSE_SYSTEM, DENIED));
	for (round = 0; round < rounds(); round++) {
		EXPECT_EQ(-EPERM, host_sleeps("mem"));
		all_is_as_before(_metadata, self);
	}
	ASSERT_EQ(0, firmware_set(self->fd, FIRMWARE_REFUSE_SYSTEM, 0));
	EXPECT_EQ(suspends, firmware_get(self->fd, FIRMWARE_SYSTEM_SUSPENDS, 0));
	ASSERT_EQ(0, host_sleeps("mem"));
	EXPECT_EQ(suspends + 1, firmware_get(self->fd, FIRMWARE_SYSTEM_SUSPENDS, 0));
}

/* PSCI's answers are 32-bit and signed. */
static int32_t psci(int fd, uint64_t id, uint64_t a, uint64_t b)
{
	return firmware(fd, id, a, b);
}

/* By the calls themselves, which the kernel makes with good arguments alone. */
TEST_F(suspend, nowhere_else)
{
	uint64_t bad[] = { self->pfn * self->page, 0x09000000, 1ULL << 52, 0x40000002, 0 };
	struct hostile_take take = { .order = 0, .pages = 1 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(INVALID_ADDRESS, psci(self->fd, PSCI_CPU_SUSPEND, STATE_DOWN, bad[i]));
		EXPECT_EQ(INVALID_ADDRESS, psci(self->fd, PSCI_CPU_SUSPEND_32, STATE_DOWN, bad[i]));
		EXPECT_EQ(INVALID_ADDRESS, psci(self->fd, PSCI_SYSTEM_SUSPEND, bad[i], 0));
		EXPECT_EQ(INVALID_ADDRESS, psci(self->fd, PSCI_SYSTEM_SUSPEND_32, bad[i], 0));
		/* A state that keeps the registers needs no entry. */
		EXPECT_EQ(0, psci(self->fd, PSCI_CPU_SUSPEND, STATE_STANDBY, bad[i]));
	}
	ASSERT_EQ(0, ioctl(self->fd, HOSTILE_TAKE, &take));
	ASSERT_EQ(1, take.count);
	EXPECT_EQ(INVALID_PARAMETERS,
		  psci(self->fd, PSCI_CPU_SUSPEND, 0x1ffff, take.pfn * self->page));
	/* Not while others run. */
	if (self->nr_cpus > 1)
		EXPECT_EQ(DENIED, psci(self->fd, PSCI_SYSTEM_SUSPEND, take.pfn * self->page, 0));
}

TEST_HARNESS_MAIN
