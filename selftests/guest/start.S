/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a payload's CPUs start, its vectors, and its translation tables. The VM's memory is zero where
 * the payload's image does not reach, so that nothing clears .bss.
 */
#include "frame_asm.h"
#include "payload_asm.h"
#include "protocol.h"

	.section .text.start, "ax"
	.globl	_start
_start:
	mov	x19, x0
	mov	x20, #0
	adr	x1, payload_main
	b	start_cpu

	/* Where CPU_ON starts a CPU: x0 is its index and START_*. */
	.globl	secondary_start
secondary_start:
	mov	x19, x0
	mov	w20, w0
	adr	x1, secondary_main

	/*
	 * x19: the word that the CPU was started with, x20: its index, x1: where it goes on. The MMU
	 * comes before the first access to memory: what was written with it off would not be what is
	 * read through the caches later.
	 */
start_cpu:
	msr	spsel, #1
	mov	x21, x1
	tbnz	x19, #START_MMU_OFF_BIT, 1f
	ldr	x0, =SCTLR_MMU_ON
	bl	mmu_set
1:
	ldr	x2, =stacks
	add	x3, x20, #1
	mov	x4, #STACK_SIZE
	madd	x2, x3, x4, x2
	mov	sp, x2
	ldr	x2, =cpus
	mov	x4, #CPU_SIZE
	madd	x2, x20, x4, x2
	msr	tpidr_el1, x2
	str	x20, [x2, #CPU_INDEX]
	ldr	x2, =vectors
	msr	vbar_el1, x2
	/* FP and SIMD are for the tests of them: the C code uses none. */
	mov	x2, #(3 << 20)
	msr	cpacr_el1, x2
	isb
	mov	w0, w19
	blr	x21
	/* What CPUs do that have nothing to do any more: the VMM takes them down. */
1:	wfi
	b	1b

	/* x0: SCTLR_EL1 */
	.globl	mmu_set
mmu_set:
	ldr	x1, =MAIR
	msr	mair_el1, x1
	ldr	x1, =TCR
	msr	tcr_el1, x1
	adrp	x1, identity_map
	msr	ttbr0_el1, x1
	tlbi	vmalle1
	dsb	nsh
	isb
	msr	sctlr_el1, x0
	isb
	ret

	.macro	vector kind
	.balign	0x80
	sub	sp, sp, #FRAME_SIZE
	stp	x0, x1, [sp]
	mov	x0, #\kind
	b	exception_entry
	.endm

	.balign	0x800
vectors:
	.irp	kind, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vector	\kind
	.endr

exception_entry:
	save_x2_to_x29
	mrs	x1, elr_el1
	stp	x30, x1, [sp, #16 * 15]
	mrs	x1, spsr_el1
	str	x1, [sp, #16 * 16]
	mov	x1, sp
	bl	exception
	ldr	x1, [sp, #16 * 16]
	msr	spsr_el1, x1
	ldp	x30, x1, [sp, #16 * 15]
	msr	elr_el1, x1
	restore_x2_to_x29
	ldp	x0, x1, [sp]
	add	sp, sp, #FRAME_SIZE
	eret

	/*
	 * SMCCC: x0 is a struct smccc_args that gives x0 to x7 and takes x0 to x3, x1 is 0 for HVC and
	 * 1 for SMC. Counts in x0 which of x4 to x30 came back other than they were: SMCCC 1.1 and
	 * later want them kept.
	 */
	.globl	smccc_call
smccc_call:
	push_callee_saved
	stp	x0, x1, [sp, #-16]!
	mov	x9, x1
	.irp	n, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	movz	x\n, #(0x5a00 + \n)
	movk	x\n, #(0xc000 + \n), lsl #48
	.endr
	ldp	x6, x7, [x0, #48]
	ldp	x4, x5, [x0, #32]
	ldp	x2, x3, [x0, #16]
	ldp	x0, x1, [x0]
	cbnz	x9, 2f
	hvc	#0
	b	3f
2:	smc	#0
3:	stp	x0, x1, [sp, #-16]!
	mov	x0, #0
	.irp	n, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	movz	x1, #(0x5a00 + \n)
	movk	x1, #(0xc000 + \n), lsl #48
	cmp	x1, x\n
	cinc	x0, x0, ne
	.endr
	ldr	x8, [sp, #16]
	ldp	x10, x11, [x8, #32]
	cmp	x10, x4
	cinc	x0, x0, ne
	cmp	x11, x5
	cinc	x0, x0, ne
	ldp	x10, x11, [x8, #48]
	cmp	x10, x6
	cinc	x0, x0, ne
	cmp	x11, x7
	cinc	x0, x0, ne
	stp	x2, x3, [x8, #16]
	ldp	x10, x11, [sp], #32
	stp	x10, x11, [x8]
	pop_callee_saved
	ret

	/*
	 * Level 1 of a 4 GiB input range: device, then three times normal memory, 1 GiB each. Constant,
	 * so that nobody writes a table with the MMU off.
	 */
	.section .tables, "a"
	.balign	4096
	.globl	identity_map
identity_map:
	.quad	0x00000000 + BLOCK_DEVICE
	.quad	0x40000000 + BLOCK_NORMAL
	.quad	0x80000000 + BLOCK_NORMAL
	.quad	0xc0000000 + BLOCK_NORMAL
	.balign	4096
