// SPDX-License-Identifier: GPL-2.0
/* Interrupts that eventfds raise, and writes that signal eventfds, as a guest sees them. */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(IRQFD_TESTS)

#define ARRIVED(cpu)	READ_ONCE(gic_log[cpu].nr)
#define DEVICES_AGAIN	7
#define STORM		2000
#define RINGS		50

static void enable(u32 gsi, bool edge)
{
	gic_set_edge(SPI(gsi), edge);
	gic_enable(SPI(gsi));
}

static u64 resampled(u64 fd)
{
	return request(REQUEST_RESAMPLED, fd);
}

void a_signal_is_an_edge(void)
{
	u64 round;

	gic_init();
	enable(GSI_PLAIN, true);
	enable(GSI_OTHER, true);
	for (round = 1; round <= 10; round++) {
		CHECK_EQ(request(REQUEST_SIGNAL, FD_PLAIN), 0);
		CHECK_AT(round, gic_pending(SPI(GSI_PLAIN)), 1);
		gic_take();
		CHECK_AT(round, ARRIVED(0), round);
		CHECK_AT(round, gic_log[0].intid[round - 1], SPI(GSI_PLAIN));
	}
	/* Two before it is taken are one; another eventfd is another interrupt. */
	request(REQUEST_SIGNAL, FD_PLAIN);
	request(REQUEST_SIGNAL, FD_PLAIN);
	gic_take();
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 11);
	request(REQUEST_SIGNAL, FD_OTHER);
	gic_take();
	CHECK_EQ(ARRIVED(0), 12);
	CHECK_EQ(gic_log[0].intid[11], SPI(GSI_OTHER));
	/* One that is disabled waits. */
	gic_disable(SPI(GSI_PLAIN));
	request(REQUEST_SIGNAL, FD_PLAIN);
	gic_quiet(__LINE__);
	CHECK(gic_pending(SPI(GSI_PLAIN)));
	gic_enable(SPI(GSI_PLAIN));
	gic_take();
	CHECK_EQ(ARRIVED(0), 13);
}

void a_signal_wakes_a_cpu_that_waits(void)
{
	u64 round, end;

	gic_init();
	enable(GSI_PLAIN, true);
	for (round = 1; round <= 5; round++) {
		CHECK_EQ(request(REQUEST_SIGNAL_LATER, FD_PLAIN), 0);
		end = now() + ticks(20000000);
		/* Masked, so that it is not taken before the wait: it ends that all the same. */
		while (!gic_pending(SPI(GSI_PLAIN)) && now() < end)
			wfi();
		gic_take();
		CHECK_AT(round, ARRIVED(0), round);
	}
}

static void take_all(u64 index)
{
	gic_init_cpu();
	WRITE_ONCE(this_cpu()->up, 2);
	irq_enable();
	for (;;)
		asm volatile("yield");
}

void a_signal_reaches_a_cpu_that_runs(void)
{
	u64 round;

	gic_init();
	cpu_start(1, take_all);
	wait_for(&cpus[1].up, 2);
	enable(GSI_PLAIN, true);
	gic_route(SPI(GSI_PLAIN), mpidr_of(1));
	for (round = 1; round <= 20; round++) {
		request(REQUEST_SIGNAL, FD_PLAIN);
		wait_for(&gic_log[1].nr, round);
	}
	CHECK_EQ(ARRIVED(0), 0);
	CHECK_EQ(ARRIVED(1), 20);
}

void many_signals_from_a_thread(void)
{
	u64 before, end;

	gic_init();
	cpu_start(1, take_all);
	wait_for(&cpus[1].up, 2);
	enable(GSI_PLAIN, true);
	gic_route(SPI(GSI_PLAIN), mpidr_of(1));
	CHECK_EQ(request(REQUEST_STORM, STORM << 8 | FD_PLAIN), 0);
	end = now() + ticks(50000000);
	while (!request(REQUEST_STORM_ENDED, 0) && now() < end)
		delay(1000);
	CHECK_EQ(request(REQUEST_STORM_ENDED, 0), 1);
	CHECK_LE(1, ARRIVED(1));
	CHECK_LE(ARRIVED(1), STORM);
	/* The last one came: none is on its way, and the next comes. */
	gic_quiet(__LINE__);
	CHECK(!gic_pending(SPI(GSI_PLAIN)));
	before = ARRIVED(1);
	request(REQUEST_SIGNAL, FD_PLAIN);
	wait_for(&gic_log[1].nr, before + 1);
}

void a_resampled_level_ends_once(void)
{
	u64 round;

	gic_init();
	enable(GSI_LEVEL, false);
	for (round = 1; round <= 10; round++) {
		CHECK_AT(round, resampled(FD_LEVEL), 0);
		request(REQUEST_SIGNAL, FD_LEVEL);
		CHECK_AT(round, gic_pending(SPI(GSI_LEVEL)), 1);
		/* The line stays: a second signal changes nothing. */
		request(REQUEST_SIGNAL, FD_LEVEL);
		CHECK_AT(round, resampled(FD_LEVEL), 0);
		gic_take();
		CHECK_AT(round, ARRIVED(0), round);
		CHECK_AT(round, gic_pending(SPI(GSI_LEVEL)), 0);
		CHECK_AT(round, resampled(FD_LEVEL), 1);
	}
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 10);
}

void a_device_that_is_not_content_raises_again(void)
{
	gic_init();
	enable(GSI_LEVEL, false);
	CHECK_EQ(request(REQUEST_DEVICE, DEVICES_AGAIN << 8 | FD_LEVEL), 0);
	request(REQUEST_SIGNAL, FD_LEVEL);
	irq_enable();
	wait_for(&gic_log[0].nr, 1 + DEVICES_AGAIN);
	irq_disable();
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 1 + DEVICES_AGAIN);
	CHECK(!gic_pending(SPI(GSI_LEVEL)));
}

/* Taken by the other CPU; this one makes the requests. */
void a_shared_gsi_tells_all_its_devices(void)
{
	static const u64 fds[] = { FD_SHARED_A, FD_SHARED_B };
	u64 round;

	gic_init();
	cpu_start(1, take_all);
	wait_for(&cpus[1].up, 2);
	enable(GSI_SHARED, false);
	enable(GSI_LEVEL, false);
	gic_route(SPI(GSI_SHARED), mpidr_of(1));
	for (round = 1; round <= 6; round++) {
		request(REQUEST_SIGNAL, fds[round % 2]);
		wait_for(&gic_log[1].nr, round);
		/* It was ended after it was noted; the other CPU's exit tells of that. */
		while (!resampled(FD_SHARED_A))
			delay(100);
		while (!resampled(FD_SHARED_B))
			delay(100);
		CHECK_AT(round, resampled(FD_LEVEL), 0);
		CHECK_AT(round, gic_pending(SPI(GSI_SHARED)), 0);
	}
	CHECK_EQ(ARRIVED(1), 6);
	/* One of them leaves: the other one is told all the same. */
	CHECK_EQ(request(REQUEST_DEASSIGN, FD_SHARED_A), 0);
	request(REQUEST_SIGNAL, FD_SHARED_B);
	wait_for(&gic_log[1].nr, 7);
	while (!resampled(FD_SHARED_B))
		delay(100);
	CHECK_EQ(resampled(FD_SHARED_A), 0);
}

/* Notes and drops the priority, and no more. */
static void drop(struct frame *frame, bool fiq)
{
	u32 intid = icc_read(IAR1);

	if (intid == SPURIOUS)
		return;
	gic_log[0].nr++;
	icc_write(EOIR1, intid);
}

void with_eoimode_the_deactivation_counts(void)
{
	u64 round;

	gic_init();
	icc_write(CTLR, CTLR_EOIMODE);
	this_cpu()->irq = drop;
	enable(GSI_LEVEL, false);
	for (round = 1; round <= 4; round++) {
		request(REQUEST_SIGNAL, FD_LEVEL);
		gic_take();
		CHECK_AT(round, ARRIVED(0), round);
		CHECK_AT(round, gic_active(SPI(GSI_LEVEL)), 1);
		CHECK_AT(round, resampled(FD_LEVEL), 0);
		icc_write(DIR, SPI(GSI_LEVEL));
		CHECK_AT(round, gic_active(SPI(GSI_LEVEL)), 0);
		CHECK_AT(round, resampled(FD_LEVEL), 1);
		gic_quiet(__LINE__);
		CHECK_AT(round, ARRIVED(0), round);
	}
}

void what_the_guest_raised_itself(void)
{
	gic_init();
	enable(GSI_LEVEL, false);
	gic_set_bit(SPI(GSI_LEVEL), GICD_ISPENDR);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
	/* The host is told of what it raised itself. KVM tells of all. */
	if (guest_flags() & GUEST_FLAG_MVIRT)
		CHECK_EQ(resampled(FD_LEVEL), 0);
	else
		resampled(FD_LEVEL);
	request(REQUEST_SIGNAL, FD_LEVEL);
	gic_take();
	CHECK_EQ(ARRIVED(0), 2);
	CHECK_EQ(resampled(FD_LEVEL), 1);
}

void an_active_state_cleared_by_software(void)
{
	gic_init();
	icc_write(CTLR, CTLR_EOIMODE);
	this_cpu()->irq = drop;
	enable(GSI_LEVEL, false);
	request(REQUEST_SIGNAL, FD_LEVEL);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
	CHECK_EQ(resampled(FD_LEVEL), 0);
	/* A deactivation like any other; KVM does not tell of it, and the line stays. */
	if (guest_flags() & GUEST_FLAG_MVIRT) {
		gic_set_bit(SPI(GSI_LEVEL), GICD_ICACTIVER);
		CHECK_EQ(resampled(FD_LEVEL), 1);
		gic_quiet(__LINE__);
		CHECK_EQ(ARRIVED(0), 1);
	}
}

void the_line_goes_with_its_eventfd(void)
{
	u64 end;

	gic_init();
	enable(GSI_LEVEL, false);
	enable(GSI_SHARED, false);
	enable(GSI_PLAIN, true);
	request(REQUEST_SIGNAL, FD_LEVEL);
	CHECK(gic_pending(SPI(GSI_LEVEL)));
	CHECK_EQ(request(REQUEST_DEASSIGN, FD_LEVEL), 0);
	CHECK(!gic_pending(SPI(GSI_LEVEL)));
	/* No longer an interrupt's. */
	request(REQUEST_SIGNAL, FD_LEVEL);
	CHECK(!gic_pending(SPI(GSI_LEVEL)));
	CHECK_EQ(request(REQUEST_DEASSIGN, FD_LEVEL), 0);
	/* Of two that share a GSI the first takes nothing along, the last the line. */
	request(REQUEST_SIGNAL, FD_SHARED_A);
	CHECK(gic_pending(SPI(GSI_SHARED)));
	request(REQUEST_CLOSE, FD_SHARED_A);
	delay(50000);
	CHECK(gic_pending(SPI(GSI_SHARED)));
	request(REQUEST_CLOSE, FD_SHARED_B);
	end = now() + ticks(20000000);
	while (gic_pending(SPI(GSI_SHARED)) && now() < end)
		delay(1000);
	CHECK(!gic_pending(SPI(GSI_SHARED)));
	/* And the others work on. */
	request(REQUEST_SIGNAL, FD_PLAIN);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
}

void a_gsi_is_routed_anew(void)
{
	gic_init();
	enable(PIN_BEFORE, true);
	enable(PIN_AFTER, true);
	enable(GSI_PLAIN, true);
	enable(GSI_LEVEL, false);
	/* The table of the VMM's has GSI_ROUTED and GSI_LEVEL alone. */
	CHECK_EQ(request(REQUEST_ROUTE, PIN_BEFORE), 0);
	request(REQUEST_SIGNAL, FD_ROUTED);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
	CHECK_EQ(gic_log[0].intid[0], SPI(PIN_BEFORE));
	request(REQUEST_SIGNAL, FD_PLAIN);
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 1);
	CHECK_EQ(request(REQUEST_ROUTE, PIN_AFTER), 0);
	request(REQUEST_SIGNAL, FD_ROUTED);
	gic_take();
	CHECK_EQ(ARRIVED(0), 2);
	CHECK_EQ(gic_log[0].intid[1], SPI(PIN_AFTER));
	/* What is resampled is so under its route. */
	request(REQUEST_SIGNAL, FD_LEVEL);
	gic_take();
	CHECK_EQ(ARRIVED(0), 3);
	CHECK_EQ(gic_log[0].intid[2], SPI(GSI_LEVEL));
	CHECK_EQ(resampled(FD_LEVEL), 1);
}

/* Both are resampled; one goes, and the other is told of ends as before. */
void two_gsis_of_a_pin(void)
{
	gic_init();
	enable(GSI_LEVEL, false);
	CHECK_EQ(request(REQUEST_ROUTE, GSI_LEVEL), 0);
	request(REQUEST_SIGNAL, FD_TWIN);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
	CHECK_EQ(resampled(FD_TWIN), 1);
	CHECK_EQ(request(REQUEST_DEASSIGN, FD_LEVEL), 0);
	request(REQUEST_SIGNAL, FD_TWIN);
	gic_take();
	CHECK_EQ(resampled(FD_TWIN), 1);
	CHECK(!gic_pending(SPI(GSI_LEVEL)));
}

static u64 rung(u64 doorbell)
{
	return request(REQUEST_DOORBELL, doorbell);
}

/* In the order of DOORBELLS. */
void writes_signal_eventfds(void)
{
	u64 hole = GUEST_HOLE_BASE, seen, n;

	mmio_write32(hole + 0x100, 1);
	mmio_write32(hole + 0x100, 0xffffffff);
	CHECK_EQ(rung(0), 2);
	CHECK_EQ(rung(1), 0);
	mmio_write16(hole + 0x100, 1);
	CHECK_EQ(rung(0), 0);
	CHECK_EQ(rung(1), 1);
	mmio_write32(hole + 0x108, 0x12345678);
	CHECK_EQ(rung(2), 1);
	CHECK_EQ(rung(3), 0);
	mmio_write32(hole + 0x108, 0x12345679);
	CHECK_EQ(rung(2), 0);
	CHECK_EQ(rung(3), 1);
	mmio_write8(hole + 0x110, 1);
	mmio_write16(hole + 0x110, 1);
	mmio_write32(hole + 0x110, 1);
	mmio_write64(hole + 0x110, 1);
	CHECK_EQ(rung(4), 4);
	mmio_write8(hole + 0x118, 0xa5);
	CHECK_EQ(rung(5), 1);
	mmio_write64(hole + 0x120, 0x1122334455667788);
	CHECK_EQ(rung(6), 1);
	mmio_write16(hole + 0x128, 0x5a5a);
	CHECK_EQ(rung(7), 1);
	/* The VMM saw none of these. */
	CHECK_EQ(request(REQUEST_MMIOS, 0), 0);
	/* And sees what matches none: another length, value, address, a value with more bits; reads. */
	mmio_write8(hole + 0x100, 1);
	mmio_write64(hole + 0x100, 1);
	mmio_write32(hole + 0x108, 0x1234567a);
	mmio_write32(hole + 0x114, 1);
	mmio_write8(hole + 0x118, 0xa4);
	mmio_write64(hole + 0x120, 0x1122334455667789);
	mmio_write8(hole + 0x130, 0xa5);
	seen = 7;
	CHECK_EQ(request(REQUEST_MMIOS, 0), seen);
	CHECK_EQ(mmio_read32(hole + 0x100), 0x600df00d);
	CHECK_EQ(mmio_read32(hole + 0x110), 0x600df00d);
	CHECK_EQ(request(REQUEST_MMIOS, 0), seen + 2);
	for (n = 0; n < 10; n++)
		CHECK_AT(n, rung(n), 0);
}

static u64 ringing;

static void ring(u64 index)
{
	u64 n;

	for (n = 0; n < RINGS; n++)
		mmio_write32(GUEST_HOLE_BASE + SHARED_OFFSET, n);
	__atomic_fetch_add(&ringing, 1, __ATOMIC_SEQ_CST);
	for (;;)
		wfi();
}

void writes_of_all_cpus_signal_eventfds(void)
{
	u64 i, n;

	gic_init();
	for (i = 1; i < 4; i++)
		cpu_start(i, ring);
	for (n = 0; n < RINGS; n++)
		mmio_write32(GUEST_HOLE_BASE + SHARED_OFFSET, n);
	wait_for(&ringing, 3);
	CHECK_EQ(rung(SHARED_DOORBELL), 4 * RINGS);
	CHECK_EQ(request(REQUEST_MMIOS, 0), 0);
}
