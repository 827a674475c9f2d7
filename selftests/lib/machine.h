/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests ask of the kernel: CPUs, memory, files of one number. */
#ifndef MVIRT_SELFTEST_MACHINE_H
#define MVIRT_SELFTEST_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_CPUS	32
#define MAX_RAM_RANGES	32

struct phys_range {
	uint64_t first_pfn;
	uint64_t last_pfn;
};

/* The ranges of "System RAM" in /proc/iomem; how many. */
size_t ram_ranges(struct phys_range *ranges, size_t max);
/* A value of /proc/meminfo in bytes; UINT64_MAX if it is not there. */
uint64_t meminfo(const char *name);
/* Free memory in bytes, on the CPUs' own lists too, after clean caches were dropped. */
uint64_t settled_mem_free(void);

/* Highest CPU number that may ever be there, plus 1. */
int cpus_possible(void);
bool cpu_is_online(int cpu);
int cpus_online(void);
/* 0 or -errno; -ENOENT if this CPU cannot be hotplugged. */
int cpu_set_online(int cpu, bool online);
/* Binds the calling thread to a CPU; 0 or -errno. */
int pin_to_cpu(int cpu);

/* Writes a string to a file; 0 or -errno. */
int write_file(const char *path, const char *text);
/* Reads a file into a string, cut at @size; 0 or -errno. */
int read_file(const char *path, char *text, size_t size);
/* Loads /modules/@name.ko; 0 or -errno. */
int load_module(const char *name, const char *params);
/* Unloads a module without waiting for its users; 0 or -errno. */
int unload_module(const char *name);

/* The kernel's log from now on: a file, or -errno. */
int log_open(void);
/* How many lines of it match an extended regular expression, since it was opened or asked last. */
int log_matches(int log, const char *pattern);

#endif /* MVIRT_SELFTEST_MACHINE_H */
