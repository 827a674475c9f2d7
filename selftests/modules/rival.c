// SPDX-License-Identifier: GPL-2.0
/*
 * Another hypervisor that has taken EL2 before mvirt came: has the kernel's hyp stub install its
 * vectors on each CPU, those that come online later among them, and answers HVCs its own way.
 * There is no way back.
 */

#define pr_fmt(fmt) "rival: " fmt

#include <linux/cpuhotplug.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>
#include <asm/cacheflush.h>
#include <asm/virt.h>

#include "rival.h"

/* Of VBAR_EL2: 16 entries of 128 bytes. */
#define VECTORS_SIZE	2048

extern const char rival_vectors[];

/*
 * Nothing but an HVC of EL1's comes here: it is the synchronous exception from a lower Exception
 * level in AArch64 state (Arm ARM D1.3.1). The code is copied, and runs with EL2's MMU off.
 */
asm(".pushsection .rodata\n"
    "	.balign	2048\n"
    "rival_vectors:\n"
    "	.rept	8\n"
    "	.balign	128\n"
    "	b	.\n"
    "	.endr\n"
    "	.balign	128\n"
    "	movz	x0, #" __stringify(RIVAL_ANSWER_LOW) "\n"
    "	movk	x0, #" __stringify(RIVAL_ANSWER_HIGH) ", lsl #16\n"
    "	eret\n"
    "	.rept	7\n"
    "	.balign	128\n"
    "	b	.\n"
    "	.endr\n"
    "	.balign	128\n"
    ".popsection\n");

static phys_addr_t vectors;

static int set_vectors(unsigned int cpu)
{
	register u64 x0 asm("x0") = HVC_SET_VECTORS;
	register u64 x1 asm("x1") = vectors;

	asm volatile("hvc #0" : "+r"(x0), "+r"(x1) : : "memory");
	/* The stub answers 0. Whoever else has EL2 does not. */
	if (x0) {
		pr_err("CPU %u: the stub answered %#llx\n", cpu, x0);
		return -EBUSY;
	}
	return 0;
}

static int __init rival_init(void)
{
	void *page = (void *)__get_free_page(GFP_KERNEL);
	int state;

	if (!page)
		return -ENOMEM;
	memcpy(page, rival_vectors, VECTORS_SIZE);
	/* EL2 fetches with its MMU off: from memory. To the PoC, then the instruction caches. */
	for (size_t at = 0; at < VECTORS_SIZE; at += 16)
		asm volatile("dc civac, %0" : : "r"(page + at) : "memory");
	asm volatile("dsb sy\n\tic ialluis\n\tdsb ish\n\tisb" : : : "memory");
	vectors = virt_to_phys(page);

	state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "selftests/rival", set_vectors, NULL);
	/* If it failed on a later CPU, the first ones use the page: it stays in any case. */
	return state < 0 ? state : 0;
}
module_init(rival_init);

MODULE_DESCRIPTION("mvirt selftests: another hypervisor");
MODULE_LICENSE("GPL");
