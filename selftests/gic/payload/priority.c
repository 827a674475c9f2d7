// SPDX-License-Identifier: GPL-2.0
/* Priorities, masks, active state, groups: what decides whether an interrupt is signalled. */
#include "gic.h"

#define LOG(cpu)	(gic_log[cpu])
#define ARRIVED(cpu)	READ_ONCE(gic_log[cpu].nr)

void highest_priority_first(void)
{
	/* 0x08 apart: five bits of priority tell them apart. */
	static const u8 priorities[] = { 0x80, 0x18, 0xf0, 0x00, 0x88, 0x40, 0x78, 0x10 };
	static const u32 order[] = { 3, 7, 1, 5, 6, 0, 4 };
	u64 i;

	gic_init();
	/* 0xf0 is masked by itself. */
	icc_write(PMR, 0xf0);
	for (i = 0; i < ARRAY_SIZE(priorities); i++) {
		gic_set_priority(SPI(i), priorities[i]);
		gic_set_edge(SPI(i), true);
		gic_enable(SPI(i));
		gic_set_bit(SPI(i), GICD_ISPENDR);
	}
	CHECK_EQ(icc_read(HPPIR1), SPI(3));
	irq_enable();
	wait_for(&LOG(0).nr, ARRAY_SIZE(order));
	irq_disable();
	for (i = 0; i < ARRAY_SIZE(order); i++)
		CHECK_AT(i, LOG(0).intid[i], SPI(order[i]));
	CHECK(gic_pending(SPI(2)));
	icc_write(PMR, 0xff);
	gic_take();
	CHECK_EQ(ARRIVED(0), 8);
}

static u32 nested_in, seen_inside[4];
static u64 rpr[2];

/* In the handler of SPI 0: others become pending, interrupts are on for a while. */
static void nest(u32 intid)
{
	u64 elr, spsr, i;

	if (intid != nested_in)
		return;
	elr = read_sysreg(elr_el1);
	spsr = read_sysreg(spsr_el1);
	rpr[0] = icc_read(RPR);
	for (i = 1; i < 4; i++)
		gic_set_bit(SPI(i), GICD_ISPENDR);
	gic_take();
	for (i = 1; i < 4; i++)
		seen_inside[i] = !gic_pending(SPI(i));
	rpr[1] = icc_read(RPR);
	write_sysreg(elr_el1, elr);
	write_sysreg(spsr_el1, spsr);
}

void preemption_by_group_priority(void)
{
	static const u8 priorities[] = { 0x80, 0x70, 0x80, 0x88 };
	u64 i;

	gic_init();
	gic_hook = nest;
	nested_in = SPI(0);
	for (i = 0; i < ARRAY_SIZE(priorities); i++) {
		gic_set_priority(SPI(i), priorities[i]);
		gic_set_edge(SPI(i), true);
		gic_enable(SPI(i));
	}
	gic_set_bit(SPI(0), GICD_ISPENDR);
	irq_enable();
	wait_for(&LOG(0).nr, 4);
	irq_disable();
	/* Higher priority preempts; equal and lower wait. */
	CHECK_EQ(seen_inside[1], 1);
	CHECK_EQ(seen_inside[2], 0);
	CHECK_EQ(seen_inside[3], 0);
	CHECK_EQ(rpr[0], 0x80);
	CHECK_EQ(rpr[1], 0x80);
	CHECK_EQ(icc_read(RPR), 0xff);
	/* Group priority in bits 7:6 alone: 0x70 is of another group than 0x80, 0x90 is not. */
	icc_write(BPR1, 6);
	gic_set_priority(SPI(0), 0x90);
	gic_set_priority(SPI(1), 0x80);
	gic_set_priority(SPI(2), 0x78);
	gic_set_priority(SPI(3), 0xc0);
	gic_set_bit(SPI(0), GICD_ISPENDR);
	irq_enable();
	wait_for(&LOG(0).nr, 8);
	irq_disable();
	CHECK_EQ(seen_inside[1], 0);
	CHECK_EQ(seen_inside[2], 1);
	CHECK_EQ(seen_inside[3], 0);
}

void priority_mask(void)
{
	gic_init();
	gic_set_edge(SPI(1), true);
	gic_enable(SPI(1));
	gic_set_priority(SPI(1), 0x60);
	gic_set_bit(SPI(1), GICD_ISPENDR);
	/* Only what is of a higher priority than the mask. */
	icc_write(PMR, 0x00);
	gic_quiet(__LINE__);
	icc_write(PMR, 0x58);
	gic_quiet(__LINE__);
	icc_write(PMR, 0x60);
	gic_quiet(__LINE__);
	CHECK(gic_pending(SPI(1)));
	icc_write(PMR, 0x68);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
}

void more_pending_than_list_registers(void)
{
	u64 seen[GUEST_NR_IRQS] = { 0 }, i, round, nr = 0;

	gic_init();
	/* More than the 16 list registers that any CPU has: all SGIs and 48 SPIs, in three rounds. */
	for (i = 0; i < NR_SGIS; i++)
		gic_enable(i);
	for (i = 0; i < 48; i++) {
		gic_set_edge(SPI(i), i % 2);
		gic_set_priority(SPI(i), (i % 8) << 4);
		gic_enable(SPI(i));
	}
	for (round = 0; round < 3; round++) {
		for (i = 0; i < NR_SGIS; i++)
			gic_sgi(i, BIT(0));
		for (i = 0; i < 48; i++)
			gic_set_bit(SPI(i), GICD_ISPENDR);
		nr += NR_SGIS + 48;
		irq_enable();
		wait_for(&LOG(0).nr, nr);
		irq_disable();
		gic_quiet(__LINE__);
	}
	for (i = 0; i < nr; i++)
		seen[LOG(0).intid[i] % GUEST_NR_IRQS]++;
	for (i = 0; i < GUEST_NR_IRQS; i++)
		CHECK_AT(i, seen[i], i < NR_SGIS || (i >= 32 && i < SPI(48)) ? 3 : 0);
	/* The first SPIs of a round came before all that are of a lower priority. */
	for (i = 1; i < NR_SGIS + 48; i++) {
		u32 a = LOG(0).intid[i - 1], b = LOG(0).intid[i];

		CHECK_AT(i, a < 32 || b < 32 || (a - 32) % 8 <= (b - 32) % 8, 1);
	}
}

static bool active_inside, pending_inside;

static bool is_edge(u32 intid)
{
	return mmio_read32(gic_reg(intid, 0, GICD_ICFGR, 2)) >> (intid % 16 * 2) & 2;
}

static void look(u32 intid)
{
	active_inside = gic_active(intid);
	pending_inside = gic_pending(intid);
}

void active_state(void)
{
	static const u32 intids[] = { 3, 21, SPI(10) };
	u64 i;

	gic_init();
	gic_hook = look;
	for (i = 0; i < ARRAY_SIZE(intids); i++) {
		u32 intid = intids[i];

		active_inside = false;
		pending_inside = true;
		gic_set_edge(intid, true);
		gic_enable(intid);
		CHECK_AT(intid, gic_active(intid), 0);
		gic_set_bit(intid, GICD_ISPENDR);
		CHECK_AT(intid, gic_active(intid), 0);
		gic_take();
		CHECK_AT(intid, ARRIVED(0), i + 1);
		CHECK_AT(intid, active_inside, 1);
		/* A PPI may be fixed as level-sensitive; KVM then keeps what software set until its end. */
		if (is_edge(intid))
			CHECK_AT(intid, pending_inside, 0);
		CHECK_AT(intid, gic_active(intid), 0);
	}
}

void active_state_set_by_software(void)
{
	static const u32 intids[] = { 4, 22, SPI(11) };
	u64 i;

	gic_init();
	for (i = 0; i < ARRAY_SIZE(intids); i++) {
		u32 intid = intids[i];

		gic_set_edge(intid, true);
		gic_enable(intid);
		gic_set_bit(intid, GICD_ISACTIVER);
		CHECK_AT(intid, gic_active(intid), 1);
		/* An active interrupt is not signalled again. */
		gic_set_bit(intid, GICD_ISPENDR);
		gic_quiet(__LINE__);
		CHECK_AT(intid, gic_pending(intid), 1);
		gic_set_bit(intid, GICD_ICACTIVER);
		CHECK_AT(intid, gic_active(intid), 0);
		gic_take();
		CHECK_AT(intid, ARRIVED(0), i + 1);
	}
}

static u64 dropped_rpr;

static void drop_only(struct frame *frame, bool fiq)
{
	struct gic_log *log = &gic_log[0];
	u32 intid = icc_read(IAR1);

	if (intid == SPURIOUS)
		return;
	log->intid[log->nr % GIC_LOG] = intid;
	icc_write(EOIR1, intid);
	dropped_rpr = icc_read(RPR);
	WRITE_ONCE(log->nr, log->nr + 1);
}

void eoimode_splits_drop_and_deactivation(void)
{
	u32 spi = SPI(12), other = SPI(13);

	gic_init();
	icc_write(CTLR, CTLR_EOIMODE);
	this_cpu()->irq = drop_only;
	gic_set_edge(spi, true);
	gic_set_edge(other, true);
	gic_enable(spi);
	gic_enable(other);
	gic_set_bit(spi, GICD_ISPENDR);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
	CHECK_EQ(dropped_rpr, 0xff);
	CHECK(gic_active(spi));
	/* The same one waits until it is deactivated; another of the same priority does not. */
	gic_set_bit(spi, GICD_ISPENDR);
	gic_quiet(__LINE__);
	gic_set_bit(other, GICD_ISPENDR);
	gic_take();
	CHECK_EQ(ARRIVED(0), 2);
	CHECK_EQ(LOG(0).intid[1], other);
	icc_write(DIR, spi);
	gic_take();
	CHECK_EQ(ARRIVED(0), 3);
	CHECK_EQ(LOG(0).intid[2], spi);
	icc_write(DIR, other);
	icc_write(DIR, spi);
	CHECK(!gic_active(spi));
	CHECK(!gic_active(other));
}

void group_1_disabled(void)
{
	gic_init();
	gic_set_edge(SPI(2), true);
	gic_enable(SPI(2));
	icc_write(IGRPEN1, 0);
	gic_set_bit(SPI(2), GICD_ISPENDR);
	CHECK_EQ(icc_read(IAR1), SPURIOUS);
	gic_quiet(__LINE__);
	icc_write(IGRPEN1, 1);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
}

void distributor_disabled(void)
{
	gic_init();
	gic_set_edge(SPI(2), true);
	gic_enable(SPI(2));
	gic_enable(3);
	mmio_write32(GUEST_GICD_BASE + GICD_CTLR, BIT(4));
	gic_set_bit(SPI(2), GICD_ISPENDR);
	gic_sgi(3, BIT(0));
	gic_quiet(__LINE__);
	CHECK(gic_pending(SPI(2)));
	CHECK(gic_pending(3));
	mmio_write32(GUEST_GICD_BASE + GICD_CTLR, BIT(4) | BIT(1));
	/* KVM looks at what became pending meanwhile when the next write concerns it, not before. */
	if (!(guest_flags() & GUEST_FLAG_MVIRT)) {
		gic_enable(SPI(2));
		gic_enable(3);
	}
	irq_enable();
	wait_for(&LOG(0).nr, 2);
	irq_disable();
}

static u64 fiqs;

static void count_fiqs(struct frame *frame, bool fiq)
{
	if (fiq)
		fiqs++;
	gic_irq(frame, fiq);
}

void group_0_is_fiq(void)
{
	u32 spi = SPI(4);
	u64 reg = gic_reg(spi, 0, GICD_IGROUPR, 1);

	gic_init();
	this_cpu()->irq = count_fiqs;
	gic_set_edge(spi, true);
	mmio_write32(reg, mmio_read32(reg) & ~BIT(spi % 32));
	mmio_write32(GUEST_GICD_BASE + GICD_CTLR, BIT(4) | BIT(1) | BIT(0));
	gic_enable(spi);
	gic_set_bit(spi, GICD_ISPENDR);
	/* Group 0 is off at the CPU. */
	gic_quiet(__LINE__);
	CHECK_EQ(icc_read(IAR1), SPURIOUS);
	icc_write(IGRPEN0, 1);
	CHECK_EQ(icc_read(HPPIR0), spi);
	gic_take();
	CHECK_EQ(ARRIVED(0), 1);
	CHECK_EQ(fiqs, 1);
	/* One of group 1 is an IRQ as before. */
	mmio_write32(reg, mmio_read32(reg) | BIT(spi % 32));
	gic_set_bit(spi, GICD_ISPENDR);
	gic_take();
	CHECK_EQ(ARRIVED(0), 2);
	CHECK_EQ(fiqs, 1);
}

void spurious(void)
{
	u64 i;

	gic_init();
	CHECK_EQ(icc_read(IAR1), SPURIOUS);
	CHECK_EQ(icc_read(IAR0), SPURIOUS);
	/* Ends of what was never acknowledged, and of what is no interrupt, do nothing. */
	icc_write(EOIR1, SPURIOUS);
	icc_write(EOIR1, 0);
	icc_write(DIR, SPI(1));
	gic_enable(1);
	for (i = 0; i < 3; i++) {
		gic_sgi(1, BIT(0));
		gic_take();
		CHECK_EQ(ARRIVED(0), i + 1);
	}
}
