/* SPDX-License-Identifier: GPL-2.0 */
/* NAME, vCPUs, flags. Each is a function of the payload and a test of the program. */
#define TIMER_TESTS(X)					\
	X(counter_starts_near_zero_and_runs, 2, 0)	\
	X(virtual_registers, 1, 0)			\
	X(virtual_fires_by_compare_value, 1, 0)		\
	X(virtual_fires_by_timer_value, 1, 0)		\
	X(virtual_masked, 1, 0)				\
	X(virtual_disabled, 1, 0)			\
	X(virtual_is_level_sensitive, 1, 0)		\
	X(virtual_far_and_past, 1, 0)			\
	X(virtual_wakes_wfi, 1, 0)			\
	X(virtual_wakes_masked_wfi, 1, 0)		\
	X(virtual_kept_across_exits, 1, 0)		\
	X(virtual_ticks, 1, 0)				\
	X(physical_registers, 1, 0)			\
	X(physical_fires_by_compare_value, 1, 0)	\
	X(physical_fires_by_timer_value, 1, 0)		\
	X(physical_masked, 1, 0)			\
	X(physical_disabled, 1, 0)			\
	X(physical_is_level_sensitive, 1, 0)		\
	X(physical_far_and_past, 1, 0)			\
	X(physical_wakes_wfi, 1, 0)			\
	X(physical_wakes_masked_wfi, 1, 0)		\
	X(physical_kept_across_exits, 1, 0)		\
	X(physical_ticks, 1, 0)				\
	X(both_on_all_cpus, 4, 0)
