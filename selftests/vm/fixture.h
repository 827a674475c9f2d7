/* SPDX-License-Identifier: GPL-2.0 */
/* Guests of a few instructions: how their code is written, the VMs that they run in, and what both leave. */
#ifndef MVIRT_VM_FIXTURE_H
#define MVIRT_VM_FIXTURE_H

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

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

#endif /* MVIRT_VM_FIXTURE_H */
