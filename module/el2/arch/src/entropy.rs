// SPDX-License-Identifier: GPL-2.0
//! Random numbers for guests, from what the host does not control: RNDR, or the firmware's TRNG.
//!
//! Why unsafe: RNDR tells by the flags whether it had any.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::firmware;
use crate::sysreg::read_sysreg;

/// Where they come from. Zero is not known yet.
static SOURCE: AtomicU32 = AtomicU32::new(UNKNOWN);

const UNKNOWN: u32 = 0;
const NOWHERE: u32 = 1;
const RNDR: u32 = 2;
const FIRMWARE: u32 = 3;

/// ID_AA64ISAR0_EL1.RNDR.
fn has_rndr() -> bool {
    read_sysreg!("id_aa64isar0_el1") >> 60 != 0
}

fn source() -> u32 {
    let known = SOURCE.load(Ordering::Relaxed);
    if known != UNKNOWN {
        return known;
    }
    let found = if has_rndr() {
        RNDR
    } else if firmware::has_trng() {
        FIRMWARE
    } else {
        NOWHERE
    };
    SOURCE.store(found, Ordering::Relaxed);
    found
}

/// Whether there is a source.
pub fn is_there() -> bool {
    source() != NOWHERE
}

/// A random word, or `None` if RNDR has none now: it may be out of entropy for a while.
fn rndr() -> Option<u64> {
    let (value, flags): (u64, u64);
    // SAFETY: RNDR (S3_3_C2_C4_0) changes its destination and NZCV, and is on this CPU: checked by
    // the caller.
    unsafe {
        asm!("mrs {}, s3_3_c2_c4_0", "mrs {}, nzcv", out(reg) value, out(reg) flags,
             options(nomem, nostack));
    }
    // NZCV.Z: it failed.
    (flags & 1 << 30 == 0).then_some(value)
}

/// `nr` random words of 3, the others 0; `None` if there is no entropy now.
pub fn words(nr: usize) -> Option<[u64; 3]> {
    let mut words = [0; 3];
    for word in words.iter_mut().take(nr) {
        *word = match source() {
            // A CPU of another kind may lack it.
            RNDR if has_rndr() => rndr()?,
            FIRMWARE => firmware::trng()?,
            _ => return None,
        };
    }
    Some(words)
}
