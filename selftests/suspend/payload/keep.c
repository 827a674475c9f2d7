// SPDX-License-Identifier: GPL-2.0
/*
 * Guests that the host sleeps under. What a vCPU has in its registers, its GIC and its timers stays;
 * its counters never go back, and its timers never fire early.
 */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(SUSPEND_PAYLOADS)

void fp_fill(u64 seed);
u64 fp_differ(u64 seed);

/* Not wait_for(): the counter goes on while the host sleeps. */
static void wait_long(const u64 *flag, u64 value)
{
	while (READ_ONCE(*flag) < value)
		asm volatile("yield");
	dsb();
}

/* Each with the bits that it has. */
#define KEPT(X)									\
	X(tpidr_el0, ~0UL) X(tpidrro_el0, ~0UL) X(far_el1, ~0UL)	\
	X(contextidr_el1, 0xffffffff) X(csselr_el1, 2) X(cntkctl_el1, 3)
#define PATTERN(mask)	(seed * 0x9e3779b97f4a7c15 & (mask))
#define SET(r, mask)	write_sysreg(r, PATTERN(mask));
#define COMPARE(r, mask) CHECK_AT(seed, read_sysreg(r), PATTERN(mask));

static void compare_registers(u64 seed)
{
	KEPT(COMPARE)
	CHECK_AT(seed, fp_differ(seed), 0);
}

static void set_registers(u64 seed)
{
	KEPT(SET)
	fp_fill(seed);
}

/* Interrupts in states that nothing here changes: pending and disabled, of some priority, edge. */
static void set_gic(void)
{
	gic_set_edge(SPI(9), true);
	gic_set_priority(SPI(9), 0x58);
	gic_set_bit(SPI(9), GICD_ISPENDR);
	gic_set_bit(SPI(10), GICD_ISACTIVER);
	gic_enable(SPI(11));
	gic_route(SPI(11), mpidr_of(1));
	/* And of this CPU's own. */
	gic_set_bit(5, GICD_ISPENDR);
	gic_enable(6);
}

static void compare_gic(void)
{
	CHECK(gic_pending(SPI(9)));
	CHECK_EQ(mmio_read32(gic_reg(SPI(9), 0, GICD_IPRIORITYR, 8)) >> 8 & 0xff, 0x58);
	CHECK_EQ(mmio_read32(gic_reg(SPI(9), 0, GICD_ICFGR, 2)) >> 18 & 2, 2);
	CHECK(!gic_pending(SPI(10)));
	CHECK(gic_active(SPI(10)));
	CHECK(gic_get_bit(SPI(11), GICD_ISENABLER));
	CHECK_EQ(mmio_read64(GUEST_GICD_BASE + GICD_IROUTER + SPI(11) * 8), mpidr_of(1));
	CHECK(gic_pending(5));
	CHECK(gic_get_bit(6, GICD_ISENABLER));
	CHECK_EQ(icc_read(PMR), 0xf8);
	CHECK_EQ(icc_read(IGRPEN1), 1);
}

static u64 latest, over, stopped;
/* By CPU: SGIs and timers' interrupts that it has taken. */
static u64 sgis[GUEST_MAX_CPUS], timers[GUEST_MAX_CPUS];

static void take(u32 intid)
{
	u64 index = this_cpu()->index;

	if (intid == 1) {
		WRITE_ONCE(sgis[index], sgis[index] + 1);
		return;
	}
	CHECK_AT(intid, intid == PPI_VTIMER || intid == PPI_PTIMER, 1);
	write_sysreg(cntv_ctl_el0, 0);
	write_sysreg(cntp_ctl_el0, 0);
	isb();
	WRITE_ONCE(timers[index], timers[index] + 1);
}

/* Sleeps until a timer has fired: the virtual and the physical one by turns. */
static void sleep_by_timer(u64 round, u64 microseconds)
{
	u64 index = this_cpu()->index, fired = timers[index], due;

	if (round % 2) {
		due = now() + ticks(microseconds);
		write_sysreg(cntv_cval_el0, due);
		write_sysreg(cntv_ctl_el0, 1);
	} else {
		isb();
		due = read_sysreg(cntpct_el0) + ticks(microseconds);
		write_sysreg(cntp_cval_el0, due);
		write_sysreg(cntp_ctl_el0, 1);
	}
	while (READ_ONCE(timers[index]) == fired) {
		wfi();
		irq_enable();
		isb();
		irq_disable();
	}
	isb();
	CHECK_AT(round, (round % 2 ? now() : read_sysreg(cntpct_el0)) >= due, 1);
	CHECK_EQ(timers[index], fired + 1);
}

/* Nothing that leaves the guest, for a while; interrupts of the host alone end it. */
static void stay_busy(void)
{
	u64 end = now() + ticks(3000);

	while (now() < end)
		asm volatile("" : : : "memory");
}

static void tell_time(void)
{
	u64 before = READ_ONCE(latest), time = now();

	/* What the other CPU has read is not ahead of this one. */
	CHECK_AT(before, time >= before, 1);
	WRITE_ONCE(latest, time);
	if (request(REQUEST_TIME, now()) == GUEST_OVER || request(REQUEST_TIME, now()) == GUEST_OVER)
		WRITE_ONCE(over, 1);
}

static void keep_on(u64 index)
{
	u64 round = 0, sent = 0;

	if (index)
		gic_init_cpu();
	gic_enable(1);
	gic_enable(PPI_VTIMER);
	gic_enable(PPI_PTIMER);
	while (!READ_ONCE(over)) {
		u64 seed = 8 * ++round + 4 * index + 1;

		set_registers(seed);
		sleep_by_timer(round, 4000);
		compare_registers(seed);
		if (index) {
			stay_busy();
		} else {
			compare_gic();
			/* The other one takes it where it is, asleep or busy. */
			gic_sgi(1, BIT(1));
			sent++;
		}
		compare_registers(seed);
		tell_time();
		compare_registers(seed);
	}
	if (!index) {
		WRITE_ONCE(stopped, 1);
		wait_long(&sgis[1], 1);
		CHECK_LE(1, sent);
		return;
	}
	/* Whatever is on its way arrives. */
	wait_long(&stopped, 1);
	gic_take();
}

/* Until the VMM says that the host sleeps no more. */
void keep_all(void)
{
	gic_hook = take;
	gic_init();
	icc_write(PMR, 0xf8);
	set_gic();
	cpu_start(1, keep_on);
	keep_on(0);
}

/* One alarm after the other; asleep until each has fired. */
void wait_for_alarms(void)
{
	u64 alarm, due, fired, us;

	gic_hook = take;
	gic_init();
	gic_enable(PPI_VTIMER);
	gic_enable(PPI_PTIMER);
	while ((alarm = request(REQUEST_ALARM, 0)) != GUEST_OVER) {
		us = (u32)alarm;
		fired = timers[0];
		due = now() + ticks(us);
		if (alarm & GUEST_PHYSICAL) {
			write_sysreg(cntp_cval_el0, read_sysreg(cntpct_el0) + ticks(us));
			write_sysreg(cntp_ctl_el0, 1);
		} else {
			write_sysreg(cntv_cval_el0, due);
			write_sysreg(cntv_ctl_el0, 1);
		}
		isb();
		request(REQUEST_IS_SET, due);
		while (READ_ONCE(timers[0]) == fired) {
			wfi();
			irq_enable();
			isb();
			irq_disable();
		}
		CHECK_LE(due, now());
		request(REQUEST_HAS_FIRED, now());
	}
}
