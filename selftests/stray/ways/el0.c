// SPDX-License-Identifier: GPL-2.0
/* The VMM's own accesses. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stray.h"

/* What the toolchain's headers may be too old for. */
#define HAS_ATOMICS	(1UL << 8)
#define HAS_SVE		(1UL << 22)
#define HAS_MOPS	(1UL << 43)

unsigned int way_load(struct stray *s)
{
	volatile uint64_t *at = (uint64_t *)s->secret;
	uint64_t value = 0;

	if (CAUGHT(value = *at))
		return OUT_SIGBUS;
	return saw(s, &value, sizeof(value), 0);
}

unsigned int way_load_across(struct stray *s)
{
	volatile uint32_t value[4] = {};
	uint8_t bytes[8];

	/* The last 8 of these 16 bytes are the guest's. */
	if (CAUGHT(asm volatile("ldp %w0, %w1, [%4, #-8]\n\tldur %x2, [%4, #-3]\n\tldp %w2, %w3, [%4]"
				: "=&r"(value[0]), "=&r"(value[1]), "=&r"(value[2]), "=&r"(value[3])
				: "r"(s->secret) : "memory")))
		return OUT_SIGBUS;
	memcpy(bytes, (const void *)&value[2], sizeof(bytes));
	return saw(s, bytes, sizeof(bytes), 0);
}

unsigned int way_load_simd(struct stray *s)
{
	uint8_t bytes[32] = {};

	if (CAUGHT(asm volatile("ldp q0, q1, [%0]\n\tstp q0, q1, [%1]"
				: : "r"(s->secret), "r"(bytes) : "v0", "v1", "memory")))
		return OUT_SIGBUS;
	return saw(s, bytes, sizeof(bytes), 0);
}

/* To the end of what a vector has, 256 bytes at most. */
static void load_sve(const void *from, void *to)
{
	asm volatile(".arch_extension sve\n\tptrue p0.d\n\tld1d {z0.d}, p0/z, [%0]\n\tst1d {z0.d}, p0, [%1]"
		     : : "r"(from), "r"(to) : "v0", "memory");
}

static void load_first_fault(const void *from, void *to)
{
	asm volatile(".arch_extension sve\n\tptrue p0.d\n\tsetffr\n\tldff1d {z0.d}, p0/z, [%0]\n\t"
		     "st1d {z0.d}, p0, [%1]" : : "r"(from), "r"(to) : "v0", "memory");
}

static void load_no_fault(const void *from, void *to)
{
	asm volatile(".arch_extension sve\n\tptrue p0.d\n\tsetffr\n\tldnf1d {z0.d}, p0/z, [%0]\n\t"
		     "st1d {z0.d}, p0, [%1]" : : "r"(from), "r"(to) : "v0", "memory");
}

static unsigned int sve(struct stray *s, void (*load)(const void *from, void *to), size_t offset)
{
	uint8_t bytes[256];

	mark(s, bytes, sizeof(bytes));
	if (CAUGHT(load(s->secret + offset, bytes)))
		return OUT_SIGBUS;
	return saw(s, bytes, 16, offset);
}

unsigned int way_load_sve(struct stray *s)
{
	if (!(getauxval(AT_HWCAP) & HAS_SVE))
		return lacks(s, "no SVE");
	/* The first element of a first-fault load is no exception. */
	return sve(s, load_sve, 0) | sve(s, load_first_fault, s->page);
}

unsigned int way_load_sve_nofault(struct stray *s)
{
	if (!(getauxval(AT_HWCAP) & HAS_SVE))
		return lacks(s, "no SVE");
	return sve(s, load_no_fault, 0);
}

unsigned int way_store(struct stray *s)
{
	volatile uint64_t *at = (uint64_t *)s->secret;

	return CAUGHT(*at = s->marker) ? OUT_SIGBUS : OUT_PASSES;
}

unsigned int way_store_across(struct stray *s)
{
	if (CAUGHT(asm volatile("stur %0, [%1, #-3]" : : "r"(s->marker), "r"(s->secret) : "memory")))
		return OUT_SIGBUS;
	return OUT_PASSES;
}

static void mops_copy(void *to, const void *from, size_t size)
{
	asm volatile(".arch_extension mops\n\tcpyfp [%0]!, [%1]!, %2!\n\tcpyfm [%0]!, [%1]!, %2!\n\t"
		     "cpyfe [%0]!, [%1]!, %2!" : "+r"(to), "+r"(from), "+r"(size) : : "memory", "cc");
}

static void mops_set(void *to, size_t size)
{
	asm volatile(".arch_extension mops\n\tsetp [%0]!, %1!, xzr\n\tsetm [%0]!, %1!, xzr\n\t"
		     "sete [%0]!, %1!, xzr" : "+r"(to), "+r"(size) : : "memory", "cc");
}

unsigned int way_mops(struct stray *s)
{
	volatile unsigned int got = 0;

	if (!(getauxval(AT_HWCAP2) & HAS_MOPS))
		return lacks(s, "no FEAT_MOPS");
	got |= CAUGHT(mops_copy(s->secret, s->secret - s->page, 64)) ? OUT_SIGBUS : OUT_PASSES;
	got |= CAUGHT(mops_set(s->secret + s->page, 64)) ? OUT_SIGBUS : OUT_PASSES;
	return got;
}

unsigned int way_exclusive(struct stray *s)
{
	uint64_t value;
	uint32_t failed;

	if (CAUGHT(asm volatile("1: ldxr %0, [%2]\n\tadd %0, %0, #1\n\tstxr %w1, %0, [%2]\n\tcbnz %w1, 1b"
				: "=&r"(value), "=&r"(failed) : "r"(s->secret) : "memory")))
		return OUT_SIGBUS;
	return OUT_PASSES;
}

#define ATOMIC(name, insn)								\
	static void name(uint64_t *at)							\
	{										\
		register uint64_t x0 asm("x0") = 0, x1 asm("x1") = 0, x2 asm("x2") = 1, x3 asm("x3") = 1;	\
											\
		asm volatile(".arch_extension lse\n\t" insn				\
			     : "+r"(x0), "+r"(x1) : "r"(x2), "r"(x3), "r"(at) : "memory");	\
	}

ATOMIC(ldadd, "ldaddal x2, x0, [%4]")
ATOMIC(swp, "swpal x2, x0, [%4]")
ATOMIC(stadd, "stadd x2, [%4]")
ATOMIC(cas, "casal x0, x2, [%4]")
ATOMIC(casp, "caspal x0, x1, x2, x3, [%4]")

unsigned int way_atomic(struct stray *s)
{
	static void (*const all[])(uint64_t *at) = { ldadd, swp, stadd, cas, casp };
	volatile unsigned int got = 0, n;

	if (!(getauxval(AT_HWCAP) & HAS_ATOMICS))
		return lacks(s, "no FEAT_LSE");
	for (n = 0; n < sizeof(all) / sizeof(all[0]); n++)
		got |= CAUGHT(all[n]((uint64_t *)(s->secret + n * s->page))) ? OUT_SIGBUS : OUT_PASSES;
	return got;
}

#define CACHE(insn) (CAUGHT(asm volatile(insn ", %0\n\tdsb ish\n\tisb" : : "r"(s->secret) : "memory")) ?	\
	OUT_SIGBUS : OUT_PASSES)

/* QEMU makes nothing of these where nothing is mapped; a machine with caches faults. */
unsigned int way_cache_clean(struct stray *s)
{
	return CACHE("dc cvau") | CACHE("dc cvac") | CACHE("dc civac") | CACHE("ic ivau");
}

unsigned int way_cache_zero(struct stray *s)
{
	return CACHE("dc zva");
}

unsigned int way_prefetch(struct stray *s)
{
	if (CAUGHT(asm volatile("prfm pldl1keep, [%0]\n\tprfm pstl1keep, [%0]\n\tprfm plil1keep, [%0]"
				: : "r"(s->secret))))
		return OUT_SIGBUS;
	return OUT_PASSES;
}

unsigned int way_fetch(struct stray *s)
{
	if (mprotect(s->secret, s->page, PROT_READ | PROT_WRITE | PROT_EXEC))
		return broke(s, "mprotect");
	if (CAUGHT(((void (*)(void))(uintptr_t)s->secret)()))
		return OUT_SIGBUS;
	return OUT_PASSES;
}

unsigned int way_load_after_kernel(struct stray *s)
{
	volatile uint64_t *at = (uint64_t *)s->secret;
	struct iovec local, remote = { s->secret, s->page };
	static uint8_t buffer[1 << 16];
	volatile unsigned int got = 0;
	volatile int i;
	uint64_t value = 0;

	local = (struct iovec){ buffer, s->page };
	for (i = 0; i < 20; i++) {
		if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != (ssize_t)s->page)
			return broke(s, "process_vm_readv");
		if (CAUGHT(value = *at))
			got |= OUT_SIGBUS;
		else
			got |= saw(s, &value, sizeof(value), 0);
	}
	return got;
}

unsigned int way_uncaught(struct stray *s)
{
	volatile uint64_t *at = (uint64_t *)s->secret;
	uint64_t value = *at;

	return saw(s, &value, sizeof(value), 0);
}
