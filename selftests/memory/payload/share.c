// SPDX-License-Identifier: GPL-2.0
/*
 * What a protected guest asks of EL2 about its memory: KVM's vendor-specific hypervisor services, as
 * Linux guests with CONFIG_ARM_PKVM_GUEST use them. Other guests are told that there is none.
 */
#include "gic.h"
#include "tests.h"

#define HYP_MEMINFO	0xc6000002
#define MEM_SHARE	0xc6000003
#define MEM_UNSHARE	0xc6000004
#define MMIO_GUARD	0xc6000007
#define MEM_RELINQUISH	0xc6000009
#define NOT_SUPPORTED	-1
#define INVALID		-3

#define SHARED		(GUEST_EXTRA_BASE + (1UL << 20))

static u64 granule;

/* Whether there is something to test; else that the calls are not there. */
static bool has_services(void)
{
	if (!(guest_flags() & GUEST_FLAG_PROTECTED)) {
		CHECK_EQ(hvc(HYP_MEMINFO, 0, 0, 0), NOT_SUPPORTED);
		CHECK_EQ(hvc(MEM_SHARE, SHARED, 0, 0), NOT_SUPPORTED);
		CHECK_EQ(hvc(MEM_UNSHARE, SHARED, 0, 0), NOT_SUPPORTED);
		CHECK_EQ(hvc(MEM_RELINQUISH, SHARED, 0, 0), NOT_SUPPORTED);
		CHECK_EQ(hvc(MMIO_GUARD, GUEST_HOLE_BASE, 0, 0), NOT_SUPPORTED);
		return false;
	}
	granule = hvc(HYP_MEMINFO, 0, 0, 0);
	return CHECK(granule == 4096 || granule == 16384 || granule == 65536);
}

void meminfo(void)
{
	if (!has_services())
		return;
	CHECK_EQ(hvc(HYP_MEMINFO, 1, 0, 0), INVALID);
	CHECK_EQ(hvc(HYP_MEMINFO, 0, 1, 0), INVALID);
	CHECK_EQ(hvc(HYP_MEMINFO, 0, 0, 1), INVALID);
	/* The feature bitmap has a bit for each of these. */
	CHECK_EQ(hvc(0x86000000, 0, 0, 0) & 0x1d, 0x1d);
}

void share_and_unshare(void)
{
	u64 i, a;

	if (!has_services())
		return;
	for (i = 0; i < 8; i++) {
		a = SHARED + i * granule;
		/* Touched before, or not. */
		if (i % 2)
			mmio_write64(a, i);
		CHECK_AT(i, hvc(MEM_SHARE, a, 0, 0), 0);
		mmio_write64(a, 0x5eed0000 + i);
		CHECK_AT(i, request(REQUEST_PEEK, a), 0x5eed0000 + i);
		CHECK_AT(i, request(REQUEST_POKE, a), 0);
		CHECK_AT(i, mmio_read64(a), ~a);
		CHECK_AT(i, hvc(MEM_UNSHARE, a, 0, 0), 0);
		/* What was there when it was unshared is the guest's. */
		CHECK_AT(i, mmio_read64(a), ~a);
		if (guest_flags() & GUEST_FLAG_MVIRT) {
			CHECK_AT(i, request(REQUEST_PEEK, a), PEEK_REFUSED);
			CHECK_AT(i, request(REQUEST_POKE, a), PEEK_REFUSED);
			CHECK_AT(i, mmio_read64(a), ~a);
		}
	}
	/* And once more. */
	CHECK_EQ(hvc(MEM_SHARE, SHARED, 0, 0), 0);
	CHECK_EQ(request(REQUEST_PEEK, SHARED), ~SHARED);
	CHECK_EQ(hvc(MEM_UNSHARE, SHARED, 0, 0), 0);
}

void share_refused(void)
{
	if (!has_services())
		return;
	mmio_write64(SHARED, 1);
	/* Not a page's address; arguments that are not zero. */
	CHECK_EQ(hvc(MEM_SHARE, SHARED + 8, 0, 0), INVALID);
	CHECK_EQ(hvc(MEM_SHARE, SHARED, 1, 0), INVALID);
	CHECK_EQ(hvc(MEM_SHARE, SHARED, 0, 1), INVALID);
	CHECK_EQ(hvc(MEM_UNSHARE, SHARED, 0, 0), INVALID);
	CHECK_EQ(hvc(MEM_SHARE, SHARED, 0, 0), 0);
	CHECK_EQ(hvc(MEM_SHARE, SHARED, 0, 0), INVALID);
	CHECK_EQ(hvc(MEM_UNSHARE, SHARED + 8, 0, 0), INVALID);
	CHECK_EQ(hvc(MEM_UNSHARE, SHARED, 1, 0), INVALID);
	CHECK_EQ(hvc(MEM_UNSHARE, SHARED, 0, 1), INVALID);
	/* None of these has unshared it. */
	mmio_write64(SHARED, 0x77);
	CHECK_EQ(request(REQUEST_PEEK, SHARED), 0x77);
	CHECK_EQ(hvc(MEM_UNSHARE, SHARED, 0, 0), 0);
	CHECK_EQ(hvc(MEM_UNSHARE, SHARED, 0, 0), INVALID);
	/* A page that was never touched is not shared; nor is what is no memory at all. */
	CHECK_EQ(hvc(MEM_UNSHARE, SHARED + 64 * granule, 0, 0), INVALID);
	if (guest_flags() & GUEST_FLAG_MVIRT) {
		CHECK_EQ(hvc(MEM_SHARE, GUEST_HOLE_BASE, 0, 0), INVALID);
		CHECK_EQ(hvc(MEM_SHARE, BIT(50), 0, 0), INVALID);
		CHECK_EQ(hvc(MEM_SHARE, ~0UL & ~(granule - 1), 0, 0), INVALID);
	}
	CHECK_EQ(hvc(MEM_UNSHARE, GUEST_HOLE_BASE, 0, 0), INVALID);
	CHECK_EQ(hvc(MEM_UNSHARE, ~0UL & ~(granule - 1), 0, 0), INVALID);
}

void relinquish(void)
{
	if (!has_services())
		return;
	if (!(guest_flags() & GUEST_FLAG_MVIRT)) {
		CHECK_EQ(hvc(MEM_RELINQUISH, SHARED, 0, 0), NOT_SUPPORTED);
		return;
	}
	mmio_write64(SHARED, 0x5ec4e7);
	mmio_write64(SHARED + granule, 0x1234);
	CHECK_EQ(hvc(MEM_RELINQUISH, SHARED + 8, 0, 0), INVALID);
	CHECK_EQ(mmio_read64(SHARED), 0x5ec4e7);
	CHECK_EQ(hvc(MEM_RELINQUISH, SHARED, 0, 0), 0);
	/* The host has it back, and nothing of what was in it. */
	CHECK_EQ(request(REQUEST_PEEK, SHARED), 0);
	/* The next access gets memory again, and not the old one; its neighbour stayed. */
	CHECK_EQ(mmio_read64(SHARED), 0);
	CHECK_EQ(mmio_read64(SHARED + granule), 0x1234);
	mmio_write64(SHARED, 3);
	CHECK_EQ(mmio_read64(SHARED), 3);
	CHECK_EQ(request(REQUEST_PEEK, SHARED), PEEK_REFUSED);
	CHECK_EQ(hvc(MEM_RELINQUISH, GUEST_HOLE_BASE, 0, 0), INVALID);
	/* Shared pages are unshared first. */
	CHECK_EQ(hvc(MEM_SHARE, SHARED, 0, 0), 0);
	CHECK_EQ(hvc(MEM_RELINQUISH, SHARED, 0, 0), INVALID);
	CHECK_EQ(hvc(MEM_UNSHARE, SHARED, 0, 0), 0);
}

/*
 * Where a page is part of a block, a table is needed to split it: for each block another one. Huge pages are
 * more blocks than EL2 has pages to spare, and so the host gives it some on the way.
 */
void relinquish_in_many_blocks(void)
{
	u64 a, huge, bytes;

	if (!has_services())
		return;
	if (!(guest_flags() & GUEST_FLAG_MVIRT)) {
		CHECK_EQ(hvc(MEM_RELINQUISH, SHARED, 0, 0), NOT_SUPPORTED);
		return;
	}
	huge = request(REQUEST_HUGE, 0);
	if (huge)
		CHECK_EQ(huge, BLOCKS_SIZE / BLOCK_SIZE);
	for (a = BLOCKS_BASE; a < BLOCKS_BASE + BLOCKS_SIZE; a += BLOCK_SIZE)
		mmio_write64(a + 16 * granule, a);
	bytes = request(REQUEST_EL2_BYTES, 0);
	for (a = BLOCKS_BASE; a < BLOCKS_BASE + BLOCKS_SIZE; a += BLOCK_SIZE) {
		mmio_write64(a + 17 * granule, a);
		CHECK_AT(a, hvc(MEM_RELINQUISH, a + 16 * granule, 0, 0), 0);
	}
	/* Else the pool did not run dry, and nothing was seen of what happens then. */
	if (huge)
		CHECK(request(REQUEST_EL2_BYTES, 0) > bytes);
	for (a = BLOCKS_BASE; a < BLOCKS_BASE + BLOCKS_SIZE; a += BLOCK_SIZE) {
		CHECK_AT(a, request(REQUEST_PEEK, a + 16 * granule), 0);
		CHECK_AT(a, mmio_read64(a + 17 * granule), a);
	}
}

void mmio_guard(void)
{
	u64 page;

	if (!has_services())
		return;
	if (!(guest_flags() & GUEST_FLAG_MVIRT)) {
		CHECK_EQ(hvc(MMIO_GUARD, GUEST_HOLE_BASE, 0, 0), NOT_SUPPORTED);
		return;
	}
	page = granule;
	/* Before the first call, all that is no memory may be used as a device. */
	CHECK_EQ(mmio_read64(GUEST_HOLE_BASE), HOLE_VALUE(0));
	CHECK_EQ(hvc(MMIO_GUARD, GUEST_HOLE_BASE + page, 0, 0), 0);
	/* From now on what was used before, and what was asked for. The report device was used. */
	CHECK_EQ(mmio_read64(GUEST_HOLE_BASE), HOLE_VALUE(0));
	CHECK_EQ(mmio_read64(GUEST_HOLE_BASE + page), HOLE_VALUE(page));
	CHECK(faults(mmio_read64(GUEST_HOLE_BASE + 2 * page)));
	/* A synchronous external abort on a load, at that address. */
	CHECK_EQ(this_cpu()->esr >> 26, 0x25);
	CHECK_EQ(this_cpu()->esr & 0x3f, 0x10);
	CHECK_EQ(this_cpu()->far, GUEST_HOLE_BASE + 2 * page);
	CHECK(faults(mmio_write64(GUEST_HOLE_BASE + 2 * page, 1)));
	CHECK_EQ(hvc(MMIO_GUARD, GUEST_HOLE_BASE + 2 * page, 0, 0), 0);
	CHECK_EQ(mmio_read64(GUEST_HOLE_BASE + 2 * page), HOLE_VALUE(2 * page));
	/* Not a page's address, the guest's own memory. */
	CHECK_EQ(hvc(MMIO_GUARD, GUEST_HOLE_BASE + 8, 0, 0), INVALID);
	CHECK_EQ(hvc(MMIO_GUARD, GUEST_RAM_BASE, 0, 0), INVALID);
	CHECK_EQ(hvc(MMIO_GUARD, BIT(50), 0, 0), INVALID);
}
