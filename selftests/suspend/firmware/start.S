/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Entry, vectors and exit of the firmware. It runs at EL3 with the MMU off, from the flash at 0, with
 * its data in the secure RAM, which QEMU's reset leaves zero. All CPUs start here at once.
 */
#include "firmware.h"
#include "frame_asm.h"

	.section .text.start, "ax"
	.globl	_start
_start:
	adr	x0, vectors
	msr	vbar_el3, x0
	isb
	mrs	x0, mpidr_el1
	and	x0, x0, #(MAX_CPUS - 1)
	ldr	x1, =STACKS_END
	mov	x2, #STACK_SIZE
	msub	x1, x0, x2, x1
	mov	sp, x1
	b	firmware_main

	/* What comes from a lower Exception level in AArch64 state, x0 the vector's number. */
from_lower:
	save_x2_to_x29
	str	x30, [sp, #16 * 15]
	mov	x1, sp
	bl	firmware_trap
	restore_x2_to_x29
	ldr	x30, [sp, #16 * 15]
	ldp	x0, x1, [sp], #256
	eret

	/* x0: where to, x1: its x0, x2: what the others are made of, x3: the stack of the next entry. */
	.globl	enter
enter:
	mov	sp, x3
	msr	elr_el3, x0
	mov	x0, #PSTATE_EL2H
	msr	spsr_el3, x0
	mov	x0, x1
	mov	x1, x2
	.irp	n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	eor	x\n, x2, x2, ror #\n
	.endr
	eor	x2, x1, x1, ror #2
	isb
	eret

	.macro	lower number
	.balign	128
	sub	sp, sp, #256
	stp	x0, x1, [sp]
	mov	x0, #\number
	b	from_lower
	.endm

	.macro	own number
	.balign	128
	mov	x0, #\number
	b	firmware_fault
	.endm

	.balign	2048
vectors:
	.irp	number, 0, 1, 2, 3, 4, 5, 6, 7
	own	\number
	.endr
	.irp	number, 8, 9, 10, 11
	lower	\number
	.endr
	.irp	number, 12, 13, 14, 15
	own	\number
	.endr
