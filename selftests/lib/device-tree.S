/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Starts the kernel with another device tree than QEMU's own, into which QEMU writes what it knows
 * better. The tree is DTB_OFFSET behind this code (scripts/selftest/machine.py puts both there).
 * The loader that QEMU made is at the start of RAM; it ends with the kernel's address.
 */
#define DTB_OFFSET	0x10000
#define RAM_START	0x40000000
#define LOADER_KERNEL	0x20

	.globl	_start
_start:
	adr	x0, _start
	add	x0, x0, #DTB_OFFSET
	mov	x1, xzr
	mov	x2, xzr
	mov	x3, xzr
	ldr	x4, =RAM_START
	ldr	x4, [x4, #LOADER_KERNEL]
	br	x4
