// SPDX-License-Identifier: GPL-2.0
//! The invariants, checked on the state as it is.
//!
//! [`Memory::check`] goes over everything, for tests. [`Memory::check_tables`] takes time in the
//! order of the tables and of what EL2 has, not of all RAM: a debug build can afford it at each
//! exit. [`Memory::check_page`] looks at one page.

use super::guest::Guest;
use super::{Memory, Pages};
use crate::addr::{Granule, Ipa, Level, Phys};
use crate::machine::Machine;
use crate::page::{Owner, PageState, Share, Use, View as Rights};
use crate::pgtable::stage1::{is_executable, is_writable};
use crate::pgtable::stage2::{decoy_attrs, guest_attrs, Rights as GuestRights};
use crate::pgtable::{Attrs, View, Visitor};
use crate::pool::RESERVE;

/// A broken invariant. Pages by number, tables by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The word of a page is not one of the used combinations.
    Word(u64),
    /// The host's stage 2 reaches a page that is not the host's.
    HostReaches(u64),
    /// The host's stage 2 has a leaf that is not an identity, or with wrong attributes.
    HostLeaf(u64),
    /// A guest's stage 2 reaches a page that is neither its own nor lent to it.
    GuestReaches(u64),
    /// A guest's stage 2 has a leaf with wrong attributes.
    GuestLeaf(u64),
    /// A page that protected guests own is in none of their tables, or mappings of shared pages are
    /// not as many as was counted.
    GuestSum(u64),
    /// EL2's stage 1 reaches a page that is neither EL2's nor shared with it.
    El2Reaches(u64),
    /// EL2's stage 1 maps a page writable and executable, or the image writable.
    El2Rights(u64),
    /// EL2's linear map has a leaf in the wrong place or with the wrong rights.
    El2Linear(u64),
    /// EL2's linear map lacks a page that EL2 works on.
    El2Lacks(u64),
    /// A table is not marked as one, or its count of valid descriptors is wrong, or it is empty.
    Table(Phys),
    /// Tables, free pages or shares are not as many as was counted.
    Sum(Use),
    /// Free pages and the tables that the host's stage 2 can do without are that many: fewer than the
    /// reserve and what decoys may need.
    Reserve(u64),
    /// A list of free pages is damaged, or holds a page that is not free.
    Pool(u64),
}

/// Whether EL2 works on the page through its linear map.
fn in_linear_map(state: PageState) -> bool {
    state.view(Owner::El2) == Rights::SharedBorrowed
        || matches!(
            state.usage,
            Use::Free
                | Use::HostTable
                | Use::El2Table
                | Use::GuestTable
                | Use::Meta
                | Use::Vm
                | Use::Vcpu
                | Use::Vgic
                | Use::Decoy
        )
}

struct HostCheck<'a, 'm, G> {
    memory: &'a Memory<'m, G>,
    tables: u64,
    /// Decoys that are mapped.
    decoys: u64,
    /// Whether to look at the word of each page of RAM that is mapped.
    words: bool,
}

impl<G: Granule> Visitor for HostCheck<'_, '_, G> {
    type Stop = Violation;

    fn table(&mut self, table: Phys, level: Level, valid: usize) -> Result<(), Violation> {
        self.tables += 1;
        let root = level == self.memory.host.start();
        self.memory.check_table(table, Use::HostTable, valid, root)
    }

    fn leaf(&mut self, input: u64, level: Level, oa: Phys, attrs: Attrs) -> Result<(), Violation> {
        let memory = self.memory;
        let start = input >> G::SHIFT;
        let pages = Pages {
            start,
            end: start + (G::level_size(level) >> G::SHIFT),
        };
        let ram = memory.pages.ram();
        if attrs == decoy_attrs(memory.fwb) {
            self.decoys += 1;
            let there = level == Level::L3 && memory.decoys.is_at(oa, Ipa::new(input));
            let right = there && !memory.state(start)?.host_may_access();
            return right.then_some(()).ok_or(Violation::HostLeaf(start));
        }
        let expected = match ram.range_of(start) {
            Some(range) if range.contains(pages) => memory.ram_attrs,
            None if !ram.touches(pages) => memory.mmio_attrs,
            _ => return Err(Violation::HostLeaf(start)),
        };
        if oa.raw() != input || attrs != expected {
            return Err(Violation::HostLeaf(start));
        }
        if attrs == memory.mmio_attrs || !self.words {
            return Ok(());
        }
        for pfn in pages.start..pages.end {
            if !memory.state(pfn)?.host_may_access() {
                return Err(Violation::HostReaches(pfn));
            }
        }
        Ok(())
    }
}

struct GuestCheck<'a, 'm, G, M> {
    memory: &'a Memory<'m, G>,
    m: &'a M,
    guest: &'a Guest<G>,
    owner: Owner,
    tables: u64,
    /// Pages that are mapped.
    pages: u64,
}

impl<G: Granule, M: Machine> Visitor for GuestCheck<'_, '_, G, M> {
    type Stop = Violation;

    fn table(&mut self, table: Phys, level: Level, valid: usize) -> Result<(), Violation> {
        self.tables += 1;
        let root = level == self.guest.tree().start();
        self.memory.check_table(table, Use::GuestTable, valid, root)
    }

    fn leaf(&mut self, _: u64, level: Level, oa: Phys, attrs: Attrs) -> Result<(), Violation> {
        let start = oa.pfn::<G>();
        let protected = self.guest.is_protected();
        let rights = if protected {
            GuestRights::ALL
        } else {
            GuestRights::of(attrs)
        };
        if attrs != guest_attrs(rights, self.memory.fwb) {
            return Err(Violation::GuestLeaf(start));
        }
        for pfn in start..start + (G::level_size(level) >> G::SHIFT) {
            let state = self.memory.state(pfn)?;
            let right = if protected {
                state.owner == self.owner
            } else {
                state.share == Share::WithGuests
            };
            if !right {
                return Err(Violation::GuestReaches(pfn));
            }
            let page = Phys::from_pfn::<G>(pfn).ok_or(Violation::Word(pfn))?;
            if !state.host_may_access() && self.memory.host_maps(self.m, page) {
                return Err(Violation::HostReaches(pfn));
            }
            self.pages += 1;
        }
        Ok(())
    }
}

struct El2Check<'a, 'm, G, M> {
    memory: &'a Memory<'m, G>,
    m: &'a M,
    tables: u64,
    linear: u64,
}

impl<G: Granule, M: Machine> El2Check<'_, '_, G, M> {
    fn page(&mut self, va: u64, pa: Phys, attrs: Attrs) -> Result<(), Violation> {
        let memory = self.memory;
        let pfn = pa.pfn::<G>();
        let executable = is_executable(memory.el2.regime(), attrs);
        let state = match memory.pages.ram().index(pfn) {
            Some(_) => memory.state(pfn)?,
            // A device, such as the GIC: outside RAM, so outside the linear map and never code.
            None if executable => return Err(Violation::El2Rights(pfn)),
            None => return Ok(()),
        };
        if state.view(Owner::El2) == Rights::NoPage {
            return Err(Violation::El2Reaches(pfn));
        }
        if !state.host_may_access() && memory.host_maps(self.m, pa) {
            return Err(Violation::HostReaches(pfn));
        }
        let image = state.usage == Use::Image;
        if (is_writable(attrs) && image) || (executable && !image) {
            return Err(Violation::El2Rights(pfn));
        }
        let linear = memory.el2.linear().va(pa).is_some_and(|at| at.raw() == va);
        if in_linear_map(state) {
            if !linear || !is_writable(attrs) {
                return Err(Violation::El2Linear(pfn));
            }
            self.linear += 1;
        }
        Ok(())
    }
}

impl<G: Granule, M: Machine> Visitor for El2Check<'_, '_, G, M> {
    type Stop = Violation;

    fn table(&mut self, table: Phys, level: Level, valid: usize) -> Result<(), Violation> {
        self.tables += 1;
        let root = level == self.memory.el2.tree().start();
        self.memory.check_table(table, Use::El2Table, valid, root)
    }

    fn leaf(&mut self, input: u64, level: Level, oa: Phys, attrs: Attrs) -> Result<(), Violation> {
        let mut offset = 0;
        while offset < G::level_size(level) {
            self.page(input + offset, Phys::new(oa.raw() + offset), attrs)?;
            offset += G::BYTES;
        }
        Ok(())
    }
}

fn same(usage: Use, counted: u64, kept: u64) -> Result<(), Violation> {
    if counted == kept {
        Ok(())
    } else {
        Err(Violation::Sum(usage))
    }
}

/// How many pages of RAM are used for what.
#[derive(Default)]
struct Sums {
    free: u64,
    host_tables: u64,
    el2_tables: u64,
    shared: u64,
    linear: u64,
    guest_tables: u64,
    objects: u64,
    decoys: u64,
    guest_pages: u64,
    guest_shares: u64,
}

impl<G: Granule> Memory<'_, G> {
    /// Checks every invariant that the state shows. Takes time in the order of all RAM.
    pub fn check<M: Machine>(&self, m: &M) -> Result<(), Violation> {
        let sums = self.sums()?;
        let linear = self.check_trees(m, true)?;
        same(Use::HostTable, sums.host_tables, self.host_tables)?;
        same(Use::El2Table, sums.el2_tables, self.el2_tables)?;
        same(Use::Free, sums.free, self.pool.listed())?;
        same(Use::Decoy, sums.decoys, self.decoys.nr())?;
        same(Use::None, sums.shared, self.shared)?;
        same(Use::GuestTable, sums.guest_tables, self.guest_tables)?;
        same(Use::Vm, sums.objects, self.objects)?;
        if sums.guest_pages != self.guest_pages {
            return Err(Violation::GuestSum(sums.guest_pages));
        }
        if sums.guest_shares != self.guest_shares {
            return Err(Violation::GuestSum(sums.guest_shares));
        }
        if sums.linear != linear {
            return Err(Violation::El2Lacks(sums.linear.abs_diff(linear)));
        }
        Ok(())
    }

    /// Checks what the tables show: each table is marked and counted, each leaf of the host is an
    /// identity, each page that a guest maps is its own or lent to it, each page that EL2 maps is its own or shared with it and rightly mapped, the host
    /// maps none that is EL2's alone, and the pool is whole.
    pub fn check_tables<M: Machine>(&self, m: &M) -> Result<(), Violation> {
        self.check_trees(m, false).map(|_| ())
    }

    /// Answers how many pages of EL2's linear map there are, of those that EL2 works on.
    fn check_trees<M: Machine>(&self, m: &M, words: bool) -> Result<u64, Violation> {
        let mut host = HostCheck {
            memory: self,
            tables: 0,
            decoys: 0,
            words,
        };
        self.host.visit(m, &mut host)?;
        same(Use::HostTable, host.tables, self.host_tables)?;
        self.check_decoys(host.decoys)?;
        let mut el2 = El2Check {
            memory: self,
            m,
            tables: 0,
            linear: 0,
        };
        self.el2.tree().visit(m, &mut el2)?;
        same(Use::El2Table, el2.tables, self.el2_tables)?;
        self.check_guests(m)?;
        let mut free = 0;
        let mut wrong = None;
        let whole = self.pool.for_each(m, |page| {
            let pfn = page.pfn::<G>();
            free += 1;
            if self.pages.get(pfn) != Ok(PageState::el2(Use::Free)) {
                wrong = Some(pfn);
            }
            wrong.is_none()
        });
        if !whole {
            return Err(Violation::Pool(wrong.unwrap_or(0)));
        }
        same(Use::Free, free, self.pool.listed())?;
        Ok(el2.linear)
    }

    /// Each decoy is a page of its own and, if it is not idle, one of those that were `seen` in the
    /// host's stage 2; the pool keeps a page for each that has no table.
    fn check_decoys(&self, seen: u64) -> Result<(), Violation> {
        let (mapped, with_table) = self.decoys.mapped();
        same(Use::Decoy, seen, mapped)?;
        same(
            Use::Decoy,
            self.decoys.nr(),
            with_table + self.pool.wanted(),
        )?;
        let room = self.pool.listed() + self.host_tables - self.shape.root_tables;
        if room < RESERVE + self.decoys.nr() {
            return Err(Violation::Reserve(room));
        }
        Ok(())
    }

    fn check_guests<M: Machine>(&self, m: &M) -> Result<(), Violation> {
        let (mut tables, mut owned, mut lent) = (0, 0, 0);
        for (slot, guest) in (0..).zip(&self.guests.0) {
            let Some(guest) = guest else { continue };
            let mut check = GuestCheck {
                memory: self,
                m,
                guest,
                owner: Owner::Guest(slot),
                tables: 0,
                pages: 0,
            };
            guest.tree().visit(m, &mut check)?;
            tables += check.tables;
            if guest.is_protected() {
                owned += check.pages + guest.leaving();
            } else {
                lent += check.pages;
            }
        }
        same(Use::GuestTable, tables, self.guest_tables)?;
        if owned != self.guest_pages {
            return Err(Violation::GuestSum(owned));
        }
        if lent != self.guest_shares {
            return Err(Violation::GuestSum(lent));
        }
        Ok(())
    }

    fn host_maps<M: Machine>(&self, m: &M, page: Phys) -> bool {
        let entry = self.host.walk(m, page.host_ipa());
        entry.is_some_and(|entry| match entry.view {
            View::Leaf { oa, .. } => !self.decoys.is_at(oa, page.host_ipa()),
            View::Table(_) | View::Invalid => false,
        })
    }

    /// Checks one page of RAM: its word, and that both sides' tables agree with it.
    pub fn check_page<M: Machine>(&self, m: &M, pfn: u64) -> Result<(), Violation> {
        let state = self.state(pfn)?;
        let page = Phys::from_pfn::<G>(pfn).ok_or(Violation::Word(pfn))?;
        if !state.host_may_access() && self.host_maps(m, page) {
            return Err(Violation::HostReaches(pfn));
        }
        let va = self.el2.linear().va(page).ok_or(Violation::El2Lacks(pfn))?;
        let el2 = self.el2.tree().walk(m, va);
        let el2 = el2.is_some_and(|entry| matches!(entry.view, View::Leaf { .. }));
        match (el2, in_linear_map(state), state.view(Owner::El2)) {
            (true, false, Rights::NoPage) => Err(Violation::El2Reaches(pfn)),
            (false, true, _) => Err(Violation::El2Lacks(pfn)),
            _ => Ok(()),
        }
    }

    fn state(&self, pfn: u64) -> Result<PageState, Violation> {
        self.pages.get(pfn).map_err(|_| Violation::Word(pfn))
    }

    fn sums(&self) -> Result<Sums, Violation> {
        let mut sums = Sums::default();
        let ram = self.pages.ram();
        for range in (0..ram.nr()).filter_map(|n| ram.range(n)) {
            for pfn in range.start..range.end {
                let state = self.state(pfn)?;
                sums.free += u64::from(state.usage == Use::Free);
                sums.host_tables += u64::from(state.usage == Use::HostTable);
                sums.el2_tables += u64::from(state.usage == Use::El2Table);
                sums.shared += u64::from(state.view(Owner::El2) == Rights::SharedBorrowed);
                sums.linear += u64::from(in_linear_map(state));
                sums.guest_tables += u64::from(state.usage == Use::GuestTable);
                sums.objects += u64::from(matches!(state.usage, Use::Vm | Use::Vcpu | Use::Vgic));
                sums.decoys += u64::from(state.usage == Use::Decoy);
                sums.guest_pages += u64::from(matches!(state.owner, Owner::Guest(_)));
                if state.share == Share::WithGuests {
                    sums.guest_shares += u64::from(state.count);
                }
            }
        }
        Ok(sums)
    }

    fn check_table(
        &self,
        table: Phys,
        usage: Use,
        valid: usize,
        root: bool,
    ) -> Result<(), Violation> {
        let state = self.state(table.pfn::<G>())?;
        if state.usage != usage || usize::from(state.count) != valid || (valid == 0 && !root) {
            return Err(Violation::Table(table));
        }
        Ok(())
    }
}
