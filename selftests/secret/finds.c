// SPDX-License-Identifier: GPL-2.0
/*
 * The search that is to find nothing in a protected guest finds what is there: every copy, in
 * whatever place, by each way, and not itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "el2.h"
#include "harness.h"
#include "search.h"

/* Three pieces, and what is to be lost in the last. */
#define WORDS	(3 * PIECE_WORDS)

#define PLACES	7

static struct search s;

FIXTURE(finds)
{
	char hex[2 * SECRET_BYTES + 1];
	size_t page;
	uint64_t *memory;
	pid_t child;
};

FIXTURE_SETUP(finds)
{
	unsigned char random[SECRET_BYTES];

	self->page = sysconf(_SC_PAGESIZE);
	/* Never as it is: each byte's complement alone stays in memory. */
	ASSERT_EQ(sizeof(random), getrandom(random, sizeof(random), 0));
	for (size_t i = 0; i < sizeof(random); i++)
		sprintf(self->hex + 2 * i, "%02x", random[i] ^ 0x5a);
	ASSERT_EQ(0, search_begin(&s, self->hex));
	self->memory = mmap(NULL, WORDS * sizeof(uint64_t), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	self->child = 0;
}

FIXTURE_TEARDOWN(finds)
{
	if (self->child) {
		kill(self->child, SIGKILL);
		waitpid(self->child, NULL, 0);
	}
}

/* At both ends, across both ends of the second page and the end of a piece, and elsewhere. */
static void plant(uint64_t *memory, size_t page)
{
	size_t places[PLACES] = {
		0, 100, page / sizeof(uint64_t) - 1, 2 * page / sizeof(uint64_t) - 1,
		PIECE_WORDS - 2, 2 * PIECE_WORDS, WORDS - SECRET_WORDS,
	};

	for (size_t i = 0; i < PLACES; i++) {
		for (size_t n = 0; n < SECRET_WORDS; n++)
			memory[places[i] + n] = ~s.complement[n];
	}
}

/* A child with the memory as it is here. */
static pid_t child(void)
{
	pid_t pid = fork();

	if (!pid)
		pause();
	return pid;
}

TEST_F(finds, a_secret_is_64_digits)
{
	char wrong[2 * SECRET_BYTES + 2];

	snprintf(wrong, sizeof(wrong), "%s0", self->hex);
	EXPECT_EQ(-EINVAL, search_begin(&s, wrong));
	wrong[2 * SECRET_BYTES - 1] = '\0';
	EXPECT_EQ(-EINVAL, search_begin(&s, wrong));
	snprintf(wrong, sizeof(wrong), "%s", self->hex);
	wrong[7] = 'x';
	EXPECT_EQ(-EINVAL, search_begin(&s, wrong));
}

TEST_F(finds, nothing_where_nothing_is)
{
	self->child = child();
	ASSERT_LT(0, self->child);
	EXPECT_EQ(0, search_proc_mem(&s, self->child));
	EXPECT_LE(WORDS * sizeof(uint64_t), s.read);
	EXPECT_EQ(0, search_process_vm(&s, self->child));
	EXPECT_EQ(0, search_proc_mem(&s, getpid()));
	EXPECT_EQ(0, s.found);
}

TEST_F(finds, each_copy_by_proc_mem)
{
	plant(self->memory, self->page);
	self->child = child();
	ASSERT_LT(0, self->child);
	EXPECT_EQ(0, search_proc_mem(&s, self->child));
	EXPECT_EQ(PLACES, s.found);
}

TEST_F(finds, each_copy_by_process_vm_readv)
{
	plant(self->memory, self->page);
	self->child = child();
	ASSERT_LT(0, self->child);
	EXPECT_EQ(0, search_process_vm(&s, self->child));
	EXPECT_EQ(PLACES, s.found);
}

/* Memory that cannot be read is counted, and what is around it is read. */
TEST_F(finds, what_is_around_a_hole)
{
	int fd = open("/tmp/finds", O_RDWR | O_CREAT | O_TRUNC, 0600);
	uint64_t unread;

	ASSERT_LE(0, fd);
	plant(self->memory, self->page);
	self->child = child();
	ASSERT_EQ(0, search_proc_mem(&s, self->child));
	ASSERT_EQ(PLACES, s.found);
	unread = s.tried - s.read;
	kill(self->child, SIGKILL);
	waitpid(self->child, NULL, 0);

	/* The second page, and with it both copies across its ends: behind the end of a file. */
	ASSERT_NE(MAP_FAILED, mmap((char *)self->memory + self->page, self->page, PROT_READ,
				   MAP_SHARED | MAP_FIXED, fd, 0));
	self->child = child();
	for (int way = 0; way < 2; way++) {
		ASSERT_EQ(0, search_begin(&s, self->hex));
		ASSERT_EQ(0, way ? search_process_vm(&s, self->child) :
				   search_proc_mem(&s, self->child));
		EXPECT_EQ(PLACES - 2, s.found);
		EXPECT_EQ(unread + self->page, s.tried - s.read);
	}
	close(fd);
	unlink("/tmp/finds");
}

TEST_F(finds, what_is_in_ram_by_the_linear_map)
{
	int fd = hostile_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, search_linear_map(&s, fd));
	EXPECT_EQ(0, s.found);
	/* Not all of these: neighbours in this memory are no neighbours in RAM. */
	plant(self->memory, self->page);
	ASSERT_EQ(0, search_begin(&s, self->hex));
	ASSERT_EQ(0, search_linear_map(&s, fd));
	EXPECT_LE(4, s.found);
	EXPECT_LT(128 << 20, s.read);
	close(fd);
}

TEST_HARNESS_MAIN
