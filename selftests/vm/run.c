// SPDX-License-Identifier: GPL-2.0
/* Guests of a few instructions: exits, memory, signals, and what is left when they are gone. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "harness.h"
#include "kvm.h"
#include "machine.h"

#define PAGE	((size_t)sysconf(_SC_PAGESIZE))
#define RAM	0x80000000UL
#define SIZE	(8UL << 20)
#define MMIO	0x10000000UL

/* The code is position independent and runs with the MMU off, x0 to x7 as user space set them. */
#define GUEST(name, code)						\
	extern const char code_##name[], code_##name##_end[];		\
	asm(".pushsection .rodata\n"					\
	    ".balign 8\n"						\
	    ".globl code_" #name ", code_" #name "_end\n"		\
	    "code_" #name ":\n" code					\
	    "code_" #name "_end:\n"					\
	    ".popsection\n")

/* PSCI SYSTEM_OFF. */
#define OFF	"movz x0, #0x8400, lsl #16\n movk x0, #0x8\n hvc #0\n b .\n"

/* x0: device. Writes a byte, reads a word, writes what it read as a double word. */
GUEST(mmio,
	"mov w1, #0x5a\n strb w1, [x0]\n"
	"ldr w2, [x0, #8]\n"
	"str x2, [x0, #16]\n" OFF);
/* x0: device. Reads it, again and again. */
GUEST(poll, "mov x2, #0\n 1: ldr x2, [x0]\n b 1b\n");
/* x0: from, x1: to, x2: step: writes each address to itself. */
GUEST(fill, "1: str x0, [x0]\n add x0, x0, x2\n cmp x0, x1\n b.lo 1b\n" OFF);
/* x0: device, x1: memory. Shows the memory, again and again. */
GUEST(show, "1: ldr x2, [x1]\n str x2, [x0]\n b 1b\n");
/* x0: device, x1: memory. Calls what is there. */
GUEST(call, "mov x3, x0\n 1: blr x1\n str x0, [x3]\n b 1b\n");
GUEST(answer, "mov x0, #42\n ret\n");
GUEST(off, OFF);
GUEST(spin, "b .\n");
GUEST(sleep, "1: wfi\n b 1b\n");
/* An access that no syndrome describes. */
GUEST(pair, "ldp x1, x2, [x0]\n" OFF);
/* x4: device, x5: the other's code, x6: its context. CPU_ON, then shows the answer. */
GUEST(cpu_on,
	"movz x0, #0xc400, lsl #16\n movk x0, #0x3\n mov x1, #1\n mov x2, x5\n mov x3, x6\n hvc #0\n"
	"str x0, [x4]\n 1: wfi\n b 1b\n");

struct guest {
	int device;
	int vm;
	int vcpu;
	struct kvm_run *run;
	char *memory;
	struct mvirt_info before;
};

/* Kibibytes that this process has locked. */
static long locked_kib(void)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %ld", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

#define SET_UP(type)									\
do {											\
	self->g.device = kvm_open();							\
	ASSERT_LE(0, self->g.device);							\
	self->g.before = kvm_info(self->g.device);					\
	self->g.vm = kvm_vm(type);							\
	ASSERT_LE(0, self->g.vm);							\
	self->g.memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,			\
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);			\
	ASSERT_NE(MAP_FAILED, self->g.memory);						\
	ASSERT_EQ(0, kvm_slot(self->g.vm, 0, 0, RAM, self->g.memory, SIZE));		\
	self->g.vcpu = kvm_vcpu(self->g.vm, 0, false, &self->g.run);			\
	ASSERT_LE(0, self->g.vcpu);							\
} while (0)

/* Nothing of the VM is left. */
#define TEAR_DOWN()									\
do {											\
	struct mvirt_info after;							\
											\
	munmap(self->g.run, PAGE);							\
	close(self->g.vcpu);								\
	close(self->g.vm);								\
	after = kvm_info(self->g.device);						\
	EXPECT_EQ(kvm_taken(&self->g.before), kvm_taken(&after));			\
	EXPECT_EQ(self->g.before.vm_bytes, after.vm_bytes);				\
	EXPECT_EQ(self->g.before.guest_bytes, after.guest_bytes);			\
	EXPECT_EQ(self->g.before.guest_table_bytes, after.guest_table_bytes);		\
	EXPECT_EQ(0, locked_kib());							\
	munmap(self->g.memory, SIZE);							\
	close(self->g.device);								\
} while (0)

FIXTURE(guest)
{
	struct guest g;
};

FIXTURE_VARIANT(guest)
{
	unsigned long type;
};

FIXTURE_VARIANT_ADD(guest, plain) { .type = 0 };
FIXTURE_VARIANT_ADD(guest, guarded) { .type = PROTECTED };

FIXTURE_SETUP(guest)
{
	SET_UP(variant->type);
}

FIXTURE_TEARDOWN(guest)
{
	TEAR_DOWN();
}

/* What only a guest that is not protected has. */
FIXTURE(plain)
{
	struct guest g;
};

FIXTURE_SETUP(plain)
{
	SET_UP(0);
}

FIXTURE_TEARDOWN(plain)
{
	TEAR_DOWN();
}

/* Not optimised as one: two arrays have no distance to the compiler. */
static __attribute__((noipa)) void copy(char *to, const char *code, const char *end)
{
	memcpy(to, code, end - code);
}

#define COPY(to, name)	copy(to, code_##name, code_##name##_end)
/* The guest starts with this code. */
#define LOAD(name)						\
do {								\
	COPY(self->g.memory, name);				\
	ASSERT_EQ(0, kvm_set(self->g.vcpu, CORE(regs.pc), RAM));	\
} while (0)

#define RUN()	kvm_call(self->g.vcpu, KVM_RUN, 0)

#define EXPECT_OFF()								\
do {										\
	EXPECT_EQ(0, RUN());							\
	EXPECT_EQ(KVM_EXIT_SYSTEM_EVENT, self->g.run->exit_reason);		\
	EXPECT_EQ(KVM_SYSTEM_EVENT_SHUTDOWN, self->g.run->system_event.type);	\
} while (0)

#define EXPECT_MMIO(at, bytes, write)						\
do {										\
	EXPECT_EQ(0, RUN());							\
	ASSERT_EQ(KVM_EXIT_MMIO, self->g.run->exit_reason);			\
	EXPECT_EQ(at, self->g.run->mmio.phys_addr);				\
	EXPECT_EQ(bytes, self->g.run->mmio.len);					\
	EXPECT_EQ(write, self->g.run->mmio.is_write);				\
} while (0)

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
