// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of guests of a few instructions: first touch, huge pages, what user space changes, limits, and
 * what is left when their process is killed.
 */
#include <signal.h>
#include <sys/resource.h>

#include "fixture.h"

/* x0: from, x1: to, x2: step: writes each address to itself. */
GUEST(fill, "1: str x0, [x0]\n add x0, x0, x2\n cmp x0, x1\n b.lo 1b\n" OFF);
/* x0: device, x1: memory. Shows the memory, again and again. */
GUEST(show, "1: ldr x2, [x1]\n str x2, [x0]\n b 1b\n");
/* x0: device, x1: memory. Calls what is there. */
GUEST(call, "mov x3, x0\n 1: blr x1\n str x0, [x3]\n b 1b\n");
GUEST(answer, "mov x0, #42\n ret\n");

TEST_F(guest, memory)
{
	bool guarded = variant->type & PROTECTED;
	size_t at;

	LOAD(fill);
	kvm_set(self->g.vcpu, CORE_X(0), RAM + PAGE);
	kvm_set(self->g.vcpu, CORE_X(1), RAM + SIZE);
	kvm_set(self->g.vcpu, CORE_X(2), PAGE);
	EXPECT_OFF();
	EXPECT_EQ(guarded ? SIZE / 1024 : 0, locked_kib());
	if (guarded) {
		EXPECT_EQ(SIZE, kvm_info(self->g.device).guest_bytes - self->g.before.guest_bytes);
		return;
	}
	for (at = PAGE; at < SIZE; at += PAGE)
		ASSERT_EQ(RAM + at, *(uint64_t *)(self->g.memory + at));
}

TEST_F(guest, huge_memory)
{
	uint64_t huge = 2UL << 20;
	bool guarded = variant->type & PROTECTED;
	char *at, *base;

	base = mmap(NULL, 3 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, base);
	at = (char *)(((uintptr_t)base + huge - 1) & ~(huge - 1));
	if (madvise(at, 2 * huge, MADV_HUGEPAGE))
		SKIP(return, "no transparent huge pages");
	memset(at, 0x77, 2 * huge);
	ASSERT_EQ(0, kvm_slot(self->g.vm, 1, 0, 2 * RAM, at, 2 * huge));
	LOAD(fill);
	/* One access: all of the block is the guest's. */
	kvm_set(self->g.vcpu, CORE_X(0), 2 * RAM + 8 * PAGE);
	kvm_set(self->g.vcpu, CORE_X(1), 2 * RAM + 8 * PAGE + 1);
	kvm_set(self->g.vcpu, CORE_X(2), PAGE);
	EXPECT_OFF();
	if (guarded) {
		EXPECT_EQ(PAGE == 4096 ? huge + PAGE : 2 * PAGE,
			  kvm_info(self->g.device).guest_bytes - self->g.before.guest_bytes);
		EXPECT_EQ(-EPERM, kvm_slot(self->g.vm, 1, 0, 0, NULL, 0));
	} else {
		EXPECT_EQ(2 * RAM + 8 * PAGE, *(uint64_t *)(at + 8 * PAGE));
		EXPECT_EQ(0x77, at[0]);
		EXPECT_EQ(0, kvm_slot(self->g.vm, 1, 0, 0, NULL, 0));
	}
}

TEST_F(plain, memory_that_user_space_changes)
{
	uint64_t *there = (uint64_t *)(self->g.memory + 16 * PAGE), seen;
	int n;

	LOAD(show);
	kvm_set(self->g.vcpu, CORE_X(0), MMIO);
	kvm_set(self->g.vcpu, CORE_X(1), RAM + 16 * PAGE);
	for (n = 0; n < 20; n++) {
		*there = 100 + n;
		EXPECT_MMIO(MMIO, 8, 1);
		memcpy(&seen, self->g.run->mmio.data, 8);
		EXPECT_EQ(100 + n, seen);
		/* The page goes; what comes in its place is another one. */
		ASSERT_EQ(0, madvise(there, PAGE, MADV_DONTNEED));
		EXPECT_MMIO(MMIO, 8, 1);
		memcpy(&seen, self->g.run->mmio.data, 8);
		EXPECT_EQ(0, seen);
	}
	munmap(there, PAGE);
	EXPECT_EQ(-EFAULT, RUN());
}

TEST_F(plain, code_that_user_space_changes)
{
	uint64_t seen;

	COPY(self->g.memory + 8 * PAGE, answer);
	LOAD(call);
	kvm_set(self->g.vcpu, CORE_X(0), MMIO);
	kvm_set(self->g.vcpu, CORE_X(1), RAM + 8 * PAGE);
	EXPECT_MMIO(MMIO, 8, 1);
	memcpy(&seen, self->g.run->mmio.data, 8);
	EXPECT_EQ(42, seen);
}

TEST_F(plain, read_only_memory)
{
	uint64_t seen;

	ASSERT_EQ(0, mprotect(self->g.memory + PAGE, PAGE, PROT_READ));
	ASSERT_EQ(0, kvm_slot(self->g.vm, 1, KVM_MEM_READONLY, 2 * RAM, self->g.memory + PAGE, PAGE));
	LOAD(show);
	kvm_set(self->g.vcpu, CORE_X(0), 2 * RAM);
	kvm_set(self->g.vcpu, CORE_X(1), 2 * RAM);
	EXPECT_MMIO(2 * RAM, 8, 1);
	memcpy(&seen, self->g.run->mmio.data, 8);
	EXPECT_EQ(0, seen);
}

/* The limit holds for who may not lock what he likes. */
TEST_F(guest, memory_above_the_limit)
{
	struct rlimit limit = { 4 * PAGE, 4 * PAGE };
	bool guarded = variant->type & PROTECTED;

	LOAD(fill);
	kvm_set(self->g.vcpu, CORE_X(0), RAM + PAGE);
	kvm_set(self->g.vcpu, CORE_X(1), RAM + SIZE);
	kvm_set(self->g.vcpu, CORE_X(2), PAGE);
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	ASSERT_EQ(0, setresuid(-1, 65534, -1));
	if (guarded) {
		EXPECT_EQ(-ENOMEM, RUN());
		ASSERT_EQ(0, setresuid(-1, 0, -1));
		EXPECT_EQ(4 * PAGE / 1024, locked_kib());
		/* It goes on, now that it may. */
	}
	EXPECT_OFF();
	ASSERT_EQ(0, setresuid(-1, 0, -1));
}

TEST_F(plain, reset_in_place)
{
	struct kvm_vcpu_init init = { .target = KVM_ARM_TARGET_GENERIC_V8 };
	uint64_t tables = kvm_info(self->g.device).guest_table_bytes;
	size_t at;
	int n;

	init.features[0] = 1 << KVM_ARM_VCPU_PSCI_0_2;
	for (n = 0; n < 3; n++) {
		memset(self->g.memory, 0x11 * n, SIZE);
		LOAD(fill);
		kvm_set(self->g.vcpu, CORE_X(0), RAM + PAGE);
		kvm_set(self->g.vcpu, CORE_X(1), RAM + SIZE);
		kvm_set(self->g.vcpu, CORE_X(2), PAGE);
		EXPECT_OFF();
		for (at = PAGE; at < SIZE; at += PAGE) {
			ASSERT_EQ(RAM + at, *(uint64_t *)(self->g.memory + at));
			ASSERT_EQ(0x11 * n, self->g.memory[at + 8]);
		}
		/* The guest faults all of it in again, and so meets what was written meanwhile. */
		EXPECT_LT(tables, kvm_info(self->g.device).guest_table_bytes);
		ASSERT_EQ(0, kvm_call(self->g.vcpu, KVM_ARM_VCPU_INIT, (unsigned long)&init));
		EXPECT_EQ(tables, kvm_info(self->g.device).guest_table_bytes);
	}
}

TEST_F(guest, killed)
{
	int status, n;
	pid_t child;

	/* The fixture's VM is another one: this one dies with its process, at any point. */
	for (n = 0; n < 20; n++) {
		child = fork();
		if (!child) {
			int vm = kvm_vm(variant->type), vcpu;
			struct kvm_run *run;

			kvm_slot(vm, 0, 0, RAM, self->g.memory, SIZE);
			COPY(self->g.memory, fill);
			vcpu = kvm_vcpu(vm, 0, false, &run);
			kvm_set(vcpu, CORE(regs.pc), RAM);
			kvm_set(vcpu, CORE_X(0), RAM + PAGE);
			kvm_set(vcpu, CORE_X(1), RAM + SIZE);
			kvm_set(vcpu, CORE_X(2), PAGE);
			_exit(kvm_call(vcpu, KVM_RUN, 0));
		}
		usleep(n * 1000);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, &status, 0));
	}
}

TEST_HARNESS_MAIN
