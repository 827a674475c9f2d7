// SPDX-License-Identifier: GPL-2.0
//! The caches that a guest sees: made up from CTR_EL0, as KVM does.
//!
//! The real geometry differs from core to core, and only serves maintenance by set and way, which
//! is of no use to a guest. So there is as little cache as CTR_EL0 allows, of one set and one way,
//! with the smallest line of any CPU. Arm ARM (DDI 0487) D24.2.21, CCSIDR_EL1; D24.2.25, CLIDR_EL1.

use crate::cpu::bits;

/// CLIDR_EL1.Ctype.
const INSTRUCTION: u64 = 0b001;
const DATA: u64 = 0b010;
const UNIFIED: u64 = 0b100;

/// CLIDR_EL1.
pub(super) const fn clidr(ctr: u64) -> u64 {
    let (idc, dic) = (bits(ctr, 28, 1) == 1, bits(ctr, 29, 1) == 1);
    let instruction = if dic { 0 } else { INSTRUCTION };
    if idc {
        // No clean to the point of unification is needed: LoUIS and LoUU are 0, and so the data
        // cache is no L1 below a separate instruction cache, but a unified one above it.
        let level = if dic { 1 } else { 2 };
        loc(level) | ctype_of(level, UNIFIED) | ctype_of(1, instruction)
    } else {
        let lou = 1 << 27 | 1 << 21;
        lou | loc(1) | ctype_of(1, DATA | instruction)
    }
}

/// LoC.
const fn loc(level: u64) -> u64 {
    level << 24
}

const fn ctype_of(level: u64, kind: u64) -> u64 {
    kind << (3 * (level - 1))
}

/// CCSIDR_EL1 for the cache that CSSELR_EL1 selects, in the format without FEAT_CCIDX.
pub(super) const fn ccsidr(ctr: u64, csselr: u64) -> u64 {
    // log2 of the words in a line: IminLine for an instruction cache (InD), else DminLine.
    let words = if csselr & 1 == 1 {
        bits(ctr, 0, 4)
    } else {
        bits(ctr, 16, 4)
    };
    // LineSize is log2 of the bytes, less 4. One set, one way: these fields are one less.
    words.saturating_sub(2)
}
