// SPDX-License-Identifier: GPL-2.0
//! The tables that are linked into a tree, and what may be done to them.

use mvirt_hyp::addr::{Granule, Level, Phys};
use mvirt_hyp::pgtable::{Desc, View};

use super::{FakeMachine, Fault, Live, Which};

impl<G: Granule> FakeMachine<G> {
    /// Marks a table and all below it as live.
    pub(super) fn link(&mut self, which: Which, table: Phys, level: Level, base: u64) {
        self.live.insert(table.raw(), Live { which, level, base });
        for index in 0..G::ENTRIES {
            let view = Desc::<G>::from_raw(self.raw(table, index)).view(level);
            match (view, level.below()) {
                (View::Table(next), Some(below)) => {
                    let base = base + G::level_size(level) * index as u64;
                    self.link(which, next, below, base);
                }
                (View::Leaf { oa, attrs }, _) => {
                    let at = base + G::level_size(level) * index as u64;
                    self.leaf_added(which, level, at, oa, attrs);
                }
                _ => (),
            }
        }
    }

    pub(super) fn unlink(&mut self, which: Which, table: Phys, level: Level) {
        let base = self.live.remove(&table.raw()).map_or(0, |live| live.base);
        for index in 0..G::ENTRIES {
            let view = Desc::<G>::from_raw(self.raw(table, index)).view(level);
            match (view, level.below()) {
                (View::Table(next), Some(below)) => self.unlink(which, next, below),
                (View::Leaf { oa, .. }, _) => {
                    let at = base + G::level_size(level) * index as u64;
                    self.leaf_removed(which, level, at, oa);
                }
                _ => (),
            }
        }
    }

    pub(super) fn tlb_holds(&self, which: Which, base: u64, size: u64) -> bool {
        match which {
            Which::Host => self.host_tlbs.iter().any(|tlb| tlb.holds(base, size)),
            Which::El2 => self.el2_tlb.borrow().holds(base, size),
            Which::Guest(vmid) => self.guest_tlbs(vmid).any(|tlb| tlb.holds(base, size)),
        }
    }

    /// A live table changes: is this how it may?
    pub(super) fn live_write(&mut self, table: Phys, index: usize, live: Live, desc: u64) {
        let old = Desc::<G>::from_raw(self.raw(table, index)).view(live.level);
        let new = Desc::<G>::from_raw(desc).view(live.level);
        let size = G::level_size(live.level);
        let base = live.base + size * index as u64;
        if old != View::Invalid && new != View::Invalid && old != new {
            self.fault(Fault::Overwritten(table, index));
        }
        if new != View::Invalid && old != new && self.tlb_holds(live.which, base, size) {
            self.fault(Fault::NotInvalidated(table, index));
        }
        match (old, live.level.below()) {
            (View::Table(next), Some(below)) => self.unlink(live.which, next, below),
            (View::Leaf { oa, .. }, _) => self.leaf_removed(live.which, live.level, base, oa),
            _ => (),
        }
        match (new, live.level.below()) {
            (View::Table(next), Some(below)) => {
                self.link(live.which, next, below, base);
                self.unpublished_below(next, below);
            }
            (View::Leaf { oa, attrs }, _) => {
                self.leaf_added(live.which, live.level, base, oa, attrs);
            }
            _ => (),
        }
    }

    fn unpublished_below(&self, table: Phys, level: Level) {
        if self.before.contains_key(&table.raw()) {
            self.fault(Fault::LinkedUnpublished(table));
        }
        let Some(below) = level.below() else { return };
        for index in 0..G::ENTRIES {
            if let View::Table(next) = Desc::<G>::from_raw(self.raw(table, index)).view(level) {
                self.unpublished_below(next, below);
            }
        }
    }
}
