/* SPDX-License-Identifier: GPL-2.0 */
/* What the test's programs ask its firmware, by SMC: a call of the silicon provider's. */
#ifndef SUSPEND_PROTOCOL_H
#define SUSPEND_PROTOCOL_H

/* x1: what, x2: a CPU. Answers in x0. */
#define FIRMWARE_GET		0xc2000010
/* x1: what, x2: the value. Answers 0. */
#define FIRMWARE_SET		0xc2000011

enum firmware_value {
	/* Of a CPU: how often it lost its registers, by which call. */
	FIRMWARE_OFF,
	FIRMWARE_DOWN,
	FIRMWARE_SYSTEM_SUSPENDS,
	/* Of a CPU: suspend calls that kept all, and those that were answered with REFUSE_WITH. */
	FIRMWARE_STANDBY,
	FIRMWARE_REFUSED,
	/* Where CPUs were to be started, last; and how often it was elsewhere than before. */
	FIRMWARE_ENTRY,
	FIRMWARE_ENTRY_CHANGES,
	/* To be set: every n-th suspend call of a CPU, none if 0, returns at once with this. */
	FIRMWARE_REFUSE_EVERY,
	FIRMWARE_REFUSE_WITH,
	/* To be set: SYSTEM_SUSPEND returns with this if it is not 0. */
	FIRMWARE_REFUSE_SYSTEM,
	FIRMWARE_VALUES,
};

/*
 * The power_state arguments of CPU_SUSPEND that the firmware knows, in the original format: StateType
 * in bit 16, StateID below. "Keeps the timers" means the comparators; in the other state they are lost,
 * which idle-states call local-timer-stop.
 */
#define STATE_STANDBY		0x00000
#define STATE_DOWN		0x10001
#define STATE_DOWN_NO_TIMER	0x10002

#endif /* SUSPEND_PROTOCOL_H */
