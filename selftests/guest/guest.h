/* SPDX-License-Identifier: GPL-2.0 */
/* A payload's tests as tests of the kernel's harness. Included after harness.h. */
#ifndef MVIRT_GUEST_H
#define MVIRT_GUEST_H

#include <errno.h>

#include "harness.h"
#include "vmm.h"

/* Flags of a test in tests.h: LIST(NAME, vCPUs, flags). */
#define GUEST_MMU_OFF	(1 << 0)

#define GUEST_RAM_SIZE	(8UL << 20)

#define GUEST_NUMBER(name, cpus, flags)	TEST_##name,
#define GUEST_NUMBERS(list)		enum { list(GUEST_NUMBER) }

/* Says why a VM could not be made or did not end as it should. */
#define ASSERT_VM(vm, call)	ASSERT_EQ(0, call) { TH_LOG("%s: %s", (vm)->what, strerror(errno)); }

/*
 * A VM of the kind that $guests asks for. KVM before 7.1 makes no protected ones, and nor does a KVM
 * that is not pKVM: that leaves the test out. mvirt has no such excuse.
 */
#define MAKE_VM(vm) do {								\
		int error_ = vm_create(vm, guests_protected(), 0);			\
											\
		if (error_ == -EINVAL && guests_protected() && !device_is_mvirt())	\
			SKIP(return, "this KVM makes no protected VM");			\
		ASSERT_VM(vm, error_);							\
	} while (0)

/* Runs the VM and asserts that all checks of the payload passed. */
static inline void guest_expect(struct __test_metadata *const _metadata, struct vm *vm)
{
	int i;

	vm_run(vm, GUEST_SECONDS);
	EXPECT_EQ(0, vm->nr_failures);
	for (i = 0; i < vm->nr_failures && i < MAX_FAILURES; i++) {
		struct failure *f = &vm->failures[i];

		TH_LOG("guest, vCPU %d, line %u: %s: %#llx where %#llx was wanted", f->vcpu, f->line,
		       f->text, (unsigned long long)f->got, (unsigned long long)f->want);
	}
	EXPECT_STREQ("", vm->broken);
}

static inline void guest_run(struct __test_metadata *const _metadata, struct vm *vm, int test,
			     int cpus, unsigned int flags, enum backing backing)
{
	uint64_t word = test;

	if (flags & GUEST_MMU_OFF)
		word |= 1UL << START_MMU_OFF_BIT;
	ASSERT_VM(vm, vm_build(vm, cpus, GUEST_RAM_SIZE, backing, word));
	guest_expect(_metadata, vm);
	EXPECT_TRUE(vm->done);
	/* A test that checks nothing is none. */
	EXPECT_LT(0, vm->checks);
}

#endif /* MVIRT_GUEST_H */
