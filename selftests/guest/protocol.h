/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a payload and the VMM that runs it agree on: the map of guest physical memory, the report
 * device, and the words that start a vCPU. Included by C of both sides and by assembly.
 *
 * The report device is a hole in guest memory: each access leaves the guest as an MMIO exit. All its
 * registers are 64 bits wide, and each vCPU has its own set of them. A protected guest's memory
 * cannot be read by the VMM, so that texts go through it too, eight characters at a time.
 */
#ifndef MVIRT_GUEST_PROTOCOL_H
#define MVIRT_GUEST_PROTOCOL_H

#define GUEST_GICD_BASE		0x08000000
#define GUEST_GICR_BASE		0x080a0000
#define GUEST_GICR_SIZE		0x20000
#define GUEST_DEVICE_BASE	0x0a000000
#define GUEST_DEVICE_SIZE	0x1000
/* A hole of which the tests of MMIO say what is there; nothing, in all others. */
#define GUEST_HOLE_BASE		0x0b000000
#define GUEST_HOLE_SIZE		0x10000

/*
 * The payload lies at the start of RAM; the first vCPU starts there. x0 is the test's number, with
 * this bit if the test wants the MMU to stay off.
 */
#define START_MMU_OFF_BIT	32
#define GUEST_RAM_BASE		0x40000000
/* Where further slots of a test go; mapped as normal memory by the payload. */
#define GUEST_EXTRA_BASE	0x80000000
#define GUEST_MAX_CPUS		8
/* Interrupts that the distributor is made for: SGIs, PPIs and 96 SPIs. */
#define GUEST_NR_IRQS		128

/* Written when a check failed: what was found, what was wanted, the check's text, then its line. */
#define DEVICE_GOT		0x00
#define DEVICE_WANT		0x08
#define DEVICE_TEXT		0x10
#define DEVICE_FAIL		0x18
/* Written once, at the end: how many checks were made, failed ones too. */
#define DEVICE_DONE		0x20
/* A request to the VMM: its argument, then its number; the answer can be read after that. */
#define DEVICE_ARG		0x28
#define DEVICE_REQUEST		0x30
#define DEVICE_ANSWER		0x38

/*
 * Seconds after which something will not come any more. They are only there to end a test that fails:
 * on a machine that does other work an emulated CPU may get a hundredth of the time, so none is a
 * measure of anything. A payload's wait ends first, then the VMM's, then the test's (lib/harness.h).
 */
#define GUEST_WAIT_SECONDS	200
#define GUEST_SECONDS		240

/* Requests that every VMM of these tests knows; those of one test start at REQUEST_OWN. */

/* KVM_IRQ_LINE: bits 31:0 are its irq, bit 32 the level. Answers 0 or -errno. */
#define REQUEST_IRQ_LINE	1
/* Sleep that many microseconds before the next KVM_RUN. */
#define REQUEST_SLEEP		2
/* Overwrite all FP and SIMD registers, FPCR and FPSR in the VMM's own thread. */
#define REQUEST_SPOIL_FP	3
/* A GUEST_FLAG_* mask: what this guest is. */
#define REQUEST_FLAGS		4
/* Open the next KVM_RUN on another host CPU, if there is one. Answers the CPU's number. */
#define REQUEST_MIGRATE		5
#define REQUEST_OWN		0x100

/* The guest is protected. */
#define GUEST_FLAG_PROTECTED	(1 << 0)
/* It runs on mvirt; else on KVM, which leaves undone some of what the architecture offers. */
#define GUEST_FLAG_MVIRT	(1 << 1)
/* Loads with sign extension from MMIO work: not in KVM before 7.0. */
#define GUEST_FLAG_SIGN_EXTENDS	(1 << 2)

#endif /* MVIRT_GUEST_PROTOCOL_H */
