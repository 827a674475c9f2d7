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

mod content;
mod el2;
mod fault;
mod guest;
mod live;
mod walk;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use mvirt_hyp::addr::{Granule, Level, Linear, Phys};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::tlb::Tlb;
use content::Content;
use guest::Guest;

pub use fault::Fault;

/// What EL2's writes leave in a page, as far as the host could tell.
pub const SECRET: u64 = 0x5ec2_e7ed;

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
}
