// SPDX-License-Identifier: GPL-2.0
/* Instructions that a hypervisor may trap, and that do what they do without it. */
#include "gic.h"

/* Where debug is hidden from a guest, a register is UNDEFINED or reads as zero, and keeps nothing. */
#define HIDDEN_DEBUG(name) do {						\
		u64 value_ = 0;						\
		(void)faults(write_sysreg(name, ~0UL));			\
		(void)faults(value_ = read_sysreg(name));		\
		CHECK_EQ(value_, 0);					\
	} while (0)

void debug_registers(void)
{
	if ((read_sysreg(S3_0_C0_C5_0) & 0xf) == 0) {
		/* Armv8 has no such number: EL2 says so to say that there is none. For protected guests. */
		CHECK(guest_flags() & GUEST_FLAG_PROTECTED);
		HIDDEN_DEBUG(mdscr_el1);
		HIDDEN_DEBUG(dbgbvr0_el1);
		HIDDEN_DEBUG(dbgbcr0_el1);
		HIDDEN_DEBUG(dbgwvr0_el1);
		HIDDEN_DEBUG(dbgwcr0_el1);
		return;
	}
	CHECK_LE(6, read_sysreg(S3_0_C0_C5_0) & 0xf);
	CHECK(!faults(read_sysreg(mdscr_el1)));
	CHECK(!faults(write_sysreg(mdscr_el1, 0)));
	CHECK(!faults(write_sysreg(oslar_el1, 0)));
	CHECK(!faults(read_sysreg(oslsr_el1)));
	CHECK(!faults(read_sysreg(osdlr_el1)));
	CHECK(!faults(read_sysreg(mdrar_el1)));
	CHECK(!faults(read_sysreg(dbgclaimset_el1)));
	CHECK(!faults(read_sysreg(dbgbcr0_el1)));
	CHECK(!faults(write_sysreg(dbgbvr0_el1, 0x40001000)));
	CHECK(!faults(write_sysreg(dbgwvr0_el1, 0)));
	CHECK(!faults(write_sysreg(dbgwcr0_el1, 0)));
	CHECK(!faults(write_sysreg(dbgbcr0_el1, 0)));
	/* Back after an exit on another CPU: nobody else may see it, and it may not be lost. */
	request(REQUEST_MIGRATE, 0);
	request(REQUEST_SLEEP, 1000);
	CHECK_EQ(read_sysreg(dbgbvr0_el1), 0x40001000);
	write_sysreg(dbgbvr0_el1, 0);
}

void breakpoint_instruction_stays_in_the_guest(void)
{
	CHECK(faults(asm volatile("brk #0x123")));
	CHECK_EQ(this_cpu()->esr, 0xf2000123);
	/* The handler goes on behind the nop. */
	CHECK(faults(asm volatile("svc #7\n\tnop")));
	CHECK_EQ(this_cpu()->esr, 0x56000007);
	/* HLT without a debugger is UNDEFINED. */
	CHECK(undefined(asm volatile("hlt #1")));
	/* An exclusive must be aligned; with FEAT_LSE2, not cross 16 bytes. */
	CHECK(faults(asm volatile("ldxr x0, [%0]" : : "r"(GUEST_RAM_BASE + 13) : "x0", "memory")));
	CHECK_EQ(this_cpu()->esr >> 26, 0x25);
	CHECK_EQ(this_cpu()->esr & 0x3f, 0x21);
	CHECK_EQ(this_cpu()->far, GUEST_RAM_BASE + 13);
}

void wfi_and_wfe_go_on(void)
{
	u64 i, began = now();

	gic_init();
	gic_enable(1);
	/* With an interrupt pending, masked by PSTATE, WFI is over at once. */
	gic_sgi(1, BIT(0));
	for (i = 0; i < 1000; i++)
		wfi();
	for (i = 0; i < 1000; i++)
		asm volatile("sev\n\twfe");
	for (i = 0; i < 1000; i++)
		asm volatile("sevl\n\twfe\n\tyield");
	/* An exclusive monitor that is lost is an event; at worst WFE is a hint to the scheduler. */
	CHECK_LE(now() - began, ticks(GUEST_WAIT_SECONDS * 1000000UL));
	gic_take();
	CHECK_EQ(gic_log[0].nr, 1);
}

void smc_does_not_reach_firmware(void)
{
	struct smccc_args args = { { PSCI_VERSION } };
	bool undef;

	/*
	 * There is no EL3 for a guest: SMC is UNDEFINED, or EL2 answers as it would an HVC. Never does
	 * the firmware's own answer come: QEMU's is PSCI 1.1 or 1.0, and it has no SYSTEM_OFF2.
	 */
	undef = undefined(smccc_call(&args, 1));
	if (!undef)
		CHECK((s64)args.x[0] == -1 || (s64)(int32_t)args.x[0] == -1 || args.x[0] == 0x10003);
	args = (struct smccc_args){ { 0xc2000001, 1, 2, 3 } };
	undef = undefined(smccc_call(&args, 1));
	if (!undef)
		CHECK((s64)args.x[0] == -1 || (s64)(int32_t)args.x[0] == -1);
	/* And the guest goes on with what it had. */
	CHECK_EQ(hvc(PSCI_VERSION, 0, 0, 0), 0x10003);
}

void hvc_keeps_registers(void)
{
	struct smccc_args args;
	u64 i;

	for (i = 0; i < 1000; i++) {
		args = (struct smccc_args){ { 0x86001234, i, ~i, i << 32, i * 3, i * 5, i * 7, i * 11 } };
		/* x4 to x30 are compared in there. */
		if (!CHECK_EQ(smccc_call(&args, 0), 0) || !CHECK_EQ((int32_t)args.x[0], -1))
			break;
	}
	CHECK_EQ(args.x[0], -1);
}

static u64 data[4096] __attribute__((aligned(4096)));

static void all_sets_and_ways(void (*op)(u64 set_way))
{
	u64 clidr = read_sysreg(S3_1_C0_C0_1), level, ccsidr, line, sets, ways, set, way, shift;

	for (level = 0; level < 7 && clidr >> (3 * level) & 7; level++) {
		if ((clidr >> (3 * level) & 7) < 2)
			continue;
		write_sysreg(S3_2_C0_C0_0, level << 1);
		isb();
		ccsidr = read_sysreg(S3_1_C0_C0_0);
		line = (ccsidr & 7) + 4;
		ways = ccsidr >> 3 & 0x3ff;
		sets = ccsidr >> 13 & 0x7fff;
		shift = ways ? __builtin_clz(ways) : 0;
		/* A few of each, not the whole: they may trap. */
		for (way = 0; way <= ways; way += ways / 2 + 1)
			for (set = 0; set <= sets; set += sets / 4 + 1)
				op(way << shift | set << line | level << 1);
	}
}

static void dc_csw(u64 v) { asm volatile("dc csw, %0" : : "r"(v) : "memory"); }
static void dc_cisw(u64 v) { asm volatile("dc cisw, %0" : : "r"(v) : "memory"); }
static void dc_isw(u64 v) { asm volatile("dc isw, %0" : : "r"(v) : "memory"); }

static void set_way(void)
{
	u64 i;

	/* EL2 may refuse it to a protected guest, by address is enough; then all of it, and cleanly. */
	if (guest_flags() & GUEST_FLAG_PROTECTED && undefined(dc_csw(0))) {
		CHECK(undefined(dc_cisw(0)));
		CHECK(undefined(dc_isw(0)));
		return;
	}

	for (i = 0; i < ARRAY_SIZE(data); i++)
		WRITE_ONCE(data[i], i * 0x9e3779b97f4a7c15);
	dsb();
	all_sets_and_ways(dc_csw);
	all_sets_and_ways(dc_cisw);
	dsb();
	/* Invalidation must not discard what others have in the cache: it cleans too (HCR_EL2.SWIO). */
	all_sets_and_ways(dc_isw);
	dsb();
	for (i = 0; i < ARRAY_SIZE(data); i++)
		if (!CHECK_EQ(READ_ONCE(data[i]), i * 0x9e3779b97f4a7c15))
			break;
}

void set_way_maintenance_keeps_data(void)
{
	set_way();
}

void set_way_maintenance_with_the_mmu_off(void)
{
	CHECK_EQ(read_sysreg(sctlr_el1) & 1, 0);
	set_way();
	/* What follows is what boot code does: maintenance, then the caches. */
	mmu_set(SCTLR_MMU_ON);
	set_way();
}

/* pKVM refuses it to a protected guest. */
static bool has_set_way(void)
{
	return !(guest_flags() & GUEST_FLAG_PROTECTED && undefined(dc_csw(0)));
}

#define FIRST_PAGE	(GUEST_RAM_BASE + (2UL << 20))
#define LAST_PAGE	(GUEST_RAM_BASE + (6UL << 20))

static void fill_pages(u64 seed)
{
	u64 a;

	for (a = FIRST_PAGE; a < LAST_PAGE; a += 4096)
		mmio_write64(a, a * seed);
}

static void expect_pages(u64 seed)
{
	u64 a;

	for (a = FIRST_PAGE; a < LAST_PAGE; a += 4096)
		if (!CHECK_AT(a, mmio_read64(a), a * seed))
			break;
}

/* As a boot loader does before it starts a kernel, and as it began: no other maintenance. */
void set_way_maintenance_and_caches_off(void)
{
	u64 round;

	if (!has_set_way()) {
		CHECK(true);
		return;
	}
	for (round = 1; round < 4; round++) {
		fill_pages(round);
		dsb();
		all_sets_and_ways(dc_cisw);
		dsb();
		mmu_set(SCTLR_RES1);
		CHECK_EQ(read_sysreg(sctlr_el1), SCTLR_RES1);
		expect_pages(round);
		fill_pages(~round);
		dsb();
		all_sets_and_ways(dc_isw);
		dsb();
		mmu_set(SCTLR_MMU_ON);
		CHECK_EQ(read_sysreg(sctlr_el1), SCTLR_MMU_ON);
		expect_pages(~round);
	}
}

#define FOR_TRANSLATION(X)							\
	X(ttbr1_el1, 0x40001000) X(esr_el1, 0x5a5a5a5a) X(far_el1, ~0UL / 3)	\
	X(contextidr_el1, 0x12345678) X(mair_el1, MAIR | 0x44UL << 16)		\
	X(tcr_el1, TCR | 1UL << 37) X(afsr0_el1, 0) X(afsr1_el1, 0) X(amair_el1, 0)
#define WRITE_TRANSLATION(name, value)	write_sysreg(name, value); want.name = read_sysreg(name);
#define KEEP_TRANSLATION(name, value)	was.name = read_sysreg(name);
#define AGAIN_TRANSLATION(name, value)	write_sysreg(name, value);
#define COMPARE_TRANSLATION(name, value)	CHECK_EQ(read_sysreg(name), want.name);
#define BACK_TRANSLATION(name, value)	write_sysreg(name, was.name);
#define DECLARE_TRANSLATION(name, value)	u64 name;

/* Such writes may trap until the caches have gone off and on; they do what they do without. */
void registers_written_after_set_way(void)
{
	struct {
		FOR_TRANSLATION(DECLARE_TRANSLATION)
	} want, was;

	if (!has_set_way()) {
		CHECK(true);
		return;
	}
	FOR_TRANSLATION(KEEP_TRANSLATION)
	FOR_TRANSLATION(WRITE_TRANSLATION)
	FOR_TRANSLATION(BACK_TRANSLATION)
	isb();
	mmu_set(SCTLR_RES1);
	dc_cisw(0);
	dsb();
	FOR_TRANSLATION(AGAIN_TRANSLATION)
	isb();
	FOR_TRANSLATION(COMPARE_TRANSLATION)
	request(REQUEST_MIGRATE, 0);
	FOR_TRANSLATION(COMPARE_TRANSLATION)
	CHECK_EQ(read_sysreg(ttbr0_el1), (u64)identity_map);
	FOR_TRANSLATION(BACK_TRANSLATION)
	isb();
	mmu_set(SCTLR_MMU_ON);
	CHECK_EQ(read_sysreg(sctlr_el1), SCTLR_MMU_ON);
}

void maintenance_by_address(void)
{
	u64 zva = read_sysreg(dczid_el0), i;
	u32 *code = (u32 *)data;

	for (i = 0; i < ARRAY_SIZE(data); i++)
		data[i] = ~i;
	dsb();
	for (i = 0; i < sizeof(data); i += 16) {
		asm volatile("dc cvau, %0\n\tdc cvac, %0\n\tdc civac, %0" : : "r"((u64)data + i) : "memory");
	}
	dsb();
	for (i = 0; i < ARRAY_SIZE(data); i++)
		if (!CHECK_EQ(READ_ONCE(data[i]), ~i))
			break;
	if (!(zva & BIT(4))) {
		for (i = 0; i < sizeof(data); i += 4UL << (zva & 0xf))
			asm volatile("dc zva, %0" : : "r"((u64)data + i) : "memory");
		for (i = 0; i < ARRAY_SIZE(data); i++)
			if (!CHECK_EQ(READ_ONCE(data[i]), 0))
				break;
	}
	/* Code that is written, run, written again: movz w0, #n; ret. */
	for (i = 0; i < 100; i++) {
		u64 (*run)(void) = (u64 (*)(void))code;

		WRITE_ONCE(code[0], 0x52800000 | i << 5);
		WRITE_ONCE(code[1], 0xd65f03c0);
		asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %0\n\tdsb ish\n\tisb" : : "r"(code) : "memory");
		if (!CHECK_EQ(run(), i))
			break;
	}
	asm volatile("ic iallu\n\tic ialluis\n\tdsb ish\n\tisb");
	asm volatile("dc ivac, %0\n\tdsb sy" : : "r"(code) : "memory");
	CHECK_EQ(READ_ONCE(code[1]), 0xd65f03c0);
}

void tlb_maintenance_and_translation(void)
{
	u64 address = (u64)data, par;

	data[0] = 42;
	asm volatile("dsb ishst\n\ttlbi vmalle1is\n\tdsb ish\n\tisb" : : : "memory");
	asm volatile("tlbi vmalle1\n\tdsb nsh\n\tisb" : : : "memory");
	asm volatile("tlbi vae1is, %0\n\tdsb ish\n\tisb" : : "r"(address >> 12) : "memory");
	asm volatile("tlbi vaae1is, %0\n\tdsb ish\n\tisb" : : "r"(address >> 12) : "memory");
	asm volatile("tlbi aside1is, xzr\n\tdsb ish\n\tisb" : : : "memory");
	CHECK_EQ(READ_ONCE(data[0]), 42);
	asm volatile("at s1e1r, %0\n\tisb" : : "r"(address));
	par = read_sysreg(par_el1);
	CHECK_EQ(par & 1, 0);
	CHECK_EQ(par & 0xfffffffff000, address & ~0xfffUL);
	asm volatile("at s1e1w, %0\n\tisb" : : "r"(0x200000000UL));
	CHECK_EQ(read_sysreg(par_el1) & 1, 1);
	/* PAR_EL1 is the guest's own. */
	request(REQUEST_SLEEP, 1000);
	CHECK_EQ(read_sysreg(par_el1) & 1, 1);
}

void mmu_turned_on_and_off_again(void)
{
	u64 i;

	for (i = 0; i < 10; i++) {
		data[i] = i;
		dsb();
		mmu_set(SCTLR_MMU_ON);
		/* What was written past the caches is read through them. */
		asm volatile("dc ivac, %0\n\tdsb sy" : : "r"(&data[i]) : "memory");
		CHECK_EQ(READ_ONCE(data[i]), i);
		WRITE_ONCE(data[i + 16], ~i);
		asm volatile("dsb sy" : : : "memory");
		/* And the other way round: cleaned before the caches are off. Whole stack and data. */
		CHECK_EQ(read_sysreg(sctlr_el1) & 1, 1);
		asm volatile("dc civac, %0\n\tdsb sy" : : "r"(&data[i + 16]) : "memory");
		mmu_set(SCTLR_RES1);
		CHECK_EQ(READ_ONCE(data[i + 16]), ~i);
		CHECK_EQ(read_sysreg(sctlr_el1) & 1, 0);
	}
}
