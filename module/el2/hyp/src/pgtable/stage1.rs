// SPDX-License-Identifier: GPL-2.0
//! EL2's own stage 1: attributes, TCR_EL2 and MAIR_EL2, in the format of either regime.
//!
//! The stage never splits or joins blocks and never changes a valid descriptor but to an invalid
//! one: EL2 runs on these tables, and break-before-make on what it is using would be its end.

use mvirt_abi::Error;

use super::tree::{Flush, Stage};
use super::{Attrs, Frames, Tree};
use crate::addr::{Granule, Level, Linear, Phys, Va};
use crate::machine::Machine;

/// The translation regime of EL2, which HCR_EL2.E2H chooses (Arm ARM D8.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// E2H is 0: one privilege level, one execute-never bit.
    El2,
    /// E2H is 1: EL2 shares the format with EL0 under it.
    El2And0,
}

/// What EL2 may do with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
}

/// The memory type of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Normal, inner and outer write-back: attribute 0 of [`MAIR_EL2`].
    Normal,
    /// Device-nGnRE: attribute 1.
    Device,
}

/// MAIR_EL2: attribute 0 is Normal, write-back, non-transient, read and write allocate (0xff),
/// attribute 1 is Device-nGnRE (0x04).
pub const MAIR_EL2: u64 = 0x04ff;

const AP2_READ_ONLY: u64 = 1 << 7;
/// AP\[1\]: RES1 where there is one privilege level; with E2H it would admit EL0.
const AP1: u64 = 1 << 6;
const SH_INNER: u64 = 0b11 << 8;
const AF: u64 = 1 << 10;
/// PXN with E2H, RES0 without.
const PXN: u64 = 1 << 53;
/// UXN with E2H, XN without.
const XN: u64 = 1 << 54;

/// The attributes of a mapping (Arm ARM D8.3.1.2, D8.4.1).
pub const fn attrs(regime: Regime, access: Access, memory: Memory) -> Attrs {
    let mut bits = AF;
    bits |= match memory {
        Memory::Normal => SH_INNER,
        Memory::Device => 1 << 2,
    };
    if !matches!(access, Access::ReadWrite) {
        bits |= AP2_READ_ONLY;
    }
    let execute = matches!(access, Access::ReadExecute);
    bits |= match (regime, execute) {
        (Regime::El2, true) => AP1,
        (Regime::El2, false) => AP1 | XN,
        (Regime::El2And0, true) => XN,
        (Regime::El2And0, false) => XN | PXN,
    };
    Attrs::new(bits)
}

/// Whether EL2 may write through a leaf with these attributes.
pub const fn is_writable(attrs: Attrs) -> bool {
    attrs.bits() & AP2_READ_ONLY == 0
}

/// Whether EL2 may execute through a leaf with these attributes.
pub const fn is_executable(regime: Regime, attrs: Attrs) -> bool {
    match regime {
        Regime::El2 => attrs.bits() & XN == 0,
        Regime::El2And0 => attrs.bits() & PXN == 0,
    }
}

/// TCR_EL2 for `va_bits` bits of virtual and `pa_bits` bits of physical address; with E2H the
/// upper range, TTBR1_EL2, is off.
///
/// [`Error::Invalid`] for a size that [`root_level`] refuses or that TCR_EL2.PS cannot say.
pub fn tcr_el2<G: Granule>(regime: Regime, va_bits: u32, pa_bits: u32) -> Result<u64, Error> {
    root_level::<G>(va_bits)?;
    let ps = super::stage2::ps_field(pa_bits)?;
    let tg0: u64 = if G::SHIFT == 12 { 0b00 } else { 0b10 };
    // T0SZ; IRGN0 and ORGN0 write-back, write-allocate; SH0 inner shareable; TG0.
    let common = u64::from(64 - va_bits) | 0b01 << 8 | 0b01 << 10 | 0b11 << 12 | tg0 << 14;
    Ok(match regime {
        // Bits 31 and 23 are RES1, PS is in 18:16.
        Regime::El2 => common | 1 << 31 | 1 << 23 | ps << 16,
        // IPS is in 34:32; EPD1, bit 23; TG1 in 31:30 names a valid granule all the same.
        Regime::El2And0 => common | ps << 32 | 1 << 23 | 0b10 << 30,
    })
}

/// The level of the root table for `va_bits` bits of virtual address.
///
/// [`Error::Invalid`] below 32 bits, above 48, or where the root would be a block table alone.
pub fn root_level<G: Granule>(va_bits: u32) -> Result<Level, Error> {
    if !(32..=48).contains(&va_bits) {
        return Err(Error::Invalid);
    }
    let covers = |level| G::level_shift(level) + G::BITS >= va_bits;
    [Level::L2, Level::L1, Level::L0]
        .into_iter()
        .find(|&level| covers(level))
        .ok_or(Error::Invalid)
}

/// EL2's stage 1.
#[derive(Clone, Copy, Debug)]
pub struct El2Stage;

impl Stage for El2Stage {
    type Input = Va;
    const SPLITS: bool = false;
    const JOINS: bool = false;

    fn flush<G: Granule, M: Machine>(&self, m: &mut M, what: Flush<Va>) {
        match what {
            Flush::Leaf(va, _) => m.tlb_flush_el2(va),
            Flush::Range(start, end) => {
                let mut at = start.raw();
                while at < end.raw() {
                    m.tlb_flush_el2(Va::new(at));
                    at += G::BYTES;
                }
            }
        }
    }
}

/// EL2's own address space.
///
/// # Invariants
///
/// A virtual address of the linear map leads to the physical address at the map's offset,
/// readable and writable, never executable.
#[derive(Debug)]
pub struct El2Map<G> {
    tree: Tree<G, El2Stage>,
    regime: Regime,
    linear: Linear,
}

impl<G: Granule> El2Map<G> {
    /// An empty address space of `va_bits` bits, its root table from `frames`.
    ///
    /// [`Error::Invalid`] for a size of address, [`Error::NoMemory`] without a page.
    pub fn new<M: Machine, F: Frames<M>>(
        m: &mut M,
        frames: &mut F,
        regime: Regime,
        va_bits: u32,
        linear: Linear,
    ) -> Result<Self, Error> {
        let level = root_level::<G>(va_bits)?;
        let root = frames.take(m).ok_or(Error::NoMemory)?;
        Ok(Self {
            tree: Tree::new(root, level, va_bits, El2Stage),
            regime,
            linear,
        })
    }

    /// Maps `size` bytes at `va` to `pa`, in the largest blocks, while no CPU uses the range.
    ///
    /// [`Error::Invalid`] if something is not page aligned or beyond the address space,
    /// [`Error::Exists`] if part of it is mapped, [`Error::NoMemory`] without a page for a table;
    /// after an error part of the range may be mapped, so this is for the boot code alone.
    #[allow(clippy::too_many_arguments)]
    pub fn map<M: Machine, F: Frames<M>>(
        &self,
        m: &mut M,
        frames: &mut F,
        va: Va,
        pa: Phys,
        size: u64,
        access: Access,
        memory: Memory,
    ) -> Result<(), Error> {
        let attrs = attrs(self.regime, access, memory);
        self.tree
            .map(m, frames, va, size, pa, attrs, G::FIRST_BLOCK)
    }

    /// Maps `size` bytes at `pa` in the linear map, in the largest blocks: for what stays EL2's
    /// until release. Errors as [`map`](Self::map).
    pub fn map_linear<M: Machine, F: Frames<M>>(
        &self,
        m: &mut M,
        frames: &mut F,
        pa: Phys,
        size: u64,
    ) -> Result<(), Error> {
        let va = self.linear.va(pa).ok_or(Error::Invalid)?;
        self.map(m, frames, va, pa, size, Access::ReadWrite, Memory::Normal)
    }

    /// Table pages that [`map_pages`](Self::map_pages) would take now; errors as there.
    pub fn pages_cost<M: Machine>(&self, m: &M, pa: Phys, size: u64) -> Result<u64, Error> {
        let va = self.linear.va(pa).ok_or(Error::Invalid)?;
        self.tree.map_cost(m, va, size, pa, Level::L3)
    }

    /// Maps `size` bytes at `pa` in the linear map page by page: for what may leave again one by
    /// one, since blocks here are never split. Errors as [`map`](Self::map), with nothing written
    /// if [`pages_cost`](Self::pages_cost) was asked and granted before.
    pub fn map_pages<M: Machine, F: Frames<M>>(
        &self,
        m: &mut M,
        frames: &mut F,
        pa: Phys,
        size: u64,
    ) -> Result<(), Error> {
        let va = self.linear.va(pa).ok_or(Error::Invalid)?;
        let attrs = attrs(self.regime, Access::ReadWrite, Memory::Normal);
        self.tree.map(m, frames, va, size, pa, attrs, Level::L3)
    }

    /// Unmaps a page that [`map_pages`](Self::map_pages) mapped, with TLB invalidation; tables
    /// that become empty go back to `frames`. [`Error::Invalid`] if it is part of a block.
    pub fn unmap_page<M: Machine, F: Frames<M>>(
        &self,
        m: &mut M,
        frames: &mut F,
        pa: Phys,
    ) -> Result<(), Error> {
        let va = self.linear.va(pa).ok_or(Error::Invalid)?;
        self.tree.unmap(m, frames, va, G::BYTES)
    }

    /// The tables.
    pub fn tree(&self) -> &Tree<G, El2Stage> {
        &self.tree
    }

    /// The regime that the attributes are for.
    pub fn regime(&self) -> Regime {
        self.regime
    }

    /// The linear map.
    pub fn linear(&self) -> Linear {
        self.linear
    }

    /// TTBR0_EL2, without an ASID.
    pub fn ttbr0(&self) -> u64 {
        self.tree.root().raw()
    }
}
