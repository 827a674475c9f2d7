// SPDX-License-Identifier: GPL-2.0
/* What other processes do to a VMM, and what the kernel does for a process that passes an address. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"
#include "stray.h"

/* Room for a page of any size. */
static uint8_t buffer[1 << 16];

static int open_mem(struct stray *s, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", getppid());
	return open(path, flags | O_CLOEXEC);
}

static unsigned int proc_mem_read(struct stray *s)
{
	int fd = open_mem(s, O_RDONLY);
	ssize_t n = pread(fd, buffer, s->page, (uintptr_t)s->secret);

	close(fd);
	return n == (ssize_t)s->page ? saw(s, buffer, n, 0) : gave(s, "read", -1);
}

static unsigned int proc_mem_write(struct stray *s)
{
	int fd = open_mem(s, O_RDWR);
	ssize_t n;

	mark(s, buffer, s->page);
	n = pwrite(fd, buffer, s->page, (uintptr_t)s->secret);
	close(fd);
	return gave(s, "write", n == (ssize_t)s->page ? 0 : -1);
}

static unsigned int vm_readv(struct stray *s)
{
	struct iovec local = { buffer, s->page }, remote = { s->secret, s->page };
	ssize_t n = process_vm_readv(getppid(), &local, 1, &remote, 1, 0);

	return n == (ssize_t)s->page ? saw(s, buffer, n, 0) : gave(s, "process_vm_readv", -1);
}

static unsigned int vm_writev(struct stray *s)
{
	struct iovec local = { buffer, s->page }, remote = { s->secret, s->page };

	mark(s, buffer, s->page);
	return gave(s, "process_vm_writev", process_vm_writev(getppid(), &local, 1, &remote, 1, 0));
}

/* Stops the VMM's first thread, calls @fn, lets it go on. */
static unsigned int traced(struct stray *s, unsigned int (*fn)(struct stray *s, pid_t pid))
{
	pid_t pid = getppid();
	unsigned int got;

	if (ptrace(PTRACE_SEIZE, pid, 0, 0))
		return broke(s, "PTRACE_SEIZE");
	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) || waitpid(pid, NULL, __WALL) != pid)
		return broke(s, "PTRACE_INTERRUPT");
	got = fn(s, pid);
	if (ptrace(PTRACE_DETACH, pid, 0, 0))
		return broke(s, "PTRACE_DETACH");
	return got;
}

static unsigned int peek_at(struct stray *s, pid_t pid)
{
	uint64_t value;

	errno = 0;
	value = ptrace(PTRACE_PEEKDATA, pid, s->secret, 0);
	return errno ? gave(s, "PTRACE_PEEKDATA", -1) : saw(s, &value, sizeof(value), 0);
}

static unsigned int poke_at(struct stray *s, pid_t pid)
{
	return gave(s, "PTRACE_POKEDATA", ptrace(PTRACE_POKEDATA, pid, s->secret, s->marker));
}

static unsigned int peek(struct stray *s) { return traced(s, peek_at); }
static unsigned int poke(struct stray *s) { return traced(s, poke_at); }

unsigned int way_proc_mem_read(struct stray *s) { return elsewhere(s, proc_mem_read); }
unsigned int way_proc_mem_write(struct stray *s) { return elsewhere(s, proc_mem_write); }
unsigned int way_process_vm_readv(struct stray *s) { return elsewhere(s, vm_readv); }
unsigned int way_process_vm_writev(struct stray *s) { return elsewhere(s, vm_writev); }
unsigned int way_peek(struct stray *s) { return elsewhere(s, peek); }
unsigned int way_poke(struct stray *s) { return elsewhere(s, poke); }

unsigned int way_name_of_it(struct stray *s)
{
	char name[16] = "";

	if (prctl(PR_SET_NAME, s->secret))
		return gave(s, "PR_SET_NAME", -1);
	if (prctl(PR_GET_NAME, name))
		return broke(s, "PR_GET_NAME");
	return saw(s, name, 8, 0);
}

/* A VMM with a guest of its own, that writes to it as long as it is let. */
static void write_for_ever(struct result *result, bool protected, int ready)
{
	static struct stray other;
	struct iovec local = { buffer, 0 }, remote;
	size_t n;

	if (stray_begin(&other, result, protected, BACKING_ANONYMOUS))
		_exit(1);
	mark(&other, buffer, other.page);
	local.iov_len = other.page;
	for (n = 0;; n = (n + 1) % SECRET_PAGES) {
		remote = (struct iovec){ other.secret + n * other.page, other.page };
		if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != (ssize_t)other.page)
			_exit(2);
		if (n == SECRET_PAGES - 1 && write(ready, "", 1) != 1)
			_exit(3);
	}
}

unsigned int way_other_vm(struct stray *s)
{
	struct result *result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct iovec local = { buffer, s->page }, remote;
	unsigned int got = 0, round, n;
	int ready[2];
	char byte;
	pid_t pid;

	if (result == MAP_FAILED || pipe(ready))
		return broke(s, "pipe");
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		write_for_ever(result, s->protected, ready[1]);
	}
	close(ready[1]);
	/* Each time after it has written to all of its pages: they are where decoys are. */
	for (round = 0; round < 8; round++) {
		if (read(ready[0], &byte, 1) != 1)
			return broke(s, result->note);
		for (n = 0; n < SECRET_PAGES; n++) {
			remote = (struct iovec){ s->secret + n * s->page, s->page };
			if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != (ssize_t)s->page)
				return broke(s, "process_vm_readv");
			got |= saw(s, buffer, s->page, n * s->page);
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	return got;
}

#define CORE	"/tmp/core.stray"

unsigned int way_core_dump(struct stray *s)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	unlink(CORE);
	if (write_file("/proc/sys/kernel/core_pattern", CORE) || setrlimit(RLIMIT_CORE, &limit))
		return broke(s, "core_pattern");
	s->result->address = (uintptr_t)s->secret;
	abort();
}

/* The page of the core that has the secret's address. */
static bool core_page(int fd, uint64_t address, uint8_t *to, size_t size)
{
	Elf64_Phdr segment;
	Elf64_Ehdr head;
	int i;

	if (pread(fd, &head, sizeof(head), 0) != sizeof(head))
		return false;
	for (i = 0; i < head.e_phnum; i++) {
		if (pread(fd, &segment, sizeof(segment), head.e_phoff + i * sizeof(segment)) != sizeof(segment))
			return false;
		if (segment.p_type == PT_LOAD && address - segment.p_vaddr < segment.p_filesz)
			return pread(fd, to, size, segment.p_offset + address - segment.p_vaddr) == (ssize_t)size;
	}
	return false;
}

unsigned int after_core_dump(const struct result *result)
{
	unsigned int got = OUT_BROKEN;
	int fd = open(CORE, O_RDONLY | O_CLOEXEC);
	size_t size = sysconf(_SC_PAGESIZE);

	if (core_page(fd, result->address, buffer, size))
		got = what_is(buffer, size, SECRET_BASE, result->seed, result->marker);
	close(fd);
	unlink(CORE);
	return got;
}
