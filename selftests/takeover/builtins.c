// SPDX-License-Identifier: GPL-2.0
/*
 * memcpy and its like as EL2 has them (module/el2/builtins): each length up to some steps of their long
 * loops, at each place in 16 bytes, against what a loop over bytes does.
 */
#include <stdint.h>
#include <string.h>

#include "harness.h"

void *el2_memcpy(void *dest, const void *src, size_t n);
void *el2_memmove(void *dest, const void *src, size_t n);
void *el2_memset(void *dest, int c, size_t n);
int el2_memcmp(const void *a, const void *b, size_t n);
int el2_bcmp(const void *a, const void *b, size_t n);

#define MOST	300
#define PLACES	16
#define ROOM	(PLACES + MOST + PLACES)

static uint8_t from[ROOM], to[ROOM], expected[ROOM];

static void fill(uint8_t *bytes, unsigned int seed)
{
	for (int i = 0; i < ROOM; i++)
		bytes[i] = i * 7 + seed;
}

static int differ(void)
{
	for (int i = 0; i < ROOM; i++) {
		if (to[i] != expected[i])
			return 1;
	}
	return 0;
}

TEST(memcpy_copies)
{
	fill(from, 1);
	for (int src = 0; src < PLACES; src++) {
		for (int dest = 0; dest < PLACES; dest++) {
			for (int n = 0; n <= MOST; n++) {
				fill(to, 100);
				fill(expected, 100);
				for (int i = 0; i < n; i++)
					expected[dest + i] = from[src + i];
				ASSERT_EQ(to + dest, el2_memcpy(to + dest, from + src, n));
				ASSERT_EQ(0, differ()) TH_LOG("%d bytes from %d to %d", n, src, dest);
			}
		}
	}
}

TEST(memmove_copies_where_they_overlap)
{
	for (int src = 0; src < PLACES; src++) {
		for (int dest = 0; dest < PLACES; dest++) {
			for (int n = 0; n <= MOST; n += 13) {
				fill(to, 3);
				fill(from, 3);
				fill(expected, 3);
				for (int i = 0; i < n; i++)
					expected[dest + i] = from[src + i];
				ASSERT_EQ(to + dest, el2_memmove(to + dest, to + src, n));
				ASSERT_EQ(0, differ()) TH_LOG("%d bytes from %d to %d", n, src, dest);
			}
		}
	}
}

TEST(memset_sets)
{
	for (int dest = 0; dest < PLACES; dest++) {
		for (int n = 0; n <= MOST; n++) {
			fill(to, 100);
			fill(expected, 100);
			for (int i = 0; i < n; i++)
				expected[dest + i] = 0xa5;
			ASSERT_EQ(to + dest, el2_memset(to + dest, 0x1a5, n));
			ASSERT_EQ(0, differ()) TH_LOG("%d bytes at %d", n, dest);
		}
	}
}

TEST(memcmp_compares)
{
	for (int n = 0; n <= MOST; n += 7) {
		fill(from, 1);
		fill(to, 1);
		to[n] ^= 0x80;
		EXPECT_EQ(0, el2_memcmp(from, to, n));
		EXPECT_EQ(0, el2_bcmp(from, to, n));
		EXPECT_NE(0, el2_bcmp(from, to, n + 1));
		EXPECT_EQ(from[n] < to[n], el2_memcmp(from, to, n + 1) < 0);
		EXPECT_EQ(to[n] < from[n], el2_memcmp(to, from, n + 1) < 0);
	}
}

TEST_HARNESS_MAIN
