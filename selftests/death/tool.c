// SPDX-License-Identifier: GPL-2.0
/* "mvirt run" names the limit that its guest meets, and its value: before the guest starts, or when it stops. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/kvm.h>

#include "harness.h"
#include "machine.h"

#define IMAGE		"/tmp/image"
#define CGROUPS		"/sys/fs/cgroup"
#define CGROUP		CGROUPS "/tool"

/* An Image whose kernel waits image_seconds, reads a byte of each page of 64 MiB, and powers off. */
asm(
	".pushsection .rodata\n"
	"	.balign 8\n"
	"	.globl	image, image_seconds, image_end\n"
	"image:	b	1f\n"
	"	.long	0\n"
	"	.quad	0\n"			/* text_offset */
	"	.quad	0x10000\n"		/* image_size */
	"	.quad	0xa\n"			/* flags: pages of 4 KiB, anywhere */
	"	.quad	0, 0, 0\n"
	"	.ascii	\"ARM\\x64\"\n"
	"	.long	0\n"
	"1:	mrs	x0, cntfrq_el0\n"
	"	mrs	x1, cntvct_el0\n"
	"	ldr	x2, image_seconds\n"
	"	madd	x1, x0, x2, x1\n"
	"2:	mrs	x2, cntvct_el0\n"
	"	cmp	x2, x1\n"
	"	b.lo	2b\n"
	"	mov	x0, #0x80000000\n"
	"	mov	x1, #0x84000000\n"
	"3:	ldrb	w2, [x0]\n"
	"	add	x0, x0, #0x1, lsl #12\n"
	"	cmp	x0, x1\n"
	"	b.lo	3b\n"
	"	mov	w0, #0x84000000\n"
	"	add	w0, w0, #8\n"		/* SYSTEM_OFF */
	"	hvc	#0\n"
	"	b	.\n"
	"	.balign	8\n"
	"image_seconds:\n"
	"	.quad	0\n"
	"	.balign	4096\n"
	"image_end:\n"
	".popsection\n"
);
extern const char image[], image_seconds[], image_end[];

struct run {
	pid_t pid;
	int status;
	char said[4096];
	int pipe;
};

/* Starts the tool with its messages in a pipe, under a limit and in a cgroup, if they are given. */
static void start(struct __test_metadata *const _metadata, struct run *run, bool protected,
		  uint64_t seconds, const struct rlimit *memlock, const char *procs)
{
	int fd = open(IMAGE, O_WRONLY | O_CREAT | O_TRUNC, 0644), pipes[2];

	ASSERT_LE(0, fd);
	ASSERT_EQ(image_end - image, write(fd, image, image_end - image));
	ASSERT_EQ(8, pwrite(fd, &seconds, 8, image_seconds - image));
	close(fd);
	memset(run, 0, sizeof(*run));
	ASSERT_EQ(0, pipe(pipes));
	fflush(stdout);
	run->pid = fork();
	ASSERT_LE(0, run->pid);
	if (!run->pid) {
		dup2(pipes[1], 2);
		dup2(pipes[1], 1);
		close(pipes[0]);
		/* Root has by exec what the bounding set leaves. */
		if ((memlock && (setrlimit(RLIMIT_MEMLOCK, memlock) ||
				 prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK))) ||
		    (procs && write_file(procs, "0")))
			_exit(100);
		execl("/bin/mvirt", "mvirt", "run", protected ? "--protected" : "--no-protected",
		      "--mem", "64M", "--kernel", IMAGE, NULL);
		_exit(101);
	}
	close(pipes[1]);
	run->pipe = pipes[0];
}

/* Its exit code, or minus its signal; what it said is in run->said. */
static int finish(struct run *run)
{
	size_t used = 0;
	ssize_t n;

	while (used < sizeof(run->said) - 1 &&
	       (n = read(run->pipe, run->said + used, sizeof(run->said) - 1 - used)) > 0)
		used += n;
	close(run->pipe);
	waitpid(run->pid, &run->status, 0);
	return WIFEXITED(run->status) ? WEXITSTATUS(run->status) : -WTERMSIG(run->status);
}

static const struct rlimit little = { 64 << 10, 64 << 10 };

#define EXPECT_SAID(run, text) EXPECT_NE(NULL, strstr((run)->said, text)) {	\
		TH_LOG("not said: %s; but: %s", text, (run)->said);		\
	}

TEST(too_little_may_be_locked)
{
	struct run run;

	start(_metadata, &run, true, 0, &little, NULL);
	EXPECT_EQ(2, finish(&run));
	EXPECT_SAID(&run, "--mem 64M: ");
	EXPECT_SAID(&run, "RLIMIT_MEMLOCK is 64 KiB");
	EXPECT_SAID(&run, "raise it to 64.00 MiB (ulimit -l 65536)");
}

/* A guest that is not protected locks nothing. */
TEST(nothing_need_be_locked)
{
	struct run run;

	start(_metadata, &run, false, 0, &little, NULL);
	EXPECT_EQ(0, finish(&run)) {
		TH_LOG("%s", run.said);
	}
}

/* What the soft limit lacks and the hard one grants the tool takes. */
TEST(the_soft_limit_is_raised)
{
	const struct rlimit soft = { 64 << 10, 80 << 20 };
	struct run run;

	start(_metadata, &run, true, 0, &soft, NULL);
	EXPECT_EQ(0, finish(&run)) {
		TH_LOG("%s", run.said);
	}
}

/* Bytes that a process has locked; -1 if there is none. */
static long locked(pid_t pid)
{
	char path[64], line[128];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "VmLck: %ld", &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib < 0 ? -1 : kib * 1024;
}

/* The limit shrinks under a guest that runs. */
TEST(the_limit_shrinks)
{
	const struct rlimit enough = { 80 << 20, 80 << 20 };
	struct rlimit less = { 4 << 20, 4 << 20 };
	struct run run;
	int i;

	start(_metadata, &run, true, 5, &enough, NULL);
	/* Its first page is there; it waits some seconds before it goes on. */
	for (i = 0; i < 60000 && !locked(run.pid); i++)
		usleep(1000);
	EXPECT_LT(0, locked(run.pid));
	ASSERT_EQ(0, prlimit(run.pid, RLIMIT_MEMLOCK, &less, NULL));
	EXPECT_EQ(8, finish(&run));
	EXPECT_SAID(&run, "KVM_RUN: ");
	EXPECT_SAID(&run, "RLIMIT_MEMLOCK is 4.00 MiB, and ");
	EXPECT_SAID(&run, " are locked");
}

TEST(the_cgroup_is_too_small)
{
	struct run run;
	int i;

	if ((mount("none", CGROUPS, "cgroup2", 0, NULL) && errno != EBUSY) ||
	    write_file(CGROUPS "/cgroup.subtree_control", "+memory") || mkdir(CGROUP, 0755))
		SKIP(return, "this kernel has no CONFIG_MEMCG");
	ASSERT_EQ(0, write_file(CGROUP "/memory.max", "32M"));
	start(_metadata, &run, true, 0, NULL, CGROUP "/cgroup.procs");
	EXPECT_EQ(2, finish(&run));
	EXPECT_SAID(&run, "--mem 64M: /sys/fs/cgroup/tool/memory.max is 32.00 MiB");
	/* With room it runs. */
	ASSERT_EQ(0, write_file(CGROUP "/memory.max", "200M"));
	start(_metadata, &run, true, 0, NULL, CGROUP "/cgroup.procs");
	EXPECT_EQ(0, finish(&run)) {
		TH_LOG("%s", run.said);
	}
	for (i = 0; i < 100 && rmdir(CGROUP) && errno == EBUSY; i++)
		usleep(20000);
	umount(CGROUPS);
}

#define MACHINES	32

TEST(the_33rd_machine)
{
	int device = open("/dev/mvirt", O_RDWR | O_CLOEXEC), machines[MACHINES], i;
	struct run run;

	ASSERT_LE(0, device);
	for (i = 0; i < MACHINES; i++) {
		machines[i] = ioctl(device, KVM_CREATE_VM, 0);
		ASSERT_LE(0, machines[i]);
	}
	start(_metadata, &run, true, 0, NULL, NULL);
	EXPECT_EQ(1, finish(&run));
	EXPECT_SAID(&run, "KVM_CREATE_VM");
	EXPECT_SAID(&run, "there can be 32 virtual machines at a time");
	for (i = 0; i < MACHINES; i++)
		close(machines[i]);
	close(device);
	/* With room it runs. */
	start(_metadata, &run, true, 0, NULL, NULL);
	EXPECT_EQ(0, finish(&run)) {
		TH_LOG("%s", run.said);
	}
}

TEST_HARNESS_MAIN
