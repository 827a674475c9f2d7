// SPDX-License-Identifier: GPL-2.0
/* The host sleeps until its alarm: fall-asleep STATE SECONDS. For scripts. */
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "sleep.h"

int main(int argc, char **argv)
{
	int error;

	if (argc != 3 || atoi(argv[2]) < 1) {
		fprintf(stderr, "usage: fall-asleep freeze|mem SECONDS\n");
		return 2;
	}
	error = host_sleeps_for(argv[1], atoi(argv[2]));
	if (error)
		fprintf(stderr, "fall-asleep %s %s: %s\n", argv[1], argv[2], strerror(-error));
	return error ? 1 : 0;
}
