/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The identity page: the image's header, and the code that runs with the EL2
 * MMU off. It is mapped at its link address and at its physical address.
 */

	.section .el2.header, "ax"
	.balign	2048
	.global	el2_header
el2_header:
	.quad	{MAGIC}
	.quad	{ABI_HASH}
	.quad	{IMAGE_BASE}
	.word	{PAGE_SHIFT}
	.word	{PARAMS_SIZE}
	.word	el2_entry - el2_header
	.word	el2_text_end - el2_header
	.word	el2_rodata_end - el2_header
	.word	el2_data_end - el2_header
	.word	el2_bss_end - el2_header
	.word	0

	.section .el2.idmap, "ax"

/*
 * Loads what turns the MMU on and turns it on. x9 = EL2_BOOT_REGS.
 * Clobbers x10 to x13. The TLB and the instruction cache may hold anything
 * from before (Arm ARM D8.2, and reset values are UNKNOWN after CPU_ON).
 */
	.macro	el2_mmu_on
	ldp	x10, x11, [x9, #{MAIR}]
	ldp	x12, x13, [x9, #{TTBR0}]
	msr	mair_el2, x10
	msr	tcr_el2, x11
	msr	ttbr0_el2, x12
	isb
	tlbi	alle2
	ic	iallu
	dsb	nsh
	isb
	msr	sctlr_el2, x13
	isb
	.endm

/*
 * Jumps to \target at its link address with this CPU's stack. x8 = CPU index.
 * Clobbers x9 to x11.
 */
	.macro	el2_go_virtual target
	adrp	x9, el2_header
	adrp	x10, \target
	add	x10, x10, :lo12:\target
	sub	x10, x10, x9
	mov	x9, {IMAGE_BASE}
	add	x10, x10, x9
	ldr	x9, =({STACKS_BASE} + {STACK_SLOT})
	mov	x11, {STACK_SLOT}
	madd	x9, x8, x11, x9
	mov	sp, x9
	br	x10
	.endm

/*
 * From the kernel's hyp stub (HVC_SOFT_RESTART), by a branch, so that ELR_EL2
 * and SPSR_EL2 still describe the kernel's HVC.
 * x0 = carve-out, x1 = CPU index, x2 = 1 on the first CPU. x18 to x30 are the
 * caller's. Answers in x0 and x1 (struct Answer), whichever way it goes back.
 */
	.global	el2_entry
el2_entry:
	mov	x8, x1
	cbz	x2, 1f
	adrp	x9, el2_boot_stack_top
	mov	sp, x9
	stp	x29, x30, [sp, #-32]!
	str	x8, [sp, #16]
	adrp	x1, el2_header
	bl	el2_build
	ldr	x8, [sp, #16]
	ldp	x29, x30, [sp], #32
	cbz	x0, 1f
	eret
1:	cmp	x8, #{MAX_CPUS}
	b.lo	2f
	mov	x0, #-22
	mov	x1, xzr
	eret
2:	adrp	x9, EL2_BOOT_REGS
	add	x9, x9, :lo12:EL2_BOOT_REGS
	mrs	x1, sctlr_el2
	mrs	x2, tcr_el2
	mrs	x3, mair_el2
	mrs	x4, ttbr0_el2
	el2_mmu_on
	el2_go_virtual el2_entered

/*
 * From firmware, by PSCI: EL2, MMU off, x0 = CPU index (the context that the
 * relay passed).
 */
	.global	el2_cpu_on
el2_cpu_on:
	mov	x8, x0
	cmp	x8, #{MAX_CPUS}
	b.hs	1f
	adrp	x9, EL2_BOOT_REGS
	add	x9, x9, :lo12:EL2_BOOT_REGS
	ldr	x10, [x9, #{HCR}]
	msr	hcr_el2, x10
	isb
	/*
	 * TCR2_EL2 (FEAT_TCR2, ID_AA64MMFR3_EL1.TCRX) comes out of reset
	 * UNKNOWN and extends TCR_EL2, which el2_mmu_on is about to use.
	 */
	mrs	x10, s3_0_c0_c7_3
	ubfx	x10, x10, #0, #4
	cbz	x10, 2f
	msr	s3_4_c2_c0_3, xzr
2:	el2_mmu_on
	el2_go_virtual el2_started
1:	wfi
	b	1b

/*
 * The way back to the stub: reached at its physical address, MMU still on.
 * x0, x1 = the answer; x11 to x14 = SCTLR_EL2, TCR_EL2, MAIR_EL2, TTBR0_EL2 as found.
 */
	.global	el2_leave
el2_leave:
	msr	sctlr_el2, x11
	isb
	msr	tcr_el2, x12
	msr	mair_el2, x13
	msr	ttbr0_el2, x14
	tlbi	alle2
	dsb	nsh
	isb
	eret
	dsb	nsh
	isb

	.ltorg

	.section .text.el2_entered, "ax"

/* On this CPU's stack, MMU on. x1 to x4 = the registers it found. */
el2_entered:
	stp	x29, x30, [sp, #-16]!
	mov	x29, xzr
	mov	x0, x8
	bl	el2_cpu_enter
	ldp	x29, x30, [sp], #16
	cbnz	x0, 1f
	eret
	dsb	nsh
	isb
	/* Refused: x0 and x1 say why. */
1:	mrs	x9, tpidr_el2
	ldp	x11, x12, [x9, #{FOUND}]
	ldp	x13, x14, [x9, #{FOUND} + 16]
	ldr	x9, [x9, #{EXIT_PHYS}]
	br	x9

	.section .bss.el2_boot_stack, "aw", %nobits
	.balign	4096
el2_boot_stack:
	.skip	4096
el2_boot_stack_top:
