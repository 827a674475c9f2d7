// SPDX-License-Identifier: GPL-2.0
/*
 * A protected guest has a secret in its memory and in all kinds of its registers. When it is gone and EL2
 * has been given back, no page of RAM has it: EL2 kept those registers, and its memory is the host's now.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "el2.h"
#include "harness.h"
#include "kvm.h"
#include "machine.h"
#include "search.h"

#define RAM	0x80000000UL
#define MMIO	0x10000000UL
#define SIZE	(64UL << 10)
#define SECRET	0x100	/* of the complement, from the code's start */
#define EXITS	8

extern const char guest_code[], guest_code_end[];

/* Makes the secret of its complement, keeps it where it can, and comes out again and again. */
asm(".pushsection .rodata\n"
    "	.balign	8\n"
    /* Local ones would share an entry of the GOT, and the code would have no length. */
    "	.globl	guest_code, guest_code_end\n"
    "guest_code:\n"
    "	mov	x0, #(3 << 20)\n"
    "	msr	cpacr_el1, x0\n"
    "	isb\n"
    "	adr	x9, guest_code + 0x100\n"
    "	ldp	q0, q1, [x9]\n"
    "	mvn	v0.16b, v0.16b\n"
    "	mvn	v1.16b, v1.16b\n"
    "	mov	v30.16b, v0.16b\n"
    "	mov	v31.16b, v1.16b\n"
    "	ldp	x2, x3, [x9]\n"
    "	ldp	x4, x5, [x9, #16]\n"
    "	mvn	x2, x2\n"
    "	mvn	x3, x3\n"
    "	mvn	x4, x4\n"
    "	mvn	x5, x5\n"
    "	stp	x2, x3, [x9, #0x100]\n"
    "	stp	x4, x5, [x9, #0x110]\n"
    "	mov	x1, #0x10000000\n"
    "1:	str	xzr, [x1]\n"
    "	b	1b\n"
    "guest_code_end:\n"
    ".popsection\n");

static struct search s;

/* Not optimised as one: two arrays have no distance to the compiler. */
static __attribute__((noipa)) size_t copy(char *to, const char *code, const char *end)
{
	memcpy(to, code, end - code);
	return end - code;
}

FIXTURE(secret)
{
};

FIXTURE_SETUP(secret)
{
}

FIXTURE_TEARDOWN(secret)
{
}

TEST_F_TIMEOUT(secret, in_no_page_of_ram, 500)
{
	unsigned char random[SECRET_BYTES];
	char hex[2 * SECRET_BYTES + 1];
	uint64_t *page, *memory;
	struct kvm_run *run;
	int hostile, vm, vcpu, i;
	size_t size;

	ASSERT_EQ(sizeof(random), getrandom(random, sizeof(random), 0));
	for (i = 0; i < SECRET_BYTES; i++)
		sprintf(hex + 2 * i, "%02x", random[i] ^ 0x5a);
	ASSERT_EQ(0, search_begin(&s, hex));
	memset(hex, 0, sizeof(hex));
	hostile = hostile_open();
	ASSERT_LE(0, hostile);

	/* What is there is found. */
	page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, page);
	for (i = 0; i < SECRET_WORDS; i++)
		page[i] = ~s.complement[i];
	ASSERT_EQ(0, search_linear_map(&s, hostile));
	EXPECT_EQ(1, s.found);
	memset(page, 0, SECRET_BYTES);

	ASSERT_EQ(0, load_module("mvirt", "allow_release=1"));
	vm = kvm_vm(PROTECTED);
	ASSERT_LE(0, vm);
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	size = copy((char *)memory, guest_code, guest_code_end);
	ASSERT_LT(0, size);
	ASSERT_GE(SECRET, size);
	memcpy((char *)memory + SECRET, s.complement, SECRET_BYTES);
	ASSERT_EQ(0, kvm_slot(vm, 0, 0, RAM, memory, SIZE));
	vcpu = kvm_vcpu(vm, 0, false, &run);
	ASSERT_LE(0, vcpu);
	ASSERT_EQ(0, kvm_set(vcpu, CORE(regs.pc), RAM));
	for (i = 0; i < EXITS; i++) {
		ASSERT_EQ(0, pin_to_cpu(i % cpus_online()));
		ASSERT_EQ(0, kvm_call(vcpu, KVM_RUN, 0));
		ASSERT_EQ(KVM_EXIT_MMIO, run->exit_reason);
		ASSERT_EQ(MMIO, run->mmio.phys_addr);
	}
	munmap(run, sysconf(_SC_PAGESIZE));
	close(vcpu);
	close(vm);
	s.found = 0;
	ASSERT_EQ(0, search_linear_map(&s, hostile));
	EXPECT_EQ(0, s.found) {
		TH_LOG("found %llu times when the guest was gone", (unsigned long long)s.found);
	}
	ASSERT_EQ(0, unload_module("mvirt"));
	s.found = s.read = 0;
	ASSERT_EQ(0, search_linear_map(&s, hostile));
	EXPECT_EQ(0, s.found) {
		TH_LOG("found %llu times when EL2 was given back", (unsigned long long)s.found);
	}
	EXPECT_LT(meminfo("MemTotal"), s.read);
	close(hostile);
}

TEST_HARNESS_MAIN
