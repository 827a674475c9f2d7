// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "el2.h"
#include "machine.h"

/* What x7 to x17 hold during a call, each its own. */
#define FILLER	0xa5a5000000000000ULL

int hostile_open(void)
{
	return open("/dev/hostile", O_RDWR | O_CLOEXEC);
}

struct el2_answer el2_call(int fd, uint64_t id, const uint64_t args[6])
{
	struct hostile_call call = { .x = { id } };
	struct el2_answer answer = { .kept = true };
	int i;

	memcpy(&call.x[1], args, 6 * sizeof(*args));
	for (i = 7; i < 18; i++)
		call.x[i] = FILLER + i;
	if (ioctl(fd, HOSTILE_HVC, &call)) {
		answer.x0 = INT64_MIN;
		return answer;
	}

	answer.x0 = call.x[0];
	memcpy(answer.value, &call.x[1], sizeof(answer.value));
	for (i = 7; i < 18; i++)
		answer.kept &= call.x[i] == FILLER + i;
	return answer;
}

struct el2_answer el2_call2(int fd, uint64_t id, uint64_t a, uint64_t b)
{
	return el2_call(fd, id, (uint64_t[6]){ a, b });
}

uint64_t el2_stat(int fd, unsigned int stat)
{
	struct el2_answer answer = el2_call2(fd, EL2_CALL_STAT, stat, UINT64_MAX);

	return answer.x0 ? UINT64_MAX : answer.value[0];
}

int64_t el2_page_state(int fd, uint64_t pfn, struct el2_page *page)
{
	struct el2_answer answer = el2_call2(fd, EL2_CALL_PAGE_STATE, pfn, 0);

	*page = (struct el2_page){ answer.value[0], answer.value[1] };
	return answer.x0;
}

bool el2_answers(int fd)
{
	struct el2_answer first = el2_call2(fd, EL2_CALL_VERSION, 0, 0);
	struct el2_answer second = el2_call2(fd, EL2_CALL_VERSION, 0, 0);

	return !first.x0 && !second.x0 && first.value[0] == second.value[0] &&
	       first.value[1] == 1 && first.kept && second.kept;
}

int el2_read_regs(int fd, struct el2_reg regs[EL2_MAX_REGS])
{
	int n;

	for (n = 0; n < EL2_MAX_REGS; n++) {
		struct el2_answer answer = el2_call2(fd, EL2_CALL_READ_REG, n, 0);

		if (answer.x0 == EL2_ERROR_NOENTRY)
			return n;
		if (answer.x0 && answer.x0 != EL2_ERROR_NOTSUPPORTED)
			return -1;
		regs[n].error = answer.x0;
		regs[n].encoding = answer.x0 ? 0 : answer.value[0];
		regs[n].value = answer.x0 ? 0 : answer.value[1];
	}
	return -1;
}

/* EL2 has its memory in blocks of at least this many pages, so one of them is found in each. */
#define STRIDE	16

static bool is_el2s(int fd, uint64_t pfn)
{
	struct el2_page page;

	return !el2_page_state(fd, pfn, &page) && page.owner == EL2_OWNER_EL2;
}

/* Keeps every @step-th page that is found; when the array is full, every other one makes room. */
struct sample {
	uint64_t *pfns;
	size_t max, kept, found, step;
};

static void sample_add(struct sample *s, uint64_t pfn)
{
	size_t i;

	if (s->kept == s->max) {
		for (i = 0; 2 * i < s->max; i++)
			s->pfns[i] = s->pfns[2 * i];
		s->kept = i;
		s->step *= 2;
	}
	if (s->found++ % s->step == 0)
		s->pfns[s->kept++] = pfn;
}

size_t el2_find_pages(int fd, uint64_t *pfns, size_t max)
{
	struct sample sample = { .pfns = pfns, .max = max, .step = 1 };
	struct phys_range ram[MAX_RAM_RANGES];
	size_t nr = ram_ranges(ram, MAX_RAM_RANGES), i;
	uint64_t pfn, next = 0, from;

	for (i = 0; i < nr; i++) {
		for (pfn = ram[i].first_pfn; pfn <= ram[i].last_pfn; pfn += STRIDE) {
			if (pfn < next || !is_el2s(fd, pfn))
				continue;
			/* Back to the block's first page, then on to its last. */
			for (from = pfn; from > next && from > ram[i].first_pfn &&
					 is_el2s(fd, from - 1); from--)
				;
			for (next = from; next <= ram[i].last_pfn && is_el2s(fd, next); next++)
				sample_add(&sample, next);
		}
	}
	return sample.kept;
}
