// SPDX-License-Identifier: GPL-2.0
/*
 * ID registers, and what they make of the rest: what they do not offer is UNDEFINED (Arm ARM, D19),
 * whatever the CPU below can do.
 */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(TRAPS_TESTS)

#define ID_AA64PFR0	S3_0_C0_C4_0
#define ID_AA64PFR1	S3_0_C0_C4_1
#define ID_AA64ZFR0	S3_0_C0_C4_4
#define ID_AA64SMFR0	S3_0_C0_C4_5
#define ID_AA64DFR0	S3_0_C0_C5_0
#define ID_AA64DFR1	S3_0_C0_C5_1
#define ID_AA64AFR0	S3_0_C0_C5_4
#define ID_AA64AFR1	S3_0_C0_C5_5
#define ID_AA64ISAR0	S3_0_C0_C6_0
#define ID_AA64ISAR1	S3_0_C0_C6_1
#define ID_AA64ISAR2	S3_0_C0_C6_2
#define ID_AA64MMFR0	S3_0_C0_C7_0
#define ID_AA64MMFR1	S3_0_C0_C7_1
#define ID_AA64MMFR2	S3_0_C0_C7_2

#define id_read_(r)	read_sysreg(r)
#define id_read(name)	id_read_(ID_AA64##name)
#define field(name, shift) (id_read(name) >> (shift) & 0xf)

/* The whole space of ID registers: op0 3, op1 0, CRn 0, CRm 4 to 7; none may be UNDEFINED. */
#define READ_ALL(crm)	READ(crm, 0) READ(crm, 1) READ(crm, 2) READ(crm, 3) READ(crm, 4) READ(crm, 5) READ(crm, 6) READ(crm, 7)
#define READ(crm, op2)	CHECK_AT((crm) << 4 | (op2), faults(values[crm % 8][op2] = read_sysreg(S3_0_C0_C##crm##_##op2)), 0);

static u64 values[8][8];

void id_registers_read(void)
{
	u64 again;

	READ_ALL(4)
	READ_ALL(5)
	READ_ALL(6)
	READ_ALL(7)
	/* The same each time, and after an exit on another CPU. */
	request(REQUEST_MIGRATE, 0);
	again = id_read(PFR0);
	CHECK_EQ(again, values[4][0]);
	again = id_read(MMFR0);
	CHECK_EQ(again, values[7][0]);
	/* EL0 and EL1 in AArch64; a GIC by system registers; FP and SIMD both or neither. */
	CHECK_LE(1, field(PFR0, 0));
	CHECK_LE(1, field(PFR0, 4));
	CHECK_EQ(field(PFR0, 24), 1);
	CHECK_EQ(field(PFR0, 16), field(PFR0, 20));
	/* Not allocated yet: reads as zero. */
	CHECK_EQ(values[4][7], 0);
	CHECK_EQ(values[5][7], 0);
	/* Auxiliary features are the implementation's: none is offered. */
	CHECK_EQ(id_read(AFR0), 0);
	CHECK_EQ(id_read(AFR1), 0);
}

void id_registers_of_32_bits_read(void)
{
	/* Without AArch32 at any EL they are UNKNOWN, but not UNDEFINED. */
	READ_ALL(1)
	READ_ALL(2)
	READ_ALL(3)
	CHECK(!faults(read_sysreg(S3_0_C0_C0_5)));
}

void id_registers_are_read_only(void)
{
	CHECK(undefined(write_sysreg(S3_0_C0_C4_0, 0)));
	CHECK(undefined(write_sysreg(S3_0_C0_C0_0, 0)));
	CHECK(undefined(write_sysreg(S3_0_C0_C0_5, 0)));
	CHECK(undefined(write_sysreg(S3_3_C0_C0_1, 0)));
}

static u64 midrs[4], mpidrs[4], reported;

static void report_ids(u64 index)
{
	midrs[index] = read_sysreg(midr_el1);
	mpidrs[index] = read_sysreg(mpidr_el1);
	__atomic_fetch_add(&reported, 1, __ATOMIC_SEQ_CST);
}

void midr_and_mpidr(void)
{
	u64 i;

	for (i = 1; i < 4; i++)
		cpu_start(i, report_ids);
	report_ids(0);
	wait_for(&reported, 4);
	for (i = 0; i < 4; i++) {
		CHECK_AT(i, midrs[i], midrs[0]);
		CHECK_NE(midrs[i], 0);
		/* Bit 31 is RES1, U is clear. */
		CHECK_AT(i, mpidrs[i], BIT(31) | mpidr_of(i));
	}
	CHECK(!faults(read_sysreg(S3_0_C0_C0_6)));
	CHECK(!faults(read_sysreg(S3_1_C0_C0_7)));
}

void cache_registers(void)
{
	u64 clidr, ctr = read_sysreg(ctr_el0), level, type;

	/* Lines of 16 to 2048 bytes; DMinLine and IminLine are logs of words. */
	CHECK_LE(2, ctr >> 16 & 0xf);
	CHECK_LE(ctr >> 16 & 0xf, 9);
	CHECK_LE(2, ctr & 0xf);
	CHECK(!faults(read_sysreg(dczid_el0)));
	clidr = read_sysreg(S3_1_C0_C0_1);
	CHECK_NE(clidr & 7, 0);
	for (level = 0; level < 7; level++) {
		type = clidr >> (3 * level) & 7;
		if (!type)
			break;
		write_sysreg(S3_2_C0_C0_0, level << 1 | (type == 1));
		isb();
		CHECK_AT(level, read_sysreg(S3_2_C0_C0_0), level << 1 | (type == 1));
		CHECK_AT(level, faults(read_sysreg(S3_1_C0_C0_0)), 0);
		CHECK_NE(read_sysreg(S3_1_C0_C0_0), 0);
	}
}

/* What is at EL1 UNDEFINED always, if there is no nested virtualization. */
void el2_and_el3_registers_are_undefined(void)
{
	CHECK(undefined(read_sysreg(S3_4_C1_C1_0)));	/* HCR_EL2 */
	CHECK(undefined(write_sysreg(S3_4_C1_C1_0, 0)));
	CHECK(undefined(read_sysreg(S3_4_C2_C1_0)));	/* VTTBR_EL2 */
	CHECK(undefined(write_sysreg(S3_4_C2_C1_0, 0)));
	CHECK(undefined(read_sysreg(S3_4_C12_C0_0)));	/* VBAR_EL2 */
	CHECK(undefined(write_sysreg(S3_4_C1_C0_0, 0)));	/* SCTLR_EL2 */
	CHECK(undefined(read_sysreg(S3_4_C13_C0_2)));	/* TPIDR_EL2 */
	CHECK(undefined(read_sysreg(S3_4_C12_C11_0)));	/* ICH_HCR_EL2 */
	CHECK(undefined(write_sysreg(S3_4_C12_C12_0, 0)));	/* ICH_LR0_EL2 */
	CHECK(undefined(read_sysreg(S3_4_C14_C0_3)));	/* CNTVOFF_EL2 */
	CHECK(undefined(read_sysreg(S3_5_C1_C0_0)));	/* SCTLR_EL12 */
	CHECK(undefined(read_sysreg(S3_6_C1_C1_0)));	/* SCR_EL3 */
	CHECK(undefined(write_sysreg(S3_6_C12_C12_7, 0)));	/* ICC_IGRPEN1_EL3 */
	/* TLBI ALLE1, TLBI VMALLS12E1, AT S12E1R, TLBI IPAS2E1, TLBI ALLE2 */
	CHECK(undefined(asm volatile("sys #4, c8, c7, #4, xzr")));
	CHECK(undefined(asm volatile("sys #4, c8, c7, #6, xzr")));
	CHECK(undefined(asm volatile("sys #4, c7, c8, #4, xzr")));
	CHECK(undefined(asm volatile("sys #4, c8, c4, #1, xzr")));
	CHECK(undefined(asm volatile("sys #4, c8, c7, #0, xzr")));
	/* ERET at EL1 is the guest's own; DRPS is Debug state's. */
	CHECK(undefined(asm volatile(".inst 0xd6bf03e0")));
	/* An encoding that is allocated to nobody. */
	CHECK(undefined(asm volatile(".inst 0x00000000")));
	CHECK(undefined(read_sysreg(S3_7_C1_C0_0)));
	CHECK(undefined(read_sysreg(S2_7_C1_C0_0)));
}

/* If the ID register says that a feature is not there, its registers and instructions are not. */
#define HIDDEN(absent, ...)	if (absent) { nr++; CHECK(undefined(__VA_ARGS__)); }

void hidden_features_are_undefined(void)
{
	u64 nr = 0, cpacr = read_sysreg(cpacr_el1);

	/* SMEN, ZEN: no trap of the guest's own comes before. */
	write_sysreg(cpacr_el1, cpacr | 3UL << 24 | 3UL << 16);
	isb();
	/* SVE: RDVL, ZCR_EL1 */
	HIDDEN(!field(PFR0, 32), asm volatile(".inst 0x04bf5020" : : : "x0"));
	HIDDEN(!field(PFR0, 32), read_sysreg(S3_0_C1_C2_0));
	HIDDEN(!field(PFR0, 32), write_sysreg(S3_0_C1_C2_0, 0));
	/* SME: RDSVL, SMCR_EL1, SVCR, TPIDR2_EL0, SMSTART */
	HIDDEN(!field(PFR1, 24), asm volatile(".inst 0x04bf5820" : : : "x0"));
	HIDDEN(!field(PFR1, 24), read_sysreg(S3_0_C1_C2_6));
	HIDDEN(!field(PFR1, 24), read_sysreg(S3_3_C4_C2_2));
	HIDDEN(!field(PFR1, 24), read_sysreg(S3_3_C13_C0_5));
	HIDDEN(!field(PFR1, 24), asm volatile(".inst 0xd503477f"));
	/* MTE: GCR_EL1, RGSR_EL1, TFSR_EL1 */
	HIDDEN(field(PFR1, 8) < 2, read_sysreg(S3_0_C1_C0_6));
	HIDDEN(field(PFR1, 8) < 2, read_sysreg(S3_0_C1_C0_5));
	HIDDEN(field(PFR1, 8) < 2, write_sysreg(S3_0_C5_C6_0, 0));
	/* AMU: AMCR_EL0, AMEVCNTR00_EL0 */
	HIDDEN(!field(PFR0, 44), read_sysreg(S3_3_C13_C2_0));
	HIDDEN(!field(PFR0, 44), read_sysreg(S3_3_C13_C4_0));
	/* SPE: PMSCR_EL1, PMBLIMITR_EL1 */
	HIDDEN(!field(DFR0, 32), read_sysreg(S3_0_C9_C9_0));
	HIDDEN(!field(DFR0, 32), write_sysreg(S3_0_C9_C10_0, 0));
	/* Self-hosted trace: TRFCR_EL1; trace buffer: TRBLIMITR_EL1; trace unit: TRCPRGCTLR, TRCOSLSR */
	HIDDEN(!field(DFR0, 40), read_sysreg(S3_0_C1_C2_1));
	HIDDEN(!field(DFR0, 44), read_sysreg(S3_0_C9_C11_0));
	HIDDEN(!field(DFR0, 4), read_sysreg(S2_1_C0_C1_0));
	HIDDEN(!field(DFR0, 4), read_sysreg(S2_1_C1_C1_4));
	/* Branch record: BRBCR_EL1 */
	HIDDEN(!(id_read(DFR0) >> 52 & 0xf), read_sysreg(S2_1_C9_C0_0));
	/* RAS: ERRSELR_EL1, ERRIDR_EL1, DISR_EL1 */
	HIDDEN(!field(PFR0, 28), read_sysreg(S3_0_C5_C3_1));
	HIDDEN(!field(PFR0, 28), read_sysreg(S3_0_C5_C3_0));
	/* MPAM: MPAM1_EL1, MPAMIDR_EL1 */
	HIDDEN(!field(PFR0, 40) && !field(PFR1, 16), read_sysreg(S3_0_C10_C5_0));
	HIDDEN(!field(PFR0, 40) && !field(PFR1, 16), read_sysreg(S3_0_C10_C4_4));
	/* Limited ordering: LORC_EL1 */
	HIDDEN(!field(MMFR1, 16), read_sysreg(S3_0_C10_C4_3));
	/* Random numbers: RNDR */
	HIDDEN(!(id_read(ISAR0) >> 60), read_sysreg(S3_3_C2_C4_0));
	/* Pointer authentication by either algorithm: its keys */
	HIDDEN(!(id_read(ISAR1) & 0xff0) && !(id_read(ISAR2) & 0xf000), read_sysreg(S3_0_C2_C1_0));
	HIDDEN(!(id_read(ISAR1) & 0xff0) && !(id_read(ISAR2) & 0xf000), write_sysreg(S3_0_C2_C3_1, 0));
	/* TCR2_EL1, PIR_EL1, GCSCR_EL1, FPMR */
	HIDDEN(!(values[7][3] = read_sysreg(S3_0_C0_C7_3), values[7][3] & 0xf), read_sysreg(S3_0_C2_C0_3));
	HIDDEN(!(read_sysreg(S3_0_C0_C7_3) >> 8 & 0xf), read_sysreg(S3_0_C10_C2_3));
	HIDDEN(!(id_read(PFR1) >> 44 & 0xf), read_sysreg(S3_0_C2_C5_0));
	HIDDEN(!(read_sysreg(S3_0_C0_C4_2) & 0xf), read_sysreg(S3_3_C4_C4_2));
	write_sysreg(cpacr_el1, cpacr);
	/* A core without any of these hides nothing: then this test says nothing. */
	CHECK_LE(10, nr);
}

void pmu_is_as_the_id_registers_say(void)
{
	u64 version = field(DFR0, 8);

	if (version == 0 || version == 0xf) {
		CHECK(undefined(read_sysreg(pmcr_el0)));
		CHECK(undefined(write_sysreg(pmcr_el0, 0)));
		CHECK(undefined(read_sysreg(pmccntr_el0)));
		CHECK(undefined(write_sysreg(pmcntenset_el0, 1)));
		CHECK(undefined(read_sysreg(pmceid0_el0)));
		CHECK(undefined(write_sysreg(pmuserenr_el0, 0)));
		CHECK(undefined(write_sysreg(pmintenset_el1, 0)));
		CHECK(undefined(read_sysreg(pmevcntr0_el0)));
		CHECK(undefined(read_sysreg(pmevtyper0_el0)));
		CHECK(undefined(read_sysreg(pmccfiltr_el0)));
		CHECK(undefined(write_sysreg(pmswinc_el0, 0)));
		CHECK(undefined(write_sysreg(pmovsclr_el0, 0)));
		CHECK(undefined(read_sysreg(pmxevcntr_el0)));
	} else {
		/* Offered, so it counts. */
		write_sysreg(pmcr_el0, 7);
		write_sysreg(pmcntenset_el0, BIT(31));
		isb();
		delay(100);
		CHECK_NE(read_sysreg(pmccntr_el0), 0);
		write_sysreg(pmcr_el0, 0);
	}
}

void implementation_defined_registers(void)
{
	/* CRn 11 and 15 are the core's own: CPUACTLR, CPUECTLR, L2CTLR, SYS instructions, ACTLR_EL1. */
	CHECK(undefined(read_sysreg(S3_0_C15_C1_0)));
	CHECK(undefined(read_sysreg(S3_0_C15_C1_4)));
	CHECK(undefined(write_sysreg(S3_0_C15_C1_0, 0)));
	CHECK(undefined(read_sysreg(S3_1_C15_C2_0)));
	CHECK(undefined(write_sysreg(S3_1_C15_C2_1, 0)));
	CHECK(undefined(read_sysreg(S3_1_C11_C0_2)));
	CHECK(undefined(write_sysreg(S3_0_C11_C0_0, 0)));
	CHECK(undefined(asm volatile("sys #1, c15, c0, #0, xzr")));
	CHECK(undefined(asm volatile("sys #0, c11, c0, #0, xzr")));
	/* ACTLR_EL1 and AIDR_EL1 are always there; what the guest writes to ACTLR changes nothing below. */
	if (guest_flags() & GUEST_FLAG_MVIRT || !(guest_flags() & GUEST_FLAG_PROTECTED)) {
		/* pKVM's protected guests have no ACTLR. */
		CHECK(!faults(read_sysreg(actlr_el1)));
		CHECK(!faults(write_sysreg(actlr_el1, ~0UL)));
		CHECK(!faults(write_sysreg(actlr_el1, 0)));
	}
	CHECK(!faults(read_sysreg(afsr0_el1)));
	CHECK(!faults(read_sysreg(amair_el1)));
}
