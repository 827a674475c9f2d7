// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: from each backing, touched in each way for the first time, removed, discarded, shared;
 * and what is not memory.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "guest.h"
#include "account.h"
#include "tests.h"

/* What the C library's headers of the build machine may be too old for. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

GUEST_NUMBERS(MEMORY_TESTS);

FIXTURE(memory)
{
	struct vm vm;
};

FIXTURE_VARIANT(memory)
{
	enum backing backing;
};

FIXTURE_VARIANT_ADD(memory, anonymous) { .backing = BACKING_ANONYMOUS };
FIXTURE_VARIANT_ADD(memory, thp) { .backing = BACKING_THP };
FIXTURE_VARIANT_ADD(memory, memfd) { .backing = BACKING_MEMFD };

static struct {
	enum backing backing;
	int other_slot;
	uint64_t nr_mmio;
} state;

/* Each vCPU's thread has its own access that may be refused, and its own last MMIO access. */
static __thread sigjmp_buf refused;
static __thread volatile bool touching;
static __thread uint64_t last_mmio, last_data;

static void bus_error(int signal)
{
	if (!touching) {
		static const char text[] = "# SIGBUS outside of a peek\n";

		if (write(1, text, sizeof(text) - 1) < 0)
			_exit(KSFT_FAIL);
		_exit(KSFT_FAIL);
	}
	siglongjmp(refused, 1);
}

static uint64_t touch(struct vm *vm, uint64_t ipa, bool write)
{
	volatile uint64_t *host = vm_host(vm, ipa);
	uint64_t value = 0;

	if (!host)
		return PEEK_REFUSED;
	touching = true;
	if (sigsetjmp(refused, 1))
		value = PEEK_REFUSED;
	else if (write)
		*host = ~ipa;
	else
		value = *host;
	touching = false;
	return value;
}

/*
 * Makes the slot at BLOCKS_BASE huge pages, if those are asked for and EL2 maps them as blocks. Does not
 * leave it to luck: what the first accesses leave in small pages is collapsed.
 */
static uint64_t make_huge(struct vm *vm)
{
	void *host = vm_host(vm, BLOCKS_BASE);
	int tries;

	if (state.backing != BACKING_THP || sysconf(_SC_PAGESIZE) != 4096)
		return 0;
	if (madvise(host, BLOCKS_SIZE, MADV_POPULATE_WRITE))
		return -errno;
	/* A page may be busy for a moment: EAGAIN. */
	for (tries = 0; madvise(host, BLOCKS_SIZE, MADV_COLLAPSE); tries++) {
		if (errno != EAGAIN || tries == 50)
			return -errno;
		usleep(100000);
	}
	return BLOCKS_SIZE / BLOCK_SIZE;
}

/* Grows with what the host donates alone: EL2 takes nothing else, and what it uses is of the pool. */
static uint64_t el2_bytes(void)
{
	struct mvirt_info info = account_info();

	return info.pool_bytes + info.host_table_bytes + info.el2_table_bytes + info.guest_table_bytes +
	       info.vm_bytes + info.decoy_bytes;
}

static uint64_t memory_request(struct vcpu *vcpu, uint64_t number, uint64_t arg)
{
	struct vm *vm = vcpu->vm;
	size_t page = sysconf(_SC_PAGESIZE);
	struct slot *other = &vm->slots[state.other_slot];

	switch (number) {
	case REQUEST_PEEK:
		return touch(vm, arg, false);
	case REQUEST_POKE:
		return touch(vm, arg, true);
	case REQUEST_CODE:
		*(uint32_t *)vm_host(vm, arg) = 0xd65f03c0;
		__builtin___clear_cache(vm_host(vm, arg), (char *)vm_host(vm, arg) + 4);
		return 0;
	case REQUEST_DISCARD:
		return madvise(vm_host(vm, arg & ~(page - 1)), page, MADV_DONTNEED) ? -errno : 0;
	case REQUEST_REMOVE:
		return vm_set_slot(vm, state.other_slot, OTHER_BASE, 0, other->host, 0);
	case REQUEST_ADD:
		return vm_set_slot(vm, state.other_slot, OTHER_BASE, OTHER_SIZE, other->host, 0);
	case REQUEST_BACKING:
		return state.backing == BACKING_MEMFD;
	case REQUEST_MMIO:
		return last_mmio;
	case REQUEST_MMIO_DATA:
		return last_data;
	case REQUEST_MMIOS:
		return state.nr_mmio;
	case REQUEST_HUGE:
		return make_huge(vm);
	case REQUEST_EL2_BYTES:
		return el2_bytes();
	}
	return -ENOSYS;
}

static bool memory_mmio(struct vcpu *vcpu, uint64_t ipa, uint8_t *data, unsigned int len, bool is_write)
{
	uint64_t offset, value;

	if (ipa - GUEST_HOLE_BASE < GUEST_HOLE_SIZE)
		offset = ipa - GUEST_HOLE_BASE;
	else if (ipa - OTHER_BASE < OTHER_SIZE)
		offset = ipa - OTHER_BASE;
	else if (ipa - READ_ONLY_BASE < READ_ONLY_SIZE && is_write)
		offset = ipa - READ_ONLY_BASE;
	else
		return false;
	__atomic_fetch_add(&state.nr_mmio, 1, __ATOMIC_SEQ_CST);
	last_mmio = (uint64_t)len << 32 | (uint64_t)is_write << 31 | offset;
	value = HOLE_VALUE(offset);
	if (is_write) {
		last_data = 0;
		memcpy(&last_data, data, len);
	} else {
		memcpy(data, &value, len);
	}
	return true;
}

FIXTURE_SETUP(memory)
{
	struct sigaction action = { .sa_handler = bus_error };
	struct vm *vm = &self->vm;
	uint64_t i;
	int error;

	MAKE_VM(vm);
	ASSERT_VM(vm, vm_add_slot(vm, GUEST_RAM_BASE, GUEST_RAM_SIZE, variant->backing, 0));
	ASSERT_VM(vm, vm_add_slot(vm, GUEST_EXTRA_BASE, EXTRA_SIZE, variant->backing, 0));
	state.backing = variant->backing;
	ASSERT_VM(vm, vm_add_slot(vm, BLOCKS_BASE, BLOCKS_SIZE, variant->backing, 0));
	state.other_slot = vm->nr_slots;
	ASSERT_VM(vm, vm_add_slot(vm, OTHER_BASE, OTHER_SIZE, variant->backing, 0));
	error = vm_add_slot(vm, READ_ONLY_BASE, READ_ONLY_SIZE, variant->backing, KVM_MEM_READONLY);
	if (guests_protected()) {
		/* What EL2 maps for a protected guest it maps for writing. */
		ASSERT_EQ(-EPERM, error);
	} else {
		ASSERT_EQ(0, error);
		for (i = 0; i < READ_ONLY_SIZE; i += 8)
			memcpy(vm_host(vm, READ_ONLY_BASE + i), &i, sizeof(i));
	}
	vm->request = memory_request;
	vm->mmio = memory_mmio;
	sigaction(SIGBUS, &action, NULL);
}

FIXTURE_TEARDOWN(memory)
{
	vm_destroy(&self->vm);
}

#define MEMORY_TEST(name, cpus, flags)							\
	TEST_F(memory, name) {								\
		guest_run(_metadata, &self->vm, TEST_##name, cpus, flags, variant->backing);	\
	}

MEMORY_TESTS(MEMORY_TEST)

TEST_HARNESS_MAIN
