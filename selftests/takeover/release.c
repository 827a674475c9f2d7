// SPDX-License-Identifier: GPL-2.0
/* Loaded with allow_release=1 the module goes again and leaves nothing behind, several times. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "el2.h"
#include "harness.h"
#include "machine.h"

/* What the page allocator's and the slab's own caches may keep of a round, in bytes. */
#define SLACK	(512 << 10)

FIXTURE(release)
{
	int hostile;
};

FIXTURE_SETUP(release)
{
	ASSERT_EQ(0, load_module("hostile", ""));
	self->hostile = hostile_open();
	ASSERT_LE(0, self->hostile);
}

FIXTURE_TEARDOWN(release)
{
	close(self->hostile);
	EXPECT_EQ(0, unload_module("hostile"));
}

static void load_and_unload(struct __test_metadata *const _metadata, int hostile)
{
	int cpu;

	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	for (cpu = 0; cpu < cpus_possible(); cpu++) {
		ASSERT_EQ(0, pin_to_cpu(cpu));
		EXPECT_TRUE(el2_answers(hostile));
	}
	ASSERT_EQ(0, unload_module("mvirt"));
	EXPECT_EQ(-1, access("/dev/mvirt", F_OK));
	for (cpu = 0; cpu < cpus_possible(); cpu++) {
		ASSERT_EQ(0, pin_to_cpu(cpu));
		EXPECT_FALSE(el2_answers(hostile));
	}
}

TEST_F(release, ten_rounds_leave_no_trace)
{
	uint64_t before, after;
	int round;

	load_and_unload(_metadata, self->hostile);
	before = settled_mem_free();
	for (round = 0; round < 10; round++)
		load_and_unload(_metadata, self->hostile);
	after = settled_mem_free();
	EXPECT_GE(after + SLACK, before) {
		TH_LOG("%lld KiB are missing", (long long)(before - after) / 1024);
	}
}

TEST_F(release, not_while_the_device_is_open)
{
	int fd;

	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	fd = open("/dev/mvirt", O_RDWR | O_CLOEXEC);
	EXPECT_LE(0, fd);
	EXPECT_EQ(-EWOULDBLOCK, unload_module("mvirt"));
	EXPECT_TRUE(el2_answers(self->hostile));
	close(fd);
	EXPECT_EQ(0, unload_module("mvirt"));
}

TEST_F(release, not_while_there_is_a_vm)
{
	int fd, vm;

	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	fd = open("/dev/mvirt", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	vm = ioctl(fd, KVM_CREATE_VM, 0);
	EXPECT_LE(0, vm);
	/* The VM outlives the device's file. */
	close(fd);
	EXPECT_EQ(-EWOULDBLOCK, unload_module("mvirt"));
	EXPECT_TRUE(el2_answers(self->hostile));
	close(vm);
	EXPECT_EQ(0, unload_module("mvirt"));
}

TEST_HARNESS_MAIN
