// SPDX-License-Identifier: GPL-2.0
/* Registers of the distributor, the redistributors and the CPU interface (Arm IHI 0069, chapter 12). */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(GIC_TESTS)

void distributor_identifies_itself(void)
{
	u32 typer, iidr, ctlr;

	gic_init();
	/* Implementer: Arm, JEP106 code 0x3b with 4 continuations. */
	iidr = mmio_read32(GUEST_GICD_BASE + GICD_IIDR);
	CHECK_EQ(iidr & 0xfff, 0x43b);
	/* Lines as NR_IRQS said, 10 bits of INTIDs at least, no 1-of-N that nobody implements. */
	typer = mmio_read32(GUEST_GICD_BASE + GICD_TYPER);
	CHECK_EQ(((typer & 0x1f) + 1) * 32, GUEST_NR_IRQS);
	CHECK_LE(9, typer >> 19 & 0x1f);
	/* Architecture revision 3. */
	CHECK_EQ(mmio_read32(GUEST_GICD_BASE + GICD_IDREGS_PIDR2) >> 4 & 0xf, 3);
	/* One security state with affinity routing: both bits read as one whatever is written. */
	ctlr = mmio_read32(GUEST_GICD_BASE + GICD_CTLR);
	CHECK_EQ(ctlr & (BIT(6) | BIT(4)), BIT(6) | BIT(4));
	mmio_write32(GUEST_GICD_BASE + GICD_CTLR, BIT(1));
	CHECK_EQ(mmio_read32(GUEST_GICD_BASE + GICD_CTLR) & (BIT(6) | BIT(4)), BIT(6) | BIT(4));
	/* Read-only. */
	mmio_write32(GUEST_GICD_BASE + GICD_IIDR, ~iidr);
	mmio_write32(GUEST_GICD_BASE + GICD_TYPER, ~typer);
	CHECK_EQ(mmio_read32(GUEST_GICD_BASE + GICD_IIDR), iidr);
	CHECK_EQ(mmio_read32(GUEST_GICD_BASE + GICD_TYPER), typer);
}

void redistributors_identify_themselves(void)
{
	u64 base, typer, i;

	gic_init();
	for (i = 0; i < 4; i++) {
		base = GUEST_GICR_BASE + i * GUEST_GICR_SIZE;
		typer = mmio_read64(base + GICR_TYPER);
		CHECK_AT(i, typer >> 32, mpidr_of(i));
		CHECK_AT(i, typer >> 8 & 0xffff, i);
		CHECK_AT(i, typer >> 4 & 1, i == 3);
		/* The halves of the register are accesses of their own. */
		CHECK_AT(i, mmio_read32(base + GICR_TYPER), (u32)typer);
		CHECK_AT(i, mmio_read32(base + GICR_TYPER + 4), typer >> 32);
		CHECK_AT(i, mmio_read32(base + GICD_IDREGS_PIDR2) >> 4 & 0xf, 3);
		CHECK_AT(i, mmio_read32(base + GICR_IIDR) & 0xfff, 0x43b);
	}
}

void registers_of_spis_keep_what_is_written(void)
{
	u32 intid;
	u64 reg;

	gic_init();
	for (intid = 32; intid < GUEST_NR_IRQS; intid++) {
		CHECK_AT(intid, gic_get_bit(intid, GICD_ISENABLER), 0);
		gic_enable(intid);
		CHECK_AT(intid, gic_get_bit(intid, GICD_ISENABLER), 1);
		CHECK_AT(intid, gic_get_bit(intid, GICD_ICENABLER), 1);
		/* A zero changes nothing. */
		mmio_write32(gic_reg(intid, 0, GICD_ICENABLER, 1), 0);
		mmio_write32(gic_reg(intid, 0, GICD_ISENABLER, 1), 0);
		CHECK_AT(intid, gic_get_bit(intid, GICD_ISENABLER), 1);
		gic_disable(intid);
		CHECK_AT(intid, gic_get_bit(intid, GICD_ISENABLER), 0);

		/* At least 16 priorities: bits 7:4. */
		reg = gic_reg(intid, 0, GICD_IPRIORITYR, 8) + intid % 4;
		mmio_write8(reg, 0x50);
		CHECK_AT(intid, mmio_read8(reg), 0x50);
		mmio_write8(reg, 0xa0);

		gic_set_edge(intid, true);
		CHECK_AT(intid, mmio_read32(gic_reg(intid, 0, GICD_ICFGR, 2)) >> (intid % 16 * 2) & 3, 2);
		gic_set_edge(intid, false);
		CHECK_AT(intid, mmio_read32(gic_reg(intid, 0, GICD_ICFGR, 2)) >> (intid % 16 * 2) & 3, 0);

		mmio_write32(gic_reg(intid, 0, GICD_IGROUPR, 1), 0);
		CHECK_AT(intid, gic_get_bit(intid, GICD_IGROUPR), 0);
		mmio_write32(gic_reg(intid, 0, GICD_IGROUPR, 1), ~0);
		CHECK_AT(intid, gic_get_bit(intid, GICD_IGROUPR), 1);

		reg = GUEST_GICD_BASE + GICD_IROUTER + intid * 8UL;
		mmio_write64(reg, 0x010203);
		CHECK_AT(intid, mmio_read64(reg), 0x010203);
		mmio_write32(reg, 0x000001);
		CHECK_AT(intid, mmio_read32(reg), 0x000001);
		mmio_write64(reg, 0);
	}
	/* A word of priorities is four of them. */
	mmio_write32(GUEST_GICD_BASE + GICD_IPRIORITYR + 32, 0x10203040);
	CHECK_EQ(mmio_read8(GUEST_GICD_BASE + GICD_IPRIORITYR + 32), 0x40);
	CHECK_EQ(mmio_read8(GUEST_GICD_BASE + GICD_IPRIORITYR + 35), 0x10);
}

void registers_of_private_interrupts_are_banked(void)
{
	u64 mine = GUEST_GICR_BASE + GICR_SGI_FRAME, other = mine + GUEST_GICR_SIZE;

	gic_init();
	/* What they are at reset is for the implementation to say. */
	mmio_write32(mine + GICD_ICENABLER, ~0);
	mmio_write32(other + GICD_ICENABLER, ~0);
	mmio_write32(mine + GICD_ISENABLER, 0x08010003);
	CHECK_EQ(mmio_read32(mine + GICD_ISENABLER), 0x08010003);
	CHECK_EQ(mmio_read32(other + GICD_ISENABLER), 0);
	mmio_write32(other + GICD_ISENABLER, 0x10000000);
	CHECK_EQ(mmio_read32(mine + GICD_ISENABLER), 0x08010003);
	CHECK_EQ(mmio_read32(other + GICD_ICENABLER), 0x10000000);
	mmio_write8(mine + GICD_IPRIORITYR + 16, 0x30);
	mmio_write8(other + GICD_IPRIORITYR + 16, 0x70);
	CHECK_EQ(mmio_read8(mine + GICD_IPRIORITYR + 16), 0x30);
	CHECK_EQ(mmio_read8(other + GICD_IPRIORITYR + 16), 0x70);
	/* SGIs are edge-triggered and stay so. */
	mmio_write32(mine + GICD_ICFGR, 0);
	CHECK_EQ(mmio_read32(mine + GICD_ICFGR), 0xaaaaaaaa);
	/* With affinity routing the distributor's own copies of these are RES0. */
	CHECK_EQ(mmio_read32(GUEST_GICD_BASE + GICD_ISENABLER), 0);
	CHECK_EQ(mmio_read32(GUEST_GICD_BASE + GICD_IPRIORITYR + 16), 0);
	mmio_write32(mine + GICD_ICENABLER, ~0);
	mmio_write32(other + GICD_ICENABLER, ~0);
	CHECK_EQ(mmio_read32(mine + GICD_ISENABLER), 0);
	CHECK_EQ(mmio_read32(other + GICD_ISENABLER), 0);
}

void reserved_registers_are_zero(void)
{
	static const u32 offsets[] = { 0x0c, 0x30, 0xe00, 0x5ffc, 0x7fd8, 0xc000 };
	u64 i;

	gic_init();
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		CHECK_AT(offsets[i], mmio_read32(GUEST_GICD_BASE + offsets[i]), 0);
		mmio_write32(GUEST_GICD_BASE + offsets[i], ~0);
		CHECK_AT(offsets[i], mmio_read32(GUEST_GICD_BASE + offsets[i]), 0);
	}
	/* Interrupts that the distributor does not have. */
	mmio_write32(GUEST_GICD_BASE + GICD_ISENABLER + GUEST_NR_IRQS / 8, ~0);
	CHECK_EQ(mmio_read32(GUEST_GICD_BASE + GICD_ISENABLER + GUEST_NR_IRQS / 8), 0);
	CHECK_EQ(mmio_read32(GUEST_GICR_BASE + 0x20), 0);
}

void cpu_interface_keeps_what_is_written(void)
{
	u64 bits;

	gic_init();
	/* System registers and nothing else: SRE cannot be cleared. */
	icc_write(SRE, 0);
	CHECK_EQ(icc_read(SRE) & 1, 1);
	/* Virtual CPU interfaces have five bits of priority or more. */
	bits = (icc_read(CTLR) >> 8 & 7) + 1;
	CHECK_LE(5, bits);
	icc_write(PMR, 0xf0);
	CHECK_EQ(icc_read(PMR), 0xf0);
	icc_write(PMR, 0x88);
	CHECK_EQ(icc_read(PMR), 0x88);
	icc_write(BPR1, 5);
	CHECK_EQ(icc_read(BPR1), 5);
	icc_write(BPR0, 4);
	CHECK_EQ(icc_read(BPR0), 4);
	/* The least binary point: what the bits of priority leave. */
	icc_write(BPR0, 0);
	CHECK_EQ(icc_read(BPR0), 7 - bits);
	icc_write(CTLR, CTLR_EOIMODE);
	CHECK_EQ(icc_read(CTLR) & CTLR_EOIMODE, CTLR_EOIMODE);
	icc_write(CTLR, 0);
	CHECK_EQ(icc_read(CTLR) & CTLR_EOIMODE, 0);
	icc_write(IGRPEN1, 0);
	CHECK_EQ(icc_read(IGRPEN1), 0);
	icc_write(IGRPEN1, 1);
	icc_write(IGRPEN0, 1);
	CHECK_EQ(icc_read(IGRPEN1), 1);
	CHECK_EQ(icc_read(IGRPEN0), 1);
	icc_write(IGRPEN0, 0);
	/* Nothing runs: the idle priority, no priority active, nothing pending. */
	CHECK_EQ(icc_read(RPR), 0xff);
	CHECK_EQ(icc_read(AP1R0), 0);
	CHECK_EQ(icc_read(HPPIR1), SPURIOUS);
	CHECK_EQ(icc_read(HPPIR0), SPURIOUS);

	/* What the VMM does in between must not touch it. */
	icc_write(PMR, 0x78);
	icc_write(BPR1, 6);
	request(REQUEST_SLEEP, 2000);
	request(REQUEST_MIGRATE, 0);
	CHECK_EQ(icc_read(PMR), 0x78);
	CHECK_EQ(icc_read(BPR1), 6);
	CHECK_EQ(icc_read(IGRPEN1), 1);
}
