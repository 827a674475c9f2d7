/* SPDX-License-Identifier: GPL-2.0 */
/* What a VM takes of the host, before it was made and when it is gone. Included after harness.h. */
#ifndef MVIRT_GUEST_ACCOUNT_H
#define MVIRT_GUEST_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "mvirt.h"

/* What may be missing after a hundred VMs: the kernel's own caches grow with use. */
#define ACCOUNT_SLACK	(2UL << 20)

struct account {
	uint64_t free, slab;
	/* What EL2 has of the host's, by kind: memory, tables of guests, states of VMs, guests' pages. */
	uint64_t el2, guest_tables, vms, guests;
	/* Pages that are pinned; bytes that are locked, of all processes. */
	uint64_t pins, mlocked;
	/* Open files of the module; descriptors of this process. */
	uint64_t module_users, descriptors;
	/* Whose each interrupt is. */
	uint64_t interrupts;
};

/* What mvirt tells of itself; all 0 on KVM. */
struct mvirt_info account_info(void);
/* Pages that are pinned, by the kernel's count of what was pinned and what was released. */
uint64_t pinned_pages(void);
/* What is exact at any time: all but free memory and slabs. */
void account_take_exact(struct account *account);
/* All of it, after what the kernel frees late is free. */
void account_take(struct account *account);
/* Whether nothing is missing, by what account_take_exact() takes. */
bool account_agrees(const struct account *before, const struct account *after);
/* Takes it again until nothing is missing, for some seconds. */
void account_settle(const struct account *before, struct account *after);

/* Whether the kernel looks for leaks itself (kmemleak), beside checks that keep what is freed (KASAN). */
bool account_kernel_looks(void);
/* How many objects the kernel has found that the module allocated and nothing refers to; the first is printed. */
unsigned int account_leaks(void);

#define EXPECT_NOTHING_HELD(before, after) do {				\
	EXPECT_EQ((before)->el2, (after)->el2);				\
	EXPECT_EQ((before)->guest_tables, (after)->guest_tables);	\
	EXPECT_EQ((before)->vms, (after)->vms);				\
	EXPECT_EQ((before)->guests, (after)->guests);			\
	EXPECT_EQ((before)->pins, (after)->pins);			\
	EXPECT_EQ((before)->mlocked, (after)->mlocked);			\
	EXPECT_EQ((before)->module_users, (after)->module_users);	\
	EXPECT_EQ((before)->descriptors, (after)->descriptors);		\
	EXPECT_EQ((before)->interrupts, (after)->interrupts);		\
} while (0)

#define EXPECT_NOTHING_LOST(before) do {				\
	struct account after_;						\
									\
	account_settle(before, &after_);				\
	if (account_kernel_looks()) {					\
		EXPECT_EQ(0, account_leaks());				\
	} else {							\
		EXPECT_LE((before)->free, after_.free + ACCOUNT_SLACK);	\
		EXPECT_LE(after_.slab, (before)->slab + ACCOUNT_SLACK);	\
	}								\
	EXPECT_NOTHING_HELD(before, &after_);				\
} while (0)

#endif /* MVIRT_GUEST_ACCOUNT_H */
