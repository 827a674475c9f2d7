// SPDX-License-Identifier: GPL-2.0
/* O_DIRECT, where the CPU copies (ramdisk, loop device on tmpfs) and where a device does. Packets. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/loop.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <arpa/inet.h>
#include <unistd.h>

#include "stray.h"

#define BYTES	4096UL
/* An EtherType for experiments. */
#define PROTOCOL	0x88b5

static uint8_t buffer[BYTES] __attribute__((aligned(BYTES)));

/* From the guest's memory to the device: what is there then. */
static unsigned int direct_write(struct stray *s, const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	mark(s, buffer, BYTES);
	if (fd < 0 || pwrite(fd, buffer, BYTES, 0) != BYTES)
		return broke(s, path);
	if (pwrite(fd, s->secret, BYTES, 0) != BYTES)
		return gave(s, path, -1);
	if (pread(fd, buffer, BYTES, 0) != BYTES)
		return broke(s, path);
	close(fd);
	return saw(s, buffer, BYTES, 0);
}

/* From the device to the guest's memory. */
static unsigned int direct_read(struct stray *s, const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	unsigned int got;

	mark(s, buffer, BYTES);
	if (fd < 0 || pwrite(fd, buffer, BYTES, 0) != BYTES)
		return broke(s, path);
	got = gave(s, path, pread(fd, s->secret, BYTES, 0) == BYTES ? 0 : -1);
	close(fd);
	return got;
}

unsigned int way_brd_write(struct stray *s) { return direct_write(s, "/dev/ram0"); }
unsigned int way_brd_read(struct stray *s) { return direct_read(s, "/dev/ram0"); }

/* A loop device on a file of tmpfs, that is gone when its descriptor is. */
static unsigned int on_loop(struct stray *s, unsigned int (*fn)(struct stray *s, const char *path))
{
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, device;
	unsigned int got;
	char path[32];

	number = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	device = open(path, O_RDWR | O_CLOEXEC);
	config.fd = syscall(SYS_memfd_create, "loop", 0);
	if (number < 0 || device < 0 || ftruncate(config.fd, 1 << 20) ||
	    ioctl(device, LOOP_CONFIGURE, &config))
		return broke(s, "loop device");
	close(config.fd);
	got = fn(s, path);
	close(device);
	return got;
}

unsigned int way_loop_write(struct stray *s) { return on_loop(s, direct_write); }
unsigned int way_loop_read(struct stray *s) { return on_loop(s, direct_read); }

/* The disk of the test's machine: QEMU copies, as a device would, past all tables. */
unsigned int way_dma_write(struct stray *s) { return direct_write(s, "/dev/vda"); }
unsigned int way_dma_read(struct stray *s) { return direct_read(s, "/dev/vda"); }

int link_up(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), error;

	error = ioctl(fd, SIOCSIFFLAGS, &lo);
	close(fd);
	return error;
}

/* Two sockets for packets on the loopback device, which brings each to both. */
static int packet_pair(int ends[2], struct sockaddr_ll *to)
{
	struct timeval patience = { .tv_sec = 20 };
	int i;

	*to = (struct sockaddr_ll){
		.sll_family = AF_PACKET,
		.sll_protocol = htons(PROTOCOL),
		.sll_ifindex = if_nametoindex("lo"),
		.sll_halen = 6,
	};
	if (link_up())
		return -1;
	for (i = 0; i < 2; i++) {
		ends[i] = socket(AF_PACKET, SOCK_DGRAM, i ? 0 : htons(PROTOCOL));
		if (ends[i] < 0 || setsockopt(ends[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
			return -1;
	}
	return bind(ends[0], (struct sockaddr *)to, sizeof(*to));
}

#define PACKET	1024

unsigned int way_packet_send(struct stray *s)
{
	struct sockaddr_ll to;
	int ends[2];

	if (packet_pair(ends, &to))
		return broke(s, "AF_PACKET");
	if (sendto(ends[1], s->secret, PACKET, 0, (struct sockaddr *)&to, sizeof(to)) != PACKET)
		return gave(s, "sendto", -1);
	if (recv(ends[0], buffer, PACKET, 0) != PACKET)
		return broke(s, "recv");
	return saw(s, buffer, PACKET, 0);
}

unsigned int way_packet_recv(struct stray *s)
{
	struct sockaddr_ll to;
	int ends[2];

	mark(s, buffer, PACKET);
	if (packet_pair(ends, &to) ||
	    sendto(ends[1], buffer, PACKET, 0, (struct sockaddr *)&to, sizeof(to)) != PACKET)
		return broke(s, "AF_PACKET");
	return gave(s, "recv", recv(ends[0], s->secret, PACKET, 0) == PACKET ? 0 : -1);
}
