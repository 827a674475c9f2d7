/* SPDX-License-Identifier: GPL-2.0 */
/* The EL2 image and the names of its functions, as the module carries them. */

	/* It is copied once: the kernel takes it back when the module is loaded. */
	.section .init.rodata, "a"
	.balign	16
	.global	mvirt_el2_image
mvirt_el2_image:
	.incbin	MVIRT_EL2_IMAGE
	.global	mvirt_el2_image_end
mvirt_el2_image_end:

	.section .rodata, "a"
	.balign	16
	.global	mvirt_el2_symbols
mvirt_el2_symbols:
#include MVIRT_EL2_SYMBOLS
	.global	mvirt_el2_symbols_end
mvirt_el2_symbols_end:
