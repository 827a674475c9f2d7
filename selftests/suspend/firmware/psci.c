// SPDX-License-Identifier: GPL-2.0
/*
 * A firmware with PSCI 1.1 (Arm DEN0022) whose CPUs lose their registers when they are powered down:
 * QEMU's own keeps them all, and has no SYSTEM_SUSPEND. A CPU that is off, or sleeps, waits at EL3 for
 * an interrupt, and then starts at EL2 where it was told to.
 *
 * The MMU is off. Exclusive accesses to the lock work on the Device memory that all is then because
 * QEMU makes no difference.
 */
#include "firmware.h"
#include "../protocol.h"

#define PSCI_VERSION		0x84000000
#define CPU_SUSPEND		0x84000001
#define CPU_OFF			0x84000002
#define CPU_ON			0x84000003
#define AFFINITY_INFO		0x84000004
#define MIGRATE_INFO_TYPE	0x84000006
#define SYSTEM_OFF		0x84000008
#define SYSTEM_RESET		0x84000009
#define PSCI_FEATURES		0x8400000a
#define SYSTEM_SUSPEND		0x8400000e
#define SMCCC_VERSION		0x80000000
#define SMC64			0x40000000

#define SUCCESS			0
#define NOT_SUPPORTED		-1
#define INVALID_PARAMETERS	-2
#define DENIED			-3
#define ALREADY_ON		-4
#define ON_PENDING		-5

/* ESR_EL3.EC of an SMC from AArch64 state. */
#define EC_SMC64		0x17
/* PL061: pins that are outputs; the data of a pin is at the address with its bit set. */
#define GPIODIR			0x400
#define PIN_OFF			1
#define PIN_RESET		2

enum power { OFF, STARTING, ON };

static struct cpu {
	volatile enum power power;
	volatile bool present;
	volatile u64 entry;
	volatile u64 context;
	u64 seed;
	u64 suspend_calls;
	volatile u64 counts[FIRMWARE_REFUSED + 1];
} cpus[MAX_CPUS];

static u32 locked;
static volatile u64 last_entry, entry_changes;
static volatile u64 refuse_every, refuse_with, refuse_system;

static void lock(void)
{
	u32 failed, value;

	do {
		asm volatile("ldaxr %w0, [%2]\n\tstxr %w1, %w3, [%2]"
			     : "=&r"(value), "=&r"(failed) : "r"(&locked), "r"(1) : "memory");
	} while (value || failed);
}

static void unlock(void)
{
	asm volatile("stlr wzr, [%0]" : : "r"(&locked) : "memory");
}

void say(const char *text)
{
	while (*text)
		mmio_write32(UART, *text++);
}

void say_number(u64 number)
{
	int i;

	for (i = 60; i >= 0; i -= 4)
		mmio_write32(UART, "0123456789abcdef"[number >> i & 0xf]);
}

void machine_end(u32 pin)
{
	mmio_write32(GPIO + GPIODIR, pin);
	mmio_write32(GPIO + (pin << 2), pin);
	for (;;)
		wfi();
}

static u64 this_index(void)
{
	return read_sysreg(mpidr_el1) & (MAX_CPUS - 1);
}

/* Starts this CPU's next life. What it had is gone. */
static void start(struct cpu *cpu) __attribute__((noreturn));
static void start(struct cpu *cpu)
{
	u64 index = cpu - cpus;

	lose_context(&cpu->seed);
	enter(cpu->entry, cpu->context, cpu->seed, STACKS_END - index * STACK_SIZE);
}

/* Off, until a CPU_ON comes. */
static void wait_for_start(struct cpu *cpu) __attribute__((noreturn));
static void wait_for_start(struct cpu *cpu)
{
	gic_only_wake_up();
	while (cpu->power != STARTING) {
		wfi();
		gic_take_wake_up();
	}
	cpu->power = ON;
	start(cpu);
}

static void set_entry(struct cpu *cpu, u64 entry, u64 context)
{
	cpu->entry = entry;
	cpu->context = context;
	if (entry != last_entry) {
		last_entry = entry;
		entry_changes++;
	}
	dsb();
}

static s64 cpu_on(u64 mpidr, u64 entry, u64 context)
{
	struct cpu *cpu = &cpus[mpidr];
	s64 result = SUCCESS;

	if (mpidr >= MAX_CPUS || !cpu->present)
		return INVALID_PARAMETERS;
	lock();
	if (cpu->power == ON) {
		result = ALREADY_ON;
	} else if (cpu->power == STARTING) {
		result = ON_PENDING;
	} else {
		set_entry(cpu, entry, context);
		cpu->power = STARTING;
	}
	unlock();
	if (!result)
		gic_wake_up(mpidr);
	return result;
}

static s64 affinity_info(u64 mpidr, u64 level)
{
	if (level || mpidr >= MAX_CPUS || !cpus[mpidr].present)
		return INVALID_PARAMETERS;
	/* ON is 0, OFF 1, ON_PENDING 2. */
	switch (cpus[mpidr].power) {
	case ON:
		return 0;
	case STARTING:
		return 2;
	default:
		return 1;
	}
}

static void wait_for_interrupt(void)
{
	while (!gic_is_pending())
		wfi();
}

static s64 cpu_suspend(struct cpu *cpu, u64 state, u64 entry, u64 context)
{
	if (state != STATE_STANDBY && state != STATE_DOWN && state != STATE_DOWN_NO_TIMER)
		return INVALID_PARAMETERS;
	cpu->suspend_calls++;
	if (refuse_every && cpu->suspend_calls % refuse_every == 0) {
		cpu->counts[FIRMWARE_REFUSED]++;
		return refuse_with;
	}
	if (state == STATE_STANDBY) {
		wfi();
		cpu->counts[FIRMWARE_STANDBY]++;
		return SUCCESS;
	}
	cpu->counts[FIRMWARE_DOWN]++;
	lock();
	set_entry(cpu, entry, context);
	unlock();
	if (state == STATE_DOWN_NO_TIMER)
		lose_timers();
	wait_for_interrupt();
	start(cpu);
}

static s64 system_suspend(struct cpu *cpu, u64 entry, u64 context)
{
	bool alone = true;
	int i;

	lock();
	for (i = 0; i < MAX_CPUS; i++)
		alone &= &cpus[i] == cpu || cpus[i].power == OFF;
	unlock();
	if (!alone)
		return DENIED;
	if (refuse_system) {
		cpu->counts[FIRMWARE_REFUSED]++;
		return refuse_system;
	}
	cpu->counts[FIRMWARE_SYSTEM_SUSPENDS]++;
	set_entry(cpu, entry, context);
	lose_timers();
	wait_for_interrupt();
	start(cpu);
}

static void cpu_off(struct cpu *cpu) __attribute__((noreturn));
static void cpu_off(struct cpu *cpu)
{
	lose_timers();
	cpu->counts[FIRMWARE_OFF]++;
	dsb();
	cpu->power = OFF;
	wait_for_start(cpu);
}

static s64 features(u32 function)
{
	switch (function & ~SMC64) {
	case CPU_SUSPEND:
	case CPU_ON:
	case AFFINITY_INFO:
	case SYSTEM_SUSPEND:
		return SUCCESS;
	}
	switch (function) {
	case PSCI_VERSION:
	case CPU_OFF:
	case MIGRATE_INFO_TYPE:
	case SYSTEM_OFF:
	case SYSTEM_RESET:
	case PSCI_FEATURES:
	case SMCCC_VERSION:
		return SUCCESS;
	}
	return NOT_SUPPORTED;
}

static s64 get(u64 what, u64 cpu)
{
	switch (what) {
	case FIRMWARE_ENTRY:
		return last_entry;
	case FIRMWARE_ENTRY_CHANGES:
		return entry_changes;
	default:
		if (what > FIRMWARE_REFUSED || cpu >= MAX_CPUS)
			return INVALID_PARAMETERS;
		return cpus[cpu].counts[what];
	}
}

static s64 set(u64 what, u64 value)
{
	switch (what) {
	case FIRMWARE_REFUSE_EVERY:
		refuse_every = value;
		return SUCCESS;
	case FIRMWARE_REFUSE_WITH:
		refuse_with = value;
		return SUCCESS;
	case FIRMWARE_REFUSE_SYSTEM:
		refuse_system = value;
		return SUCCESS;
	}
	return INVALID_PARAMETERS;
}

static s64 call(struct cpu *cpu, u32 function, u64 a, u64 b, u64 c)
{
	switch (function) {
	case PSCI_VERSION:
		return 0x10001;
	case CPU_SUSPEND | SMC64:
		return cpu_suspend(cpu, a, b, c);
	case CPU_OFF:
		cpu_off(cpu);
	case CPU_ON | SMC64:
		return cpu_on(a, b, c);
	case AFFINITY_INFO | SMC64:
		return affinity_info(a, b);
	case MIGRATE_INFO_TYPE:
		/* No Trusted OS. */
		return 2;
	case SYSTEM_OFF:
		say("\r\nfirmware: SYSTEM_OFF\r\n");
		machine_end(PIN_OFF);
	case SYSTEM_RESET:
		say("\r\nfirmware: SYSTEM_RESET\r\n");
		machine_end(PIN_RESET);
	case PSCI_FEATURES:
		return features(a);
	case SYSTEM_SUSPEND | SMC64:
		return system_suspend(cpu, a, b);
	case SMCCC_VERSION:
		return 0x10001;
	case FIRMWARE_GET:
		return get(a, b);
	case FIRMWARE_SET:
		return set(a, b);
	default:
		/* SMC32 forms too: EL2 and kernels of 64 bits make the others. */
		return NOT_SUPPORTED;
	}
}

void firmware_fault(u64 vector)
{
	say("\r\nfirmware: vector ");
	say_number(vector);
	say(" ESR_EL3 ");
	say_number(read_sysreg(esr_el3));
	say(" ELR_EL3 ");
	say_number(read_sysreg(elr_el3));
	say("\r\n");
	machine_end(PIN_RESET);
}

/* @vector 8 is a synchronous exception from a lower level in AArch64 state. */
void firmware_trap(u64 vector, struct frame *frame)
{
	if (vector != 8 || read_sysreg(esr_el3) >> 26 != EC_SMC64)
		firmware_fault(vector);
	frame->x[0] = call(&cpus[this_index()], frame->x[0], frame->x[1], frame->x[2], frame->x[3]);
}

void firmware_main(u64 index)
{
	struct cpu *cpu = &cpus[index];

	open_features();
	gic_init_cpu(index);
	cpu->seed = 0x9e3779b97f4a7c15 * (index + 1);
	cpu->present = true;
	if (index)
		wait_for_start(cpu);
	gic_init_distributor();
	close_interface();
	cpu->power = ON;
	write_sysreg(sctlr_el2, SCTLR_EL2_OFF);
	write_sysreg(hcr_el2, 0);
	write_sysreg(cntvoff_el2, 0);
	cpu->entry = KERNEL;
	/* The boot protocol wants x1 to x3 zero. */
	enter(KERNEL, DEVICE_TREE, 0, STACKS_END);
}
