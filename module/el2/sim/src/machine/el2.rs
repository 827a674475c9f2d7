// SPDX-License-Identifier: GPL-2.0
//! EL2 on the fake machine: its own accesses through its stage 1, and what it asks of the machine.

use mvirt_hyp::addr::{Granule, GuestIpa, Ipa, Level, Phys, Va};
use mvirt_hyp::machine::Machine;
use mvirt_hyp::pgtable::stage2::GuestRegime;

use super::content::Content;
use super::{FakeMachine, Fault, Which, SECRET};
use crate::tlb::{Leaf, Tlb};

impl<G: Granule> FakeMachine<G> {
    /// EL2 loads from or stores to a page of its own.
    fn el2_access(&self, page: Phys) {
        let Some((root, linear)) = self.el2 else {
            return;
        };
        if self.el2_known.borrow().contains(&page.raw()) {
            return;
        }
        let Some(va) = linear.va(page) else {
            return self.fault(Fault::El2Unmapped(page));
        };
        let mut tlb = self.el2_tlb.borrow_mut();
        let (leaf, conflict) = self.translate(&mut tlb, root, va.raw(), true);
        if let Some((old, new)) = conflict {
            self.fault(Fault::Conflict(old, new));
        }
        let writable = |leaf: Leaf| {
            let at = leaf.oa.raw() + (va.raw() - leaf.input);
            at == page.raw() && mvirt_hyp::pgtable::stage1::is_writable(leaf.attrs)
        };
        if leaf.is_some_and(writable) {
            self.el2_known.borrow_mut().insert(page.raw());
        } else {
            self.fault(Fault::El2Unmapped(page));
        }
    }

    fn el2_store(&mut self, page: Phys, value: u64) {
        self.el2_access(page);
        self.overwrite(page, value);
    }

    pub(super) fn before_flush(&mut self) {
        let unpublished = self.before.keys().find(|page| self.live.contains_key(page));
        if let Some(&page) = unpublished {
            self.fault(Fault::FlushedUnpublished(Phys::new(page)));
        }
        self.flushes += 1;
    }
}

impl<G: Granule> Machine for FakeMachine<G> {
    fn read_desc(&self, table: Phys, index: usize) -> u64 {
        self.el2_access(table);
        self.raw(table, index)
    }

    fn write_desc(&mut self, table: Phys, index: usize, desc: u64) {
        self.el2_store(table, SECRET);
        let live = self.live.get(&table.raw()).copied();
        match live {
            Some(live) => self.live_write(table, index, live, desc),
            None if desc & 1 != 0 => {
                let guests = self.guests.values().flat_map(|guest| &guest.tlbs);
                let mut tlbs = self.host_tlbs.iter().chain(guests);
                if tlbs.any(|tlb| tlb.points_to(table)) || self.el2_tlb.borrow().points_to(table) {
                    self.fault(Fault::ReusedWhileCached(table));
                }
            }
            None => (),
        }
        self.page_mut(table)[index] = desc;
        match live.map(|live| live.which) {
            Some(Which::Host | Which::Guest(_)) => self.speculate(),
            Some(Which::El2) => self.el2_known.get_mut().clear(),
            None => (),
        }
    }

    fn clear_table(&mut self, table: Phys) {
        self.el2_store(table, 0);
        self.page_mut(table).fill(0);
    }

    fn publish(&mut self) {
        self.before.clear();
        self.speculate();
    }

    fn scrub(&mut self, page: Phys) {
        self.el2_store(page, 0);
        self.page_mut(page).fill(0);
        self.contents.insert(page.raw(), Content::default());
    }

    fn clean_page(&mut self, page: Phys, executed: bool) {
        let content = self.contents.entry(page.raw()).or_default();
        content.memory = content.cache.take().unwrap_or(content.memory);
        if executed {
            self.fetched_old.remove(&page.raw());
        }
    }

    fn scrub_page(&mut self, page: Phys) {
        self.overwrite(page, 0);
        self.page_mut(page).fill(0);
        self.contents.insert(page.raw(), Content::default());
    }

    fn tlb_flush_guest_page(&mut self, guest: GuestRegime, ipa: GuestIpa, level: Level) {
        self.flush_guest(guest, |tlb| tlb.forget(ipa.raw(), Some(level)));
    }

    fn tlb_flush_guest_all(&mut self, guest: GuestRegime) {
        self.flush_guest(guest, Tlb::forget_all);
    }

    fn tlb_flush_host_page(&mut self, ipa: Ipa, level: Level) {
        self.before_flush();
        for tlb in &mut self.host_tlbs {
            tlb.forget(ipa.raw(), Some(level));
        }
        self.speculate();
    }

    fn tlb_flush_host_all(&mut self) {
        self.before_flush();
        for tlb in &mut self.host_tlbs {
            tlb.forget_all();
        }
        self.speculate();
    }

    fn tlb_flush_el2(&mut self, va: Va) {
        self.before_flush();
        self.el2_tlb.get_mut().forget(va.raw(), None);
        self.el2_known.get_mut().clear();
    }
}
