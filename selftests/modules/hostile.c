// SPDX-License-Identifier: GPL-2.0
/*
 * A host that has turned against EL2: gives the selftests the means of a kernel (HVC and SMC with
 * any registers, any physical page through any mapping, memory hogging). It checks as little as
 * keeps the test machine alive, since what it does wrong on purpose is for EL2 to stop.
 */

#define pr_fmt(fmt) "hostile: " fmt

#include <linux/fs.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/word-at-a-time.h>

#include "el2_abi.h"
#include "hostile.h"

/* The memory that an open file holds; each block is linked through its first page's lru. */
struct holdings {
	struct mutex lock;
	struct list_head blocks;
};

/* x0 to x17 are what the SMC calling convention lets a callee change: all go in, all come out. */
#define CONDUIT(insn, regs)						\
	do {								\
		register u64 *p asm("x19") = (regs);			\
									\
		asm volatile("ldp x0, x1, [x19]\n\t"			\
			     "ldp x2, x3, [x19, #16]\n\t"		\
			     "ldp x4, x5, [x19, #32]\n\t"		\
			     "ldp x6, x7, [x19, #48]\n\t"		\
			     "ldp x8, x9, [x19, #64]\n\t"		\
			     "ldp x10, x11, [x19, #80]\n\t"		\
			     "ldp x12, x13, [x19, #96]\n\t"		\
			     "ldp x14, x15, [x19, #112]\n\t"		\
			     "ldp x16, x17, [x19, #128]\n\t"		\
			     insn "\n\t"				\
			     "stp x0, x1, [x19]\n\t"			\
			     "stp x2, x3, [x19, #16]\n\t"		\
			     "stp x4, x5, [x19, #32]\n\t"		\
			     "stp x6, x7, [x19, #48]\n\t"		\
			     "stp x8, x9, [x19, #64]\n\t"		\
			     "stp x10, x11, [x19, #80]\n\t"		\
			     "stp x12, x13, [x19, #96]\n\t"		\
			     "stp x14, x15, [x19, #112]\n\t"		\
			     "stp x16, x17, [x19, #128]"		\
			     : : "r"(p)					\
			     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", \
			       "x8", "x9", "x10", "x11", "x12", "x13", "x14",	\
			       "x15", "x16", "x17", "cc", "memory");	\
	} while (0)

static long do_call(unsigned int cmd, struct hostile_call __user *user)
{
	struct hostile_call call;

	if (copy_from_user(&call, user, sizeof(call)))
		return -EFAULT;
	if (call.immediate > 1)
		return -EINVAL;

	if (cmd == HOSTILE_HVC && call.immediate)
		CONDUIT("hvc #1", call.x);
	else if (cmd == HOSTILE_HVC)
		CONDUIT("hvc #0", call.x);
	else if (call.immediate)
		CONDUIT("smc #1", call.x);
	else
		CONDUIT("smc #0", call.x);

	return copy_to_user(user, &call, sizeof(call)) ? -EFAULT : 0;
}

static pgprot_t way_to_prot(u32 way)
{
	switch (way) {
	case HOSTILE_VMAP_WC:
		return pgprot_writecombine(PAGE_KERNEL);
	case HOSTILE_VMAP_DEVICE:
		return pgprot_device(PAGE_KERNEL);
	default:
		return PAGE_KERNEL;
	}
}

/* copy_to_kernel_nofault() is not exported; this is what it does to 8 bytes. */
static int access_nofault(void *at, u64 *value, bool write)
{
	int error = 0;

	pagefault_disable();
	if (write)
		__put_kernel_nofault(at, value, u64, fault);
	else
		__get_kernel_nofault(value, at, u64, fault);
	goto out;
fault:
	error = -EFAULT;
out:
	pagefault_enable();
	return error;
}

static long do_access(struct hostile_access __user *user)
{
	struct hostile_access access;
	struct page *page;
	void *base;

	if (copy_from_user(&access, user, sizeof(access)))
		return -EFAULT;
	if (access.way >= HOSTILE_WAYS || !pfn_valid(access.pfn) ||
	    access.offset > PAGE_SIZE - sizeof(u64) || access.offset % sizeof(u64))
		return -EINVAL;

	page = pfn_to_page(access.pfn);
	if (access.way == HOSTILE_LINEAR)
		base = page_address(page);
	else
		base = vmap(&page, 1, VM_MAP, way_to_prot(access.way));
	access.error = base ? access_nofault(base + access.offset, &access.value, access.write) :
			      -ENOMEM;
	if (base && access.way != HOSTILE_LINEAR)
		vunmap(base);

	return copy_to_user(user, &access, sizeof(access)) ? -EFAULT : 0;
}

/* The copy in between is wiped: who looks for a secret would find it there. */
static long do_read_page(struct hostile_page __user *user)
{
	struct hostile_page read;
	void *copy;

	if (copy_from_user(&read, user, sizeof(read)))
		return -EFAULT;
	if (!pfn_valid(read.pfn))
		return -EINVAL;

	copy = (void *)__get_free_page(GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	read.error = copy_from_kernel_nofault(copy, page_address(pfn_to_page(read.pfn)), PAGE_SIZE);
	if (!read.error && copy_to_user(u64_to_user_ptr(read.buffer), copy, PAGE_SIZE))
		read.error = -EFAULT;
	memzero_explicit(copy, PAGE_SIZE);
	free_page((unsigned long)copy);
	return copy_to_user(user, &read, sizeof(read)) ? -EFAULT : 0;
}

static void touch(u32 kind, void *page, void *copy)
{
	u64 *from = page, *to = copy;
	size_t i;

	switch (kind) {
	case HOSTILE_SCAN:
		for (i = 0; i < PAGE_SIZE / sizeof(u64); i++)
			to[i] = READ_ONCE(from[i]);
		break;
	case HOSTILE_COPY:
		copy_page(copy, page);
		break;
	case HOSTILE_CLEAR:
		clear_page(page);
		break;
	case HOSTILE_POISON:
		memset(page, 0xaa, PAGE_SIZE);
		break;
	case HOSTILE_CLEAN:
		for (i = 0; i < PAGE_SIZE; i += 16)
			asm volatile("dc civac, %0" : : "r"(page + i) : "memory");
		asm volatile("dsb sy" : : : "memory");
		break;
	case HOSTILE_ATOMIC:
		for (i = 0; i < PAGE_SIZE / sizeof(u64); i++)
			atomic64_add(1, (atomic64_t *)&from[i]);
		break;
	case HOSTILE_ZEROPAD:
		/* Little-endian: what was lower in memory goes. */
		to[0] = load_unaligned_zeropad(page - 4) >> 32;
		break;
	}
}

static long do_touch(struct hostile_touch __user *user)
{
	struct hostile_touch call;
	long error = 0;
	void *copy;

	if (copy_from_user(&call, user, sizeof(call)))
		return -EFAULT;
	if (!pfn_valid(call.pfn) || !call.pfn || !pfn_valid(call.pfn - 1) || call.kind >= HOSTILE_KINDS)
		return -EINVAL;
	copy = (void *)get_zeroed_page(GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	call.address = (unsigned long)page_address(pfn_to_page(call.pfn));
	touch(call.kind, (void *)call.address, copy);
	if (copy_to_user(u64_to_user_ptr(call.buffer), copy, PAGE_SIZE) || copy_to_user(user, &call, sizeof(call)))
		error = -EFAULT;
	memzero_explicit(copy, PAGE_SIZE);
	free_page((unsigned long)copy);
	return error;
}

/* Moves other pages to make a block, as the victim would, but kills no process for it. */
#define TAKE_GFP	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static void hold(struct holdings *holdings, struct page *page, unsigned int order)
{
	set_page_private(page, order);
	list_add(&page->lru, &holdings->blocks);
}

/* Keeps each page of a block whose number is a multiple of 2^@order; the others are free again. */
static u64 thin_out(struct holdings *holdings, struct page *page, unsigned int size,
		    unsigned int order)
{
	u64 kept = 0;
	int i;

	split_page(page, size);
	for (i = 0; i < 1 << size; i++) {
		if (i % (1 << order)) {
			__free_page(page + i);
		} else {
			hold(holdings, page + i, 0);
			kept++;
		}
	}
	return kept;
}

/*
 * The largest first: for them the allocator opens what it holds back from smaller requests. It
 * ends, because between kept pages there is no room for a block of that order.
 */
static int do_break(struct holdings *holdings, struct hostile_take *take)
{
	struct page *page;
	bool more;
	int size;

	/* What others free late, through RCU, makes blocks again: until there are none. */
	do {
		more = false;
		rcu_barrier();
		for (size = MAX_PAGE_ORDER; size >= (int)take->order; size--) {
			while ((page = alloc_pages(TAKE_GFP, size))) {
				more = true;
				take->count += thin_out(holdings, page, size, take->order);
				if (fatal_signal_pending(current))
					return -EINTR;
			}
		}
	} while (more);
	return 0;
}

static int do_take(struct holdings *holdings, struct hostile_take *take)
{
	struct page *page;

	for (; take->count < take->pages; take->count++) {
		page = alloc_pages(TAKE_GFP, take->order);
		if (!page)
			break;
		take->pfn = page_to_pfn(page);
		hold(holdings, page, take->order);
	}
	return 0;
}

static long do_hold(struct holdings *holdings, unsigned int cmd, struct hostile_take __user *user)
{
	struct hostile_take take;
	int error;

	if (copy_from_user(&take, user, sizeof(take)))
		return -EFAULT;
	if (take.order > MAX_PAGE_ORDER)
		return -EINVAL;

	take.count = 0;
	scoped_guard(mutex, &holdings->lock)
		error = cmd == HOSTILE_BREAK ? do_break(holdings, &take) : do_take(holdings, &take);
	if (error)
		return error;
	return copy_to_user(user, &take, sizeof(take)) ? -EFAULT : 0;
}

static bool is_hosts(struct page *page)
{
	u64 x[18] = { EL2_CALL_PAGE_STATE, page_to_pfn(page) };

	CONDUIT("hvc #0", x);
	/* Without mvirt the kernel's own stub answers, with a positive number. */
	return x[0] || (!x[1] && !x[2]);
}

static void give_back(struct page *page)
{
	int order = page_private(page);
	int i;

	for (i = 0; i < 1 << order; i++) {
		if (WARN(!is_hosts(page + i), "page %lx was not given back\n", page_to_pfn(page + i)))
			return;
	}
	set_page_private(page, 0);
	__free_pages(page, order);
}

static long hostile_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case HOSTILE_HVC:
	case HOSTILE_SMC:
		return do_call(cmd, (void __user *)arg);
	case HOSTILE_ACCESS:
		return do_access((void __user *)arg);
	case HOSTILE_READ_PAGE:
		return do_read_page((void __user *)arg);
	case HOSTILE_TOUCH:
		return do_touch((void __user *)arg);
	case HOSTILE_TAKE:
	case HOSTILE_BREAK:
		return do_hold(file->private_data, cmd, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static int hostile_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long wc = HOSTILE_MAP_WC >> PAGE_SHIFT;
	unsigned long pfn = vma->vm_pgoff & ~wc;

	if (vma->vm_pgoff & wc)
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
	return remap_pfn_range(vma, vma->vm_start, pfn, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static int hostile_open(struct inode *inode, struct file *file)
{
	struct holdings *holdings = kzalloc(sizeof(*holdings), GFP_KERNEL);

	if (!holdings)
		return -ENOMEM;
	mutex_init(&holdings->lock);
	INIT_LIST_HEAD(&holdings->blocks);
	file->private_data = holdings;
	return 0;
}

static int hostile_release(struct inode *inode, struct file *file)
{
	struct holdings *holdings = file->private_data;
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &holdings->blocks, lru) {
		list_del(&page->lru);
		give_back(page);
	}
	kfree(holdings);
	return 0;
}

static const struct file_operations hostile_fops = {
	.owner = THIS_MODULE,
	.open = hostile_open,
	.release = hostile_release,
	.unlocked_ioctl = hostile_ioctl,
	.mmap = hostile_mmap,
};

static struct miscdevice hostile_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.mode = 0600,
	.fops = &hostile_fops,
};

/* Another device's name keeps that device out. */
static char *device = "hostile";
module_param(device, charp, 0);

static int __init hostile_init(void)
{
	hostile_device.name = device;
	return misc_register(&hostile_device);
}
module_init(hostile_init);

static void __exit hostile_exit(void)
{
	misc_deregister(&hostile_device);
}
module_exit(hostile_exit);

MODULE_DESCRIPTION("mvirt selftests: a host that attacks EL2");
MODULE_LICENSE("GPL");
