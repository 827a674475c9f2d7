/* SPDX-License-Identifier: GPL-2.0 */
/* What the payload can do; the tests are the program's. NAME, vCPUs, flags. */
#define SUSPEND_PAYLOADS(X)	\
	X(keep_all, 2, 0)	\
	X(wait_for_alarms, 1, 0)

/*
 * The guest's virtual counter, read right before this request. The answer is the host's counter, and
 * GUEST_OVER once the host does nothing more.
 */
#define REQUEST_TIME		(REQUEST_OWN + 0)
#define GUEST_OVER		(~0ULL)
/* Which timer to set for when: GUEST_VIRTUAL or GUEST_PHYSICAL and microseconds; or GUEST_OVER. */
#define REQUEST_ALARM		(REQUEST_OWN + 1)
#define GUEST_VIRTUAL		0
#define GUEST_PHYSICAL		(1ULL << 32)
/* It is set, for this value of the virtual counter; it has fired, at this one. */
#define REQUEST_IS_SET		(REQUEST_OWN + 2)
#define REQUEST_HAS_FIRED	(REQUEST_OWN + 3)
