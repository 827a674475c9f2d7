/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A firmware with PSCI 1.1 for one CPU of QEMU's virt machine with secure=on: QEMU's own PSCI has no
 * SYSTEM_RESET2. It runs at EL3 from the flash at 0, enters the kernel at EL2 and says on the console
 * what it was asked to end the machine by. scripts/selftest/machine.py puts the kernel and its device
 * tree where they are looked for here.
 */
#define KERNEL		0x40200000
#define DEVICE_TREE	0x50010000
/* hw/arm/virt.c: VIRT_SECURE_MEM, VIRT_UART0, VIRT_GIC_DIST, VIRT_SECURE_GPIO. */
#define STACK		0x0e010000
#define UART		0x09000000
#define GICD		0x08000000
#define GPIO		0x090b0000
/* SCR_EL3: NS, RES1 bits, HCE, RW. */
#define SCR		0x531
/* ICC_SRE_EL3: GIC system registers at EL3 and below. */
#define ICC_SRE_ALL	0xf
/* GICD_CTLR.DS: the kernel has the GIC to itself. */
#define GICD_CTLR_DS	0x40
/* SCTLR_EL2 with everything off: RES1 bits. */
#define SCTLR_OFF	0x30c50830
/* EL2h, all interrupts masked. */
#define PSTATE_EL2H	0x3c9
/* PL061: pins that are outputs; the data of a pin is at the address with its bit set. */
#define GPIODIR		0x400
#define PIN_OFF		1
#define PIN_RESET	2

#define NOT_SUPPORTED	-1
#define INVALID_PARAMETERS -2
/* The vendor's reset type that this firmware has. */
#define VENDOR_TYPE	0x80000001

	.globl	_start
_start:
	adr	x0, vectors
	msr	vbar_el3, x0
	mov	x0, #SCR
	msr	scr_el3, x0
	msr	cptr_el3, xzr
	msr	mdcr_el3, xzr
	mov	x0, #ICC_SRE_ALL
	msr	S3_6_C12_C12_5, x0
	isb
	ldr	x1, =GICD
	mov	w0, #GICD_CTLR_DS
	str	w0, [x1]
	ldr	x0, =STACK
	mov	sp, x0
	ldr	x0, =SCTLR_OFF
	msr	sctlr_el2, x0
	msr	hcr_el2, xzr
	msr	cntvoff_el2, xzr
	mov	x0, #PSTATE_EL2H
	msr	spsr_el3, x0
	ldr	x0, =KERNEL
	msr	elr_el3, x0
	ldr	x0, =DEVICE_TREE
	mov	x1, xzr
	mov	x2, xzr
	mov	x3, xzr
	isb
	eret

/* x9 = a string that ends in 0. Clobbers x10, x11. */
say:
	ldr	x11, =UART
1:	ldrb	w10, [x9], #1
	cbz	w10, 2f
	str	w10, [x11]
	b	1b
2:	ret

/* x9 = a number, shown as a blank and 16 digits. Clobbers x10 to x12. */
say_number:
	ldr	x11, =UART
	mov	w10, #' '
	str	w10, [x11]
	mov	x12, #16
1:	ror	x9, x9, #60
	and	w10, w9, #15
	cmp	w10, #10
	add	w10, w10, #'0'
	b.lo	2f
	add	w10, w10, #'a' - '0' - 10
2:	str	w10, [x11]
	sub	x12, x12, #1
	cbnz	x12, 1b
	ret

/* w0 = function; w1, x2 = its arguments. All registers but x0 are kept, as SMCCC 1.1 wants it. */
smc:
	stp	x9, x10, [sp, #-32]!
	stp	x11, x12, [sp, #16]
	ldr	w9, =0x84000000		/* PSCI_VERSION */
	cmp	w0, w9
	b.eq	version
	ldr	w9, =0x8400000a		/* PSCI_FEATURES */
	cmp	w0, w9
	b.eq	features
	ldr	w9, =0x84000008		/* SYSTEM_OFF */
	cmp	w0, w9
	b.eq	off
	ldr	w9, =0x84000009		/* SYSTEM_RESET */
	cmp	w0, w9
	b.eq	reset
	bic	w10, w0, #0x40000000	/* either form */
	ldr	w9, =0x84000012		/* SYSTEM_RESET2 */
	cmp	w10, w9
	b.eq	reset2
unknown:
	mov	x0, #NOT_SUPPORTED
out:
	ldp	x11, x12, [sp, #16]
	ldp	x9, x10, [sp], #32
	eret

version:
	ldr	x0, =0x10001
	b	out

features:
	bic	w10, w1, #0x40000000
	ldr	w9, =0x84000012
	cmp	w10, w9
	b.eq	1f
	ldr	w9, =0x84000008
	sub	w10, w1, w9		/* SYSTEM_OFF, SYSTEM_RESET, PSCI_FEATURES */
	cmp	w10, #2
	b.hi	unknown
1:	mov	x0, xzr
	b	out

off:
	adr	x9, said_off
	bl	say
	mov	w10, #PIN_OFF
	b	drive

reset:
	adr	x9, said_reset
	bl	say
	mov	w10, #PIN_RESET
	b	drive

/* SYSTEM_WARM_RESET, type 0, is the one type that PSCI 1.1 defines; bit 31 says the vendor's. */
reset2:
	cbz	w1, 1f
	ldr	w9, =VENDOR_TYPE
	cmp	w1, w9
	b.eq	1f
	mov	x0, #INVALID_PARAMETERS
	b	out
1:	adr	x9, said_reset2
	bl	say
	mov	x9, x0
	bl	say_number
	mov	x9, x1
	bl	say_number
	mov	x9, x2
	bl	say_number
	adr	x9, line_end
	bl	say
	mov	w10, #PIN_RESET

/* w10 = the pin to raise. It does not return. */
drive:
	ldr	x11, =GPIO
	str	w10, [x11, #GPIODIR]
	add	x12, x11, x10, lsl #2
	str	w10, [x12]
1:	wfi
	b	1b

said_off:
	.asciz	"\r\nfirmware: SYSTEM_OFF\r\n"
said_reset:
	.asciz	"\r\nfirmware: SYSTEM_RESET\r\n"
said_reset2:
	.asciz	"\r\nfirmware: SYSTEM_RESET2"
line_end:
	.asciz	"\r\n"
	.balign	8
	.ltorg

/* Only an SMC from a lower Exception level in AArch64 state has a handler. */
	.balign	2048
vectors:
	.rept	8
	.balign	128
	b	.
	.endr
	.balign	128
	b	smc
	.rept	7
	.balign	128
	b	.
	.endr
