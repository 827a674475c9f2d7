// SPDX-License-Identifier: GPL-2.0
/*
 * mvirt: /dev/mvirt, and what the kernel tells before another kernel or an old
 * image of this one gets the machine. See handover.h.
 */
#include <linux/compat.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <linux/suspend.h>
#include <linux/syscore_ops.h>
#include <linux/version.h>

#include "handover.h"

static int device_open(struct inode *inode, struct file *file)
{
	return mvirt_rs_device_open();
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return mvirt_rs_device_ioctl(cmd, arg);
}

/* The owner is what keeps the module while a file is opened, open or closed. */
static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mvirt",
	.mode = 0600,
	.fops = &device_fops,
};

int mvirt_device_add(void)
{
	return misc_register(&device);
}

void mvirt_device_remove(void)
{
	misc_deregister(&device);
}

void mvirt_wait_for_openers(void)
{
#if defined(MODULE) && defined(CONFIG_MODULE_UNLOAD)
	/* One reference is the loader's. */
	while (module_refcount(THIS_MODULE) > 1)
		msleep(1);
#endif
}

static int pm_event(struct notifier_block *nb, unsigned long event, void *data)
{
	switch (event) {
	case PM_HIBERNATION_PREPARE:
		return notifier_from_errno(mvirt_rs_hibernate());
	case PM_RESTORE_PREPARE:
		return notifier_from_errno(mvirt_rs_restore());
	default:
		return NOTIFY_DONE;
	}
}

static struct notifier_block pm_notifier = {
	.notifier_call = pm_event,
};

static int reboot_event(struct notifier_block *nb, unsigned long event, void *cmd)
{
	/* kernel_kexec() alone calls itself so, but for who restarts by that word, which ends the same. */
	if (event == SYS_RESTART && cmd && !strcmp(cmd, "kexec reboot"))
		mvirt_rs_kexec();
	return NOTIFY_DONE;
}

/* Last: what other notifiers stop may hold a virtual machine. */
static struct notifier_block reboot_notifier = {
	.notifier_call = reboot_event,
	.priority = INT_MIN,
};

/* Behind device_shutdown(), before the other CPUs go. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
static void shut_down(void *data)
{
	mvirt_rs_shutdown();
}

static const struct syscore_ops syscore_ops = {
	.shutdown = shut_down,
};

static struct syscore syscore = {
	.ops = &syscore_ops,
};

#define syscore_add()		register_syscore(&syscore)
#define syscore_remove()	unregister_syscore(&syscore)
#else
static void shut_down(void)
{
	mvirt_rs_shutdown();
}

static struct syscore_ops syscore_ops = {
	.shutdown = shut_down,
};

#define syscore_add()		register_syscore_ops(&syscore_ops)
#define syscore_remove()	unregister_syscore_ops(&syscore_ops)
#endif

int mvirt_handover_add(void)
{
	int ret = register_reboot_notifier(&reboot_notifier);

	if (ret)
		return ret;
	ret = register_pm_notifier(&pm_notifier);
	if (ret) {
		unregister_reboot_notifier(&reboot_notifier);
		return ret;
	}
	syscore_add();
	return 0;
}

void mvirt_handover_remove(void)
{
	syscore_remove();
	unregister_pm_notifier(&pm_notifier);
	unregister_reboot_notifier(&reboot_notifier);
}

/*
 * A console may be printed to by a thread (CON_NBCON, as the PL011's). It is stopped, and what it has not
 * printed is, by a syscore operation of printk's, which comes behind shut_down(): the last come first. No
 * module can ask if a console has all. So the thread gets time, or the machine restarts without a word.
 * Interrupts are on here, and printk's own operation sleeps too.
 */
#define PRINTING_MS	1000

void mvirt_restart(void)
{
	msleep(PRINTING_MS);
	emergency_restart();
}
