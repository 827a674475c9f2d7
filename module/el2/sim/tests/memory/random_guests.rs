// SPDX-License-Identifier: GPL-2.0
//! Random calls and accesses of a hostile host and of two guests, against the oracle.
//!
//! As in `random`, and besides: no byte that a protected guest keeps to itself is ever read by the
//! host or by the other guest, whatever attributes they map it with; what a guest has it can use at
//! any time; and when a guest is gone, all is as if it had never been.

mod accesses;
mod calls;
mod steps;

use mvirt_abi::{Error, PhysRange, Stat};
use mvirt_hyp::addr::{Granule, Phys};
use mvirt_hyp::page::{PageState, Use};
use mvirt_hyp::pool::RESERVE;
use mvirt_hyp::trap::Access;
use mvirt_sim::oracle::{Oracle, Page};
use mvirt_sim::rig::{Config, Rig};
use steps::{step, Spot, Step};

use crate::common::el2_ranges;
use crate::sequences::{el2_pages, on_layout, sequences};

/// What a protected guest keeps to itself.
const PRIVATE: u64 = 0x9_0e57;
/// What the host may see.
const PUBLIC: u64 = 0x0b11c;
/// Hot pages, of the host and of each guest: around the end of a level-2 block.
const HOT: u64 = 10;
/// Bits of a guest's address.
const BITS: u32 = 34;

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
        let oracle = Oracle::new(&config.ram, &el2_ranges(config), config.pa_bits, G::SHIFT);
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
        run.pages = el2_pages(&run.rig);
        run
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
        assert_eq!(el2_pages(&self.rig), self.pages + donated);
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
    on_layout::<G>(layout, fwb, |config, rig| {
        let mut run = Run::new(config, rig);
        // Most of what follows is about guests, so there are some.
        run.run(&Step::Create(0, true));
        run.run(&Step::Create(1, false));
        for step in steps {
            run.run(step);
        }
        run.finish();
    });
}

sequences!(calls_about_guests_4k, calls_about_guests_16k, 256, 1..50);
