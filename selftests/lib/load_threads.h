/* SPDX-License-Identifier: GPL-2.0 */
/* Threads that keep every CPU busy with work whose result can be checked. */
#ifndef MVIRT_SELFTEST_LOAD_THREADS_H
#define MVIRT_SELFTEST_LOAD_THREADS_H

#include <stdint.h>

/* Starts @nr threads that may run on any CPU; 0 or -errno. */
int load_start(int nr);
/* Ends them. How many rounds all did together, or -1 if one of them read wrong data. */
int64_t load_stop(void);

#endif /* MVIRT_SELFTEST_LOAD_THREADS_H */
