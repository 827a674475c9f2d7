/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The operations that are measured, in the order of their numbers: NAME, vCPUs, flags. All of them are
 * in one payload, so that every system runs the same bytes; the VMM names the one to run.
 */
#define BENCH_OPERATIONS(X)		\
	X(hypercall, 1, 0)		\
	X(psci_version, 1, 0)		\
	X(id_register, 1, 0)		\
	X(sgi_to_self, 1, 0)		\
	X(gicd_iidr, 1, 0)		\
	X(mmio_to_user, 1, 0)		\
	X(fault_4k, 1, 0)

#define ROUNDS		7
#define ROUND		64
/*
 * Where fault_4k finds pages that it has not touched: one round after the other. As in the memory of a real
 * guest a block could lie there, if the VMM had one: that there is none is a part of the fault's cost.
 */
#define FAULT_BASE	GUEST_EXTRA_BASE
#define FAULT_SIZE	(2UL << 20)	/* of it ROUNDS * ROUND pages are touched */
