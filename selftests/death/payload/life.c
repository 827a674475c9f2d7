// SPDX-License-Identifier: GPL-2.0
/* Guests that are there to die. */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(DEATH_PAYLOADS)

#define MEM_SHARE	0xc6000003
#define MEM_UNSHARE	0xc6000004
#define MEM_RELINQUISH	0xc6000009

static u64 stopped;

/* Pages here and there, first touched by this CPU. */
static void touch_some(u64 index)
{
	u64 n, a;

	for (n = 0; n < 6; n++) {
		a = GUEST_EXTRA_BASE + (2 * n + index) * 0x24000;
		mmio_write64(a, a);
		CHECK_AT(a, mmio_read64(a), a);
	}
}

static void other(u64 index)
{
	gic_init_cpu();
	gic_enable(1);
	touch_some(index);
	gic_sgi(1, BIT(0));
	__atomic_fetch_add(&stopped, 1, __ATOMIC_SEQ_CST);
}

/* All that a guest can have, in a short time: memory, shared and given up; another CPU; interrupts. */
void life(void)
{
	u64 two = request(REQUEST_CPUS, 0) > 1, page;

	gic_init();
	gic_enable(1);
	if (two)
		cpu_start(1, other);
	touch_some(0);
	if (guest_flags() & GUEST_FLAG_PROTECTED) {
		page = GUEST_EXTRA_BASE + (3UL << 20);
		CHECK_EQ(hvc(MEM_SHARE, page, 0, 0), 0);
		CHECK_EQ(hvc(MEM_SHARE, page + 0x10000, 0, 0), 0);
		CHECK_EQ(hvc(MEM_UNSHARE, page + 0x10000, 0, 0), 0);
		mmio_write64(page + 0x20000, 1);
		CHECK_EQ(hvc(MEM_RELINQUISH, page + 0x20000, 0, 0), 0);
		CHECK_EQ(mmio_read64(page + 0x20000), 0);
		CHECK_EQ(hvc(MEM_RELINQUISH, page + 0x10000, 0, 0), 0);
	}
	request(REQUEST_ALIVE, 0);
	if (two)
		wait_for(&stopped, 1);
	touch_some(2);
	CHECK_EQ(stopped, two);
}

/* Never ends and never leaves by itself. */
void spin(void)
{
	touch_some(0);
	request(REQUEST_ALIVE, 0);
	for (;;)
		asm volatile("" : : : "memory");
}

/* One write for each page that the VMM wants touched. */
void touch(void)
{
	u64 start = request(REQUEST_RANGE, 0), size = request(REQUEST_RANGE, 1);
	u64 step = request(REQUEST_RANGE, 2), a;

	for (a = start; a - start < size; a += step)
		mmio_write64(a, a);
	CHECK_EQ(mmio_read64(start), start);
	request(REQUEST_ALIVE, 0);
}

/* What the VMM has put at the extra slot; and a word into it. */
void on_page(void)
{
	CHECK_EQ(mmio_read64(GUEST_EXTRA_BASE + 8), 0);
	mmio_write64(GUEST_EXTRA_BASE + 0x800, 0x5eed);
	CHECK_EQ(mmio_read64(GUEST_EXTRA_BASE + 0x800), 0x5eed);
}
