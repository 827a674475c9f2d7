// SPDX-License-Identifier: GPL-2.0
/*
 * What EL3 has to do with a GICv3 that has two security states: all interrupts are the Non-secure
 * world's, but for one SGI by which a CPU that is off is woken.
 */
#include "firmware.h"

#define GICD_CTLR	0x0000
#define GICD_TYPER	0x0004
#define GICD_IGROUPR	0x0080
#define GICR_WAKER	0x0014
/* In the frame of SGIs and PPIs, which is the second of a redistributor. */
#define GICR_IGROUPR0	0x10080
#define GICR_ISENABLER0	0x10100

/* GICD_CTLR as the secure world sees it: ARE_NS, ARE_S, EnableGrp0. */
#define CTLR_ENABLE	(BIT(5) | BIT(4) | BIT(0))
#define CTLR_RWP	BIT(31)
#define WAKER_SLEEP	BIT(1)
#define WAKER_ASLEEP	BIT(2)

#define WAKE_UP		15

#define ICC_PMR_EL1	S3_0_C4_C6_0
#define ICC_IAR0_EL1	S3_0_C12_C8_0
#define ICC_EOIR0_EL1	S3_0_C12_C8_1
#define ICC_SGI0R_EL1	S3_0_C12_C11_7
#define ICC_IGRPEN0_EL1	S3_0_C12_C12_6
#define ICC_IGRPEN1_EL1	S3_0_C12_C12_7
#define ICC_SRE_EL3	S3_6_C12_C12_5

/* The names expanded first. */
#define read_(r)	read_sysreg(r)
#define write_(r, v)	write_sysreg(r, v)

void gic_init_distributor(void)
{
	u32 lines = mmio_read32(GICD + GICD_TYPER) & 0x1f, n;

	mmio_write32(GICD + GICD_CTLR, CTLR_ENABLE);
	while (mmio_read32(GICD + GICD_CTLR) & CTLR_RWP)
		;
	for (n = 1; n <= lines; n++)
		mmio_write32(GICD + GICD_IGROUPR + 4 * n, ~0U);
}

void gic_init_cpu(u64 index)
{
	u64 frame = GICR + index * GICR_SIZE;

	/* SRE, DFB, DIB, Enable. */
	write_(ICC_SRE_EL3, 0xf);
	isb();
	mmio_write32(frame + GICR_WAKER, mmio_read32(frame + GICR_WAKER) & ~WAKER_SLEEP);
	while (mmio_read32(frame + GICR_WAKER) & WAKER_ASLEEP)
		;
	mmio_write32(frame + GICR_IGROUPR0, ~(u32)BIT(WAKE_UP));
	mmio_write32(frame + GICR_ISENABLER0, BIT(WAKE_UP));
	dsb();
}

void gic_only_wake_up(void)
{
	/* SCR_EL3.NS selects the Non-secure one. */
	write_(ICC_IGRPEN1_EL1, 0);
	write_(ICC_PMR_EL1, 0xff);
	write_(ICC_IGRPEN0_EL1, 1);
	isb();
}

void gic_wake_up(u64 index)
{
	dsb();
	write_(ICC_SGI0R_EL1, (u64)WAKE_UP << 24 | BIT(index));
	isb();
}

void gic_take_wake_up(void)
{
	u64 intid = read_(ICC_IAR0_EL1);

	if (intid == WAKE_UP)
		write_(ICC_EOIR0_EL1, intid);
	isb();
}

bool gic_is_pending(void)
{
	/* A, I, F: Group 1 of the Non-secure world's comes to EL3 as an FIQ. */
	return read_sysreg(isr_el1) & 0x1c0;
}
