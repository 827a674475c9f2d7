// SPDX-License-Identifier: GPL-2.0
/* What a guest sees of its virtual and its physical timer. */
#include "fixture.h"
#include "tests.h"

GUEST_NUMBERS(TIMER_TESTS);
TIMER_TESTS(GUEST_TEST)

TEST_HARNESS_MAIN
