// SPDX-License-Identifier: GPL-2.0
//! Random calls and accesses of a hostile host and of two guests, against the oracle.
//!
//! As in `random`, and besides: no byte that a protected guest keeps to itself is ever read by the
//! host or by the other guest, whatever attributes they map it with; what a guest has it can use at
//! any time; and when a guest is gone, all is as if it had never been.

use crate::common::{cases, small};
use mvirt_abi::{Error, PhysRange, Stat, MAP_EXEC, MAP_WRITE};
use mvirt_hyp::addr::{Granule, GuestIpa, Phys, K16, K4};
use mvirt_hyp::memory::MAX_GUEST_MAP;
use mvirt_hyp::page::{PageState, Use};
use mvirt_hyp::pgtable::View;
use mvirt_hyp::pool::RESERVE;
use mvirt_hyp::trap::Access;
use mvirt_sim::machine::SECRET;
use mvirt_sim::oracle::{Oracle, Page};
use mvirt_sim::rig::{Config, Rig};
use proptest::prelude::*;

/// What a protected guest keeps to itself.
const PRIVATE: u64 = 0x9_0e57;
/// What the host may see.
const PUBLIC: u64 = 0x0b11c;
/// Hot pages, of the host and of each guest: around the end of a level-2 block.
const HOT: u64 = 10;
/// Bits of a guest's address.
const BITS: u32 = 34;

/// A page of the host's RAM: one of the hot ones, or the start of a block's worth.
#[derive(Clone, Copy, Debug)]
enum Spot {
    Hot(u64),
    Block,
    Raw(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Create(usize, bool),
    Map(usize, Spot, Spot, u64, u64),
    Unmap(usize, Spot, u64),
    Share(usize, Spot),
    Unshare(usize, Spot),
    Relinquish(usize, Spot),
    Destroy(usize, u64),
    GuestAccess(usize, usize, Spot, Access),
    GuestStore(usize, Spot, bool),
    GuestWatch(usize, Vec<u64>),
    HostAccess(usize, Spot, Access),
    HostStore(usize, Spot, bool),
    HostWatch(Vec<u64>),
    Donate(Spot, u64),
    Reclaim,
    ShareEl2(Spot),
    UnshareEl2(Spot),
    Take,
    Give,
}

fn spot() -> impl Strategy<Value = Spot> {
    prop_oneof![
        12 => (0..HOT).prop_map(Spot::Hot),
        2 => Just(Spot::Block),
        1 => prop_oneof![
            any::<u64>(),
            Just(0),
            Just(u64::MAX),
            (0u32..64).prop_map(|bits| 1 << bits),
        ]
        .prop_map(Spot::Raw),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let access = || prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Fetch)];
    let nr = || {
        prop_oneof![
            10 => 1u64..4,
            3 => Just(512),
            1 => 500u64..515,
            1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
        ]
    };
    let rights = prop_oneof![12 => 0u64..4, 1 => any::<u64>()];
    let slot = || 0usize..2;
    prop_oneof![
        2 => (slot(), any::<bool>()).prop_map(|(slot, p)| Step::Create(slot, p)),
        9 => (slot(), spot(), spot(), nr(), rights)
            .prop_map(|(slot, g, p, nr, rights)| Step::Map(slot, g, p, nr, rights)),
        4 => (slot(), spot(), nr()).prop_map(|(slot, at, nr)| Step::Unmap(slot, at, nr)),
        4 => (slot(), spot()).prop_map(|(slot, at)| Step::Share(slot, at)),
        3 => (slot(), spot()).prop_map(|(slot, at)| Step::Unshare(slot, at)),
        3 => (slot(), spot()).prop_map(|(slot, at)| Step::Relinquish(slot, at)),
        1 => (slot(), 1u64..30).prop_map(|(slot, steps)| Step::Destroy(slot, steps)),
        6 => (0usize..4, slot(), spot(), access())
            .prop_map(|(cpu, slot, at, access)| Step::GuestAccess(cpu, slot, at, access)),
        4 => (slot(), spot(), any::<bool>()).prop_map(|(slot, at, c)| Step::GuestStore(slot, at, c)),
        1 => (slot(), prop::collection::vec(0..HOT, 0..4))
            .prop_map(|(slot, list)| Step::GuestWatch(slot, list)),
        4 => (0usize..4, spot(), access()).prop_map(|(c, at, access)| Step::HostAccess(c, at, access)),
        3 => (0usize..4, spot(), any::<bool>()).prop_map(|(c, at, wb)| Step::HostStore(c, at, wb)),
        1 => prop::collection::vec(0..HOT, 0..4).prop_map(Step::HostWatch),
        2 => (spot(), nr()).prop_map(|(at, nr)| Step::Donate(at, nr)),
        1 => Just(Step::Reclaim),
        1 => spot().prop_map(Step::ShareEl2),
        1 => spot().prop_map(Step::UnshareEl2),
        2 => Just(Step::Take),
        1 => Just(Step::Give),
    ]
}

struct Run<'m, G> {
    rig: Rig<'m, G>,
    oracle: Oracle,
    /// First hot page of the host, and of each guest.
    hot: u64,
    taken: Vec<Phys>,
    /// Free pages and tables at the start.
    pages: u64,
    ram: PhysRange,
}

impl<'m, G: Granule> Run<'m, G> {
    fn new(config: &Config, rig: Rig<'m, G>) -> Self {
        let carveout = PhysRange {
            base: config.carveout,
            size: config.layout.size,
        };
        let mut el2 = config.meta.clone();
        el2.push(carveout);
        let oracle = Oracle::new(&config.ram, &el2, config.pa_bits, G::SHIFT);
        let ram = *config.ram.last().expect("there is RAM");
        let block = G::ENTRIES as u64;
        let hot = ((ram.base + ram.size / 2) >> G::SHIFT).next_multiple_of(block) - HOT / 2;
        let mut run = Run {
            rig,
            oracle,
            hot,
            taken: Vec::new(),
            pages: 0,
            ram,
        };
        run.pages = run.all_pages();
        run
    }

    fn all_pages(&self) -> u64 {
        let stats = [
            Stat::PoolBytes,
            Stat::HostTableBytes,
            Stat::El2TableBytes,
            Stat::GuestTableBytes,
            Stat::VmBytes,
            Stat::DecoyBytes,
        ];
        let bytes = |stat| self.rig.memory.stat(stat).expect("memory keeps it");
        stats.into_iter().map(bytes).sum::<u64>() >> G::SHIFT
    }

    /// A page of the host.
    fn pfn(&self, spot: Spot) -> u64 {
        match spot {
            Spot::Hot(n) => self.hot + n,
            // The block that the hot pages end in.
            Spot::Block => self.hot + HOT / 2,
            Spot::Raw(raw) => raw,
        }
    }

    /// A page of a guest. The hot pages of guest and host lie alike in their blocks.
    fn gfn(spot: Spot) -> u64 {
        let block = G::ENTRIES as u64;
        match spot {
            Spot::Hot(n) => 3 * block - HOT / 2 + n,
            Spot::Block => 3 * block,
            Spot::Raw(raw) => raw,
        }
    }

    /// Whether the pool is so low that a call may be refused.
    fn low(&self) -> bool {
        self.rig.memory.pool_pages() < RESERVE + 12
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Create(slot, protected) => self.create(slot, protected),
            Step::Map(slot, gfn, pfn, nr, rights) => {
                self.map(slot, Self::gfn(gfn), self.pfn(pfn), nr, rights);
            }
            Step::Unmap(slot, gfn, nr) => self.unmap(slot, Self::gfn(gfn), nr),
            Step::Share(slot, gfn) => self.share(slot, Self::gfn(gfn)),
            Step::Unshare(slot, gfn) => {
                let gfn = Self::gfn(gfn);
                let got = self
                    .rig
                    .memory
                    .guest_unshare_host(&mut self.rig.m, slot, gfn);
                assert_eq!(got, self.oracle.guest_unshare(slot, gfn));
            }
            Step::Relinquish(slot, gfn) => self.relinquish(slot, Self::gfn(gfn)),
            Step::Destroy(slot, steps) => self.destroy(slot, steps),
            Step::GuestAccess(cpu, slot, gfn, access) => {
                self.guest_access(cpu, slot, Self::gfn(gfn), access);
            }
            Step::GuestStore(slot, gfn, cacheable) => {
                self.guest_store(slot, Self::gfn(gfn), cacheable);
            }
            Step::GuestWatch(slot, ref list) => {
                let ipa = |&n| Self::gfn(Spot::Hot(n)) << G::SHIFT;
                let list = list.iter().map(ipa).collect();
                self.rig.m.watch_guest(slot as u64 + 1, list);
            }
            Step::HostAccess(cpu, at, access) => {
                self.host_access(cpu, self.pfn(at).wrapping_shl(G::SHIFT), access);
            }
            Step::HostStore(cpu, at, cacheable) => {
                let ipa = self.pfn(at).wrapping_shl(G::SHIFT);
                if self.host_access(cpu, ipa, Access::Write) {
                    self.rig.m.host_store(Phys::new(ipa), PUBLIC, cacheable);
                }
            }
            Step::HostWatch(ref list) => {
                let ipa = |n| (self.hot + n) << G::SHIFT;
                self.rig.m.watch(list.iter().map(ipa).collect());
            }
            Step::Donate(at, nr) => self.donate(self.pfn(at), nr),
            Step::Reclaim => self.reclaim(),
            Step::ShareEl2(at) => {
                let (pfn, low) = (self.pfn(at), self.low());
                let mut next = self.oracle.clone();
                let expected = next.share(pfn);
                match self.rig.memory.host_share_el2(&mut self.rig.m, pfn) {
                    Err(Error::NoMemory) if expected.is_ok() => assert!(low),
                    got => {
                        assert_eq!(got, expected);
                        self.oracle = next;
                    }
                }
            }
            Step::UnshareEl2(at) => {
                let pfn = self.pfn(at);
                let got = self.rig.memory.host_unshare_el2(&mut self.rig.m, pfn);
                assert_eq!(got, self.oracle.unshare(pfn));
            }
            Step::Take => match self.rig.memory.page_take(&mut self.rig.m, Use::Vcpu) {
                Ok(page) => self.taken.push(page),
                Err(error) => {
                    let free = self.rig.memory.pool_pages();
                    assert_eq!((error, free <= RESERVE), (Error::NoMemory, true));
                }
            },
            Step::Give => {
                if let Some(page) = self.taken.pop() {
                    let got = self.rig.memory.page_give(&mut self.rig.m, page);
                    assert_eq!(got, Ok(()));
                }
            }
        }
        self.after();
    }

    fn create(&mut self, slot: usize, protected: bool) {
        let low = self.low();
        let mut next = self.oracle.clone();
        let expected = next.guest_create(slot, protected, BITS);
        match self.rig.guest_create(slot, protected, BITS) {
            Err(Error::NoMemory) if expected.is_ok() => assert!(low),
            got => {
                assert_eq!(got.map(|_| ()), expected);
                self.oracle = next;
            }
        }
    }

    fn map(&mut self, slot: usize, gfn: u64, pfn: u64, nr: u64, rights: u64) {
        let low = self.low();
        let mut next = self.oracle.clone();
        let expected = next.guest_map(slot, gfn, pfn, nr, rights);
        let page = Phys::new(pfn.wrapping_shl(G::SHIFT));
        let content = self.rig.m.host_load(page, true);
        let got = self
            .rig
            .memory
            .guest_map(&mut self.rig.m, slot, gfn, pfn, nr, rights);
        match got {
            Err(Error::NoMemory) if expected.is_ok() => assert!(low),
            got => {
                assert_eq!(got, expected, "{gfn:#x} {pfn:#x} {nr:#x}");
                self.oracle = next;
            }
        }
        if got.is_ok() {
            // A guest with its MMU off finds what the host wrote.
            assert_eq!(self.rig.m.host_load(page, false), content);
        }
    }

    fn unmap(&mut self, slot: usize, gfn: u64, nr: u64) {
        let none_spare = self.rig.memory.pool_pages() <= RESERVE;
        let got = self.rig.memory.guest_unmap(&mut self.rig.m, slot, gfn, nr);
        let expected = self.oracle.guest_unmap(slot, gfn, nr);
        assert_eq!(got.map(|_| ()), expected);
        let Ok((unmapped, next)) = got else { return };
        assert!(gfn < next && next <= gfn + nr);
        let mut gone = 0;
        for (at, ..) in self.oracle.guest_pages(slot) {
            let asked = (gfn..next).contains(&at);
            if self.rig.has(slot, at).is_none() {
                assert!(asked || none_spare, "{at:#x} was unmapped too");
                assert!(self.oracle.guest_unmapped(slot, at));
                gone += 1;
            } else {
                assert!(!asked, "{at:#x} is still mapped");
            }
        }
        assert_eq!(gone, unmapped);
        assert!(unmapped <= MAX_GUEST_MAP);
    }

    fn share(&mut self, slot: usize, gfn: u64) {
        let expected = self.oracle.guest_share(slot, gfn);
        if let Ok(pfn) = expected {
            // The guest overwrites what the host is not to see.
            self.rig
                .m
                .host_store(Phys::new(pfn << G::SHIFT), PUBLIC, true);
        }
        let got = self.rig.memory.guest_share_host(&mut self.rig.m, slot, gfn);
        assert_eq!(got, expected);
    }

    fn relinquish(&mut self, slot: usize, gfn: u64) {
        let low = self.low();
        let mut next = self.oracle.clone();
        let expected = next.guest_relinquish(slot, gfn);
        let got = self.rig.memory.guest_relinquish(&mut self.rig.m, slot, gfn);
        match got {
            Err(Error::NoMemory) if expected.is_ok() => assert!(low),
            got => {
                assert_eq!(got, expected);
                self.oracle = next;
            }
        }
        if let Ok(pfn) = got {
            let page = Phys::new(pfn << G::SHIFT);
            let seen = [true, false].map(|cacheable| self.rig.m.host_load(page, cacheable));
            assert_eq!(seen, [0, 0]);
        }
    }

    fn destroy(&mut self, slot: usize, steps: u64) {
        if !self.oracle.guest_dies(slot) {
            let got = self.rig.memory.guest_destroy_step(&mut self.rig.m, slot);
            assert_eq!(got, Err(Error::NoEntry));
            return;
        }
        for _ in 0..steps {
            let more = self.rig.guest_destroy_step(slot).expect("it is there");
            let protected = self.oracle.guest(slot).is_some_and(|g| g.protected);
            let mut back = 0;
            for (gfn, pfn) in self.oracle.left_of(slot) {
                let owner = self.rig.memory.page_state(pfn).expect("it is RAM");
                let gone = if protected {
                    owner.0 == 0
                } else {
                    !self.is_mapped(slot, gfn)
                };
                if gone {
                    self.oracle.came_back(slot, gfn);
                    back += u64::from(protected);
                }
            }
            assert!(back << G::SHIFT <= 128 << 10, "{back} pages in a step");
            if !more {
                assert!(self.oracle.guest_gone(slot), "not all came back");
                break;
            }
        }
    }

    /// Whether the tables of a guest, which may be taken apart, map a page.
    fn is_mapped(&self, slot: usize, gfn: u64) -> bool {
        let tree = self.rig.memory.guest_tree(slot);
        let entry = tree.and_then(|tree| tree.walk(&self.rig.m, GuestIpa::new(gfn << G::SHIFT)));
        entry.is_some_and(|entry| matches!(entry.view, View::Leaf { .. }))
    }

    /// Answers whether the access went through.
    fn guest_access(&mut self, cpu: usize, slot: usize, gfn: u64, access: Access) -> bool {
        let Some(ipa) = gfn.checked_mul(G::BYTES) else {
            return false;
        };
        let has = self.oracle.guest_page(slot, gfn);
        let may = has.filter(|&(_, rights)| match access {
            Access::Read => true,
            Access::Write => rights & MAP_WRITE != 0,
            Access::Fetch => rights & MAP_EXEC != 0,
        });
        // One that is being taken apart does not run.
        if self.oracle.guest(slot).is_some_and(|guest| guest.dying) {
            return false;
        }
        let got = self.rig.guest_access(cpu, slot, ipa, access);
        assert_eq!(got, may.map(|(pfn, _)| Phys::new(pfn << G::SHIFT)));
        if let Some(page) = got {
            let seen = [true, false].map(|cacheable| self.rig.m.host_load(page, cacheable));
            let own = self.oracle.page(page.pfn::<G>()) == Ok(Some(Page::Guest(slot)));
            assert!(!seen.contains(&SECRET));
            assert!(own || !seen.contains(&PRIVATE));
        }
        got.is_some()
    }

    fn guest_store(&mut self, slot: usize, gfn: u64, cacheable: bool) {
        if self.guest_access(0, slot, gfn, Access::Write) {
            let (pfn, _) = self.oracle.guest_page(slot, gfn).expect("it was written");
            let own = self.oracle.page(pfn) == Ok(Some(Page::Guest(slot)));
            let value = if own { PRIVATE } else { PUBLIC };
            let page = Phys::new(pfn << G::SHIFT);
            self.rig.m.host_store(page, value, cacheable);
        }
    }

    /// Answers whether the access went through.
    fn host_access(&mut self, cpu: usize, ipa: u64, access: Access) -> bool {
        let got = self.rig.access(cpu, ipa, access);
        assert_eq!(got, self.oracle.access(ipa).map(|()| Phys::new(ipa)));
        if got.is_ok() {
            for cacheable in [true, false] {
                let seen = self.rig.m.host_load(Phys::new(ipa), cacheable);
                assert!(seen != SECRET && seen != PRIVATE, "{ipa:#x}");
            }
        }
        got.is_ok()
    }

    fn donate(&mut self, pfn: u64, nr: u64) {
        let free = self.rig.memory.pool_pages();
        let mut next = self.oracle.clone();
        let expected = next.donate(pfn, nr);
        match self.rig.memory.pool_donate(&mut self.rig.m, pfn, nr) {
            Err(Error::NoMemory) if expected.is_ok() => assert!(free + nr < RESERVE + 12),
            got => {
                assert_eq!(got.map(|_| ()), expected);
                self.oracle = next;
            }
        }
    }

    fn reclaim(&mut self) {
        match self.rig.memory.pool_reclaim(&mut self.rig.m) {
            Ok((pfn, _)) => {
                assert!(self.oracle.reclaimed(pfn), "{pfn:#x} was not donated");
                let page = Phys::new(pfn << G::SHIFT);
                let seen = [true, false].map(|cacheable| self.rig.m.host_load(page, cacheable));
                assert_eq!(seen, [0, 0]);
            }
            Err(Error::NoEntry) => assert_eq!(self.rig.memory.donated_pages(), 0),
            Err(Error::NoMemory) => assert!(self.rig.memory.pool_pages() <= RESERVE),
            Err(error) => assert_eq!(error, Error::Busy),
        }
    }

    fn after(&mut self) {
        for ipa in self.rig.settle() {
            for cpu in 0..self.rig.m.cpus() {
                self.host_access(cpu, ipa, Access::Read);
            }
        }
        for slot in 0..2 {
            // A vCPU that faulted while the lock was held finds its page now, if it has one.
            for ipa in self.rig.m.take_guest_missed(slot as u64 + 1) {
                for cpu in 0..self.rig.m.cpus() {
                    self.guest_access(cpu, slot, ipa >> G::SHIFT, Access::Read);
                }
            }
        }
        self.rig.settle();
        self.rig.check();
        let donated = self.oracle.count(|page| page == Page::Donated);
        assert_eq!(self.all_pages(), self.pages + donated);
        let owned = |page| matches!(page, Page::Guest(_) | Page::GuestShared(_));
        let bytes = self.oracle.count(owned) << G::SHIFT;
        assert_eq!(self.rig.memory.stat(Stat::GuestBytes), Some(bytes));
        for n in 0..HOT {
            self.compare(self.hot + n);
            for slot in 0..2 {
                let gfn = Self::gfn(Spot::Hot(n));
                let has = self.oracle.guest_page(slot, gfn).map(|(pfn, _)| pfn);
                assert_eq!(self.rig.has(slot, gfn), has, "{slot} {gfn:#x}");
            }
        }
    }

    fn compare(&self, pfn: u64) {
        let state = self.rig.memory.page_state(pfn);
        assert_eq!(state, self.oracle.page_state(pfn), "{pfn:#x}");
        if let Ok(Some(Page::Lent(count))) = self.oracle.page(pfn) {
            let lent = Ok(PageState::with_guests(count));
            assert_eq!(self.rig.memory.page(pfn), lent, "{pfn:#x}");
        }
        let page = Phys::new(pfn << G::SHIFT);
        assert!(!self.rig.m.host_maps(page) || self.oracle.host_may_access(pfn));
    }

    /// With the guests gone, all of RAM is as the oracle says, and nothing private is in it.
    fn finish(&mut self) {
        for slot in 0..2 {
            self.destroy(slot, 1000);
            self.after();
        }
        assert_eq!(self.rig.memory.guests(), 0);
        for stat in [Stat::GuestTableBytes, Stat::GuestBytes] {
            assert_eq!(self.rig.memory.stat(stat), Some(0));
        }
        let (start, size) = (self.ram.base >> G::SHIFT, self.ram.size >> G::SHIFT);
        for pfn in start..start + size {
            self.compare(pfn);
            for cacheable in [true, false] {
                let seen = self.rig.m.host_load(Phys::new(pfn << G::SHIFT), cacheable);
                assert_ne!(seen, PRIVATE, "{pfn:#x}");
            }
        }
    }
}

fn sequence<G: Granule>(layout: usize, fwb: bool, steps: &[Step]) {
    let layouts = small::<G>();
    let layout = &layouts[layout % layouts.len()];
    let config = Config {
        fwb,
        ..layout.config::<G>()
    };
    let booted = config.boot::<G, ()>(|rig| {
        let mut run = Run::new(&config, rig);
        // Most of what follows is about guests, so there are some.
        run.run(&Step::Create(0, true));
        run.run(&Step::Create(1, false));
        for step in steps {
            run.run(step);
        }
        run.finish();
    });
    assert_eq!(booted, Ok(()), "{}", layout.name);
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    #[cfg_attr(miri, ignore = "boots a machine: too slow")]
    fn calls_about_guests_4k(
        layout in 0usize..5,
        fwb: bool,
        steps in prop::collection::vec(step(), 1..50),
    ) {
        sequence::<K4>(layout, fwb, &steps);
    }

    #[test]
    #[cfg_attr(miri, ignore = "boots a machine: too slow")]
    fn calls_about_guests_16k(
        layout in 0usize..5,
        fwb: bool,
        steps in prop::collection::vec(step(), 1..50),
    ) {
        sequence::<K16>(layout, fwb, &steps);
    }
}
