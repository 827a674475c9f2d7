// SPDX-License-Identifier: GPL-2.0
/*
 * The host reads, writes and runs EL2's memory in every way it has. It reads nothing, changes
 * nothing, and survives: at EL0 by a SIGBUS, at EL1 by a fault that a fixup takes or by a page of
 * zeros in place of EL2's. "control" shows that the same accesses do reach memory of the host.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "el2.h"
#include "harness.h"
#include "machine.h"

#define MAX_PAGES	1024
#define GARBAGE		0x6d76697274454c32ULL

static uint64_t el2_pfns[MAX_PAGES];
static size_t nr_pfns;

FIXTURE(hostile)
{
	int fd;
	size_t page;
	uint64_t denied;
};

static void everything_is_as_it_was(struct __test_metadata *const _metadata, int fd)
{
	struct el2_page page;
	int cpu;
	size_t i;

	for (cpu = 0; cpu < cpus_possible(); cpu++) {
		ASSERT_EQ(0, pin_to_cpu(cpu));
		EXPECT_TRUE(el2_answers(fd));
	}
	for (i = 0; i < nr_pfns; i++) {
		ASSERT_EQ(0, el2_page_state(fd, el2_pfns[i], &page));
		ASSERT_EQ(EL2_OWNER_EL2, page.owner);
	}
}

FIXTURE_SETUP(hostile)
{
	self->fd = hostile_open();
	ASSERT_LE(0, self->fd);
	self->page = sysconf(_SC_PAGESIZE);
	nr_pfns = el2_find_pages(self->fd, el2_pfns, MAX_PAGES);
	ASSERT_LT(0, nr_pfns) {
		TH_LOG("no page belongs to EL2");
	}
	self->denied = el2_stat(self->fd, EL2_STAT_TRAP_FAULT_DENIED);
}

FIXTURE_TEARDOWN(hostile)
{
	everything_is_as_it_was(_metadata, self->fd);
	close(self->fd);
}

static int kernel_access(int fd, uint64_t pfn, uint32_t offset, enum hostile_way way, bool write,
			 uint64_t *value)
{
	struct hostile_access access = {
		.pfn = pfn, .offset = offset, .way = way, .write = write, .value = *value,
	};

	if (ioctl(fd, HOSTILE_ACCESS, &access))
		return -errno;
	*value = access.value;
	return access.error;
}

static volatile uint64_t *map(int fd, uint64_t pfn, size_t size, uint64_t flags)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, fd,
		    (off_t)(pfn * size | flags));
}

TEST_F(hostile, control_the_same_accesses_reach_the_hosts_own_memory)
{
	struct hostile_take take = { .order = 0, .pages = 1 };
	volatile uint64_t *p;
	uint64_t value;
	int way;

	ASSERT_EQ(0, ioctl(self->fd, HOSTILE_TAKE, &take));
	ASSERT_EQ(1, take.count);
	for (way = 0; way < HOSTILE_WAYS; way++) {
		value = GARBAGE + way;
		ASSERT_EQ(0, kernel_access(self->fd, take.pfn, 64, way, true, &value));
		value = 0;
		ASSERT_EQ(0, kernel_access(self->fd, take.pfn, 64, way, false, &value));
		EXPECT_EQ(GARBAGE + way, value);
	}
	p = map(self->fd, take.pfn, self->page, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(GARBAGE + HOSTILE_WAYS - 1, p[8]);
	p[9] = GARBAGE;
	value = 0;
	ASSERT_EQ(0, kernel_access(self->fd, take.pfn, 72, HOSTILE_LINEAR, false, &value));
	EXPECT_EQ(GARBAGE, value);
	munmap((void *)p, self->page);
}

/* What a program can do to a page. Each returns what it read, or 0. */
static uint64_t user_load(volatile uint64_t *p)
{
	return *p;
}

static uint64_t user_store(volatile uint64_t *p)
{
	*p = GARBAGE;
	return 0;
}

static uint64_t user_exclusive(volatile uint64_t *p)
{
	uint64_t old;
	uint32_t failed;

	asm volatile("ldaxr %0, [%2]\n\tstlxr %w1, %3, [%2]"
		     : "=&r"(old), "=&r"(failed) : "r"(p), "r"(GARBAGE) : "memory");
	return old;
}

static uint64_t user_vector(volatile uint64_t *p)
{
	uint64_t low, high;

	asm volatile("ld1 {v0.2d}, [%2]\n\tmov %0, v0.d[0]\n\tmov %1, v0.d[1]"
		     : "=r"(low), "=r"(high) : "r"(p) : "v0", "memory");
	return low | high;
}

static uint64_t user_zero_block(volatile uint64_t *p)
{
	asm volatile("dc zva, %0" : : "r"(p) : "memory");
	return 0;
}

static uint64_t user_fetch(volatile uint64_t *p)
{
	((void (*)(void))p)();
	return 0;
}

static uint64_t user_clean(volatile uint64_t *p)
{
	asm volatile("dc civac, %0\n\tdsb ish\n\tic ivau, %0\n\tdsb ish\n\tisb"
		     : : "r"(p) : "memory");
	return 0;
}

/* How a child that does this to the page ended: -1 if it read a byte of it, else its signal. */
static int in_child(uint64_t (*act)(volatile uint64_t *), volatile uint64_t *p)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(act(p) ? 1 : 0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	if (WIFEXITED(status))
		return WEXITSTATUS(status) ? -1 : 0;
	return WTERMSIG(status);
}

static void user_attack(struct __test_metadata *const _metadata, int fd, size_t page,
			uint64_t (*act)(volatile uint64_t *), uint64_t flags)
{
	/* A child for each page would take minutes: some of each region will do. */
	size_t step = nr_pfns / 32 + 1, i;

	for (i = 0; i < nr_pfns; i += step) {
		volatile uint64_t *p = map(fd, el2_pfns[i], page, flags);

		ASSERT_NE(MAP_FAILED, p);
		EXPECT_EQ(SIGBUS, in_child(act, p)) {
			TH_LOG("page %#llx", (unsigned long long)el2_pfns[i]);
		}
		munmap((void *)p, page);
	}
	EXPECT_LT(0, i);
}

TEST_F(hostile, el0_load)
{
	user_attack(_metadata, self->fd, self->page, user_load, 0);
	EXPECT_LT(self->denied, el2_stat(self->fd, EL2_STAT_TRAP_FAULT_DENIED));
}

TEST_F(hostile, el0_store)
{
	user_attack(_metadata, self->fd, self->page, user_store, 0);
}

TEST_F(hostile, el0_load_noncacheable)
{
	user_attack(_metadata, self->fd, self->page, user_load, HOSTILE_MAP_WC);
}

TEST_F(hostile, el0_exclusive)
{
	user_attack(_metadata, self->fd, self->page, user_exclusive, 0);
}

TEST_F(hostile, el0_vector)
{
	user_attack(_metadata, self->fd, self->page, user_vector, 0);
}

TEST_F(hostile, el0_zero_block)
{
	user_attack(_metadata, self->fd, self->page, user_zero_block, 0);
}

TEST_F(hostile, el0_instruction_fetch)
{
	user_attack(_metadata, self->fd, self->page, user_fetch, 0);
}

TEST_F(hostile, el0_cache_maintenance_is_harmless)
{
	volatile uint64_t *p = map(self->fd, el2_pfns[0], self->page, 0);
	int ended;

	ASSERT_NE(MAP_FAILED, p);
	/* TCG lets it pass, hardware faults (Arm ARM, "Ordering and completion of DC"): both will do. */
	ended = in_child(user_clean, p);
	EXPECT_TRUE(ended == 0 || ended == SIGBUS);
	munmap((void *)p, self->page);
}

TEST_F(hostile, el1_reads_nothing)
{
	uint32_t offsets[] = { 0, self->page / 2, self->page - 8 };
	uint64_t value;
	size_t i, o;
	int way, error;

	for (i = 0; i < nr_pfns; i++) {
		for (way = 0; way < HOSTILE_WAYS; way++) {
			for (o = 0; o < ARRAY_SIZE(offsets); o++) {
				value = ~0ULL;
				error = kernel_access(self->fd, el2_pfns[i], offsets[o], way, false,
						      &value);
				/* It meets a decoy: a page of zeros. */
				EXPECT_EQ(0, error);
				ASSERT_EQ(0, value) {
					TH_LOG("page %#llx, way %d",
					       (unsigned long long)el2_pfns[i], way);
				}
			}
		}
	}
}

TEST_F(hostile, el1_writes_nothing)
{
	static struct el2_reg before[EL2_MAX_REGS], after[EL2_MAX_REGS];
	uint64_t value;
	size_t i;
	int way, error, nr;

	ASSERT_EQ(0, pin_to_cpu(0));
	nr = el2_read_regs(self->fd, before);
	ASSERT_LT(0, nr);
	/* All of EL2, its text, its tables and this call's stack: one write that hits would be seen. */
	for (i = 0; i < nr_pfns; i++) {
		for (way = 0; way < HOSTILE_WAYS; way++) {
			for (uint32_t offset = 0; offset < self->page; offset += 512) {
				value = GARBAGE;
				error = kernel_access(self->fd, el2_pfns[i], offset, way, true,
						      &value);
				/* It goes into a decoy. */
				ASSERT_EQ(0, error);
			}
		}
	}
	ASSERT_EQ(nr, el2_read_regs(self->fd, after));
	EXPECT_EQ(0, memcmp(before, after, nr * sizeof(*before)));
}

/* While the kernel has a decoy at a page, a program reads it as well, but nobody executes it. */
TEST_F(hostile, a_decoy_is_read_and_not_executed)
{
	uint64_t before = el2_stat(self->fd, EL2_STAT_TRAP_FAULT_DECOY);
	volatile uint64_t *p = map(self->fd, el2_pfns[0], self->page, 0);
	volatile uint64_t *code;
	uint64_t value = ~0ULL;
	size_t i;

	ASSERT_NE(MAP_FAILED, p);
	/* Execute-only, where the CPU has FEAT_PAN3: stage 1 lets nobody read there. */
	code = mmap(NULL, self->page, PROT_EXEC, MAP_SHARED, self->fd,
		    (off_t)(el2_pfns[0] * self->page));
	ASSERT_NE(MAP_FAILED, code);
	/* So many that each decoy has moved, and the first page's last. */
	for (i = nr_pfns; i-- > 0;)
		ASSERT_EQ(0, kernel_access(self->fd, el2_pfns[i], 0, HOSTILE_LINEAR, false, &value));
	EXPECT_EQ(0, value);
	EXPECT_LT(before, el2_stat(self->fd, EL2_STAT_TRAP_FAULT_DECOY));
	EXPECT_EQ(0, in_child(user_load, p));
	EXPECT_EQ(SIGBUS, in_child(user_fetch, p));
	EXPECT_EQ(SIGBUS, in_child(user_fetch, code));
	value = GARBAGE;
	ASSERT_EQ(0, kernel_access(self->fd, el2_pfns[0], 0, HOSTILE_LINEAR, true, &value));
	EXPECT_EQ(SIGBUS, in_child(user_fetch, p));
	munmap((void *)code, self->page);
	munmap((void *)p, self->page);
}

TEST_F(hostile, system_calls_on_el2_memory)
{
	volatile uint64_t *p = map(self->fd, el2_pfns[0], self->page, 0);
	uint64_t value = ~0ULL;
	int pipes[2];
	ssize_t n;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, pipe(pipes));
	n = write(pipes[1], (void *)p, sizeof(value));
	EXPECT_TRUE(n == sizeof(value) || (n < 0 && errno == EFAULT));
	if (n == sizeof(value)) {
		ASSERT_EQ(sizeof(value), read(pipes[0], &value, sizeof(value)));
		/* A decoy that is still there has what the host wrote to it. */
		EXPECT_TRUE(value == 0 || value == GARBAGE);
	}
	value = GARBAGE;
	ASSERT_EQ(sizeof(value), write(pipes[1], &value, sizeof(value)));
	n = read(pipes[0], (void *)p, sizeof(value));
	EXPECT_TRUE(n == sizeof(value) || (n < 0 && errno == EFAULT));
	munmap((void *)p, self->page);
}

/* Seconds after which a process that has attacked often enough ends: the machine may have much else to do. */
#define ENOUGH	20
#define OFTEN	20

/* One process on each CPU attacks in turn, as EL0 and as EL1. 0 if nothing was read. */
static int attack_from(int cpu, size_t page)
{
	time_t end = time(NULL) + ENOUGH;
	int fd = hostile_open();
	uint64_t value;
	size_t i, n;

	if (fd < 0 || pin_to_cpu(cpu))
		return 1;
	for (n = 0, i = cpu; n < 300 && (n < OFTEN || time(NULL) < end); n++, i += 7) {
		uint64_t pfn = el2_pfns[i % nr_pfns];
		volatile uint64_t *p = map(fd, pfn, page, 0);

		value = GARBAGE;
		kernel_access(fd, pfn, 8 * (n % 512), n % HOSTILE_WAYS, true, &value);
		value = 0;
		/* What another CPU wrote to a decoy page may be read; EL2's memory may not. */
		kernel_access(fd, pfn, 8 * (n % 512), n % HOSTILE_WAYS, false, &value);
		if ((value && value != GARBAGE) || p == MAP_FAILED || !el2_answers(fd))
			return 1;
		if (n % 20 == 0 && in_child(user_store, p) < 0)
			return 1;
		munmap((void *)p, page);
	}
	return 0;
}

TEST_F(hostile, from_all_cpus_at_once)
{
	int cpus = cpus_possible(), cpu, status;
	pid_t children[MAX_CPUS];

	for (cpu = 0; cpu < cpus; cpu++) {
		children[cpu] = fork();
		ASSERT_LE(0, children[cpu]);
		if (!children[cpu])
			_exit(attack_from(cpu, self->page));
	}
	for (cpu = 0; cpu < cpus; cpu++) {
		ASSERT_EQ(children[cpu], waitpid(children[cpu], &status, 0));
		EXPECT_EQ(0, status);
	}
}

/* What a waiter reads is a plain access with a fixup: the call ends. */
TEST_F_TIMEOUT(hostile, futex_wait_on_el2_memory_ends, 20)
{
	struct timespec soon = { .tv_nsec = 10000000 };
	volatile uint64_t *p = map(self->fd, el2_pfns[0], self->page, 0);
	long ret;

	ASSERT_NE(MAP_FAILED, p);
	ret = syscall(SYS_futex, p, FUTEX_WAIT_PRIVATE, 0xdead, &soon, NULL, 0);
	EXPECT_EQ(-1, ret);
	EXPECT_TRUE(errno == EFAULT || errno == EAGAIN);
	munmap((void *)p, self->page);
}

TEST_HARNESS_MAIN
