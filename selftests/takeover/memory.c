// SPDX-License-Identifier: GPL-2.0
/*
 * Loads mvirt and compares what it has taken with the budget: by its own account and by what the
 * host's free memory says.
 */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "kselftest.h"
#include "machine.h"
#include "mvirt.h"

#define MIB	(1LL << 20)

/*
 * How far MemFree may fall behind MVIRT_GET_INFO. It goes down by more than that: the module's own code
 * and data come on top, and it was 136 to 384 KiB more on 512 MiB to 4 GiB with pages of 4 and 16 KiB, so
 * that this much has to come free by chance to make a good take-over fail. EL2 takes three times as much
 * at the least: a MemFree that stayed or grew tells of a wrong account or of a measurement that failed.
 */
#define NOISE	(MIB / 4)

/* A quarter of what pKVM takes, rounded up to half a MiB: Documentation/figures.rst. */
static int64_t budget(uint64_t mem_total)
{
	int64_t gib = (mem_total + 1024 * MIB - 1) / (1024 * MIB);

	if (gib <= 1)
		return 5 * MIB / 2;
	if (gib <= 2)
		return 4 * MIB;
	if (gib <= 4)
		return 7 * MIB;
	/* Metadata is 4 bytes for each 4 KiB page: 1 MiB for a GiB; the rest hardly grows. */
	return 3 * MIB + gib * MIB;
}

static int64_t taken(const struct mvirt_info *info)
{
	return info->image_bytes + info->stack_bytes + info->meta_bytes + info->el2_table_bytes +
	       info->host_table_bytes + info->pool_bytes + info->guest_table_bytes +
	       info->vm_bytes + info->decoy_bytes + info->el1_bytes;
}

int main(void)
{
	struct mvirt_info info = { .size = sizeof(info) };
	int64_t limit = budget(meminfo("MemTotal"));
	int64_t before, after, gone;
	int error, fd;

	ksft_print_header();
	ksft_set_plan(3);

	before = settled_mem_free();
	error = load_module("mvirt", "");
	after = settled_mem_free();
	ksft_test_result(!error, "insmod\n");
	if (error)
		ksft_exit_fail_msg("insmod mvirt: %s\n", strerror(-error));

	fd = open("/dev/mvirt", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, MVIRT_GET_INFO, &info))
		ksft_exit_fail_msg("MVIRT_GET_INFO: %s\n", strerror(errno));

	gone = before - after;
	ksft_print_msg("%lld KiB by MVIRT_GET_INFO, %lld KiB by MemFree, of %lld KiB\n",
		       (long long)taken(&info) / 1024, (long long)gone / 1024, (long long)limit / 1024);
	ksft_test_result(taken(&info) <= limit, "info_is_within_the_budget\n");
	ksft_test_result(gone <= limit && gone >= taken(&info) - NOISE,
			 "mem_free_is_within_the_budget\n");
	ksft_finished();
}
