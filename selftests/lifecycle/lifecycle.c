// SPDX-License-Identifier: GPL-2.0
/*
 * VMs that come and go: in order, killed, stopped, several at once; what they took is free again. What
 * is refused is in refusals.c.
 */
#include <elf.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "guest.h"
#include "tests.h"
#include "account.h"
#include "load_threads.h"
#include "machine.h"

GUEST_NUMBERS(LIFECYCLE_PAYLOADS);

#define CYCLES	100

static uint64_t progress;

static uint64_t note_progress(struct vcpu *vcpu, uint64_t number, uint64_t arg)
{
	__atomic_store_n(&progress, arg + 1, __ATOMIC_SEQ_CST);
	return 0;
}

/* Makes a VM with a payload; the caller runs and destroys it. */
static void make(struct __test_metadata *const _metadata, struct vm *vm, int payload, int cpus)
{
	progress = 0;
	ASSERT_VM(vm, vm_create(vm, guests_protected(), 0));
	vm->request = note_progress;
	ASSERT_VM(vm, vm_build(vm, cpus, GUEST_RAM_SIZE, BACKING_ANONYMOUS, payload));
}

static void expect_done(struct __test_metadata *const _metadata, struct vm *vm)
{
	guest_expect(_metadata, vm);
	EXPECT_TRUE(vm->done);
	EXPECT_LT(0, vm->checks);
}

static void one_cycle(struct __test_metadata *const _metadata, int payload, int cpus)
{
	struct vm vm;

	make(_metadata, &vm, payload, cpus);
	expect_done(_metadata, &vm);
	vm_destroy(&vm);
}

TEST(a_hundred_cycles_leave_nothing)
{
	struct account before;
	int i;

	for (i = 0; i < 5; i++)
		one_cycle(_metadata, TEST_answer, 1);
	account_take(&before);
	for (i = 0; i < CYCLES; i++)
		one_cycle(_metadata, TEST_answer, 1 + i % 4);
	EXPECT_NOTHING_LOST(&before);
}

TEST(vms_that_never_ran_leave_nothing)
{
	struct account before;
	struct vm vm;
	int i;

	account_take(&before);
	for (i = 0; i < CYCLES; i++) {
		make(_metadata, &vm, TEST_answer, GUEST_MAX_CPUS);
		vm_destroy(&vm);
		ASSERT_VM(&vm, vm_create(&vm, guests_protected(), 0));
		vm_destroy(&vm);
	}
	EXPECT_NOTHING_LOST(&before);
}

TEST(vms_that_end_half_built_leave_nothing)
{
	struct account before;
	struct vm vm;
	int i;

	account_take(&before);
	for (i = 0; i < CYCLES; i++) {
		ASSERT_VM(&vm, vm_create(&vm, guests_protected(), 0));
		if (i % 5 > 0)
			ASSERT_VM(&vm, vm_add_slot(&vm, GUEST_RAM_BASE, GUEST_RAM_SIZE, BACKING_THP, 0));
		if (i % 5 > 1)
			ASSERT_VM(&vm, vm_create_gic(&vm));
		if (i % 5 > 2)
			ASSERT_VM(&vm, vcpu_create(&vm, 0));
		if (i % 5 > 3)
			ASSERT_VM(&vm, vcpu_init(&vm.vcpus[0], false));
		vm_destroy(&vm);
	}
	EXPECT_NOTHING_LOST(&before);
}

static void *run_thread(void *arg)
{
	vm_run(arg, GUEST_SECONDS);
	return NULL;
}

TEST(four_at_once)
{
	static struct vm vms[4];
	pthread_t threads[4];
	struct account before;
	int i, j, round;

	one_cycle(_metadata, TEST_work, 2);
	account_take(&before);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 4; i++)
			make(_metadata, &vms[i], TEST_work, 2);
		for (i = 0; i < 4; i++)
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, run_thread, &vms[i]));
		for (i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		for (i = 0; i < 4; i++) {
			EXPECT_STREQ("", vms[i].broken);
			EXPECT_TRUE(vms[i].done);
			for (j = 0; j < vms[i].nr_failures && j < MAX_FAILURES; j++)
				TH_LOG("VM %d, line %u: %s", i, vms[i].failures[j].line,
				       vms[i].failures[j].text);
			EXPECT_EQ(0, vms[i].nr_failures);
			vm_destroy(&vms[i]);
		}
	}
	EXPECT_NOTHING_LOST(&before);
}

/* As many vCPUs as are promised at the least: 16 VMs of 8, all of which run at the same time. */
TEST(sixteen_of_eight_at_once)
{
	static struct vm vms[16];
	pthread_t threads[16];
	struct account before;
	int i;

	one_cycle(_metadata, TEST_all, GUEST_MAX_CPUS);
	account_take(&before);
	for (i = 0; i < 16; i++)
		make(_metadata, &vms[i], TEST_all, GUEST_MAX_CPUS);
	for (i = 0; i < 16; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, run_thread, &vms[i]));
	for (i = 0; i < 16; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < 16; i++) {
		EXPECT_STREQ("", vms[i].broken);
		EXPECT_TRUE(vms[i].done);
		EXPECT_EQ(0, vms[i].nr_failures);
		vm_destroy(&vms[i]);
	}
	EXPECT_NOTHING_LOST(&before);
}

/* A process of its own that runs a VM; its exit status tells whether all went well. */
static pid_t spawn_as(int payload, int cpus, bool traced)
{
	static struct vm vm;
	pid_t pid = fork();
	int i;

	if (pid)
		return pid;
	if (traced && (ptrace(PTRACE_TRACEME, 0, 0, 0) || raise(SIGSTOP)))
		_exit(5);
	if (vm_create(&vm, guests_protected(), 0))
		_exit(2);
	vm.request = note_progress;
	if (vm_build(&vm, cpus, GUEST_RAM_SIZE, BACKING_ANONYMOUS, payload)) {
		printf("# VM of process %d: %s: %s\n", getpid(), vm.what, strerror(errno));
		fflush(stdout);
		_exit(3);
	}
	vm_run(&vm, GUEST_SECONDS);
	if (vm.done && !vm.nr_failures && !vm.broken[0])
		_exit(0);
	printf("# VM of process %d, %s: %s\n", getpid(), vm.done ? "done" : "not done", vm.broken);
	for (i = 0; i < vm.nr_failures && i < MAX_FAILURES; i++)
		printf("# line %u: %s: %#llx where %#llx was wanted\n", vm.failures[i].line,
		       vm.failures[i].text, (unsigned long long)vm.failures[i].got,
		       (unsigned long long)vm.failures[i].want);
	fflush(stdout);
	_exit(4);
}

static pid_t spawn(int payload, int cpus)
{
	return spawn_as(payload, cpus, false);
}

/* Traced by this process, and stopped before it does anything. */
static pid_t spawn_traced(int payload, int cpus)
{
	return spawn_as(payload, cpus, true);
}

static void kill_some(struct __test_metadata *const _metadata, int rounds, int least, unsigned int seed)
{
	struct account before;
	int i, status, killed = 0;
	pid_t pid;

	one_cycle(_metadata, TEST_work, 2);
	account_take(&before);
	srandom(seed);
	for (i = 0; i < rounds; i++) {
		pid = spawn(TEST_work, 2);
		ASSERT_LT(0, pid);
		usleep(random() % 60000);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		killed += WIFSIGNALED(status);
	}
	/* Most of them were cut off in their work. */
	EXPECT_LT(least, killed);
	EXPECT_NOTHING_LOST(&before);
	one_cycle(_metadata, TEST_work, 2);
}

TEST(killed_at_random_points)
{
	kill_some(_metadata, 40, 20, 1);
}

TEST(killed_at_random_points_under_load)
{
	ASSERT_EQ(0, load_start(2 * cpus_online()));
	kill_some(_metadata, 15, 7, 3);
	EXPECT_LT(0, load_stop());
}

/* A register of a process that is stopped: x8 is the number of a system call, x0 what it gave. */
static uint64_t traced_x(pid_t pid, int number)
{
	uint64_t x[34] = { 0 };
	struct iovec registers = { x, sizeof(x) };

	return ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &registers) ? 0 : x[number];
}

static void on_signal(int number)
{
}

/*
 * A signal waits as each of its ioctls begins, but for those after one that gave EINTR. Only
 * KVM_CREATE_VM and KVM_RUN may give that, as on KVM: no VMM asks the others again.
 */
TEST(signalled_at_each_ioctl)
{
	struct sigaction action = { .sa_handler = on_signal };
	int status, calls = 0, interrupted = 0;
	bool entered = false, spare = false;
	pid_t pid;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	pid = spawn_traced(TEST_answer, 1);
	ASSERT_LT(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	for (;;) {
		int deliver = 0;

		ASSERT_TRUE(WIFSTOPPED(status));
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			entered = !entered;
			if (traced_x(pid, 8) != SYS_ioctl)
				;
			else if (!entered) {
				spare = traced_x(pid, 0) == (uint64_t)-EINTR;
				interrupted += spare;
			} else if (!spare) {
				ASSERT_EQ(0, kill(pid, SIGUSR1));
				calls++;
			}
		} else if (WSTOPSIG(status) == SIGUSR1) {
			deliver = SIGUSR1;
		}
		ASSERT_EQ(0, ptrace(PTRACE_SYSCALL, pid, 0, deliver));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		if (!WIFSTOPPED(status))
			break;
	}
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status)) {
		TH_LOG("%d ioctls with a signal, %d of them EINTR", calls, interrupted);
	}
	EXPECT_LT(10, calls);
}

TEST(stopped_at_random_points)
{
	int i, status;
	pid_t pid;

	srandom(2);
	pid = spawn(TEST_work, 2);
	ASSERT_LT(0, pid);
	for (i = 0; i < 30; i++) {
		usleep(random() % 10000);
		if (kill(pid, SIGSTOP))
			break;
		usleep(random() % 20000);
		/* Other VMs do not mind. */
		if (i % 10 == 5)
			one_cycle(_metadata, TEST_answer, 1);
		kill(pid, SIGCONT);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	/* Stopped and then killed. */
	pid = spawn(TEST_spin, 1);
	ASSERT_LT(0, pid);
	usleep(100000);
	kill(pid, SIGSTOP);
	usleep(10000);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
}

TEST(asleep_and_killed)
{
	struct account before;
	int i, status;
	pid_t pid;

	account_take(&before);
	for (i = 0; i < 10; i++) {
		pid = spawn(TEST_sleep, 1);
		ASSERT_LT(0, pid);
		usleep(50000);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	EXPECT_NOTHING_LOST(&before);
}

/* The descriptors of a VM hold it, in whatever order they go. */
TEST(closed_in_each_order)
{
	struct account before;
	struct vm vm;
	int order;

	one_cycle(_metadata, TEST_answer, 2);
	account_take(&before);
	for (order = 0; order < 20; order++) {
		make(_metadata, &vm, TEST_answer, 2);
		/* The VM's own first: its vCPUs still run. */
		if (order % 2) {
			close(vm.fd);
			vm.fd = -1;
			close(vm.dev);
			vm.dev = -1;
		}
		if (order % 4 > 1) {
			close(vm.gic);
			vm.gic = -1;
		}
		expect_done(_metadata, &vm);
		if (order % 8 > 3) {
			munmap(vm.slots[0].host, vm.slots[0].size);
			vm.nr_slots = 0;
		}
		vm_destroy(&vm);
	}
	EXPECT_NOTHING_LOST(&before);
}

TEST(immediate_exit_runs_nothing)
{
	struct vm vm;
	uint64_t exits;
	int i;

	make(_metadata, &vm, TEST_count, 1);
	for (i = 0; i < 100; i++) {
		vm.vcpus[0].run->immediate_exit = 1;
		ASSERT_EQ(-EINTR, vcpu_run_once(&vm.vcpus[0]));
		exits = progress;
		vm.vcpus[0].run->immediate_exit = 0;
		/* Argument, request and the read of its answer: progress of one in three exits. */
		while (progress == exits) {
			ASSERT_EQ(0, vcpu_run_once(&vm.vcpus[0]));
			ASSERT_TRUE(vcpu_handle_exit(&vm.vcpus[0]));
		}
		EXPECT_EQ(exits ? exits + 1 : 2, progress);
	}
	vm_destroy(&vm);
}

static void on_alarm(int signal)
{
}

TEST(a_signal_ends_a_run)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value.tv_usec = 20000 };
	static const int payloads[] = { TEST_spin, TEST_sleep };
	struct vm vm;
	int i, round;

	sigaction(SIGVTALRM, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < 2; i++) {
		make(_metadata, &vm, payloads[i], 1);
		while (!progress) {
			ASSERT_EQ(0, vcpu_run_once(&vm.vcpus[0]));
			ASSERT_TRUE(vcpu_handle_exit(&vm.vcpus[0]));
		}
		/* The answer of the request is read. */
		ASSERT_EQ(0, vcpu_run_once(&vm.vcpus[0]));
		ASSERT_TRUE(vcpu_handle_exit(&vm.vcpus[0]));
		for (round = 0; round < 10; round++) {
			setitimer(ITIMER_REAL, &soon, NULL);
			ASSERT_EQ(-EINTR, vcpu_run_once(&vm.vcpus[0]));
			EXPECT_EQ(KVM_EXIT_INTR, vm.vcpus[0].run->exit_reason);
		}
		vm_destroy(&vm);
	}
}

static void *run_to_the_end(void *arg)
{
	struct vcpu *vcpu = arg;

	while (progress < 1000 && !vcpu_run_once(vcpu) && vcpu_handle_exit(vcpu))
		;
	return NULL;
}

/* A vCPU is not bound to the thread that made it, nor to the one that ran it first. */
TEST(another_thread_runs_it)
{
	pthread_t thread;
	struct vm vm;

	make(_metadata, &vm, TEST_count, 1);
	/* The first exits here, the rest there. */
	while (progress < 10) {
		ASSERT_EQ(0, vcpu_run_once(&vm.vcpus[0]));
		ASSERT_TRUE(vcpu_handle_exit(&vm.vcpus[0]));
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_to_the_end, &vm.vcpus[0]));
	pthread_join(thread, NULL);
	EXPECT_EQ(1000, progress);
	vm_destroy(&vm);
}

/* Another process than the one that made the VM has other memory: it may not run it. */
TEST(a_child_may_not_use_it)
{
	int status;
	struct vm vm;
	pid_t pid;

	make(_metadata, &vm, TEST_answer, 1);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint64_t value;
		int bad = 0;

		bad += vcpu_run_once(&vm.vcpus[0]) != -EIO;
		bad += vcpu_get_reg(&vm.vcpus[0], MPIDR_REG, &value) != -EIO;
		bad += vm_set_slot(&vm, 3, 1UL << 32, 4096, NULL, 0) != -EIO;
		bad += ioctl(vm.fd, KVM_CREATE_VCPU, 5L) != -1 || errno != EIO;
		_exit(bad);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	expect_done(_metadata, &vm);
	vm_destroy(&vm);
}

/* A machine that is reset: the vCPUs are initialized again and start anew. */
TEST(initialized_again_it_runs_again)
{
	struct vm vm;
	int i;

	if (guests_protected())
		SKIP(return, "the state of a vCPU that has run belongs to the guest");
	make(_metadata, &vm, TEST_answer, 1);
	for (i = 0; i < 10; i++) {
		ASSERT_VM(&vm, vcpu_init(&vm.vcpus[0], false));
		ASSERT_VM(&vm, vcpu_set_reg(&vm.vcpus[0], CORE_REG(regs.pc), GUEST_RAM_BASE));
		ASSERT_VM(&vm, vcpu_set_reg(&vm.vcpus[0], CORE_REG(regs.regs[0]), TEST_answer));
		vm.vcpus[0].run->immediate_exit = 0;
		vm.vcpus[0].finished = vm.stop = vm.done = false;
		expect_done(_metadata, &vm);
	}
	vm_destroy(&vm);
}

TEST_HARNESS_MAIN
