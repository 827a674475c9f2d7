/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Looks for a secret in memory that is read piece by piece, at multiples of 8 bytes. The searcher
 * has the secret's complement alone: it neither finds itself nor is found.
 */
#ifndef MVIRT_SELFTEST_SEARCH_H
#define MVIRT_SELFTEST_SEARCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SECRET_WORDS	4
#define SECRET_BYTES	(SECRET_WORDS * sizeof(uint64_t))
#define PIECE_WORDS	8192
#define PIECE_BYTES	(PIECE_WORDS * sizeof(uint64_t))

/* Bytes, but for @found. What could not be read is what was tried and not read. */
struct search {
	uint64_t complement[SECRET_WORDS];
	uint64_t tried;
	uint64_t read;
	uint64_t found;
	/* What a secret that ends in the next piece begins with, and the piece. */
	size_t before;
	uint64_t words[SECRET_WORDS - 1 + PIECE_WORDS];
};

/* Starts with a secret in hexadecimal digits; 0 or -EINVAL. */
int search_begin(struct search *s, const char *hex);
/* Where the next piece is to be put. */
void *search_piece(struct search *s);
/*
 * @tried bytes were tried behind those of the piece before, and @read of them are there now. If that
 * is less, the next piece is another place.
 */
void search_take(struct search *s, size_t tried, size_t read);
/* The next piece is another place. */
void search_gap(struct search *s);

/* Each searches and returns 0, or -errno if it could not even try. */
int search_proc_mem(struct search *s, pid_t pid);
int search_process_vm(struct search *s, pid_t pid);
/* All RAM by the kernel's linear map; @hostile is /dev/hostile. */
int search_linear_map(struct search *s, int hostile);

#endif /* MVIRT_SELFTEST_SEARCH_H */
