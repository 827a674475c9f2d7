// SPDX-License-Identifier: GPL-2.0
/* What the kernel reads and writes for a thread by itself: futexes, rseq, signal frames, its last word. */
#include <errno.h>
#include <linux/futex.h>
#include <linux/rseq.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "stray.h"

static long futex(void *at, int op, uint32_t value, struct timespec *wait, void *other, uint32_t value3)
{
	return syscall(SYS_futex, at, op, value, wait, other, value3);
}

/* The lower word of what the guest has at the start of a page. */
static uint32_t secret_word(struct stray *s, unsigned int page)
{
	return SECRET_AT(s->seed, SECRET_BASE + page * s->page);
}

/* Sleeps only if the word is the guest's; else it is awake at once, for the word is another. */
static unsigned int wait_on_secret(struct stray *s, int op)
{
	struct timespec wait = { .tv_nsec = 50000000 };

	if (!futex(s->secret, op, secret_word(s, 0), &wait, NULL, 0) || errno == ETIMEDOUT)
		return OUT_SECRET;
	return gave(s, "FUTEX_WAIT", -1);
}

unsigned int way_futex_wait(struct stray *s) { return wait_on_secret(s, FUTEX_WAIT_PRIVATE); }
unsigned int way_futex_wait_shared(struct stray *s) { return wait_on_secret(s, FUTEX_WAIT); }

unsigned int way_futex_wake_op(struct stray *s)
{
	static const int ops[] = { FUTEX_OP_SET, FUTEX_OP_ADD, FUTEX_OP_OR, FUTEX_OP_ANDN, FUTEX_OP_XOR };
	unsigned int got = 0, i;
	uint32_t own = 0;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		got |= gave(s, "FUTEX_WAKE_OP",
			    futex(&own, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1UL, s->secret + i * s->page,
				  FUTEX_OP(ops[i], 0x7f, FUTEX_OP_CMP_EQ, 0)));
	return got;
}

unsigned int way_futex_requeue(struct stray *s)
{
	/* Compares the word first: only the guest's own would let it go on. */
	if (futex(s->secret, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1UL, s->secret + s->page,
		  secret_word(s, 0)) >= 0)
		return OUT_SECRET;
	return gave(s, "FUTEX_CMP_REQUEUE", -1);
}

static unsigned int lock_pi(struct stray *s)
{
	struct timespec wait = { .tv_sec = time(NULL) + 1 };

	/* Of zeros it is free, and the lock is written into what the guest never sees. */
	return gave(s, "FUTEX_LOCK_PI", futex(s->secret, FUTEX_LOCK_PI_PRIVATE, 0, &wait, NULL, 0));
}

/* The thread that has the lock ends with it. */
unsigned int way_futex_lock_pi(struct stray *s) { return elsewhere(s, lock_pi); }

/* The list's head in the guest's memory, then a member of it. */
static unsigned int robust_head(struct stray *s)
{
	return gave(s, "set_robust_list", syscall(SYS_set_robust_list, s->secret, sizeof(struct robust_list_head)));
}

static unsigned int robust_member(struct stray *s)
{
	static struct robust_list_head head;

	head.list.next = (void *)s->secret;
	head.futex_offset = 8;
	head.list_op_pending = (void *)(s->secret + s->page);
	return gave(s, "set_robust_list", syscall(SYS_set_robust_list, &head, sizeof(head)));
}

unsigned int way_robust_list(struct stray *s) { return elsewhere(s, robust_head) | elsewhere(s, robust_member); }

static unsigned int last_word(struct stray *s)
{
	syscall(SYS_set_tid_address, s->secret);
	return OUT_PASSES;
}

unsigned int way_clear_tid(struct stray *s) { return elsewhere(s, last_word); }

/* The kernel's number for this one: linux/rseq.h leaves it to the architecture's libraries. */
#define SIGNATURE	0xd428bc00

static unsigned int with_rseq(struct stray *s)
{
	int i;

	if (syscall(SYS_rseq, s->secret, 32, 0, SIGNATURE))
		return gave(s, "rseq", -1);
	/* Each return to user space after another thread had the CPU writes to it. */
	for (i = 0; i < 100; i++) {
		sched_yield();
		usleep(100);
	}
	return gave(s, "rseq", syscall(SYS_rseq, s->secret, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE));
}

/* In a process whose C library has not registered one. */
unsigned int way_rseq(struct stray *s) { return elsewhere(s, with_rseq); }

static void on_stack_of_guest(int number)
{
	/* Whatever this pushes goes there, too. */
	syscall(SYS_exit, 0);
}

static unsigned int with_stack(struct stray *s)
{
	stack_t stack = { .ss_sp = s->secret, .ss_size = (SECRET_PAGES - 1) * s->page };
	struct sigaction action = { .sa_handler = on_stack_of_guest, .sa_flags = SA_ONSTACK };

	signal(SIGBUS, SIG_DFL);
	if (sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL))
		return broke(s, "sigaltstack");
	syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
	return OUT_BROKEN;
}

/* The kernel writes the frame, the handler pushes to it; a return would read it. */
unsigned int way_signal_stack(struct stray *s)
{
	unsigned int got = elsewhere(s, with_stack);

	/* Ended by its handler, with no answer. */
	return got ? got : OUT_PASSES;
}

static uint64_t restore_from;

static unsigned int return_from_guest(struct stray *s)
{
	restore_from = (uintptr_t)s->secret;
	signal(SIGBUS, SIG_DFL);
	/* rt_sigreturn reads a frame where SP is, and finds no signature of one. */
	asm volatile("mov sp, %0\n\tmov x8, %1\n\tsvc #0" : : "r"(restore_from), "i"(SYS_rt_sigreturn) : "x8", "memory");
	return OUT_BROKEN;
}

unsigned int way_signal_return(struct stray *s) { return elsewhere(s, return_from_guest); }
