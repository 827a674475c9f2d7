// SPDX-License-Identifier: GPL-2.0
#include "gic.h"

struct gic_log gic_log[GUEST_MAX_CPUS];
void (*gic_hook)(u32 intid);

static void wait_rwp(u64 ctlr)
{
	u64 end = now() + ticks(1000000);

	while (mmio_read32(ctlr) & BIT(31) && now() < end)
		;
	CHECK(!(mmio_read32(ctlr) & BIT(31)));
}

void gic_init(void)
{
	u32 intid;

	mmio_write32(GUEST_GICD_BASE + GICD_CTLR, 0);
	wait_rwp(GUEST_GICD_BASE + GICD_CTLR);
	for (intid = 32; intid < GUEST_NR_IRQS; intid += 32) {
		mmio_write32(GUEST_GICD_BASE + GICD_ICENABLER + intid / 8, ~0);
		mmio_write32(GUEST_GICD_BASE + GICD_IGROUPR + intid / 8, ~0);
	}
	for (intid = 32; intid < GUEST_NR_IRQS; intid += 4)
		mmio_write32(GUEST_GICD_BASE + GICD_IPRIORITYR + intid, 0xa0a0a0a0);
	/* ARE_NS, EnableGrp1: there is one security state. */
	mmio_write32(GUEST_GICD_BASE + GICD_CTLR, BIT(4) | BIT(1));
	wait_rwp(GUEST_GICD_BASE + GICD_CTLR);
	gic_init_cpu();
}

void gic_init_cpu(void)
{
	u64 base = GUEST_GICR_BASE + this_cpu()->index * GUEST_GICR_SIZE;
	u64 end = now() + ticks(1000000);
	u32 intid;

	mmio_write32(base + GICR_WAKER, mmio_read32(base + GICR_WAKER) & ~2U);
	while (mmio_read32(base + GICR_WAKER) & 4 && now() < end)
		;
	CHECK_EQ(mmio_read32(base + GICR_WAKER) & 6, 0);
	base += GICR_SGI_FRAME;
	mmio_write32(base + GICD_ICENABLER, ~0);
	mmio_write32(base + GICD_IGROUPR, ~0);
	for (intid = 0; intid < 32; intid += 4)
		mmio_write32(base + GICD_IPRIORITYR + intid, 0xa0a0a0a0);

	icc_write(SRE, icc_read(SRE) | 1);
	CHECK_EQ(icc_read(SRE) & 1, 1);
	icc_write(PMR, 0xff);
	icc_write(BPR1, 0);
	icc_write(CTLR, 0);
	icc_write(IGRPEN1, 1);
	this_cpu()->irq = gic_irq;
}

u64 gic_reg(u32 intid, u64 cpu, u32 offset, u32 bits)
{
	u64 base = GUEST_GICD_BASE;

	if (intid < 32)
		base = GUEST_GICR_BASE + cpu * GUEST_GICR_SIZE + GICR_SGI_FRAME;
	return base + offset + intid * bits / 32 * 4;
}

void gic_set_bit(u32 intid, u32 offset)
{
	mmio_write32(gic_reg(intid, this_cpu()->index, offset, 1), BIT(intid % 32));
	dsb();
}

bool gic_get_bit(u32 intid, u32 offset)
{
	return mmio_read32(gic_reg(intid, this_cpu()->index, offset, 1)) & BIT(intid % 32);
}

void gic_set_priority(u32 intid, u8 priority)
{
	mmio_write8(gic_reg(intid, this_cpu()->index, GICD_IPRIORITYR, 8) + intid % 4, priority);
}

void gic_set_edge(u32 intid, bool edge)
{
	u64 reg = gic_reg(intid, this_cpu()->index, GICD_ICFGR, 2);
	u32 bit = 2U << (intid % 16 * 2), value = mmio_read32(reg) & ~bit;

	mmio_write32(reg, edge ? value | bit : value);
}

void gic_route(u32 spi, u64 mpidr)
{
	mmio_write64(GUEST_GICD_BASE + GICD_IROUTER + spi * 8UL, mpidr);
	dsb();
}

void gic_sgi(u32 sgi, u16 list)
{
	dsb();
	icc_write(SGI1R, (u64)sgi << 24 | list);
}

void gic_sgi_all_but_self(u32 sgi)
{
	dsb();
	icc_write(SGI1R, BIT(40) | (u64)sgi << 24);
}

/* The irq of KVM_IRQ_LINE: type in bits 27:24 (1 SPI, 2 PPI), vCPU in 23:16, INTID below. */
void spi_line(u32 intid, bool level)
{
	CHECK_EQ(request(REQUEST_IRQ_LINE, (u64)level << 32 | 1 << 24 | intid), 0);
}

void ppi_line(u32 intid, u64 cpu, bool level)
{
	CHECK_EQ(request(REQUEST_IRQ_LINE, (u64)level << 32 | 2 << 24 | cpu << 16 | intid), 0);
}

void gic_irq(struct frame *frame, bool fiq)
{
	struct gic_log *log = &gic_log[this_cpu()->index];
	u32 intid = fiq ? icc_read(IAR0) : icc_read(IAR1);

	if (intid == SPURIOUS)
		return;
	log->intid[log->nr % GIC_LOG] = intid;
	if (gic_hook)
		gic_hook(intid);
	/* Only now: who waits for the count finds the hook done. */
	dsb();
	WRITE_ONCE(log->nr, log->nr + 1);
	if (fiq)
		icc_write(EOIR0, intid);
	else
		icc_write(EOIR1, intid);
}

void gic_take(void)
{
	irq_enable();
	/* A round through the hypervisor: what is on its way arrives. */
	(void)mmio_read32(GUEST_GICD_BASE + GICD_IIDR);
	isb();
	irq_disable();
}

void gic_quiet(unsigned int line)
{
	struct gic_log *log = &gic_log[this_cpu()->index];
	u64 before = READ_ONCE(log->nr), i;

	irq_enable();
	for (i = 0; i < 5; i++) {
		(void)mmio_read32(GUEST_GICD_BASE + GICD_IIDR);
		delay(1000);
	}
	irq_disable();
	check(line, "no interrupt arrives", READ_ONCE(log->nr) == before, READ_ONCE(log->nr), before);
}
