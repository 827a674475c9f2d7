/* SPDX-License-Identifier: GPL-2.0 */
/* NAME, vCPUs, flags. Each is a function of the payload and a test of the program. */
#define PSCI_TESTS(X)					\
	X(version_and_features, 1, 0)			\
	X(unknown_functions, 1, 0)			\
	X(smccc, 1, 0)					\
	X(workarounds, 1, 0)				\
	X(random_numbers, 1, 0)				\
	X(hypervisor_identifies_itself, 1, 0)		\
	X(cpu_on_starts_a_clean_cpu, 2, GUEST_MMU_OFF)	\
	X(cpu_on_refuses, 2, 0)				\
	X(cpu_on_of_one_cpu_by_two, 3, 0)		\
	X(cpu_off_and_on_again, 4, 0)			\
	X(affinity_info, 4, 0)				\
	X(suspend, 1, 0)				\
	X(calls_that_end_it_check_their_arguments, 1, 0)

/* These end in a system event. */
#define PSCI_EVENTS(X)					\
	X(system_off, 2, 0)				\
	X(system_reset, 2, 0)				\
	X(system_off2, 2, 0)				\
	X(system_off2_hibernate, 2, 0)			\
	X(system_off2_smc32, 2, 0)			\
	X(system_reset2, 2, 0)				\
	X(system_reset2_vendor, 2, 0)			\
	X(system_suspend, 2, 0)				\
	X(system_off_by_another_cpu, 2, 0)

#define ALL_TESTS(X)	PSCI_TESTS(X) PSCI_EVENTS(X)
