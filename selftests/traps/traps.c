// SPDX-License-Identifier: GPL-2.0
/* What a guest may do and what is UNDEFINED to it, and that no exit changes its registers. */
#include "fixture.h"
#include "tests.h"

GUEST_NUMBERS(TRAPS_TESTS);
TRAPS_TESTS(GUEST_TEST)

TEST_HARNESS_MAIN
