// SPDX-License-Identifier: GPL-2.0
/*
 * keep FILE: runs in a guest. Makes a secret of 32 bytes and keeps copies of it, half of them in
 * anonymous memory and half in the page cache, as FILE, which must be on no disk. Says it in
 * hexadecimal digits, the one form in which it leaves this guest, with the number of copies; goes
 * on in the background, and on SIGUSR1 says how many copies are as they were.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "search.h"

#define HALF	(4UL << 20)
#define COPIES	(HALF / SECRET_BYTES)

static void stop(const char *what)
{
	printf("GUEST failed: keep: %s: %s\n", what, strerror(errno));
	exit(1);
}

static size_t kept(const unsigned char *memory, const unsigned char *secret)
{
	size_t n = 0;

	for (size_t i = 0; i < COPIES; i++)
		n += !memcmp(memory + i * SECRET_BYTES, secret, SECRET_BYTES);
	return n;
}

int main(int argc, char **argv)
{
	unsigned char *memory, *file, secret[SECRET_BYTES];
	sigset_t set;
	int fd, got;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2)
		return 2;
	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		stop("getrandom");
	memory = mmap(NULL, HALF, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = open(argv[1], O_RDWR | O_CREAT | O_EXCL, 0600);
	if (memory == MAP_FAILED || fd < 0)
		stop(argv[1]);
	for (size_t i = 0; i < COPIES; i++)
		memcpy(memory + i * SECRET_BYTES, secret, sizeof(secret));
	if (write(fd, memory, HALF) != HALF)
		stop("write");
	file = mmap(NULL, HALF, PROT_READ, MAP_SHARED, fd, 0);
	if (file == MAP_FAILED)
		stop("mmap");

	/* Blocked before the parent says that there is something to ask. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fflush(stdout);
	switch (fork()) {
	case -1:
		stop("fork");
	case 0:
		while (!sigwait(&set, &got))
			printf("GUEST kept %zu\n", kept(memory, secret) + kept(file, secret));
		return 1;
	}
	printf("GUEST secret ");
	for (size_t i = 0; i < sizeof(secret); i++)
		printf("%02x", secret[i]);
	printf(" %lu\n", 2 * COPIES);
	return 0;
}
