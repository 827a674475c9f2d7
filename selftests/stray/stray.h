/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One way in which the host strays is a function that is called beside a running guest, in the process
 * of its VMM, and says what that process got. ways.h lists all of them with what is to come of each.
 */
#ifndef MVIRT_STRAY_H
#define MVIRT_STRAY_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm.h"
#include "tests.h"
#include "ways.h"

/* What a way leaves for the process that watches it; shared memory. */
struct result {
	/* The guest is there and well, and the way begins. */
	bool begun;
	/* The way ended, with these OUT_*. */
	bool ended;
	unsigned int got;
	/* The guest after it: one of GUEST_*. */
	enum guest_end guest;
	/* For who looks at what a process left that is gone: the secret's address there, and what it is. */
	uint64_t address;
	uint64_t seed, marker;
	char note[256];
};

struct stray {
	struct vm vm;
	struct result *result;
	bool protected;
	size_t page;
	/* The VMM's mapping of the secret: SECRET_PAGES pages, with a page of its own before. */
	uint8_t *secret;
	uint8_t *fresh;
	/* The file behind it, or -1. */
	int memfd;
	uint64_t seed;
	/* What this VMM writes where it should not: 8 bytes that nobody else writes. */
	uint64_t marker;
	/* What the guest said last, and what it is told next. */
	uint64_t beats, wrong, command;
	pthread_t runner;
};

/* The guest is made, runs, and has its secret; 0 or -1 with a note. */
int stray_begin(struct stray *s, struct result *result, bool protected, enum backing backing);
/* Waits until it has beaten @n times more; false if it did not. */
bool stray_beats(struct stray *s, unsigned int n);
/* Has it look once more, ends it, and says how it was. */
enum guest_end stray_end(struct stray *s);

/* Adds a line to what is said about this way. */
__attribute__((format(printf, 2, 3))) void note(struct stray *s, const char *format, ...);

/* What bytes are that were read where the secret has @offset, a multiple of 8. */
unsigned int saw(struct stray *s, const void *bytes, size_t size, size_t offset);
/* The same by what the other side of the process knows. */
unsigned int what_is(const void *bytes, size_t size, uint64_t address, uint64_t seed, uint64_t marker);
/* What a system call gave: OUT_PASSES, or what its errno says. */
unsigned int gave(struct stray *s, const char *what, long ret);
/* OUT_BROKEN: the test itself could not go on. */
unsigned int broke(struct stray *s, const char *what);
/* OUT_SKIPPED, and why. */
unsigned int lacks(struct stray *s, const char *what);

/* Fills with this process's marker. */
void mark(struct stray *s, void *to, size_t size);
/* A file of tmpfs with @size bytes of it, 4096 at most; -1 if there is none. */
int marked_file(struct stray *s, size_t size);
/* The page frame of an address of this process; 0 if there is none. */
uint64_t pfn_of(const void *at);
/* Runs @fn in a process of its own that has the same memory; what that process got. */
unsigned int elsewhere(struct stray *s, unsigned int (*fn)(struct stray *s));

/* The secret's address in the kernel's linear map; 0 if it is not known. */
uint64_t linear_address(struct stray *s);
/* Brings the loopback device up; 0 or -1. */
int link_up(void);

/* Where a SIGBUS of the way goes on. */
struct guard {
	sigjmp_buf jump;
	volatile bool on;
	volatile int code;
};
extern struct guard guard;
void guard_set(void);

/* Runs a statement; whether it got SIGBUS. */
#define CAUGHT(statement) ({				\
	bool caught_ = sigsetjmp(guard.jump, 1);	\
	if (!caught_) {					\
		guard.on = true;			\
		statement;				\
	}						\
	guard.on = false;				\
	caught_;					\
})

#define WAY_DECLARE(name, ...)	unsigned int way_##name(struct stray *s);
STRAY_WAYS(WAY_DECLARE)

/* What is left for after the process is gone: these look at what it left. */
unsigned int after_core_dump(const struct result *result);

#endif /* MVIRT_STRAY_H */
