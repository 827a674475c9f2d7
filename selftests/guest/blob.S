/* SPDX-License-Identifier: GPL-2.0 */
/* A payload's image in the program that runs it. */
	.section .rodata
	.balign	8
	.globl	payload_image, payload_image_end
payload_image:
	.incbin	PAYLOAD
payload_image_end:
	.section .note.GNU-stack, "", %progbits
