// SPDX-License-Identifier: GPL-2.0
/*
 * mvirt: the files of a VM, a vCPU and a GIC. Each owns what it was made with and
 * holds the module; what they do is Rust's. See vm.h.
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "vm.h"

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return mvirt_rs_vm_ioctl(file->private_data, cmd, arg);
}

static int vm_release(struct inode *inode, struct file *file)
{
	mvirt_rs_vm_release(file->private_data);
	return 0;
}

static long vgic_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return mvirt_rs_vgic_ioctl(file->private_data, cmd, arg);
}

static int vgic_release(struct inode *inode, struct file *file)
{
	mvirt_rs_vgic_release(file->private_data);
	return 0;
}

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return mvirt_rs_vcpu_ioctl(file->private_data, cmd, arg);
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	mvirt_rs_vcpu_release(file->private_data);
	return 0;
}

static vm_fault_t vcpu_fault(struct vm_fault *vmf)
{
	struct page *page = mvirt_rs_vcpu_page(vmf->vma->vm_file->private_data);

	if (vmf->pgoff)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct vcpu_vm_ops = {
	.fault = vcpu_fault,
};

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &vcpu_vm_ops;
	return 0;
}

static const struct file_operations files[] = {
	[MVIRT_FILE_VM] = {
		.owner = THIS_MODULE,
		.release = vm_release,
		.unlocked_ioctl = vm_ioctl,
		.llseek = noop_llseek,
	},
	[MVIRT_FILE_VCPU] = {
		.owner = THIS_MODULE,
		.release = vcpu_release,
		.unlocked_ioctl = vcpu_ioctl,
		.mmap = vcpu_mmap,
		.llseek = noop_llseek,
	},
	[MVIRT_FILE_VGIC] = {
		.owner = THIS_MODULE,
		.release = vgic_release,
		.unlocked_ioctl = vgic_ioctl,
		.llseek = noop_llseek,
	},
};

static const char *const names[] = {
	[MVIRT_FILE_VM] = "mvirt-vm",
	[MVIRT_FILE_VCPU] = "mvirt-vcpu",
	[MVIRT_FILE_VGIC] = "mvirt-vgic",
};

struct file *mvirt_new_file(enum mvirt_file kind, void *private)
{
	return anon_inode_getfile(names[kind], &files[kind], private, O_RDWR);
}

void mvirt_rwsem_init(struct mvirt_rwsem *s)
{
	init_rwsem(&s->sem);
}

void mvirt_rwsem_read(struct mvirt_rwsem *s)
{
	down_read(&s->sem);
}

void mvirt_rwsem_read_end(struct mvirt_rwsem *s)
{
	up_read(&s->sem);
}

void mvirt_rwsem_write(struct mvirt_rwsem *s)
{
	down_write(&s->sem);
}

void mvirt_rwsem_write_end(struct mvirt_rwsem *s)
{
	up_write(&s->sem);
}
