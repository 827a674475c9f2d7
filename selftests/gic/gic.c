// SPDX-License-Identifier: GPL-2.0
/* What a guest sees of its GICv3. */
#include "fixture.h"
#include "tests.h"

GUEST_NUMBERS(GIC_TESTS);
GIC_TESTS(GUEST_TEST)

TEST_HARNESS_MAIN
