/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel as virtual machines need it, under names that bindgen can see: what
 * is only a macro, an inline function or different in 6.18 and 7.3. No policy.
 *
 * The mvirt_rs_* functions are Rust's and called from here.
 */
#ifndef _MVIRT_VM_H
#define _MVIRT_VM_H

#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rcuwait.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <asm/fpsimd.h>

struct eventfd_ctx;
struct file;
struct mm_struct;
struct page;
struct task_struct;

/* Files (glue_files.c) ------------------------------------------------------ */

enum mvirt_file { MVIRT_FILE_VM, MVIRT_FILE_VCPU, MVIRT_FILE_VGIC };

/* A file of its kind that owns @private; an ERR_PTR leaves it with the caller. */
struct file *mvirt_new_file(enum mvirt_file kind, void *private);

long mvirt_rs_vm_ioctl(void *vm, unsigned int cmd, unsigned long arg);
long mvirt_rs_vcpu_ioctl(void *vcpu, unsigned int cmd, unsigned long arg);
long mvirt_rs_vgic_ioctl(void *vm, unsigned int cmd, unsigned long arg);
/* The last reference to a file is gone. VM and GIC files own the same thing. */
void mvirt_rs_vm_release(void *vm);
void mvirt_rs_vgic_release(void *vm);
void mvirt_rs_vcpu_release(void *vcpu);
/* The page that a vCPU shares with user space. */
struct page *mvirt_rs_vcpu_page(void *vcpu);

/* Reader-writer semaphore, for Rust ----------------------------------------- */

struct mvirt_rwsem {
	struct rw_semaphore sem;
};

void mvirt_rwsem_init(struct mvirt_rwsem *s);
void mvirt_rwsem_read(struct mvirt_rwsem *s);
void mvirt_rwsem_read_end(struct mvirt_rwsem *s);
void mvirt_rwsem_write(struct mvirt_rwsem *s);
void mvirt_rwsem_write_end(struct mvirt_rwsem *s);

/* Threads that run vCPUs (glue_thread.c) ------------------------------------ */

/*
 * Who runs a vCPU and how it is made to come out. @mutex serialises the ioctls of
 * the vCPU; @task is who is in KVM_RUN, read under RCU; @kicked is set before the
 * waiter is woken or the CPU interrupted, and cleared on the way into the guest.
 */
struct mvirt_thread {
	struct mutex mutex;
	struct rcuwait wait;
	struct task_struct __rcu *task;
	bool kicked;
};

/* What a run of the guest leaves of the host: for one CPU, until its exit. */
struct mvirt_entry {
	struct user_fpsimd_state fp;
	unsigned long daif;
};

/* What a thread has to do before it enters a guest. */
#define MVIRT_WORK_SIGNAL	1
#define MVIRT_WORK_RESUME	2
#define MVIRT_WORK_RESCHED	4

void mvirt_thread_init(struct mvirt_thread *t);
/* 0, or -EINTR if the caller was killed meanwhile. */
int mvirt_thread_lock(struct mvirt_thread *t);
void mvirt_thread_unlock(struct mvirt_thread *t);
void mvirt_thread_begin(struct mvirt_thread *t);
void mvirt_thread_end(struct mvirt_thread *t);
/* From any context. */
void mvirt_thread_kick(struct mvirt_thread *t);
/* Sleeps until a kick, a signal or @ns nanoseconds from now (U64_MAX: no limit). */
void mvirt_thread_wait(struct mvirt_thread *t, u64 ns);
/* Gives the CPU to that thread, if it wants one. */
bool mvirt_thread_yield_to(struct mvirt_thread *t);
unsigned int mvirt_thread_work(void);
void mvirt_thread_schedule(void);
/* A good place to let others run, holding no spin lock. */
void mvirt_relax(void);
/* The value with which the ioctl is done again, unseen by its caller. */
long mvirt_thread_restart(void);

/*
 * Interrupts masked (those that preempt by priority too: the GIC's priority mask
 * is open, so that any of them ends the guest's run), no preemption, the FP
 * registers free. False if there is work to do first: then nothing was done.
 */
bool mvirt_guest_enter(struct mvirt_thread *t, struct mvirt_entry *entry);
void mvirt_guest_exit(struct mvirt_entry *entry);

/* Eventfds (glue_eventfd.c) ------------------------------------------------- */

/* A counted reference, or an ERR_PTR: -EBADF, or -EINVAL for another file. */
struct eventfd_ctx *mvirt_eventfd_get(int fd);
void mvirt_eventfd_put(struct eventfd_ctx *eventfd);
/* From any context. */
void mvirt_eventfd_signal(struct eventfd_ctx *eventfd);

/* What lets go of eventfds whose files were closed, in a thread of the kernel's. */
struct mvirt_sweeper {
	struct work_struct work;
};

/* An eventfd that calls mvirt_rs_irqfd_event() for each signal, and reads it. */
struct mvirt_irqfd {
	wait_queue_entry_t wait;
	struct eventfd_ctx *eventfd;
	void *owner;
	struct mvirt_sweeper *sweeper;
};

/*
 * 0; -EBADF, or -EINVAL for what is no eventfd; -EBUSY for one that is attached already, wherever.
 * May sleep. What it was signalled before counts as a signal.
 */
int mvirt_irqfd_attach(struct mvirt_irqfd *irqfd, int fd, void *owner,
		       struct mvirt_sweeper *sweeper);
bool mvirt_irqfd_is(const struct mvirt_irqfd *irqfd, const struct eventfd_ctx *eventfd);
/* No call comes any more. May sleep. Does nothing if it is not attached. */
void mvirt_irqfd_detach(struct mvirt_irqfd *irqfd);
/* In any context, under the lock of the eventfd's wait queue: nothing that sleeps, or signals it. */
void mvirt_rs_irqfd_event(void *owner);
/* As that. The sweeper runs after it. */
void mvirt_rs_irqfd_closed(void *owner);

void mvirt_sweeper_init(struct mvirt_sweeper *sweeper);
/* It neither runs nor will. May sleep. */
void mvirt_sweeper_stop(struct mvirt_sweeper *sweeper);
/* May sleep. */
void mvirt_rs_irqfds_sweep(struct mvirt_sweeper *sweeper);

/* Memory (glue_pages.c) ----------------------------------------------------- */

struct mm_struct *mvirt_mm_grab(void);
void mvirt_mm_drop(struct mm_struct *mm);
bool mvirt_mm_is_current(struct mm_struct *mm);
/* RLIMIT_MEMLOCK: -ENOMEM if @pages more are too many. */
int mvirt_mm_account(struct mm_struct *mm, u64 pages, bool inc);
/* A line in the log, now and then, that names this limit of the caller's. */
void mvirt_mm_tell_limit(struct mm_struct *mm);
bool mvirt_access_ok(u64 addr, u64 size);

/* 2^@order pages that are freed one by one; their first PFN, or 0. */
u64 mvirt_pages_take(unsigned int order);
void mvirt_page_free(u64 pfn);
/* A zeroed page to share with user space. */
struct page *mvirt_page_new(void);
void *mvirt_page_address(struct page *page);
void mvirt_page_put(struct page *page);

/* As pin_user_pages_fast() for good, get_user_pages_fast(). */
int mvirt_pin(u64 addr, int nr, bool write, struct page **pages);
int mvirt_get(u64 addr, int nr, bool write, struct page **pages);
/* For writing, if that is possible without a fault. */
bool mvirt_get_writable_now(u64 addr, struct page **page);
u64 mvirt_page_pfn(struct page *page);
unsigned int mvirt_page_order(struct page *page);
/* Contiguous pages. */
void mvirt_unpin(u64 pfn, u64 nr, bool dirty);
void mvirt_put(struct page **pages, int nr, bool dirty);

/*
 * Follows a range of the address space. @owner is what mvirt_rs_invalidate() gets,
 * which has to set @seq by mvirt_notifier_set_seq() under the lock that users of
 * mvirt_notifier_retry() hold.
 */
struct mvirt_notifier {
#ifdef CONFIG_MMU_NOTIFIER
	struct mmu_interval_notifier mni;
#endif
	void *owner;
};

bool mvirt_has_notifiers(void);
/* Before the first insertion of a process; EINTR if a signal is pending. */
int mvirt_notifiers_begin(struct mm_struct *mm);
int mvirt_notifier_insert(struct mvirt_notifier *n, void *owner,
			  struct mm_struct *mm, u64 start, u64 size);
void mvirt_notifier_remove(struct mvirt_notifier *n);
unsigned long mvirt_notifier_begin(struct mvirt_notifier *n);
bool mvirt_notifier_retry(struct mvirt_notifier *n, unsigned long seq);
void mvirt_notifier_set_seq(struct mvirt_notifier *n, unsigned long seq);
/* User addresses from @start up to @end lose their pages. Sleeps only if @may_sleep. */
void mvirt_rs_invalidate(void *owner, u64 start, u64 end, unsigned long seq, bool may_sleep);

/* The machine (glue_irq.c) -------------------------------------------------- */

/* The kernel's number of a device-tree node's interrupt, or 0. */
unsigned int mvirt_of_irq(const char *compatible, int index);
/* A per-CPU interrupt whose handler has nothing to do. */
int mvirt_ppi_request(unsigned int irq, const char *name);
void mvirt_ppi_free(unsigned int irq);
void mvirt_ppi_enable(unsigned int irq);
void mvirt_ppi_disable(unsigned int irq);
/* Calls mvirt_rs_cpu_up() on each CPU that is or comes online; a state, or an errno. */
int mvirt_cpuhp_add(void);
void mvirt_cpuhp_remove(int state);
void mvirt_rs_cpu_up(void);
void mvirt_rs_cpu_down(void);
/* A CPU of this kind has System registers of a GICv3: the sanitised ID registers. */
bool mvirt_has_gicv3(void);
/* ID_AA64MMFR0_EL1.PARange of the least able CPU. */
unsigned int mvirt_pa_range(void);

#endif
