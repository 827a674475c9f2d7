// SPDX-License-Identifier: GPL-2.0
/*
 * mvirt: eventfds that raise interrupts, and eventfds that are signalled. See vm.h.
 */
#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "vm.h"

struct eventfd_ctx *mvirt_eventfd_get(int fd)
{
	return eventfd_ctx_fdget(fd);
}

void mvirt_eventfd_put(struct eventfd_ctx *eventfd)
{
	eventfd_ctx_put(eventfd);
}

void mvirt_eventfd_signal(struct eventfd_ctx *eventfd)
{
	eventfd_signal(eventfd);
}

/* Called with the lock of the eventfd's wait queue held, interrupts off. */
static int woken(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct mvirt_irqfd *irqfd = container_of(wait, struct mvirt_irqfd, wait);
	__poll_t events = key_to_poll(key);
	int taken = 0;
	u64 count;

	if (events & EPOLLIN) {
		eventfd_ctx_do_read(irqfd->eventfd, &count);
		mvirt_rs_irqfd_event(irqfd->owner);
		taken = 1;
	}
	if (events & EPOLLHUP) {
		/* The last file is gone. To let go of it takes this queue's lock. */
		mvirt_rs_irqfd_closed(irqfd->owner);
		schedule_work(&irqfd->sweeper->work);
	}
	return taken;
}

struct registration {
	poll_table table;
	struct mvirt_irqfd *irqfd;
	int error;
};

static void registers(struct file *file, wait_queue_head_t *queue, poll_table *table)
{
	struct registration *r = container_of(table, struct registration, table);

	/* First in the queue, and the only such one: nobody else sees what is for an interrupt. */
	init_waitqueue_func_entry(&r->irqfd->wait, woken);
	r->error = add_wait_queue_priority_exclusive(queue, &r->irqfd->wait);
}

int mvirt_irqfd_attach(struct mvirt_irqfd *irqfd, int fd, void *owner,
		       struct mvirt_sweeper *sweeper)
{
	struct registration r = { .irqfd = irqfd, .error = -EINVAL };
	struct file *file;
	__poll_t events;

	irqfd->eventfd = NULL;
	irqfd->owner = owner;
	irqfd->sweeper = sweeper;
	file = fget(fd);
	if (!file)
		return -EBADF;
	irqfd->eventfd = eventfd_ctx_fileget(file);
	if (IS_ERR(irqfd->eventfd)) {
		r.error = PTR_ERR(irqfd->eventfd);
		goto out;
	}
	init_poll_funcptr(&r.table, registers);
	events = vfs_poll(file, &r.table);
	if (r.error) {
		eventfd_ctx_put(irqfd->eventfd);
		goto out;
	}
	/* What was signalled before: it stays to be read, as with KVM. */
	if (events & EPOLLIN)
		mvirt_rs_irqfd_event(owner);
out:
	if (r.error)
		irqfd->eventfd = NULL;
	fput(file);
	return r.error;
}

bool mvirt_irqfd_is(const struct mvirt_irqfd *irqfd, const struct eventfd_ctx *eventfd)
{
	return irqfd->eventfd == eventfd;
}

void mvirt_irqfd_detach(struct mvirt_irqfd *irqfd)
{
	u64 count;

	if (!irqfd->eventfd)
		return;
	/* Waits for a callback, which holds the queue's lock. */
	eventfd_ctx_remove_wait_queue(irqfd->eventfd, &irqfd->wait, &count);
	eventfd_ctx_put(irqfd->eventfd);
	irqfd->eventfd = NULL;
}

static void sweep(struct work_struct *work)
{
	mvirt_rs_irqfds_sweep(container_of(work, struct mvirt_sweeper, work));
}

void mvirt_sweeper_init(struct mvirt_sweeper *sweeper)
{
	INIT_WORK(&sweeper->work, sweep);
}

void mvirt_sweeper_stop(struct mvirt_sweeper *sweeper)
{
	cancel_work_sync(&sweeper->work);
}
