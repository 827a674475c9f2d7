// SPDX-License-Identifier: GPL-2.0
/*
 * PSCI 1.3 (Arm DEN 0022F) and the other calls of SMCCC (Arm DEN 0028) that a guest may make. Each call
 * of hvc() checks by itself that x4 to x30 come back as they were.
 */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(ALL_TESTS)

#define CPU_SUSPEND32		0x84000001
#define CPU_SUSPEND64		0xc4000001
#define CPU_ON32		0x84000003
#define AFFINITY_INFO32		0x84000004
#define MIGRATE32		0x84000005
#define MIGRATE_INFO_TYPE	0x84000006
#define MIGRATE_INFO_UP_CPU64	0xc4000007
#define SYSTEM_SUSPEND32	0x8400000e
#define SYSTEM_SUSPEND64	0xc400000e
#define SYSTEM_RESET2_32	0x84000012
#define SYSTEM_RESET2_64	0xc4000012
#define SYSTEM_OFF2_32		0x84000015
#define SYSTEM_OFF2_64		0xc4000015
#define HIBERNATE_OFF		1
#define SMCCC_VERSION		0x80000000
#define SMCCC_ARCH_FEATURES	0x80000001
#define WORKAROUND_1		0x80008000
#define WORKAROUND_2		0x80007fff
#define WORKAROUND_3		0x80003fff
#define TRNG_VERSION		0x84000050
#define TRNG_FEATURES		0x84000051
#define TRNG_RND32		0x84000053
#define TRNG_RND64		0xc4000053
#define VENDOR_UID		0x8600ff01
#define VENDOR_FEATURES		0x86000000
#define ON			0
#define OFF			1

void version_and_features(void)
{
	static const u32 there[] = {
		PSCI_VERSION, CPU_SUSPEND32, CPU_SUSPEND64, PSCI_CPU_OFF, CPU_ON32, PSCI_CPU_ON,
		AFFINITY_INFO32, PSCI_AFFINITY_INFO, MIGRATE_INFO_TYPE, PSCI_SYSTEM_OFF,
		PSCI_SYSTEM_RESET, PSCI_FEATURES, SYSTEM_RESET2_32, SYSTEM_RESET2_64, SMCCC_VERSION,
	};
	/* Not even offered: no trusted OS to migrate, nothing of 1.0's statistics and power modes. */
	static const u32 absent[] = {
		MIGRATE32, 0xc4000005, 0x84000007, MIGRATE_INFO_UP_CPU64, 0x8400000b, 0x8400000c,
		0xc400000d, 0x8400000f, 0xc4000010, 0xc4000011, 0xc4000013, 0xc4000014, 0x8400001f,
		0xc4000000, 0xc4000002, 0x12345678, 0, 0xffffffff,
	};
	u64 i;

	CHECK_EQ(hvc(PSCI_VERSION, 0, 0, 0), 0x10003);
	for (i = 0; i < ARRAY_SIZE(there); i++)
		CHECK_AT(there[i], hvc(PSCI_FEATURES, there[i], 0, 0), 0);
	for (i = 0; i < ARRAY_SIZE(absent); i++)
		CHECK_AT(absent[i], hvc(PSCI_FEATURES, absent[i], 0, 0), PSCI_NOT_SUPPORTED);
	/* SYSTEM_OFF2 tells its kinds: hibernation, bit 0. */
	CHECK_EQ(hvc(PSCI_FEATURES, SYSTEM_OFF2_32, 0, 0), BIT(0));
	CHECK_EQ(hvc(PSCI_FEATURES, SYSTEM_OFF2_64, 0, 0), BIT(0));
	/* 2: a trusted OS that needs no migration, or none. */
	CHECK_EQ(hvc(MIGRATE_INFO_TYPE, 0, 0, 0), 2);
}

void unknown_functions(void)
{
	static const u32 functions[] = {
		/* PSCI that is not there */
		MIGRATE32, MIGRATE_INFO_UP_CPU64, 0x8400000b, 0xc400000d, 0x8400000f, 0xc4000011,
		0xc4000013, 0x8400001f,
		/* 64-bit numbers of functions that have 32-bit ones alone */
		0xc4000000, 0xc4000002, 0xc4000006, 0xc4000008, 0xc4000009, 0xc400000a,
		/* each owner: CPU, SiP, OEM, secure services, hypervisor, trusted applications and OS */
		0x81000000, 0xc1000001, 0x82000000, 0xc2000001, 0x83000000, 0x84000100, 0x85000000,
		0x86001234, 0xb0000000, 0xb2000000, 0xbf000001, 0xff000000,
		/* yielding calls, and no calls at all */
		0x02000000, 0x44000000, 0, 0x7fffffff,
	};
	u64 i;

	for (i = 0; i < ARRAY_SIZE(functions); i++)
		CHECK_AT(functions[i], hvc(functions[i], 1, 2, 3), PSCI_NOT_SUPPORTED);
	/* Only the lower half of x0 is the number. */
	CHECK_EQ(hvc(0xdeadbeef00000000 | PSCI_VERSION, 0, 0, 0), 0x10003);
	for (i = 0; i < 10000; i++)
		if (!CHECK_EQ(hvc(0x86001000 + i, i, i, i), PSCI_NOT_SUPPORTED))
			break;
}

void smccc(void)
{
	s64 version = hvc(SMCCC_VERSION, 0, 0, 0);

	/* 1.1 on KVM, 1.2 here: more registers are kept by 1.1 already. */
	CHECK_LE(guest_flags() & GUEST_FLAG_MVIRT ? 0x10002 : 0x10001, version);
	CHECK_LE(version, 0x1ffff);
	/* SMCCC_ARCH_SOC_ID is not for guests; a feature that nobody has heard of. */
	CHECK_EQ(hvc(SMCCC_ARCH_FEATURES, 0x80000002, 0, 0), PSCI_NOT_SUPPORTED);
	CHECK_EQ(hvc(SMCCC_ARCH_FEATURES, 0x80001234, 0, 0), PSCI_NOT_SUPPORTED);
	CHECK_EQ(hvc(SMCCC_ARCH_FEATURES, 0, 0, 0), PSCI_NOT_SUPPORTED);
}

void workarounds(void)
{
	static const u32 ids[] = { WORKAROUND_1, WORKAROUND_2, WORKAROUND_3 };
	u64 i;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		s64 answer = hvc(SMCCC_ARCH_FEATURES, ids[i], 0, 0);

		/* Needed, or this CPU needs none (1), or unknown. */
		CHECK_AT(ids[i], answer >= -1 && answer <= 1, 1);
		/* What discovery offers can be called; the guest is none the worse for it. */
		if (answer >= 0)
			hvc(ids[i], 0, 0, 0);
	}
	CHECK_EQ(hvc(PSCI_VERSION, 0, 0, 0), 0x10003);
}

void random_numbers(void)
{
	struct smccc_args args = { { TRNG_VERSION } };
	u64 first[3], i;
	s64 version;

	CHECK_EQ(smccc_call(&args, 0), 0);
	version = args.x[0];
	if (version < 0) {
		CHECK_EQ(version, PSCI_NOT_SUPPORTED);
		CHECK_EQ(hvc(TRNG_RND64, 64, 0, 0), PSCI_NOT_SUPPORTED);
		CHECK_EQ(hvc(TRNG_FEATURES, TRNG_RND64, 0, 0), PSCI_NOT_SUPPORTED);
		return;
	}
	CHECK_LE(0x10000, version);
	CHECK_LE(0, hvc(TRNG_FEATURES, TRNG_RND64, 0, 0));
	CHECK_EQ(hvc(TRNG_FEATURES, 0x84000056, 0, 0), PSCI_NOT_SUPPORTED);
	for (i = 0; i < 2; i++) {
		args = (struct smccc_args){ { TRNG_RND64, 192 } };
		CHECK_EQ(smccc_call(&args, 0), 0);
		CHECK_EQ(args.x[0], 0);
		CHECK(args.x[1] != args.x[2] && args.x[2] != args.x[3]);
		if (i)
			CHECK(args.x[1] != first[0] && args.x[2] != first[1] && args.x[3] != first[2]);
		first[0] = args.x[1];
		first[1] = args.x[2];
		first[2] = args.x[3];
	}
	/* x3 holds the least significant bits; what was not asked for is zero. */
	args = (struct smccc_args){ { TRNG_RND64, 1 } };
	smccc_call(&args, 0);
	CHECK_EQ(args.x[0], 0);
	CHECK_EQ(args.x[1] | args.x[2] | args.x[3] >> 1, 0);
	/* KVM gives nothing and calls it success. */
	if (guest_flags() & GUEST_FLAG_MVIRT)
		CHECK_EQ(hvc(TRNG_RND64, 0, 0, 0), -2);
	CHECK_EQ(hvc(TRNG_RND64, 193, 0, 0), -2);
	CHECK_EQ(hvc(TRNG_RND32, 97, 0, 0), -2);
}

void hypervisor_identifies_itself(void)
{
	struct smccc_args args = { { VENDOR_UID } };

	/* 28b46fb6-2ec5-11e9-a9ca-4b564d003a74: KVM's, which guests look for. */
	CHECK_EQ(smccc_call(&args, 0), 0);
	CHECK_EQ(args.x[0], 0xb66fb428);
	CHECK_EQ(args.x[1], 0xe911c52e);
	CHECK_EQ(args.x[2], 0x564bcaa9);
	CHECK_EQ(args.x[3], 0x743a004d);
	/* Bit 0: this very call. */
	CHECK_EQ(hvc(VENDOR_FEATURES, 0, 0, 0) & 1, 1);
}

/* As a CPU comes up; asm of psci.S leaves it there. */
extern char observe_start[];
extern u64 observed[8];

void cpu_on_starts_a_clean_cpu(void)
{
	CHECK_EQ(hvc(PSCI_CPU_ON, mpidr_of(1), (u64)observe_start, 0xfedcba9876543210), PSCI_SUCCESS);
	wait_for(&observed[0], 1);
	/* x0 is the context, the MMU and the caches are off, EL1h, all of DAIF masked. */
	CHECK_EQ(observed[1], 0xfedcba9876543210);
	CHECK_EQ(observed[2] & (BIT(0) | BIT(2) | BIT(12)), 0);
	CHECK_EQ(observed[3], 4);
	CHECK_EQ(observed[4], 0x3c0);
	CHECK_EQ(observed[5] & 0xff00ffffff, mpidr_of(1));
	CHECK_EQ(observed[6], 1);
	CHECK_EQ(observed[7], (u64)observe_start);
}

static void idle(u64 index)
{
	WRITE_ONCE(this_cpu()->up, 2);
	for (;;)
		wfi();
}

void cpu_on_refuses(void)
{
	static const u64 nobody[] = {
		2, 15, 0x100, 0x10000, 0x100000001, 0x80000001, 0x41000000, ~0UL,
	};
	u64 i;

	for (i = 0; i < ARRAY_SIZE(nobody); i++)
		CHECK_AT(nobody[i], hvc(PSCI_CPU_ON, nobody[i], (u64)secondary_start, 1),
			 PSCI_INVALID_PARAMETERS);
	/* Oneself. */
	CHECK_EQ(hvc(PSCI_CPU_ON, mpidr_of(0), (u64)secondary_start, 1), PSCI_ALREADY_ON);
	if (guest_flags() & GUEST_FLAG_MVIRT) {
		/* No instruction can be there. KVM starts the CPU and leaves it to its fate. */
		CHECK_EQ(hvc(PSCI_CPU_ON, mpidr_of(1), (u64)secondary_start + 2, 1), PSCI_INVALID_ADDRESS);
		CHECK_EQ(hvc(PSCI_CPU_ON, mpidr_of(1), BIT(56), 1), PSCI_INVALID_ADDRESS);
	}
	/* None of that has started anything. */
	CHECK_EQ(hvc(PSCI_AFFINITY_INFO, mpidr_of(1), 0, 0), OFF);
	cpu_start(1, idle);
	wait_for(&cpus[1].up, 2);
	CHECK_EQ(hvc(PSCI_CPU_ON, mpidr_of(1), (u64)secondary_start, 1), PSCI_ALREADY_ON);
	CHECK_EQ(hvc(CPU_ON32, mpidr_of(1), (u64)secondary_start, 1), PSCI_ALREADY_ON);
}

static u64 starts, off_count, on_count, go;

static void count_start(u64 index)
{
	__atomic_fetch_add(&starts, 1, __ATOMIC_SEQ_CST);
	for (;;)
		wfi();
}

static void try_to_start(u64 index)
{
	s64 error;

	while (!READ_ONCE(go))
		;
	error = hvc(PSCI_CPU_ON, mpidr_of(2), (u64)secondary_start, 2);
	CHECK(error == PSCI_SUCCESS || error == PSCI_ALREADY_ON || error == -5 /* ON_PENDING */);
	__atomic_fetch_add(error == PSCI_SUCCESS ? &on_count : &off_count, 1, __ATOMIC_SEQ_CST);
}

void cpu_on_of_one_cpu_by_two(void)
{
	cpus[2].work = count_start;
	cpu_start(1, try_to_start);
	WRITE_ONCE(go, 1);
	try_to_start(0);
	wait_for(&starts, 1);
	delay(10000);
	/* One of the two did it, and it was done once. */
	while (READ_ONCE(on_count) + READ_ONCE(off_count) < 2)
		;
	CHECK_EQ(on_count, 1);
	CHECK_EQ(off_count, 1);
	CHECK_EQ(starts, 1);
}

static void leave(u64 index)
{
	WRITE_ONCE(this_cpu()->up, 2);
	/* Comes back only if it is refused. */
	CHECK_AT(index, hvc(PSCI_CPU_OFF, 0, 0, 0), 0);
	CHECK(false);
}

static void wait_off(u64 index)
{
	u64 end = now() + ticks(GUEST_WAIT_SECONDS * 1000000UL);

	while (hvc(PSCI_AFFINITY_INFO, mpidr_of(index), 0, 0) != OFF && now() < end)
		;
	CHECK_AT(index, hvc(PSCI_AFFINITY_INFO, mpidr_of(index), 0, 0), OFF);
}

void cpu_off_and_on_again(void)
{
	u64 round, i;

	for (round = 0; round < 10; round++) {
		for (i = 1; i < 4; i++)
			cpu_start(i, leave);
		for (i = 1; i < 4; i++)
			wait_off(i);
	}
}

void affinity_info(void)
{
	u64 i;

	CHECK_EQ(hvc(PSCI_AFFINITY_INFO, mpidr_of(0), 0, 0), ON);
	CHECK_EQ(hvc(AFFINITY_INFO32, mpidr_of(0), 0, 0), ON);
	for (i = 1; i < 4; i++)
		CHECK_AT(i, hvc(PSCI_AFFINITY_INFO, mpidr_of(i), 0, 0), OFF);
	cpu_start(2, idle);
	CHECK_EQ(hvc(PSCI_AFFINITY_INFO, mpidr_of(2), 0, 0), ON);
	CHECK_EQ(hvc(PSCI_AFFINITY_INFO, mpidr_of(3), 0, 0), OFF);
	/* A cluster is on if one of its CPUs is. */
	for (i = 1; i < 4; i++)
		CHECK_AT(i, hvc(PSCI_AFFINITY_INFO, mpidr_of(3), i, 0), ON);
	CHECK_EQ(hvc(PSCI_AFFINITY_INFO, mpidr_of(0), 4, 0), PSCI_INVALID_PARAMETERS);
	CHECK_EQ(hvc(PSCI_AFFINITY_INFO, mpidr_of(0), ~0UL, 0), PSCI_INVALID_PARAMETERS);
	CHECK_EQ(hvc(PSCI_AFFINITY_INFO, 9, 0, 0), PSCI_INVALID_PARAMETERS);
	CHECK_EQ(hvc(PSCI_AFFINITY_INFO, 0x10000, 1, 0), PSCI_INVALID_PARAMETERS);
	CHECK_EQ(hvc(PSCI_AFFINITY_INFO, 1UL << 40, 0, 0), PSCI_INVALID_PARAMETERS);
}

void suspend(void)
{
	u64 due, i;

	gic_init();
	gic_enable(PPI_VTIMER);
	for (i = 0; i < 5; i++) {
		due = now() + ticks(20000);
		write_sysreg(cntv_cval_el0, due);
		write_sysreg(cntv_ctl_el0, 1);
		isb();
		/* Standby: returns once an interrupt is pending, masked or not, or any time before. */
		while (icc_read(HPPIR1) != PPI_VTIMER)
			CHECK_EQ(hvc(i % 2 ? CPU_SUSPEND64 : CPU_SUSPEND32, 0, 0, 0), PSCI_SUCCESS);
		CHECK_LE(due, now());
		write_sysreg(cntv_ctl_el0, 0);
		isb();
		/* The look makes the hypervisor see that the level fell. */
		CHECK(!gic_pending(PPI_VTIMER));
	}
	/* With one pending at once it does not sleep at all. */
	gic_enable(1);
	gic_sgi(1, BIT(0));
	CHECK_EQ(hvc(CPU_SUSPEND64, 0, 0, 0), PSCI_SUCCESS);
}

void calls_that_end_it_check_their_arguments(void)
{
	/* Reset types: 0 is warm, 1 to 0x7fffffff are reserved; 64-bit calls take 64-bit arguments. */
	CHECK_EQ(hvc(SYSTEM_RESET2_64, 1, 0, 0), PSCI_INVALID_PARAMETERS);
	CHECK_EQ(hvc(SYSTEM_RESET2_32, 0x7fffffff, 0, 0), PSCI_INVALID_PARAMETERS);
	CHECK_EQ(hvc(SYSTEM_OFF2_64, 2, 0, 0), PSCI_INVALID_PARAMETERS);
	CHECK_EQ(hvc(SYSTEM_OFF2_64, HIBERNATE_OFF, 1, 0), PSCI_INVALID_PARAMETERS);
	CHECK_EQ(hvc(SYSTEM_OFF2_32, 3, 0, 0), PSCI_INVALID_PARAMETERS);
	/* Only where the VMM has asked for it. */
	CHECK_EQ(hvc(SYSTEM_SUSPEND32, GUEST_RAM_BASE, 0, 0), PSCI_NOT_SUPPORTED);
	CHECK_EQ(hvc(SYSTEM_SUSPEND64, GUEST_RAM_BASE, 0, 0), PSCI_NOT_SUPPORTED);
}

/* Ends the machine; that it goes on shows in the failure and in DONE. */
static void end_by(u64 function, u64 type)
{
	cpu_start(1, idle);
	wait_for(&cpus[1].up, 2);
	hvc(function, type, 0, 0);
	CHECK_AT(function, 0, 1);
}

void system_off(void) { end_by(PSCI_SYSTEM_OFF, 0); }
void system_reset(void) { end_by(PSCI_SYSTEM_RESET, 0); }
void system_off2(void) { end_by(SYSTEM_OFF2_64, 0); }
void system_off2_hibernate(void) { end_by(SYSTEM_OFF2_64, HIBERNATE_OFF); }
void system_off2_smc32(void) { end_by(SYSTEM_OFF2_32, HIBERNATE_OFF); }
void system_reset2(void) { end_by(SYSTEM_RESET2_64, 0); }
void system_reset2_vendor(void) { end_by(SYSTEM_RESET2_32, 0x80000001); }

static u64 suspended_until, may_leave;

static void stay(u64 index)
{
	wait_for(&may_leave, 1);
	leave(index);
}

/* Where SYSTEM_SUSPEND resumes, reset: when the interrupt came, and not before. */
static void resumed(u64 index)
{
	CHECK_EQ(index, 0);
	CHECK_LE(suspended_until, now());
	CHECK_EQ(this_cpu()->up, 1);
	done();
}

void system_suspend(void)
{
	CHECK_EQ(hvc(PSCI_FEATURES, SYSTEM_SUSPEND64, 0, 0), PSCI_SUCCESS);
	CHECK_EQ(hvc(SYSTEM_SUSPEND64, (u64)secondary_start + 2, 0, 0), PSCI_INVALID_ADDRESS);
	cpu_start(1, leave);
	wait_off(1);
	cpu_start(1, stay);
	CHECK_EQ(hvc(SYSTEM_SUSPEND64, (u64)secondary_start, 0, 0), PSCI_DENIED);
	WRITE_ONCE(may_leave, 1);
	wait_off(1);
	gic_init();
	gic_enable(PPI_VTIMER);
	cpus[0].work = resumed;
	WRITE_ONCE(cpus[0].up, 0);
	dsb();
	suspended_until = now() + ticks(50000);
	write_sysreg(cntv_cval_el0, suspended_until);
	write_sysreg(cntv_ctl_el0, 1);
	isb();
	hvc(SYSTEM_SUSPEND64, (u64)secondary_start, 0, 0);
	CHECK(false);
}

static void off(u64 index)
{
	hvc(PSCI_SYSTEM_OFF, 0, 0, 0);
	CHECK(false);
}

void system_off_by_another_cpu(void)
{
	cpu_start(1, off);
	for (;;)
		wfi();
}
