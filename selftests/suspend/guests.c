// SPDX-License-Identifier: GPL-2.0
/*
 * The host sleeps under guests: its CPUs in idle states, off and on, the whole machine to idle and to
 * RAM. The guests keep what they have; their counters go on at the host's pace, through sleep too, and
 * a timer that was set before fires after it.
 */
#include <pthread.h>
#include <time.h>

#include "guest.h"
#include "sleep.h"
#include "tests.h"

GUEST_NUMBERS(SUSPEND_PAYLOADS);

/* Seconds that all of a test may take. */
#define SECONDS		250
/* Seconds that a guest has for the next step. */
#define PATIENCE	60

static bool is_over;

static void *run_thread(void *arg)
{
	vm_run(arg, SECONDS);
	return NULL;
}

static uint64_t counter(void)
{
	uint64_t count;

	asm volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(count) : : "memory");
	return count;
}

/*
 * What has to be added to a guest's counter to make it the host's, as the two were read: more than
 * @least, as the host's was read before the guest's, and less than @most, as it was read after it.
 */
static struct offset {
	int64_t least, most;
	uint64_t last, samples;
} offsets[GUEST_MAX_CPUS];

static uint64_t keep_answer(struct vcpu *vcpu, uint64_t number, uint64_t guest)
{
	struct offset *o = &offsets[vcpu->index];
	uint64_t host = counter();

	if (o->last && (int64_t)(o->last - guest) > o->least)
		o->least = o->last - guest;
	if ((int64_t)(host - guest) < o->most)
		o->most = host - guest;
	__atomic_fetch_add(&o->samples, 1, __ATOMIC_SEQ_CST);
	o->last = counter();
	return __atomic_load_n(&is_over, __ATOMIC_SEQ_CST) ? GUEST_OVER : o->last;
}

/* Both vCPUs go on. */
static void go_on(struct __test_metadata *const _metadata, struct vm *vm, const char *after)
{
	uint64_t start[2];
	int i, n;

	for (n = 0; n < 2; n++)
		start[n] = __atomic_load_n(&offsets[n].samples, __ATOMIC_SEQ_CST);
	for (n = 0; n < 2; n++) {
		for (i = 0; i < PATIENCE * 100; i++) {
			if (__atomic_load_n(&offsets[n].samples, __ATOMIC_SEQ_CST) >= start[n] + 6)
				break;
			usleep(10000);
		}
		ASSERT_LE(start[n] + 6, __atomic_load_n(&offsets[n].samples, __ATOMIC_SEQ_CST)) {
			TH_LOG("vCPU %d stands still after %s: %s", n, after, vm->broken);
		}
	}
}

static int64_t slept_ns(void)
{
	struct timespec boot, monotonic;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	return (boot.tv_sec - monotonic.tv_sec) * 1000000000LL + boot.tv_nsec - monotonic.tv_nsec;
}

FIXTURE(sleep)
{
	int cpus;
};

FIXTURE_SETUP(sleep)
{
	self->cpus = cpus_possible();
}

FIXTURE_TEARDOWN(sleep)
{
	EXPECT_EQ(self->cpus, cpus_online());
}

TEST_F_TIMEOUT(sleep, keep_what_they_have, SECONDS + 30)
{
	int cpus = self->cpus, round, cpu, i;
	static struct vm vm;
	pthread_t thread;
	int64_t slept = slept_ns();

	for (i = 0; i < GUEST_MAX_CPUS; i++)
		offsets[i] = (struct offset){ .least = INT64_MIN, .most = INT64_MAX };
	MAKE_VM(&vm);
	vm.request = keep_answer;
	ASSERT_VM(&vm, vm_build(&vm, 2, GUEST_RAM_SIZE, BACKING_ANONYMOUS, TEST_keep_all));
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_thread, &vm));
	go_on(_metadata, &vm, "the start");
	for (round = 0; round < rounds(); round++) {
		usleep(200000);
		go_on(_metadata, &vm, "idle states");
		for (cpu = 0; cpus > 1 && cpu < cpus; cpu++) {
			ASSERT_EQ(0, cpu_set_online(cpu, false));
			go_on(_metadata, &vm, "a CPU went");
			ASSERT_EQ(0, cpu_set_online(cpu, true));
		}
		go_on(_metadata, &vm, "CPUs came back");
		ASSERT_EQ(0, host_sleeps("freeze"));
		go_on(_metadata, &vm, "suspend to idle");
		ASSERT_EQ(0, host_sleeps("mem"));
		go_on(_metadata, &vm, "suspend to RAM");
	}
	__atomic_store_n(&is_over, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	EXPECT_STREQ("", vm.broken);
	EXPECT_TRUE(vm.done);
	EXPECT_EQ(0, vm.nr_failures);
	for (i = 0; i < vm.nr_failures && i < MAX_FAILURES; i++)
		TH_LOG("guest, vCPU %d, line %u: %s: %#llx where %#llx was wanted", vm.failures[i].vcpu,
		       vm.failures[i].line, vm.failures[i].text,
		       (unsigned long long)vm.failures[i].got,
		       (unsigned long long)vm.failures[i].want);
	EXPECT_LT(100, vm.checks);
	/* The sleep was taken out of KVM_RUN, and user space saw it as a signal's. */
	EXPECT_LT(0, vm.vcpus[0].interrupted + vm.vcpus[1].interrupted);
	/* Some of the time the host's own clock stood still, and the guests' did not. */
	EXPECT_LT(slept, slept_ns());
	/* One offset for all samples of both, before and after each sleep. */
	for (i = 0; i < 2; i++) {
		EXPECT_LE(offsets[0].least, offsets[i].most);
		EXPECT_LE(offsets[i].least, offsets[0].most);
	}
	vm_destroy(&vm);
}

/* The alarm of a guest's; times in the host's counter, but for those that say so. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* For REQUEST_ALARM, once it is not 0. */
	uint64_t wanted;
	uint64_t asked, set, fired;
	uint64_t nr_set, nr_fired;
} alarm_ = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static uint64_t alarm_answer(struct vcpu *vcpu, uint64_t number, uint64_t arg)
{
	uint64_t answer = 0;

	pthread_mutex_lock(&alarm_.lock);
	switch (number) {
	case REQUEST_ALARM:
		while (!alarm_.wanted)
			pthread_cond_wait(&alarm_.changed, &alarm_.lock);
		answer = alarm_.wanted;
		alarm_.wanted = 0;
		alarm_.asked = counter();
		break;
	case REQUEST_IS_SET:
		alarm_.set = counter();
		alarm_.nr_set++;
		break;
	case REQUEST_HAS_FIRED:
		alarm_.fired = counter();
		alarm_.nr_fired++;
		break;
	}
	pthread_cond_broadcast(&alarm_.changed);
	pthread_mutex_unlock(&alarm_.lock);
	return answer;
}

static void want(uint64_t what)
{
	pthread_mutex_lock(&alarm_.lock);
	alarm_.wanted = what;
	pthread_cond_broadcast(&alarm_.changed);
	pthread_mutex_unlock(&alarm_.lock);
}

static bool wait_count(const uint64_t *count, uint64_t value)
{
	struct timespec end;
	int error = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE;
	pthread_mutex_lock(&alarm_.lock);
	while (*count < value && !error)
		error = pthread_cond_timedwait(&alarm_.changed, &alarm_.lock, &end);
	pthread_mutex_unlock(&alarm_.lock);
	return *count >= value;
}

#define ALARM_US	500000

/* An alarm that is due while the host sleeps. False if it was not: then nothing is known. */
static bool slept_through(struct __test_metadata *const _metadata, struct vm *vm, const char *state,
			  uint64_t timer)
{
	uint64_t n = alarm_.nr_set + 1, before, after, frequency, ticks;

	asm volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
	ticks = frequency * ALARM_US / 1000000;
	want(timer | ALARM_US);
	ASSERT_TRUE(wait_count(&alarm_.nr_set, n)) {
		TH_LOG("%s", vm->broken);
	}
	before = counter();
	ASSERT_EQ(0, host_sleeps(state));
	after = counter();
	ASSERT_TRUE(wait_count(&alarm_.nr_fired, n)) {
		TH_LOG("a timer set before %s does not fire: %s", state, vm->broken);
	}
	/* Due between asked + ticks and set + ticks, as the guest read its counter between the two. */
	EXPECT_LE(alarm_.asked + ticks, alarm_.fired);
	return before < alarm_.asked + ticks && alarm_.set + ticks < after;
}

TEST_F_TIMEOUT(sleep, get_their_timers, SECONDS + 30)
{
	static const char *const states[] = { "freeze", "mem" };
	static const uint64_t timers[] = { GUEST_VIRTUAL, GUEST_PHYSICAL };
	static struct vm vm;
	pthread_t thread;
	int s, t, i, hits, tries;

	MAKE_VM(&vm);
	vm.request = alarm_answer;
	ASSERT_VM(&vm, vm_build(&vm, 1, GUEST_RAM_SIZE, BACKING_ANONYMOUS, TEST_wait_for_alarms));
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_thread, &vm));
	for (s = 0; s < 2; s++) {
		for (t = 0; t < 2; t++) {
			for (hits = tries = 0; hits < (rounds() + 1) / 2 && tries < 20 + rounds(); tries++)
				hits += slept_through(_metadata, &vm, states[s], timers[t]);
			EXPECT_LE((rounds() + 1) / 2, hits) {
				TH_LOG("timer %d: never due in %s", t, states[s]);
			}
		}
	}
	want(GUEST_OVER);
	pthread_join(thread, NULL);
	EXPECT_STREQ("", vm.broken);
	EXPECT_TRUE(vm.done);
	EXPECT_EQ(0, vm.nr_failures);
	for (i = 0; i < vm.nr_failures && i < MAX_FAILURES; i++)
		TH_LOG("guest, line %u: %s: %#llx where %#llx was wanted", vm.failures[i].line,
		       vm.failures[i].text, (unsigned long long)vm.failures[i].got,
		       (unsigned long long)vm.failures[i].want);
	vm_destroy(&vm);
}

TEST_HARNESS_MAIN
