// SPDX-License-Identifier: GPL-2.0
//! Stage 2, the host's and the guests': attributes, VTCR_EL2, and the shape of the root.
//!
//! The host's stage leaves the attributes of the host's stage 1 in force: it says Normal write-back for
//! everything, MMIO included, so that the combination is what stage 1 asked for (Arm ARM D8.6.5).
//! Nor does it take a right away from what it maps. Execute-never for what is not RAM would protect
//! the host from itself only, whose stage 1 says XN for devices; and it would deny code that lies
//! outside of what EL2 knows as RAM: the runtime services of EFI, and memory that was hot-added.
//!
//! A guest's stage says Normal write-back too, so a guest has the memory types that it asks for.

use mvirt_abi::{Error, MAX_IPA_BITS, MIN_IPA_BITS};

use super::tree::{Flush, Stage};
use super::Attrs;
use crate::addr::{Granule, GuestIpa, Ipa, Level, Phys};
use crate::machine::Machine;
use crate::pool::MAX_ROOT_TABLES;

/// MemAttr 0b1111, HCR_EL2.FWB = 0: Normal, outer and inner write-back; stage 1 may weaken it.
const MEMATTR_WB: u64 = 0b1111 << 2;
/// MemAttr 0b0111, HCR_EL2.FWB = 1: the attributes of stage 1 (Arm ARM D8.6.6).
const MEMATTR_AS_STAGE1: u64 = 0b0111 << 2;
const S2AP_READ: u64 = 0b01 << 6;
const S2AP_READ_WRITE: u64 = 0b11 << 6;
/// XN\[1:0\] = 0b10: not executable at EL1 nor at EL0, with FEAT_XNX and without (Arm ARM D8.4.3).
const XN: u64 = 0b10 << 53;
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

/// The attributes of a decoy: those of the host's RAM, but not to be executed. `fwb` is HCR_EL2.FWB.
pub const fn decoy_attrs(fwb: bool) -> Attrs {
    Attrs::new(attrs(Memory::Ram, fwb).bits() | XN)
}

/// What a guest may do with a mapping, besides reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Write.
    pub write: bool,
    /// Fetch instructions.
    pub execute: bool,
}

impl Rights {
    /// Every right.
    pub const ALL: Rights = Rights {
        write: true,
        execute: true,
    };

    /// The rights that a guest's leaf with these attributes gives.
    pub const fn of(attrs: Attrs) -> Rights {
        Rights {
            write: attrs.bits() & S2AP_READ_WRITE == S2AP_READ_WRITE,
            execute: attrs.bits() & XN == 0,
        }
    }
}

/// The attributes of a guest's memory. `fwb` is HCR_EL2.FWB.
pub const fn guest_attrs(rights: Rights, fwb: bool) -> Attrs {
    let memattr = if fwb { MEMATTR_AS_STAGE1 } else { MEMATTR_WB };
    let access = if rights.write {
        S2AP_READ_WRITE
    } else {
        S2AP_READ
    };
    let execute = if rights.execute { 0 } else { XN };
    Attrs::new(memattr | access | execute | SH_INNER | AF)
}

/// The host's stage 2.
#[derive(Clone, Copy, Debug)]
pub struct HostStage;

impl Stage for HostStage {
    type Input = Ipa;
    const SPLITS: bool = true;
    const JOINS: bool = true;

    fn flush<G: Granule, M: Machine>(&self, m: &mut M, what: Flush<Ipa>) {
        match what {
            Flush::Leaf(ipa, level) => m.tlb_flush_host_page(ipa, level),
            Flush::Range(..) => m.tlb_flush_host_all(),
        }
    }
}

/// The registers of a guest's stage 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestRegime {
    /// VTCR_EL2, with 8-bit VMIDs.
    pub vtcr: u64,
    /// VTTBR_EL2: the root and the VMID.
    pub vttbr: u64,
    /// Bits of intermediate physical address.
    pub ipa_bits: u32,
}

/// Where VTTBR_EL2 has the VMID.
const VMID_SHIFT: u32 = 48;

impl GuestRegime {
    /// The regime of a tree of this shape at `root`.
    pub const fn new(shape: &Shape, root: Phys, vmid: u8) -> GuestRegime {
        GuestRegime {
            vtcr: shape.vtcr,
            vttbr: root.raw() | (vmid as u64) << VMID_SHIFT,
            ipa_bits: shape.ipa_bits,
        }
    }

    /// The VMID.
    pub const fn vmid(&self) -> u64 {
        self.vttbr >> VMID_SHIFT
    }
}

/// A guest's stage 2. It does not join tables: while one is replaced by a block the guest's vCPUs
/// would all fault, and the MMU notifier of a VM that is not protected would split it again.
#[derive(Clone, Copy, Debug)]
pub struct GuestStage(pub GuestRegime);

impl Stage for GuestStage {
    type Input = GuestIpa;
    const SPLITS: bool = true;
    const JOINS: bool = false;

    fn flush<G: Granule, M: Machine>(&self, m: &mut M, what: Flush<GuestIpa>) {
        match what {
            Flush::Leaf(ipa, level) => m.tlb_flush_guest_page(self.0, ipa, level),
            Flush::Range(..) => m.tlb_flush_guest_all(self.0),
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

/// The levels at which a walk may start.
const STARTS: [Level; 3] = [Level::L2, Level::L1, Level::L0];

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
        ps_field(ipa_bits)?;
        // A single level, start at 3, is for address spaces smaller than any PARange.
        let start = STARTS
            .into_iter()
            .find(|&level| Self::root_tables::<G>(level, ipa_bits) <= MAX_ROOT_TABLES)
            .ok_or(Error::Invalid)?;
        Self::at::<G>(start, ipa_bits, ipa_bits)
    }

    /// The shape for a guest with `ipa_bits` bits of address, on CPUs with `pa_bits` bits.
    ///
    /// Takes one table at the root where the architecture has a way to, else as few as it allows.
    /// [`Error::Invalid`] for a size below [`MIN_IPA_BITS`] or above `pa_bits` or
    /// [`MAX_IPA_BITS`], and for `pa_bits` that are not one of PARange's.
    pub fn guest<G: Granule>(ipa_bits: u32, pa_bits: u32) -> Result<Shape, Error> {
        if !(MIN_IPA_BITS..=MAX_IPA_BITS.min(pa_bits)).contains(&ipa_bits) {
            return Err(Error::Invalid);
        }
        let start = STARTS
            .into_iter()
            .filter(|&level| Self::may_start::<G>(level, ipa_bits, pa_bits))
            .min_by_key(|&level| Self::root_tables::<G>(level, ipa_bits))
            .ok_or(Error::Invalid)?;
        Self::at::<G>(start, ipa_bits, pa_bits)
    }

    /// Whether a walk may start at `level` (Arm ARM D8.2.3; the pseudocode's
    /// AArch64.S2InvalidSL and AArch64.S2InconsistentSL).
    fn may_start<G: Granule>(level: Level, ipa_bits: u32, pa_bits: u32) -> bool {
        let least_pa = match (level, G::SHIFT == 12) {
            (Level::L0, true) => 44,
            // Without FEAT_LPA2 the 16 KiB granule has no encoding for level 0.
            (Level::L0, false) => return false,
            (Level::L1, false) => 42,
            _ => 0,
        };
        // At least one bit is left to the root.
        let resolves = ipa_bits > G::level_shift(level);
        let tables = Self::root_tables::<G>(level, ipa_bits);
        pa_bits >= least_pa && resolves && tables <= MAX_ROOT_TABLES
    }

    fn root_tables<G: Granule>(level: Level, ipa_bits: u32) -> u64 {
        1 << ipa_bits.saturating_sub(G::level_shift(level) + G::BITS)
    }

    fn at<G: Granule>(start: Level, ipa_bits: u32, pa_bits: u32) -> Result<Shape, Error> {
        let ps = ps_field(pa_bits)?;
        let root_tables = Self::root_tables::<G>(start, ipa_bits);
        let level_code = u64::from(start.number());
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
