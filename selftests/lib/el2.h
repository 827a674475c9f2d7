/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests ask of EL2, by hypercalls through /dev/hostile. Every function takes the open
 * device as @fd. The calls reach the EL2 of the CPU that the thread runs on.
 */
#ifndef MVIRT_SELFTEST_EL2_H
#define MVIRT_SELFTEST_EL2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "el2_abi.h"
#include "hostile.h"

/* Who owns a page, in the numbers of EL2_CALL_PAGE_STATE. */
#define EL2_OWNER_HOST	0
#define EL2_OWNER_EL2	1

struct el2_answer {
	int64_t x0;		/* 0 or an EL2_ERROR_* */
	uint64_t value[6];	/* x1 to x6 */
	bool kept;		/* x7 to x17 came back as they went in */
};

struct el2_reg {
	uint64_t encoding;
	uint64_t value;
	int64_t error;		/* 0, or EL2_ERROR_NOTSUPPORTED where the CPU lacks it */
};

struct el2_page {
	uint64_t owner;
	uint64_t state;
};

/* The most EL2 registers that a CPU reports. */
#define EL2_MAX_REGS	128

int hostile_open(void);
struct el2_answer el2_call(int fd, uint64_t id, const uint64_t args[6]);
struct el2_answer el2_call2(int fd, uint64_t id, uint64_t a, uint64_t b);

/* A counter summed over all CPUs; UINT64_MAX if EL2 does not answer. */
uint64_t el2_stat(int fd, unsigned int stat);
/* 0 or an EL2_ERROR_*. */
int64_t el2_page_state(int fd, uint64_t pfn, struct el2_page *page);
/* Whether EL2 answers as it should: Version, the same each time and at work. */
bool el2_answers(int fd);
/* All EL2 registers of the calling CPU; how many, or -1 if EL2 does not answer. */
int el2_read_regs(int fd, struct el2_reg regs[EL2_MAX_REGS]);
/* Finds up to @max pages that EL2 owns, spread over all that there are; how many it found. */
size_t el2_find_pages(int fd, uint64_t *pfns, size_t max);

#endif /* MVIRT_SELFTEST_EL2_H */
