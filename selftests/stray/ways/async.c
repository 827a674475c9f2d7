// SPDX-License-Identifier: GPL-2.0
/* Linux AIO and io_uring with the guest's memory as the buffer. */
#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stray.h"

#define BYTES	4096UL

static uint8_t buffer[BYTES];

/* A write's file has what was read of the guest; of a read nothing is seen here. */
static unsigned int outcome(struct stray *s, int fd, bool is_write, long result)
{
	if (result != BYTES) {
		errno = result < 0 ? -result : EIO;
		return gave(s, "the request", -1);
	}
	if (!is_write)
		return OUT_PASSES;
	if (pread(fd, buffer, BYTES, 0) != BYTES)
		return broke(s, "read of what was written");
	return saw(s, buffer, BYTES, 0);
}

static unsigned int aio(struct stray *s, bool is_write)
{
	struct iocb block = {
		.aio_lio_opcode = is_write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = marked_file(s, BYTES),
		.aio_buf = (uintptr_t)s->secret,
		.aio_nbytes = BYTES,
	}, *blocks[] = { &block };
	aio_context_t context = 0;
	struct io_event event;

	if (syscall(SYS_io_setup, 4, &context))
		return broke(s, "io_setup");
	if (syscall(SYS_io_submit, context, 1, blocks) != 1)
		return gave(s, "io_submit", -1);
	if (syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1)
		return broke(s, "io_getevents");
	syscall(SYS_io_destroy, context);
	return outcome(s, block.aio_fildes, is_write, event.res);
}

unsigned int way_aio_write(struct stray *s) { return aio(s, true); }
unsigned int way_aio_read(struct stray *s) { return aio(s, false); }

struct ring {
	int fd;
	struct io_uring_params params;
	uint8_t *rings;
	struct io_uring_sqe *sqes;
};

static int ring_open(struct ring *r)
{
	size_t size;

	memset(r, 0, sizeof(*r));
	r->fd = syscall(SYS_io_uring_setup, 4, &r->params);
	/* One mapping has both rings: 5.4 and later. */
	if (r->fd < 0 || !(r->params.features & IORING_FEAT_SINGLE_MMAP))
		return -1;
	size = r->params.cq_off.cqes + r->params.cq_entries * sizeof(struct io_uring_cqe);
	if (size < r->params.sq_off.array + r->params.sq_entries * sizeof(uint32_t))
		size = r->params.sq_off.array + r->params.sq_entries * sizeof(uint32_t);
	r->rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, r->params.sq_entries * sizeof(*r->sqes), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		       IORING_OFF_SQES);
	return r->rings == MAP_FAILED || (void *)r->sqes == MAP_FAILED ? -1 : 0;
}

/* The first request of a ring: what it gave. */
static long ring_submit(struct ring *r, const struct io_uring_sqe *sqe)
{
	struct io_uring_cqe *cqe = (void *)(r->rings + r->params.cq_off.cqes);

	r->sqes[0] = *sqe;
	((uint32_t *)(r->rings + r->params.sq_off.array))[0] = 0;
	__atomic_store_n((uint32_t *)(r->rings + r->params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	if (__atomic_load_n((uint32_t *)(r->rings + r->params.cq_off.tail), __ATOMIC_ACQUIRE) != 1)
		return -EIO;
	return cqe->res;
}

static unsigned int uring(struct stray *s, uint8_t opcode, bool is_write, bool fixed)
{
	struct iovec all = { s->secret, 2 * s->page };
	struct io_uring_sqe sqe = {
		.opcode = opcode,
		.fd = marked_file(s, BYTES),
		.addr = (uintptr_t)s->secret,
		.len = BYTES,
	};
	struct ring r;

	if (ring_open(&r))
		return broke(s, "io_uring_setup");
	if (fixed && syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &all, 1))
		return gave(s, "IORING_REGISTER_BUFFERS", -1);
	return outcome(s, sqe.fd, is_write, ring_submit(&r, &sqe));
}

unsigned int way_uring_write(struct stray *s) { return uring(s, IORING_OP_WRITE, true, false); }
unsigned int way_uring_read(struct stray *s) { return uring(s, IORING_OP_READ, false, false); }
unsigned int way_uring_write_fixed(struct stray *s) { return uring(s, IORING_OP_WRITE_FIXED, true, true); }
unsigned int way_uring_read_fixed(struct stray *s) { return uring(s, IORING_OP_READ_FIXED, false, true); }
