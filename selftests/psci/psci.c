// SPDX-License-Identifier: GPL-2.0
/* What a guest gets from PSCI and the other SMCCC calls, and what its VMM hears of it. */
#include <sys/ioctl.h>

#include "fixture.h"
#include "tests.h"

GUEST_NUMBERS(ALL_TESTS);
PSCI_TESTS(GUEST_TEST)

/* Runs a payload that ends by a call; sees the event and that nothing runs after it. */
static void expect_event(struct __test_metadata *const _metadata, struct vm *vm, int test,
			 uint32_t type, uint64_t flags)
{
	ASSERT_VM(vm, vm_build(vm, 2, GUEST_RAM_SIZE, BACKING_ANONYMOUS, test));
	guest_expect(_metadata, vm);
	EXPECT_FALSE(vm->done);
	ASSERT_TRUE(vm->event);
	EXPECT_EQ(type, vm->event_type);
	EXPECT_EQ(flags, vm->event_flags);
}

#define EVENT_TEST(name, type, flags)							\
	TEST_F(guest, name) { expect_event(_metadata, &self->vm, TEST_##name, type, flags); }

EVENT_TEST(system_off, KVM_SYSTEM_EVENT_SHUTDOWN, 0)
EVENT_TEST(system_reset, KVM_SYSTEM_EVENT_RESET, 0)
EVENT_TEST(system_off2, KVM_SYSTEM_EVENT_SHUTDOWN, KVM_SYSTEM_EVENT_SHUTDOWN_FLAG_PSCI_OFF2)
EVENT_TEST(system_off2_hibernate, KVM_SYSTEM_EVENT_SHUTDOWN, KVM_SYSTEM_EVENT_SHUTDOWN_FLAG_PSCI_OFF2)
EVENT_TEST(system_off2_smc32, KVM_SYSTEM_EVENT_SHUTDOWN, KVM_SYSTEM_EVENT_SHUTDOWN_FLAG_PSCI_OFF2)
EVENT_TEST(system_reset2, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2)
EVENT_TEST(system_reset2_vendor, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2)
EVENT_TEST(system_off_by_another_cpu, KVM_SYSTEM_EVENT_SHUTDOWN, 0)

/* The event, and then the guest goes on at its entry point with the next interrupt. */
TEST_F(guest, system_suspend)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ARM_SYSTEM_SUSPEND };
	int i;

	if (!device_is_mvirt())
		SKIP(return, "KVM leaves the suspension to its VMM");
	EXPECT_EQ(1, ioctl(self->vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_SYSTEM_SUSPEND));
	cap.flags = 1;
	EXPECT_EQ(-1, ioctl(self->vm.fd, KVM_ENABLE_CAP, &cap));
	EXPECT_EQ(EINVAL, errno);
	cap.flags = 0;
	ASSERT_EQ(0, ioctl(self->vm.fd, KVM_ENABLE_CAP, &cap));
	expect_event(_metadata, &self->vm, TEST_system_suspend, KVM_SYSTEM_EVENT_SUSPEND, 0);
	self->vm.event = self->vm.stop = false;
	for (i = 0; i < self->vm.nr_vcpus; i++) {
		self->vm.vcpus[i].run->immediate_exit = 0;
		self->vm.vcpus[i].finished = false;
	}
	guest_expect(_metadata, &self->vm);
	EXPECT_FALSE(self->vm.event);
	EXPECT_TRUE(self->vm.done);
	EXPECT_LT(5, self->vm.checks);
}

TEST_HARNESS_MAIN
