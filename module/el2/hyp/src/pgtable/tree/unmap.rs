// SPDX-License-Identifier: GPL-2.0
//! Unmapping, and splitting blocks at the edges.

use mvirt_abi::Error;

use super::{slots, Frames, Slot, Stage, Tree};
use crate::addr::{Address, Granule, Level, Phys};
use crate::machine::Machine;
use crate::pgtable::{Attrs, Desc, Flush, View};
use crate::pool::Chain;

/// What an unmap has taken out so far.
struct Removed<A> {
    leaves: u64,
    last: Option<(A, Level)>,
    tables: Chain,
}

impl<G: Granule, S: Stage> Tree<G, S> {
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
                (View::Leaf { .. }, _) if !slot.whole && !S::SPLITS => {
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
    /// returns; blocks at its edges are split, where the stage does; tables that become empty
    /// go back to `frames`.
    ///
    /// [`Error::Invalid`] if the range is empty, not page aligned or too high, or a block would
    /// have to be split in a stage that does not; [`Error::NoMemory`] without a page.
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
            let removed = self.unmap_in(m, frames, table, self.start, start, end, &mut out)?;
            frames.count(table, -removed);
        }
        m.publish();
        match (out.leaves, out.last) {
            (0, _) => (),
            (1, Some((at, level))) => self.stage.flush::<G, M>(m, Flush::Leaf(at, level)),
            _ => self
                .stage
                .flush::<G, M>(m, Flush::Range(input, S::Input::new(range_end))),
        }
        while let Some(table) = out.tables.pop(m) {
            frames.give(m, table);
        }
        Ok(())
    }

    /// Answers how many descriptors became invalid in `table`.
    #[allow(clippy::too_many_arguments)]
    fn unmap_in<M: Machine, F: Frames<M>>(
        &self,
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
                (View::Leaf { oa, attrs }, Some(below)) if S::SPLITS => {
                    self.split(m, frames, table, level, below, &slot, oa, attrs)?;
                }
                (View::Leaf { .. }, _) => return Err(Error::Invalid),
                (View::Table(next), Some(below)) => {
                    let less = self.unmap_in(m, frames, next, below, slot.start, slot.end, out)?;
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
        &self,
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
        // The invalid entry, and the new table with it.
        m.publish();
        self.stage
            .flush::<G, M>(m, Flush::Leaf(S::Input::new(base), level));
        m.write_desc(table, hole.index, Desc::<G>::table(next).raw());
        m.publish();
        Ok(())
    }

    /// A new table at `level` that maps what a block at `base` did, but for the hole. It is not
    /// linked yet, nor published.
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
        Ok(table)
    }
}
