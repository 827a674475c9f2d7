/* SPDX-License-Identifier: GPL-2.0 */
/* What the payload can do; the tests are the programs'. NAME, vCPUs, flags. */
#define DEATH_PAYLOADS(X)	\
	X(life, 2, 0)		\
	X(spin, 1, 0)		\
	X(touch, 1, 0)		\
	X(on_page, 1, 0)

/* Memory behind GUEST_EXTRA_BASE. */
#define EXTRA_SIZE	(4UL << 20)

/* How many vCPUs there are. */
#define REQUEST_CPUS	(REQUEST_OWN + 0)
/* The guest is in the middle of its life: it runs, and has memory of each kind. */
#define REQUEST_ALIVE	(REQUEST_OWN + 1)
/* What to touch: the first address, bytes, bytes from one to the next. By the argument, 0 to 2. */
#define REQUEST_RANGE	(REQUEST_OWN + 2)
