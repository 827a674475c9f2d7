// SPDX-License-Identifier: GPL-2.0
/*
 * The transitions between host and EL2 that a running host may ask for: share and unshare, donate
 * and reclaim, 10,000 times each, with the state of the page and EL2's own account after each.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "el2.h"
#include "harness.h"
#include "machine.h"

#define ROUNDS	10000
#define GARBAGE	0x6d76697274454c32ULL

FIXTURE(pages)
{
	int fd;
	size_t page;
	uint64_t pfn;
};

FIXTURE_SETUP(pages)
{
	struct hostile_take take = { .order = 0, .pages = 1 };

	self->fd = hostile_open();
	ASSERT_LE(0, self->fd);
	self->page = sysconf(_SC_PAGESIZE);
	ASSERT_EQ(0, ioctl(self->fd, HOSTILE_TAKE, &take));
	self->pfn = take.pfn;
}

FIXTURE_TEARDOWN(pages)
{
	EXPECT_TRUE(el2_answers(self->fd));
	close(self->fd);
}

static int64_t call(int fd, uint64_t id, uint64_t pfn)
{
	return el2_call2(fd, id, pfn, 1).x0;
}

static struct el2_page state(struct __test_metadata *const _metadata, int fd, uint64_t pfn)
{
	struct el2_page page;

	ASSERT_EQ(0, el2_page_state(fd, pfn, &page));
	return page;
}

static uint64_t access_page(struct __test_metadata *const _metadata, int fd, uint64_t pfn,
			    uint32_t offset, bool write, uint64_t value)
{
	struct hostile_access access = {
		.pfn = pfn, .offset = offset, .write = write, .value = value,
	};

	ASSERT_EQ(0, ioctl(fd, HOSTILE_ACCESS, &access));
	ASSERT_EQ(0, access.error);
	return access.value;
}

TEST_F(pages, a_share_has_one_end)
{
	struct el2_page before = state(_metadata, self->fd, self->pfn), shared;
	uint64_t bytes = el2_stat(self->fd, EL2_STAT_SHARED_BYTES);

	EXPECT_EQ(EL2_OWNER_HOST, before.owner);
	EXPECT_GT(0, call(self->fd, EL2_CALL_UNSHARE, self->pfn));
	ASSERT_EQ(0, call(self->fd, EL2_CALL_SHARE, self->pfn));
	shared = state(_metadata, self->fd, self->pfn);
	EXPECT_EQ(EL2_OWNER_HOST, shared.owner);
	EXPECT_NE(before.state, shared.state);
	EXPECT_EQ(bytes + self->page, el2_stat(self->fd, EL2_STAT_SHARED_BYTES));

	EXPECT_GT(0, call(self->fd, EL2_CALL_SHARE, self->pfn));
	EXPECT_GT(0, call(self->fd, EL2_CALL_POOL_DONATE, self->pfn));
	EXPECT_EQ(shared.state, state(_metadata, self->fd, self->pfn).state);

	/* The host keeps its access to what it shares. */
	access_page(_metadata, self->fd, self->pfn, 0, true, GARBAGE);
	EXPECT_EQ(GARBAGE, access_page(_metadata, self->fd, self->pfn, 0, false, 0));

	EXPECT_EQ(0, call(self->fd, EL2_CALL_UNSHARE, self->pfn));
	EXPECT_GT(0, call(self->fd, EL2_CALL_UNSHARE, self->pfn));
	EXPECT_EQ(before.state, state(_metadata, self->fd, self->pfn).state);
	EXPECT_EQ(bytes, el2_stat(self->fd, EL2_STAT_SHARED_BYTES));
}

TEST_F(pages, a_donated_page_is_gone_and_comes_back_scrubbed)
{
	uint64_t pool = el2_stat(self->fd, EL2_STAT_POOL_BYTES);
	struct hostile_access access = { .pfn = self->pfn, .value = 0 };
	struct el2_answer back;
	uint32_t offset;

	for (offset = 0; offset < self->page; offset += 8)
		access_page(_metadata, self->fd, self->pfn, offset, true, GARBAGE);
	ASSERT_EQ(0, call(self->fd, EL2_CALL_POOL_DONATE, self->pfn));
	EXPECT_EQ(EL2_OWNER_EL2, state(_metadata, self->fd, self->pfn).owner);
	EXPECT_LT(0, el2_stat(self->fd, EL2_STAT_POOL_BYTES));
	EXPECT_GT(0, call(self->fd, EL2_CALL_POOL_DONATE, self->pfn));
	EXPECT_GT(0, call(self->fd, EL2_CALL_SHARE, self->pfn));
	EXPECT_GT(0, call(self->fd, EL2_CALL_UNSHARE, self->pfn));

	ASSERT_EQ(0, ioctl(self->fd, HOSTILE_ACCESS, &access));
	EXPECT_TRUE(access.error == 0 || access.error == -EFAULT);
	EXPECT_EQ(0, access.value);

	back = el2_call2(self->fd, EL2_CALL_POOL_RECLAIM, 0, 0);
	ASSERT_EQ(0, back.x0);
	ASSERT_EQ(self->pfn, back.value[0]);
	EXPECT_EQ(EL2_OWNER_HOST, state(_metadata, self->fd, self->pfn).owner);
	for (offset = 0; offset < self->page; offset += 8)
		ASSERT_EQ(0, access_page(_metadata, self->fd, self->pfn, offset, false, 0));
	EXPECT_EQ(pool, el2_stat(self->fd, EL2_STAT_POOL_BYTES));
}

TEST_F_TIMEOUT(pages, ten_thousand_rounds_lose_nothing, 200)
{
	uint64_t before[EL2_STAT_TRAP_HYPERCALL], free_before, free_after;
	struct el2_answer back;
	int i;

	/* The first round may split a block of the host's stage 2, which later ones then find. */
	for (i = 0; i <= ROUNDS; i++) {
		ASSERT_EQ(0, call(self->fd, EL2_CALL_SHARE, self->pfn));
		ASSERT_EQ(0, call(self->fd, EL2_CALL_UNSHARE, self->pfn));
		ASSERT_EQ(0, call(self->fd, EL2_CALL_POOL_DONATE, self->pfn));
		back = el2_call2(self->fd, EL2_CALL_POOL_RECLAIM, 0, 0);
		ASSERT_EQ(0, back.x0);
		ASSERT_EQ(self->pfn, back.value[0]);
		if (i)
			continue;
		free_before = settled_mem_free();
		for (int s = 0; s < EL2_STAT_TRAP_HYPERCALL; s++)
			before[s] = el2_stat(self->fd, s);
	}
	for (i = 0; i < EL2_STAT_TRAP_HYPERCALL; i++)
		EXPECT_EQ(before[i], el2_stat(self->fd, i)) {
			TH_LOG("counter %d", i);
		}
	free_after = settled_mem_free();
	EXPECT_GE(free_after + (512 << 10), free_before);
}

TEST_F(pages, many_donations_come_back)
{
	struct hostile_take take = { .order = 4, .pages = 8 };
	uint64_t pool = el2_stat(self->fd, EL2_STAT_POOL_BYTES);
	struct el2_answer back;
	int i;

	ASSERT_EQ(0, ioctl(self->fd, HOSTILE_TAKE, &take));
	ASSERT_EQ(8, take.count);
	back = el2_call2(self->fd, EL2_CALL_POOL_DONATE, take.pfn, 16);
	ASSERT_EQ(0, back.x0);
	/* One page in the middle is EL2's: the whole donation is refused, none of it is done. */
	EXPECT_GT(0, el2_call2(self->fd, EL2_CALL_POOL_DONATE, take.pfn + 15, 2).x0);
	for (i = 0; i < 16; i++) {
		back = el2_call2(self->fd, EL2_CALL_POOL_RECLAIM, 0, 0);
		ASSERT_EQ(0, back.x0);
		EXPECT_LE(take.pfn, back.value[0]);
		EXPECT_GT(take.pfn + 16, back.value[0]);
		EXPECT_EQ(EL2_OWNER_HOST, state(_metadata, self->fd, back.value[0]).owner);
	}
	EXPECT_EQ(pool, el2_stat(self->fd, EL2_STAT_POOL_BYTES));
}

TEST_HARNESS_MAIN
