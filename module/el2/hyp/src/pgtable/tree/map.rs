// SPDX-License-Identifier: GPL-2.0
//! Mapping, and joining what has become whole.

use mvirt_abi::Error;

use super::{slots, Entry, Frames, Slot, Stage, Tree};
use crate::addr::{Address, Granule, Level, Phys};
use crate::machine::Machine;
use crate::pgtable::{Attrs, Desc, Flush, View};

/// The place of a page where nothing is mapped: a descriptor of level 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacant {
    table: Phys,
    index: usize,
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

impl<G: Granule, S: Stage> Tree<G, S> {
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
    /// from level `first` on; joins tables that become uniform, where the stage does.
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
            let added = self.map_in(m, frames, table, self.start, start, end, how)?;
            frames.count(table, added);
        }
        m.publish();
        Ok(())
    }

    /// The place of one page, if it is empty and the tables that lead to it are there.
    pub fn vacant<M: Machine>(&self, m: &M, input: S::Input) -> Option<Vacant> {
        match self.walk(m, input)? {
            Entry {
                table,
                index,
                level: Level::L3,
                view: View::Invalid,
            } => Some(Vacant { table, index }),
            _ => None,
        }
    }

    /// Maps a page at the place that [`vacant`](Self::vacant) answered, if nothing has been mapped or
    /// unmapped since; what [`map`](Self::map) would do with three walks. [`Error::Invalid`] as there.
    pub fn map_at<M: Machine, F: Frames<M>>(
        &self,
        m: &mut M,
        frames: &mut F,
        place: Vacant,
        pa: Phys,
        attrs: Attrs,
    ) -> Result<(), Error> {
        const { assert!(!S::JOINS, "a full table is looked at by map()") };
        let leaf = Desc::<G>::leaf(Level::L3, pa, attrs).ok_or(Error::Invalid)?;
        m.write_desc(place.table, place.index, leaf.raw());
        frames.count(place.table, 1);
        m.publish();
        Ok(())
    }

    /// Answers how many descriptors became valid in `table`.
    #[allow(clippy::too_many_arguments)]
    fn map_in<M: Machine, F: Frames<M>>(
        &self,
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
                    let more = self.map_in(m, frames, next, below, slot.start, slot.end, how)?;
                    let full = frames.count(next, more) == G::ENTRIES;
                    if S::JOINS && full {
                        self.join(m, frames, table, level, &slot, next);
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
                                self.map_in(m, frames, next, below, slot.start, slot.end, how)?;
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
        &self,
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
        self.stage.flush::<G, M>(
            m,
            Flush::Range(S::Input::new(base), S::Input::new(base + size)),
        );
        m.write_desc(table, slot.index, block.raw());
        m.publish();
        frames.give(m, child);
    }
}
