// SPDX-License-Identifier: GPL-2.0
/* The hypervisor that was there before mvirt still has EL2, on each CPU. */
#include "el2.h"
#include "harness.h"
#include "machine.h"
#include "rival.h"

TEST(on_each_cpu)
{
	int fd = hostile_open();
	int cpu;

	ASSERT_LE(0, fd);
	for (cpu = 0; cpu < cpus_possible(); cpu++) {
		ASSERT_EQ(0, pin_to_cpu(cpu));
		EXPECT_EQ(RIVAL_ANSWER, el2_call2(fd, EL2_CALL_VERSION, 0, 0).x0) {
			TH_LOG("CPU %d", cpu);
		}
		EXPECT_FALSE(el2_answers(fd));
	}
	close(fd);
}

TEST_HARNESS_MAIN
