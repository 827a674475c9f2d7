// SPDX-License-Identifier: GPL-2.0
/*
 * Without contiguous memory the take-over is refused and gives back what it had, whatever size of
 * block is missing; with the memory back it succeeds on the same machine.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "el2.h"
#include "harness.h"
#include "machine.h"

#define SLACK	(512 << 10)
#define REFUSED	"^mvirt: refused: "
#define CAUSE	REFUSED "[0-9]+ KiB of contiguous memory were not to be had; load the module earlier"

FIXTURE(no_memory)
{
	int hostile;
};

FIXTURE_SETUP(no_memory)
{
	self->hostile = hostile_open();
	ASSERT_LE(0, self->hostile);
}

FIXTURE_TEARDOWN(no_memory)
{
	close(self->hostile);
}

static int load_without_blocks(struct __test_metadata *const _metadata, unsigned int order)
{
	struct hostile_take take = { .order = order };
	int hog = hostile_open(), error;

	ASSERT_LE(0, hog);
	/*
	 * An allocation does not always compact memory first: where that failed lately it is put off. What
	 * would be compacted later is compacted now, until no block comes of it.
	 */
	do {
		ASSERT_EQ(0, write_file("/proc/sys/vm/compact_memory", "1"));
		ASSERT_EQ(0, ioctl(hog, HOSTILE_BREAK, &take));
	} while (take.count);
	error = load_module("mvirt", "");
	close(hog);
	return error;
}

/* From no block of 8 pages on upwards, until what the take-over needs is there. */
TEST_F(no_memory, refused_until_there_is_enough)
{
	uint64_t before, after;
	int order, error, log;

	for (order = 3; order <= 10; order++) {
		before = settled_mem_free();
		log = log_open();
		ASSERT_LE(0, log);
		error = load_without_blocks(_metadata, order);
		if (!error) {
			EXPECT_EQ(0, log_matches(log, REFUSED));
			close(log);
			break;
		}
		EXPECT_EQ(-ENOMEM, error);
		EXPECT_EQ(1, log_matches(log, CAUSE));
		close(log);
		EXPECT_EQ(-1, access("/dev/mvirt", F_OK));
		EXPECT_FALSE(el2_answers(self->hostile));
		after = settled_mem_free();
		EXPECT_GE(after + SLACK, before) {
			TH_LOG("order %d: %lld KiB are missing", order,
			       (long long)(before - after) / 1024);
		}
	}
	EXPECT_LT(3, order) {
		TH_LOG("taken over without a block of 8 pages");
	}
	if (error) {
		EXPECT_EQ(0, load_module("mvirt", ""));
	}
	EXPECT_TRUE(el2_answers(self->hostile));
}

TEST_HARNESS_MAIN
