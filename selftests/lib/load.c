// SPDX-License-Identifier: GPL-2.0
/*
 * load MODULE [parameter=value]...: loads a module, as a test of its own. Busybox's insmod tries a
 * second time by another system call if it was refused.
 */
#include "kselftest.h"
#include "machine.h"

int main(int argc, char **argv)
{
	char params[256] = "";
	int i, error;

	ksft_print_header();
	ksft_set_plan(1);
	if (argc < 2)
		ksft_exit_fail_msg("which module?\n");
	for (i = 2; i < argc; i++) {
		size_t used = strlen(params);

		snprintf(params + used, sizeof(params) - used, "%s ", argv[i]);
	}

	error = load_module(argv[1], params);
	if (error)
		ksft_print_msg("%s.ko %s: %s (%s)\n", argv[1], params, strerrorname_np(-error),
			       strerror(-error));
	ksft_test_result(!error, "%s\n", argv[1]);
	ksft_finished();
}
