// SPDX-License-Identifier: GPL-2.0
/* Files, pipes and sockets with the guest's memory as the buffer, or as the file. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stray.h"

#define BYTES	4096UL

static uint8_t buffer[BYTES];

/* What arrived of the secret's first bytes, once all of it has been read from the other end. */
static unsigned int arrived(struct stray *s, int fd, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		n = read(fd, buffer + done, size - done);
		if (n <= 0)
			return broke(s, "read of what arrived");
		done += n;
	}
	return saw(s, buffer, size, 0);
}

unsigned int way_write_file(struct stray *s)
{
	int fd = marked_file(s, BYTES);

	if (pwrite(fd, s->secret, BYTES, 0) != BYTES)
		return gave(s, "write", -1);
	return arrived(s, fd, BYTES);
}

unsigned int way_read_file(struct stray *s)
{
	int fd = marked_file(s, BYTES);

	return gave(s, "read", pread(fd, s->secret, BYTES, 0) == BYTES ? 0 : -1);
}

unsigned int way_write_pipe(struct stray *s)
{
	int ends[2];

	if (pipe(ends))
		return broke(s, "pipe");
	if (write(ends[1], s->secret, BYTES) != BYTES)
		return gave(s, "write", -1);
	return arrived(s, ends[0], BYTES);
}

unsigned int way_read_pipe(struct stray *s)
{
	int ends[2];

	mark(s, buffer, BYTES);
	if (pipe(ends) || write(ends[1], buffer, BYTES) != BYTES)
		return broke(s, "pipe");
	return gave(s, "read", read(ends[0], s->secret, BYTES) == BYTES ? 0 : -1);
}

static unsigned int splice_memory(struct stray *s, unsigned int flags)
{
	struct iovec from = { s->secret, BYTES };
	int ends[2];

	if (pipe(ends))
		return broke(s, "pipe");
	if (vmsplice(ends[1], &from, 1, flags) != BYTES)
		return gave(s, "vmsplice", -1);
	return arrived(s, ends[0], BYTES);
}

unsigned int way_vmsplice(struct stray *s) { return splice_memory(s, 0); }
unsigned int way_vmsplice_gift(struct stray *s) { return splice_memory(s, SPLICE_F_GIFT); }

unsigned int way_socket_send(struct stray *s)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return broke(s, "socketpair");
	if (send(ends[1], s->secret, BYTES, 0) != BYTES)
		return gave(s, "send", -1);
	return arrived(s, ends[0], BYTES);
}

unsigned int way_socket_recv(struct stray *s)
{
	int ends[2];

	mark(s, buffer, BYTES);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || send(ends[1], buffer, BYTES, 0) != BYTES)
		return broke(s, "socketpair");
	return gave(s, "recv", recv(ends[0], s->secret, BYTES, MSG_WAITALL) == BYTES ? 0 : -1);
}

/* Two connected TCP sockets on the loopback device. */
static int tcp_pair(struct stray *s, int ends[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof(at);

	if (link_up() || bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&at, &size))
		return -1;
	ends[1] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(ends[1], (struct sockaddr *)&at, sizeof(at)))
		return -1;
	ends[0] = accept(listener, NULL, NULL);
	close(listener);
	return ends[0] < 0 ? -1 : 0;
}

unsigned int way_tcp_send(struct stray *s)
{
	int ends[2];

	if (tcp_pair(s, ends))
		return broke(s, "TCP on the loopback device");
	if (send(ends[1], s->secret, BYTES, 0) != BYTES)
		return gave(s, "send", -1);
	return arrived(s, ends[0], BYTES);
}

/* The pages go into the packet, and are read when it is delivered. */
unsigned int way_tcp_zerocopy(struct stray *s)
{
	int ends[2], on = 1;

	if (tcp_pair(s, ends) || setsockopt(ends[1], SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)))
		return broke(s, "TCP on the loopback device");
	if (send(ends[1], s->secret, BYTES, MSG_ZEROCOPY) != BYTES)
		return gave(s, "send", -1);
	return arrived(s, ends[0], BYTES);
}

unsigned int way_read_memfd(struct stray *s)
{
	return gave(s, "lseek", lseek(s->memfd, 0, SEEK_SET)) & OUT_PASSES ? arrived(s, s->memfd, BYTES) :
	       OUT_BROKEN;
}

unsigned int way_write_memfd(struct stray *s)
{
	mark(s, buffer, BYTES);
	return gave(s, "write", pwrite(s->memfd, buffer, BYTES, 0) == BYTES ? 0 : -1);
}

unsigned int way_sendfile(struct stray *s)
{
	off_t from = 0;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return broke(s, "socketpair");
	if (sendfile(ends[1], s->memfd, &from, BYTES) != BYTES)
		return gave(s, "sendfile", -1);
	return arrived(s, ends[0], BYTES);
}

unsigned int way_sendfile_tcp(struct stray *s)
{
	off_t from = 0;
	int ends[2];

	if (tcp_pair(s, ends))
		return broke(s, "TCP on the loopback device");
	if (sendfile(ends[1], s->memfd, &from, BYTES) != BYTES)
		return gave(s, "sendfile", -1);
	return arrived(s, ends[0], BYTES);
}

unsigned int way_splice_memfd(struct stray *s)
{
	loff_t from = 0;
	int ends[2];

	if (pipe(ends))
		return broke(s, "pipe");
	if (splice(s->memfd, &from, ends[1], NULL, BYTES, 0) != BYTES)
		return gave(s, "splice", -1);
	return arrived(s, ends[0], BYTES);
}
