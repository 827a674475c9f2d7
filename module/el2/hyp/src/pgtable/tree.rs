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

use core::marker::PhantomData;

use mvirt_abi::Error;

use super::{Attrs, Desc, View};
use crate::addr::{Address, Granule, Level, Phys};
use crate::machine::Machine;
use crate::pool::{BootPool, Chain};

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
    /// Whether live blocks may be split and tables joined.
    const RESHAPES: bool;
    /// Invalidates what TLBs hold.
    fn flush<G: Granule, M: Machine>(m: &mut M, what: Flush<Self::Input>);
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
#[derive(Debug)]
pub struct Tree<G, S> {
    root: Phys,
    start: Level,
    bits: u32,
    kind: PhantomData<(G, S)>,
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

/// What to map.
#[derive(Clone, Copy)]
struct Mapping {
    /// Output address minus input address, modulo 2^64.
    offset: u64,
    attrs: Attrs,
    /// The first level at which leaves may be.
    first: Level,
}

/// What an unmap has taken out so far.
struct Removed<A> {
    leaves: u64,
    last: Option<(A, Level)>,
    tables: Chain,
}

impl<G: Granule, S: Stage> Tree<G, S> {
    /// The tree at a zeroed `root` of level `start`, for inputs of `bits` bits.
    pub fn new(root: Phys, start: Level, bits: u32) -> Self {
        Self {
            root,
            start,
            bits,
            kind: PhantomData,
        }
    }

    /// The first root table.
    pub fn root(&self) -> Phys {
        self.root
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

    /// Pages that [`map`](Self::map) would take now; errors as there, without
    /// [`Error::NoMemory`].
    pub fn map_cost<M: Machine>(
        &self,
        m: &M,
        input: S::Input,
        size: u64,
        pa: Phys,
        first: Level,
    ) -> Result<u64, Error> {
        let end = self.end(input.raw(), size)?;
        let how = Self::mapping(input, size, pa, Attrs::new(0), first)?;
        let mut cost = 0;
        for (table, start, end) in self.roots(input.raw(), end) {
            cost += Self::map_cost_in(m, Some(table), self.start, start, end, how)?;
        }
        Ok(cost)
    }

    fn mapping(
        input: S::Input,
        size: u64,
        pa: Phys,
        attrs: Attrs,
        first: Level,
    ) -> Result<Mapping, Error> {
        let end = pa.checked_add(size).ok_or(Error::Invalid)?;
        if !pa.is_page::<G>() || end.raw() > 1 << 48 {
            return Err(Error::Invalid);
        }
        let offset = pa.raw().wrapping_sub(input.raw());
        Ok(Mapping {
            offset,
            attrs,
            first: first.max(G::FIRST_BLOCK),
        })
    }

    /// The output address of a slot that one leaf can map.
    fn leaf_oa(level: Level, slot: &Slot, how: Mapping) -> Option<Phys> {
        let oa = slot.start.wrapping_add(how.offset);
        let fits = slot.whole && level >= how.first && oa & (G::level_size(level) - 1) == 0;
        fits.then_some(Phys::new(oa))
    }

    fn map_cost_in<M: Machine>(
        m: &M,
        table: Option<Phys>,
        level: Level,
        start: u64,
        end: u64,
        how: Mapping,
    ) -> Result<u64, Error> {
        let mut cost = 0;
        for slot in slots::<G>(level, start, end) {
            let view = table.map_or(View::Invalid, |t| Self::read(m, t, slot.index, level));
            let next = match view {
                View::Leaf { .. } => return Err(Error::Exists),
                View::Invalid if Self::leaf_oa(level, &slot, how).is_some() => continue,
                View::Invalid => None,
                View::Table(next) => Some(next),
            };
            let below = level.below().ok_or(Error::Invalid)?;
            cost += u64::from(next.is_none());
            cost += Self::map_cost_in(m, next, below, slot.start, slot.end, how)?;
        }
        Ok(cost)
    }

    /// Maps `size` bytes at `input` to `pa`, all of which is invalid now, in the largest leaves
    /// from level `first` on; joins tables that become uniform, where the stage reshapes.
    ///
    /// [`Error::Invalid`] if the range is empty, not page aligned or too high, [`Error::Exists`]
    /// if part of it is mapped, [`Error::NoMemory`] without a page. Nothing fails, and nothing is
    /// half done, if [`map_cost`](Self::map_cost) granted it and `frames` has as many pages.
    #[allow(clippy::too_many_arguments)]
    pub fn map<M: Machine, F: Frames<M>>(
        &self,
        m: &mut M,
        frames: &mut F,
        input: S::Input,
        size: u64,
        pa: Phys,
        attrs: Attrs,
        first: Level,
    ) -> Result<(), Error> {
        let end = self.end(input.raw(), size)?;
        let how = Self::mapping(input, size, pa, attrs, first)?;
        for (table, start, end) in self.roots(input.raw(), end) {
            let added = Self::map_in(m, frames, table, self.start, start, end, how)?;
            frames.count(table, added);
        }
        m.publish();
        Ok(())
    }

    /// Answers how many descriptors became valid in `table`.
    fn map_in<M: Machine, F: Frames<M>>(
        m: &mut M,
        frames: &mut F,
        table: Phys,
        level: Level,
        start: u64,
        end: u64,
        how: Mapping,
    ) -> Result<i32, Error> {
        let mut added = 0;
        for slot in slots::<G>(level, start, end) {
            let view = Self::read(m, table, slot.index, level);
            match (view, level.below()) {
                (View::Leaf { .. }, _) => return Err(Error::Exists),
                (View::Table(next), Some(below)) => {
                    let more = Self::map_in(m, frames, next, below, slot.start, slot.end, how)?;
                    let full = frames.count(next, more) == G::ENTRIES;
                    if S::RESHAPES && full {
                        Self::join(m, frames, table, level, &slot, next);
                    }
                }
                (_, below) => {
                    let leaf = Self::leaf_oa(level, &slot, how)
                        .and_then(|oa| Desc::<G>::leaf(level, oa, how.attrs));
                    let desc = match leaf {
                        Some(leaf) => leaf,
                        None => {
                            let below = below.ok_or(Error::Invalid)?;
                            let next = frames.take(m).ok_or(Error::NoMemory)?;
                            let more =
                                Self::map_in(m, frames, next, below, slot.start, slot.end, how)?;
                            frames.count(next, more);
                            m.publish();
                            Desc::table(next)
                        }
                    };
                    m.write_desc(table, slot.index, desc.raw());
                    added += 1;
                }
            }
        }
        Ok(added)
    }

    /// Makes a block of a full table, if its leaves are those of one.
    fn join<M: Machine, F: Frames<M>>(
        m: &mut M,
        frames: &mut F,
        table: Phys,
        level: Level,
        slot: &Slot,
        child: Phys,
    ) {
        let Some(below) = level.below() else { return };
        let View::Leaf { oa, attrs } = Self::read(m, child, 0, below) else {
            return;
        };
        let size = G::level_size(level);
        if oa.raw() & (size - 1) != 0 {
            return;
        }
        let Some(block) = Desc::<G>::leaf(level, oa, attrs) else {
            return;
        };
        let step = G::level_size(below);
        let mut expected = oa.raw();
        for index in 0..G::ENTRIES {
            let leaf = View::Leaf {
                oa: Phys::new(expected),
                attrs,
            };
            if Self::read(m, child, index, below) != leaf {
                return;
            }
            expected += step;
        }
        let base = slot.start & !(size - 1);
        m.write_desc(table, slot.index, Desc::<G>::INVALID.raw());
        m.publish();
        // Up to as many TLB entries as the table had: all of the range, not one address.
        S::flush::<G, M>(
            m,
            Flush::Range(S::Input::new(base), S::Input::new(base + size)),
        );
        m.write_desc(table, slot.index, block.raw());
        m.publish();
        frames.give(m, child);
    }

    /// Pages that [`unmap`](Self::unmap) would take now for splits; errors as there, without
    /// [`Error::NoMemory`].
    pub fn unmap_cost<M: Machine>(&self, m: &M, input: S::Input, size: u64) -> Result<u64, Error> {
        let end = self.end(input.raw(), size)?;
        let mut cost = 0;
        for (table, start, end) in self.roots(input.raw(), end) {
            cost += Self::unmap_cost_in(m, table, self.start, start, end)?;
        }
        Ok(cost)
    }

    fn unmap_cost_in<M: Machine>(
        m: &M,
        table: Phys,
        level: Level,
        start: u64,
        end: u64,
    ) -> Result<u64, Error> {
        let mut cost = 0;
        for slot in slots::<G>(level, start, end) {
            match (Self::read(m, table, slot.index, level), level.below()) {
                (View::Leaf { .. }, _) if !slot.whole && !S::RESHAPES => {
                    return Err(Error::Invalid);
                }
                (View::Leaf { .. }, Some(_)) if !slot.whole => {
                    cost += Self::split_cost(level, &slot)
                }
                (View::Table(next), Some(below)) => {
                    cost += Self::unmap_cost_in(m, next, below, slot.start, slot.end)?;
                }
                _ => (),
            }
        }
        Ok(cost)
    }

    /// Tables that it takes to replace a block by one with a hole.
    fn split_cost(level: Level, hole: &Slot) -> u64 {
        let Some(below) = level.below() else { return 0 };
        let mut cost = 1;
        for part in slots::<G>(below, hole.start, hole.end).filter(|part| !part.whole) {
            cost += Self::split_cost(below, &part);
        }
        cost
    }

    /// Makes a range invalid, whatever was mapped in it, and invalidates it in all TLBs before it
    /// returns; blocks at its edges are split, where the stage reshapes; tables that become empty
    /// go back to `frames`.
    ///
    /// [`Error::Invalid`] if the range is empty, not page aligned or too high, or a block would
    /// have to be split in a stage that does not reshape; [`Error::NoMemory`] without a page.
    /// Nothing fails, and nothing is half done, if [`unmap_cost`](Self::unmap_cost) granted it and
    /// `frames` has as many pages.
    pub fn unmap<M: Machine, F: Frames<M>>(
        &self,
        m: &mut M,
        frames: &mut F,
        input: S::Input,
        size: u64,
    ) -> Result<(), Error> {
        let range_end = self.end(input.raw(), size)?;
        let mut out = Removed {
            leaves: 0,
            last: None,
            tables: Chain::new(),
        };
        for (table, start, end) in self.roots(input.raw(), range_end) {
            let removed = Self::unmap_in(m, frames, table, self.start, start, end, &mut out)?;
            frames.count(table, -removed);
        }
        m.publish();
        match (out.leaves, out.last) {
            (0, _) => (),
            (1, Some((at, level))) => S::flush::<G, M>(m, Flush::Leaf(at, level)),
            _ => S::flush::<G, M>(m, Flush::Range(input, S::Input::new(range_end))),
        }
        while let Some(table) = out.tables.pop(m) {
            frames.give(m, table);
        }
        Ok(())
    }

    /// Answers how many descriptors became invalid in `table`.
    fn unmap_in<M: Machine, F: Frames<M>>(
        m: &mut M,
        frames: &mut F,
        table: Phys,
        level: Level,
        start: u64,
        end: u64,
        out: &mut Removed<S::Input>,
    ) -> Result<i32, Error> {
        let mut removed = 0;
        for slot in slots::<G>(level, start, end) {
            match (Self::read(m, table, slot.index, level), level.below()) {
                (View::Leaf { .. }, _) if slot.whole => {
                    m.write_desc(table, slot.index, Desc::<G>::INVALID.raw());
                    removed += 1;
                    out.leaves += 1;
                    out.last = Some((S::Input::new(slot.start), level));
                }
                (View::Leaf { oa, attrs }, Some(below)) if S::RESHAPES => {
                    Self::split(m, frames, table, level, below, &slot, oa, attrs)?;
                }
                (View::Leaf { .. }, _) => return Err(Error::Invalid),
                (View::Table(next), Some(below)) => {
                    let less = Self::unmap_in(m, frames, next, below, slot.start, slot.end, out)?;
                    if frames.count(next, -less) == 0 {
                        m.write_desc(table, slot.index, Desc::<G>::INVALID.raw());
                        removed += 1;
                        out.tables.push(m, next);
                    }
                }
                _ => (),
            }
        }
        Ok(removed)
    }

    /// Replaces a block by a table that maps what it did, but for the slot.
    #[allow(clippy::too_many_arguments)]
    fn split<M: Machine, F: Frames<M>>(
        m: &mut M,
        frames: &mut F,
        table: Phys,
        level: Level,
        below: Level,
        hole: &Slot,
        oa: Phys,
        attrs: Attrs,
    ) -> Result<(), Error> {
        let base = hole.start & !(G::level_size(level) - 1);
        let next = Self::fill(m, frames, below, base, oa, attrs, hole)?;
        m.write_desc(table, hole.index, Desc::<G>::INVALID.raw());
        m.publish();
        S::flush::<G, M>(m, Flush::Leaf(S::Input::new(base), level));
        m.write_desc(table, hole.index, Desc::<G>::table(next).raw());
        m.publish();
        Ok(())
    }

    /// A new table at `level` that maps what a block at `base` did, but for the hole. It is not
    /// linked yet, and published.
    fn fill<M: Machine, F: Frames<M>>(
        m: &mut M,
        frames: &mut F,
        level: Level,
        base: u64,
        oa: Phys,
        attrs: Attrs,
        hole: &Slot,
    ) -> Result<Phys, Error> {
        let table = frames.take(m).ok_or(Error::NoMemory)?;
        let size = G::level_size(level);
        let mut valid = 0;
        let (mut at, mut oa) = (base, oa.raw());
        for index in 0..G::ENTRIES {
            let end = at + size;
            let covered = hole.start <= at && end <= hole.end;
            let apart = end <= hole.start || hole.end <= at;
            let desc = if apart {
                Desc::<G>::leaf(level, Phys::new(oa), attrs)
            } else if covered {
                None
            } else {
                let below = level.below().ok_or(Error::Invalid)?;
                let next = Self::fill(m, frames, below, at, Phys::new(oa), attrs, hole)?;
                Some(Desc::table(next))
            };
            if let Some(desc) = desc {
                m.write_desc(table, index, desc.raw());
                valid += 1;
            }
            (at, oa) = (end, oa + size);
        }
        frames.count(table, valid);
        m.publish();
        Ok(table)
    }

    /// Shows `visitor` each leaf in ascending order, and each table after its leaves.
    pub fn visit<M: Machine, V: Visitor>(&self, m: &M, visitor: &mut V) -> Result<(), V::Stop> {
        for (table, start, _) in self.roots(0, 1 << self.bits) {
            Self::visit_in(m, visitor, table, self.start, start)?;
        }
        Ok(())
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
