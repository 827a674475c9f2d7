/* SPDX-License-Identifier: GPL-2.0 */
/* The firmware's own: what start.S and the C files share. */
#ifndef SUSPEND_FIRMWARE_H
#define SUSPEND_FIRMWARE_H

/* scripts/selftest/machine.py puts them there. */
#define KERNEL		0x40200000
#define DEVICE_TREE	0x50010000
/* hw/arm/virt.c: VIRT_SECURE_MEM, VIRT_GIC_DIST, VIRT_GIC_REDIST, VIRT_UART0, VIRT_SECURE_GPIO. */
#define SECURE_RAM	0x0e000000
#define GICD		0x08000000
#define GICR		0x080a0000
#define GICR_SIZE	0x20000
#define UART		0x09000000
#define GPIO		0x090b0000

/* CPUs of the virt machine with a GICv3 are numbered by Aff0 up to here. */
#define MAX_CPUS	16
#define STACK_SIZE	0x1000
#define STACKS_END	(SECURE_RAM + 0x100000)

/* SCTLR_EL2 with everything off: RES1 bits. */
#define SCTLR_EL2_OFF	0x30c50830
/* EL2h, all exceptions masked. */
#define PSTATE_EL2H	0x3c9

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define read_sysreg(r) ({ u64 v_; asm volatile("mrs %0, " #r : "=r"(v_) : : "memory"); v_; })
#define write_sysreg(r, v) do { u64 v_ = (v); asm volatile("msr " #r ", %0" : : "r"(v_) : "memory"); } while (0)
#define isb()	asm volatile("isb" : : : "memory")
#define dsb()	asm volatile("dsb sy" : : : "memory")
#define wfi()	asm volatile("dsb sy\n\twfi" : : : "memory")
#define BIT(n)	(1UL << (n))

/* ID_AA64<NAME>_EL1's field at @shift. */
#define id_field(name, shift) (read_sysreg(id_aa64##name##_el1) >> (shift) & 0xf)

static inline void mmio_write32(u64 a, u32 v) { asm volatile("str %w0, [%1]" : : "r"(v), "r"(a) : "memory"); }
static inline u32 mmio_read32(u64 a) { u32 v; asm volatile("ldr %w0, [%1]" : "=r"(v) : "r"(a) : "memory"); return v; }

/* start.S: the registers of the caller of an SMC. */
struct frame {
	u64 x[31];
	u64 unused;
};

/* start.S: to EL2 at @pc with @x0, and nothing that can be known in the other registers. */
void enter(u64 pc, u64 x0, u64 garbage, u64 stack) __attribute__((noreturn));

/* gic.c */
void gic_init_distributor(void);
void gic_init_cpu(u64 index);
/* Lets the wake-up interrupt of another CPU's CPU_ON in, and nothing else. */
void gic_only_wake_up(void);
void gic_wake_up(u64 index);
void gic_take_wake_up(void);
/* An interrupt of the Non-secure world's is waiting for this CPU. */
bool gic_is_pending(void);

/* power.c: what a CPU's registers hold after power was off. */
void lose_context(u64 *seed);
void lose_timers(void);
void close_interface(void);
void open_features(void);

/* psci.c */
void machine_end(u32 pin) __attribute__((noreturn));
void say(const char *text);
void say_number(u64 number);

#endif /* __ASSEMBLER__ */
#endif /* SUSPEND_FIRMWARE_H */
