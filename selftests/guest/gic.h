/* SPDX-License-Identifier: GPL-2.0 */
/* A payload's driver of the GICv3: the distributor, a redistributor for each CPU, the CPU interface. */
#ifndef MVIRT_PAYLOAD_GIC_H
#define MVIRT_PAYLOAD_GIC_H

#include "payload.h"

#define GICD_CTLR		0x0000
#define GICD_TYPER		0x0004
#define GICD_IIDR		0x0008
#define GICD_IDREGS_PIDR2	0xffe8
/* For all of these: registers of one bit, eight bits or two bits for an interrupt. */
#define GICD_IGROUPR		0x0080
#define GICD_ISENABLER		0x0100
#define GICD_ICENABLER		0x0180
#define GICD_ISPENDR		0x0200
#define GICD_ICPENDR		0x0280
#define GICD_ISACTIVER		0x0300
#define GICD_ICACTIVER		0x0380
#define GICD_IPRIORITYR		0x0400
#define GICD_ICFGR		0x0c00
#define GICD_IROUTER		0x6000

#define GICR_CTLR		0x0000
#define GICR_IIDR		0x0004
#define GICR_TYPER		0x0008
#define GICR_WAKER		0x0014
/* The frame of SGIs and PPIs has the offsets of the distributor. */
#define GICR_SGI_FRAME		0x10000

/* The names of the CPU interface, for read_sysreg() and write_sysreg(). */
#define ICC_PMR_EL1		S3_0_C4_C6_0
#define ICC_IAR0_EL1		S3_0_C12_C8_0
#define ICC_EOIR0_EL1		S3_0_C12_C8_1
#define ICC_HPPIR0_EL1		S3_0_C12_C8_2
#define ICC_BPR0_EL1		S3_0_C12_C8_3
#define ICC_AP1R0_EL1		S3_0_C12_C9_0
#define ICC_DIR_EL1		S3_0_C12_C11_1
#define ICC_RPR_EL1		S3_0_C12_C11_3
#define ICC_SGI1R_EL1		S3_0_C12_C11_5
#define ICC_IAR1_EL1		S3_0_C12_C12_0
#define ICC_EOIR1_EL1		S3_0_C12_C12_1
#define ICC_HPPIR1_EL1		S3_0_C12_C12_2
#define ICC_BPR1_EL1		S3_0_C12_C12_3
#define ICC_CTLR_EL1		S3_0_C12_C12_4
#define ICC_SRE_EL1		S3_0_C12_C12_5
#define ICC_IGRPEN0_EL1		S3_0_C12_C12_6
#define ICC_IGRPEN1_EL1		S3_0_C12_C12_7

/* The macros of payload.h with the register's name expanded first. */
#define icc_read_(r)		read_sysreg(r)
#define icc_write_(r, v)	write_sysreg(r, v)
#define icc_read(name)		icc_read_(ICC_##name##_EL1)
#define icc_write(name, v)	do { icc_write_(ICC_##name##_EL1, v); isb(); } while (0)

#define CTLR_EOIMODE		BIT(1)
#define SPURIOUS		1023
#define SPI(n)			(32 + (n))
#define PPI_VTIMER		27
#define PPI_PTIMER		30
#define NR_SGIS			16

/* The distributor on, with affinity routing; all interrupts in group 1, priority 0xa0, disabled. */
void gic_init(void);
/* This CPU's redistributor awake, its interface open for all priorities and group 1. */
void gic_init_cpu(void);

/* The register of an interrupt and the bit in it, for CPU @cpu's SGIs and PPIs. */
u64 gic_reg(u32 intid, u64 cpu, u32 offset, u32 bits);
void gic_set_bit(u32 intid, u32 offset);
bool gic_get_bit(u32 intid, u32 offset);
void gic_set_priority(u32 intid, u8 priority);
void gic_set_edge(u32 intid, bool edge);
void gic_route(u32 spi, u64 mpidr);
static inline void gic_enable(u32 intid) { gic_set_bit(intid, GICD_ISENABLER); }
static inline void gic_disable(u32 intid) { gic_set_bit(intid, GICD_ICENABLER); }
static inline bool gic_pending(u32 intid) { return gic_get_bit(intid, GICD_ISPENDR); }
static inline bool gic_active(u32 intid) { return gic_get_bit(intid, GICD_ISACTIVER); }

/* SGIs: to a list of CPUs of cluster 0 (one bit each), to all but the sender. */
void gic_sgi(u32 sgi, u16 cpus);
void gic_sgi_all_but_self(u32 sgi);

/* Level of an SPI or of a CPU's PPI at the GIC's input, by KVM_IRQ_LINE. */
void spi_line(u32 intid, bool level);
void ppi_line(u32 intid, u64 cpu, bool level);

/* What interrupts arrived at a CPU, in their order. Handlers note them there. */
#define GIC_LOG	1024
struct gic_log {
	u64 nr;
	u32 intid[GIC_LOG];
};
extern struct gic_log gic_log[GUEST_MAX_CPUS];
/* An IRQ handler: acknowledges, notes, ends the interrupt. What @gic_hook is set to runs between. */
void gic_irq(struct frame *frame, bool fiq);
extern void (*gic_hook)(u32 intid);
/* Lets what is pending in: interrupts on for a moment, on this CPU. */
void gic_take(void);
/* Sees that nothing arrives on this CPU for some milliseconds, with interrupts on. */
void gic_quiet(unsigned int line);

#endif /* MVIRT_PAYLOAD_GIC_H */
