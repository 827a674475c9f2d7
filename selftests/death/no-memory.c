// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel has no memory: at the n-th allocation of each ioctl of a VM's life, for each n, the kernel's
 * own fault injection says so. The ioctl answers ENOMEM and has done nothing: made again, it succeeds, and
 * the VM lives on to its end. What it took is free again, also where the VM ends without any memory.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "life.h"
#include "account.h"
#include "machine.h"

#define SLAB	"/sys/kernel/debug/failslab/"
#define PAGE	"/sys/kernel/debug/fail_page_alloc/"
/* Ioctls of a life with one vCPU, and allocations of one ioctl; more is a mistake. */
#define MAX_CALLS	400
#define MAX_NTH		2000

static int fail_nth = -1;

/* The n-th allocation of this task from now on fails; 0: none. */
static void set_nth(int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	if (pwrite(fail_nth, text, len, 0) != len) {
		printf("# fail-nth cannot be written\n");
		_exit(1);
	}
}

/* Whether it has failed meanwhile. */
static bool has_failed(void)
{
	char text[16] = "";

	return pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;
}

/* The state of the search: of the call'th ioctl of a life, the allocation that fails next. */
static struct {
	bool on;
	int call;
	int nth[MAX_CALLS];
	/* Allocations that failed; of them, how many the ioctl could do without. */
	long failed, harmless;
	/* An ioctl with something else than ENOMEM. */
	int strange, strange_errno;
	unsigned long strange_number;
	int strange_nth;
	/* VMs that could not be made, and of them those that left something at EL2. */
	int unmade, left;
	struct account before;
} search;

/* No VM was made: EL2 has nothing that was given for it. */
static void look_behind(void)
{
	struct account after;

	search.on = false;
	account_take_exact(&after);
	search.on = true;
	search.unmade++;
	search.left += search.before.el2 != after.el2 || search.before.vms != after.vms;
}

/* In place of libc's: all calls of this program go through it. */
int ioctl(int fd, unsigned long number, ...)
{
	unsigned long arg;
	va_list args;
	int result, error, *nth;
	bool failed;

	va_start(args, number);
	arg = va_arg(args, unsigned long);
	va_end(args);
	if (!search.on || search.call >= MAX_CALLS)
		return syscall(SYS_ioctl, fd, number, arg);
	nth = &search.nth[search.call++];
	while (*nth < MAX_NTH) {
		set_nth(*nth + 1);
		result = syscall(SYS_ioctl, fd, number, arg);
		error = errno;
		failed = has_failed();
		set_nth(0);
		errno = error;
		if (!failed)
			return result;
		++*nth;
		search.failed++;
		if (result >= 0) {
			/* The next life finds out what the allocation after this one does. */
			search.harmless++;
			return result;
		}
		if (number == KVM_CREATE_VM)
			look_behind();
		if (error != ENOMEM && !search.strange++) {
			search.strange_errno = error;
			search.strange_number = number;
			search.strange_nth = *nth;
		}
	}
	errno = E2BIG;
	return -1;
}

static bool set_up(void)
{
	static const char *const words[][2] = {
		{ SLAB "verbose", "0" }, { SLAB "ignore-gfp-wait", "N" }, { SLAB "probability", "0" },
		{ PAGE "verbose", "0" }, { PAGE "ignore-gfp-wait", "N" }, { PAGE "probability", "0" },
		{ PAGE "ignore-gfp-highmem", "N" }, { PAGE "min-order", "0" },
	};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (write_file(words[i][0], words[i][1]))
			return false;
	}
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return fail_nth >= 0;
}

/* The VM's one vCPU, in this thread: the injection is the thread's. */
static void run_here(struct vm *vm)
{
	while (!vcpu_run_once(&vm->vcpus[0]) && vcpu_handle_exit(&vm->vcpus[0]))
		;
}

static void one_life(struct __test_metadata *const _metadata, const struct life *life)
{
	static struct vm vm;
	int i;

	search.call = 0;
	ASSERT_VM(&vm, life_make(&vm, life));
	run_here(&vm);
	EXPECT_TRUE(vm.done) {
		TH_LOG("%s, errno %d", vm.broken, errno);
	}
	for (i = 0; i < vm.nr_failures && i < MAX_FAILURES; i++)
		TH_LOG("guest, line %u: %s", vm.failures[i].line, vm.failures[i].text);
	EXPECT_EQ(0, vm.nr_failures);
	EXPECT_STREQ("", vm.broken);
	vm_destroy(&vm);
}

static void each_allocation(struct __test_metadata *const _metadata, enum backing backing)
{
	struct life life = { .cpus = 1, .payload = TEST_life, .backing = backing };
	struct account before;
	long failed, lives = 0;

	if (!set_up())
		SKIP(return, "this kernel has no CONFIG_FAULT_INJECTION, FAILSLAB, FAIL_PAGE_ALLOC");
	one_life(_metadata, &life);
	one_life(_metadata, &life);
	account_take(&before);
	memset(&search, 0, sizeof(search));
	search.before = before;
	/* Each life goes on behind the allocations that could fail without harm, until none is left. */
	do {
		failed = search.failed;
		search.on = true;
		one_life(_metadata, &life);
		search.on = false;
		lives++;
	} while (search.failed > failed && lives < 300 && !_metadata->exit_code);
	EXPECT_EQ(failed, search.failed);
	EXPECT_EQ(0, search.strange) {
		TH_LOG("ioctl %#lx without its allocation %d: errno %d", search.strange_number,
		       search.strange_nth, search.strange_errno);
	}
	EXPECT_LT(0, search.unmade);
	EXPECT_EQ(0, search.left) {
		TH_LOG("%d of %d VMs that could not be made left something", search.left, search.unmade);
	}
	/* A VM, its vCPU, GIC and slots, and EL2's pages for all of them. */
	EXPECT_LT(20, search.failed - search.harmless);
	TH_LOG("%ld lives, %ld allocations failed, %ld of them without harm", lives, search.failed,
	       search.harmless);
	EXPECT_NOTHING_LOST(&before);
	close(fail_nth);
}

TEST(each_allocation_with_pages)
{
	each_allocation(_metadata, BACKING_ANONYMOUS);
}

TEST(each_allocation_with_huge_pages)
{
	each_allocation(_metadata, BACKING_THP);
}

TEST(each_allocation_with_memfd)
{
	each_allocation(_metadata, BACKING_MEMFD);
}

/* All allocations of the tasks that make it so fail, on and on; or none of anybody's. */
static int set_all(bool fail)
{
	static const char *const words[][2] = {
		{ SLAB "task-filter", "Y" }, { SLAB "times", "-1" }, { SLAB "probability", "100" },
		{ PAGE "task-filter", "Y" }, { PAGE "times", "-1" }, { PAGE "probability", "100" },
	};
	size_t i;
	int error = 0;

	/* The filter stays: without it, for a moment, nobody would have memory. */
	if (!fail)
		return write_file(SLAB "probability", "0") | write_file(PAGE "probability", "0");
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		error |= write_file(words[i][0], words[i][1]);
	return error;
}

/* A VM comes apart without any memory: nothing of it may be left for want of some. */
TEST(the_end_takes_no_memory)
{
	struct life life = { .cpus = 1, .payload = TEST_life, .backing = BACKING_THP };
	int make_it_fail, i, made, error, written, nr_slots;
	struct account before, after;
	static struct vm vm;

	if (!set_up())
		SKIP(return, "this kernel has no CONFIG_FAULT_INJECTION, FAILSLAB, FAIL_PAGE_ALLOC");
	make_it_fail = open("/proc/thread-self/make-it-fail", O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, make_it_fail);
	one_life(_metadata, &life);
	account_take(&before);
	ASSERT_EQ(0, set_all(true));
	for (i = 0; i < 3; i++) {
		ASSERT_VM(&vm, life_make(&vm, &life));
		run_here(&vm);
		EXPECT_TRUE(vm.done);
		/* The mapping holds the vCPU's file, and to unmap takes memory: not ours to mend. */
		munmap(vm.vcpus[0].run, vm.run_size);
		vm.vcpus[0].run = NULL;
		nr_slots = vm.nr_slots;
		vm.nr_slots = 0;
		/* The write itself takes none. */
		written = pwrite(make_it_fail, "1", 1, 0);
		made = syscall(SYS_ioctl, vm.dev, KVM_CREATE_VM, 0UL);
		error = errno;
		vm_destroy(&vm);
		written += pwrite(make_it_fail, "0", 1, 0);
		while (nr_slots-- > 0)
			munmap(vm.slots[nr_slots].host, vm.slots[nr_slots].size);
		EXPECT_EQ(2, written);
		/* It was in force: nobody made anything. */
		EXPECT_EQ(-1, made);
		EXPECT_EQ(ENOMEM, error);
		account_take_exact(&after);
		EXPECT_NOTHING_HELD(&before, &after);
	}
	EXPECT_EQ(0, set_all(false));
	EXPECT_NOTHING_LOST(&before);
	close(make_it_fail);
	close(fail_nth);
}

TEST_HARNESS_MAIN
