// SPDX-License-Identifier: GPL-2.0
/* Each kind of interrupt, from where it comes to where it arrives. */
#include "gic.h"

#define LOG(cpu)	(gic_log[cpu])
#define ARRIVED(cpu)	READ_ONCE(gic_log[cpu].nr)

void each_sgi_to_self(void)
{
	u32 sgi;

	gic_init();
	for (sgi = 0; sgi < NR_SGIS; sgi++) {
		gic_enable(sgi);
		gic_sgi(sgi, BIT(0));
		CHECK_AT(sgi, gic_pending(sgi), 1);
		gic_take();
		CHECK_AT(sgi, ARRIVED(0), sgi + 1);
		CHECK_AT(sgi, LOG(0).intid[sgi], sgi);
		CHECK_AT(sgi, gic_pending(sgi), 0);
	}
}

static void open_for_sgis(u64 index)
{
	gic_init_cpu();
	mmio_write32(GUEST_GICR_BASE + index * GUEST_GICR_SIZE + GICR_SGI_FRAME + GICD_ISENABLER, 0xffff);
	WRITE_ONCE(this_cpu()->up, 2);
	irq_enable();
	for (;;)
		wfi();
}

static void start_others(u64 nr)
{
	u64 i;

	gic_init();
	mmio_write32(GUEST_GICR_BASE + GICR_SGI_FRAME + GICD_ISENABLER, 0xffff);
	for (i = 1; i < nr; i++) {
		cpu_start(i, open_for_sgis);
		wait_for(&cpus[i].up, 2);
	}
}

void sgi_to_a_list(void)
{
	u64 list, i, want[4] = { 0 };

	start_others(4);
	for (list = 1; list < 16; list++) {
		gic_sgi(list, list);
		for (i = 0; i < 4; i++) {
			if (list & BIT(i))
				want[i]++;
		}
		gic_take();
		for (i = 0; i < 4; i++) {
			wait_for(&LOG(i).nr, want[i]);
			if (list & BIT(i))
				CHECK_AT(list << 8 | i, LOG(i).intid[want[i] - 1], list);
		}
	}
	gic_quiet(__LINE__);
	for (i = 0; i < 4; i++)
		CHECK_AT(i, ARRIVED(i), want[i]);
}

void sgi_to_all_but_self(void)
{
	u64 i, round;

	start_others(4);
	for (round = 1; round <= 20; round++) {
		gic_sgi_all_but_self(round % 16);
		for (i = 1; i < 4; i++) {
			wait_for(&LOG(i).nr, round);
			CHECK_AT(i, LOG(i).intid[round - 1], round % 16);
		}
	}
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 0);
}

/* To CPUs that there are not: in the cluster, in another cluster, on another socket. */
void sgi_to_nobody(void)
{
	start_others(2);
	icc_write(SGI1R, 3UL << 24 | 0xfffc);
	icc_write(SGI1R, 3UL << 24 | 1UL << 16 | 0x3);
	icc_write(SGI1R, 3UL << 24 | 1UL << 32 | 0x3);
	icc_write(SGI1R, 3UL << 24 | 1UL << 48 | 0x3);
	icc_write(SGI1R, 3UL << 24);
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 0);
	CHECK_EQ(ARRIVED(1), 0);
	/* And the next one arrives. */
	gic_sgi(3, BIT(1));
	wait_for(&LOG(1).nr, 1);
}

static u64 woken;

static void sleep_for_sgi(u64 index)
{
	gic_init_cpu();
	gic_enable(5);
	WRITE_ONCE(this_cpu()->up, 2);
	/* Masked: it wakes the CPU and is not taken. */
	while (icc_read(HPPIR1) != 5)
		wfi();
	WRITE_ONCE(woken, 1);
	irq_enable();
	for (;;)
		wfi();
}

void sgi_wakes_wfi(void)
{
	gic_init();
	cpu_start(1, sleep_for_sgi);
	wait_for(&cpus[1].up, 2);
	/* Time for the vCPU to be really blocked in the host. */
	request(REQUEST_SLEEP, 50000);
	CHECK_EQ(READ_ONCE(woken), 0);
	gic_sgi(5, BIT(1));
	wait_for(&woken, 1);
	wait_for(&LOG(1).nr, 1);
	CHECK_EQ(LOG(1).intid[0], 5);
}

static u64 rounds;

static void send_back(u32 intid)
{
	if (this_cpu()->index == 1)
		gic_sgi(2, BIT(0));
	else if (--rounds)
		gic_sgi(1, BIT(1));
}

void sgi_there_and_back(void)
{
	u64 end;

	gic_hook = send_back;
	start_others(2);
	rounds = 500;
	gic_sgi(1, BIT(1));
	end = now() + ticks(30000000);
	irq_enable();
	while (ARRIVED(0) < 500 && now() < end)
		wfi();
	irq_disable();
	CHECK_EQ(ARRIVED(0), 500);
	/* The other one notes its last only after it has sent the answer. */
	wait_for(&LOG(1).nr, 500);
	CHECK_EQ(ARRIVED(1), 500);
}

void disabled_sgi_stays_pending(void)
{
	gic_init();
	gic_sgi(7, BIT(0));
	gic_quiet(__LINE__);
	CHECK(gic_pending(7));
	gic_enable(7);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
	/* Taken away while it is pending: off again. */
	gic_sgi(7, BIT(0));
	gic_disable(7);
	gic_quiet(__LINE__);
	CHECK(gic_pending(7));
	gic_set_bit(7, GICD_ICPENDR);
	gic_enable(7);
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 1);
}

void ppi_set_pending_by_software(void)
{
	u32 ppi = 22;

	gic_init();
	gic_set_edge(ppi, true);
	gic_enable(ppi);
	gic_set_bit(ppi, GICD_ISPENDR);
	CHECK(gic_pending(ppi));
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
	CHECK_EQ(LOG(0).intid[0], ppi);
	CHECK(!gic_pending(ppi));
	gic_quiet(__LINE__);
}

static u32 lower_at;

/* What a device's driver does: makes the device let go of its line. */
static void lower(u32 intid)
{
	if (ARRIVED(this_cpu()->index) + 1 < lower_at)
		return;
	if (intid < 32)
		ppi_line(intid, this_cpu()->index, false);
	else
		spi_line(intid, false);
}

static void take_ppi(u64 index)
{
	gic_init_cpu();
	gic_enable(20);
	WRITE_ONCE(this_cpu()->up, 2);
	irq_enable();
	for (;;)
		wfi();
}

void ppi_level_from_the_vmm(void)
{
	gic_init();
	gic_hook = lower;
	lower_at = 3;
	gic_enable(20);
	cpu_start(1, take_ppi);
	wait_for(&cpus[1].up, 2);
	/* To the other CPU alone: it comes until the device lets go, three times. */
	ppi_line(20, 1, true);
	wait_for(&LOG(1).nr, 3);
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(1), 3);
	CHECK_EQ(ARRIVED(0), 0);
	ppi_line(20, 0, true);
	irq_enable();
	wait_for(&LOG(0).nr, 3);
	irq_disable();
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(1), 3);
}

void spi_edge_from_the_vmm(void)
{
	u32 spi = SPI(5);
	u64 round;

	gic_init();
	gic_set_edge(spi, true);
	gic_enable(spi);
	for (round = 1; round <= 10; round++) {
		/* The line stays up until after the interrupt: that is no second one. */
		spi_line(spi, true);
		gic_take();
		CHECK_AT(round, ARRIVED(0), round);
		CHECK_AT(round, LOG(0).intid[round - 1], spi);
		gic_take();
		spi_line(spi, false);
		gic_take();
		CHECK_AT(round, ARRIVED(0), round);
	}
	/* Up and down again before it is taken: the edge is kept. */
	spi_line(spi, true);
	spi_line(spi, false);
	CHECK(gic_pending(spi));
	gic_take();
	CHECK_EQ(ARRIVED(0), 11);
	/* Two edges before it is taken are one interrupt. */
	spi_line(spi, true);
	spi_line(spi, false);
	spi_line(spi, true);
	spi_line(spi, false);
	gic_take();
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 12);
}

void spi_level_from_the_vmm(void)
{
	u32 spi = SPI(6);

	gic_init();
	gic_hook = lower;
	gic_set_edge(spi, false);
	gic_enable(spi);
	/* Nobody lowers the line the first four times: it comes again each time. */
	lower_at = 5;
	spi_line(spi, true);
	CHECK(gic_pending(spi));
	irq_enable();
	wait_for(&LOG(0).nr, 5);
	irq_disable();
	CHECK(!gic_pending(spi));
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 5);
	CHECK_EQ(LOG(0).intid[4], spi);
}

void spi_level_lowered_in_time(void)
{
	u32 spi = SPI(7);

	gic_init();
	gic_set_edge(spi, false);
	gic_enable(spi);
	spi_line(spi, true);
	CHECK(gic_pending(spi));
	/* A level that is gone before it was taken never was. */
	spi_line(spi, false);
	CHECK(!gic_pending(spi));
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 0);
	/* ICPENDR does not lower a line. */
	spi_line(spi, true);
	gic_set_bit(spi, GICD_ICPENDR);
	CHECK(gic_pending(spi));
	gic_hook = lower;
	lower_at = 1;
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
	gic_quiet(__LINE__);
}

void spi_set_and_cleared_by_software(void)
{
	u32 spi;

	gic_init();
	for (spi = 32; spi < GUEST_NR_IRQS; spi += 11) {
		u64 before = ARRIVED(0);

		gic_set_edge(spi, spi % 2);
		gic_enable(spi);
		gic_set_bit(spi, GICD_ISPENDR);
		CHECK_AT(spi, gic_pending(spi), 1);
		gic_set_bit(spi, GICD_ICPENDR);
		CHECK_AT(spi, gic_pending(spi), 0);
		gic_take();
		CHECK_AT(spi, ARRIVED(0), before);
		gic_set_bit(spi, GICD_ISPENDR);
		gic_take();
		/* Once, for a level-sensitive one too: no line holds it. */
		CHECK_AT(spi, ARRIVED(0), before + 1);
		CHECK_AT(spi, LOG(0).intid[before], spi);
		CHECK_AT(spi, gic_pending(spi), 0);
	}
	gic_quiet(__LINE__);
}

static void again(u32 intid)
{
	if (ARRIVED(0) < 3)
		gic_set_bit(intid, GICD_ISPENDR);
}

void spi_edge_while_active_comes_again(void)
{
	u32 spi = SPI(8);

	gic_init();
	gic_hook = again;
	gic_set_edge(spi, true);
	gic_enable(spi);
	gic_set_bit(spi, GICD_ISPENDR);
	irq_enable();
	wait_for(&LOG(0).nr, 4);
	irq_disable();
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), 4);
}

static void take_spi(u64 index)
{
	gic_init_cpu();
	WRITE_ONCE(this_cpu()->up, 2);
	irq_enable();
	for (;;)
		wfi();
}

void spi_routed(void)
{
	u64 i, round, want[4] = { 0 };
	u32 spi = SPI(9);

	gic_init();
	for (i = 1; i < 4; i++) {
		cpu_start(i, take_spi);
		wait_for(&cpus[i].up, 2);
	}
	gic_set_edge(spi, true);
	gic_enable(spi);
	for (round = 0; round < 12; round++) {
		i = round * 5 % 4;
		gic_route(spi, mpidr_of(i));
		spi_line(spi, true);
		spi_line(spi, false);
		irq_enable();
		wait_for(&LOG(i).nr, ++want[i]);
		irq_disable();
	}
	for (i = 0; i < 4; i++)
		CHECK_AT(i, ARRIVED(i), want[i]);
	/* Moved while it is pending at a CPU that does not take it. */
	gic_route(spi, mpidr_of(0));
	gic_set_bit(spi, GICD_ISPENDR);
	gic_route(spi, mpidr_of(2));
	wait_for(&LOG(2).nr, want[2] + 1);
	gic_quiet(__LINE__);
	CHECK_EQ(ARRIVED(0), want[0]);
}
