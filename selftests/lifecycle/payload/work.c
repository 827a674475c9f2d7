// SPDX-License-Identifier: GPL-2.0
/* What guests are busy with while VMs come and go. */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(LIFECYCLE_PAYLOADS)

void answer(void)
{
	CHECK_EQ(hvc(PSCI_VERSION, 0, 0, 0), 0x10003);
	mmio_write64(GUEST_RAM_BASE + (7UL << 20), 1);
	CHECK_EQ(mmio_read64(GUEST_RAM_BASE + (7UL << 20)), 1);
}

#define FIRST	(GUEST_RAM_BASE + (1UL << 20))
/* Not more: on a machine that emulates CPUs each page takes a millisecond, and there are many VMs. */
#define LAST	(GUEST_RAM_BASE + (3UL << 20))

static u64 stopped;

static void touch(u64 index)
{
	u64 a;

	for (a = FIRST + 2048 * index; a < LAST; a += 4096)
		mmio_write64(a, a ^ index);
	for (a = FIRST + 2048 * index; a < LAST; a += 4096)
		if (!CHECK_AT(a, mmio_read64(a), a ^ index))
			break;
}

/* With the virtual timer's interrupt enabled. */
static void sleep_until(u64 due)
{
	write_sysreg(cntv_cval_el0, due);
	write_sysreg(cntv_ctl_el0, 1);
	while (now() < due)
		wfi();
	write_sysreg(cntv_ctl_el0, 0);
	isb();
}

/* @work counts itself in @stopped when it is done. */
static void on_two_cpus(void (*work)(u64 index))
{
	gic_init();
	cpu_start(1, work);
	work(0);
	wait_for(&stopped, 2);
}

static void work_on(u64 index)
{
	u64 round, due;

	if (index)
		gic_init_cpu();
	gic_enable(1);
	gic_enable(PPI_VTIMER);
	for (round = 1; round <= 10; round++) {
		touch(index);
		gic_sgi(1, BIT(!index));
		due = now() + ticks(2000);
		sleep_until(due);
		if (!index)
			request(REQUEST_PROGRESS, round);
	}
	__atomic_fetch_add(&stopped, 1, __ATOMIC_SEQ_CST);
}

/* Memory, SGIs, timers and sleep on two CPUs, for some tenths of a second. */
void work(void)
{
	on_two_cpus(work_on);
}

/* Never ends and never leaves by itself. */
void spin(void)
{
	request(REQUEST_PROGRESS, 0);
	for (;;)
		asm volatile("" : : : "memory");
}

/* Never ends; each round is an exit. */
void count(void)
{
	u64 n;

	for (n = 1;; n++)
		request(REQUEST_PROGRESS, n);
}

/* Sleeps with nothing that wakes it. */
void sleep(void)
{
	request(REQUEST_PROGRESS, 0);
	for (;;)
		wfi();
}

static void once(u64 index)
{
	u64 a = FIRST + 4096 * index;

	if (index)
		gic_init_cpu();
	gic_enable(PPI_VTIMER);
	mmio_write64(a, a ^ index);
	sleep_until(now() + ticks(1000));
	CHECK_AT(a, mmio_read64(a), a ^ index);
	__atomic_fetch_add(&stopped, 1, __ATOMIC_SEQ_CST);
}

/* Each of eight vCPUs has memory and a timer of its own. */
void all(void)
{
	u64 n;

	gic_init();
	for (n = 1; n < GUEST_MAX_CPUS; n++)
		cpu_start(n, once);
	once(0);
	while (__atomic_load_n(&stopped, __ATOMIC_SEQ_CST) < GUEST_MAX_CPUS)
		asm volatile("wfe");
	CHECK_EQ(stopped, GUEST_MAX_CPUS);
}

static u64 latest, over;

/* The counters of two vCPUs: each reads no less than what the other has read before. */
static void watch_time(u64 index)
{
	u64 before, due, round = 0;

	if (index)
		gic_init_cpu();
	gic_enable(PPI_VTIMER);
	while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) {
		before = __atomic_load_n(&latest, __ATOMIC_SEQ_CST);
		due = now();
		if (!CHECK(due >= before))
			break;
		__atomic_store_n(&latest, due, __ATOMIC_SEQ_CST);
		due += ticks(500);
		sleep_until(due);
		mmio_write64(FIRST + 4096 * (2 * (round++ % 256) + index), due);
		if (!index)
			__atomic_store_n(&over, request(REQUEST_IS_OVER, round), __ATOMIC_SEQ_CST);
	}
	__atomic_fetch_add(&stopped, 1, __ATOMIC_SEQ_CST);
}

/* Sleeps by timers, counts, touches memory, until the VMM says that it is over. */
void keep_time(void)
{
	on_two_cpus(watch_time);
}
