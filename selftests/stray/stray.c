// SPDX-License-Identifier: GPL-2.0
/*
 * Each way of ways.h beside a guest of its own, in a process of its own that is watched: what does not
 * end is killed, and must die of it.
 *
 *	stray [NAME]	protected guests, and what the list says of them; of those only whose name has NAME
 *			in it. A way that ends the machine is tried by its whole name alone.
 *	stray control	guests without protection: each way that reads finds, each that writes harms
 *	stray kill	protected guests; the VMM is killed while it strays
 *
 * backing=thp in the environment: the guest's memory is a huge page, but for the ways that want a file.
 *
 * Ends with a table of what came of each.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

#include "account.h"
#include "el2.h"
#include "machine.h"
#include "stray.h"

/* Seconds for a way, and for a process to die; machines that run beside others are slow. */
#define WATCH	90
#define DYING	30

/* What a kernel that was harmed says. As in scripts/selftest/console.py. */
#define COMPLAINT								\
	"Unable to handle kernel|Internal error|Kernel panic|kernel BUG at|BUG:|WARNING:|Oops|"	\
	"INFO: task .* blocked|detected stalls?|soft lockup|SError Interrupt|Bad mode in"

static const struct way {
	const char *name;
	unsigned int (*fn)(struct stray *s);
	unsigned int control, got;
	enum host_end host;
	enum guest_end guest;
} ways[] = {
#define WAY_ENTRY(name, control, host, guest, got, text)	{ #name, way_##name, control, got, host, guest },
	STRAY_WAYS(WAY_ENTRY)
};

#define NR_WAYS	(sizeof(ways) / sizeof(ways[0]))

static const char *const guests[] = {
#define GUEST_TEXT(name, text)	[name] = text,
	STRAY_GUESTS(GUEST_TEXT)
};

static const char *const hosts[] = {
#define HOST_TEXT(name, text)	[name] = text,
	STRAY_HOSTS(HOST_TEXT)
};

enum mode { PROTECTED, CONTROL, KILL };

/* What came of a way. */
static struct outcome_of {
	const struct way *way;
	unsigned int got;
	enum guest_end guest;
	bool host_well;
} table[NR_WAYS];
static size_t nr_rows;

static struct result *result;
static int hostile, log_fd;
/* Before there was any guest. */
static uint64_t pins;

static const char *got_text(unsigned int got)
{
	static char text[256];
	size_t used = 0;

	text[0] = '\0';
#define GOT_TEXT(name, bit, words)					\
	if (got & name)							\
		used += snprintf(text + used, sizeof(text) - used, "%s%s", used ? ", " : "", words);
	STRAY_OUTCOMES(GOT_TEXT)
	return used ? text : "nothing";
}

/* The process of a VMM that strays. */
static void stray_child(const struct way *way, enum mode mode)
{
	const char *wanted = getenv("backing");
	enum backing backing = wanted && !strcmp(wanted, "thp") ? BACKING_THP : BACKING_ANONYMOUS;
	struct rlimit none = { 0, 0 };
	static struct stray s;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	setrlimit(RLIMIT_CORE, &none);
	if (way->control & FILE_)
		backing = BACKING_MEMFD;
	if (stray_begin(&s, result, mode != CONTROL, backing)) {
		result->got = OUT_BROKEN;
		_exit(1);
	}
	guard_set();
	__atomic_store_n(&result->begun, true, __ATOMIC_SEQ_CST);
	result->got = way->fn(&s);
	__atomic_store_n(&result->ended, true, __ATOMIC_SEQ_CST);
	result->guest = stray_end(&s);
	_exit(0);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static bool reap(pid_t pid, int *status, double limit)
{
	double end = seconds() + limit;

	do {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		usleep(2000);
	} while (seconds() < end);
	return false;
}

static bool wait_begun(pid_t pid, int *status, bool *gone)
{
	double end = seconds() + WATCH;

	while (!__atomic_load_n(&result->begun, __ATOMIC_SEQ_CST) && seconds() < end) {
		*gone = waitpid(pid, status, WNOHANG) == pid;
		if (*gone)
			return false;
		usleep(500);
	}
	return result->begun;
}

/* A signal ended the process: which outcome that is. */
static unsigned int died(const struct way *way, int status)
{
	result->guest = GUEST_GONE;
	if (WTERMSIG(status) == SIGABRT && way->fn == way_core_dump)
		return after_core_dump(result);
	if (WTERMSIG(status) == SIGBUS)
		return OUT_KILLED;
	/* That of a process that was to be killed says nothing. */
	if (WTERMSIG(status) != SIGKILL)
		ksft_print_msg("%s: the process ended with signal %d\n", way->name, WTERMSIG(status));
	return OUT_BROKEN;
}

static unsigned int watch(const struct way *way, enum mode mode)
{
	bool gone = false;
	int status = 0;
	pid_t pid;

	memset(result, 0, sizeof(*result));
	pid = fork();
	if (!pid)
		stray_child(way, mode);
	if (mode == KILL && wait_begun(pid, &status, &gone)) {
		/* Somewhere within. */
		usleep(random() % 4000);
		kill(-pid, SIGKILL);
	}
	if (!gone && !reap(pid, &status, WATCH)) {
		ksft_print_msg("%s: still there after %d s\n", way->name, WATCH);
		kill(-pid, SIGKILL);
		if (!reap(pid, &status, DYING))
			ksft_print_msg("%s: SIGKILL does not end it\n", way->name);
		return OUT_HANGS;
	}
	/* What it started and did not wait for. */
	kill(-pid, SIGKILL);
	return WIFSIGNALED(status) ? died(way, status) : result->got;
}

/* Whether nothing is left of the guest: what EL2 has of it, and the kernel's pins. */
static bool nothing_left(void)
{
	double end = seconds() + DYING;
	uint64_t bytes, state, pinned;

	do {
		bytes = el2_stat(hostile, EL2_STAT_GUEST_BYTES);
		state = el2_stat(hostile, EL2_STAT_VM_BYTES);
		pinned = pinned_pages();
		if (!bytes && !state && pinned == pins)
			return true;
		usleep(20000);
	} while (seconds() < end);
	ksft_print_msg("left: %llu bytes of guests, %llu of VMs, %lld pins\n", (unsigned long long)bytes,
		       (unsigned long long)state, (long long)(pinned - pins));
	return false;
}

static bool is_as_listed(const struct way *way, enum mode mode, const struct outcome_of *row)
{
	if (mode == CONTROL && way->control & READS)
		return row->got & OUT_SECRET;
	if (mode == CONTROL)
		return row->guest == GUEST_HARMED;
	return row->got && !(row->got & ~way->got) && row->guest == way->guest;
}

static void run_way(const struct way *way, enum mode mode)
{
	struct outcome_of *row = &table[nr_rows++];
	int complaints;
	bool good, left;

	row->way = way;
	row->got = watch(way, mode);
	row->guest = result->guest;
	left = !nothing_left();
	complaints = log_matches(log_fd, COMPLAINT);
	row->host_well = !left && !complaints;
	if (result->note[0])
		ksft_print_msg("%s: %s\n", way->name, result->note);
	if (complaints)
		ksft_print_msg("%s: the kernel complains\n", way->name);
	if (row->got & OUT_SKIPPED && row->host_well) {
		ksft_test_result_code(KSFT_SKIP, way->name, "%s", result->note);
		return;
	}
	good = is_as_listed(way, mode, row) && row->host_well;
	if (!good)
		ksft_print_msg("%s: process: %s; guest: %s\n", way->name, got_text(row->got), guests[row->guest]);
	if (way->control & GAP && mode == PROTECTED && !good)
		ksft_print_msg("%s: THE KNOWN GAP IS NO LONGER AS LISTED: mend ways.h and the threat model\n", way->name);
	if (way->control & GAP && mode == PROTECTED && good)
		ksft_test_result_code(KSFT_XFAIL, way->name, "the known gap: process: %s; guest: %s",
				      got_text(row->got), guests[row->guest]);
	else
		ksft_test_result(good, "%s\n", way->name);
}

/* The VMM is killed while it strays: all that counts is that it dies, and that all comes back. */
static void kill_way(const struct way *way)
{
	unsigned int got = watch(way, KILL);
	bool good = !(got & OUT_HANGS) && result->begun;

	good &= nothing_left();
	good &= !log_matches(log_fd, COMPLAINT);
	ksft_test_result(good, "kill: %s\n", way->name);
}

/* Whether a way is tried: @only is a part of a name, or all of the name of one that ends the machine. */
static bool is_wanted(const struct way *way, enum mode mode, const char *only)
{
	const struct way *other;

	if (mode == CONTROL && !(way->control & (READS | HARMS)))
		return false;
	for (other = ways; other < ways + NR_WAYS; other++) {
		if (other->control & ENDS && !strcmp(other->name, only))
			return way == other;
	}
	return !(way->control & ENDS) && strstr(way->name, only);
}

static void print_table(void)
{
	size_t i;

	ksft_print_msg("%-24s | %-32s | %-34s | process\n", "way", "host", "guest");
	for (i = 0; i < nr_rows; i++) {
		struct outcome_of *row = &table[i];

		ksft_print_msg("%-24s | %-32s | %-34s | %s\n", row->way->name,
			       row->host_well ? hosts[row->way->host] : "HARMED", guests[row->guest],
			       got_text(row->got));
	}
}

int main(int argc, char **argv)
{
	enum mode mode = PROTECTED;
	const char *only = argc > 1 ? argv[1] : "";
	const struct way *way;
	size_t planned = 0;

	if (!strcmp(only, "control"))
		mode = CONTROL;
	else if (!strcmp(only, "kill"))
		mode = KILL;
	if (mode != PROTECTED)
		only = "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	hostile = hostile_open();
	log_fd = log_open();
	ksft_print_header();
	if (result == MAP_FAILED || hostile < 0 || log_fd < 0)
		ksft_exit_fail_msg("/dev/hostile, /dev/kmsg: %s\n", strerror(errno));
	pins = pinned_pages();
	for (way = ways; way < ways + NR_WAYS; way++)
		planned += is_wanted(way, mode, only);
	ksft_set_plan(planned);
	for (way = ways; way < ways + NR_WAYS; way++) {
		if (!is_wanted(way, mode, only))
			continue;
		if (mode == KILL)
			kill_way(way);
		else
			run_way(way, mode);
	}
	if (nr_rows)
		print_table();
	ksft_finished();
}
