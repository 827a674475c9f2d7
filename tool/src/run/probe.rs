// SPDX-License-Identifier: Apache-2.0
//! Reads memory that may not be readable: what faults with SIGBUS is counted, not died of.
//!
//! Unsafe, because the loads are in assembly, and because the handler of the signal makes the
//! interrupted code go on elsewhere. That must be exact: between two labels nothing but the loop
//! runs, and behind the second it returns how much is left, whatever it had done.

use std::arch::global_asm;

/// Bytes that one load takes.
pub const WORD: usize = 8;

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .text.mvirt_probe, \"ax\"",
    ".global mvirt_probe",
    "mvirt_probe:",
    "cbz x2, 2f",
    ".global mvirt_probe_loop",
    "mvirt_probe_loop:",
    "1: ldr x3, [x1], #8",
    "str x3, [x0], #8",
    "subs x2, x2, #1",
    "b.ne 1b",
    ".global mvirt_probe_end",
    "mvirt_probe_end:",
    "2: mov x0, x2",
    "ret",
    ".popsection",
);

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .text.mvirt_probe, \"ax\"",
    ".global mvirt_probe",
    "mvirt_probe:",
    "test rdx, rdx",
    "jz mvirt_probe_end",
    ".global mvirt_probe_loop",
    "mvirt_probe_loop:",
    "mov rax, [rsi]",
    "mov [rdi], rax",
    "add rsi, 8",
    "add rdi, 8",
    "dec rdx",
    "jnz mvirt_probe_loop",
    ".global mvirt_probe_end",
    "mvirt_probe_end:",
    "mov rax, rdx",
    "ret",
    ".popsection",
);

extern "C" {
    /// Copies `words` words; answers how many it has not copied, because the next one faulted.
    fn mvirt_probe(to: *mut u64, from: *const u64, words: usize) -> usize;
    static mvirt_probe_loop: u8;
    static mvirt_probe_end: u8;
}

/// Reads from `address` until `buffer` is full or a word faults; answers the bytes read.
///
/// # Safety
///
/// `address` is a multiple of 8 and `buffer.len()` bytes from there are mapped until this returns,
/// or give SIGBUS, whose handler calls [`skip`]. They may change while they are read.
pub unsafe fn read(address: usize, buffer: &mut [u64]) -> usize {
    // SAFETY: the buffer is ours to write. The source is mapped, as the caller says, and what is
    // there is only data to the loop; a fault in it ends at `mvirt_probe_end`.
    let left = unsafe { mvirt_probe(buffer.as_mut_ptr(), address as *const u64, buffer.len()) };
    (buffer.len() - left) * WORD
}

/// In a signal handler: if the fault was in [`read`], makes it end there and says so.
///
/// # Safety
///
/// `context` is what the kernel gave to the handler, with SA_SIGINFO.
pub unsafe fn skip(context: *mut libc::c_void) -> bool {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel's context is a ucontext_t that is ours until the handler returns; it takes
    // the program counter from there.
    #[cfg(target_arch = "aarch64")]
    let pc = unsafe { &mut (*context).uc_mcontext.pc };
    // SAFETY: as above.
    #[cfg(target_arch = "x86_64")]
    let pc = unsafe { &mut (*context).uc_mcontext.gregs[libc::REG_RIP as usize] };
    let start = &raw const mvirt_probe_loop as usize;
    let end = &raw const mvirt_probe_end as usize;
    let inside = (start..end).contains(&(*pc as usize));
    if inside {
        // The counter of words is decreased behind the load and the store: it is how many are left.
        *pc = end as _;
    }
    inside
}
