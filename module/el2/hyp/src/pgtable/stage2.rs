// SPDX-License-Identifier: GPL-2.0
//! The host's stage 2: attributes, VTCR_EL2, and the shape of the root.
//!
//! The stage leaves the attributes of the host's stage 1 in force: it says Normal write-back for
//! everything, MMIO included, so that the combination is what stage 1 asked for (Arm ARM D8.6.5).
//! Nor does it take a right away from what it maps. Execute-never for what is not RAM would protect
//! the host from itself only, whose stage 1 says XN for devices; and it would deny code that lies
//! outside of what EL2 knows as RAM: the runtime services of EFI, and memory that was hot-added.

use mvirt_abi::Error;

use super::tree::{Flush, Stage};
use super::Attrs;
use crate::addr::{Granule, Ipa, Level};
use crate::machine::Machine;

/// MemAttr 0b1111, HCR_EL2.FWB = 0: Normal, outer and inner write-back; stage 1 may weaken it.
const MEMATTR_WB: u64 = 0b1111 << 2;
/// MemAttr 0b0111, HCR_EL2.FWB = 1: the attributes of stage 1 (Arm ARM D8.6.6).
const MEMATTR_AS_STAGE1: u64 = 0b0111 << 2;
const S2AP_READ_WRITE: u64 = 0b11 << 6;
const SH_INNER: u64 = 0b11 << 8;
const AF: u64 = 1 << 10;
/// A bit reserved for software (Arm ARM D8.3.2): the leaf is not RAM. What is one and what is the
/// other then never joins to one block, so that no leaf crosses the end of a range of RAM.
const NOT_RAM: u64 = 1 << 56;

/// What an address of the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// RAM that EL2 was told of.
    Ram,
    /// Anything else, not only devices.
    Mmio,
}

/// The attributes of the host's memory: read, write, and execute. `fwb` is HCR_EL2.FWB.
pub const fn attrs(memory: Memory, fwb: bool) -> Attrs {
    let memattr = if fwb { MEMATTR_AS_STAGE1 } else { MEMATTR_WB };
    let software = match memory {
        Memory::Ram => 0,
        Memory::Mmio => NOT_RAM,
    };
    Attrs::new(memattr | S2AP_READ_WRITE | SH_INNER | AF | software)
}

/// The host's stage 2.
#[derive(Clone, Copy, Debug)]
pub enum HostStage {}

impl Stage for HostStage {
    type Input = Ipa;
    const RESHAPES: bool = true;

    fn flush<G: Granule, M: Machine>(m: &mut M, what: Flush<Ipa>) {
        match what {
            Flush::Leaf(ipa, level) => m.tlb_flush_host_page(ipa, level),
            Flush::Range(..) => m.tlb_flush_host_all(),
        }
    }
}

/// Bits of physical address, from ID_AA64MMFR0_EL1.PARange. Without FEAT_LPA2 in use it is at
/// most 48. [`Error::NotSupported`] for a reserved value.
pub const fn pa_bits(parange: u64) -> Result<u32, Error> {
    match parange {
        0 => Ok(32),
        1 => Ok(36),
        2 => Ok(40),
        3 => Ok(42),
        4 => Ok(44),
        5..=7 => Ok(48),
        _ => Err(Error::NotSupported),
    }
}

/// The encoding of VTCR_EL2.PS and TCR_EL2.PS; [`Error::Invalid`] for a size without one.
pub(super) const fn ps_field(pa_bits: u32) -> Result<u64, Error> {
    match pa_bits {
        32 => Ok(0),
        36 => Ok(1),
        40 => Ok(2),
        42 => Ok(3),
        44 => Ok(4),
        48 => Ok(5),
        _ => Err(Error::Invalid),
    }
}

/// The shape of a stage-2 tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bits of intermediate physical address.
    pub ipa_bits: u32,
    /// The level of the root.
    pub start: Level,
    /// Concatenated tables at the root, 1 to 16: contiguous, and aligned to their size.
    pub root_tables: u64,
    /// VTCR_EL2 with 8-bit VMIDs; set bit 19, VS, for 16-bit ones.
    pub vtcr: u64,
}

impl Shape {
    /// The shape for `ipa_bits` bits of address, which are the CPUs' least PARange in bits.
    ///
    /// Takes the fewest levels that up to 16 concatenated tables allow (Arm ARM D8.2.3): the
    /// architecture demands it where the physical addresses are short, since VTCR_EL2.SL0 = 2 is
    /// invalid below 44 bits with 4 KiB, and below 42 bits with 16 KiB. [`Error::Invalid`] for a
    /// size that is not one of PARange's.
    pub fn new<G: Granule>(ipa_bits: u32) -> Result<Shape, Error> {
        let ps = ps_field(ipa_bits)?;
        // A single level, start at 3, is for address spaces smaller than any PARange.
        let (start, level_code): (Level, u64) = [(Level::L2, 2), (Level::L1, 1), (Level::L0, 0)]
            .into_iter()
            .find(|&(level, _)| G::level_shift(level) + G::BITS + 4 >= ipa_bits)
            .ok_or(Error::Invalid)?;
        let one_table = G::level_shift(start) + G::BITS;
        let root_tables = 1 << ipa_bits.saturating_sub(one_table);
        // SL0 counts up as the level goes down: 4 KiB has level 2 at 0, 16 KiB level 3.
        let (sl0, tg0): (u64, u64) = if G::SHIFT == 12 {
            (2 - level_code, 0b00)
        } else {
            (3 - level_code, 0b10)
        };
        // T0SZ, SL0, IRGN0 and ORGN0 write-back write-allocate, SH0 inner, TG0, PS, RES1.
        let vtcr = u64::from(64 - ipa_bits)
            | sl0 << 6
            | 0b01 << 8
            | 0b01 << 10
            | 0b11 << 12
            | tg0 << 14
            | ps << 16
            | 1 << 31;
        Ok(Shape {
            ipa_bits,
            start,
            root_tables,
            vtcr,
        })
    }
}
