// SPDX-License-Identifier: GPL-2.0
/*
 * mvirt: threads that run vCPUs. See vm.h.
 */
#include <linux/context_tracking.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/rcupdate.h>
#include <linux/rcuwait.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/version.h>
#include <linux/vtime.h>
#include <asm/daifflags.h>
#include <asm/neon.h>

#include "vm.h"

/* Long enough to cost nothing, and no overflow on the way to a ktime_t. */
#define LONGEST_NS	(3600ULL * NSEC_PER_SEC)

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define neon_begin(state)	kernel_neon_begin(state)
#define neon_end(state)		kernel_neon_end(state)
#else
#define neon_begin(state)	kernel_neon_begin()
#define neon_end(state)		kernel_neon_end()
#endif

void mvirt_thread_init(struct mvirt_thread *t)
{
	mutex_init(&t->mutex);
	rcuwait_init(&t->wait);
	RCU_INIT_POINTER(t->task, NULL);
	t->kicked = false;
}

int mvirt_thread_lock(struct mvirt_thread *t)
{
	return mutex_lock_killable(&t->mutex);
}

void mvirt_thread_unlock(struct mvirt_thread *t)
{
	mutex_unlock(&t->mutex);
}

void mvirt_thread_begin(struct mvirt_thread *t)
{
	rcu_assign_pointer(t->task, current);
}

void mvirt_thread_end(struct mvirt_thread *t)
{
	RCU_INIT_POINTER(t->task, NULL);
}

void mvirt_thread_kick(struct mvirt_thread *t)
{
	struct task_struct *task;

	/*
	 * What the vCPU shall see was written before, at EL2 too. Pairs with
	 * smp_store_mb() in mvirt_guest_enter(): either the guest is entered
	 * after that write, or the flag is still set when it comes out.
	 */
	smp_mb();
	WRITE_ONCE(t->kicked, true);
	/* Orders the flag before its look at the waiter. */
	rcuwait_wake_up(&t->wait);
	/*
	 * A thread that leaves the CPU or enters the guest later than this finds
	 * what was written; one that is in the guest now gets an interrupt.
	 */
	rcu_read_lock();
	task = rcu_dereference(t->task);
	if (task)
		kick_process(task);
	rcu_read_unlock();
}

void mvirt_thread_wait(struct mvirt_thread *t, u64 ns)
{
	ktime_t until, *expires = NULL;

	if (ns != U64_MAX) {
		until = ktime_add_ns(ktime_get(), min_t(u64, ns, LONGEST_NS));
		expires = &until;
	}
	prepare_to_rcuwait(&t->wait);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (READ_ONCE(t->kicked) || signal_pending(current))
			break;
		/* 0: the time has come. */
		if (!schedule_hrtimeout(expires, HRTIMER_MODE_ABS))
			break;
	}
	finish_rcuwait(&t->wait);
}

bool mvirt_thread_yield_to(struct mvirt_thread *t)
{
	struct task_struct *task;
	bool yielded;

	rcu_read_lock();
	task = rcu_dereference(t->task);
	if (task)
		task = tryget_task_struct(task);
	rcu_read_unlock();
	if (!task)
		return false;
	yielded = yield_to(task, true) > 0;
	put_task_struct(task);
	return yielded;
}

unsigned int mvirt_thread_work(void)
{
	unsigned long flags = read_thread_flags();
	unsigned int work = 0;

	if (flags & (_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL))
		work |= MVIRT_WORK_SIGNAL;
	if (flags & (_TIF_NOTIFY_RESUME | _TIF_PATCH_PENDING))
		work |= MVIRT_WORK_RESUME;
	if (flags & (_TIF_NEED_RESCHED | _TIF_NEED_RESCHED_LAZY))
		work |= MVIRT_WORK_RESCHED;
	return work;
}

void mvirt_thread_schedule(void)
{
	schedule();
}

void mvirt_relax(void)
{
	cond_resched();
}

long mvirt_thread_restart(void)
{
	/*
	 * Not restart_syscall(): a signal that comes until then and has a
	 * handler ends the call.
	 */
	set_tsk_thread_flag(current, TIF_SIGPENDING);
	return -ERESTARTNOHAND;
}

/*
 * To RCU a guest's run is what a program's is: nothing that RCU guards is held, and
 * it may last. Where the CPU's context is tracked, RCU does not watch from the end
 * of mvirt_guest_enter() to the start of mvirt_guest_exit(): neither is traced, and
 * between them is the hypercall alone. Elsewhere one note for each run will do.
 */
noinstr bool mvirt_guest_enter(struct mvirt_thread *t, struct mvirt_entry *entry)
{
	instrumentation_begin();
	neon_begin(&entry->fp);
	preempt_disable();
	entry->daif = local_daif_save();
	/* Pairs with smp_mb() in mvirt_thread_kick(). */
	smp_store_mb(t->kicked, false);
	if (mvirt_thread_work()) {
		local_daif_restore(entry->daif);
		preempt_enable();
		neon_end(&entry->fp);
		instrumentation_end();
		return false;
	}
	vtime_account_guest_enter();
	instrumentation_end();
	if (!context_tracking_guest_enter()) {
		instrumentation_begin();
		rcu_virt_note_context_switch();
		instrumentation_end();
	}
	return true;
}

noinstr void mvirt_guest_exit(struct mvirt_entry *entry)
{
	context_tracking_guest_exit();
	instrumentation_begin();
	/* The interrupt that ended the run is taken here: a tick is the guest's. */
	local_daif_restore(entry->daif);
	/* Or it need not be taken before they are masked again. */
	isb();
	local_irq_disable();
	vtime_account_guest_exit();
	local_irq_enable();
	preempt_enable();
	neon_end(&entry->fp);
	instrumentation_end();
}
