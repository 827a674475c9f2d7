// SPDX-License-Identifier: GPL-2.0
/* What would put another kernel, or an old image of this one, in this kernel's place: hibernation, kexec. */
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "machine.h"
#include "stray.h"

#define HIBERNATION_REFUSED	"^mvirt: hibernation is refused: "
#define RESTORE_REFUSED		"^mvirt: a hibernation image is not restored: "
/* What the kernel says when who was asked before the restore has answered EBUSY. */
#define RESTORE_ENDED		"^PM: hibernation: resume failed \\(-16\\)"

/* EBUSY is an answer of others', too: what counts is that this is said, once. */
static unsigned int said(struct stray *s, int log, const char *line, unsigned int got)
{
	int times = log_matches(log, line);

	if (times == 1)
		return got;
	note(s, "the log has \"%s\" %d times", line + 1, times);
	return OUT_BROKEN;
}

/* What a program gets that makes the image, or restores it, by itself. Kernels without it have no such file. */
static unsigned int open_snapshot(struct stray *s, int flags)
{
	int fd = open("/dev/snapshot", flags | O_CLOEXEC);
	unsigned int got = gave(s, "/dev/snapshot", fd);

	if (fd >= 0)
		close(fd);
	return got;
}

unsigned int way_hibernate(struct stray *s)
{
	int log = log_open();
	unsigned int got;

	errno = -write_file("/sys/power/state", "disk");
	got = said(s, log, HIBERNATION_REFUSED, gave(s, "disk to /sys/power/state", errno ? -1 : 0));
	if (!access("/dev/snapshot", F_OK))
		got |= said(s, log, HIBERNATION_REFUSED, open_snapshot(s, O_RDONLY));
	close(log);
	return got;
}

/* A header as kernel/power/swap.c looks for, at the end of the first page; the image is not compressed. */
static bool write_image_header(struct stray *s, const char *disk)
{
	int fd = open(disk, O_WRONLY | O_CLOEXEC);
	static uint8_t page[1 << 16];
	uint32_t flags = 2;
	ssize_t written;

	memcpy(page + s->page - 10, "S1SUSPEND", 10);
	memcpy(page + s->page - 20, "SWAPSPACE2", 10);
	memcpy(page + s->page - 20 - sizeof(flags), &flags, sizeof(flags));
	written = write(fd, page, s->page);
	close(fd);
	return written == (ssize_t)s->page;
}

/* The file takes any device that there is, whatever comes of it: that is in the log alone. */
unsigned int way_restore(struct stray *s)
{
	int log = log_open(), again = log_open();
	unsigned int got;

	if (!write_image_header(s, "/dev/ram0"))
		return broke(s, "/dev/ram0");
	errno = -write_file("/sys/power/resume", "1:0");
	got = said(s, log, RESTORE_REFUSED, gave(s, "1:0 to /sys/power/resume", errno ? -1 : 0));
	if (got == OUT_PASSES)
		got = said(s, again, RESTORE_ENDED, OUT_EBUSY);
	if (!access("/dev/snapshot", F_OK))
		got |= said(s, log, RESTORE_REFUSED, open_snapshot(s, O_WRONLY));
	close(again);
	close(log);
	return got;
}

/* A kernel to start, of which all is the guest's: the kernel copies it when it is told of it. */
static long load_next(struct stray *s)
{
	struct { const void *from; size_t size; uint64_t to; size_t room; } segment = {
		s->secret, 8 * s->page, 0, 8 * s->page,
	};

	/* Somewhere in RAM: 256 MiB behind its start on QEMU's machine. */
	segment.to = 0x50000000;
	return syscall(SYS_kexec_load, segment.to, 1UL, &segment, 0xb7UL << 16);
}

unsigned int way_kexec_load(struct stray *s)
{
	unsigned int got = gave(s, "kexec_load", load_next(s));

	/* Forgets it. */
	syscall(SYS_kexec_load, 0UL, 0UL, NULL, 0xb7UL << 16);
	return got;
}

/*
 * The machine restarts. What it says before is in test.toml; were the next kernel started, it would be
 * one of zeros, and the machine would hang.
 */
unsigned int way_kexec(struct stray *s)
{
	if (load_next(s))
		return gave(s, "kexec_load", -1);
	if (!stray_beats(s, 2) || s->wrong)
		return broke(s, "the guest before it");
	printf("# kexec: the guest is well, and the next kernel is loaded\n");
	fflush(stdout);
	/* The shell has put it on the console. */
	usleep(500000);
	return gave(s, "kexec", reboot(LINUX_REBOOT_CMD_KEXEC));
}
