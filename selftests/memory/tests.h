/* SPDX-License-Identifier: GPL-2.0 */
/* NAME, vCPUs, flags. Each is a function of the payload and a test of the program, on each backing. */
#define MEMORY_TESTS(X)						\
	X(fresh_memory_is_zero_and_kept, 1, 0)			\
	X(vmm_content_is_there, 1, 0)				\
	X(vmm_content_is_there_without_mmu, 1, GUEST_MMU_OFF)	\
	X(writes_with_the_mmu_off_are_seen_with_it_on, 1, GUEST_MMU_OFF)	\
	X(writes_and_the_vmm, 1, 0)				\
	X(memory_that_the_vmm_discards, 1, 0)			\
	X(code_on_fresh_pages, 1, 0)				\
	X(unaligned_accesses_over_fresh_pages, 1, 0)		\
	X(exclusives_on_fresh_pages, 1, 0)			\
	X(first_touch_by_four_cpus, 4, 0)			\
	X(holes_are_mmio, 1, 0)					\
	X(holes_of_four_cpus, 4, 0)				\
	X(holes_without_mmu, 1, GUEST_MMU_OFF)			\
	X(fetch_from_a_hole, 1, 0)				\
	X(slot_removed_while_running, 1, 0)			\
	X(slot_added_while_running, 1, 0)			\
	X(read_only_slot, 1, 0)					\
	X(meminfo, 1, 0)					\
	X(share_and_unshare, 1, 0)				\
	X(share_refused, 1, 0)					\
	X(relinquish, 1, 0)					\
	X(relinquish_in_many_blocks, 1, 0)			\
	X(mmio_guard, 1, 0)

/* Memory behind GUEST_EXTRA_BASE, of the backing under test. */
#define EXTRA_SIZE	(8UL << 20)
/* A slot that the VMM makes and unmakes. */
#define OTHER_BASE	0x90000000
#define OTHER_SIZE	(1UL << 20)
/* A read-only one, where a VM may have such. */
#define READ_ONLY_BASE	0xa0000000
#define READ_ONLY_SIZE	(64UL << 10)

/* One of many blocks. */
#define BLOCKS_BASE	0xb0000000
#define BLOCKS_SIZE	(96UL << 20)
#define BLOCK_SIZE	(2UL << 20)

/* Requests of this test; their argument is an address of the guest. */
#define REQUEST_PEEK	(REQUEST_OWN + 0)	/* 8 bytes as the VMM reads them; PEEK_REFUSED at SIGBUS */
#define REQUEST_POKE	(REQUEST_OWN + 1)	/* writes the address, inverted; 0, or PEEK_REFUSED */
#define REQUEST_CODE	(REQUEST_OWN + 2)	/* writes the instruction RET */
#define REQUEST_DISCARD	(REQUEST_OWN + 3)	/* MADV_DONTNEED of the page */
#define REQUEST_REMOVE	(REQUEST_OWN + 4)	/* removes the slot at OTHER_BASE; 0 or -errno */
#define REQUEST_ADD	(REQUEST_OWN + 5)	/* makes it; 0 or -errno */
#define REQUEST_BACKING	(REQUEST_OWN + 6)	/* whether what was discarded is kept by its file */
#define REQUEST_MMIO	(REQUEST_OWN + 7)	/* the last MMIO access: len << 32 | is_write << 31 | offset */
#define REQUEST_MMIO_DATA	(REQUEST_OWN + 8)	/* what it wrote */
#define REQUEST_MMIOS	(REQUEST_OWN + 9)	/* how many there were */
#define REQUEST_HUGE	(REQUEST_OWN + 10)	/* makes BLOCKS_BASE huge pages; how many, 0 where none are meant, or -errno */
#define REQUEST_EL2_BYTES	(REQUEST_OWN + 11)	/* what EL2 has of the host for itself */
#define PEEK_REFUSED	0xdeaddeaddeaddeadUL
/* What a read of a hole gives, by its offset. */
#define HOLE_VALUE(offset)	(0xf1e2d3c4b5a69788UL + (offset))
