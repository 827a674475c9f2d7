// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What EL1 and EL2 agree on: the image header, the boot parameters, the answer of an entry, the
//! hypercalls, the errors.
//!
//! Both sides compile these files. [`HASH`] is taken over their text; EL1 refuses an image whose
//! header carries another one, so the two can never disagree about a layout or a number.

mod boot;
mod calls;
mod entry;
mod error;
mod header;
mod report;
mod stats;
mod vm;

pub use boot::*;
pub use calls::*;
pub use entry::*;
pub use error::*;
pub use header::*;
pub use report::*;
pub use stats::*;
pub use vm::*;

/// FNV-1a (64 bit), continued from `hash` over `bytes`.
const fn fnv1a(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// Identifies this contract: a hash over the text of its files.
#[allow(long_running_const_eval)]
pub const HASH: u64 = {
    let mut h = 0xcbf2_9ce4_8422_2325;
    h = fnv1a(h, include_bytes!("boot.rs"));
    h = fnv1a(h, include_bytes!("calls.rs"));
    h = fnv1a(h, include_bytes!("entry.rs"));
    h = fnv1a(h, include_bytes!("error.rs"));
    h = fnv1a(h, include_bytes!("header.rs"));
    h = fnv1a(h, include_bytes!("report.rs"));
    h = fnv1a(h, include_bytes!("stats.rs"));
    h = fnv1a(h, include_bytes!("vm.rs"));
    h
};
