/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel offers only as a macro or an inline function, under names
 * that bindgen can see. No logic.
 */
#ifndef _MVIRT_GLUE_H
#define _MVIRT_GLUE_H

#include <linux/types.h>

extern bool mvirt_allow_release;
/* Which way EL2 breaks while it is set up (EL2_CALL_CRASH), or -1. */
extern int mvirt_crash_in_setup;

/* Zeroed, physically contiguous; NULL without a warning if there is none. */
/* The EL2 image, which is there until the module is initialised. */
const void *mvirt_image(size_t *size);
void *mvirt_alloc_pages(size_t size);
void mvirt_free_pages(void *virt, size_t size);
u64 mvirt_virt_to_phys(const void *virt);
void *mvirt_phys_to_virt(u64 phys);

unsigned int mvirt_nr_cpu_ids(void);
bool mvirt_cpu_possible(unsigned int cpu);
bool mvirt_cpu_online(unsigned int cpu);
unsigned int mvirt_this_cpu(void);

/* The affinity fields of a possible CPU's MPIDR, from the device tree. */
int mvirt_cpu_mpidr(unsigned int cpu, u64 *mpidr);
/* Physical address of the GICv3 redistributor of the CPU with this MPIDR, or 0. */
u64 mvirt_gicr_phys(u64 mpidr);
/* The enable-method of a possible CPU, or NULL. */
const char *mvirt_cpu_enable_method(unsigned int cpu);

/* Calls @fn with interrupts off on each online CPU, on one CPU; waits. */
void mvirt_on_each_cpu(void (*fn)(void *arg), void *arg);
int mvirt_on_cpu(unsigned int cpu, void (*fn)(void *arg), void *arg);

/*
 * Between the two no CPU goes offline, comes online or enters an idle state of
 * the firmware's: one that lost its context would come back without EL2.
 */
void mvirt_hold_cpus(void);
void mvirt_free_cpus(void);

/* Calls @fn for each range of System RAM, ascending, until it answers not 0. */
int mvirt_walk_ram(int (*fn)(u64 start, u64 size, void *arg), void *arg);

/* Keeps this module loaded from now on. */
void mvirt_hold_module(void);

#endif
