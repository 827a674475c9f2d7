// SPDX-License-Identifier: GPL-2.0
/*
 * What limits a VMM's memory: RLIMIT_MEMLOCK, the memory cgroup, the OOM killer. Each is told by errno and
 * a line of the kernel's log, or ends the VMM; and nothing of the VM is left, or it goes on.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "life.h"
#include "account.h"
#include "machine.h"

#define MIB		(1UL << 20)
#define CGROUPS		"/tmp/cgroup"
#define CGROUP		CGROUPS "/vmm"

static void run_here(struct vm *vm)
{
	while (!vcpu_run_once(&vm->vcpus[0]) && vcpu_handle_exit(&vm->vcpus[0]))
		;
}

/* A VM whose guest is to touch @size bytes of the extra memory. */
static int make_toucher(struct vm *vm, enum backing backing, uint64_t size)
{
	int error = vm_create(vm, guests_protected(), 0);

	the_life = (struct life){ .cpus = 1, .range = { GUEST_EXTRA_BASE, size, 4096 } };
	vm->request = life_request;
	if (!error)
		error = vm_add_slot(vm, GUEST_EXTRA_BASE, size, backing, 0);
	if (!error)
		error = vm_build(vm, 1, 2 * MIB, BACKING_ANONYMOUS, TEST_touch);
	return error;
}

static int reap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1000;
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

/* In the middle of what the guest does the limit is met; the VMM may raise it and go on. */
static void over_memlock(struct __test_metadata *const _metadata, enum backing backing)
{
	struct rlimit limit = { 2 * MIB, RLIM_INFINITY };
	struct account before;
	static struct vm vm;
	int log, error;

	account_take(&before);
	log = log_open();
	ASSERT_LE(0, log);
	ASSERT_VM(&vm, make_toucher(&vm, backing, 6 * MIB));
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	/* Without CAP_IPC_LOCK, which nothing limits. */
	ASSERT_EQ(0, setresuid(-1, 65534, -1));
	while (!(error = vcpu_run_once(&vm.vcpus[0])) && vcpu_handle_exit(&vm.vcpus[0]))
		;
	ASSERT_EQ(0, setresuid(-1, 0, -1));
	if (guests_protected()) {
		EXPECT_EQ(-ENOMEM, error);
		EXPECT_FALSE(vm.done);
		EXPECT_LT(0, log_matches(log, "RLIMIT_MEMLOCK is 2048 KiB, .* KiB are locked"));
		limit.rlim_cur = RLIM_INFINITY;
		ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
		run_here(&vm);
	} else {
		/* It locks nothing. */
		EXPECT_EQ(0, log_matches(log, "RLIMIT_MEMLOCK"));
	}
	EXPECT_TRUE(vm.done);
	EXPECT_STREQ("", vm.broken);
	close(log);
	vm_destroy(&vm);
	EXPECT_NOTHING_LOST(&before);
}

TEST(locked_memory_in_pages)
{
	over_memlock(_metadata, BACKING_ANONYMOUS);
}

TEST(locked_memory_in_huge_pages)
{
	over_memlock(_metadata, BACKING_THP);
}

/* A memory cgroup of this size, or none. */
static bool cgroup_make(const char *most)
{
	mkdir(CGROUPS, 0755);
	if (mount("none", CGROUPS, "cgroup2", 0, NULL) && errno != EBUSY)
		return false;
	if (write_file(CGROUPS "/cgroup.subtree_control", "+memory"))
		return false;
	if (mkdir(CGROUP, 0755) && errno != EEXIST)
		return false;
	return !write_file(CGROUP "/memory.max", most) && !write_file(CGROUP "/memory.swap.max", "0");
}

/* What memory.events counts. */
static long cgroup_event(const char *name)
{
	FILE *file = fopen(CGROUP "/memory.events", "r");
	char word[32];
	long value;

	while (file && fscanf(file, "%31s %ld", word, &value) == 2) {
		if (!strcmp(word, name)) {
			fclose(file);
			return value;
		}
	}
	if (file)
		fclose(file);
	return -1;
}

static void cgroup_remove(void)
{
	int i;

	/* What was charged to it goes when its owners do. */
	for (i = 0; i < 100 && rmdir(CGROUP) && errno == EBUSY; i++)
		usleep(20000);
	umount(CGROUPS);
}

#define NO_CGROUP "this kernel has no CONFIG_MEMCG"

/* The guest's memory is the VMM's, and counts: the cgroup's OOM killer ends the VMM, and it alone. */
TEST(a_cgroup_that_guest_memory_fills)
{
	struct account before;
	long kills, i;
	pid_t pid;

	account_take(&before);
	if (!cgroup_make("8M"))
		SKIP(return, NO_CGROUP);
	for (i = 0; i < 3; i++) {
		kills = cgroup_event("oom_kill");
		fflush(stdout);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			static struct vm vm;

			if (write_file(CGROUP "/cgroup.procs", "0"))
				_exit(2);
			if (make_toucher(&vm, i, 24 * MIB))
				_exit(3);
			run_here(&vm);
			_exit(vm.done ? 4 : 5);
		}
		EXPECT_EQ(SIGKILL, reap(pid)) {
			TH_LOG("backing %ld", i);
		}
		EXPECT_LT(kills, cgroup_event("oom_kill"));
	}
	cgroup_remove();
	EXPECT_NOTHING_LOST(&before);
}

/* What the module and EL2 take for VMs is charged to who makes them. */
TEST(a_cgroup_that_vms_fill)
{
	struct account before;
	const long page = sysconf(_SC_PAGESIZE);
	int end, made[2];
	long charged[2];
	char most[32];
	pid_t pid;

	account_take(&before);
	/* 3 MiB where pages are small: less than all VMs, more than eight. */
	snprintf(most, sizeof(most), "%ld", 768 * page);
	if (!cgroup_make(most))
		SKIP(return, NO_CGROUP);
	ASSERT_EQ(0, pipe(made));
	fflush(stdout);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		char text[32];
		int dev, fd, i, j;

		if (write_file(CGROUP "/cgroup.procs", "0"))
			_exit(2);
		dev = open(guest_device(), O_RDWR);
		read_file(CGROUP "/memory.current", text, sizeof(text));
		charged[0] = atol(text);
		for (i = 0; i < 32; i++) {
			fd = ioctl(dev, KVM_CREATE_VM, guests_protected() ? VM_TYPE_PROTECTED : 0UL);
			if (fd < 0)
				_exit(errno == ENOMEM ? 1 : 3);
			for (j = 0; j < 8; j++) {
				if (ioctl(fd, KVM_CREATE_VCPU, (long)j) < 0)
					_exit(errno == ENOMEM ? 1 : 4);
			}
			/* Charges come in lots of 64 pages. */
			if (i == 7) {
				read_file(CGROUP "/memory.current", text, sizeof(text));
				charged[1] = atol(text);
				if (write(made[1], charged, sizeof(charged)) != sizeof(charged))
					_exit(5);
			}
		}
		_exit(0);
	}
	end = reap(pid);
	/* ENOMEM, or the OOM killer, whom the kernel asks first. */
	EXPECT_TRUE(end == -1 || end == SIGKILL) {
		TH_LOG("it ended by %d", end);
	}
	close(made[1]);
	ASSERT_EQ(sizeof(charged), read(made[0], charged, sizeof(charged)));
	/* At least a page for each VM and two for each vCPU, but for what was charged in advance. */
	EXPECT_LE((8 * 17 - 64) * page, charged[1] - charged[0]);
	close(made[0]);
	cgroup_remove();
	EXPECT_NOTHING_LOST(&before);
}

/* The machine's OOM killer, asked by root to choose: it finds the VMM, which has set itself in front. */
TEST(the_oom_killer_takes_the_vmm)
{
	struct account before;
	volatile bool *alive;
	pid_t pid;
	int i, j;

	alive = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, alive);
	account_take(&before);
	for (i = 0; i < 3; i++) {
		*alive = false;
		fflush(stdout);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			struct life life = { .cpus = 1, .payload = TEST_spin, .backing = i,
					     .alive = alive };

			if (write_file("/proc/self/oom_score_adj", "1000"))
				_exit(2);
			_exit(life_live(&life));
		}
		for (j = 0; j < 60000 && !*alive; j++)
			usleep(1000);
		EXPECT_TRUE(*alive);
		EXPECT_EQ(0, write_file("/proc/sysrq-trigger", "f"));
		EXPECT_EQ(SIGKILL, reap(pid));
	}
	EXPECT_NOTHING_LOST(&before);
	munmap((void *)alive, 4096);
}

/*
 * A vCPU's shared area is the kernel's, which goes on writing to it: it is not for a protected guest to
 * have. Another guest may: the page stays the host's.
 */
TEST(a_vcpus_shared_area_is_no_memory)
{
	struct vm vm;
	int error;

	ASSERT_VM(&vm, vm_create(&vm, guests_protected(), 0));
	ASSERT_VM(&vm, vm_build(&vm, 2, 2 * MIB, BACKING_ANONYMOUS, TEST_on_page));
	ASSERT_VM(&vm, vm_set_slot(&vm, 3, GUEST_EXTRA_BASE, sysconf(_SC_PAGESIZE), vm.vcpus[1].run, 0));
	/* What the guest looks at. */
	vm.vcpus[1].run->exit_reason = 0;
	while (!(error = vcpu_run_once(&vm.vcpus[0])) && vcpu_handle_exit(&vm.vcpus[0]))
		;
	if (guests_protected()) {
		EXPECT_EQ(-EFAULT, error);
		EXPECT_FALSE(vm.done);
	} else {
		EXPECT_EQ(0, error);
		EXPECT_TRUE(vm.done);
		EXPECT_EQ(0, vm.nr_failures);
		EXPECT_EQ(0x5eed, *(uint64_t *)((char *)vm.vcpus[1].run + 0x800));
	}
	/* It is still there, and the kernel's. */
	vm.vcpus[1].run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run_once(&vm.vcpus[1]));
	vm_destroy(&vm);
}

TEST_HARNESS_MAIN
