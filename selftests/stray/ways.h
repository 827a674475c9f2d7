/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Each way in which a host strays into the private memory of a protected guest that runs, and what comes
 * of it. The test fails where anything else comes of it; the table in Documentation/stray.rst is made of
 * this list (scripts/test/stray.sh). No C but macros here: that script compiles it for the build machine.
 *
 *	X(NAME, CONTROL, HOST, GUEST, PROCESS, "what is done")
 *
 * NAME is the function way_NAME() of ways/. The process gets one or more of what PROCESS lists, and
 * nothing else. Never what a guest or another process has written: no row has that.
 */
#ifndef MVIRT_STRAY_WAYS_H
#define MVIRT_STRAY_WAYS_H

/* What a process got; the text is that of the table. */
#define STRAY_OUTCOMES(X)						\
	X(OUT_SIGBUS, 0, "SIGBUS")					\
	X(OUT_ZEROS, 1, "zeros")					\
	X(OUT_OWN, 2, "what it wrote itself")				\
	X(OUT_PASSES, 3, "goes through")				\
	X(OUT_EFAULT, 4, "EFAULT")					\
	X(OUT_EAGAIN, 5, "EAGAIN")					\
	X(OUT_EBUSY, 6, "EBUSY")					\
	X(OUT_EPERM, 7, "EPERM")					\
	X(OUT_SIGSEGV, 8, "SIGSEGV")					\
	X(OUT_KILLED, 9, "killed by SIGBUS")				\
	X(OUT_SECRET, 10, "the guest's bytes")				\
	X(OUT_STRANGE, 11, "bytes of somebody else")			\
	X(OUT_BROKEN, 12, "the test is broken")				\
	X(OUT_HANGS, 13, "hangs")					\
	X(OUT_SKIPPED, 14, "not here")					\
	X(OUT_GONE, 15, "gone with the machine")

#define STRAY_OUTCOME(name, bit, text)	name = 1 << (bit),
enum outcome { STRAY_OUTCOMES(STRAY_OUTCOME) };

/* What became of the guest. */
#define STRAY_GUESTS(X)							\
	X(GUEST_UNKNOWN, "unknown")					\
	X(GUEST_WELL, "unharmed, runs on")				\
	X(GUEST_HARMED, "HARMED")					\
	X(GUEST_FAULTS, "unharmed; ends with EFAULT of KVM_RUN")	\
	X(GUEST_GONE, "gone with its VMM")				\
	X(GUEST_BROKEN, "ended")

#define STRAY_GUEST(name, text)	name,
enum guest_end { STRAY_GUESTS(STRAY_GUEST) };

/* What became of the host. That it had nothing to complain of in its log is checked with each row. */
#define STRAY_HOSTS(X)							\
	X(HOST_WELL, "goes on")						\
	X(HOST_PAGE, "goes on without the page")			\
	X(HOST_RESTARTS, "the machine restarts")

#define STRAY_HOST(name, text)	name,
enum host_end { STRAY_HOSTS(STRAY_HOST) };

/*
 * How it is known that the row could fail: the same beside a guest without protection. READS: there the
 * process gets the guest's bytes. HARMS: there the guest finds its memory changed. NONE: what is done has
 * no such effect there. The memory is anonymous, but for FILE: a memfd.
 */
#define NONE	0
#define READS	1
#define HARMS	2
#define FILE_	4
/* A gap that is known: what is listed is what must not be, and the test says so until it is mended. */
#define GAP	8
/* It ends the machine: in a boot of its own, whose test.toml says what it shows before. */
#define ENDS	16

/* EL0: the VMM's own accesses to its mapping of the guest's memory. */
#define STRAY_EL0(X)									\
	X(load, READS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "load")			\
	X(load_across, READS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "load across the end of a page of the VMM's own")	\
	X(load_simd, READS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "load of a SIMD register pair")	\
	X(load_sve, READS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "SVE load; first-fault load")	\
	X(load_sve_nofault, NONE, HOST_WELL, GUEST_WELL, OUT_ZEROS, "SVE non-fault load")	\
	X(store, HARMS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "store")			\
	X(store_across, HARMS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "store across the end of a page of the VMM's own")	\
	X(mops, HARMS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "memory copy and set instructions (FEAT_MOPS)")	\
	X(exclusive, HARMS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "exclusive loop (LDXR, STXR)")	\
	X(atomic, HARMS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "atomics (FEAT_LSE: LDADD, SWP, CAS, CASP)")	\
	X(cache_clean, NONE, HOST_WELL, GUEST_WELL, OUT_SIGBUS | OUT_PASSES, "DC CVAU, DC CVAC, DC CIVAC, IC IVAU")	\
	X(cache_zero, HARMS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "DC ZVA")		\
	X(prefetch, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "PRFM")			\
	X(fetch, NONE, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "branch to it, mapped executable")	\
	X(load_after_kernel, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS | OUT_SIGBUS, "load where the kernel has just strayed")	\
	X(uncaught, NONE, HOST_WELL, GUEST_GONE, OUT_KILLED, "load, SIGBUS left to its default")

/* Other processes, by the kernel. */
#define STRAY_PROC(X)									\
	X(proc_mem_read, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "/proc/PID/mem, read")	\
	X(proc_mem_write, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "/proc/PID/mem, write")	\
	X(process_vm_readv, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "process_vm_readv")	\
	X(process_vm_writev, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "process_vm_writev")	\
	X(peek, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "ptrace, PTRACE_PEEKDATA")	\
	X(poke, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "ptrace, PTRACE_POKEDATA")	\
	X(name_of_it, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "a string argument: prctl(PR_SET_NAME)")	\
	X(other_vm, NONE, HOST_WELL, GUEST_WELL, OUT_ZEROS, "process_vm_readv while another VM's VMM writes to its own guest so")	\
	X(both_sides, HARMS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "process_vm_readv from a page of the guest to two others, which are read then")	\
	X(crowd, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "process_vm_readv by 16 threads at a time")	\
	X(core_dump, READS, HOST_WELL, GUEST_GONE, OUT_ZEROS, "core dump of the VMM")

/* The guest's memory as the buffer of a file, pipe or socket, or as the file. */
#define STRAY_IO(X)									\
	X(write_file, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "write to a file of tmpfs")	\
	X(read_file, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "read from a file of tmpfs")	\
	X(write_pipe, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "write to a pipe")	\
	X(read_pipe, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "read from a pipe")	\
	X(vmsplice, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "vmsplice")		\
	X(vmsplice_gift, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "vmsplice with SPLICE_F_GIFT")	\
	X(socket_send, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "send to a UNIX socket")	\
	X(socket_recv, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "recv from a UNIX socket")	\
	X(tcp_send, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "send to a TCP socket")	\
	X(tcp_zerocopy, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "the same with MSG_ZEROCOPY")	\
	X(packet_send, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "AF_PACKET, sendto")	\
	X(packet_recv, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "AF_PACKET, recv")	\
	X(read_memfd, READS | FILE_, HOST_WELL, GUEST_WELL, OUT_ZEROS, "read of the memfd that backs the guest")	\
	X(write_memfd, HARMS | FILE_, HOST_WELL, GUEST_WELL, OUT_PASSES, "write to it")	\
	X(sendfile, READS | FILE_, HOST_WELL, GUEST_WELL, OUT_ZEROS, "sendfile from it to a UNIX socket")	\
	X(sendfile_tcp, READS | FILE_, HOST_WELL, GUEST_WELL, OUT_ZEROS, "sendfile from it to a TCP socket")	\
	X(splice_memfd, READS | FILE_, HOST_WELL, GUEST_WELL, OUT_ZEROS, "splice from it to a pipe")	\
	X(aio_write, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "AIO, IOCB_CMD_PWRITE")	\
	X(aio_read, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "AIO, IOCB_CMD_PREAD")	\
	X(uring_write, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "io_uring, write")	\
	X(uring_read, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "io_uring, read")	\
	X(uring_write_fixed, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "io_uring, write from a fixed buffer")	\
	X(uring_read_fixed, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "io_uring, read into a fixed buffer")

/* O_DIRECT where the CPU copies, and where a device does: that is the gap of the threat model. */
#define STRAY_BLOCK(X)									\
	X(brd_write, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "O_DIRECT write to a ramdisk")	\
	X(brd_read, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "O_DIRECT read from a ramdisk")	\
	X(loop_write, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "O_DIRECT write to a loop device on tmpfs")	\
	X(loop_read, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "O_DIRECT read from a loop device on tmpfs")	\
	X(dma_write, READS | GAP, HOST_WELL, GUEST_WELL, OUT_SECRET, "O_DIRECT write to a disk: the device reads the guest's memory")	\
	X(dma_read, HARMS | GAP, HOST_WELL, GUEST_HARMED, OUT_PASSES, "O_DIRECT read from a disk: the device writes to the guest's memory")

/* What the kernel reads and writes for a thread by itself. */
#define STRAY_THREAD(X)									\
	X(futex_wait, READS, HOST_WELL, GUEST_WELL, OUT_EAGAIN, "FUTEX_WAIT, private, for the guest's own word")	\
	X(futex_wait_shared, READS, HOST_WELL, GUEST_WELL, OUT_EAGAIN, "FUTEX_WAIT, shared")	\
	X(futex_wake_op, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "FUTEX_WAKE_OP, each operation")	\
	X(futex_requeue, READS, HOST_WELL, GUEST_WELL, OUT_EAGAIN, "FUTEX_CMP_REQUEUE, if the word is the guest's")	\
	X(futex_lock_pi, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "FUTEX_LOCK_PI, by a thread that ends with the lock")	\
	X(robust_list, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "robust list: its head; a member and the pending one")	\
	X(clear_tid, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "set_tid_address, and the thread ends")	\
	X(rseq, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "rseq area")			\
	X(signal_stack, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES | OUT_SIGBUS, "sigaltstack, and a signal delivered on it")	\
	X(signal_return, NONE, HOST_WELL, GUEST_WELL, OUT_SIGSEGV, "rt_sigreturn from it")

/* The mapping behind the guest's memory. */
#define STRAY_MM(X)									\
	X(fork, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "fork: the child loads from its copy, and stores to it")	\
	X(fork_shared, READS | FILE_, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "fork: the child loads from shared memory")	\
	X(mremap, READS, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "mremap, and a load there")	\
	X(dontneed, HARMS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "MADV_DONTNEED, and a load")	\
	X(free, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "MADV_FREE")			\
	X(cold, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "MADV_COLD")			\
	X(mlock, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "mlock")			\
	X(mprotect, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "mprotect to PROT_NONE")	\
	X(munmap, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "munmap")			\
	X(munmap_untouched, NONE, HOST_WELL, GUEST_FAULTS, OUT_PASSES, "munmap of what the guest touches later")	\
	X(truncate, NONE | FILE_, HOST_WELL, GUEST_WELL, OUT_SIGBUS, "ftruncate of the memfd, and a load behind its end")	\
	X(punch, HARMS | FILE_, HOST_WELL, GUEST_WELL, OUT_ZEROS, "hole in the memfd, and a load")	\
	X(punch_half, HARMS | FILE_, HOST_WELL, GUEST_WELL, OUT_PASSES, "hole in a part of a page, which the kernel clears")	\
	X(ksm, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "KSM: MADV_MERGEABLE, two scans")	\
	X(compact, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "compaction and migration: compact_memory, allocation of huge blocks")	\
	X(collapse, NONE, HOST_WELL, GUEST_WELL, OUT_EAGAIN | OUT_PASSES, "a huge page in their place: MADV_COLLAPSE")	\
	X(userfault, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS | OUT_EBUSY, "userfaultfd: UFFDIO_COPY of a page, UFFDIO_MOVE of another")	\
	X(move_pages, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "move_pages and migrate_pages to another NUMA node")	\
	X(reclaim, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "reclaim of the VMM's memory group, swap on zram")	\
	X(pageout, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "MADV_PAGEOUT, swap on zram")	\
	X(soft_offline, NONE, HOST_WELL, GUEST_WELL, OUT_EBUSY, "memory failure: MADV_SOFT_OFFLINE")	\
	X(hwpoison, NONE, HOST_PAGE, GUEST_WELL, OUT_SIGBUS, "memory failure: MADV_HWPOISON")	\
	X(hwpoison_inject, NONE, HOST_PAGE, GUEST_WELL, OUT_SIGBUS, "memory failure: hwpoison-inject, and a load")

/* The kernel's own mappings. */
#define STRAY_KERNEL(X)									\
	X(nofault_read, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "linear map, load with a fixup")	\
	X(nofault_write, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "linear map, store with a fixup")	\
	X(vmap_read, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "new mappings, write-back, Non-cacheable and Device, load")	\
	X(vmap_write, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "the same, store")	\
	X(kdump, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "linear map, page by page, as a dump is made")	\
	X(scan, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "linear map, all words without a fixup, as KASAN and kmemleak scan")	\
	X(copy_page, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "linear map, copy_page")	\
	X(clear_page, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "linear map, clear_page (DC ZVA)")	\
	X(poison_page, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "linear map, memset, as page poisoning does")	\
	X(clean_page, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "linear map, DC CIVAC")	\
	X(atomic_page, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "linear map, atomic64_add")	\
	X(zeropad, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "load_unaligned_zeropad across the page's start")	\
	X(kcore, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "/proc/kcore")		\
	X(dev_mem, NONE, HOST_WELL, GUEST_WELL, OUT_EPERM, "/dev/mem, read and mmap")

/* Other kernels in the place of this one. */
#define STRAY_MACHINE(X)								\
	X(hibernate, NONE, HOST_WELL, GUEST_WELL, OUT_EBUSY, "hibernation: disk to /sys/power/state")	\
	X(restore, NONE, HOST_WELL, GUEST_WELL, OUT_EBUSY, "restore of a hibernation image: its device to /sys/power/resume")	\
	X(kexec_load, NONE, HOST_WELL, GUEST_WELL, OUT_PASSES, "kexec_load of a kernel that is there")	\
	X(kexec, NONE | ENDS, HOST_RESTARTS, GUEST_GONE, OUT_GONE, "start of that kernel: LINUX_REBOOT_CMD_KEXEC")

/* Tracing. */
#define STRAY_TRACE(X)									\
	X(perf_stack, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "perf: samples with the user's stack and call chain")	\
	X(trace_marker, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "ftrace: trace_marker_raw")	\
	X(kprobe, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "ftrace: a kprobe that fetches user memory")	\
	X(bpf_read_user, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "bpf_probe_read_user")	\
	X(bpf_write_user, HARMS, HOST_WELL, GUEST_WELL, OUT_PASSES, "bpf_probe_write_user")	\
	X(bpf_read_kernel, READS, HOST_WELL, GUEST_WELL, OUT_ZEROS, "bpf_probe_read_kernel of the linear map")

#define STRAY_WAYS(X)									\
	STRAY_EL0(X) STRAY_PROC(X) STRAY_IO(X) STRAY_BLOCK(X) STRAY_THREAD(X) STRAY_MM(X) STRAY_KERNEL(X) STRAY_MACHINE(X)	\
	STRAY_TRACE(X)

#endif /* MVIRT_STRAY_WAYS_H */
