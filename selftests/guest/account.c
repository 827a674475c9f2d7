// SPDX-License-Identifier: GPL-2.0
/* See account.h. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "account.h"
#include "machine.h"
#include "vmm.h"

struct mvirt_info account_info(void)
{
	struct mvirt_info info = { .size = sizeof(info) };
	int fd = device_is_mvirt() ? open(guest_device(), O_RDWR | O_CLOEXEC) : -1;

	/* An error leaves zeros, which agree with nothing that was there before. */
	if (fd >= 0) {
		if (ioctl(fd, MVIRT_GET_INFO, &info))
			memset(&info, 0, sizeof(info));
		close(fd);
	}
	return info;
}

uint64_t pinned_pages(void)
{
	unsigned long long acquired = 0, released = 0, value;
	char name[64];
	FILE *file;

	/* Each CPU counts for itself, and adds it up late. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	file = fopen("/proc/vmstat", "r");
	while (file && fscanf(file, "%63s %llu", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			acquired = value;
		else if (!strcmp(name, "nr_foll_pin_released"))
			released = value;
	}
	if (file)
		fclose(file);
	return acquired - released;
}

static uint64_t descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t nr = 0;

	while (dir && readdir(dir))
		nr++;
	if (dir)
		closedir(dir);
	return nr;
}

/* A hash of the words of /proc/interrupts that are no counts: chips, triggers, actions. */
static uint64_t interrupts(void)
{
	FILE *file = fopen("/proc/interrupts", "r");
	uint64_t hash = 0xcbf29ce484222325;
	char word[128], *c;

	while (file && fscanf(file, "%127s", word) == 1) {
		/* A CPU that is offline has no column. */
		if (!strncmp(word, "CPU", 3))
			continue;
		for (c = word; isdigit(*c); c++)
			;
		if (!*c)
			continue;
		for (c = word; *c; c++)
			hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
	}
	if (file)
		fclose(file);
	return hash;
}

static uint64_t module_users(void)
{
	char text[32];

	/* Built in, or KVM: nobody counts. */
	if (read_file("/sys/module/mvirt/refcnt", text, sizeof(text)))
		return 0;
	return strtoull(text, NULL, 10);
}

#define KMEMLEAK "/sys/kernel/debug/kmemleak"

bool account_kernel_looks(void)
{
	return !access(KMEMLEAK, R_OK | W_OK);
}

unsigned int account_leaks(void)
{
	char line[256], object[4096] = "";
	unsigned int leaks = 0;
	bool ours = false;
	FILE *file;

	/* It leaves out what is younger than five seconds, and what the last scan found changed. */
	sleep(6);
	if (write_file(KMEMLEAK, "scan") || write_file(KMEMLEAK, "scan"))
		return 1;
	file = fopen(KMEMLEAK, "r");
	if (!file)
		return 1;
	/* "unreferenced object 0x...", and what is known of it in lines that are indented. */
	while (fgets(line, sizeof(line), file)) {
		if (line[0] != ' ') {
			object[0] = 0;
			ours = false;
		}
		if (strlen(object) + strlen(line) < sizeof(object))
			strcat(object, line);
		if (!ours && strstr(line, "[mvirt]")) {
			ours = true;
			if (!leaks++)
				for (char *at = strtok(object, "\n"); at; at = strtok(NULL, "\n"))
					printf("# %s\n", at);
		}
	}
	fclose(file);
	return leaks;
}

void account_take_exact(struct account *account)
{
	struct mvirt_info info = account_info();

	account->el2 = info.image_bytes + info.stack_bytes + info.meta_bytes + info.el2_table_bytes +
		       info.host_table_bytes + info.pool_bytes + info.decoy_bytes + info.el1_bytes;
	account->guest_tables = info.guest_table_bytes;
	account->vms = info.vm_bytes;
	account->guests = info.guest_bytes;
	account->pins = pinned_pages();
	account->mlocked = meminfo("Mlocked");
	account->module_users = module_users();
	account->descriptors = descriptors();
	account->interrupts = interrupts();
}

void account_take(struct account *account)
{
	account->free = settled_mem_free();
	account->slab = meminfo("Slab");
	account_take_exact(account);
}

bool account_agrees(const struct account *before, const struct account *after)
{
	return before->el2 == after->el2 && before->guest_tables == after->guest_tables &&
	       before->vms == after->vms && before->guests == after->guests &&
	       before->pins == after->pins && before->mlocked == after->mlocked &&
	       before->module_users == after->module_users &&
	       before->descriptors == after->descriptors && before->interrupts == after->interrupts;
}

void account_settle(const struct account *before, struct account *after)
{
	int i;

	/* What is freed late, through RCU and workqueues, has some time for it. */
	for (i = 0; i < 10; i++) {
		account_take(after);
		if ((account_kernel_looks() || (after->free + ACCOUNT_SLACK >= before->free &&
						after->slab <= before->slab + ACCOUNT_SLACK)) &&
		    account_agrees(before, after))
			break;
		usleep(300000);
	}
}
