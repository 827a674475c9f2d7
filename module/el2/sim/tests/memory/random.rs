// SPDX-License-Identifier: GPL-2.0
//! Random calls and accesses of a hostile host, against the oracle.
//!
//! After each step: the answer is the oracle's, the invariants hold, no TLB of any CPU holds what
//! the tables no longer say, pages are neither lost nor made, and every CPU that ran into a window
//! between break and make gets on as soon as the lock is free.

use crate::common::el2_ranges;
use crate::sequences::{el2_pages, on_layout, sequences};
use mvirt_abi::{Error, PhysRange};
use mvirt_hyp::addr::{Granule, Phys};
use mvirt_hyp::page::Use;
use mvirt_hyp::pool::RESERVE;
use mvirt_hyp::trap::Access;
use mvirt_sim::machine::SECRET;
use mvirt_sim::oracle::{Oracle, Page};
use mvirt_sim::rig::{Config, Rig};
use proptest::prelude::*;

/// An address, chosen so that the same few pages and the edges of things come up often.
#[derive(Clone, Debug)]
enum Spot {
    /// One of a few pages that all calls aim at.
    Hot(u64),
    /// Pages away from the edge of a range, a block, the carve-out or the metadata.
    Edge(prop::sample::Index, i64),
    /// Any page of RAM.
    Ram(prop::sample::Index),
    /// Any number.
    Raw(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Donate(Spot, u64),
    Reclaim,
    Share(Spot),
    Unshare(Spot),
    Pin(Spot),
    Unpin(Spot),
    Access(usize, Spot, u64, Access),
    Store(usize, Spot, bool),
    Watch(Vec<Spot>),
}

fn spot() -> impl Strategy<Value = Spot> {
    prop_oneof![
        5 => (0u64..12).prop_map(Spot::Hot),
        4 => (any::<prop::sample::Index>(), -2i64..3).prop_map(|(at, by)| Spot::Edge(at, by)),
        3 => any::<prop::sample::Index>().prop_map(Spot::Ram),
        1 => prop_oneof![
            any::<u64>(),
            Just(0),
            Just(u64::MAX),
            (10u32..64).prop_map(|bits| 1 << bits),
            (10u32..64).prop_map(|bits| (1 << bits) - 1),
        ]
        .prop_map(Spot::Raw),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let access = prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Fetch)];
    let nr = prop_oneof![
        8 => 1u64..5,
        2 => Just(512),
        1 => 500u64..515,
        1 => prop_oneof![Just(0), Just(u64::MAX), Just(1 << 52), any::<u64>()],
    ];
    prop_oneof![
        4 => (spot(), nr).prop_map(|(at, nr)| Step::Donate(at, nr)),
        4 => Just(Step::Reclaim),
        3 => spot().prop_map(Step::Share),
        2 => spot().prop_map(Step::Unshare),
        1 => spot().prop_map(Step::Pin),
        1 => spot().prop_map(Step::Unpin),
        5 => (0usize..4, spot(), any::<u64>(), access)
            .prop_map(|(cpu, at, offset, access)| Step::Access(cpu, at, offset, access)),
        2 => (0usize..4, spot(), any::<bool>()).prop_map(|(c, at, wb)| Step::Store(c, at, wb)),
        1 => prop::collection::vec(spot(), 0..4).prop_map(Step::Watch),
    ]
}

struct Run<'m, G> {
    rig: Rig<'m, G>,
    oracle: Oracle,
    edges: Vec<u64>,
    ram: Vec<PhysRange>,
    hot: u64,
    /// Free pages and tables at the start.
    pages: u64,
}

impl<'m, G: Granule> Run<'m, G> {
    fn new(config: &Config, rig: Rig<'m, G>) -> Self {
        let el2 = el2_ranges(config);
        let oracle = Oracle::new(&config.ram, &el2, config.pa_bits, G::SHIFT);
        let block = 1 << (2 * G::SHIFT - 3 - G::SHIFT);
        let mut edges = vec![0, 1 << (config.pa_bits - G::SHIFT)];
        for range in config.ram.iter().chain(&el2) {
            let (start, end) = (
                range.base >> G::SHIFT,
                (range.base + range.size) >> G::SHIFT,
            );
            let up = start.next_multiple_of(block);
            edges.extend([start, end, up, up + block, end & !(block - 1)]);
        }
        let last = config.ram.last().expect("there is RAM");
        let hot = ((last.base + last.size / 2) >> G::SHIFT).next_multiple_of(block) - 4;
        let mut run = Run {
            rig,
            oracle,
            edges,
            ram: config.ram.clone(),
            hot,
            pages: 0,
        };
        run.pages = el2_pages(&run.rig);
        run
    }

    fn resolve(&self, spot: &Spot) -> u64 {
        match spot {
            Spot::Hot(n) => self.hot + n,
            Spot::Edge(at, by) => at.get(&self.edges).wrapping_add_signed(*by),
            Spot::Ram(at) => {
                let range = at.get(&self.ram);
                (range.base >> G::SHIFT) + at.index((range.size >> G::SHIFT) as usize) as u64
            }
            Spot::Raw(raw) => *raw,
        }
    }

    fn address(&self, spot: &Spot) -> u64 {
        self.resolve(spot).wrapping_shl(G::SHIFT)
    }

    /// Whether the pool is so low that a call may be refused. A call takes at most a path of each
    /// tree for each end of its range.
    fn low(&self, given: u64) -> bool {
        self.rig.memory.pool_pages() + given < RESERVE + 12
    }

    /// A donated page that is free, as the metadata tells.
    fn donated_free(&self) -> bool {
        self.oracle.pages().any(|(pfn, page)| {
            page == Page::Donated
                && self
                    .rig
                    .memory
                    .page(pfn)
                    .is_ok_and(|state| state.usage == Use::Free)
        })
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Donate(at, nr) => self.donate(self.resolve(at), *nr),
            Step::Reclaim => self.reclaim(),
            Step::Share(at) => self.share(self.resolve(at)),
            Step::Unshare(at) => {
                let pfn = self.resolve(at);
                let got = self.rig.memory.host_unshare_el2(&mut self.rig.m, pfn);
                assert_eq!(got, self.oracle.unshare(pfn));
            }
            Step::Pin(at) => {
                let pfn = self.resolve(at);
                assert_eq!(self.rig.memory.pin(pfn), self.oracle.pin(pfn));
            }
            Step::Unpin(at) => {
                let pfn = self.resolve(at);
                assert_eq!(self.rig.memory.unpin(pfn), self.oracle.unpin(pfn));
            }
            Step::Access(cpu, at, offset, access) => {
                let ipa = self.address(at) | (offset & (G::BYTES - 1));
                self.access(*cpu, ipa, *access);
            }
            Step::Store(cpu, at, cacheable) => {
                let ipa = self.address(at);
                if self.access(*cpu, ipa, Access::Write) {
                    self.rig.m.host_store(Phys::new(ipa), 0xdead, *cacheable);
                }
            }
            Step::Watch(spots) => {
                let list = spots.iter().map(|at| self.address(at)).collect();
                self.rig.m.watch(list);
            }
        }
        self.after();
    }

    fn donate(&mut self, pfn: u64, nr: u64) {
        let free = self.rig.memory.pool_pages();
        let mut next = self.oracle.clone();
        let expected = next.donate(pfn, nr);
        match (
            self.rig.memory.pool_donate(&mut self.rig.m, pfn, nr),
            expected,
        ) {
            (Ok(now), Ok(())) => {
                assert_eq!(now, self.rig.memory.pool_pages());
                assert!(now >= RESERVE);
                self.oracle = next;
            }
            (Err(Error::NoMemory), Ok(())) => {
                assert!(
                    free + nr < RESERVE + 12,
                    "{nr} pages were refused with {free} free"
                );
            }
            (got, expected) => assert_eq!(got.map(|_| ()), expected),
        }
    }

    fn reclaim(&mut self) {
        let donated = self.oracle.count(|page| page == Page::Donated);
        let got = self.rig.memory.pool_reclaim(&mut self.rig.m);
        let free = self.rig.memory.pool_pages();
        match got {
            Ok((pfn, now)) => {
                assert!(now == free && now >= RESERVE);
                assert!(
                    self.oracle.reclaimed(pfn),
                    "page {pfn:#x} was not the host's to get"
                );
                let page = Phys::new(pfn << G::SHIFT);
                assert_eq!(self.rig.m.host_load(page, true), 0);
                assert_eq!(self.rig.m.host_load(page, false), 0);
            }
            Err(Error::NoEntry) => assert_eq!(donated, 0),
            Err(Error::NoMemory) => assert!(donated > 0 && free <= RESERVE),
            Err(error) => assert_eq!((error, self.donated_free()), (Error::Busy, false)),
        }
        let kept = self.oracle.count(|page| page == Page::Donated);
        assert_eq!(self.rig.memory.donated_pages(), kept);
    }

    fn share(&mut self, pfn: u64) {
        let low = self.low(0);
        let mut next = self.oracle.clone();
        let expected = next.share(pfn);
        match (
            self.rig.memory.host_share_el2(&mut self.rig.m, pfn),
            expected,
        ) {
            (Err(Error::NoMemory), Ok(())) => assert!(low),
            (got, expected) => {
                assert_eq!(got, expected);
                self.oracle = next;
            }
        }
    }

    /// Answers whether the access went through.
    fn access(&mut self, cpu: usize, ipa: u64, access: Access) -> bool {
        let got = self.rig.access(cpu, ipa, access);
        let expected = self.oracle.access(ipa);
        assert_eq!(got, expected.map(|()| Phys::new(ipa)));
        if got.is_ok() {
            let page = Phys::new(ipa);
            assert_ne!(self.rig.m.host_load(page, true), SECRET);
            assert_ne!(self.rig.m.host_load(page, false), SECRET);
        }
        got.is_ok()
    }

    fn after(&mut self) {
        for ipa in self.rig.settle() {
            // It faulted while the lock was held; now it is its turn.
            for cpu in 0..self.rig.m.cpus() {
                self.access(cpu, ipa, Access::Read);
            }
        }
        self.rig.settle();
        self.rig.check();
        let donated = self.oracle.count(|page| page == Page::Donated);
        assert_eq!(el2_pages(&self.rig), self.pages + donated);
        let shared = self.oracle.count(|page| matches!(page, Page::Shared(_)));
        assert_eq!(self.rig.memory.shared_pages(), shared);
        for n in 0..12 {
            self.compare(self.hot + n);
        }
    }

    fn compare(&self, pfn: u64) {
        assert_eq!(
            self.rig.memory.page_state(pfn),
            self.oracle.page_state(pfn),
            "{pfn:#x}"
        );
        let page = Phys::new(pfn << G::SHIFT);
        assert!(!self.rig.m.host_maps(page) || self.oracle.host_may_access(pfn));
    }

    /// All of RAM is as the oracle says.
    fn finish(&self) {
        for range in &self.ram {
            for pfn in range.base >> G::SHIFT..(range.base + range.size) >> G::SHIFT {
                self.compare(pfn);
            }
        }
    }
}

fn sequence<G: Granule>(layout: usize, fwb: bool, steps: &[Step]) {
    on_layout::<G>(layout, fwb, |config, rig| {
        let mut run = Run::new(config, rig);
        for step in steps {
            run.run(step);
        }
        run.finish();
    });
}

sequences!(
    calls_of_a_hostile_host_4k,
    calls_of_a_hostile_host_16k,
    256,
    1..40
);
