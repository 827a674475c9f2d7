// SPDX-License-Identifier: GPL-2.0
/*
 * A VMM that is killed leaves nothing: at each of its ioctls in turn, within KVM_RUN, by what a thread
 * does to the others, and at random under a load and while the host's CPUs go and come.
 *
 * $deaths "all" kills before and after each ioctl on each kind of memory; else both take turns.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "life.h"
#include "account.h"
#include "kvm.h"
#include "load_threads.h"
#include "machine.h"

/* What parent and child know of each other. */
struct shared {
	volatile bool alive;
	int calls;
};

static struct shared *shared;

/* The call at which this process dies; 0 for none. */
static int fatal;
static bool fatal_after;

static void die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* In place of libc's: all calls of this program go through it. */
int ioctl(int fd, unsigned long number, ...)
{
	unsigned long arg;
	va_list args;
	int result, n;

	va_start(args, number);
	arg = va_arg(args, unsigned long);
	va_end(args);
	n = shared ? __atomic_add_fetch(&shared->calls, 1, __ATOMIC_SEQ_CST) : 0;
	if (fatal && n == fatal && !fatal_after)
		die();
	result = syscall(SYS_ioctl, fd, number, arg);
	if (fatal && n == fatal)
		die();
	return result;
}

static void share(struct __test_metadata *const _metadata)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
}

static const char *const backings[] = { "pages", "huge pages", "memfd" };

/* A life in a process of its own, that ends at its n-th ioctl. */
static pid_t spawn(const struct life *life, int n, bool after)
{
	pid_t pid;

	shared->alive = false;
	shared->calls = 0;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		fatal = n;
		fatal_after = after;
		_exit(life_live(life));
	}
	return pid;
}

/* How a child ended: the signal, or minus its status. */
static int reap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1000;
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

/* All VMs that there can be, and no more. */
static void expect_all_vms(struct __test_metadata *const _metadata)
{
	int fds[33], dev = open(guest_device(), O_RDWR | O_CLOEXEC), i;

	ASSERT_LE(0, dev);
	for (i = 0; i < 33; i++) {
		fds[i] = ioctl(dev, KVM_CREATE_VM, guests_protected() ? VM_TYPE_PROTECTED : 0UL);
		if (fds[i] < 0)
			break;
	}
	EXPECT_EQ(32, i);
	EXPECT_EQ(EBUSY, errno);
	while (i-- > 0)
		close(fds[i]);
	close(dev);
}

/* One death after the other; answers how many there were before the life was lived to its end. */
static int die_at_each(struct __test_metadata *const _metadata, struct life life, int phase, bool all)
{
	struct account before, after;
	int n, end;

	account_take_exact(&before);
	for (n = 1;; n++) {
		if (!all)
			life.backing = n % 3;
		end = reap(spawn(&life, n, (n + phase) & 1));
		account_take_exact(&after);
		if (!account_agrees(&before, &after)) {
			TH_LOG("killed %s ioctl %d, memory in %s", (n + phase) & 1 ? "after" : "before",
			       n, backings[life.backing]);
			EXPECT_NOTHING_HELD(&before, &after);
		}
		if (end != SIGKILL)
			break;
	}
	/* The last one lived to its end. */
	EXPECT_EQ(0, end);
	return n - 1;
}

TEST(at_each_ioctl)
{
	bool all = getenv("deaths") && !strcmp(getenv("deaths"), "all");
	struct life life = { .cpus = 2, .payload = TEST_life };
	struct account before;
	int deaths = 0, phase;

	share(_metadata);
	life.alive = &shared->alive;
	/* What the kernel keeps from the first time on. */
	ASSERT_EQ(0, reap(spawn(&life, 0, false)));
	EXPECT_TRUE(shared->alive);
	account_take(&before);
	if (all) {
		for (phase = 0; phase < 6; phase++) {
			life.backing = phase / 2;
			deaths += die_at_each(_metadata, life, phase, true);
		}
		EXPECT_LT(6 * 25, deaths);
	} else {
		deaths = die_at_each(_metadata, life, 0, false);
		/* A VM cannot be made and run with less. */
		EXPECT_LT(25, deaths);
	}
	TH_LOG("%d deaths", deaths);
	EXPECT_NOTHING_LOST(&before);
	expect_all_vms(_metadata);
	EXPECT_EQ(0, reap(spawn(&life, 0, false)));
}

static void wait_alive(struct __test_metadata *const _metadata)
{
	int i;

	for (i = 0; i < 60000 && !shared->alive; i++)
		usleep(1000);
	ASSERT_TRUE(shared->alive);
	/* The request is answered by the KVM_RUN that comes next, which then lasts. */
	usleep(20000);
}

/* What the thread beside the vCPU does, in the child. */
enum end { BY_PARENT, BY_TGKILL, BY_EXIT, BY_EXEC, NR_ENDS };

static void *end_it(void *arg)
{
	static char *const argv[] = { "busybox", "true", NULL };

	while (!shared->alive)
		usleep(1000);
	usleep(20000);
	switch ((enum end)(uintptr_t)arg) {
	case BY_TGKILL:
		/* To the first thread, which is in KVM_RUN, or waits for the one that is. */
		syscall(SYS_tgkill, getpid(), getpid(), SIGKILL);
		break;
	case BY_EXIT:
		_exit(7);
	case BY_EXEC:
		execv("/bin/busybox", argv);
		_exit(8);
	default:
		break;
	}
	return NULL;
}

/* The vCPU runs without leaving the guest when its process ends. */
TEST(within_a_run)
{
	static const int ends[NR_ENDS] = { SIGKILL, SIGKILL, -7, 0 };
	struct life life = { .cpus = 1, .payload = TEST_spin, .backing = BACKING_THP };
	struct account before;
	pthread_t thread;
	uintptr_t how;
	pid_t pid;
	int i;

	share(_metadata);
	life.alive = &shared->alive;
	account_take(&before);
	for (i = 0; i < 3 * NR_ENDS; i++) {
		how = i % NR_ENDS;
		shared->alive = false;
		fflush(stdout);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (pthread_create(&thread, NULL, end_it, (void *)how))
				_exit(9);
			_exit(life_live(&life));
		}
		wait_alive(_metadata);
		if (how == BY_PARENT)
			kill(pid, SIGKILL);
		EXPECT_EQ(ends[how], reap(pid)) {
			TH_LOG("end %d", (int)how);
		}
	}
	EXPECT_NOTHING_LOST(&before);
	expect_all_vms(_metadata);
}

/* A child that holds the VM's descriptors keeps it, though its memory is gone; and no longer. */
TEST(a_child_outlives_the_vmm)
{
	struct life life = { .cpus = 1, .payload = TEST_life, .backing = BACKING_ANONYMOUS };
	static const char go = 1;
	struct account before, during;
	pid_t vmm, *child;
	int pipes[2];

	share(_metadata);
	child = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, child);
	account_take(&before);
	ASSERT_EQ(0, pipe(pipes));
	vmm = fork();
	ASSERT_LE(0, vmm);
	if (!vmm) {
		static struct vm vm;
		char byte;

		if (life_make(&vm, &life))
			_exit(2);
		vm_run(&vm, GUEST_SECONDS);
		*child = fork();
		if (!*child) {
			close(pipes[1]);
			_exit(read(pipes[0], &byte, 1) == 1 ? 0 : 1);
		}
		die();
	}
	EXPECT_EQ(SIGKILL, reap(vmm));
	account_take_exact(&during);
	/* Neither a guest's page is anybody else's yet, nor is the VM's state gone. */
	EXPECT_LT(before.vms, during.vms);
	if (guests_protected())
		EXPECT_LT(before.guests, during.guests);
	EXPECT_EQ(1, write(pipes[1], &go, 1));
	close(pipes[0]);
	close(pipes[1]);
	munmap(child, 4096);
	EXPECT_NOTHING_LOST(&before);
	expect_all_vms(_metadata);
}

static bool over;

/* The host's CPUs go offline and come back, one at a time. */
static void *hotplug(void *arg)
{
	int cpus = cpus_possible(), cpu = 1;
	long rounds = 0;

	while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) {
		/* EBUSY: the kernel is at it already. */
		if (!cpu_set_online(cpu, false))
			rounds++;
		usleep(30000);
		while (cpu_set_online(cpu, true) && !__atomic_load_n(&over, __ATOMIC_SEQ_CST))
			usleep(1000);
		cpu = cpu % (cpus - 1) + 1;
	}
	for (cpu = 1; cpu < cpus; cpu++)
		cpu_set_online(cpu, true);
	return (void *)rounds;
}

TEST(at_random_under_load)
{
	struct life life = { .cpus = 2, .payload = TEST_life };
	int i, killed = 0, end, rounds = 18;
	struct account before;
	void *plugged = NULL;
	pthread_t thread;
	pid_t pid;

	share(_metadata);
	ASSERT_EQ(0, reap(spawn(&life, 0, false)));
	account_take(&before);
	srandom(4);
	ASSERT_EQ(0, load_start(cpus_online()));
	if (cpus_possible() > 1)
		ASSERT_EQ(0, pthread_create(&thread, NULL, hotplug, NULL));
	for (i = 0; i < rounds; i++) {
		life.backing = i % 3;
		pid = spawn(&life, 0, false);
		ASSERT_LT(0, pid);
		usleep(random() % 120000);
		kill(pid, SIGKILL);
		end = reap(pid);
		EXPECT_TRUE(end == SIGKILL || end == 0);
		killed += end == SIGKILL;
	}
	__atomic_store_n(&over, true, __ATOMIC_SEQ_CST);
	if (cpus_possible() > 1) {
		pthread_join(thread, &plugged);
		EXPECT_LT(0, (long)plugged);
	}
	EXPECT_LT(0, load_stop());
	EXPECT_LT(rounds / 3, killed);
	TH_LOG("%d of %d killed, CPUs off %ld times", killed, rounds, (long)plugged);
	EXPECT_NOTHING_LOST(&before);
	expect_all_vms(_metadata);
	EXPECT_EQ(0, reap(spawn(&life, 0, false)));
}

TEST_HARNESS_MAIN
