// SPDX-License-Identifier: GPL-2.0
//! A tree of translation tables: walk, map, unmap, split, join.
//!
//! The only code that writes descriptors. What it keeps (Arm ARM D8.16, "TLB maintenance"):
//!
//! - A valid descriptor is never replaced by a different valid one. Where a block becomes a table
//!   or the reverse, the order is: the new table complete and published, the entry invalid,
//!   published, the TLBs invalidated, then the new entry. A CPU that walks in between faults,
//!   waits for the lock that the caller holds, and finds a valid entry: it just tries again.
//! - A table is filled and published before it is linked, so no walker sees it half written.
//! - A table that was unlinked is given back only after the TLB invalidation: until then a CPU may
//!   hold a pointer to it and walk on from there.
//! - An entry that goes from invalid to valid needs no invalidation: faults are not cached.
//!
//! [`Frames`] keeps, for each table but a root, how many of its descriptors are valid: 0 frees it,
//! all makes it a candidate to be joined.

mod map;
mod unmap;

pub use map::Vacant;

use core::marker::PhantomData;

use mvirt_abi::Error;

use super::{Attrs, Desc, View};
use crate::addr::{Address, Granule, Level, Phys};
use crate::machine::Machine;
use crate::pool::BootPool;

/// What a change of a tree has to be invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush<A> {
    /// One leaf at an address, and the table descriptors that led to it.
    Leaf(A, Level),
    /// Everything from the first address up to the second, which is not included.
    Range(A, A),
}

/// A kind of tree.
pub trait Stage {
    /// The address that goes in.
    type Input: Address;
    /// Whether live blocks may be split.
    const SPLITS: bool;
    /// Whether live tables that become uniform are joined to blocks.
    const JOINS: bool;
    /// Invalidates what TLBs hold.
    fn flush<G: Granule, M: Machine>(&self, m: &mut M, what: Flush<Self::Input>);
}

/// Where tables come from and go to.
pub trait Frames<M: Machine> {
    /// A zeroed page for a table.
    fn take(&mut self, m: &mut M) -> Option<Phys>;
    /// Takes back a table that no walker can reach any more.
    fn give(&mut self, m: &mut M, table: Phys);
    /// Adds to the number of valid descriptors in `table`; answers the sum.
    fn count(&mut self, table: Phys, change: i32) -> usize;
}

/// The boot code's frames: they are never given back, and nobody counts yet.
#[derive(Debug)]
pub struct BootFrames<'p, G> {
    pool: &'p mut BootPool,
    granule: PhantomData<G>,
}

impl<'p, G> BootFrames<'p, G> {
    /// Frames from a run of pages.
    pub fn new(pool: &'p mut BootPool) -> Self {
        Self {
            pool,
            granule: PhantomData,
        }
    }
}

impl<G: Granule, M: Machine> Frames<M> for BootFrames<'_, G> {
    fn take(&mut self, m: &mut M) -> Option<Phys> {
        let page = self.pool.take::<G>()?;
        m.clear_table(page);
        Some(page)
    }

    /// Leaves the page out of use: a tree that does not reshape and is only added to, as at boot,
    /// gives none.
    fn give(&mut self, _m: &mut M, _table: Phys) {}

    /// Neither empty nor full: the counts are taken when the tables are adopted.
    fn count(&mut self, _table: Phys, _change: i32) -> usize {
        1
    }
}

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The table that holds the descriptor.
    pub table: Phys,
    /// Its index.
    pub index: usize,
    /// Its level.
    pub level: Level,
    /// What it says; never a table.
    pub view: View,
}

/// Sees each table and each leaf of a tree.
pub trait Visitor {
    /// Why a visit ends early.
    type Stop;
    /// A table with `valid` valid descriptors, after what is in it.
    fn table(&mut self, table: Phys, level: Level, valid: usize) -> Result<(), Self::Stop>;
    /// A leaf that translates `input`.
    fn leaf(&mut self, input: u64, level: Level, oa: Phys, attrs: Attrs) -> Result<(), Self::Stop>;
}

/// A tree of tables for granule `G` and stage `S`.
#[derive(Clone, Copy, Debug)]
pub struct Tree<G, S> {
    root: Phys,
    start: Level,
    bits: u32,
    stage: S,
    granule: PhantomData<G>,
}

/// One descriptor's share of a range.
struct Slot {
    index: usize,
    start: u64,
    end: u64,
    whole: bool,
}

/// The descriptors at `level` that a range touches, within one table.
fn slots<G: Granule>(level: Level, start: u64, end: u64) -> impl Iterator<Item = Slot> {
    let size = G::level_size(level);
    let mut at = start;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        // Inputs have 48 bits at most, so the sum stays far below 64.
        let next = ((at & !(size - 1)) + size).min(end);
        let slot = Slot {
            index: index::<G>(level, at),
            start: at,
            end: next,
            whole: next - at == size,
        };
        at = next;
        Some(slot)
    })
}

/// The index of the descriptor for `input` in its table at `level`.
fn index<G: Granule>(level: Level, input: u64) -> usize {
    // The mask leaves 11 bits at most: lossless in any usize.
    ((input >> G::level_shift(level)) & (G::ENTRIES as u64 - 1)) as usize
}

impl<G: Granule, S: Stage> Tree<G, S> {
    /// The tree at a zeroed `root` of level `start`, for inputs of `bits` bits.
    pub fn new(root: Phys, start: Level, bits: u32, stage: S) -> Self {
        Self {
            root,
            start,
            bits,
            stage,
            granule: PhantomData,
        }
    }

    /// The first root table.
    pub fn root(&self) -> Phys {
        self.root
    }

    /// What kind of tree it is.
    pub fn stage(&self) -> &S {
        &self.stage
    }

    /// Bits of input address.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The level of the root.
    pub fn start(&self) -> Level {
        self.start
    }

    /// The most tables below the root on one path.
    pub fn depth(&self) -> u64 {
        u64::from(3 - self.start.number())
    }

    /// log2 of the bytes that one of the concatenated root tables covers.
    fn root_shift(&self) -> u32 {
        G::level_shift(self.start) + G::BITS
    }

    /// The root table for `input`, which has no more than `bits` bits.
    fn root_table(&self, input: u64) -> Phys {
        Phys::new(self.root.raw() + ((input >> self.root_shift()) << G::SHIFT))
    }

    /// The root tables that a range touches, each with its part of the range.
    fn roots(&self, start: u64, end: u64) -> impl Iterator<Item = (Phys, u64, u64)> + '_ {
        let size = 1u64 << self.root_shift();
        let mut at = start;
        core::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let next = ((at & !(size - 1)) + size).min(end);
            let part = (self.root_table(at), at, next);
            at = next;
            Some(part)
        })
    }

    /// The end of a range of pages; [`Error::Invalid`] if it is empty, not aligned, or beyond the
    /// input size.
    fn end(&self, start: u64, size: u64) -> Result<u64, Error> {
        let end = start.checked_add(size).ok_or(Error::Invalid)?;
        let aligned = (start | size) & (G::BYTES - 1) == 0;
        if size == 0 || !aligned || end > 1 << self.bits {
            return Err(Error::Invalid);
        }
        Ok(end)
    }

    fn read<M: Machine>(m: &M, table: Phys, index: usize, level: Level) -> View {
        Desc::<G>::from_raw(m.read_desc(table, index)).view(level)
    }

    /// Where the walk for `input` ends; `None` beyond the input size.
    pub fn walk<M: Machine>(&self, m: &M, input: S::Input) -> Option<Entry> {
        let input = input.raw();
        if input >> self.bits != 0 {
            return None;
        }
        let mut table = self.root_table(input);
        let mut level = self.start;
        loop {
            let index = index::<G>(level, input);
            match (Self::read(m, table, index, level), level.below()) {
                (View::Table(next), Some(below)) => (table, level) = (next, below),
                (view, _) => {
                    return Some(Entry {
                        table,
                        index,
                        level,
                        view,
                    })
                }
            }
        }
    }

    /// Shows `visitor` each leaf in ascending order, and each table after its leaves.
    pub fn visit<M: Machine, V: Visitor>(&self, m: &M, visitor: &mut V) -> Result<(), V::Stop> {
        for (table, start, _) in self.roots(0, 1 << self.bits) {
            Self::visit_in(m, visitor, table, self.start, start)?;
        }
        Ok(())
    }

    /// Calls `each` with the input address, the level and the output address of each leaf that
    /// translates part of a range, in ascending order, until it answers `false`. Errors as
    /// [`map`](Self::map), without [`Error::Exists`] and [`Error::NoMemory`].
    pub fn leaves<M: Machine>(
        &self,
        m: &M,
        input: S::Input,
        size: u64,
        mut each: impl FnMut(S::Input, Level, Phys, Attrs) -> bool,
    ) -> Result<(), Error> {
        let end = self.end(input.raw(), size)?;
        for (table, start, end) in self.roots(input.raw(), end) {
            if !Self::leaves_in(m, table, self.start, start, end, &mut each) {
                break;
            }
        }
        Ok(())
    }

    fn leaves_in<M: Machine>(
        m: &M,
        table: Phys,
        level: Level,
        start: u64,
        end: u64,
        each: &mut impl FnMut(S::Input, Level, Phys, Attrs) -> bool,
    ) -> bool {
        for slot in slots::<G>(level, start, end) {
            let more = match (Self::read(m, table, slot.index, level), level.below()) {
                (View::Table(next), Some(below)) => {
                    Self::leaves_in(m, next, below, slot.start, slot.end, each)
                }
                (View::Leaf { oa, attrs }, _) => {
                    let base = slot.start & !(G::level_size(level) - 1);
                    each(S::Input::new(base), level, oa, attrs)
                }
                _ => true,
            };
            if !more {
                return false;
            }
        }
        true
    }

    fn visit_in<M: Machine, V: Visitor>(
        m: &M,
        visitor: &mut V,
        table: Phys,
        level: Level,
        base: u64,
    ) -> Result<(), V::Stop> {
        let size = G::level_size(level);
        let mut valid = 0;
        let mut at = base;
        for index in 0..G::ENTRIES {
            match (Self::read(m, table, index, level), level.below()) {
                (View::Table(next), Some(below)) => {
                    valid += 1;
                    Self::visit_in(m, visitor, next, below, at)?;
                }
                (View::Leaf { oa, attrs }, _) => {
                    valid += 1;
                    visitor.leaf(at, level, oa, attrs)?;
                }
                _ => (),
            }
            at += size;
        }
        visitor.table(table, level, valid)
    }
}
