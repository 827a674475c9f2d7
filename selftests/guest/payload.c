// SPDX-License-Identifier: GPL-2.0
/* The common part of all payloads: reports, exceptions, CPUs, calls. */
#include "payload.h"

struct cpu cpus[GUEST_MAX_CPUS];
char stacks[GUEST_MAX_CPUS * STACK_SIZE] __attribute__((aligned(16)));

_Static_assert(sizeof(struct cpu) == CPU_SIZE, "start.S strides by CPU_SIZE");
_Static_assert(sizeof(struct frame) == FRAME_SIZE, "start.S pushes a frame");

/* What the compiler calls for loops that look like these. */
void *memset(void *to, int c, size_t n)
{
	for (volatile char *p = to; n--; p++)
		*p = c;
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	volatile char *p = to;

	for (const char *q = from; n--; p++, q++)
		*p = *q;
	return to;
}

static u64 device(u64 offset)
{
	return GUEST_DEVICE_BASE + offset;
}

static void send_text(const char *text)
{
	u64 word;
	int i;

	do {
		word = 0;
		for (i = 0; i < 8 && *text; i++)
			word |= (u64)(u8)*text++ << (8 * i);
		mmio_write64(device(DEVICE_TEXT), word);
	} while (*text);
}

static void send_number(u64 n)
{
	char text[20];
	int i = sizeof(text);

	text[--i] = '\0';
	do {
		text[--i] = "0123456789abcdef"[n % 16];
		n /= 16;
	} while (n);
	text[--i] = 'x';
	text[--i] = '0';
	send_text(&text[i]);
}

static void report(unsigned int line, u64 got, u64 want)
{
	mmio_write64(device(DEVICE_GOT), got);
	mmio_write64(device(DEVICE_WANT), want);
	mmio_write64(device(DEVICE_FAIL), line);
}

bool check(unsigned int line, const char *text, bool good, u64 got, u64 want)
{
	this_cpu()->checks++;
	if (!good) {
		send_text(text);
		report(line, got, want);
	}
	return good;
}

bool check_at(unsigned int line, const char *text, u64 which, bool good, u64 got, u64 want)
{
	this_cpu()->checks++;
	if (!good) {
		send_text("at ");
		send_number(which);
		send_text(": ");
		send_text(text);
		report(line, got, want);
	}
	return good;
}

void done(void)
{
	u64 i, checks = 0;

	for (i = 0; i < GUEST_MAX_CPUS; i++)
		checks += READ_ONCE(cpus[i].checks);
	mmio_write64(device(DEVICE_DONE), checks);
	/* The VMM does not come back to this CPU. */
	for (;;)
		wfi();
}

u64 request(u64 number, u64 arg)
{
	mmio_write64(device(DEVICE_ARG), arg);
	mmio_write64(device(DEVICE_REQUEST), number);
	return mmio_read64(device(DEVICE_ANSWER));
}

u64 guest_flags(void)
{
	return request(REQUEST_FLAGS, 0);
}

/* @kind: the number of the vector, from 0 to 15. */
void exception(u64 kind, struct frame *frame)
{
	struct cpu *cpu = this_cpu();

	switch (kind % 4) {
	case 0:
		if (cpu->sync && cpu->sync(frame))
			return;
		if (cpu->expecting || cpu->returning) {
			cpu->faults++;
			cpu->esr = read_sysreg(esr_el1);
			cpu->far = read_sysreg(far_el1);
			frame->elr = cpu->returning ? frame->x[30] : frame->elr + 4;
			return;
		}
		send_text("unexpected exception at ");
		send_number(frame->elr);
		send_text(", FAR ");
		send_number(read_sysreg(far_el1));
		send_text(", ESR below; vector ");
		send_number(kind);
		report(__LINE__, read_sysreg(esr_el1), 0);
		done();
	case 1:
	case 2:
		if (cpu->irq) {
			cpu->irq(frame, kind % 4 == 2);
			return;
		}
		send_text("unexpected interrupt at ");
		send_number(frame->elr);
		report(__LINE__, kind, 0);
		done();
	default:
		send_text("unexpected SError at ");
		send_number(frame->elr);
		report(__LINE__, read_sysreg(esr_el1), 0);
		done();
	}
}

s64 hvc(u64 function, u64 a, u64 b, u64 c)
{
	struct smccc_args args = { { function, a, b, c, 4, 5, 6, 7 } };
	u64 changed = smccc_call(&args, 0);

	check_at(__LINE__, "registers x4 to x30 that a call changed", function, !changed, changed, 0);
	return args.x[0];
}

u64 mpidr_of(u64 index)
{
	/* 16 CPUs to a cluster, as KVM numbers them. */
	return (index % 16) | (index / 16) << 8;
}

void secondary_main(u32 index)
{
	struct cpu *cpu = &cpus[index];

	cpu->mpidr = read_sysreg(mpidr_el1);
	WRITE_ONCE(cpu->up, 1);
	cpu->work(index);
}

void cpu_start(u64 index, void (*work)(u64 index))
{
	struct cpu *cpu = &cpus[index];

	cpu->work = work;
	WRITE_ONCE(cpu->up, 0);
	dsb();
	/* With the MMU as it is here. */
	if (!(read_sysreg(sctlr_el1) & 1))
		index |= BIT(START_MMU_OFF_BIT);
	CHECK_AT(index, hvc(PSCI_CPU_ON, mpidr_of((u32)index), (u64)secondary_start, index), PSCI_SUCCESS);
	wait_for(&cpu->up, 1);
}

u64 ticks(u64 microseconds)
{
	return microseconds * read_sysreg(cntfrq_el0) / 1000000;
}

void delay(u64 microseconds)
{
	u64 end = now() + ticks(microseconds);

	while (now() < end)
		;
}

bool wait_for(const u64 *flag, u64 value)
{
	u64 end = now() + ticks(GUEST_WAIT_SECONDS * 1000000UL);

	while (READ_ONCE(*flag) < value && now() < end)
		;
	dsb();
	return check(__LINE__, "a wait for a value ended", READ_ONCE(*flag) >= value,
		     READ_ONCE(*flag), value);
}

void payload_main(u32 test)
{
	if (test >= nr_payload_tests) {
		send_text("no such test");
		report(__LINE__, test, nr_payload_tests);
		done();
	}
	payload_tests[test]();
	done();
}
