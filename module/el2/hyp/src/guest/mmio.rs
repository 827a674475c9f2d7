// SPDX-License-Identifier: GPL-2.0
//! A load or store that is done in the guest's place, from the syndrome of its Data Abort.
//!
//! ISS encoding for an exception from a Data Abort: Arm ARM (DDI 0487) D24.2.40. No state, no lock.

use crate::cpu::bits;

/// EC of a Data Abort from a lower Exception level.
const DATA_ABORT: u64 = 0x24;
/// SCTLR_EL1.E0E and EE.
const SCTLR_E0E: u64 = 1 << 24;
const SCTLR_EE: u64 = 1 << 25;

/// A load or store of one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mmio {
    /// log2 of its bytes: SAS.
    pub size_log2: u8,
    /// SSE: a load extends the sign.
    pub sign_extend: bool,
    /// SF: the register has 64 bits; else the upper half becomes 0.
    pub is_64bit: bool,
    /// SRT: the number of the register; 31 is XZR.
    pub register: u8,
    /// WnR: a store.
    pub is_write: bool,
}

impl Mmio {
    /// Decodes ESR_EL2; `None` if it does not describe the instruction: ISV is clear (pairs,
    /// writeback, SIMD, exclusives), or the access was a walk or cache maintenance.
    pub fn decode(esr: u64) -> Option<Mmio> {
        let bit = |n| bits(esr, n, 1) == 1;
        let is_access = bits(esr, 26, 6) == DATA_ABORT && bit(24) && !bit(7) && !bit(8);
        is_access.then(|| Mmio {
            // Lossless: 2 and 5 bits.
            size_log2: bits(esr, 22, 2) as u8,
            sign_extend: bit(21),
            register: bits(esr, 16, 5) as u8,
            is_64bit: bit(15),
            is_write: bit(6),
        })
    }

    /// Its bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.size_log2
    }

    /// Whether the guest's data accesses are big-endian now.
    pub const fn is_big_endian(pstate: u64, sctlr: u64) -> bool {
        let bit = if pstate & 0xf == 0 {
            SCTLR_E0E
        } else {
            SCTLR_EE
        };
        sctlr & bit != 0
    }

    /// What a store puts on the bus, as a little-endian number of [`bytes`](Self::bytes) bytes.
    pub const fn stored(self, register: u64, big_endian: bool) -> u64 {
        let value = self.truncate(register);
        if big_endian {
            self.swap(value)
        } else {
            value
        }
    }

    /// What a load leaves in its register when the bus answers `data`. Bits above the size are not
    /// the device's: they are dropped.
    pub const fn loaded(self, data: u64, big_endian: bool) -> u64 {
        let mut value = self.truncate(data);
        if big_endian {
            value = self.swap(value);
        }
        if self.sign_extend {
            let unused = 64 - 8 * self.bytes() as u32;
            value = ((value << unused) as i64 >> unused) as u64;
        }
        if self.is_64bit {
            value
        } else {
            value & 0xffff_ffff
        }
    }

    const fn truncate(self, value: u64) -> u64 {
        value & (u64::MAX >> (64 - 8 * self.bytes() as u32))
    }

    const fn swap(self, value: u64) -> u64 {
        value.swap_bytes() >> (64 - 8 * self.bytes() as u32)
    }
}

#[cfg(test)]
mod tests;
