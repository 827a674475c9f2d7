// SPDX-License-Identifier: GPL-2.0
/* Registers that must come back from every exit as they were: the guest's, not the host's. */
#include "gic.h"

void fp_fill(u64 seed);
u64 fp_differ(u64 seed);
u64 general_differ(u64 address);

static void each_exit(void (*after)(u64 n))
{
	/* An exit that EL2 answers, one of the kernel's, one of the VMM's; asleep, and on another CPU. */
	hvc(0x86001234, 0, 0, 0);
	after(0);
	(void)mmio_read32(GUEST_GICD_BASE + GICD_IIDR);
	after(1);
	guest_flags();
	after(2);
	request(REQUEST_SPOIL_FP, 0);
	after(3);
	request(REQUEST_SLEEP, 5000);
	after(4);
	request(REQUEST_MIGRATE, 0);
	after(5);
	request(REQUEST_SPOIL_FP, 0);
	request(REQUEST_SLEEP, 2000);
	after(6);
	/* A sleep in the guest, ended by its timer. */
	write_sysreg(cntv_tval_el0, ticks(5000));
	write_sysreg(cntv_ctl_el0, 1);
	while (icc_read(HPPIR1) != PPI_VTIMER)
		wfi();
	write_sysreg(cntv_ctl_el0, 0);
	after(7);
	/* Nothing: interrupts of the host alone. */
	delay(10000);
	after(8);
}

static u64 seeds[GUEST_MAX_CPUS];

static void compare_fp(u64 n)
{
	u64 seed = seeds[this_cpu()->index];

	CHECK_AT(n, fp_differ(seed), 0);
}

static void hold_fp(u64 index)
{
	u64 round;

	gic_enable(PPI_VTIMER);
	for (round = 0; round < 5; round++) {
		seeds[index] = 0x0123456789abcdef * (index + 1) + round;
		fp_fill(seeds[index]);
		compare_fp(9);
		each_exit(compare_fp);
	}
}

void fp_registers_are_kept(void)
{
	gic_init();
	hold_fp(0);
}

static u64 finished;

static void hold_fp_on_cpu(u64 index)
{
	gic_init_cpu();
	/* First use on this CPU while the other has its own in the registers. */
	hold_fp(index);
	WRITE_ONCE(finished, 1);
}

void fp_registers_of_two_cpus(void)
{
	gic_init();
	cpu_start(1, hold_fp_on_cpu);
	hold_fp(0);
	wait_for(&finished, 1);
}

void fp_trapped_by_the_guest_itself(void)
{
	fp_fill(7);
	/* CPACR_EL1 is the guest's: its own trap goes to its own EL1, EC 0x07. */
	write_sysreg(cpacr_el1, 0);
	isb();
	CHECK(faults(asm volatile(".inst 0x1e204000"))); /* fmov s0, s0 */
	CHECK_EQ(this_cpu()->esr >> 26, 7);
	request(REQUEST_SPOIL_FP, 0);
	CHECK_EQ(read_sysreg(cpacr_el1), 0);
	write_sysreg(cpacr_el1, 3UL << 20);
	isb();
	CHECK_EQ(fp_differ(7), 0);
}

#define FOR_KEYS(X)	X(1, 0) X(1, 1) X(1, 2) X(1, 3) X(2, 0) X(2, 1) X(2, 2) X(2, 3) X(3, 0) X(3, 1)
#define WRITE_KEY(crm, op2)	write_sysreg(S3_0_C2_C##crm##_##op2, 0xabcd0000 + (crm << 4) + op2);
#define READ_KEY(crm, op2)	CHECK_AT(n << 8 | crm << 4 | op2, read_sysreg(S3_0_C2_C##crm##_##op2), 0xabcd0000 + (crm << 4) + op2);

static void compare_keys(u64 n)
{
	FOR_KEYS(READ_KEY)
}

static u64 sign(u64 pointer)
{
	/* pacia x0, x1 */
	register u64 x0 asm("x0") = pointer;
	register u64 x1 asm("x1") = 0x1234;

	asm volatile(".inst 0xdac10020" : "+r"(x0) : "r"(x1));
	return x0;
}

void pointer_authentication_keys(void)
{
	u64 isar1 = read_sysreg(S3_0_C0_C6_1), isar2 = read_sysreg(S3_0_C0_C6_2), signed_pointer;

	gic_init();
	gic_enable(PPI_VTIMER);
	if (!(isar1 & 0xff0) && !(isar2 & 0xf000)) {
		/* Not offered: its keys are UNDEFINED. */
		CHECK(undefined(read_sysreg(S3_0_C2_C1_0)));
		CHECK(undefined(write_sysreg(S3_0_C2_C2_3, 1)));
		return;
	}
	FOR_KEYS(WRITE_KEY)
	write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) | BIT(31));
	isb();
	signed_pointer = sign(0x40001000);
	each_exit(compare_keys);
	CHECK_EQ(sign(0x40001000), signed_pointer);
	write_sysreg(sctlr_el1, SCTLR_MMU_ON);
	isb();
}

void general_registers_are_kept(void)
{
	u64 i;

	for (i = 0; i < 100; i++) {
		/* A read that the kernel answers, and one that the VMM does; all others of x1 to x30. */
		if (!CHECK_EQ(general_differ(GUEST_GICD_BASE + GICD_IIDR), 0) ||
		    !CHECK_EQ(general_differ(GUEST_DEVICE_BASE + DEVICE_ANSWER), 0))
			break;
	}
}

/* Registers of EL1 and EL0 in which any value stands, and whose values do nothing here. */
#define FOR_REGISTERS(X)						\
	X(tpidr_el0, ~0UL) X(tpidrro_el0, ~0UL) X(sp_el0, ~0UL)		\
	X(far_el1, ~0UL) X(contextidr_el1, 0xffffffff)			\
	X(elr_el1, ~0UL) X(esr_el1, 0xffffffff) X(ttbr1_el1, 0xfffffffff000)	\
	X(cntkctl_el1, 0x3) X(csselr_el1, 0xe) X(cntv_cval_el0, ~0UL) X(cntp_cval_el0, ~0UL)

#define WRITE_REGISTER(name, mask)	write_sysreg(name, seed * __COUNTER__ & (mask));
#define READ_REGISTER(name, mask)	held.name = read_sysreg(name);
#define DECLARE_REGISTER(name, mask)	u64 name;
#define COMPARE_REGISTER(name, mask)	CHECK_AT(n, read_sysreg(name), held_of[this_cpu()->index].name);

static struct held {
	FOR_REGISTERS(DECLARE_REGISTER)
} held_of[GUEST_MAX_CPUS];

static void compare_registers(u64 n)
{
	FOR_REGISTERS(COMPARE_REGISTER)
}

static void hold_registers(u64 seed)
{
	struct held held;

	/* The physical timer's and the virtual one's compare values: both timers are off. */
	write_sysreg(cntv_ctl_el0, 0);
	write_sysreg(cntp_ctl_el0, 0);
	FOR_REGISTERS(WRITE_REGISTER)
	isb();
	FOR_REGISTERS(READ_REGISTER)
	held_of[this_cpu()->index] = held;
	CHECK_NE(held.tpidr_el0, held.tpidrro_el0);
	compare_registers(10);
	hvc(0x86001234, 0, 0, 0);
	compare_registers(0);
	guest_flags();
	compare_registers(1);
	request(REQUEST_SLEEP, 5000);
	compare_registers(2);
	request(REQUEST_MIGRATE, 0);
	request(REQUEST_SLEEP, 1000);
	compare_registers(3);
	delay(10000);
	compare_registers(4);
}

void system_registers_are_kept(void)
{
	u64 round, sctlr = read_sysreg(sctlr_el1), tcr = read_sysreg(tcr_el1), mair = read_sysreg(mair_el1);
	u64 ttbr0 = read_sysreg(ttbr0_el1), vbar = read_sysreg(vbar_el1);

	for (round = 1; round < 6; round++)
		hold_registers(0x9e3779b97f4a7c15 * round);
	CHECK_EQ(read_sysreg(sctlr_el1), sctlr);
	CHECK_EQ(read_sysreg(tcr_el1), tcr);
	CHECK_EQ(read_sysreg(mair_el1), mair);
	CHECK_EQ(read_sysreg(ttbr0_el1), ttbr0);
	CHECK_EQ(read_sysreg(vbar_el1), vbar);
}

static u64 held_all;

static void hold_on_cpu(u64 index)
{
	u64 round;

	for (round = 1; round < 6; round++)
		hold_registers(0xd1342543de82ef95 * round);
	WRITE_ONCE(held_all, 1);
}

void system_registers_of_two_cpus(void)
{
	cpu_start(1, hold_on_cpu);
	system_registers_are_kept();
	wait_for(&held_all, 1);
}
