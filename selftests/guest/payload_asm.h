/* SPDX-License-Identifier: GPL-2.0 */
/* What the payload's C and assembly share. */
#ifndef MVIRT_PAYLOAD_ASM_H
#define MVIRT_PAYLOAD_ASM_H

#define STACK_SIZE	0x4000
/* struct cpu */
#define CPU_SIZE	128
#define CPU_INDEX	0
/* struct frame */
#define FRAME_SIZE	272

/* MAIR_EL1: attribute 0 is Device-nGnRnE, 1 is Normal write-back. */
#define MAIR		0xff00
/*
 * TCR_EL1: T0SZ 32 (the table is of level 1), inner and outer write-back, inner shareable, 4 KiB
 * granule, no walks by TTBR1.
 */
#define TCR		(32 | (1 << 8) | (1 << 10) | (3 << 12) | (1 << 23))
/* Block, AF; device memory is never executed. */
#define BLOCK_DEVICE	(0x401 | (0 << 2) | (1 << 54))
#define BLOCK_NORMAL	(0x401 | (1 << 2) | (3 << 8))

/* SCTLR_EL1: what reads as one, then M, C, I. */
#define SCTLR_RES1	0x30d00800
#define SCTLR_MMU_ON	(SCTLR_RES1 | (1 << 0) | (1 << 2) | (1 << 12))

#endif /* MVIRT_PAYLOAD_ASM_H */
