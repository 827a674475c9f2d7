// SPDX-License-Identifier: GPL-2.0
/*
 * What a process frees by free_pages_exact(), as mvirt does with all that EL2 lived in: how many blocks,
 * and how many of them are not all zeros. Write the process's number to the parameter pid.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>

static int pid;
module_param(pid, int, 0600);
static unsigned int blocks;
module_param(blocks, uint, 0400);
static unsigned long bytes;
module_param(bytes, ulong, 0400);
static unsigned int dirty;
module_param(dirty, uint, 0400);

static int __kprobes freeing(struct kprobe *p, struct pt_regs *regs)
{
	void *block = (void *)regs->regs[0];
	size_t size = regs->regs[1];

	if (current->tgid != pid)
		return 0;
	blocks++;
	bytes += size;
	if (memchr_inv(block, 0, size))
		dirty++;
	return 0;
}

static struct kprobe probe = {
	.symbol_name = "free_pages_exact",
	.pre_handler = freeing,
};

static int __init freed_init(void)
{
	return register_kprobe(&probe);
}
module_init(freed_init);

static void __exit freed_exit(void)
{
	unregister_kprobe(&probe);
}
module_exit(freed_exit);

MODULE_DESCRIPTION("mvirt selftests: what is given back");
MODULE_LICENSE("GPL");
