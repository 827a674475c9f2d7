// SPDX-License-Identifier: GPL-2.0
/* Processes and memory of the host go on as before, on all CPUs, under mvirt's stage 2. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "hostile.h"
#include "harness.h"
#include "load_threads.h"
#include "machine.h"

#define MIB	(1UL << 20)

/* Runs @work in a process on each CPU at once; every one must exit with 0. */
static void on_all_cpus(struct __test_metadata *const _metadata, int (*work)(int cpu))
{
	int cpus = cpus_possible(), cpu, status;
	pid_t children[MAX_CPUS];

	for (cpu = 0; cpu < cpus; cpu++) {
		children[cpu] = fork();
		ASSERT_LE(0, children[cpu]);
		if (!children[cpu])
			_exit(pin_to_cpu(cpu) ? 99 : work(cpu));
	}
	for (cpu = 0; cpu < cpus; cpu++) {
		ASSERT_EQ(children[cpu], waitpid(children[cpu], &status, 0));
		EXPECT_EQ(0, status) {
			TH_LOG("CPU %d: wait status %#x", cpu, status);
		}
	}
}

static int fork_and_exec(int cpu)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 50; i++) {
		pid = fork();
		if (!pid) {
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			return 1;
	}
	return 0;
}

TEST(fork_and_exec_on_all_cpus)
{
	on_all_cpus(_metadata, fork_and_exec);
}

/* Fills @bytes with what each address alone has, and checks. */
static int fill_and_check(volatile uint64_t *p, size_t bytes, uint64_t key)
{
	size_t i, n = bytes / sizeof(*p), step = 64;

	for (i = 0; i < n; i += step)
		p[i] = i ^ key;
	for (i = 0; i < n; i += step)
		if (p[i] != (i ^ key))
			return 1;
	return 0;
}

static int map_and_touch(int cpu)
{
	int i, wrong;
	void *p;

	for (i = 0; i < 4; i++) {
		p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return 1;
		wrong = fill_and_check(p, 4 * MIB, cpu * 1000 + i);
		if (mprotect(p, 4 * MIB, PROT_READ) || madvise(p, 4 * MIB, MADV_DONTNEED) ||
		    *(volatile uint64_t *)p || munmap(p, 4 * MIB) || wrong)
			return 1;
	}
	return 0;
}

TEST(map_and_touch_on_all_cpus)
{
	on_all_cpus(_metadata, map_and_touch);
}

static int copy_on_write(int cpu)
{
	uint64_t *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i, status;
	pid_t pid;

	if (p == MAP_FAILED || fill_and_check(p, MIB, cpu))
		return 1;
	for (i = 0; i < 10; i++) {
		pid = fork();
		if (!pid)
			_exit(fill_and_check(p, MIB, ~0ULL - i));
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status || p[64] != (64 ^ (uint64_t)cpu))
			return 1;
	}
	return 0;
}

TEST(copy_on_write_on_all_cpus)
{
	on_all_cpus(_metadata, copy_on_write);
}

FIXTURE(pressure)
{
	size_t bytes;
};

FIXTURE_SETUP(pressure)
{
	/* What is left keeps the OOM killer away from the test itself. */
	self->bytes = (meminfo("MemAvailable") - 64 * MIB) & ~(MIB - 1);
	ASSERT_LT(64 * MIB, self->bytes);
	ASSERT_GT(1UL << 40, self->bytes);
}

FIXTURE_TEARDOWN(pressure)
{
}

TEST_F_TIMEOUT(pressure, nearly_all_memory, 200)
{
	void *p = mmap(NULL, self->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(0, fill_and_check(p, self->bytes, 6));
	ASSERT_EQ(0, munmap(p, self->bytes));
	EXPECT_EQ(0, write_file("/proc/sys/vm/compact_memory", "1"));
}

TEST(transparent_huge_pages)
{
	size_t bytes = 16 * MIB;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	/* With little memory the kernel starts with huge pages off. */
	ASSERT_EQ(0, write_file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise"));
	ASSERT_EQ(0, madvise(p, bytes, MADV_HUGEPAGE));
	EXPECT_EQ(0, fill_and_check(p, bytes, 3));
	EXPECT_LT(0, meminfo("AnonHugePages"));
	munmap(p, bytes);
}

TEST(hugetlb_pages)
{
	size_t bytes = 4 * meminfo("Hugepagesize");
	void *p;

	ASSERT_EQ(0, write_file("/proc/sys/vm/nr_hugepages", "4"));
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(0, fill_and_check(p, bytes, 4));
	munmap(p, bytes);
	EXPECT_EQ(0, write_file("/proc/sys/vm/nr_hugepages", "0"));
}

/* Stage 2 must leave stage 1's attributes in force: a write-combined buffer stays usable so. */
TEST(write_combined_mapping)
{
	struct hostile_take take = { .order = 4, .pages = 1 };
	size_t bytes = 16 * sysconf(_SC_PAGESIZE);
	uint64_t phys;
	volatile uint8_t *wc;
	uint64_t word;
	int fd = open("/dev/hostile", O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, HOSTILE_TAKE, &take));
	phys = take.pfn * sysconf(_SC_PAGESIZE);
	wc = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  (off_t)(phys | HOSTILE_MAP_WC));
	ASSERT_NE(MAP_FAILED, wc);
	EXPECT_EQ(0, fill_and_check((volatile uint64_t *)wc, bytes, 5));
	/* Unaligned access works on Normal memory and faults on Device memory. */
	memcpy((void *)(wc + 3), "mvirt-wc", 8);
	memcpy(&word, (void *)(wc + 3), 8);
	EXPECT_EQ(0, memcmp(&word, "mvirt-wc", 8));
	munmap((void *)wc, bytes);
	close(fd);
}

TEST(threads_move_between_cpus)
{
	ASSERT_EQ(0, load_start(2 * cpus_possible()));
	sleep(1);
	EXPECT_LT(0, load_stop());
}

TEST_HARNESS_MAIN
