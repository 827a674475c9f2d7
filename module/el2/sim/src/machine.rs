// SPDX-License-Identifier: GPL-2.0
//! The fake machine: sparse memory, walkers, TLBs, caches.
//!
//! What it models, always on the side that hurts:
//!
//! - A descriptor that was written and not published may still be seen as it was before.
//! - TLBs keep leaves and table pointers until they are invalidated, and, when [`watch`] lists
//!   addresses, fill at each step of EL2's, with the old value where there is one.
//! - A page has a value in memory and may have another one in the caches; instruction caches keep
//!   what was there before a store until they are invalidated.
//! - EL2 reaches tables through its own stage 1, once that is on.
//!
//! What it reports as a fault of the code under test: see [`Fault`].
//!
//! [`watch`]: FakeMachine::watch

mod guest;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use mvirt_hyp::addr::{Granule, GuestIpa, Ipa, Level, Linear, Phys, Va};
use mvirt_hyp::machine::Machine;
use mvirt_hyp::pgtable::stage2::GuestRegime;
use mvirt_hyp::pgtable::{Attrs, Desc, View};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::tlb::{Leaf, Pointer, Tlb};
use guest::Guest;

/// What EL2's writes leave in a page, as far as the host could tell.
pub const SECRET: u64 = 0x5ec2_e7ed;

/// Something that would go wrong on hardware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A valid descriptor was replaced by a different valid one.
    Overwritten(Phys, usize),
    /// A descriptor became valid while a TLB held an older translation of its region.
    NotInvalidated(Phys, usize),
    /// A table was linked before its content was published.
    LinkedUnpublished(Phys),
    /// A TLB was invalidated before a descriptor of a live table was published: it may refill.
    FlushedUnpublished(Phys),
    /// A call ended with an unpublished descriptor in a live table.
    LeftUnpublished(Phys),
    /// EL2 wrote to a page that a TLB still reaches, for the host or for a guest.
    WrittenWhileReachable(Phys),
    /// EL2 wrote to a page that the host's tables or a guest's still map.
    WrittenWhileMapped(Phys),
    /// EL2 wrote a valid descriptor to a page that is no table, but that a TLB takes for one.
    ReusedWhileCached(Phys),
    /// Two entries of one TLB contradict each other.
    Conflict(Leaf, Leaf),
    /// EL2 accessed a page that its stage 1 does not map for reading and writing.
    El2Unmapped(Phys),
    /// A TLB holds something at the end of a call that the tables no longer say.
    Stale(Leaf),
    /// A TLB points at the end of a call to a page that is no table.
    StalePointer(Pointer),
    /// A guest got a page whose content is still in a cache alone.
    GivenDirty(Phys),
    /// A guest may execute a page of which an instruction cache may hold something older.
    GivenStale(Phys),
    /// A protected guest got a page that the host still reaches.
    GivenWhileReachable(Phys),
    /// TLB maintenance named a guest that there is none of.
    NoGuest(u64),
}

/// A page's data, as a single value.
#[derive(Clone, Copy, Debug, Default)]
struct Content {
    memory: u64,
    cache: Option<u64>,
}

/// A tree, as the hardware registers describe it.
#[derive(Clone, Copy, Debug)]
struct Root {
    table: Phys,
    start: Level,
    bits: u32,
}

/// Which tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Host,
    El2,
    /// By its VMID.
    Guest(u64),
}

/// A table that is linked into a tree.
#[derive(Clone, Copy, Debug)]
struct Live {
    which: Which,
    level: Level,
    base: u64,
}

/// The machine.
#[derive(Debug)]
pub struct FakeMachine<G> {
    pages: FxHashMap<u64, Box<[u64]>>,
    /// Pages with unpublished descriptors, as they were before those.
    before: FxHashMap<u64, Box<[u64]>>,
    contents: FxHashMap<u64, Content>,
    /// Pages that were written since instruction caches were last invalidated for them.
    fetched_old: FxHashSet<u64>,
    guests: BTreeMap<u64, Guest>,
    live: FxHashMap<u64, Live>,
    host: Option<Root>,
    el2: Option<(Root, Linear)>,
    host_tlbs: Vec<Tlb>,
    el2_tlb: RefCell<Tlb>,
    el2_known: RefCell<FxHashSet<u64>>,
    faults: RefCell<Vec<Fault>>,
    watched: Vec<u64>,
    missed: FxHashSet<u64>,
    /// Leaves of the host that are no identity, and how often each output page is mapped so.
    decoys: FxHashMap<u64, u32>,
    flushes: u64,
    writes: u64,
    granule: PhantomData<G>,
}

impl<G: Granule> FakeMachine<G> {
    /// A machine with `cpus` CPUs, its MMUs off.
    pub fn new(cpus: usize) -> Self {
        FakeMachine {
            pages: FxHashMap::default(),
            before: FxHashMap::default(),
            contents: FxHashMap::default(),
            fetched_old: FxHashSet::default(),
            guests: BTreeMap::new(),
            live: FxHashMap::default(),
            host: None,
            el2: None,
            host_tlbs: vec![Tlb::default(); cpus],
            el2_tlb: RefCell::default(),
            el2_known: RefCell::default(),
            faults: RefCell::default(),
            watched: Vec::new(),
            missed: FxHashSet::default(),
            decoys: FxHashMap::default(),
            flushes: 0,
            writes: 0,
            granule: PhantomData,
        }
    }

    /// Switches EL2's stage 1 on.
    pub fn enable_el2(&mut self, table: Phys, start: Level, bits: u32, linear: Linear) {
        self.el2 = Some((Root { table, start, bits }, linear));
        self.link(Which::El2, table, start, 0);
    }

    /// Puts the host under a stage 2 whose `nr` root tables are at `table`.
    ///
    /// # Panics
    ///
    /// If the root is not aligned to its size: VTTBR_EL2 has no bits for that.
    pub fn enable_host(&mut self, table: Phys, nr: u64, start: Level, bits: u32) {
        assert_eq!(table.raw() % (nr << G::SHIFT), 0, "the root is not aligned");
        self.host = Some(Root { table, start, bits });
        for n in 0..nr {
            let base = n << (G::level_shift(start) + G::BITS);
            self.link(
                Which::Host,
                Phys::new(table.raw() + (n << G::SHIFT)),
                start,
                base,
            );
        }
    }

    /// How many CPUs there are.
    pub fn cpus(&self) -> usize {
        self.host_tlbs.len()
    }

    /// Makes all CPUs touch these addresses of the host at each step of EL2's.
    pub fn watch(&mut self, ipas: Vec<u64>) {
        self.watched = ipas;
    }

    /// Watched addresses that some CPU found unmapped since the last time.
    pub fn take_missed(&mut self) -> Vec<u64> {
        let mut missed: Vec<u64> = self.missed.drain().collect();
        missed.sort_unstable();
        missed
    }

    /// What has gone wrong since the last time.
    pub fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(self.faults.get_mut())
    }

    /// TLB invalidations so far.
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Writes to tables so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// A host CPU's TLB.
    pub fn tlb(&self, cpu: usize) -> &Tlb {
        &self.host_tlbs[cpu]
    }

    fn fault(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    fn raw(&self, table: Phys, index: usize) -> u64 {
        self.pages.get(&table.raw()).map_or(0, |page| page[index])
    }

    /// What a walker reads: `old` prefers what was there before the last publication.
    fn seen(&self, table: Phys, index: usize, old: bool) -> u64 {
        let before = self.before.get(&table.raw()).filter(|_| old);
        before.map_or_else(|| self.raw(table, index), |page| page[index])
    }

    fn page_mut(&mut self, page: Phys) -> &mut [u64] {
        let new = || vec![0; G::ENTRIES].into_boxed_slice();
        let words = self.pages.entry(page.raw()).or_insert_with(new);
        self.before
            .entry(page.raw())
            .or_insert_with(|| words.clone());
        words
    }

    /// Marks a table and all below it as live.
    fn link(&mut self, which: Which, table: Phys, level: Level, base: u64) {
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

    fn unlink(&mut self, which: Which, table: Phys, level: Level) {
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

    fn tlb_holds(&self, which: Which, base: u64, size: u64) -> bool {
        match which {
            Which::Host => self.host_tlbs.iter().any(|tlb| tlb.holds(base, size)),
            Which::El2 => self.el2_tlb.borrow().holds(base, size),
            Which::Guest(vmid) => self.guest_tlbs(vmid).any(|tlb| tlb.holds(base, size)),
        }
    }

    /// A live table changes: is this how it may?
    fn live_write(&mut self, table: Phys, index: usize, live: Live, desc: u64) {
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

    /// Whether the host's tables lead to a page, whatever TLBs hold.
    pub fn host_maps(&self, page: Phys) -> bool {
        let walk = |root| {
            self.translate(&mut Tlb::default(), root, page.raw(), false)
                .0
        };
        let own = self.host.and_then(walk);
        let own = own.is_some_and(|leaf| leaf.oa.raw() == leaf.input);
        own || self.decoys.contains_key(&page.raw())
    }

    /// Output pages of the host's leaves that are no identity, each as often as it is mapped.
    pub fn host_decoys(&self) -> u32 {
        self.decoys.values().sum()
    }

    fn el2_store(&mut self, page: Phys, value: u64) {
        self.el2_access(page);
        self.overwrite(page, value);
    }

    /// EL2 stores to a page that it can reach.
    fn overwrite(&mut self, page: Phys, value: u64) {
        let guests = || self.guests.values().flat_map(|guest| &guest.tlbs);
        if self
            .host_tlbs
            .iter()
            .chain(guests())
            .any(|tlb| tlb.reaches(page))
        {
            self.fault(Fault::WrittenWhileReachable(page));
        }
        if self.host_maps(page) || self.guests.values().any(|guest| guest.maps(page)) {
            self.fault(Fault::WrittenWhileMapped(page));
        }
        self.fetched_old.insert(page.raw());
        let content = self.contents.entry(page.raw()).or_default();
        // The line that is replaced may have been evicted just before.
        content.memory = content.cache.unwrap_or(content.memory);
        content.cache = Some(value);
        self.writes += 1;
    }

    /// Translates with a TLB that prefers what it has, and keeps what it finds.
    fn translate(
        &self,
        tlb: &mut Tlb,
        root: Root,
        input: u64,
        old: bool,
    ) -> (Option<Leaf>, Option<(Leaf, Leaf)>) {
        if let Some(leaf) = tlb.leaf(input) {
            return (Some(leaf), None);
        }
        if input >> root.bits != 0 {
            return (None, None);
        }
        let root_index = input >> (G::level_shift(root.start) + G::BITS);
        let top = Phys::new(root.table.raw() + (root_index << G::SHIFT));
        let (mut table, mut level) = tlb
            .pointer(input)
            .map_or((top, root.start), |p| (p.table, p.level));
        loop {
            let size = G::level_size(level);
            let base = input & !(size - 1);
            let index = (input >> G::level_shift(level)) as usize & (G::ENTRIES - 1);
            let view = Desc::<G>::from_raw(self.seen(table, index, old)).view(level);
            match (view, level.below()) {
                (View::Table(next), Some(below)) => {
                    tlb.keep_pointer(Pointer {
                        input: base,
                        size,
                        level: below,
                        table: next,
                    });
                    (table, level) = (next, below);
                }
                (View::Leaf { oa, attrs }, _) => {
                    let leaf = Leaf {
                        input: base,
                        size,
                        level,
                        oa,
                        attrs,
                    };
                    let conflict = tlb.keep_leaf(leaf);
                    return (Some(leaf), conflict.map(|other| (other, leaf)));
                }
                _ => return (None, None),
            }
        }
    }

    /// A host CPU translates an address; `None` if it faults.
    pub fn host_translate(&mut self, cpu: usize, ipa: Ipa) -> Option<(Phys, Attrs)> {
        self.host_walk(cpu, ipa.raw(), false)
    }

    fn host_walk(&mut self, cpu: usize, ipa: u64, old: bool) -> Option<(Phys, Attrs)> {
        let root = self.host?;
        let mut tlb = std::mem::take(&mut self.host_tlbs[cpu]);
        let (leaf, conflict) = self.translate(&mut tlb, root, ipa, old);
        self.host_tlbs[cpu] = tlb;
        if let Some((a, b)) = conflict {
            self.fault(Fault::Conflict(a, b));
        }
        leaf.map(|leaf| (Phys::new(leaf.oa.raw() + (ipa - leaf.input)), leaf.attrs))
    }

    /// All CPUs touch the watched addresses, and see old descriptors where they can.
    fn speculate(&mut self) {
        for n in 0..self.watched.len() {
            let ipa = self.watched[n];
            for cpu in 0..self.host_tlbs.len() {
                // CPUs differ in how early they see a store.
                let found = self.host_walk(cpu, ipa, cpu % 2 == 0);
                if found.is_none() {
                    self.missed.insert(ipa);
                }
            }
        }
        self.speculate_guests();
    }

    fn before_flush(&mut self) {
        let unpublished = self.before.keys().find(|page| self.live.contains_key(page));
        if let Some(&page) = unpublished {
            self.fault(Fault::FlushedUnpublished(Phys::new(page)));
        }
        self.flushes += 1;
    }

    /// A load of the host or of a guest; `cacheable` says how it maps the page at stage 1.
    pub fn host_load(&mut self, page: Phys, cacheable: bool) -> u64 {
        let content = self.contents.entry(page.page::<G>().raw()).or_default();
        content
            .cache
            .filter(|_| cacheable)
            .unwrap_or(content.memory)
    }

    /// A store of the host or of a guest.
    pub fn host_store(&mut self, page: Phys, value: u64, cacheable: bool) {
        let content = self.contents.entry(page.page::<G>().raw()).or_default();
        if cacheable {
            content.cache = Some(value);
        } else {
            content.memory = value;
        }
        let page = page.page::<G>().raw();
        self.pages.remove(&page);
        self.fetched_old.insert(page);
    }

    /// At the end of a call: everything is published, and no TLB holds what the tables no longer
    /// say.
    pub fn settle(&mut self) {
        let left = self
            .before
            .keys()
            .find(|page| self.live.contains_key(page))
            .copied();
        if let Some(page) = left {
            self.fault(Fault::LeftUnpublished(Phys::new(page)));
        }
        self.before.clear();
        self.settle_guests();
        let Some(root) = self.host else { return };
        for tlb in &self.host_tlbs {
            self.settle_tlb(tlb, root);
        }
        if let Some((root, _)) = self.el2 {
            self.settle_tlb(&self.el2_tlb.borrow(), root);
        }
    }

    fn settle_tlb(&self, tlb: &Tlb, root: Root) {
        for &leaf in tlb.leaves() {
            let (now, _) = self.translate(&mut Tlb::default(), root, leaf.input, false);
            if now != Some(leaf) {
                self.fault(Fault::Stale(leaf));
            }
        }
        for &pointer in tlb.pointers() {
            let live = self.live.get(&pointer.table.raw());
            if !live.is_some_and(|l| l.level == pointer.level && l.base == pointer.input) {
                self.fault(Fault::StalePointer(pointer));
            }
        }
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
