// SPDX-License-Identifier: GPL-2.0
//! Addresses, one type for each address space, and the translation granule.
//!
//! Owns no state. A physical address, an intermediate physical address of the host or of a guest and
//! a virtual address of EL2 never mix by accident: each crossing is a named function. The granule is a type
//! parameter of everything that walks tables, so that one source serves 4 and 16 KiB pages.

/// What the three kinds of address have in common, for code that walks any table.
pub trait Address: Copy + Ord {
    /// Wraps a raw value.
    fn new(raw: u64) -> Self;
    /// The raw value.
    fn raw(self) -> u64;
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a raw value.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The raw value.
            pub const fn raw(self) -> u64 {
                self.0
            }

            /// The first byte of page number `pfn`; `None` if that is past 64 bits.
            pub fn from_pfn<G: Granule>(pfn: u64) -> Option<Self> {
                if pfn > u64::MAX >> G::SHIFT {
                    return None;
                }
                Some(Self(pfn << G::SHIFT))
            }

            /// The number of the page that holds this byte.
            pub fn pfn<G: Granule>(self) -> u64 {
                self.0 >> G::SHIFT
            }

            /// The first byte of the page that holds this byte.
            pub fn page<G: Granule>(self) -> Self {
                Self(self.0 & !(G::BYTES - 1))
            }

            /// Whether this is the first byte of a page.
            pub fn is_page<G: Granule>(self) -> bool {
                self.0 & (G::BYTES - 1) == 0
            }

            /// The address `bytes` further up; `None` past 64 bits.
            pub fn checked_add(self, bytes: u64) -> Option<Self> {
                self.0.checked_add(bytes).map(Self)
            }
        }

        impl Address for $name {
            fn new(raw: u64) -> Self {
                Self(raw)
            }
            fn raw(self) -> u64 {
                self.0
            }
        }
    };
}

address! {
    /// A physical address.
    Phys
}
address! {
    /// An intermediate physical address of the host: what its stage 1 puts out.
    Ipa
}
address! {
    /// An intermediate physical address of a guest: what its stage 1 puts out.
    GuestIpa
}
address! {
    /// A virtual address of EL2.
    Va
}

impl Phys {
    /// Where the host finds this byte: its stage 2 is an identity map.
    pub const fn host_ipa(self) -> Ipa {
        Ipa(self.0)
    }
}

impl Ipa {
    /// The byte that the host means by this address: its stage 2 is an identity map.
    pub const fn host_phys(self) -> Phys {
        Phys(self.0)
    }
}

/// EL2's linear map: physical memory at a constant offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    base: u64,
}

impl Linear {
    /// A linear map with physical address 0 at `base`.
    pub const fn new(base: Va) -> Self {
        Self { base: base.0 }
    }

    /// Where EL2 finds `phys`; `None` past 64 bits.
    pub fn va(self, phys: Phys) -> Option<Va> {
        self.base.checked_add(phys.0).map(Va)
    }
}

/// A level of a translation table walk, numbered as in the Arm ARM: 3 holds pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// Level 0.
    L0 = 0,
    /// Level 1.
    L1 = 1,
    /// Level 2.
    L2 = 2,
    /// Level 3: pages.
    L3 = 3,
}

impl Level {
    /// Its number.
    pub const fn number(self) -> u32 {
        match self {
            Level::L0 => 0,
            Level::L1 => 1,
            Level::L2 => 2,
            Level::L3 => 3,
        }
    }

    /// The level that a table descriptor at this one leads to; `None` below level 3.
    pub const fn below(self) -> Option<Level> {
        match self {
            Level::L0 => Some(Level::L1),
            Level::L1 => Some(Level::L2),
            Level::L2 => Some(Level::L3),
            Level::L3 => None,
        }
    }
}

/// A translation granule (Arm ARM D8.2, "Translation granules").
pub trait Granule: Copy + Eq + core::fmt::Debug + Send + Sync + 'static {
    /// log2 of the size of a page and of a table, in bytes.
    const SHIFT: u32;
    /// The lowest level number whose descriptors may be blocks, 52-bit addresses left out.
    const FIRST_BLOCK: Level;

    /// Size of a page and of a table, in bytes.
    const BYTES: u64 = 1 << Self::SHIFT;
    /// Address bits that one level resolves.
    const BITS: u32 = Self::SHIFT - 3;
    /// Descriptors in a table.
    const ENTRIES: usize = 1 << Self::BITS;

    /// log2 of the bytes that one descriptor at `level` covers.
    fn level_shift(level: Level) -> u32 {
        Self::SHIFT + Self::BITS * (3 - level.number())
    }

    /// The bytes that one descriptor at `level` covers.
    fn level_size(level: Level) -> u64 {
        1 << Self::level_shift(level)
    }
}

/// The 4 KiB granule: blocks of 1 GiB and 2 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct K4;

impl Granule for K4 {
    const SHIFT: u32 = 12;
    const FIRST_BLOCK: Level = Level::L1;
}

/// The 16 KiB granule: blocks of 32 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct K16;

impl Granule for K16 {
    const SHIFT: u32 = 14;
    const FIRST_BLOCK: Level = Level::L2;
}
