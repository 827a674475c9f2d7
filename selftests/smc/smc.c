// SPDX-License-Identifier: GPL-2.0
/*
 * What the host's own SMCs get: PSCI as the specification says, nothing of FF-A, an error for
 * functions that are not there. Arm DEN0022 (PSCI), DEN0028 (SMCCC), DEN0077A
 * (FF-A).
 */
#include <sys/ioctl.h>

#include "el2.h"
#include "harness.h"
#include "machine.h"

#define PSCI_VERSION		0x84000000
#define PSCI_CPU_ON		0xc4000003
#define PSCI_CPU_ON_32		0x84000003
#define PSCI_AFFINITY_INFO	0xc4000004
#define PSCI_FEATURES		0x8400000a
#define PSCI_RESET2		0xc4000012
#define PSCI_RESET2_32		0x84000012

#define PSCI_NOT_SUPPORTED	(-1)
#define PSCI_INVALID_PARAMETERS	(-2)
#define PSCI_ALREADY_ON		(-4)
#define PSCI_INVALID_ADDRESS	(-9)

/* The numbers that FF-A has in each width: of functions that there are, or may be one day. */
#define FFA_FIRST		0x60
#define FFA_LAST		0xef
#define FFA_VERSION		0x63
#define FFA_ERROR		0x84000060
#define FFA_NOT_SUPPORTED	(-1)

FIXTURE(smc)
{
	int fd;
	uint64_t psci, forwarded;
};

FIXTURE_SETUP(smc)
{
	self->fd = hostile_open();
	ASSERT_LE(0, self->fd);
	self->psci = el2_stat(self->fd, EL2_STAT_TRAP_PSCI);
	self->forwarded = el2_stat(self->fd, EL2_STAT_TRAP_SMC);
	ASSERT_NE(UINT64_MAX, self->psci);
}

FIXTURE_TEARDOWN(smc)
{
	EXPECT_TRUE(el2_answers(self->fd));
	EXPECT_EQ(cpus_online(), el2_stat(self->fd, EL2_STAT_CPUS_ACTIVE));
	close(self->fd);
}

static struct hostile_call smc(int fd, uint64_t id, uint64_t a, uint64_t b, uint64_t c)
{
	struct hostile_call call = { .x = { id, a, b, c } };

	if (ioctl(fd, HOSTILE_SMC, &call))
		call.x[0] = 0xdead;
	return call;
}

/* PSCI's answers are 32-bit and signed. */
static int32_t psci(int fd, uint64_t id, uint64_t a, uint64_t b, uint64_t c)
{
	return smc(fd, id, a, b, c).x[0];
}

TEST_F(smc, psci_is_there)
{
	int32_t version = psci(self->fd, PSCI_VERSION, 0, 0, 0);

	EXPECT_LE(2, version);
	EXPECT_GE(0x10003, version);
	EXPECT_EQ(0, psci(self->fd, PSCI_FEATURES, PSCI_CPU_ON, 0, 0));
	EXPECT_EQ(PSCI_NOT_SUPPORTED, psci(self->fd, PSCI_FEATURES, 0x8400001f, 0, 0));
	EXPECT_EQ(PSCI_NOT_SUPPORTED, psci(self->fd, 0x8400001f, 0, 0, 0));
	EXPECT_LT(self->psci, el2_stat(self->fd, EL2_STAT_TRAP_PSCI));
}

/* A firmware that has it ends the machine: see reset2.c. QEMU's own has it not. */
TEST_F(smc, system_reset2_that_is_not_there)
{
	if (!psci(self->fd, PSCI_FEATURES, PSCI_RESET2, 0, 0))
		SKIP(return, "this firmware has it");
	EXPECT_EQ(PSCI_NOT_SUPPORTED, psci(self->fd, PSCI_FEATURES, PSCI_RESET2, 0, 0));
	EXPECT_EQ(PSCI_NOT_SUPPORTED, psci(self->fd, PSCI_RESET2, 0, 0, 0));
	EXPECT_EQ(PSCI_NOT_SUPPORTED, psci(self->fd, PSCI_RESET2_32, 0, 0, 0));
	EXPECT_EQ(PSCI_NOT_SUPPORTED, psci(self->fd, PSCI_RESET2, 1ULL << 31, 1, 0));
}

TEST_F(smc, cpu_on_checks_its_arguments)
{
	uint64_t unknown[] = { 0x7f, 0xff00, 0xff0000, 1ULL << 31, 0xff00000000ULL, ~0ULL };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(unknown); i++)
		EXPECT_EQ(PSCI_INVALID_PARAMETERS,
			  psci(self->fd, PSCI_CPU_ON, unknown[i], 0x40000000, 0));
	EXPECT_EQ(PSCI_INVALID_PARAMETERS, psci(self->fd, PSCI_CPU_ON_32, 0x7f, 0x40000000, 0));
	/* CPU 0 runs. QEMU numbers it 0. */
	EXPECT_EQ(PSCI_ALREADY_ON, psci(self->fd, PSCI_CPU_ON, 0, 0x40000000, 0));
	EXPECT_EQ(0, psci(self->fd, PSCI_AFFINITY_INFO, 0, 0, 0));
	EXPECT_EQ(PSCI_INVALID_PARAMETERS, psci(self->fd, PSCI_AFFINITY_INFO, 0x7f, 0, 0));
}

TEST_F(smc, cpu_on_enters_no_memory_of_el2)
{
	int last = cpus_possible() - 1;
	uint64_t el2[1], page = sysconf(_SC_PAGESIZE);

	if (!last)
		SKIP(return, "one CPU");
	ASSERT_LT(0, el2_find_pages(self->fd, el2, 1));
	ASSERT_EQ(0, cpu_set_online(last, false));
	EXPECT_EQ(1, psci(self->fd, PSCI_AFFINITY_INFO, last, 0, 0));
	EXPECT_EQ(PSCI_INVALID_ADDRESS, psci(self->fd, PSCI_CPU_ON, last, el2[0] * page, 0));
	EXPECT_EQ(PSCI_INVALID_ADDRESS, psci(self->fd, PSCI_CPU_ON, last, 0x09000000, 0));
	EXPECT_EQ(PSCI_INVALID_ADDRESS, psci(self->fd, PSCI_CPU_ON, last, 1ULL << 52, 0));
	EXPECT_EQ(1, psci(self->fd, PSCI_AFFINITY_INFO, last, 0, 0));
	ASSERT_EQ(0, cpu_set_online(last, true));
}

TEST_F(smc, ffa_is_refused_as_a_whole)
{
	uint64_t forwarded = el2_stat(self->fd, EL2_STAT_TRAP_SMC);
	uint64_t width, number;

	for (width = 0x84000000; width <= 0xc4000000; width += 0x40000000) {
		for (number = FFA_FIRST; number <= FFA_LAST; number++) {
			struct hostile_call call = smc(self->fd, width | number, 0x40000000,
						       0x40001000, 1);

			if (number == FFA_VERSION) {
				EXPECT_EQ(FFA_NOT_SUPPORTED, (int32_t)call.x[0]);
				continue;
			}
			EXPECT_EQ(FFA_ERROR, (uint32_t)call.x[0]);
			EXPECT_EQ(FFA_NOT_SUPPORTED, (int32_t)call.x[2]) {
				TH_LOG("function %#llx", (unsigned long long)(width | number));
			}
		}
	}
	/* Nothing of it has reached the firmware. */
	EXPECT_EQ(forwarded, el2_stat(self->fd, EL2_STAT_TRAP_SMC));
}

TEST_F(smc, an_immediate_is_refused)
{
	struct hostile_call call = { .x = { PSCI_VERSION }, .immediate = 1 };

	ASSERT_EQ(0, ioctl(self->fd, HOSTILE_SMC, &call));
	EXPECT_EQ(PSCI_NOT_SUPPORTED, (int32_t)call.x[0]);
}

TEST_F(smc, unknown_functions_are_harmless)
{
	uint64_t seed = 0x2545f4914f6cdd1dULL;
	int cpu, i;

	for (cpu = 0; cpu < cpus_possible(); cpu++) {
		ASSERT_EQ(0, pin_to_cpu(cpu));
		for (i = 0; i < 5000; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			/* Not the standard secure service: it has PSCI, whose calls do have effects. */
			if ((seed >> 24 & 0x3f) == 4)
				continue;
			EXPECT_GT(0, psci(self->fd, (uint32_t)seed | 1U << 31, seed, seed, seed)) {
				TH_LOG("function %#x", (uint32_t)seed | 1U << 31);
			}
		}
	}
	EXPECT_LT(self->forwarded, el2_stat(self->fd, EL2_STAT_TRAP_SMC));
}

TEST_HARNESS_MAIN
