// SPDX-License-Identifier: GPL-2.0
/*
 * Speaks to a guest, and answers in one.
 *
 *	talk tcp ADDRESS PORT FILE	sends the file; what comes back must be the same
 *	talk vsock CID PORT FILE	the same over AF_VSOCK
 *	talk serve PORT TIMES		over AF_VSOCK: gives back what comes, so many connections
 *	talk cid			the number that AF_VSOCK has for this machine
 *
 * Both directions at once: a peer that gives back as it reads would otherwise wait for us to read, and
 * we for it. A guest may still be on its way: who is refused asks again for ten minutes.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* After sys/socket.h, whose sa_family_t it wants. */
#include <linux/vm_sockets.h>

#define PATIENCE 600 /* seconds */
#define CHUNK 65536

union address {
	struct sockaddr any;
	struct sockaddr_in tcp;
	struct sockaddr_vm vsock;
};

static unsigned int number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (*end || end == text || value > UINT32_MAX)
		errx(2, "%s is no number", text);
	return value;
}

static socklen_t resolve(union address *to, const char *kind, const char *host, const char *port)
{
	memset(to, 0, sizeof(*to));
	if (!strcmp(kind, "tcp")) {
		to->tcp.sin_family = AF_INET;
		to->tcp.sin_port = htons(number(port));
		if (inet_pton(AF_INET, host, &to->tcp.sin_addr) != 1)
			errx(2, "%s is no address", host);
		return sizeof(to->tcp);
	}
	if (strcmp(kind, "vsock"))
		errx(2, "%s: it is tcp or vsock", kind);
	to->vsock.svm_family = AF_VSOCK;
	to->vsock.svm_cid = number(host);
	to->vsock.svm_port = number(port);
	return sizeof(to->vsock);
}

static int reach(const union address *to, socklen_t size)
{
	time_t end = time(NULL) + PATIENCE;

	for (;;) {
		int fd = socket(to->any.sa_family, SOCK_STREAM, 0);

		if (fd < 0)
			err(1, "socket");
		if (!connect(fd, &to->any, size))
			return fd;
		if (time(NULL) > end)
			err(1, "connect");
		close(fd);
		usleep(100000);
	}
}

static void write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t done = write(fd, data, size);

		if (done < 0)
			err(1, "write");
		data += done;
		size -= done;
	}
}

static char *contents(const char *path, size_t *size)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	char *data;

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	*size = st.st_size;
	data = malloc(*size + 1);
	if (!data || read(fd, data, *size) != st.st_size)
		err(1, "read of %s", path);
	close(fd);
	return data;
}

static int talk(const char *kind, const char *host, const char *port, const char *path)
{
	union address to;
	socklen_t length = resolve(&to, kind, host, port);
	size_t size, at = 0;
	char *data = contents(path, &size), *back = malloc(CHUNK);
	int fd = reach(&to, length), status;
	pid_t sender = fork();
	ssize_t got;

	if (sender < 0 || !back)
		err(1, "fork");
	if (!sender) {
		write_all(fd, data, size);
		if (shutdown(fd, SHUT_WR))
			err(1, "shutdown");
		_exit(0);
	}
	while ((got = read(fd, back, CHUNK)) > 0) {
		if (got > size - at)
			errx(1, "more than %zu bytes came back", size);
		if (memcmp(back, data + at, got))
			errx(1, "other bytes came back, from %zu on of %zu", at, size);
		at += got;
	}
	if (got < 0)
		err(1, "read at %zu of %zu", at, size);
	if (waitpid(sender, &status, 0) != sender || status)
		errx(1, "not all was sent");
	if (at != size)
		errx(1, "%zu of %zu bytes came back", at, size);
	return 0;
}

static int serve(const char *port, const char *times)
{
	union address here;
	socklen_t length = resolve(&here, "vsock", "0xffffffff", port);
	int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
	char *data = malloc(CHUNK);
	unsigned int left = number(times);

	if (listener < 0 || !data || bind(listener, &here.any, length) || listen(listener, 1))
		err(1, "listen");
	for (; left; left--) {
		int fd = accept(listener, NULL, NULL);
		size_t all = 0;
		ssize_t got;

		if (fd < 0)
			err(1, "accept");
		while ((got = read(fd, data, CHUNK)) > 0) {
			write_all(fd, data, got);
			all += got;
		}
		if (got < 0)
			err(1, "read");
		close(fd);
		printf("GUEST gave back %zu\n", all);
		fflush(stdout);
	}
	return 0;
}

static int cid(void)
{
	int fd = open("/dev/vsock", O_RDONLY);
	unsigned int id;

	if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &id))
		err(1, "/dev/vsock");
	printf("%u\n", id);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5)
		return talk(argv[1], argv[2], argv[3], argv[4]);
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3]);
	if (argc == 2 && !strcmp(argv[1], "cid"))
		return cid();
	errx(2, "talk tcp ADDRESS PORT FILE | talk vsock CID PORT FILE | talk serve PORT TIMES | talk cid");
}
