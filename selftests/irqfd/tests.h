/* SPDX-License-Identifier: GPL-2.0 */
/* NAME, vCPUs, flags. Each is a function of the payload and a test of the program guest.c. */
#ifndef MVIRT_IRQFD_TESTS_H
#define MVIRT_IRQFD_TESTS_H

#define IRQFD_TESTS(X)						\
	X(a_signal_is_an_edge, 1, 0)				\
	X(a_signal_wakes_a_cpu_that_waits, 1, 0)		\
	X(a_signal_reaches_a_cpu_that_runs, 2, 0)		\
	X(many_signals_from_a_thread, 2, 0)			\
	X(a_resampled_level_ends_once, 1, 0)			\
	X(a_device_that_is_not_content_raises_again, 1, 0)	\
	X(a_shared_gsi_tells_all_its_devices, 2, 0)		\
	X(with_eoimode_the_deactivation_counts, 1, 0)		\
	X(what_the_guest_raised_itself, 1, 0)			\
	X(an_active_state_cleared_by_software, 1, 0)		\
	X(the_line_goes_with_its_eventfd, 1, 0)			\
	X(a_gsi_is_routed_anew, 1, 0)				\
	X(two_gsis_of_a_pin, 1, 0)				\
	X(writes_signal_eventfds, 1, 0)				\
	X(writes_of_all_cpus_signal_eventfds, 4, 0)

/*
 * GSIs and what raises them: eventfds 0 and 1 are plain, 2 and 3 share one GSI with a resamplefd
 * each, 4 has one alone; 5 is plain on a GSI that the VMM routes.
 */
#define GSI_PLAIN		5
#define GSI_OTHER		6
#define GSI_SHARED		7
#define GSI_LEVEL		8
#define GSI_ROUTED		100
#define PIN_BEFORE		9
#define PIN_AFTER		10
#define FD_PLAIN		0
#define FD_OTHER		1
#define FD_SHARED_A		2
#define FD_SHARED_B		3
#define FD_LEVEL		4
#define FD_ROUTED		5
#define FD_TWIN			6
#define NR_FDS			7

/* Requests of this test; the argument is an eventfd's number unless it says otherwise. */
#define REQUEST_SIGNAL		(REQUEST_OWN + 0)	/* write 1 to it */
#define REQUEST_SIGNAL_LATER	(REQUEST_OWN + 1)	/* from a thread, 50 ms from now */
#define REQUEST_RESAMPLED	(REQUEST_OWN + 2)	/* the count of its resamplefd, which is 0 then */
#define REQUEST_DEVICE		(REQUEST_OWN + 3)	/* a thread that raises it again, so many << 8 times */
#define REQUEST_STORM		(REQUEST_OWN + 4)	/* a thread that signals it, so many << 8 times */
#define REQUEST_STORM_ENDED	(REQUEST_OWN + 5)	/* whether that thread is done */
#define REQUEST_CLOSE		(REQUEST_OWN + 6)	/* close it */
#define REQUEST_DEASSIGN	(REQUEST_OWN + 7)	/* KVM_IRQFD_FLAG_DEASSIGN; 0 or -errno */
#define REQUEST_ROUTE		(REQUEST_OWN + 8)	/* GSI_ROUTED to the pin of the argument; 0 or -errno */
#define REQUEST_DOORBELL	(REQUEST_OWN + 9)	/* count of the ioeventfd of the argument, 0 then */
#define REQUEST_MMIOS		(REQUEST_OWN + 10)	/* accesses to the hole that the VMM saw */

/* Doorbells at GUEST_HOLE_BASE: offset, length, whether for one value, that value. */
#define DOORBELLS(X)				\
	X(0x100, 4, 0, 0)			\
	X(0x100, 2, 0, 0)			\
	X(0x108, 4, 1, 0x12345678)		\
	X(0x108, 4, 1, 0x12345679)		\
	X(0x110, 0, 0, 0)			\
	X(0x118, 1, 1, 0xa5)			\
	X(0x120, 8, 1, 0x1122334455667788)	\
	X(0x128, 2, 1, 0x5a5a)			\
	X(0x200, 4, 0, 0)			\
	X(0x130, 1, 1, 0x1a5)
/* The one that all CPUs ring. */
#define SHARED_DOORBELL		8
#define SHARED_OFFSET		0x200

#endif
