/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The vectors: four tables that differ in what they do first when a lower
 * exception level enters, against what it may have taught the branch predictor.
 */

	.macro	save_high
	stp	x4, x5, [sp, #16 * 2]
	stp	x6, x7, [sp, #16 * 3]
	stp	x8, x9, [sp, #16 * 4]
	stp	x10, x11, [sp, #16 * 5]
	stp	x12, x13, [sp, #16 * 6]
	stp	x14, x15, [sp, #16 * 7]
	stp	x16, x17, [sp, #16 * 8]
	stp	x18, x19, [sp, #16 * 9]
	stp	x20, x21, [sp, #16 * 10]
	stp	x22, x23, [sp, #16 * 11]
	stp	x24, x25, [sp, #16 * 12]
	stp	x26, x27, [sp, #16 * 13]
	stp	x28, x29, [sp, #16 * 14]
	mrs	x2, elr_el2
	mrs	x3, spsr_el2
	str	x30, [sp, #16 * 15]
	stp	x2, x3, [sp, #{FRAME_ELR}]
	.endm

	.macro	restore_x16_up
	ldr	x30, [sp, #16 * 15]
	ldp	x28, x29, [sp, #16 * 14]
	ldp	x26, x27, [sp, #16 * 13]
	ldp	x24, x25, [sp, #16 * 12]
	ldp	x22, x23, [sp, #16 * 11]
	ldp	x20, x21, [sp, #16 * 10]
	ldp	x18, x19, [sp, #16 * 9]
	ldp	x16, x17, [sp, #16 * 8]
	.endm

	/* x0 to x3 are saved: each of these may use them. */
	.macro	harden_plain
	.endm

	.macro	harden_loop
	mrs	x0, tpidr_el2
	ldr	x0, [x0, #{BHB_LOOPS}]
1:	b	2f
2:	subs	x0, x0, #1
	b.ne	1b
	dsb	nsh
	isb
	.endm

	.macro	harden_firmware
	mrs	x0, tpidr_el2
	ldr	x0, [x0, #{WORKAROUND}]
	smc	#0
	.endm

	.macro	harden_clearbhb
	hint	#22
	isb
	.endm

	/* EL2 itself faulted. The stack pointer may be what is wrong. */
	.macro	current kind
	.balign	128
	sub	sp, sp, #{FRAME_SIZE}
	add	sp, sp, x0
	sub	x0, sp, x0
	tbz	x0, #{STACK_BIT}, 9f
	sub	x0, sp, x0
	sub	sp, sp, x0
8:	stp	x0, x1, [sp]
	stp	x2, x3, [sp, #16]
	mov	x1, #\kind
	b	el2_current
	/* The stack ran into its guard: start again below the host's frame. */
9:	sub	x0, sp, x0
	msr	tpidrro_el0, x0
	sub	x0, sp, x0
	orr	x0, x0, #({STACK_SLOT} - 1)
	add	x0, x0, #1
	sub	sp, x0, #(2 * {FRAME_SIZE})
	mrs	x0, tpidrro_el0
	b	8b
	.endm

	.macro	lower kind, harden
	.balign	128
	sub	sp, sp, #{FRAME_SIZE}
	stp	x0, x1, [sp]
	stp	x2, x3, [sp, #16]
	harden_\harden
	mov	x1, #\kind
	b	el2_lower
	.endm

	.macro	vectors name, harden
	.balign	2048
	.global	\name
\name:
	current	0
	current	1
	current	2
	current	3
	current	0
	current	1
	current	2
	current	3
	lower	0, \harden
	lower	1, \harden
	lower	2, \harden
	lower	3, \harden
	lower	4, \harden
	lower	5, \harden
	lower	6, \harden
	lower	7, \harden
	.endm

	.section .el2.vectors, "ax"
	vectors	el2_vectors_plain, plain
	vectors	el2_vectors_loop, loop
	vectors	el2_vectors_firmware, firmware
	vectors	el2_vectors_clearbhb, clearbhb

	.section .text.el2_lower, "ax"
el2_lower:
	save_high
	mov	x0, sp
	mov	x29, xzr
	mrs	x2, tpidr_el2
	ldr	x2, [x2, #{GUEST}]
	cbnz	x2, 1f
	bl	el2_host_trap
	b	el2_resume
	/* A guest: back to it, or out of el2_guest_enter with the frame lost. */
1:	bl	el2_guest_trap
	cbnz	w0, el2_resume
	add	sp, sp, #{FRAME_SIZE}
	ldp	x29, x30, [sp], #16
	ldp	x27, x28, [sp], #16
	ldp	x25, x26, [sp], #16
	ldp	x23, x24, [sp], #16
	ldp	x21, x22, [sp], #16
	ldp	x19, x20, [sp], #16
	ret

/*
 * Enters the guest whose registers x0 points to; returns when it has left,
 * which el2_guest_trap decides. x18 is no register of EL2's code.
 */
	.global	el2_guest_enter
el2_guest_enter:
	stp	x19, x20, [sp, #-16]!
	stp	x21, x22, [sp, #-16]!
	stp	x23, x24, [sp, #-16]!
	stp	x25, x26, [sp, #-16]!
	stp	x27, x28, [sp, #-16]!
	stp	x29, x30, [sp, #-16]!
	sub	sp, sp, #{FRAME_SIZE}
	.set	offset, 0
	.rept	{FRAME_SIZE} / 16
	ldp	x2, x3, [x0, #offset]
	stp	x2, x3, [sp, #offset]
	.set	offset, offset + 16
	.endr
	b	el2_resume

el2_current:
	save_high
	mov	x0, sp
	bl	el2_own_trap
	b	el2_resume

/*
 * Lets in an SError that is pending, at the ISB at the latest: its ESR_EL2, which el2_own_trap puts
 * into x0, or 0 if there was none.
 */
	.global	el2_take_serror, el2_serror_window, el2_serror_window_end
el2_take_serror:
	mov	x0, xzr
	msr	daifclr, #4
el2_serror_window:
	isb
el2_serror_window_end:
	msr	daifset, #4
	ret

/* x0 = the frame: everything above it on this CPU's stack is done with. */
	.global	el2_exit
el2_exit:
	mov	sp, x0
el2_resume:
	ldp	x2, x3, [sp, #{FRAME_ELR}]
	msr	elr_el2, x2
	msr	spsr_el2, x3
	restore_x16_up
	ldp	x14, x15, [sp, #16 * 7]
	ldp	x12, x13, [sp, #16 * 6]
	ldp	x10, x11, [sp, #16 * 5]
	ldp	x8, x9, [sp, #16 * 4]
	ldp	x6, x7, [sp, #16 * 3]
	ldp	x4, x5, [sp, #16 * 2]
	ldp	x2, x3, [sp, #16 * 1]
	ldp	x0, x1, [sp], #{FRAME_SIZE}
	eret
	/* Nothing behind an ERET is to be speculated into. */
	dsb	nsh
	isb

/*
 * The end of a release. x0 = this CPU's data, x1 = frame. Leaves through the
 * identity page: x9 to x14 are lost to the host, which expects that.
 */
	.global	el2_exit_release
el2_exit_release:
	mov	sp, x1
	ldp	x2, x3, [sp, #{FRAME_ELR}]
	msr	elr_el2, x2
	msr	spsr_el2, x3
	ldp	x11, x12, [x0, #{FOUND}]
	ldp	x13, x14, [x0, #{FOUND} + 16]
	ldr	x9, [x0, #{EXIT_PHYS}]
	restore_x16_up
	ldp	x6, x7, [sp, #16 * 3]
	ldp	x4, x5, [sp, #16 * 2]
	ldp	x2, x3, [sp, #16 * 1]
	ldp	x0, x1, [sp]
	br	x9

/* A CPU that firmware started. x8 = its index. */
	.global	el2_started
el2_started:
	sub	sp, sp, #{FRAME_SIZE}
	mov	x29, xzr
	mov	x0, sp
	mov	x1, x8
	bl	el2_cpu_boot
	b	el2_resume
