/* SPDX-License-Identifier: GPL-2.0 */
/* NAME, vCPUs, flags. Each is a function of the payload and a test of the program. */
#define TRAPS_TESTS(X)						\
	X(id_registers_read, 1, 0)				\
	X(id_registers_of_32_bits_read, 1, 0)			\
	X(id_registers_are_read_only, 1, 0)			\
	X(midr_and_mpidr, 4, 0)					\
	X(cache_registers, 1, 0)				\
	X(el2_and_el3_registers_are_undefined, 1, 0)		\
	X(hidden_features_are_undefined, 1, 0)			\
	X(pmu_is_as_the_id_registers_say, 1, 0)			\
	X(implementation_defined_registers, 1, 0)		\
	X(debug_registers, 1, 0)				\
	X(breakpoints_fire, 1, 0)				\
	X(breakpoints_of_two_cpus, 2, 0)			\
	X(watchpoints_fire, 1, 0)				\
	X(single_steps, 1, 0)					\
	X(os_lock_holds_debug_exceptions, 1, 0)			\
	X(debug_beside_the_hosts, 1, 0)				\
	X(breakpoint_instruction_stays_in_the_guest, 1, 0)	\
	X(wfi_and_wfe_go_on, 1, 0)				\
	X(smc_does_not_reach_firmware, 1, 0)			\
	X(hvc_keeps_registers, 1, 0)				\
	X(set_way_maintenance_keeps_data, 1, 0)			\
	X(set_way_maintenance_with_the_mmu_off, 1, GUEST_MMU_OFF)	\
	X(set_way_maintenance_and_caches_off, 1, 0)		\
	X(registers_written_after_set_way, 1, 0)		\
	X(maintenance_by_address, 1, 0)				\
	X(tlb_maintenance_and_translation, 1, 0)		\
	X(fp_registers_are_kept, 1, 0)				\
	X(fp_registers_of_two_cpus, 2, 0)			\
	X(fp_trapped_by_the_guest_itself, 1, 0)			\
	X(pointer_authentication_keys, 1, 0)			\
	X(general_registers_are_kept, 1, 0)			\
	X(system_registers_are_kept, 1, 0)			\
	X(system_registers_of_two_cpus, 2, 0)			\
	X(mmu_turned_on_and_off_again, 1, GUEST_MMU_OFF)

/* Requests of this test. */

/*
 * The VMM watches a variable of its own on the calling thread, and as the host's kernel the eight bytes
 * at the argument, an address of the kernel's half, on all CPUs. Answers 0 or -errno.
 */
#define REQUEST_WATCH	(REQUEST_OWN + 0)
/* The VMM writes its variable. */
#define REQUEST_TOUCH	(REQUEST_OWN + 1)
/* How often the host's watchpoints fired: its variable's, then the kernel's. */
#define REQUEST_TOUCHED	(REQUEST_OWN + 2)
#define REQUEST_LEAKED	(REQUEST_OWN + 3)
