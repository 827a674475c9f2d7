/* SPDX-License-Identifier: GPL-2.0 */
/* What the guest and its VMM agree on. */
#ifndef MVIRT_STRAY_TESTS_H
#define MVIRT_STRAY_TESTS_H

#define STRAY_PAYLOADS(X)	X(keep, 1, 0)

/*
 * The secret, which the guest has before the host strays; its last page counts the beats instead. More
 * pages than 8 CPUs have decoys.
 */
#define SECRET_BASE	GUEST_EXTRA_BASE
#define SECRET_PAGES	48
/* Its word at an address. No byte of it is 0: it may be taken for a string. */
#define SECRET_AT(seed, address)	(((address) * 0x9e3779b97f4a7c15UL ^ (seed)) | 0x0101010101010101UL)
/* Memory that the guest touches on command alone. */
#define FRESH_BASE	0x90000000UL
#define FRESH_PAGES	4

#define REQUEST_PAGE	(REQUEST_OWN + 0)	/* the host's page size */
#define REQUEST_SEED	(REQUEST_OWN + 1)	/* what the secret is made of */
#define REQUEST_BEAT	(REQUEST_OWN + 2)	/* the argument is how many words are wrong; a command */

#define COMMAND_GO_ON	0
#define COMMAND_TOUCH	1	/* read each page of the memory that was not touched */
#define COMMAND_END	2

#endif /* MVIRT_STRAY_TESTS_H */
