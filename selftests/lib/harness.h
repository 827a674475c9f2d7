/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's harness, with the patience that an emulated machine with many CPUs needs. */
#ifndef MVIRT_SELFTEST_HARNESS_H
#define MVIRT_SELFTEST_HARNESS_H

#include "kselftest_harness.h"

/* Seconds for a test case that does not set its own: more than any guest has (guest/protocol.h). */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#endif /* MVIRT_SELFTEST_HARNESS_H */
