// SPDX-License-Identifier: GPL-2.0
/* Loaded without allow_release=1, mvirt keeps EL2, whoever asks for it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "el2.h"
#include "harness.h"
#include "machine.h"

FIXTURE(kept)
{
	int hostile;
	int log;
};

FIXTURE_SETUP(kept)
{
	self->hostile = hostile_open();
	ASSERT_LE(0, self->hostile);
	self->log = log_open();
	ASSERT_LE(0, self->log);
}

FIXTURE_TEARDOWN(kept)
{
	int cpu;

	for (cpu = 0; cpu < cpus_possible(); cpu++) {
		ASSERT_EQ(0, pin_to_cpu(cpu));
		EXPECT_TRUE(el2_answers(self->hostile));
	}
	close(self->hostile);
	close(self->log);
}

TEST_F(kept, from_who_calls_el2)
{
	EXPECT_EQ(EL2_ERROR_PERM, el2_call2(self->hostile, EL2_CALL_RELEASE, 0, 0).x0);
}

TEST_F(kept, from_rmmod)
{
	EXPECT_EQ(-EWOULDBLOCK, unload_module("mvirt"));
}

/* An image would lack the pages of EL2's. */
TEST_F(kept, from_hibernation)
{
	EXPECT_EQ(-EBUSY, write_file("/sys/power/state", "disk"));
	EXPECT_EQ(1, log_matches(self->log, "^mvirt: hibernation is refused: .*; suspend or power off"));
}

/* A header as kernel/power/swap.c looks for, at the end of the first page; the image is not compressed. */
static int write_image_header(const char *disk)
{
	size_t size = sysconf(_SC_PAGESIZE);
	char page[size];
	uint32_t flags = 2;
	int fd = open(disk, O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0)
		return -errno;
	memset(page, 0, size);
	memcpy(page + size - 10, "S1SUSPEND", 10);
	memcpy(page + size - 20, "SWAPSPACE2", 10);
	memcpy(page + size - 20 - sizeof(flags), &flags, sizeof(flags));
	written = write(fd, page, size);
	close(fd);
	return written == (ssize_t)size ? 0 : -EIO;
}

TEST_F(kept, from_an_image_that_is_restored)
{
	ASSERT_EQ(0, write_image_header("/dev/ram0"));
	write_file("/sys/power/resume", "1:0");
	EXPECT_EQ(1, log_matches(self->log, "^mvirt: a hibernation image is not restored: .*; load"));
}

TEST_HARNESS_MAIN
