// SPDX-License-Identifier: GPL-2.0
/*
 * kexec [crash]: loads the kernel of /guest with this machine's initramfs, for a kexec or for a crash,
 * and lets it come. There the programs go on that follow this one on the command line. The boot keeps its
 * initramfs ("retain_initrd"). It ends here only if something fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/reboot.h>
#include <stdbool.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "el2.h"
#include "kselftest.h"
#include "machine.h"

#define KERNEL		"/guest/Image"
#define INITRD		"/sys/firmware/initrd"
#define COPY		"/tmp/initrd"
#define KEXEC_FILE_ON_CRASH	2
/* Pages of EL2's that the crash kernel is to look at. */
#define PAGES		16

static void copy(const char *from, const char *to)
{
	static char buffer[1 << 16];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	if (in < 0 || out < 0)
		ksft_exit_fail_msg("%s to %s: %s\n", from, to, strerror(errno));
	while ((n = read(in, buffer, sizeof(buffer))) > 0)
		if (write(out, buffer, n) != n)
			ksft_exit_fail_msg("%s: %s\n", to, strerror(errno));
	close(in);
	close(out);
}

/* This kernel's command line without what belongs to it alone; the programs behind @self. */
static void next_command_line(char *line, size_t size, const char *self)
{
	char now[2048], *quoted, *test, *rest, *word;
	size_t used = 0;

	if (read_file("/proc/cmdline", now, sizeof(now)))
		ksft_exit_fail_msg("no command line\n");
	quoted = strstr(now, "selftest=\"");
	if (!quoted)
		ksft_exit_fail_msg("no selftest= on the command line\n");
	*quoted = '\0';
	test = strchr(quoted, '\0') + strlen("selftest=\"");
	rest = strstr(test, self);
	if (!rest)
		ksft_exit_fail_msg("%s is not on the command line\n", self);
	/* Behind it: perhaps nothing. */
	rest += strcspn(rest + 1, ";\"") + 1;
	rest += *rest == ';';
	*strchr(test, ':') = '\0';
	for (word = strtok(now, " \n"); word; word = strtok(NULL, " \n")) {
		if (!strncmp(word, "crashkernel=", 12))
			continue;
		used += snprintf(line + used, size - used, "%s ", word);
	}
	/* The closing quote is in the rest. */
	snprintf(line + used, size - used, "selftest=\"%s:%.*s", test, (int)strcspn(rest, "\""), rest);
	strncat(line, "\"", size - strlen(line) - 1);
}

/* Some of EL2's pages, for the crash kernel's environment. */
static void name_pages(char *line, size_t size)
{
	uint64_t pfns[PAGES];
	int hostile = hostile_open();
	size_t n, i;

	if (hostile < 0)
		return;
	n = el2_find_pages(hostile, pfns, PAGES);
	close(hostile);
	for (i = 0; i < n; i++)
		snprintf(line + strlen(line), size - strlen(line), "%s%" PRIx64,
			 i ? "," : " el2_pages=", pfns[i]);
}

int main(int argc, char **argv)
{
	bool crash = argc == 2 && !strcmp(argv[1], "crash");
	int kernel, initrd, flags = crash ? KEXEC_FILE_ON_CRASH : 0;
	char line[2048] = "";

	ksft_print_header();
	ksft_set_plan(1);
	next_command_line(line, sizeof(line), crash ? ";kexec crash" : ";kexec");
	if (crash)
		name_pages(line, sizeof(line));
	copy(INITRD, COPY);
	kernel = open(KERNEL, O_RDONLY | O_CLOEXEC);
	initrd = open(COPY, O_RDONLY | O_CLOEXEC);
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line, flags))
		ksft_exit_fail_msg("kexec_file_load: %s\n", strerror(errno));
	/* Of a kexec the kernel and its initramfs are in the kernel's pages now. */
	unlink(COPY);
	ksft_print_msg("next: %s\n", line);
	fflush(stdout);
	/* The shell has put it on the console. */
	usleep(500000);
	if (crash)
		write_file("/proc/sysrq-trigger", "c");
	else
		reboot(LINUX_REBOOT_CMD_KEXEC);
	ksft_exit_fail_msg("the kernel went on: %s\n", strerror(errno));
}
