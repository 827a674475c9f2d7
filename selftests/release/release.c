// SPDX-License-Identifier: GPL-2.0
/* Loaded with allow_release=1 the module goes again and leaves nothing behind, as often as one likes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "el2.h"
#include "harness.h"
#include "kvm.h"
#include "leak.h"
#include "machine.h"

/* What the kernel's hyp stub answers to a call that it does not know. */
#define HVC_STUB_ERR	0xbadca11

#define ROUNDS		50

FIXTURE(release)
{
	int hostile;
};

FIXTURE_SETUP(release)
{
	self->hostile = hostile_open();
	ASSERT_LE(0, self->hostile);
}

FIXTURE_TEARDOWN(release)
{
	close(self->hostile);
}

/* Is each CPU that is online under EL2, or has each of them the stub? */
static bool all_cpus(int hostile, bool under_el2)
{
	int cpu;

	for (cpu = 0; cpu < cpus_possible(); cpu++) {
		if (!cpu_is_online(cpu))
			continue;
		if (pin_to_cpu(cpu))
			return false;
		if (under_el2 ? !el2_answers(hostile) :
				el2_call2(hostile, EL2_CALL_VERSION, 0, 0).x0 != HVC_STUB_ERR) {
			ksft_print_msg("CPU %d is %sunder EL2\n", cpu, under_el2 ? "not " : "");
			return false;
		}
	}
	return true;
}

struct rounds {
	int hostile;
	int done;
};

static void round_trip(void *arg)
{
	struct rounds *rounds = arg;

	if (!load_module("mvirt", "allow_release=1") && all_cpus(rounds->hostile, true) &&
	    !unload_module("mvirt") && all_cpus(rounds->hostile, false) &&
	    access("/dev/mvirt", F_OK))
		rounds->done++;
}

TEST_F_TIMEOUT(release, fifty_rounds_leave_no_trace, 900)
{
	struct rounds rounds = { .hostile = self->hostile };
	int64_t lost;

	/* The kernel's own caches. */
	round_trip(&rounds);
	ASSERT_EQ(1, rounds.done);
	rounds.done = 0;
	lost = leaked(round_trip, &rounds, ROUNDS);
	EXPECT_EQ(0, lost) {
		TH_LOG("%lld KiB are missing after %d rounds", (long long)lost / 1024, ROUNDS);
	}
	EXPECT_LT(0, rounds.done);
	EXPECT_EQ(0, rounds.done % ROUNDS);
}

/* What mvirt's EL2 had of the kernel's memory is all zeros when the kernel gets it back. */
TEST_F(release, what_is_given_back_is_zero)
{
	struct mvirt_info info = { .size = sizeof(info) };
	char pid[16], text[32];
	uint64_t taken;
	int fd;

	snprintf(pid, sizeof(pid), "%d", getpid());
	ASSERT_EQ(0, load_module("freed", ""));
	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	fd = kvm_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, MVIRT_GET_INFO, &info));
	close(fd);
	taken = info.image_bytes + info.stack_bytes + info.meta_bytes + info.el2_table_bytes +
		info.host_table_bytes + info.pool_bytes + info.el1_bytes;
	ASSERT_EQ(0, write_file("/sys/module/freed/parameters/pid", pid));
	ASSERT_EQ(0, unload_module("mvirt"));
	/* The image, the report and the metadata at least: all that mvirt says it has. */
	ASSERT_EQ(0, read_file("/sys/module/freed/parameters/bytes", text, sizeof(text)));
	EXPECT_LE(taken, strtoull(text, NULL, 10)) {
		TH_LOG("%llu bytes were taken, %s freed", (unsigned long long)taken, text);
	}
	ASSERT_EQ(0, read_file("/sys/module/freed/parameters/dirty", text, sizeof(text)));
	EXPECT_STREQ("0\n", text);
	ASSERT_EQ(0, unload_module("freed"));
}

TEST_F(release, not_while_the_device_is_open)
{
	int fd;

	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	fd = kvm_open();
	EXPECT_LE(0, fd);
	EXPECT_EQ(-EWOULDBLOCK, unload_module("mvirt"));
	EXPECT_TRUE(all_cpus(self->hostile, true));
	close(fd);
	EXPECT_EQ(0, unload_module("mvirt"));
}

TEST_F(release, not_while_there_is_a_vm)
{
	int vm;

	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	/* The VM outlives the device's file. */
	vm = kvm_vm(0);
	EXPECT_LE(0, vm);
	EXPECT_EQ(-EWOULDBLOCK, unload_module("mvirt"));
	EXPECT_TRUE(all_cpus(self->hostile, true));
	close(vm);
	EXPECT_EQ(0, unload_module("mvirt"));
	EXPECT_TRUE(all_cpus(self->hostile, false));
}

/* A program that has a vCPU's page mapped holds the VM too. */
TEST_F(release, not_while_a_vcpu_is_mapped)
{
	struct kvm_run *run;
	int vm, vcpu;

	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	vm = kvm_vm(PROTECTED);
	ASSERT_LE(0, vm);
	vcpu = kvm_vcpu(vm, 0, false, &run);
	ASSERT_LE(0, vcpu);
	close(vcpu);
	close(vm);
	EXPECT_EQ(-EWOULDBLOCK, unload_module("mvirt"));
	munmap(run, sysconf(_SC_PAGESIZE));
	EXPECT_EQ(0, unload_module("mvirt"));
}

/* CPUs that EL2 started, that it never saw, and that went while it was there. */
TEST_F(release, cpus_that_come_and_go)
{
	int last = cpus_possible() - 1;

	if (last == 0)
		SKIP(return, "one CPU");
	ASSERT_EQ(0, cpu_set_online(last, false));
	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	ASSERT_EQ(0, cpu_set_online(last, true));
	EXPECT_TRUE(all_cpus(self->hostile, true));
	ASSERT_EQ(0, unload_module("mvirt"));
	EXPECT_TRUE(all_cpus(self->hostile, false));

	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	ASSERT_EQ(0, cpu_set_online(last, false));
	ASSERT_EQ(0, unload_module("mvirt"));
	ASSERT_EQ(0, cpu_set_online(last, true));
	EXPECT_TRUE(all_cpus(self->hostile, false));

	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	EXPECT_TRUE(all_cpus(self->hostile, true));
	ASSERT_EQ(0, cpu_set_online(last, false));
	ASSERT_EQ(0, cpu_set_online(last, true));
	EXPECT_TRUE(all_cpus(self->hostile, true));
	ASSERT_EQ(0, unload_module("mvirt"));
	EXPECT_TRUE(all_cpus(self->hostile, false));
}

/* Where one CPU has left, a guest would not be safe: EL2 makes none on the others. */
TEST_F(release, no_vm_once_a_cpu_has_left)
{
	if (cpus_online() == 1)
		SKIP(return, "one CPU");
	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	ASSERT_EQ(0, pin_to_cpu(0));
	EXPECT_EQ(0, el2_call2(self->hostile, EL2_CALL_RELEASE, 0, 0).x0);
	EXPECT_FALSE(el2_answers(self->hostile));
	ASSERT_EQ(0, pin_to_cpu(1));
	EXPECT_TRUE(el2_answers(self->hostile));
	EXPECT_EQ(EL2_ERROR_NOCALL, el2_call2(self->hostile, EL2_CALL_VM_CREATE, 0, 40).x0);
	EXPECT_EQ(EL2_ERROR_NOCALL, el2_call2(self->hostile, EL2_CALL_POOL_DONATE, 0, 1).x0);
	EXPECT_GT(0, kvm_vm(PROTECTED));
	EXPECT_EQ(0, unload_module("mvirt"));
	EXPECT_TRUE(all_cpus(self->hostile, false));
}

TEST_HARNESS_MAIN
