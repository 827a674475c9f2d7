// SPDX-License-Identifier: GPL-2.0
/* Guests of a few instructions: exits, signals, registers, vCPUs. */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "fixture.h"

/* x0: device. Writes a byte, reads a word, writes what it read as a double word. */
GUEST(mmio,
	"mov w1, #0x5a\n strb w1, [x0]\n"
	"ldr w2, [x0, #8]\n"
	"str x2, [x0, #16]\n" OFF);
/* x0: device. Reads it, again and again. */
GUEST(poll, "mov x2, #0\n 1: ldr x2, [x0]\n b 1b\n");
GUEST(off, OFF);
GUEST(spin, "b .\n");
GUEST(sleep, "1: wfi\n b 1b\n");
/* An access that no syndrome describes. */
GUEST(pair, "ldp x1, x2, [x0]\n" OFF);
/* x4: device, x5: the other's code, x6: its context. CPU_ON, then shows the answer. */
GUEST(cpu_on,
	"movz x0, #0xc400, lsl #16\n movk x0, #0x3\n mov x1, #1\n mov x2, x5\n mov x3, x6\n hvc #0\n"
	"str x0, [x4]\n 1: wfi\n b 1b\n");

TEST_F(guest, mmio)
{
	uint64_t value;

	LOAD(mmio);
	ASSERT_EQ(0, kvm_set(self->g.vcpu, CORE_X(0), MMIO));
	EXPECT_MMIO(MMIO, 1, 1);
	EXPECT_EQ(0x5a, self->g.run->mmio.data[0]);
	EXPECT_MMIO(MMIO + 8, 4, 0);
	memcpy(self->g.run->mmio.data, "\x11\x22\x33\xc4\x55\x66\x77\x88", 8);
	/* Done once, by the first run after it, even if that one does not enter the guest. */
	self->g.run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, RUN());
	if (!(variant->type & PROTECTED)) {
		/* As under KVM, the registers are already those after the access. */
		EXPECT_EQ(0, kvm_get(self->g.vcpu, CORE_X(2), &value));
		EXPECT_EQ(0xc4332211, value);
		EXPECT_EQ(0, kvm_get(self->g.vcpu, CORE(regs.pc), &value));
		EXPECT_EQ(RAM + 12, value);
	}
	memset(self->g.run->mmio.data, 0xee, 8);
	EXPECT_EQ(-EINTR, RUN());
	self->g.run->immediate_exit = 0;
	EXPECT_MMIO(MMIO + 16, 8, 1);
	EXPECT_EQ(0, memcmp(self->g.run->mmio.data, "\x11\x22\x33\xc4\0\0\0\0", 8));
	EXPECT_OFF();
}

/* The vector for a synchronous exception from the current level, with SP_EL1. */
#define VECTOR		0x200
#define VBAR_EL1	ARM64_SYS_REG(3, 0, 12, 0, 0)

TEST_F(guest, an_access_that_cannot_be_done_for_it)
{
	COPY(self->g.memory + 8 * PAGE + VECTOR, off);
	LOAD(pair);
	kvm_set(self->g.vcpu, CORE_X(0), MMIO);
	ASSERT_EQ(0, kvm_set(self->g.vcpu, VBAR_EL1, RAM + 8 * PAGE));
	if (variant->type & PROTECTED)
		EXPECT_OFF();
	else
		EXPECT_EQ(-ENOSYS, RUN());
}

TEST_F(guest, a_fetch_from_no_memory_is_an_abort)
{
	COPY(self->g.memory + 8 * PAGE + VECTOR, off);
	ASSERT_EQ(0, kvm_set(self->g.vcpu, VBAR_EL1, RAM + 8 * PAGE));
	ASSERT_EQ(0, kvm_set(self->g.vcpu, CORE(regs.pc), MMIO));
	EXPECT_OFF();
}

static void nothing(int sig)
{
}

static void alarm_in(long us)
{
	struct sigaction act = { .sa_handler = nothing };
	struct itimerval soon = { .it_value.tv_usec = us };

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
}

TEST_F(guest, a_signal_ends_a_run)
{
	LOAD(spin);
	alarm_in(50000);
	EXPECT_EQ(-EINTR, RUN());
	EXPECT_EQ(KVM_EXIT_INTR, self->g.run->exit_reason);
	self->g.run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, RUN());
}

TEST_F(guest, a_signal_ends_a_sleep)
{
	LOAD(sleep);
	alarm_in(50000);
	EXPECT_EQ(-EINTR, RUN());
	EXPECT_EQ(KVM_EXIT_INTR, self->g.run->exit_reason);
	/* It still sleeps. */
	alarm_in(50000);
	EXPECT_EQ(-EINTR, RUN());
}

TEST_F(plain, a_signal_completes_an_access)
{
	struct sigaction act = { .sa_handler = nothing };
	struct itimerval often = { .it_interval.tv_usec = 300, .it_value.tv_usec = 300 };
	int signals = 0, accesses = 0;
	uint64_t n = 0, value;
	long ret;

	LOAD(poll);
	ASSERT_EQ(0, kvm_set(self->g.vcpu, CORE_X(0), MMIO));
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (signals < 50 || accesses < 1000) {
		ret = RUN();
		if (!ret) {
			ASSERT_EQ(KVM_EXIT_MMIO, self->g.run->exit_reason);
			n++;
			memcpy(self->g.run->mmio.data, &n, 8);
			accesses++;
			continue;
		}
		ASSERT_EQ(-EINTR, ret);
		signals++;
		/* Wherever the signal met it. */
		ASSERT_EQ(0, kvm_get(self->g.vcpu, CORE_X(2), &value));
		ASSERT_EQ(n, value);
	}
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
}

/* User space stops the vCPU between its access and the run that would have completed it. */
TEST_F(plain, a_stopped_vcpu_completes_its_access)
{
	struct kvm_mp_state stopped = { KVM_MP_STATE_STOPPED }, runnable = { KVM_MP_STATE_RUNNABLE };

	LOAD(mmio);
	ASSERT_EQ(0, kvm_set(self->g.vcpu, CORE_X(0), MMIO));
	EXPECT_MMIO(MMIO, 1, 1);
	ASSERT_EQ(0, kvm_call(self->g.vcpu, KVM_SET_MP_STATE, (uintptr_t)&stopped));
	alarm_in(200000);
	EXPECT_EQ(-EINTR, RUN());
	ASSERT_EQ(0, kvm_call(self->g.vcpu, KVM_SET_MP_STATE, (uintptr_t)&runnable));
	EXPECT_MMIO(MMIO + 8, 4, 0);
}

TEST_F(guest, registers_close_when_it_has_run)
{
	bool guarded = variant->type & PROTECTED;
	uint64_t value;

	LOAD(spin);
	ASSERT_EQ(0, kvm_get(self->g.vcpu, CORE(regs.pc), &value));
	alarm_in(10000);
	EXPECT_EQ(-EINTR, RUN());
	EXPECT_EQ(guarded ? -EPERM : 0, kvm_get(self->g.vcpu, CORE(regs.pc), &value));
	EXPECT_EQ(guarded ? -EPERM : 0, kvm_set(self->g.vcpu, CORE_X(0), 1));
	EXPECT_EQ(guarded ? -EPERM : 0, kvm_slot(self->g.vm, 0, 0, 0, NULL, 0));
}

struct second {
	int vcpu;
	long ret;
};

static void *run_second(void *arg)
{
	struct second *second = arg;

	second->ret = kvm_call(second->vcpu, KVM_RUN, 0);
	return NULL;
}

TEST_F(guest, one_vcpu_turns_another_on)
{
	struct second second;
	struct kvm_run *run;
	pthread_t thread;

	second.vcpu = kvm_vcpu(self->g.vm, 1, true, &run);
	ASSERT_LE(0, second.vcpu);
	COPY(self->g.memory + 8 * PAGE, mmio);
	LOAD(cpu_on);
	kvm_set(self->g.vcpu, CORE_X(4), MMIO);
	kvm_set(self->g.vcpu, CORE_X(5), RAM + 8 * PAGE);
	kvm_set(self->g.vcpu, CORE_X(6), MMIO + 0x1000);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_second, &second));
	/* It sleeps in KVM_RUN, most likely. */
	usleep(50000);
	EXPECT_MMIO(MMIO, 8, 1);
	EXPECT_EQ(0, memcmp(self->g.run->mmio.data, "\0\0\0\0\0\0\0\0", 8));
	pthread_join(thread, NULL);
	EXPECT_EQ(0, second.ret);
	ASSERT_EQ(KVM_EXIT_MMIO, run->exit_reason);
	EXPECT_EQ(MMIO + 0x1000, run->mmio.phys_addr);
	munmap(run, PAGE);
	close(second.vcpu);
}

TEST_HARNESS_MAIN
