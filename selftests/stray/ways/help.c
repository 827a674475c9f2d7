// SPDX-License-Identifier: GPL-2.0
/* What the ways have in common: what was read, what a call gave, who gets a SIGBUS. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stray.h"

struct guard guard;

static void bus_error(int number, siginfo_t *info, void *context)
{
	if (!guard.on) {
		/* Nobody waits for it: the access is made once more, and ends the process. */
		signal(SIGBUS, SIG_DFL);
		return;
	}
	guard.code = info->si_code;
	siglongjmp(guard.jump, 1);
}

void guard_set(void)
{
	struct sigaction action = { .sa_sigaction = bus_error, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &action, NULL);
}

void note(struct stray *s, const char *format, ...)
{
	char *text = s->result->note;
	size_t used = strlen(text), size = sizeof(s->result->note);
	va_list args;

	if (used && used + 3 < size)
		used += snprintf(text + used, size - used, "; ");
	va_start(args, format);
	vsnprintf(text + used, size - used, format, args);
	va_end(args);
}

unsigned int what_is(const void *bytes, size_t size, uint64_t address, uint64_t seed, uint64_t marker)
{
	unsigned int got = 0;
	uint64_t word;
	size_t i;

	for (i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, (const uint8_t *)bytes + i, sizeof(word));
		if (!word)
			got |= OUT_ZEROS;
		else if (word == marker)
			got |= OUT_OWN;
		else if (word == SECRET_AT(seed, address + i))
			got |= OUT_SECRET;
		else
			got |= OUT_STRANGE;
	}
	return got;
}

unsigned int saw(struct stray *s, const void *bytes, size_t size, size_t offset)
{
	return what_is(bytes, size, SECRET_BASE + offset, s->seed, s->marker);
}

unsigned int gave(struct stray *s, const char *what, long ret)
{
	if (ret >= 0)
		return OUT_PASSES;
	switch (errno) {
	case EFAULT:
		return OUT_EFAULT;
	case EAGAIN:
		return OUT_EAGAIN;
	case EBUSY:
		return OUT_EBUSY;
	case EPERM:
		return OUT_EPERM;
	}
	return broke(s, what);
}

unsigned int broke(struct stray *s, const char *what)
{
	note(s, "%s: %s", what, strerror(errno));
	return OUT_BROKEN;
}

unsigned int lacks(struct stray *s, const char *what)
{
	note(s, "%s", what);
	return OUT_SKIPPED;
}

void mark(struct stray *s, void *to, size_t size)
{
	size_t i;

	for (i = 0; i + sizeof(s->marker) <= size; i += sizeof(s->marker))
		memcpy((uint8_t *)to + i, &s->marker, sizeof(s->marker));
}

int marked_file(struct stray *s, size_t size)
{
	static uint8_t bytes[1 << 12];
	int fd = syscall(SYS_memfd_create, "file", 0);

	mark(s, bytes, size);
	return fd < 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size ? -1 : fd;
}

uint64_t pfn_of(const void *at)
{
	uint64_t entry = 0, page = sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (uintptr_t)at / page * sizeof(entry)) != sizeof(entry))
		entry = 0;
	close(fd);
	/* Bit 63: it is there. */
	return entry >> 63 ? entry & ((1UL << 55) - 1) : 0;
}

struct errand {
	struct stray *s;
	unsigned int (*fn)(struct stray *s);
	unsigned int got;
};

static int errand(void *arg)
{
	struct errand *errand = arg;

	errand->got = errand->fn(errand->s);
	return 0;
}

#define STACK	(256 << 10)

unsigned int elsewhere(struct stray *s, unsigned int (*fn)(struct stray *s))
{
	struct errand job = { s, fn, 0 };
	uint8_t *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	if (stack == MAP_FAILED)
		return broke(s, "mmap");
	/* As vfork: the memory is one, descriptors and signals are its own. */
	pid = clone(errand, stack + STACK, CLONE_VM | SIGCHLD, &job);
	if (pid < 0)
		return broke(s, "clone");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	munmap(stack, STACK);
	if (WIFEXITED(status))
		return job.got;
	switch (WTERMSIG(status)) {
	case SIGBUS:
		return OUT_SIGBUS;
	case SIGSEGV:
		return OUT_SIGSEGV;
	}
	note(s, "a helper ended with signal %d", WTERMSIG(status));
	return OUT_BROKEN;
}
