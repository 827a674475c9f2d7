// SPDX-License-Identifier: GPL-2.0
/*
 * SYSTEM_RESET2 (Arm DEN0022) under a firmware that has it, selftests/smc/firmware.S: what the
 * firmware refuses comes back; with the argument "taken", what it takes ends the machine, and it
 * shows that it got the arguments as they were.
 */
#include <sys/ioctl.h>

#include "el2.h"
#include "kselftest.h"

#define PSCI_FEATURES		0x8400000a
#define SYSTEM_RESET2_32	0x84000012
#define SYSTEM_RESET2		0xc4000012

#define INVALID_PARAMETERS	(-2)

/* The one type of the vendor's that the firmware has; bit 31 makes it the vendor's. */
#define VENDOR_TYPE		0x80000001
#define COOKIE			0x0123456789abcdefULL

static int32_t psci(int fd, uint64_t id, uint64_t a, uint64_t b)
{
	struct hostile_call call = { .x = { id, a, b } };

	if (ioctl(fd, HOSTILE_SMC, &call))
		ksft_exit_fail_perror("ioctl");
	return call.x[0];
}

int main(int argc, char **argv)
{
	int fd = hostile_open();

	ksft_print_header();
	if (fd < 0)
		ksft_exit_fail_perror("/dev/hostile");
	/* What is said last before a reset is lost: the checks are a program of their own. */
	if (argc == 2 && !strcmp(argv[1], "taken")) {
		psci(fd, SYSTEM_RESET2, VENDOR_TYPE, COOKIE);
		ksft_exit_fail_msg("the machine goes on\n");
	}
	ksft_set_plan(4);
	ksft_test_result(!psci(fd, PSCI_FEATURES, SYSTEM_RESET2, 0), "it is there\n");
	ksft_test_result(psci(fd, SYSTEM_RESET2, 1, 0) == INVALID_PARAMETERS,
			 "no such type in the architecture\n");
	ksft_test_result(psci(fd, SYSTEM_RESET2, VENDOR_TYPE + 1, COOKIE) == INVALID_PARAMETERS,
			 "no such type of the vendor's\n");
	ksft_test_result(psci(fd, SYSTEM_RESET2_32, VENDOR_TYPE + 1, COOKIE) == INVALID_PARAMETERS,
			 "nor in 32 bits\n");
	ksft_finished();
}
