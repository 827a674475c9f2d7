// SPDX-License-Identifier: GPL-2.0
/*
 * mvirt: pages of the kernel's and of user space. See vm.h.
 */
#define pr_fmt(fmt) "mvirt: " fmt

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include "vm.h"

struct mm_struct *mvirt_mm_grab(void)
{
	mmgrab(current->mm);
	return current->mm;
}

void mvirt_mm_drop(struct mm_struct *mm)
{
	mmdrop(mm);
}

bool mvirt_mm_is_current(struct mm_struct *mm)
{
	return current->mm == mm;
}

int mvirt_mm_account(struct mm_struct *mm, u64 pages, bool inc)
{
	return account_locked_vm(mm, pages, inc);
}

void mvirt_mm_tell_limit(struct mm_struct *mm)
{
	const unsigned int shift = PAGE_SHIFT - 10;

	pr_warn_ratelimited("%s[%d]: no more memory for a guest: RLIMIT_MEMLOCK is %lu KiB, and %lu KiB are locked: raise it (ulimit -l)\n",
			    current->comm, task_tgid_nr(current), rlimit(RLIMIT_MEMLOCK) >> 10,
			    READ_ONCE(mm->locked_vm) << shift);
}

bool mvirt_access_ok(u64 addr, u64 size)
{
	return addr == untagged_addr(addr) &&
	       access_ok((void __user *)(unsigned long)addr, size);
}

u64 mvirt_pages_take(unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_NOWARN, order);

	if (!page)
		return 0;
	split_page(page, order);
	return page_to_pfn(page);
}

void mvirt_page_free(u64 pfn)
{
	__free_page(pfn_to_page(pfn));
}

struct page *mvirt_page_new(void)
{
	return alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
}

void *mvirt_page_address(struct page *page)
{
	return page_address(page);
}

void mvirt_page_put(struct page *page)
{
	put_page(page);
}

/*
 * Memory that only processes use. Pages of a driver, such as a vCPU's own
 * shared area or a ring of io_uring, the kernel writes to as well: it does not
 * expect to lose them.
 */
static bool is_user_memory(struct page *page)
{
	struct folio *folio = page_folio(page);

	return folio_test_swapbacked(folio) || folio_test_hugetlb(folio);
}

int mvirt_pin(u64 addr, int nr, bool write, struct page **pages)
{
	int got = pin_user_pages_fast(addr, nr, FOLL_LONGTERM | (write ? FOLL_WRITE : 0), pages);
	int i;

	for (i = 0; i < got; i++) {
		if (!is_user_memory(pages[i])) {
			unpin_user_pages(pages, got);
			return -EFAULT;
		}
	}
	return got;
}

int mvirt_get(u64 addr, int nr, bool write, struct page **pages)
{
	return get_user_pages_fast(addr, nr, write ? FOLL_WRITE : 0, pages);
}

bool mvirt_get_writable_now(u64 addr, struct page **page)
{
	return get_user_pages_fast_only(addr, 1, FOLL_WRITE, page) == 1;
}

u64 mvirt_page_pfn(struct page *page)
{
	return page_to_pfn(page);
}

unsigned int mvirt_page_order(struct page *page)
{
	return folio_order(page_folio(page));
}

void mvirt_unpin(u64 pfn, u64 nr, bool dirty)
{
	unpin_user_page_range_dirty_lock(pfn_to_page(pfn), nr, dirty);
}

void mvirt_put(struct page **pages, int nr, bool dirty)
{
	int i;

	for (i = 0; i < nr; i++) {
		/*
		 * The entry of the host's table that it came by is writable and
		 * dirty; this only keeps reclaim from a needless fault. The page
		 * is not locked, so no more than the flag may be touched. That it
		 * is in use, get_user_pages_fast() has noted.
		 */
		if (dirty && !PageReserved(pages[i]))
			SetPageDirty(pages[i]);
		put_page(pages[i]);
	}
}

bool mvirt_has_notifiers(void)
{
	return IS_ENABLED(CONFIG_MMU_NOTIFIER);
}

#ifdef CONFIG_MMU_NOTIFIER
static bool invalidate(struct mmu_interval_notifier *mni,
		       const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mvirt_notifier *n = container_of(mni, struct mvirt_notifier, mni);

	/* What asks without sleeping is the OOM reaper. */
	mvirt_rs_invalidate(n->owner, range->start, range->end, seq,
			    mmu_notifier_range_blockable(range));
	return true;
}

static const struct mmu_interval_notifier_ops ops = {
	.invalidate = invalidate,
};

/* The first notifier of a process needs all its locks, and is given up for a signal: this is that one. */
int mvirt_notifiers_begin(struct mm_struct *mm)
{
	return mmu_notifier_register(NULL, mm);
}

int mvirt_notifier_insert(struct mvirt_notifier *n, void *owner,
			  struct mm_struct *mm, u64 start, u64 size)
{
	n->owner = owner;
	return mmu_interval_notifier_insert(&n->mni, mm, start, size, &ops);
}

void mvirt_notifier_remove(struct mvirt_notifier *n)
{
	mmu_interval_notifier_remove(&n->mni);
}

unsigned long mvirt_notifier_begin(struct mvirt_notifier *n)
{
	return mmu_interval_read_begin(&n->mni);
}

bool mvirt_notifier_retry(struct mvirt_notifier *n, unsigned long seq)
{
	return mmu_interval_read_retry(&n->mni, seq);
}

void mvirt_notifier_set_seq(struct mvirt_notifier *n, unsigned long seq)
{
	mmu_interval_set_seq(&n->mni, seq);
}
#else
/* Never called: without notifiers every guest's memory is pinned. */
int mvirt_notifiers_begin(struct mm_struct *mm)
{
	return -EOPNOTSUPP;
}

int mvirt_notifier_insert(struct mvirt_notifier *n, void *owner,
			  struct mm_struct *mm, u64 start, u64 size)
{
	return -EOPNOTSUPP;
}

void mvirt_notifier_remove(struct mvirt_notifier *n)
{
}

unsigned long mvirt_notifier_begin(struct mvirt_notifier *n)
{
	return 0;
}

bool mvirt_notifier_retry(struct mvirt_notifier *n, unsigned long seq)
{
	return false;
}

void mvirt_notifier_set_seq(struct mvirt_notifier *n, unsigned long seq)
{
}
#endif
