// SPDX-License-Identifier: GPL-2.0
//! The tree alone, against a plain list of pages: any ranges, any granule, live tables.

use std::collections::{BTreeMap, HashMap};

use crate::sequences::cases;
use mvirt_abi::Error;
use mvirt_hyp::addr::{Granule, Ipa, Level, Phys, K16, K4};
use mvirt_hyp::machine::Machine;
use mvirt_hyp::pgtable::stage2::{attrs, HostStage, Memory, Shape};
use mvirt_hyp::pgtable::{Attrs, Frames, Tree, View, Visitor};
use mvirt_sim::machine::{FakeMachine, Fault};
use proptest::prelude::*;

/// A bottomless source of tables that knows how many are out.
#[derive(Default)]
struct Bottomless {
    /// What was given back, to be used again as soon as may be.
    free: Vec<Phys>,
    next: u64,
    shift: u32,
    limit: u64,
    counts: HashMap<u64, i32>,
    taken: u64,
}

impl<M: Machine> Frames<M> for Bottomless {
    fn take(&mut self, m: &mut M) -> Option<Phys> {
        if self.taken == self.limit {
            return None;
        }
        let page = self.free.pop().unwrap_or_else(|| {
            self.next += 1 << self.shift;
            Phys::new(self.next)
        });
        self.taken += 1;
        m.clear_table(page);
        self.counts.insert(page.raw(), 0);
        Some(page)
    }

    fn give(&mut self, _m: &mut M, table: Phys) {
        assert_eq!(self.counts.remove(&table.raw()).map(|_| ()), Some(()));
        self.taken -= 1;
        self.free.push(table);
    }

    fn count(&mut self, table: Phys, change: i32) -> usize {
        let count = self.counts.entry(table.raw()).or_default();
        *count += change;
        usize::try_from(*count).expect("no table has less than nothing in it")
    }
}

#[derive(Clone, Debug)]
enum Step {
    Map(u64, u64, u64),
    Unmap(u64, u64),
    Touch(u64),
}

/// Where the tables are: above what the tests map.
const TABLES: u64 = 1 << 38;
/// The tests map pages from here on, this many level-2 blocks of them.
const BASE: u64 = 1 << 36;
const BLOCKS: u64 = 4;

struct Model<G: Granule> {
    m: FakeMachine<G>,
    tree: Tree<G, HostStage>,
    frames: Bottomless,
    pages: BTreeMap<u64, u64>,
    attrs: Attrs,
}

struct Leaves<'a>(&'a mut BTreeMap<u64, u64>, u32, u64);

impl Visitor for Leaves<'_> {
    type Stop = ();
    fn table(&mut self, _: Phys, _: Level, _: usize) -> Result<(), ()> {
        self.2 += 1;
        Ok(())
    }
    fn leaf(&mut self, input: u64, level: Level, oa: Phys, _: Attrs) -> Result<(), ()> {
        let pages = match (self.1, level) {
            (_, Level::L3) => 1,
            (12, Level::L2) => 512,
            (14, Level::L2) => 2048,
            _ => return Err(()),
        };
        for n in 0..pages {
            self.0
                .insert(input + (n << self.1), oa.raw() + (n << self.1));
        }
        Ok(())
    }
}

impl<G: Granule> Model<G> {
    fn new() -> Self {
        let shape = Shape::new::<G>(40).expect("a size of PARange");
        let mut m = FakeMachine::new(2);
        let root = Phys::new(TABLES);
        for n in 0..shape.root_tables {
            m.clear_table(Phys::new(TABLES + (n << G::SHIFT)));
        }
        m.publish();
        m.enable_host(root, shape.root_tables, shape.start, shape.ipa_bits);
        let frames = Bottomless {
            next: TABLES + (16 << G::SHIFT),
            shift: G::SHIFT,
            limit: u64::MAX,
            ..Bottomless::default()
        };
        Model {
            m,
            tree: Tree::new(root, shape.start, shape.ipa_bits, HostStage),
            frames,
            pages: BTreeMap::new(),
            attrs: attrs(Memory::Ram, false),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Map(at, nr, offset) => self.map(at, nr, offset),
            Step::Unmap(at, nr) => self.unmap(at, nr),
            Step::Touch(at) => {
                let ipa = BASE + (at << G::SHIFT);
                let got = self
                    .m
                    .host_translate(0, Ipa::new(ipa))
                    .map(|(phys, _)| phys.raw());
                assert_eq!(got, self.pages.get(&ipa).copied());
                self.m.watch(vec![ipa, ipa + G::BYTES]);
            }
        }
        self.m.settle();
        assert_eq!(self.m.take_faults(), Vec::<Fault>::new());
        let mut found = BTreeMap::new();
        let mut leaves = Leaves(&mut found, G::SHIFT, 0);
        assert_eq!(self.tree.visit(&self.m, &mut leaves), Ok(()));
        let roots = Shape::new::<G>(40).map(|shape| shape.root_tables);
        assert_eq!(Ok(leaves.2), roots.map(|roots| roots + self.frames.taken));
        assert_eq!(found, self.pages);
    }

    fn map(&mut self, at: u64, nr: u64, offset: u64) {
        let (start, size) = (BASE + (at << G::SHIFT), nr << G::SHIFT);
        let pa = Phys::new(start + (offset << G::SHIFT));
        let (ipa, taken) = (Ipa::new(start), self.frames.taken);
        let first = G::FIRST_BLOCK;
        let cost = self.tree.map_cost(&self.m, ipa, size, pa, first);
        let range: Vec<u64> = (0..nr).map(|n| start + (n << G::SHIFT)).collect();
        if range.iter().any(|page| self.pages.contains_key(page)) {
            assert_eq!(cost, Err(Error::Exists));
            return;
        }
        let cost = cost.expect("nothing is mapped there");
        // Not a page more than was counted.
        self.frames.limit = taken + cost;
        let (m, frames) = (&mut self.m, &mut self.frames);
        assert_eq!(
            self.tree.map(m, frames, ipa, size, pa, self.attrs, first),
            Ok(())
        );
        self.pages.extend(
            range
                .iter()
                .map(|page| (*page, page + (offset << G::SHIFT))),
        );
        // Joins gave some back, or all that were counted are out.
        assert!(self.frames.taken <= taken + cost);
    }

    fn unmap(&mut self, at: u64, nr: u64) {
        let (ipa, size) = (Ipa::new(BASE + (at << G::SHIFT)), nr << G::SHIFT);
        let taken = self.frames.taken;
        let cost = self
            .tree
            .unmap_cost(&self.m, ipa, size)
            .expect("the range is right");
        self.frames.limit = taken + cost;
        let (m, frames) = (&mut self.m, &mut self.frames);
        assert_eq!(self.tree.unmap(m, frames, ipa, size), Ok(()));
        self.pages
            .retain(|page, _| *page < ipa.raw() || *page >= ipa.raw() + size);
        for cpu in 0..2 {
            assert_eq!(self.m.host_translate(cpu, ipa), None);
        }
    }

    fn run(mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
        // All unmapped: each table came back.
        self.unmap(0, BLOCKS << (G::BITS));
        assert_eq!(self.frames.taken, 0);
    }
}

fn steps(block: u64) -> impl Strategy<Value = Vec<Step>> {
    let all = BLOCKS * block;
    // Blocks and their edges as often as any page.
    let at = prop_oneof![
        0..all,
        (0..BLOCKS).prop_map(move |n| n * block),
        (1..BLOCKS).prop_map(move |n| n * block - 1),
    ];
    let nr = prop_oneof![
        1..5u64,
        Just(block),
        Just(block - 1),
        Just(2 * block),
        1..2 * block
    ];
    let offset = prop_oneof![4 => Just(0), 1 => Just(block), 1 => 1..block];
    let step = (at, nr, offset, 0..4u8).prop_map(move |(at, nr, offset, kind)| {
        let nr = nr.min(all - at);
        match kind {
            0 => Step::Touch(at),
            1 => Step::Unmap(at, nr),
            _ => Step::Map(at, nr, offset),
        }
    });
    prop::collection::vec(step, 1..24)
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    #[cfg_attr(miri, ignore = "too slow")]
    fn any_ranges_4k(steps in steps(512)) {
        Model::<K4>::new().run(&steps);
    }

    #[test]
    #[cfg_attr(miri, ignore = "too slow")]
    fn any_ranges_16k(steps in steps(2048)) {
        Model::<K16>::new().run(&steps);
    }
}

#[test]
fn malformed_ranges_are_refused() {
    let mut model = Model::<K4>::new();
    let pa = Phys::new(BASE);
    let rows = [
        (BASE, 0),
        (BASE + 1, 4096),
        (BASE, 4095),
        (u64::MAX - 4095, 4096),
        (u64::MAX - 4095, 8192),
        (1 << 40, 4096),
        ((1 << 40) - 4096, 8192),
        (0, u64::MAX - 4095),
    ];
    for (at, size) in rows {
        let ipa = Ipa::new(at);
        let (m, frames) = (&mut model.m, &mut model.frames);
        let tree = &model.tree;
        assert_eq!(
            tree.map_cost(m, ipa, size, pa, Level::L1),
            Err(Error::Invalid)
        );
        let mapped = tree.map(m, frames, ipa, size, pa, model.attrs, Level::L1);
        assert_eq!(mapped, Err(Error::Invalid));
        assert_eq!(tree.unmap_cost(m, ipa, size), Err(Error::Invalid));
        assert_eq!(tree.unmap(m, frames, ipa, size), Err(Error::Invalid));
    }
    for pa in [1, BASE + 2048, 1 << 48, (1 << 48) - 4096, !4095] {
        let cost = model
            .tree
            .map_cost(&model.m, Ipa::new(BASE), 8192, Phys::new(pa), Level::L1);
        assert_eq!(cost, Err(Error::Invalid), "{pa:#x}");
    }
    assert_eq!(model.tree.walk(&model.m, Ipa::new(1 << 40)), None);
    assert_eq!(model.frames.taken, 0);
}

#[test]
fn a_walk_names_the_entry() {
    let mut model = Model::<K4>::new();
    model.map(1, 1, 0);
    let entry = model
        .tree
        .walk(&model.m, Ipa::new(BASE + 4096))
        .expect("within the input size");
    let leaf = View::Leaf {
        oa: Phys::new(BASE + 4096),
        attrs: model.attrs,
    };
    assert_eq!((entry.index, entry.level, entry.view), (1, Level::L3, leaf));
    let other = model
        .tree
        .walk(&model.m, Ipa::new(BASE))
        .expect("within the input size");
    assert_eq!(
        (other.table, other.index, other.view),
        (entry.table, 0, View::Invalid)
    );
}
