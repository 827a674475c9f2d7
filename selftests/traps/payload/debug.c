// SPDX-License-Identifier: GPL-2.0
/* Breakpoints, watchpoints and single steps of the guest's own, with the host's beside them. */
#include "gic.h"
#include "tests.h"

/* MDSCR_EL1: SS, KDE, MDE. */
#define SS		BIT(0)
#define KDE		BIT(13)
#define MDE		BIT(15)
/* E, at EL1; all bytes of the instruction, or of the double word when it is written. */
#define BREAKPOINT	(1 | 1 << 1 | 0xf << 5)
#define WATCHPOINT	(1 | 1 << 1 | 2 << 3 | 0xff << 5)
/* SPSR_EL1.SS */
#define SPSR_SS		BIT(21)
/* ESR_EL1.EC, from the same Exception level, and DFSC or IFSC: debug exception. */
#define EC_BREAKPOINT	0x31
#define EC_STEP		0x33
#define EC_WATCHPOINT	0x35
#define FSC_DEBUG	0x22

#define debug_enable()	asm volatile("isb\n\tmsr daifclr, #8\n\tisb" : : : "memory")
#define debug_disable()	asm volatile("msr daifset, #8\n\tisb" : : : "memory")

/* A function for each CPU to stop at, and the steps of single_steps(). */
void stop_here(u64 index);
extern char stop_0[], stop_1[], steps[], steps_end[];
asm(".pushsection .text\n"
    ".globl stop_here, stop_0, stop_1\n"
    "stop_here: cbnz x0, stop_1\n"
    "stop_0: nop\n"
    "	ret\n"
    "stop_1: nop\n"
    "	ret\n"
    ".popsection");

#define FOR_POINTS(X)	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

static void set_breakpoint(u64 n, u64 address, u64 control)
{
	switch (n) {
#define CASE(n)	case n: write_sysreg(S2_0_C0_C##n##_4, address); write_sysreg(S2_0_C0_C##n##_5, control); break;
	FOR_POINTS(CASE)
#undef CASE
	}
	isb();
}

static void set_watchpoint(u64 n, u64 address, u64 control)
{
	switch (n) {
#define CASE(n)	case n: write_sysreg(S2_0_C0_C##n##_6, address); write_sysreg(S2_0_C0_C##n##_7, control); break;
	FOR_POINTS(CASE)
#undef CASE
	}
	isb();
}

static u64 breakpoints(void)
{
	return (read_sysreg(id_aa64dfr0_el1) >> 12 & 0xf) + 1;
}

static u64 watchpoints(void)
{
	return (read_sysreg(id_aa64dfr0_el1) >> 20 & 0xf) + 1;
}

/* pKVM hides debug from its protected guests. */
static bool is_hidden(void)
{
	if (read_sysreg(id_aa64dfr0_el1) & 0xf)
		return false;
	CHECK(guest_flags() & GUEST_FLAG_PROTECTED && !(guest_flags() & GUEST_FLAG_MVIRT));
	return true;
}

/* The debug exceptions of a CPU. What was hit is left out. */
static struct hits {
	u64 nr, ec, fsc, elr, far;
} hits[GUEST_MAX_CPUS];

static bool note_hit(struct frame *frame)
{
	struct hits *hit = &hits[this_cpu()->index];
	u64 esr = read_sysreg(esr_el1), ec = esr >> 26;

	if (ec != EC_BREAKPOINT && ec != EC_WATCHPOINT)
		return false;
	hit->nr++;
	hit->ec = ec;
	hit->fsc = esr & 0x3f;
	hit->elr = frame->elr;
	hit->far = read_sysreg(far_el1);
	frame->elr += 4;
	return true;
}

static void begin(u64 mdscr)
{
	this_cpu()->sync = note_hit;
	write_sysreg(oslar_el1, 0);
	write_sysreg(mdscr_el1, mdscr);
	debug_enable();
}

static void end(void)
{
	debug_disable();
	write_sysreg(mdscr_el1, 0);
	this_cpu()->sync = NULL;
}

static void stops(u64 n, u64 address)
{
	struct hits *hit = &hits[this_cpu()->index];

	hit->nr = 0;
	stop_here(this_cpu()->index);
	CHECK_AT(n, READ_ONCE(hit->nr), 1);
	CHECK_AT(n, hit->ec, EC_BREAKPOINT);
	CHECK_AT(n, hit->fsc, FSC_DEBUG);
	CHECK_AT(n, hit->elr, address);
}

static void passes(u64 n)
{
	struct hits *hit = &hits[this_cpu()->index];

	hit->nr = 0;
	stop_here(this_cpu()->index);
	CHECK_AT(n, READ_ONCE(hit->nr), 0);
}

/* Exits to EL2, to the kernel, to user space, and another CPU of the host's. */
static void leave(void)
{
	hvc(0x86001234, 0, 0, 0);
	guest_flags();
	request(REQUEST_MIGRATE, 0);
	request(REQUEST_SLEEP, 1000);
}

void breakpoints_fire(void)
{
	u64 n;

	if (is_hidden())
		return;
	CHECK_LE(2, breakpoints());
	begin(MDE | KDE);
	for (n = 0; n < breakpoints(); n++) {
		passes(n);
		set_breakpoint(n, (u64)stop_0, BREAKPOINT);
		stops(n, (u64)stop_0);
		leave();
		stops(n, (u64)stop_0);
		/* PSTATE.D masks it, KDE and MDE enable it. */
		debug_disable();
		passes(n);
		debug_enable();
		write_sysreg(mdscr_el1, KDE);
		isb();
		passes(n);
		leave();
		write_sysreg(mdscr_el1, MDE);
		isb();
		passes(n);
		write_sysreg(mdscr_el1, MDE | KDE);
		isb();
		stops(n, (u64)stop_0);
		set_breakpoint(n, (u64)stop_0, BREAKPOINT & ~1);
		passes(n);
		/* What the guest sees is what it wrote. */
		set_breakpoint(n, (u64)stop_1, BREAKPOINT);
		passes(n);
		set_breakpoint(n, 0, 0);
	}
	/* A breakpoint that the last one, by context, is linked to. */
	write_sysreg(contextidr_el1, 0x1234);
	set_breakpoint(n - 1, 0x1234, BREAKPOINT | 3 << 20);
	set_breakpoint(0, (u64)stop_0, BREAKPOINT | 1 << 20 | (n - 1) << 16);
	stops(n, (u64)stop_0);
	leave();
	stops(n, (u64)stop_0);
	write_sysreg(contextidr_el1, 0x1235);
	isb();
	passes(n);
	end();
}

static u64 finished;

static void hold_breakpoint(u64 index)
{
	u64 i;

	begin(MDE | KDE);
	set_breakpoint(0, (u64)(index ? stop_1 : stop_0), BREAKPOINT);
	for (i = 0; i < 20; i++) {
		stops(i, (u64)(index ? stop_1 : stop_0));
		leave();
	}
	end();
	__atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

/* Each stops at its own place and not at the other's. */
static void hold_other(u64 index)
{
	u64 i;

	begin(MDE | KDE);
	set_breakpoint(1, (u64)(index ? stop_0 : stop_1), BREAKPOINT);
	for (i = 0; i < 20; i++) {
		passes(i);
		leave();
	}
	end();
	hold_breakpoint(index);
}

void breakpoints_of_two_cpus(void)
{
	if (is_hidden())
		return;
	cpu_start(1, hold_other);
	hold_breakpoint(0);
	wait_for(&finished, 2);
}

static u64 variable __attribute__((aligned(8)));

static void writes(u64 n, u64 *at, bool fires)
{
	struct hits *hit = &hits[this_cpu()->index];
	u64 before = READ_ONCE(*at);

	hit->nr = 0;
	mmio_write64((u64)at, before + 1);
	CHECK_AT(n, READ_ONCE(hit->nr), fires);
	CHECK_AT(n, mmio_read64((u64)at), before + !fires);
	/* It is for writes alone. */
	CHECK_AT(n, READ_ONCE(hit->nr), fires);
	if (!fires)
		return;
	CHECK_AT(n, hit->ec, EC_WATCHPOINT);
	CHECK_AT(n, hit->fsc, FSC_DEBUG);
	CHECK_AT(n, hit->far, (u64)at);
}

void watchpoints_fire(void)
{
	u64 n;

	if (is_hidden())
		return;
	CHECK_LE(2, watchpoints());
	begin(MDE | KDE);
	for (n = 0; n < watchpoints(); n++) {
		writes(n, &variable, false);
		set_watchpoint(n, (u64)&variable, WATCHPOINT);
		writes(n, &variable, true);
		leave();
		writes(n, &variable, true);
		set_watchpoint(n, (u64)&variable, WATCHPOINT & ~1);
		writes(n, &variable, false);
		set_watchpoint(n, 0, 0);
	}
	end();
}

/* Where single steps stopped. */
static u64 stopped_at[32], nr_steps;

static bool note_step(struct frame *frame)
{
	if (read_sysreg(esr_el1) >> 26 != EC_STEP)
		return false;
	if (nr_steps < ARRAY_SIZE(stopped_at))
		stopped_at[nr_steps] = frame->elr;
	nr_steps++;
	if (frame->elr == (u64)steps_end)
		write_sysreg(mdscr_el1, 0);
	else
		frame->spsr |= SPSR_SS;
	return true;
}

/* Each instruction once, those too that EL2, the host's kernel or user space does for the guest. */
void single_steps(void)
{
	u64 round, i, nr = (steps_end - steps) / 4;

	if (is_hidden())
		return;
	this_cpu()->sync = note_step;
	for (round = 0; round < 3; round++) {
		nr_steps = 0;
		write_sysreg(mdscr_el1, SS | KDE);
		isb();
		asm volatile(
			"mov	x9, %0\n\t"
			"mov	x10, %1\n\t"
			"msr	daifclr, #8\n"
			"steps:\n\t"
			"nop\n\t"
			"mrs	x3, S3_0_C0_C4_0\n\t"
			"movz	x0, #0x8400, lsl #16\n\t"
			"hvc	#0\n\t"
			"ldr	w3, [x9]\n\t"
			"ldr	x3, [x10]\n\t"
			"nop\n\t"
			"wfi\n\t"
			"mrs	x3, oslsr_el1\n\t"
			"nop\n"
			"steps_end:\n\t"
			"msr	daifset, #8"
			: : "r"(GUEST_GICD_BASE + GICD_IIDR), "r"(GUEST_DEVICE_BASE + DEVICE_ANSWER)
			: "x0", "x1", "x2", "x3", "x9", "x10", "memory");
		write_sysreg(mdscr_el1, 0);
		isb();
		/* The first one is taken before any of them. */
		CHECK_EQ(nr_steps, nr + 1);
		for (i = 0; i <= nr && i < ARRAY_SIZE(stopped_at); i++)
			CHECK_AT(i, stopped_at[i], (u64)steps + 4 * i);
		request(REQUEST_MIGRATE, 0);
	}
	this_cpu()->sync = NULL;
}

void os_lock_holds_debug_exceptions(void)
{
	if (is_hidden())
		return;
	begin(MDE | KDE);
	set_breakpoint(0, (u64)stop_0, BREAKPOINT);
	stops(0, (u64)stop_0);
	write_sysreg(oslar_el1, 1);
	isb();
	CHECK_EQ(read_sysreg(oslsr_el1) & BIT(1), BIT(1));
	passes(1);
	leave();
	passes(2);
	write_sysreg(oslar_el1, 0);
	isb();
	stops(3, (u64)stop_0);
	end();
}

/* The kernel's half: a second view of the same memory. */
#define KERNEL_HALF	0xffffffff00000000
/* TCR_EL1: T1SZ 32, 4 KiB granule, inner and outer write-back, inner shareable; walks by TTBR1. */
#define TCR_BOTH	((TCR & ~BIT(23)) | 32UL << 16 | 1UL << 24 | 1UL << 26 | 3UL << 28 | 2UL << 30)

void debug_beside_the_hosts(void)
{
	static u64 theirs __attribute__((aligned(8)));
	u64 *alias = (u64 *)(KERNEL_HALF + (u64)&theirs), i, n, touched = 0;

	if (is_hidden())
		return;
	write_sysreg(ttbr1_el1, (u64)identity_map);
	write_sysreg(tcr_el1, TCR_BOTH);
	asm volatile("isb\n\ttlbi vmalle1\n\tdsb nsh\n\tisb" : : : "memory");
	CHECK_EQ(request(REQUEST_WATCH, (u64)alias), 0);
	for (n = 0; n <= watchpoints(); n++) {
		/* The host watches this address of its own kernel, and the guest uses it. */
		begin(n ? MDE | KDE : KDE);
		for (i = 0; i < n; i++)
			set_watchpoint(i, (u64)&variable, WATCHPOINT);
		for (i = 0; i < 5; i++) {
			writes(n << 8 | i, alias, false);
			writes(n << 8 | i, &variable, n > 0);
			/* Between a run and the next one it meets its own, on each of its CPUs. */
			CHECK_EQ(request(REQUEST_TOUCH, i), 0);
			touched++;
			request(REQUEST_MIGRATE, 0);
		}
		end();
	}
	CHECK_EQ(request(REQUEST_TOUCHED, 0), touched);
	CHECK_EQ(request(REQUEST_LEAKED, 0), 0);
}
