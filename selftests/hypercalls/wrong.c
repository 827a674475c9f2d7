// SPDX-License-Identifier: GPL-2.0
/*
 * 100,000 wrong hypercalls from all CPUs at once: each known number with arguments that it must
 * refuse, and numbers that are not known. Every one gets an error; nothing else happens.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include "el2.h"
#include "harness.h"
#include "machine.h"
#include "mvirt.h"

#define CALLS		100000
/* What the kernel's hyp stub answers to a call that it does not do. */
#define HVC_STUB_ERR	0xbadca11
/* What the SMC calling convention answers to a function that is not there. */
#define SMCCC_NOT_SUPPORTED	(-1LL)

/* Page frames that the host may neither share nor donate. */
static uint64_t bad_pfns[64];
static unsigned int nr_bad_pfns;
static uint64_t own_pfn;
static unsigned int nr_regs;
static uint64_t nr_cpus;
static bool crash_test;

struct attack {
	uint64_t id;
	uint64_t args[6];
	bool ours;		/* a number in mvirt's own range: answered with one of its errors */
	int64_t only;		/* the one error that is right, or 0 */
};

struct attacker {
	pthread_t thread;
	int fd;
	int cpu;
	unsigned int calls;
	unsigned int wrong;
	struct attack first;
	int64_t answer;
};

static uint64_t random64(uint64_t *seed)
{
	/* xorshift64: the same calls in each run. */
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static uint64_t boundary(uint64_t *seed)
{
	static const uint64_t values[] = {
		0, 1, 2, 7, 63, 64, 4095, 4096, 1ULL << 31, 0xffffffff, 1ULL << 32, 1ULL << 36,
		1ULL << 40, (1ULL << 52) - 1, 1ULL << 52, 1ULL << 63, ~0ULL - 1, ~0ULL,
	};
	uint64_t r = random64(seed);

	return r % 4 ? values[r / 4 % ARRAY_SIZE(values)] : r;
}

/* An argument of at least @least. */
static uint64_t at_least(uint64_t least, uint64_t *seed)
{
	uint64_t value = boundary(seed);

	return value < least ? least + value : value;
}

static struct attack known_call(unsigned int n, uint64_t *seed)
{
	struct attack a = { .id = EL2_CALL_BASE + n, .ours = true };
	int i;

	for (i = 0; i < 6; i++)
		a.args[i] = boundary(seed);
	switch (a.id) {
	case EL2_CALL_STAT:
		if (random64(seed) % 2)
			a.args[0] = at_least(EL2_STAT_COUNT, seed);
		else if ((a.args[1] = at_least(nr_cpus, seed)) == ~0ULL)
			a.args[1] = nr_cpus;
		break;
	case EL2_CALL_READ_REG:
		a.args[0] = at_least(nr_regs, seed);
		break;
	case EL2_CALL_POOL_DONATE:
		a.args[0] = bad_pfns[random64(seed) % nr_bad_pfns];
		if (random64(seed) % 4 == 0) {
			a.args[0] = own_pfn;
			a.args[1] = random64(seed) % 2 ? 0 : at_least(1ULL << 40, seed);
		}
		break;
	case EL2_CALL_SHARE:
		a.args[0] = bad_pfns[random64(seed) % nr_bad_pfns];
		break;
	case EL2_CALL_UNSHARE:
		a.args[0] = random64(seed) % 2 ? own_pfn : bad_pfns[random64(seed) % nr_bad_pfns];
		break;
	case EL2_CALL_PAGE_STATE:
		a.args[0] = at_least(1ULL << 40, seed);
		break;
	case EL2_CALL_VM_CREATE:
		if (random64(seed) % 2)
			a.args[0] = at_least(2, seed);
		else
			a.args[1] = at_least(49, seed);
		break;
	case EL2_CALL_CRASH:
		if (crash_test)
			a.args[0] = at_least(4, seed);
		break;
	case EL2_CALL_POOL_RECLAIM:
		/* The host has donated nothing: no page is there to come back. */
		a.only = EL2_ERROR_NOENTRY;
		break;
	/* Never wrong. An unknown number instead. */
	case EL2_CALL_VERSION:
		a.id = EL2_CALL_BASE + EL2_CALL_COUNT + random64(seed) % 0x100;
		break;
	}
	return a;
}

static struct attack unknown_call(uint64_t *seed)
{
	struct attack a = { .id = random64(seed) };
	int i;

	switch (random64(seed) % 4) {
	case 0:		/* known but for a bit of the upper half, which counts */
		a.id = (EL2_CALL_BASE + random64(seed) % EL2_CALL_COUNT) |
		       1ULL << (32 + random64(seed) % 32);
		break;
	case 1:		/* between the hyp stub's numbers and the first service's */
		a.id = 16 + random64(seed) % 0x80000000;
		break;
	case 2:		/* any service of the SMC calling convention but ours */
		a.id = 0x80000000 | (random64(seed) & 0x7fffffff);
		if (a.id >= EL2_CALL_BASE && a.id - EL2_CALL_BASE < 0x1000)
			a.id = EL2_CALL_BASE - 1;
		break;
	}
	for (i = 0; i < 6; i++)
		a.args[i] = boundary(seed);
	return a;
}

static bool is_el2_error(int64_t x0)
{
	switch (x0) {
	case EL2_ERROR_PERM:
	case EL2_ERROR_NOENTRY:
	case EL2_ERROR_NOADDRESS:
	case EL2_ERROR_TOOBIG:
	case EL2_ERROR_NOMEMORY:
	case EL2_ERROR_BUSY:
	case EL2_ERROR_EXISTS:
	case EL2_ERROR_INVALID:
	case EL2_ERROR_NOCALL:
	case EL2_ERROR_NOTSUPPORTED:
		return true;
	default:
		return false;
	}
}

static bool is_right(const struct attack *a, const struct el2_answer *answer)
{
	if (!answer->kept)
		return false;
	if (a->only)
		return answer->x0 == a->only;
	if (a->ours)
		return is_el2_error(answer->x0);
	return answer->x0 == SMCCC_NOT_SUPPORTED || answer->x0 == HVC_STUB_ERR ||
	       is_el2_error(answer->x0);
}

static void *attack(void *arg)
{
	struct attacker *self = arg;
	uint64_t seed = 0x9e3779b97f4a7c15ULL + self->cpu;
	struct el2_answer answer;
	struct attack a;
	unsigned int n;

	if (pin_to_cpu(self->cpu))
		return NULL;
	for (n = 0; n < CALLS / nr_cpus + 1; n++) {
		a = n % 4 ? known_call(n % EL2_CALL_COUNT, &seed) : unknown_call(&seed);
		answer = el2_call(self->fd, a.id, a.args);
		self->calls++;
		if (is_right(&a, &answer))
			continue;
		if (!self->wrong++) {
			self->first = a;
			self->answer = answer.x0;
		}
	}
	return NULL;
}

static void add_bad_pfn(uint64_t pfn)
{
	if (nr_bad_pfns < ARRAY_SIZE(bad_pfns))
		bad_pfns[nr_bad_pfns++] = pfn;
}

/* Outside RAM on each side of each range, in the devices' space, past all address sizes, EL2's. */
static void find_bad_pfns(int fd)
{
	struct phys_range ram[MAX_RAM_RANGES];
	size_t nr = ram_ranges(ram, MAX_RAM_RANGES), i;
	uint64_t last = nr ? ram[nr - 1].last_pfn : 0;
	uint64_t el2[16];
	size_t nr_el2 = el2_find_pages(fd, el2, ARRAY_SIZE(el2));

	for (i = 0; i < nr_el2; i++)
		add_bad_pfn(el2[i]);
	add_bad_pfn(0);
	add_bad_pfn(0x09000000 / sysconf(_SC_PAGESIZE));
	add_bad_pfn(last + 1);
	for (i = 36; i < 64; i++)
		add_bad_pfn((1ULL << i) | (last & ~0xffULL));
	add_bad_pfn(~0ULL);
	add_bad_pfn((1ULL << 52) - 1);
	add_bad_pfn((1ULL << 52) + ram[0].first_pfn);
}

FIXTURE(wrong)
{
	int fd;
	uint64_t stat[EL2_STAT_TRAP_HYPERCALL];
};

FIXTURE_SETUP(wrong)
{
	struct hostile_take take = { .order = 0, .pages = 1 };
	struct mvirt_info info = { .size = sizeof(info) };
	struct el2_reg regs[EL2_MAX_REGS];
	int device = open("/dev/mvirt", O_RDWR), i;

	ASSERT_LE(0, device);
	ASSERT_EQ(0, ioctl(device, MVIRT_GET_INFO, &info));
	close(device);
	crash_test = info.options & MVIRT_OPTION_CRASH_TEST;
	nr_cpus = cpus_possible();

	self->fd = hostile_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ioctl(self->fd, HOSTILE_TAKE, &take));
	own_pfn = take.pfn;
	i = el2_read_regs(self->fd, regs);
	ASSERT_LT(0, i);
	nr_regs = i;
	find_bad_pfns(self->fd);
	for (i = 0; i < EL2_STAT_TRAP_HYPERCALL; i++)
		self->stat[i] = el2_stat(self->fd, i);
}

FIXTURE_TEARDOWN(wrong)
{
	int i;

	for (i = 0; i < EL2_STAT_TRAP_HYPERCALL; i++)
		EXPECT_EQ(self->stat[i], el2_stat(self->fd, i)) {
			TH_LOG("counter %d", i);
		}
	EXPECT_TRUE(el2_answers(self->fd));
	close(self->fd);
}

TEST_F_TIMEOUT(wrong, each_gets_an_error, 200)
{
	struct attacker attackers[MAX_CPUS] = {};
	uint64_t calls = 0, before = el2_stat(self->fd, EL2_STAT_TRAP_HYPERCALL), cpu;

	for (cpu = 0; cpu < nr_cpus; cpu++) {
		attackers[cpu].cpu = cpu;
		attackers[cpu].fd = self->fd;
		ASSERT_EQ(0, pthread_create(&attackers[cpu].thread, NULL, attack, &attackers[cpu]));
	}
	for (cpu = 0; cpu < nr_cpus; cpu++) {
		struct attacker *a = &attackers[cpu];

		pthread_join(a->thread, NULL);
		calls += a->calls;
		EXPECT_EQ(0, a->wrong) {
			TH_LOG("CPU %d: the first: %#llx(%#llx, %#llx) gave %lld", a->cpu,
			       (unsigned long long)a->first.id,
			       (unsigned long long)a->first.args[0],
			       (unsigned long long)a->first.args[1], (long long)a->answer);
		}
	}
	EXPECT_LE(CALLS, calls);
	/* Three quarters were in mvirt's range, and EL2 has seen them. */
	EXPECT_LE(before + CALLS / 2, el2_stat(self->fd, EL2_STAT_TRAP_HYPERCALL));
}

TEST_F(wrong, another_immediate_is_refused)
{
	struct hostile_call call = { .x = { EL2_CALL_VERSION }, .immediate = 1 };

	ASSERT_EQ(0, ioctl(self->fd, HOSTILE_HVC, &call));
	EXPECT_NE(0, call.x[0]);
}

TEST_F(wrong, setup_is_over)
{
	EXPECT_EQ(EL2_ERROR_NOCALL, el2_call2(self->fd, EL2_CALL_PREPARE, 0, 0).x0);
	EXPECT_EQ(EL2_ERROR_NOCALL, el2_call2(self->fd, EL2_CALL_ENABLE_CPU, 0, 0).x0);
	EXPECT_EQ(EL2_ERROR_NOCALL, el2_call2(self->fd, EL2_CALL_FINALISE, 0, 0).x0);
	EXPECT_GT(0, el2_call2(self->fd, EL2_CALL_RELEASE, 0, 0).x0);
}

/* HVC_SET_VECTORS to HVC_FINALISE_EL2: the kernel has lost EL2, and is told so as by its stub. */
TEST_F(wrong, stub_calls_are_refused)
{
	uint64_t id;

	for (id = 0; id < 4; id++)
		EXPECT_EQ(HVC_STUB_ERR, el2_call2(self->fd, id, 0, 0).x0) {
			TH_LOG("stub call %llu", (unsigned long long)id);
		}
}

TEST_HARNESS_MAIN
