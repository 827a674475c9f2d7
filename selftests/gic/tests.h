/* SPDX-License-Identifier: GPL-2.0 */
/* NAME, vCPUs, flags. Each is a function of the payload and a test of the program. */
#define GIC_TESTS(X)						\
	X(distributor_identifies_itself, 1, 0)			\
	X(redistributors_identify_themselves, 4, 0)		\
	X(registers_of_spis_keep_what_is_written, 1, 0)		\
	X(registers_of_private_interrupts_are_banked, 2, 0)	\
	X(reserved_registers_are_zero, 1, 0)			\
	X(cpu_interface_keeps_what_is_written, 1, 0)		\
	X(each_sgi_to_self, 1, 0)				\
	X(sgi_to_a_list, 4, 0)					\
	X(sgi_to_all_but_self, 4, 0)				\
	X(sgi_to_nobody, 2, 0)					\
	X(sgi_wakes_wfi, 2, 0)					\
	X(sgi_there_and_back, 2, 0)				\
	X(disabled_sgi_stays_pending, 1, 0)			\
	X(ppi_set_pending_by_software, 1, 0)			\
	X(ppi_level_from_the_vmm, 2, 0)				\
	X(spi_edge_from_the_vmm, 1, 0)				\
	X(spi_level_from_the_vmm, 1, 0)				\
	X(spi_level_lowered_in_time, 1, 0)			\
	X(spi_set_and_cleared_by_software, 1, 0)		\
	X(spi_edge_while_active_comes_again, 1, 0)		\
	X(spi_routed, 4, 0)					\
	X(highest_priority_first, 1, 0)				\
	X(preemption_by_group_priority, 1, 0)			\
	X(priority_mask, 1, 0)					\
	X(more_pending_than_list_registers, 1, 0)		\
	X(active_state, 1, 0)					\
	X(active_state_set_by_software, 1, 0)			\
	X(eoimode_splits_drop_and_deactivation, 1, 0)		\
	X(group_1_disabled, 1, 0)				\
	X(distributor_disabled, 1, 0)				\
	X(group_0_is_fiq, 1, 0)					\
	X(spurious, 1, 0)
