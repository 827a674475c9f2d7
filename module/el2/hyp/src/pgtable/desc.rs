// SPDX-License-Identifier: GPL-2.0
//! Descriptors of the VMSAv8-64 translation tables (Arm ARM D8.3).
//!
//! A raw descriptor is looked at through [`View`], which depends on the level and the granule.

use core::marker::PhantomData;

use crate::addr::{Granule, Level, Phys};

const VALID: u64 = 1 << 0;
/// At level 3 a page, above a table; without it a block, or at level 3 a reserved encoding.
const TABLE_OR_PAGE: u64 = 1 << 1;
/// Output address of 48 bits. FEAT_LPA and FEAT_LPA2 are not used.
const ADDRESS: u64 = (1 << 48) - 1;
/// Upper attributes, bits 63:50, and lower attributes, bits 11:2 (Arm ARM D8.3.1, D8.3.2).
const ATTRIBUTES: u64 = !((1 << 50) - 1) | 0xffc;

/// The attributes of a leaf: bits 63:50 and 11:2 of its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attrs(u64);

impl Attrs {
    /// Keeps the attribute bits of `bits`.
    pub const fn new(bits: u64) -> Attrs {
        Attrs(bits & ATTRIBUTES)
    }

    /// The bits, in their places.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// A descriptor for granule `G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desc<G> {
    raw: u64,
    granule: PhantomData<G>,
}

/// What a descriptor says at its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// It faults; so do the reserved encodings.
    Invalid,
    /// It leads to the table of the level below.
    Table(Phys),
    /// It maps a block, or at level 3 a page.
    Leaf {
        /// Output address.
        oa: Phys,
        /// Attributes.
        attrs: Attrs,
    },
}

impl<G: Granule> Desc<G> {
    /// The invalid descriptor.
    pub const INVALID: Self = Self::from_raw(0);

    /// Takes a descriptor as memory holds it.
    pub const fn from_raw(raw: u64) -> Self {
        Self {
            raw,
            granule: PhantomData,
        }
    }

    /// A descriptor that leads to `table`; table attributes are left 0.
    pub fn table(table: Phys) -> Self {
        Self::from_raw(table.page::<G>().raw() & ADDRESS | TABLE_OR_PAGE | VALID)
    }

    /// A block, or at level 3 a page. `oa` is rounded down to the size of the leaf.
    ///
    /// `None` if there are no blocks at `level`.
    pub fn leaf(level: Level, oa: Phys, attrs: Attrs) -> Option<Self> {
        if level < G::FIRST_BLOCK {
            return None;
        }
        let kind = if level == Level::L3 { TABLE_OR_PAGE } else { 0 };
        let oa = oa.raw() & ADDRESS & !(G::level_size(level) - 1);
        Some(Self::from_raw(oa | attrs.0 | kind | VALID))
    }

    /// The value for memory.
    pub const fn raw(self) -> u64 {
        self.raw
    }

    /// What it says in a table of `level`.
    pub fn view(self, level: Level) -> View {
        if self.raw & VALID == 0 {
            return View::Invalid;
        }
        let high = self.raw & TABLE_OR_PAGE != 0;
        if level != Level::L3 && high {
            return View::Table(Phys::new(self.raw & ADDRESS).page::<G>());
        }
        // Reserved: bit 1 clear at level 3, a block above the first level that has them.
        if high != (level == Level::L3) || level < G::FIRST_BLOCK {
            return View::Invalid;
        }
        let oa = Phys::new(self.raw & ADDRESS & !(G::level_size(level) - 1));
        View::Leaf {
            oa,
            attrs: Attrs(self.raw & ATTRIBUTES),
        }
    }
}
