/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/hostile: what a host kernel can do to EL2, offered to the tests. The module that serves it,
 * selftests/modules/hostile.c, is for test machines alone.
 */
#ifndef MVIRT_HOSTILE_H
#define MVIRT_HOSTILE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Executes HVC or SMC with x0 to x17 from @x and puts what comes back there. @immediate is the
 * instruction's own, 0 or 1.
 */
struct hostile_call {
	__u64 x[18];
	__u32 immediate;
	__u32 reserved;
};

/* How the kernel reaches a page. */
enum hostile_way {
	HOSTILE_LINEAR,		/* the linear map, by the copy functions that survive a fault */
	HOSTILE_VMAP,		/* a new mapping, Normal write-back */
	HOSTILE_VMAP_WC,	/* a new mapping, Normal Non-cacheable */
	HOSTILE_VMAP_DEVICE,	/* a new mapping, Device-nGnRE */
	HOSTILE_WAYS,
};

/*
 * Reads or, if @write, writes the 8 bytes at @offset of page @pfn; @offset is a multiple of 8.
 * @error is 0 or what the access gave: -EFAULT if it faulted, -ENOMEM without a mapping.
 */
struct hostile_access {
	__u64 pfn;
	__u64 value;
	__u32 offset;
	__u32 way;
	__u32 write;
	__s32 error;
};

/*
 * Reads page @pfn by the linear map to @buffer, which has room for a page. @error is 0, or -EFAULT if
 * a part could not be read: then nothing is in the buffer.
 */
struct hostile_page {
	__u64 pfn;
	__u64 buffer;
	__s32 error;
	__u32 reserved;
};

/* What the kernel does to a page by the linear map, with no fixup but the one of HOSTILE_ZEROPAD. */
enum hostile_touch_kind {
	HOSTILE_SCAN,		/* loads all of it, word by word, as scanners of memory do */
	HOSTILE_COPY,		/* copy_page() */
	HOSTILE_CLEAR,		/* clear_page(): DC ZVA where the CPU has it */
	HOSTILE_POISON,		/* memset() */
	HOSTILE_CLEAN,		/* DC CIVAC of each line */
	HOSTILE_ATOMIC,		/* adds 1 to each word, atomically */
	HOSTILE_ZEROPAD,	/* load_unaligned_zeropad() of its first 4 bytes and the 4 before */
	HOSTILE_KINDS,
};

/*
 * Does @kind to page @pfn. What it read is at @buffer, which has room for a page; of HOSTILE_ZEROPAD it is
 * 8 bytes, the page's own first 4 and 4 zeros. @address is that of the page in the linear map.
 */
struct hostile_touch {
	__u64 pfn;
	__u64 buffer;
	__u64 address;
	__u32 kind;
	__u32 reserved;
};

/*
 * Takes memory, which stays with the open file until it is closed; a page that is not the host's
 * by then is left alone and reported by a WARN. @count is how many blocks or pages were taken.
 *
 * HOSTILE_TAKE takes @pages blocks of 2^@order pages; @pfn is the first page of the last.
 * HOSTILE_BREAK takes single pages all over, so that no free block of 2^@order pages is left.
 */
struct hostile_take {
	__u64 pfn;
	__u32 order;
	__u32 pages;
	__u64 count;
};

#define HOSTILE_HVC	_IOWR('h', 0, struct hostile_call)
#define HOSTILE_SMC	_IOWR('h', 1, struct hostile_call)
#define HOSTILE_ACCESS	_IOWR('h', 2, struct hostile_access)
#define HOSTILE_TAKE	_IOWR('h', 3, struct hostile_take)
#define HOSTILE_BREAK	_IOWR('h', 4, struct hostile_take)
#define HOSTILE_READ_PAGE	_IOWR('h', 5, struct hostile_page)
#define HOSTILE_TOUCH	_IOWR('h', 6, struct hostile_touch)

/*
 * mmap maps physical memory, whoever owns it: the offset is the physical address, in the low 48
 * bits, with the attributes that the bits above choose.
 */
#define HOSTILE_MAP_WC	(1ULL << 56)

#endif /* MVIRT_HOSTILE_H */
