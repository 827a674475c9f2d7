// SPDX-License-Identifier: GPL-2.0
/*
 * How long a step of taking a VM apart keeps a CPU at EL2, by EL2's own note: below 200 microseconds,
 * however large the VM is and whatever it is made of. It is asserted where a nanosecond is an instruction
 * (icount, one CPU: $teardown is "assert"), and printed elsewhere, where what is measured is the build
 * machine.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "life.h"
#include "account.h"
#include "machine.h"

#define LIMIT_NS	200000
#define MIB		(1UL << 20)
#define GIB		(1UL << 30)

static bool asserts(void)
{
	const char *how = getenv("teardown");

	return how && !strcmp(how, "assert");
}

FIXTURE(teardown)
{
	struct account before;
	struct vm vm;
};

FIXTURE_VARIANT(teardown)
{
	bool protected;
};

FIXTURE_VARIANT_ADD(teardown, plain) { .protected = false };
FIXTURE_VARIANT_ADD(teardown, guarded) { .protected = true };

FIXTURE_SETUP(teardown)
{
	account_take_exact(&self->before);
}

/* What is left, and how long it took at the most. */
FIXTURE_TEARDOWN(teardown)
{
	struct account after;
	uint64_t ns;

	account_take_exact(&after);
	EXPECT_NOTHING_HELD(&self->before, &after);
	ns = account_info().teardown_ns;
	TH_LOG("the longest step up to here: %llu ns", (unsigned long long)ns);
	EXPECT_LT(0, ns);
	if (asserts())
		EXPECT_GT(LIMIT_NS, ns);
}

static void make(struct __test_metadata *const _metadata, struct vm *vm, bool protected,
		 unsigned int bits)
{
	ASSERT_VM(vm, vm_create(vm, protected, bits));
	vm->request = life_request;
}

/* Runs a guest that touches a range; the VM stays. */
static void touch(struct __test_metadata *const _metadata, struct vm *vm, int cpus, uint64_t start,
		  uint64_t size, uint64_t step)
{
	the_life = (struct life){ .cpus = cpus, .range = { start, size, step } };
	ASSERT_VM(vm, vm_build(vm, cpus, 2 * MIB, BACKING_ANONYMOUS,
			       TEST_touch | 1UL << START_MMU_OFF_BIT));
	guest_expect(_metadata, vm);
	EXPECT_TRUE(vm->done);
}

/* Each page in an entry of its own. */
TEST_F(teardown, of_pages)
{
	make(_metadata, &self->vm, variant->protected, 0);
	ASSERT_VM(&self->vm, vm_add_slot(&self->vm, GUEST_EXTRA_BASE, 16 * MIB, BACKING_ANONYMOUS, 0));
	touch(_metadata, &self->vm, 1, GUEST_EXTRA_BASE, 16 * MIB, 4096);
	vm_destroy(&self->vm);
}

TEST_F(teardown, of_blocks)
{
	make(_metadata, &self->vm, variant->protected, 0);
	ASSERT_VM(&self->vm, vm_add_slot(&self->vm, GUEST_EXTRA_BASE, 64 * MIB, BACKING_THP, 0));
	touch(_metadata, &self->vm, 1, GUEST_EXTRA_BASE, 64 * MIB, 2 * MIB);
	vm_destroy(&self->vm);
}

/* As many vCPUs as there can be, a GIC with all its interrupts, and no memory but where they start. */
TEST_F(teardown, of_vcpus_and_gic)
{
	make(_metadata, &self->vm, variant->protected, 0);
	ASSERT_VM(&self->vm, vm_add_slot(&self->vm, GUEST_EXTRA_BASE, MIB, BACKING_ANONYMOUS, 0));
	touch(_metadata, &self->vm, GUEST_MAX_CPUS, GUEST_EXTRA_BASE, 4096, 4096);
	vm_destroy(&self->vm);
}

/* Slots of one page each, all over the addresses that there are: tables with one entry each. */
TEST_F(teardown, of_sparse_slots)
{
	const long page = sysconf(_SC_PAGESIZE);
	int bits, nr = 120, i;
	uint64_t step;
	uint8_t *host;

	make(_metadata, &self->vm, variant->protected, 0);
	bits = ioctl(self->vm.dev, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);
	ASSERT_LE(32, bits);
	vm_destroy(&self->vm);
	make(_metadata, &self->vm, variant->protected, bits);
	/* The first lies behind the payload, the last below the end. */
	step = ((1UL << bits) - 4 * GIB) / nr & ~(GIB - 1);
	ASSERT_LT(0, step);
	host = memory_alloc(BACKING_ANONYMOUS, nr * page);
	ASSERT_NE(NULL, host);
	for (i = 0; i < nr; i++)
		ASSERT_VM(&self->vm, vm_set_slot(&self->vm, 100 + i, 2 * GIB + i * step, page,
						 host + i * page, 0));
	touch(_metadata, &self->vm, 1, 2 * GIB, (nr - 1) * step + 1, step);
	vm_destroy(&self->vm);
	munmap(host, nr * page);
}

/* Not the whole VM: a slot, by its ioctl or because user space unmaps it. */
TEST_F(teardown, of_a_slot)
{
	const enum backing backings[] = { BACKING_ANONYMOUS, BACKING_THP };
	int i, j;

	if (variant->protected) {
		/* What it has it keeps. */
		make(_metadata, &self->vm, true, 0);
		ASSERT_VM(&self->vm, vm_add_slot(&self->vm, GUEST_EXTRA_BASE, MIB, BACKING_ANONYMOUS, 0));
		touch(_metadata, &self->vm, 1, GUEST_EXTRA_BASE, MIB, 4096);
		EXPECT_EQ(-EPERM, vm_set_slot(&self->vm, 0, GUEST_EXTRA_BASE, 0,
					      self->vm.slots[0].host, 0));
		EXPECT_EQ(0, munmap(self->vm.slots[0].host, MIB));
		vm_destroy(&self->vm);
		return;
	}
	for (i = 0; i < 2; i++) {
		for (j = 0; j < 2; j++) {
			make(_metadata, &self->vm, false, 0);
			ASSERT_VM(&self->vm, vm_add_slot(&self->vm, GUEST_EXTRA_BASE, 16 * MIB,
							 backings[i], 0));
			touch(_metadata, &self->vm, 1, GUEST_EXTRA_BASE, 16 * MIB, 4096);
			/* The first is the extra one. */
			if (j) {
				ASSERT_EQ(0, munmap(self->vm.slots[0].host, 16 * MIB));
			} else {
				ASSERT_VM(&self->vm, vm_set_slot(&self->vm, 0, GUEST_EXTRA_BASE, 0,
								 self->vm.slots[0].host, 0));
			}
			EXPECT_GT(4 * MIB, account_info().guest_table_bytes);
			vm_destroy(&self->vm);
		}
	}
}

/* Blocks with holes, shared pages, and the kernel's decoys in them. */
TEST_F(teardown, of_what_a_life_leaves)
{
	struct life life = { .cpus = 2, .payload = TEST_life, .backing = BACKING_THP };
	char word[8];
	int mem, i;

	setenv("guests", variant->protected ? "protected" : "", 1);
	ASSERT_VM(&self->vm, life_make(&self->vm, &life));
	guest_expect(_metadata, &self->vm);
	EXPECT_TRUE(self->vm.done);
	/* Where the guest is protected the kernel meets zeros there. */
	mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, mem);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(8, pread(mem, word, 8, (uintptr_t)self->vm.slots[1].host + i * 0x24000));
	close(mem);
	vm_destroy(&self->vm);
}

/* While another VM lives, what EL2 took for the first is not looked for in all of the host's tables. */
TEST_F(teardown, beside_another_vm)
{
	struct vm other;

	make(_metadata, &other, true, 0);
	ASSERT_VM(&other, vm_add_slot(&other, GUEST_EXTRA_BASE, 64 * MIB, BACKING_ANONYMOUS, 0));
	/* One page in each block of the host's. */
	touch(_metadata, &other, 1, GUEST_EXTRA_BASE, 64 * MIB, 512 << 10);
	make(_metadata, &self->vm, variant->protected, 0);
	ASSERT_VM(&self->vm, vm_add_slot(&self->vm, GUEST_EXTRA_BASE, 8 * MIB, BACKING_ANONYMOUS, 0));
	touch(_metadata, &self->vm, 1, GUEST_EXTRA_BASE, 8 * MIB, 4096);
	vm_destroy(&self->vm);
	vm_destroy(&other);
}

TEST_HARNESS_MAIN
