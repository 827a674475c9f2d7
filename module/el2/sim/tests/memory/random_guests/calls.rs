// SPDX-License-Identifier: GPL-2.0
//! The calls of a sequence: each one's answer is the oracle's, or it wants tables when there are few.

use mvirt_abi::Error;
use mvirt_hyp::addr::{Granule, GuestIpa, Phys};
use mvirt_hyp::memory::MAX_GUEST_MAP;
use mvirt_hyp::pgtable::View;
use mvirt_hyp::pool::RESERVE;

use super::{Run, BITS, PUBLIC};

impl<G: Granule> Run<'_, G> {
    pub(super) fn create(&mut self, slot: usize, protected: bool) {
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

    pub(super) fn map(&mut self, slot: usize, gfn: u64, pfn: u64, nr: u64, rights: u64) {
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

    pub(super) fn unmap(&mut self, slot: usize, gfn: u64, nr: u64) {
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

    pub(super) fn share(&mut self, slot: usize, gfn: u64) {
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

    pub(super) fn relinquish(&mut self, slot: usize, gfn: u64) {
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

    pub(super) fn destroy(&mut self, slot: usize, steps: u64) {
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

    pub(super) fn donate(&mut self, pfn: u64, nr: u64) {
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

    pub(super) fn reclaim(&mut self) {
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
}
