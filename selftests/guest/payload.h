/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a payload can use: checks, CPUs, exceptions, calls, memory. It runs at EL1 with the MMU on
 * (identity map) unless its test says otherwise, interrupts masked until irq_enable(), without FP.
 */
#ifndef MVIRT_PAYLOAD_H
#define MVIRT_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "payload_asm.h"
#include "protocol.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define BIT(n)		(1UL << (n))
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define READ_ONCE(x)	(*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

/* By name, or as S<op0>_<op1>_C<n>_C<m>_<op2>. */
#define read_sysreg(r) ({ u64 v_; asm volatile("mrs %0, " #r : "=r"(v_) : : "memory"); v_; })
#define write_sysreg(r, v) do { u64 v_ = (v); asm volatile("msr " #r ", %0" : : "r"(v_) : "memory"); } while (0)
#define isb()		asm volatile("isb" : : : "memory")
#define dsb()		asm volatile("dsb sy" : : : "memory")
#define wfi()		asm volatile("dsb sy\n\twfi" : : : "memory")
#define irq_enable()	asm volatile("msr daifclr, #3\n\tisb" : : : "memory")
#define irq_disable()	asm volatile("msr daifset, #3\n\tisb" : : : "memory")

static inline u8 mmio_read8(u64 a) { u32 v; asm volatile("ldrb %w0, [%1]" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline u16 mmio_read16(u64 a) { u32 v; asm volatile("ldrh %w0, [%1]" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline u32 mmio_read32(u64 a) { u32 v; asm volatile("ldr %w0, [%1]" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline u64 mmio_read64(u64 a) { u64 v; asm volatile("ldr %0, [%1]" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline void mmio_write8(u64 a, u8 v) { asm volatile("strb %w0, [%1]" : : "r"(v), "r"(a) : "memory"); }
static inline void mmio_write16(u64 a, u16 v) { asm volatile("strh %w0, [%1]" : : "r"(v), "r"(a) : "memory"); }
static inline void mmio_write32(u64 a, u32 v) { asm volatile("str %w0, [%1]" : : "r"(v), "r"(a) : "memory"); }
static inline void mmio_write64(u64 a, u64 v) { asm volatile("str %0, [%1]" : : "r"(v), "r"(a) : "memory"); }

/* Registers at an exception; start.S lays it out. */
struct frame {
	u64 x[31];
	u64 elr;
	u64 spsr;
	u64 unused;
};

/* One for each CPU, TPIDR_EL1 points to it. */
struct cpu {
	u64 index;
	/* Set by expect_fault(): the next synchronous exception is noted and its instruction left out. */
	bool expecting;
	/* The same, but it goes on at the link register: for an instruction that is not there. */
	bool returning;
	u64 faults;
	u64 esr;
	u64 far;
	u64 checks;
	/* What interrupts do on this CPU; FIQs too, with @fiq set. */
	void (*irq)(struct frame *frame, bool fiq);
	/* Is asked about a synchronous exception first; false leaves it to the above. */
	bool (*sync)(struct frame *frame);
	/* What the CPU does once it is on. */
	void (*work)(u64 index);
	u64 up;
	u64 mpidr;
} __attribute__((aligned(CPU_SIZE)));

extern struct cpu cpus[GUEST_MAX_CPUS];

static inline struct cpu *this_cpu(void)
{
	return (struct cpu *)read_sysreg(tpidr_el1);
}

/* A check that fails is reported with both values, and the test goes on; done() ends it. */
bool check(unsigned int line, const char *text, bool good, u64 got, u64 want);
#define CHECK(cond)		check(__LINE__, #cond, (cond), 0, 1)
#define CHECK_EQ(a, b)		({ u64 a_ = (u64)(a), b_ = (u64)(b); check(__LINE__, #a " == " #b, a_ == b_, a_, b_); })
#define CHECK_NE(a, b)		({ u64 a_ = (u64)(a), b_ = (u64)(b); check(__LINE__, #a " != " #b, a_ != b_, a_, b_); })
#define CHECK_LE(a, b)		({ u64 a_ = (u64)(a), b_ = (u64)(b); check(__LINE__, #a " <= " #b, a_ <= b_, a_, b_); })
/* The same with a number that says which of many it was. */
#define CHECK_AT(n, a, b)	({ u64 a_ = (u64)(a), b_ = (u64)(b); check_at(__LINE__, #a " == " #b, n, a_ == b_, a_, b_); })
bool check_at(unsigned int line, const char *text, u64 which, bool good, u64 got, u64 want);
void done(void) __attribute__((noreturn));

/* The VMM's answer to a request of protocol.h. */
u64 request(u64 number, u64 arg);
u64 guest_flags(void);

/* Runs @statement and tells whether it was UNDEFINED (or faulted otherwise): this_cpu()->esr. */
#define faults(statement) ({				\
	struct cpu *cpu_ = this_cpu();			\
	WRITE_ONCE(cpu_->faults, 0);			\
	WRITE_ONCE(cpu_->expecting, true);		\
	isb();						\
	statement;					\
	dsb();						\
	isb();						\
	WRITE_ONCE(cpu_->expecting, false);		\
	READ_ONCE(cpu_->faults) != 0;			\
})
/* EC 0: unknown reason, what an UNDEFINED instruction gives. EC 0x18: a trapped register, with ID_AA64MMFR2.IDS. */
#define undefined(statement)	(faults(statement) && (this_cpu()->esr >> 26 == 0 || this_cpu()->esr >> 26 == 0x18))

struct smccc_args {
	u64 x[8];
};
/* How many of x4 to x30 changed. */
u64 smccc_call(struct smccc_args *args, u64 smc);
s64 hvc(u64 function, u64 a, u64 b, u64 c);

#define PSCI_VERSION		0x84000000
#define PSCI_CPU_OFF		0x84000002
#define PSCI_CPU_ON		0xc4000003
#define PSCI_AFFINITY_INFO	0xc4000004
#define PSCI_SYSTEM_OFF		0x84000008
#define PSCI_SYSTEM_RESET	0x84000009
#define PSCI_FEATURES		0x8400000a
#define PSCI_SUCCESS		0
#define PSCI_NOT_SUPPORTED	-1
#define PSCI_INVALID_PARAMETERS	-2
#define PSCI_DENIED		-3
#define PSCI_ALREADY_ON		-4
#define PSCI_INVALID_ADDRESS	-9

extern char secondary_start[];
u64 mpidr_of(u64 index);
/* Starts CPU @index with @work, waits until it runs. */
void cpu_start(u64 index, void (*work)(u64 index));
/* Waits until *@flag is @value or more; a check fails after GUEST_WAIT_SECONDS. */
bool wait_for(const u64 *flag, u64 value);
void mmu_set(u64 sctlr);

/* The virtual counter, in ticks and in microseconds. */
static inline u64 now(void)
{
	isb();
	return read_sysreg(cntvct_el0);
}
u64 ticks(u64 microseconds);
void delay(u64 microseconds);

/* The memory behind the payload. */
extern char payload_end[];
/* The translation table of start.S. */
extern char identity_map[];

/* The tests of one payload, in the order of its tests.h. */
extern void (*const payload_tests[])(void);
extern const size_t nr_payload_tests;

#define PAYLOAD_DECLARE(name, cpus, flags)	void name(void);
#define PAYLOAD_ENTRY(name, cpus, flags)	name,
#define PAYLOAD_TESTS(list)						\
	list(PAYLOAD_DECLARE)						\
	void (*const payload_tests[])(void) = { list(PAYLOAD_ENTRY) };	\
	const size_t nr_payload_tests = ARRAY_SIZE(payload_tests);

#endif /* MVIRT_PAYLOAD_H */
