// SPDX-License-Identifier: GPL-2.0
/* How a guest reaches its memory for the first time, and what the VMM has to do with it. */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(MEMORY_TESTS)

#define PAGE	4096UL

static u64 pattern(u64 address)
{
	return address * 0x9e3779b97f4a7c15;
}

static bool is_protected(void)
{
	return guest_flags() & GUEST_FLAG_PROTECTED;
}

static bool is_mvirt(void)
{
	return guest_flags() & GUEST_FLAG_MVIRT;
}

void fresh_memory_is_zero_and_kept(void)
{
	u64 a, round;

	for (a = GUEST_EXTRA_BASE; a < GUEST_EXTRA_BASE + EXTRA_SIZE; a += PAGE)
		if (!CHECK_AT(a, mmio_read64(a), 0))
			break;
	for (a = GUEST_EXTRA_BASE; a < GUEST_EXTRA_BASE + EXTRA_SIZE; a += 512)
		mmio_write64(a, pattern(a));
	for (round = 0; round < 3; round++) {
		for (a = GUEST_EXTRA_BASE; a < GUEST_EXTRA_BASE + EXTRA_SIZE; a += 512)
			if (!CHECK_AT(a, mmio_read64(a), pattern(a)))
				break;
		request(REQUEST_MIGRATE, 0);
	}
	/* Downwards, in another slot: a write is the first access. */
	for (a = OTHER_BASE + OTHER_SIZE; a > OTHER_BASE; a -= PAGE)
		mmio_write64(a - 8, pattern(a));
	for (a = OTHER_BASE + OTHER_SIZE; a > OTHER_BASE; a -= PAGE)
		if (!CHECK_AT(a, mmio_read64(a - 8), pattern(a)))
			break;
}

static void see_vmm_content(void)
{
	u64 a;

	/* Written by the VMM before the guest was there: a kernel, an initrd, a device tree. */
	for (a = GUEST_EXTRA_BASE; a < GUEST_EXTRA_BASE + 32 * PAGE; a += PAGE / 2)
		CHECK_EQ(request(REQUEST_POKE, a), 0);
	/* Not page by page: with the first access the guest may get a block, and the VMM loses that. */
	for (a = GUEST_EXTRA_BASE; a < GUEST_EXTRA_BASE + 32 * PAGE; a += PAGE / 2)
		CHECK_AT(a, mmio_read64(a), ~a);
}

void vmm_content_is_there(void)
{
	see_vmm_content();
}

void vmm_content_is_there_without_mmu(void)
{
	CHECK_EQ(read_sysreg(sctlr_el1) & 1, 0);
	see_vmm_content();
}

void writes_with_the_mmu_off_are_seen_with_it_on(void)
{
	u64 a, end = GUEST_EXTRA_BASE + 64 * PAGE;

	for (a = GUEST_EXTRA_BASE; a < end; a += 64)
		mmio_write64(a, pattern(a));
	/* What a boot loader does: lines that a cache may hold for these addresses are dropped. */
	dsb();
	for (a = GUEST_EXTRA_BASE; a < end; a += 64)
		asm volatile("dc ivac, %0" : : "r"(a) : "memory");
	dsb();
	mmu_set(SCTLR_MMU_ON);
	for (a = GUEST_EXTRA_BASE; a < end; a += 64)
		if (!CHECK_AT(a, mmio_read64(a), pattern(a)))
			break;
}

/* What a guest writes, a VMM reads, unless the guest is protected. */
void writes_and_the_vmm(void)
{
	u64 a = GUEST_EXTRA_BASE + 5 * PAGE, i;

	if (is_protected()) {
		if (!is_mvirt()) {
			/* pKVM poisons what the VMM touches: that ends the guest. */
			CHECK(true);
			return;
		}
		mmio_write64(a, pattern(a));
		CHECK_EQ(request(REQUEST_PEEK, a), PEEK_REFUSED);
		CHECK_EQ(request(REQUEST_POKE, a), PEEK_REFUSED);
		CHECK_EQ(mmio_read64(a), pattern(a));
		/* The payload itself. */
		CHECK_EQ(request(REQUEST_PEEK, GUEST_RAM_BASE), PEEK_REFUSED);
		return;
	}
	for (i = 0; i < 16; i++, a += PAGE) {
		mmio_write64(a, pattern(a));
		CHECK_AT(a, request(REQUEST_PEEK, a), pattern(a));
		CHECK_AT(a, request(REQUEST_POKE, a), 0);
		CHECK_AT(a, mmio_read64(a), ~a);
	}
}

void memory_that_the_vmm_discards(void)
{
	u64 a = GUEST_EXTRA_BASE + 7 * PAGE, want;

	mmio_write64(a, pattern(a));
	mmio_write64(a + PAGE, pattern(a + PAGE));
	CHECK_EQ(request(REQUEST_DISCARD, a), 0);
	/* A file keeps it, and so does a pin; else it is gone, and only that page. */
	want = is_protected() || request(REQUEST_BACKING, 0) ? pattern(a) : 0;
	CHECK_EQ(mmio_read64(a), want);
	CHECK_EQ(mmio_read64(a + PAGE), pattern(a + PAGE));
	mmio_write64(a, 7);
	CHECK_EQ(mmio_read64(a), 7);
	if (!is_protected())
		CHECK_EQ(request(REQUEST_PEEK, a), 7);
}

void code_on_fresh_pages(void)
{
	u64 a;

	/* The first access is a fetch. */
	for (a = GUEST_EXTRA_BASE; a < GUEST_EXTRA_BASE + 16 * PAGE; a += PAGE)
		CHECK_EQ(request(REQUEST_CODE, a), 0);
	for (a = GUEST_EXTRA_BASE; a < GUEST_EXTRA_BASE + 16 * PAGE; a += PAGE)
		((void (*)(void))a)();
	/* The first is a write, then a fetch: movz w0, #n; ret. */
	for (; a < GUEST_EXTRA_BASE + 32 * PAGE; a += PAGE) {
		mmio_write32(a, 0x52800000 | (a / PAGE & 0xffff) << 5);
		mmio_write32(a + 4, 0xd65f03c0);
		asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %0\n\tdsb ish\n\tisb" : : "r"(a) : "memory");
		CHECK_AT(a, ((u64 (*)(void))a)(), a / PAGE & 0xffff);
	}
}

void unaligned_accesses_over_fresh_pages(void)
{
	u64 a, low, high;

	for (a = GUEST_EXTRA_BASE + PAGE; a < GUEST_EXTRA_BASE + 32 * PAGE; a += 2 * PAGE) {
		asm volatile("str %0, [%1]" : : "r"(pattern(a)), "r"(a - 3) : "memory");
		asm volatile("ldr %0, [%1]" : "=r"(low) : "r"(a - 3) : "memory");
		CHECK_AT(a, low, pattern(a));
	}
	for (a = GUEST_EXTRA_BASE + 65 * PAGE; a < GUEST_EXTRA_BASE + 96 * PAGE; a += 2 * PAGE) {
		asm volatile("stp %0, %1, [%2]" : : "r"(a), "r"(~a), "r"(a - 8) : "memory");
		asm volatile("ldp %0, %1, [%2]" : "=r"(low), "=r"(high) : "r"(a - 8) : "memory");
		CHECK_AT(a, low, a);
		CHECK_AT(a, high, ~a);
	}
}

void exclusives_on_fresh_pages(void)
{
	u64 a, i;

	for (a = GUEST_EXTRA_BASE; a < GUEST_EXTRA_BASE + 64 * PAGE; a += PAGE) {
		for (i = 0; i < 3; i++)
			__atomic_fetch_add((u64 *)a, a, __ATOMIC_SEQ_CST);
		CHECK_AT(a, mmio_read64(a), 3 * a);
	}
}

#define TOUCHED	(GUEST_EXTRA_BASE + (4UL << 20))

static u64 finished;

static void add_on_each_page(u64 index)
{
	u64 a, i;

	for (a = TOUCHED; a < TOUCHED + 512 * PAGE; a += PAGE) {
		for (i = 0; i < 10; i++)
			__atomic_fetch_add((u64 *)a, 1, __ATOMIC_SEQ_CST);
	}
	__atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

static u64 all_there;

static void add_together(u64 index)
{
	__atomic_fetch_add(&all_there, 1, __ATOMIC_SEQ_CST);
	wait_for(&all_there, 4);
	add_on_each_page(index);
}

void first_touch_by_four_cpus(void)
{
	u64 a, i;

	for (i = 1; i < 4; i++)
		cpu_start(i, add_together);
	add_together(0);
	wait_for(&finished, 4);
	for (a = TOUCHED; a < TOUCHED + 512 * PAGE; a += PAGE)
		if (!CHECK_AT(a, mmio_read64(a), 40))
			break;
}

static void expect_mmio(u64 offset, u64 len, bool is_write)
{
	CHECK_AT(offset, request(REQUEST_MMIO, 0), len << 32 | (u64)is_write << 31 | offset);
}

/* Sign extension to 32 and to 64 bits. */
static void load_signed(u64 first)
{
	u64 a = GUEST_HOLE_BASE + first, v;

	asm volatile("mov %0, #-1\n\tldrsb %w0, [%1]" : "=&r"(v) : "r"(a) : "memory");
	CHECK_EQ(v, (u32)(int8_t)HOLE_VALUE(first));
	asm volatile("ldrsb %0, [%1]" : "=&r"(v) : "r"(a) : "memory");
	CHECK_EQ(v, (u64)(s64)(int8_t)HOLE_VALUE(first));
	asm volatile("mov %0, #-1\n\tldrsh %w0, [%1]" : "=&r"(v) : "r"(a) : "memory");
	CHECK_EQ(v, (u32)(int16_t)HOLE_VALUE(first));
	asm volatile("ldrsh %0, [%1]" : "=&r"(v) : "r"(a) : "memory");
	CHECK_EQ(v, (u64)(s64)(int16_t)HOLE_VALUE(first));
	asm volatile("ldrsw %0, [%1]" : "=&r"(v) : "r"(a) : "memory");
	CHECK_EQ(v, (u64)(s64)(int32_t)HOLE_VALUE(first));
}

static void access_holes(u64 first)
{
	u64 a = GUEST_HOLE_BASE + first, v;

	/* Each size: the value without what is above it, and the registers wholly written. */
	CHECK_EQ(mmio_read8(a + 1), (u8)HOLE_VALUE(first + 1));
	expect_mmio(first + 1, 1, false);
	CHECK_EQ(mmio_read16(a + 2), (u16)HOLE_VALUE(first + 2));
	expect_mmio(first + 2, 2, false);
	CHECK_EQ(mmio_read32(a + 4), (u32)HOLE_VALUE(first + 4));
	expect_mmio(first + 4, 4, false);
	CHECK_EQ(mmio_read64(a + 8), HOLE_VALUE(first + 8));
	expect_mmio(first + 8, 8, false);
	if (guest_flags() & GUEST_FLAG_SIGN_EXTENDS)
		load_signed(first);
	asm volatile("mov %0, #-1\n\tldrb %w0, [%1]" : "=&r"(v) : "r"(a) : "memory");
	CHECK_EQ(v, (u8)HOLE_VALUE(first));

	mmio_write8(a + 3, 0x81);
	expect_mmio(first + 3, 1, true);
	CHECK_EQ(request(REQUEST_MMIO_DATA, 0), 0x81);
	mmio_write16(a + 4, 0x8182);
	expect_mmio(first + 4, 2, true);
	CHECK_EQ(request(REQUEST_MMIO_DATA, 0), 0x8182);
	mmio_write32(a + 4, 0x81828384);
	expect_mmio(first + 4, 4, true);
	CHECK_EQ(request(REQUEST_MMIO_DATA, 0), 0x81828384);
	mmio_write64(a + 8, 0x8182838485868788);
	expect_mmio(first + 8, 8, true);
	CHECK_EQ(request(REQUEST_MMIO_DATA, 0), 0x8182838485868788);
	/* The zero register is no register 31, neither as what is stored nor as where to load to. */
	asm volatile("str xzr, [%0]" : : "r"(a) : "memory");
	CHECK_EQ(request(REQUEST_MMIO_DATA, 0), 0);
	asm volatile("ldr xzr, [%0]" : : "r"(a) : "memory");
	expect_mmio(first, 8, false);
	/* Acquire and release forms. */
	asm volatile("ldar %0, [%1]" : "=r"(v) : "r"(a) : "memory");
	CHECK_EQ(v, HOLE_VALUE(first));
	asm volatile("stlr %0, [%1]" : : "r"(first + 77), "r"(a) : "memory");
	CHECK_EQ(request(REQUEST_MMIO_DATA, 0), first + 77);
}

void holes_are_mmio(void)
{
	u64 first;

	for (first = 0; first < GUEST_HOLE_SIZE; first += 0x3f00)
		access_holes(first);
}

void holes_without_mmu(void)
{
	CHECK_EQ(read_sysreg(sctlr_el1) & 1, 0);
	access_holes(0x100);
}

static void access_on_cpu(u64 index)
{
	u64 i;

	for (i = 0; i < 20; i++)
		access_holes(0x1000 * index + 16 * i);
	__atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

void holes_of_four_cpus(void)
{
	u64 i;

	for (i = 1; i < 4; i++)
		cpu_start(i, access_on_cpu);
	access_on_cpu(0);
	wait_for(&finished, 4);
}

/* Calls @address, where there may be nothing. */
static bool fetch_faults(u64 address)
{
	struct cpu *cpu = this_cpu();

	cpu->faults = 0;
	WRITE_ONCE(cpu->returning, true);
	((void (*)(void))address)();
	WRITE_ONCE(cpu->returning, false);
	return READ_ONCE(cpu->faults);
}

/* The hole that is mapped as normal memory by the payload: OTHER_BASE without its slot. */
void fetch_from_a_hole(void)
{
	if (is_protected()) {
		/* Its slots are fixed: there is no hole that may be executed. */
		CHECK_EQ(request(REQUEST_REMOVE, 0), -1 /* EPERM */);
		return;
	}
	CHECK_EQ(request(REQUEST_REMOVE, 0), 0);
	/* No instruction is there: a synchronous external abort from the same EL at that address. */
	CHECK(fetch_faults(OTHER_BASE + PAGE));
	CHECK_EQ(this_cpu()->esr >> 26, 0x21);
	CHECK_EQ(this_cpu()->esr & 0x3f, 0x10);
	CHECK_EQ(this_cpu()->far, OTHER_BASE + PAGE);
	CHECK_EQ(request(REQUEST_ADD, 0), 0);
	request(REQUEST_CODE, OTHER_BASE + PAGE);
	CHECK(!fetch_faults(OTHER_BASE + PAGE));
}

void slot_removed_while_running(void)
{
	u64 a = OTHER_BASE + 3 * PAGE, before;

	mmio_write64(a, pattern(a));
	CHECK_EQ(mmio_read64(a), pattern(a));
	if (is_protected()) {
		CHECK_EQ(request(REQUEST_REMOVE, 0), -1 /* EPERM */);
		CHECK_EQ(mmio_read64(a), pattern(a));
		return;
	}
	before = request(REQUEST_MMIOS, 0);
	CHECK_EQ(request(REQUEST_REMOVE, 0), 0);
	/* Now a hole, though it was mapped a moment ago. */
	CHECK_EQ(mmio_read64(a), HOLE_VALUE(3 * PAGE));
	CHECK_EQ(mmio_read64(OTHER_BASE + 8), HOLE_VALUE(8));
	CHECK_EQ(request(REQUEST_MMIOS, 0), before + 2);
	CHECK_EQ(request(REQUEST_ADD, 0), 0);
	CHECK_EQ(mmio_read64(a), pattern(a));
	CHECK_EQ(request(REQUEST_MMIOS, 0), before + 2);
	/* Its neighbours have not noticed. */
	mmio_write64(GUEST_EXTRA_BASE, 5);
	CHECK_EQ(mmio_read64(GUEST_EXTRA_BASE), 5);
}

void slot_added_while_running(void)
{
	u64 i;

	if (is_protected()) {
		CHECK_EQ(request(REQUEST_REMOVE, 0), -1 /* EPERM */);
		return;
	}
	for (i = 0; i < 10; i++) {
		CHECK_EQ(request(REQUEST_REMOVE, 0), 0);
		CHECK_AT(i, mmio_read64(OTHER_BASE + PAGE * i), HOLE_VALUE(PAGE * i));
		CHECK_EQ(request(REQUEST_ADD, 0), 0);
		CHECK_AT(i, mmio_read64(OTHER_BASE + PAGE * i), 0);
		mmio_write64(OTHER_BASE + PAGE * i, i);
		CHECK_AT(i, mmio_read64(OTHER_BASE + PAGE * i), i);
		mmio_write64(OTHER_BASE + PAGE * i, 0);
	}
}

void read_only_slot(void)
{
	u64 a = READ_ONLY_BASE + 256, before;

	if (is_protected()) {
		/* The fixture has asserted that a protected VM gets none. */
		CHECK(true);
		return;
	}
	CHECK_EQ(mmio_read64(a), 256);
	before = request(REQUEST_MMIOS, 0);
	/* A write goes to the VMM and changes nothing. */
	mmio_write32(a, 0x1234);
	CHECK_EQ(request(REQUEST_MMIOS, 0), before + 1);
	expect_mmio(256, 4, true);
	CHECK_EQ(request(REQUEST_MMIO_DATA, 0), 0x1234);
	CHECK_EQ(mmio_read64(a), 256);
	/* The first access to a page is a write. */
	mmio_write32(a + 5 * PAGE, 0x1234);
	CHECK_EQ(mmio_read64(a + 5 * PAGE), 256 + 5 * PAGE);
	CHECK_EQ(request(REQUEST_MMIOS, 0), before + 2);
}
