/* SPDX-License-Identifier: GPL-2.0 */
#include "frame_asm.h"

	.arch	armv8-a
	.text

	/* x0: a seed. Register n is n + 1 times the seed in its lower, n + 33 times in its upper half. */
	.globl	fp_fill
fp_fill:
	mov	x1, x0
	add	x2, x0, x0, lsl #5
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	mov	v\n\().d[0], x1
	mov	v\n\().d[1], x2
	add	x1, x1, x0
	add	x2, x2, x0
	.endr
	/* FPCR: rounding towards zero, default NaN. FPSR: the sticky flags. */
	mov	x1, #(3 << 22) | (1 << 25)
	msr	fpcr, x1
	mov	x1, #0x1f
	msr	fpsr, x1
	ret

	/* How many registers are not what fp_fill made of the seed in x0. */
	.globl	fp_differ
fp_differ:
	mov	x1, x0
	add	x2, x0, x0, lsl #5
	mov	x5, #0
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	mov	x3, v\n\().d[0]
	mov	x4, v\n\().d[1]
	cmp	x3, x1
	ccmp	x4, x2, #0, eq
	cinc	x5, x5, ne
	add	x1, x1, x0
	add	x2, x2, x0
	.endr
	mrs	x3, fpcr
	mov	x1, #(3 << 22) | (1 << 25)
	cmp	x3, x1
	cinc	x5, x5, ne
	mrs	x3, fpsr
	cmp	x3, #0x1f
	cinc	x5, x5, ne
	mov	x0, x5
	ret

	/*
	 * Loads from the device at x0 with a value of its own in each of x1 to x30, the stack pointer and
	 * the flags; how many of them are different after it.
	 */
	.globl	general_differ
general_differ:
	push_callee_saved
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	movz	x\n, #(0x1200 + \n)
	movk	x\n, #(0x8000 + \n), lsl #48
	.endr
	mov	x1, sp
	/* N and C set, Z and V clear. */
	mov	x2, #0xa0000000
	msr	nzcv, x2
	ldr	x0, [x0]
	mrs	x0, nzcv
	cmp	x0, x2
	mov	x0, #0
	cinc	x0, x0, ne
	mov	x2, sp
	cmp	x1, x2
	cinc	x0, x0, ne
	.irp	n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	movz	x1, #(0x1200 + \n)
	movk	x1, #(0x8000 + \n), lsl #48
	cmp	x1, x\n
	cinc	x0, x0, ne
	.endr
	pop_callee_saved
	ret
