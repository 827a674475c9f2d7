// SPDX-License-Identifier: GPL-2.0
//! The few functions that rustc's code calls by name: memcpy and its like.
//!
//! The EL2 image brings its own, because nothing of the kernel may be linked into it. They are
//! called with the MMU off too, where memory is Device and an unaligned access faults (Arm ARM
//! B2.9.2): so they only ever make aligned accesses.
//!
//! Why unsafe: the C ABI of these functions is raw pointers; every caller is the compiler itself.
#![feature(compiler_builtins)]
#![allow(internal_features)]
#![compiler_builtins]
#![no_builtins]
#![no_std]

const WORD: usize = core::mem::size_of::<u64>();
/// Bytes in one step of the long loops.
const STEP: usize = 64;

/// True if both addresses and so each word between them are 8-byte aligned.
fn aligned(a: usize, b: usize) -> bool {
    (a | b) % WORD == 0
}

/// Copies `n` bytes; the two ranges do not overlap.
///
/// In assembly: a loop over words, at the size that this is compiled for, takes four times as many
/// instructions, and the registers of vCPUs are copied by it, several times in each of their runs.
///
/// # Safety
///
/// As C's memcpy: `dest` is writable and `src` readable for `n` bytes.
#[no_mangle]
pub unsafe extern "C" fn memcpy(dest: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    if (dest as usize ^ src as usize) % WORD != 0 {
        // There is no step at which both are aligned.
        let mut i = 0;
        while i < n {
            // SAFETY: i < n.
            unsafe { *dest.add(i) = *src.add(i) };
            i += 1;
        }
        return dest;
    }
    // First what leads to 8-byte alignment, of which both have the same lack: 1, 2 and 4 bytes, if there
    // are so many. If there are not, what is left is shorter still, and only ends in the steps at the
    // bottom, each of which is aligned: all before it were multiples of it. Then 64 bytes at a time, and
    // what bits 5 to 0 of the rest say. A pair of registers asks for the alignment of one of them.
    //
    // SAFETY: each step is taken if as many bytes are left, and goes on behind the one before.
    unsafe {
        core::arch::asm!(
            "tst {d}, #7",
            "b.eq 4f",
            "tbz {d}, #0, 2f",
            "cbz {n}, 4f",
            "ldrb {w:w}, [{s}], #1",
            "strb {w:w}, [{d}], #1",
            "sub {n}, {n}, #1",
            "2:",
            "tbz {d}, #1, 3f",
            "cmp {n}, #2",
            "b.lo 4f",
            "ldrh {w:w}, [{s}], #2",
            "strh {w:w}, [{d}], #2",
            "sub {n}, {n}, #2",
            "3:",
            "tbz {d}, #2, 4f",
            "cmp {n}, #4",
            "b.lo 4f",
            "ldr {w:w}, [{s}], #4",
            "str {w:w}, [{d}], #4",
            "sub {n}, {n}, #4",
            "4:",
            "subs {n}, {n}, {STEP}",
            "b.lo 6f",
            "5:",
            "ldp {w}, {x}, [{s}], #16",
            "ldp {y}, {z}, [{s}], #16",
            "stp {w}, {x}, [{d}], #16",
            "stp {y}, {z}, [{d}], #16",
            "ldp {w}, {x}, [{s}], #16",
            "ldp {y}, {z}, [{s}], #16",
            "stp {w}, {x}, [{d}], #16",
            "stp {y}, {z}, [{d}], #16",
            "subs {n}, {n}, {STEP}",
            "b.hs 5b",
            // Less than 0 by a multiple of 64: the bits below are those of what is left.
            "6:",
            "tbz {n}, #5, 7f",
            "ldp {w}, {x}, [{s}], #16",
            "ldp {y}, {z}, [{s}], #16",
            "stp {w}, {x}, [{d}], #16",
            "stp {y}, {z}, [{d}], #16",
            "7:",
            "tbz {n}, #4, 8f",
            "ldp {w}, {x}, [{s}], #16",
            "stp {w}, {x}, [{d}], #16",
            "8:",
            "tst {n}, #15",
            "b.eq 13f",
            "tbz {n}, #3, 9f",
            "ldr {w}, [{s}], #8",
            "str {w}, [{d}], #8",
            "9:",
            "tbz {n}, #2, 14f",
            "ldr {w:w}, [{s}], #4",
            "str {w:w}, [{d}], #4",
            "14:",
            "tbz {n}, #1, 12f",
            "ldrh {w:w}, [{s}], #2",
            "strh {w:w}, [{d}], #2",
            "12:",
            "tbz {n}, #0, 13f",
            "ldrb {w:w}, [{s}]",
            "strb {w:w}, [{d}]",
            "13:",
            d = inout(reg) dest => _,
            s = inout(reg) src => _,
            n = inout(reg) n => _,
            w = out(reg) _,
            x = out(reg) _,
            y = out(reg) _,
            z = out(reg) _,
            STEP = const STEP,
            options(nostack)
        );
    }
    dest
}

/// Copies `n` bytes between ranges that may overlap.
///
/// # Safety
///
/// As C's memmove: `dest` is writable and `src` readable for `n` bytes.
#[no_mangle]
pub unsafe extern "C" fn memmove(dest: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    if (dest as usize).wrapping_sub(src as usize) >= n {
        // SAFETY: ascending order never overwrites a byte of `src` that is still to be read.
        return unsafe { memcpy(dest, src, n) };
    }
    let mut i = n;
    while i > 0 {
        i -= 1;
        // SAFETY: i < n; descending, because dest lies inside src..src + n.
        unsafe { *dest.add(i) = *src.add(i) };
    }
    dest
}

/// Sets `n` bytes to the low byte of `c`.
///
/// # Safety
///
/// As C's memset: `dest` is writable for `n` bytes.
#[no_mangle]
pub unsafe extern "C" fn memset(dest: *mut u8, c: i32, n: usize) -> *mut u8 {
    let byte = c as u8;
    let mut i = 0;
    if aligned(dest as usize, 0) {
        let word = byte as u64 * 0x0101_0101_0101_0101;
        while n - i >= STEP {
            // SAFETY: 64 bytes from dest plus i on are in the range, and 8-byte aligned. Said in
            // assembly because a loop over words, at the size that this is compiled for, would
            // take four times as many instructions, and all page metadata is cleared by it.
            unsafe {
                core::arch::asm!(
                    "stp {w}, {w}, [{p}]",
                    "stp {w}, {w}, [{p}, #16]",
                    "stp {w}, {w}, [{p}, #32]",
                    "stp {w}, {w}, [{p}, #48]",
                    w = in(reg) word,
                    p = in(reg) dest.add(i),
                    options(nostack, preserves_flags)
                );
            }
            i += STEP;
        }
        while i + WORD <= n {
            // SAFETY: i + 8 <= n, and dest plus i is 8-byte aligned.
            unsafe { *dest.add(i).cast::<u64>() = word };
            i += WORD;
        }
    }
    while i < n {
        // SAFETY: i < n.
        unsafe { *dest.add(i) = byte };
        i += 1;
    }
    dest
}

/// Compares `n` bytes: negative, zero or positive.
///
/// # Safety
///
/// As C's memcmp: both pointers are readable for `n` bytes.
#[no_mangle]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    let mut i = 0;
    while i < n {
        // SAFETY: i < n.
        let (x, y) = unsafe { (*a.add(i), *b.add(i)) };
        if x != y {
            return x as i32 - y as i32;
        }
        i += 1;
    }
    0
}

/// Compares `n` bytes for equality: zero if equal.
///
/// # Safety
///
/// As C's bcmp: both pointers are readable for `n` bytes.
#[no_mangle]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller's promise is memcmp's.
    unsafe { memcmp(a, b, n) }
}
