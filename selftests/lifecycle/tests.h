/* SPDX-License-Identifier: GPL-2.0 */
/* What the payload can do; the tests are the program's. NAME, vCPUs, flags. */
#define LIFECYCLE_PAYLOADS(X)		\
	X(answer, 1, 0)			\
	X(work, 2, 0)			\
	X(spin, 1, 0)			\
	X(count, 1, 0)			\
	X(sleep, 1, 0)			\
	X(all, 8, 0)			\
	X(keep_time, 2, 0)

/* A request: the work has begun, or goes on; the argument is how often it was done. */
#define REQUEST_PROGRESS	(REQUEST_OWN + 0)
/* As often, while the host's CPUs go and come; not 0 once that is over. */
#define REQUEST_IS_OVER		(REQUEST_OWN + 1)
