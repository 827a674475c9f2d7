/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A boot loader that enters the kernel at EL1 on a machine that has EL2, as some vendors' do.
 * QEMU starts the first CPU here; the loader that QEMU made for the kernel is at the start of RAM.
 */
#define RAM_START	0x40000000
/* HCR_EL2.RW: EL1 is AArch64. */
#define HCR_RW		(1 << 31)
/* CPTR_EL2: traps nothing; RES1 bits as in Armv8.0. */
#define CPTR_NO_TRAPS	0x33ff
/* CNTHCTL_EL2: EL1 may use the physical counter and timer. */
#define CNTHCTL_EL1	3
/* ICC_SRE_EL2: GIC system registers at EL2 and EL1. */
#define ICC_SRE_ALL	0xf
/* SCTLR_EL1 with everything off: RES1 bits of Armv8.0. */
#define SCTLR_OFF	0x30d00800
/* EL1h, all interrupts masked. */
#define PSTATE_EL1H	0x3c5

	.globl	_start
_start:
	ldr	x0, =HCR_RW
	msr	hcr_el2, x0
	mov	x0, #CPTR_NO_TRAPS
	msr	cptr_el2, x0
	mov	x0, #CNTHCTL_EL1
	msr	cnthctl_el2, x0
	msr	cntvoff_el2, xzr
	msr	mdcr_el2, xzr
	mrs	x0, midr_el1
	msr	vpidr_el2, x0
	mrs	x0, mpidr_el1
	msr	vmpidr_el2, x0
	mov	x0, #ICC_SRE_ALL
	msr	S3_4_C12_C9_5, x0
	isb
	ldr	x0, =SCTLR_OFF
	msr	sctlr_el1, x0
	mov	x0, #PSTATE_EL1H
	msr	spsr_el2, x0
	ldr	x0, =RAM_START
	msr	elr_el2, x0
	isb
	eret
