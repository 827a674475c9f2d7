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
/// # Safety
///
/// As C's memcpy: `dest` is writable and `src` readable for `n` bytes.
#[no_mangle]
pub unsafe extern "C" fn memcpy(dest: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    let mut i = 0;
    if aligned(dest as usize, src as usize) {
        while n - i >= STEP {
            // SAFETY: 64 bytes from both pointers plus i on are in the ranges, and 8-byte aligned, which
            // is all that a pair of registers asks for. In assembly for the reason that memset gives:
            // the registers of vCPUs are copied by it.
            unsafe {
                core::arch::asm!(
                    "ldp {a}, {b}, [{s}]",
                    "ldp {c}, {e}, [{s}, #16]",
                    "stp {a}, {b}, [{d}]",
                    "stp {c}, {e}, [{d}, #16]",
                    "ldp {a}, {b}, [{s}, #32]",
                    "ldp {c}, {e}, [{s}, #48]",
                    "stp {a}, {b}, [{d}, #32]",
                    "stp {c}, {e}, [{d}, #48]",
                    a = out(reg) _,
                    b = out(reg) _,
                    c = out(reg) _,
                    e = out(reg) _,
                    s = in(reg) src.add(i),
                    d = in(reg) dest.add(i),
                    options(nostack, preserves_flags)
                );
            }
            i += STEP;
        }
        while n - i >= 2 * WORD {
            // SAFETY: as above, for 16 bytes.
            unsafe {
                core::arch::asm!(
                    "ldp {a}, {b}, [{s}]",
                    "stp {a}, {b}, [{d}]",
                    a = out(reg) _,
                    b = out(reg) _,
                    s = in(reg) src.add(i),
                    d = in(reg) dest.add(i),
                    options(nostack, preserves_flags)
                );
            }
            i += 2 * WORD;
        }
        while i + WORD <= n {
            // SAFETY: i + 8 <= n, and both pointers plus i are 8-byte aligned.
            unsafe { *dest.add(i).cast::<u64>() = *src.add(i).cast::<u64>() };
            i += WORD;
        }
    }
    while i < n {
        // SAFETY: i < n.
        unsafe { *dest.add(i) = *src.add(i) };
        i += 1;
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
