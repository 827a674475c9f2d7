// SPDX-License-Identifier: GPL-2.0
/*
 * Seven rounds of 64 times the same operation. The hints tell the plugin of scripts/bench/ when a
 * round begins and ends; to a CPU they are no-ops. What is counted is the operation and the loop: what
 * the compiler could change is in assembly.
 */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(BENCH_OPERATIONS)

#define BEGIN	"hint #0x60\n\t"
#define END	"hint #0x61\n\t"
#define REPEATED(operation)						\
	BEGIN "mov x9, #64\n"						\
	"1:\n\t" operation						\
	"subs x9, x9, #1\n\t"						\
	"b.ne 1b\n\t" END

#define ALL_CLOBBERED "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",	\
	"x13", "x14", "x15", "x16", "x17", "cc", "memory"

static void rounds(void (*round)(u64 n))
{
	u64 n;

	for (n = 0; n < ROUNDS; n++)
		round(n);
	CHECK_EQ(hvc(PSCI_VERSION, 0, 0, 0) >> 16, 1);
}

/* A function that nobody has: of the range for vendor-specific hypervisors. */
static void hypercall_round(u64 n)
{
	asm volatile(REPEATED("mov w0, #0x1234\n\tmovk w0, #0x8600, lsl #16\n\thvc #0\n\t") : : : ALL_CLOBBERED);
}

static void psci_version_round(u64 n)
{
	asm volatile(REPEATED("mov w0, #0x84000000\n\thvc #0\n\t") : : : ALL_CLOBBERED);
}

/* ID_AA64MMFR0_EL1: trapped as all of its group are, by HCR_EL2.TID3. */
static void id_register_round(u64 n)
{
	asm volatile(REPEATED("mrs x0, S3_0_C0_C7_0\n\t") : : : "x0", "x9", "cc", "memory");
}

/* The SGI is disabled: it becomes pending and is not signalled. What is counted is the send. */
static void sgi_round(u64 n)
{
	asm volatile(REPEATED("msr S3_0_C12_C11_5, %0\n\t") : : "r"(1UL << 24 | 1) : "x9", "cc", "memory");
}

static void load_round(u64 address)
{
	asm volatile(REPEATED("ldr w0, [%0]\n\t") : : "r"(address) : "x0", "x9", "cc", "memory");
}

static void iidr_round(u64 n)
{
	load_round(GUEST_GICD_BASE + GICD_IIDR);
}

static void mmio_round(u64 n)
{
	load_round(GUEST_HOLE_BASE);
}

static void fault_round(u64 n)
{
	u64 page = FAULT_BASE + n * ROUND * 4096;

	asm volatile(REPEATED("str xzr, [%0]\n\tadd %0, %0, #4096\n\t") : "+r"(page) : : "x9", "cc", "memory");
}

void hypercall(void) { rounds(hypercall_round); }
void psci_version(void) { rounds(psci_version_round); }
void id_register(void) { rounds(id_register_round); }

void sgi_to_self(void)
{
	gic_init();
	rounds(sgi_round);
}

void gicd_iidr(void)
{
	gic_init();
	rounds(iidr_round);
}

void mmio_to_user(void) { rounds(mmio_round); }
void fault_4k(void) { rounds(fault_round); }
