// SPDX-License-Identifier: GPL-2.0
/* /dev/mvirt answers as its contract (uapi/mvirt.h) says, and EL2 has what it reports. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "el2.h"
#include "harness.h"
#include "machine.h"
#include "mvirt.h"

#define DEVICE	"/dev/mvirt"

FIXTURE(device)
{
	int fd;
};

FIXTURE_SETUP(device)
{
	self->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd) {
		TH_LOG(DEVICE ": %s", strerror(errno));
	}
}

FIXTURE_TEARDOWN(device)
{
	close(self->fd);
}

/* What an ioctl gives: its result, or -errno. */
static long call(int fd, unsigned long cmd, unsigned long arg)
{
	long ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

TEST_F(device, api_version)
{
	EXPECT_EQ(12, call(self->fd, KVM_GET_API_VERSION, 0));
	EXPECT_EQ(-EINVAL, call(self->fd, KVM_GET_API_VERSION, 1));
}

/* VMMs switch on what is offered: nothing is that does not work. */
TEST_F(device, extensions_are_those_that_work)
{
	static const long offered[] = {
		KVM_CAP_USER_MEMORY, KVM_CAP_DESTROY_MEMORY_REGION_WORKS, KVM_CAP_ONE_REG,
		KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, KVM_CAP_IRQCHIP, KVM_CAP_DEVICE_CTRL,
		KVM_CAP_ARM_PSCI, KVM_CAP_ARM_PSCI_0_2, KVM_CAP_ARM_SYSTEM_SUSPEND,
		KVM_CAP_MP_STATE, KVM_CAP_IMMEDIATE_EXIT,
		KVM_CAP_INTERNAL_ERROR_DATA, KVM_CAP_CHECK_EXTENSION_VM, KVM_CAP_ENABLE_CAP_VM,
		KVM_CAP_SYNC_MMU, KVM_CAP_READONLY_MEM, KVM_CAP_NR_VCPUS, KVM_CAP_MAX_VCPUS,
		KVM_CAP_MAX_VCPU_ID, KVM_CAP_NR_MEMSLOTS, KVM_CAP_ARM_VM_IPA_SIZE,
		KVM_CAP_IRQFD, KVM_CAP_IRQFD_RESAMPLE, KVM_CAP_IRQ_ROUTING, KVM_CAP_IOEVENTFD,
		KVM_CAP_IOEVENTFD_NO_LENGTH, KVM_CAP_IOEVENTFD_ANY_LENGTH,
		231 /* KVM_CAP_USER_MEMORY2 */,
	};
	long extension, value;
	size_t n;

	for (extension = -1; extension < 1024; extension++) {
		value = call(self->fd, KVM_CHECK_EXTENSION, extension);
		for (n = 0; n < ARRAY_SIZE(offered); n++)
			if (offered[n] == extension)
				break;
		EXPECT_EQ(n < ARRAY_SIZE(offered), value > 0) {
			TH_LOG("extension %ld: %ld", extension, value);
		}
	}
	/* Of a VM only: the device has both kinds. */
	EXPECT_EQ(0, call(self->fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PROTECTED_VM));
}

TEST_F(device, vcpu_mmap_size)
{
	long size = call(self->fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	EXPECT_LT(0, size);
	EXPECT_EQ(0, size % sysconf(_SC_PAGESIZE));
	EXPECT_EQ(-EINVAL, call(self->fd, KVM_GET_VCPU_MMAP_SIZE, 1));
}

TEST_F(device, every_other_ioctl_is_enotty)
{
	static const unsigned int dirs[] = { _IOC_NONE, _IOC_READ, _IOC_WRITE,
					     _IOC_READ | _IOC_WRITE };
	static const unsigned int types[] = { KVMIO, MVIRT_IOC, 'a', 0xff };
	unsigned int d, t, nr, cmd;

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		for (d = 0; d < ARRAY_SIZE(dirs); d++) {
			for (nr = 0; nr < 256; nr++) {
				cmd = _IOC(dirs[d], types[t], nr, dirs[d] ? 8 : 0);
				if (cmd == KVM_GET_API_VERSION || cmd == KVM_CHECK_EXTENSION ||
				    cmd == KVM_GET_VCPU_MMAP_SIZE || cmd == MVIRT_GET_INFO ||
				    cmd == KVM_CREATE_VM)
					continue;
				EXPECT_EQ(-ENOTTY, call(self->fd, cmd, 0)) {
					TH_LOG("ioctl %#x", cmd);
				}
			}
		}
	}
}

TEST_F(device, info_agrees_with_the_machine)
{
	struct mvirt_info info = { .size = sizeof(info) };

	ASSERT_EQ(0, call(self->fd, MVIRT_GET_INFO, (unsigned long)&info));
	EXPECT_EQ(sizeof(info), info.size);
	EXPECT_EQ(MVIRT_ABI_VERSION, info.abi_version);
	EXPECT_EQ(sysconf(_SC_PAGESIZE), info.page_size);
	EXPECT_EQ(cpus_possible(), info.cpus_possible);
	EXPECT_EQ(cpus_online(), info.cpus_active);
	EXPECT_LT(0, info.takeover_ns);
	EXPECT_LT(0, info.text_bytes);
	EXPECT_LT(0, info.rodata_bytes);
	EXPECT_LT(info.text_bytes + info.rodata_bytes, info.image_bytes);
	EXPECT_LE(info.cpus_active * 4096, info.stack_bytes);
	EXPECT_LT(0, info.meta_bytes);
	EXPECT_LT(0, info.el2_table_bytes);
	EXPECT_LT(0, info.host_table_bytes);
	EXPECT_LT(0, info.pool_bytes);
	/* At most the page of EL2's report. */
	EXPECT_LE(info.shared_bytes, info.page_size);
}

TEST_F(device, info_counts_hypercalls)
{
	struct mvirt_info before = { .size = sizeof(before) };
	struct mvirt_info after = { .size = sizeof(after) };

	ASSERT_EQ(0, call(self->fd, MVIRT_GET_INFO, (unsigned long)&before));
	ASSERT_EQ(0, call(self->fd, MVIRT_GET_INFO, (unsigned long)&after));
	EXPECT_LT(before.trap_hypercall, after.trap_hypercall);
	EXPECT_EQ(before.abi_hash, after.abi_hash);
}

TEST_F(device, info_negotiates_its_size)
{
	struct mvirt_info small = { .size = MVIRT_INFO_SIZE_VER1 - 1 };
	struct mvirt_info flags = { .size = sizeof(flags), .flags = 1 };
	size_t page = sysconf(_SC_PAGESIZE);
	unsigned char *large = malloc(page + 1);
	size_t i;

	ASSERT_NE(NULL, large);
	EXPECT_EQ(-EINVAL, call(self->fd, MVIRT_GET_INFO, (unsigned long)&small));
	EXPECT_EQ(-EINVAL, call(self->fd, MVIRT_GET_INFO, (unsigned long)&flags));

	memset(large, 0xff, page + 1);
	((struct mvirt_info *)large)->size = page;
	((struct mvirt_info *)large)->flags = 0;
	ASSERT_EQ(0, call(self->fd, MVIRT_GET_INFO, (unsigned long)large));
	EXPECT_EQ(sizeof(struct mvirt_info), ((struct mvirt_info *)large)->size);
	for (i = sizeof(struct mvirt_info); i < page; i++)
		ASSERT_EQ(0, large[i]);
	EXPECT_EQ(0xff, large[page]);

	((struct mvirt_info *)large)->size = page + 1;
	EXPECT_EQ(-E2BIG, call(self->fd, MVIRT_GET_INFO, (unsigned long)large));
	free(large);
}

TEST_F(device, bad_pointers_are_efault)
{
	size_t page = sysconf(_SC_PAGESIZE);
	struct mvirt_info *info;

	EXPECT_EQ(-EFAULT, call(self->fd, MVIRT_GET_INFO, 0));
	EXPECT_EQ(-EFAULT, call(self->fd, MVIRT_GET_INFO, 0xffff000000000000UL));

	info = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, info);
	info->size = sizeof(*info);
	ASSERT_EQ(0, mprotect(info, page, PROT_READ));
	EXPECT_EQ(-EFAULT, call(self->fd, MVIRT_GET_INFO, (unsigned long)info));
	munmap(info, page);
}

TEST_F(device, cpus_are_all_under_el2)
{
	int hostile = hostile_open();
	int cpu;

	ASSERT_LE(0, hostile);
	for (cpu = 0; cpu < cpus_possible(); cpu++) {
		if (!cpu_is_online(cpu))
			continue;
		ASSERT_EQ(0, pin_to_cpu(cpu));
		EXPECT_TRUE(el2_answers(hostile)) {
			TH_LOG("CPU %d is not under EL2", cpu);
		}
	}
	EXPECT_EQ(cpus_online(), el2_stat(hostile, EL2_STAT_CPUS_ACTIVE));
	close(hostile);
}

TEST(mode_is_0600)
{
	struct stat st;

	ASSERT_EQ(0, stat(DEVICE, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0600, st.st_mode & 07777);
	EXPECT_EQ(0, st.st_uid);
	/* A misc device. */
	EXPECT_EQ(10, major(st.st_rdev));
}

TEST(others_may_not_open)
{
	ASSERT_EQ(0, setgid(65534));
	ASSERT_EQ(0, setuid(65534));
	EXPECT_EQ(-1, open(DEVICE, O_RDWR));
	EXPECT_EQ(EACCES, errno);
}

/* Built in, mvirt has no entry in the list of modules, only its parameters. */
static bool is_built_in(void)
{
	return access("/sys/module/mvirt/initstate", F_OK) != 0;
}

TEST(a_second_insmod_is_refused)
{
	/* Built in, its parameters have the name in sysfs, and the kernel takes no second of that name. */
	EXPECT_EQ(is_built_in() ? -EINVAL : -EEXIST, load_module("mvirt", ""));
}

TEST(rmmod_is_refused)
{
	int error = unload_module("mvirt");

	if (is_built_in()) {
		EXPECT_EQ(-ENOENT, error);
	} else {
		EXPECT_TRUE(error == -EBUSY || error == -EWOULDBLOCK);
	}
	EXPECT_EQ(0, access(DEVICE, F_OK));
}

TEST_HARNESS_MAIN
