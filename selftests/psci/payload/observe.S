/* SPDX-License-Identifier: GPL-2.0 */
/* Writes down what a CPU finds when it is started, before it changes anything. */
	.section .text
	.globl	observe_start
observe_start:
	adr	x10, observe_start
	ldr	x1, =observed
	mrs	x2, sctlr_el1
	mrs	x3, CurrentEL
	mrs	x4, daif
	mrs	x5, mpidr_el1
	mrs	x6, spsel
	str	x0, [x1, #8]
	stp	x2, x3, [x1, #16]
	stp	x4, x5, [x1, #32]
	stp	x6, x10, [x1, #48]
	dsb	sy
	mov	x2, #1
	str	x2, [x1]
1:	wfi
	b	1b

	.bss
	.balign	8
	.globl	observed
observed:
	.skip	64
