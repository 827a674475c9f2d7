// SPDX-License-Identifier: GPL-2.0
//! Decoys: what the host's kernel meets where it has no right to look.
//!
//! A program that accesses a page of a guest's or of EL2's gets SIGBUS. The kernel may come there by
//! an access that it does not expect to fail, on a program's behalf (/proc/PID/mem) or its own, and
//! would end itself. So the host's stage 2 maps one of a few pages of zeros at that address: the
//! kernel reads nothing, writes to nothing that matters, and goes on.
//!
//! A decoy is at one address at a time and is zeroed each time it is mapped, so nothing passes from
//! one access to another. There are several because one instruction may touch two pages, on each CPU;
//! when all are in use the one that was mapped first moves. Before a page comes home to the host, its
//! decoy is unmapped.

use super::{must, Memory};
use crate::addr::{Granule, Ipa, Level, Phys};
use crate::machine::Machine;

/// How many there are.
pub(super) const NR: usize = 8;

/// A decoy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoy {
    /// The page: EL2's for good.
    page: Phys,
    /// Where the host's stage 2 may show it.
    at: Option<Ipa>,
}

/// All of them, and which one moves next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoys {
    all: [Decoy; NR],
    next: usize,
}

impl Decoys {
    /// From pages that are EL2's.
    pub(super) fn new(pages: [Phys; NR]) -> Decoys {
        Decoys {
            all: pages.map(|page| Decoy { page, at: None }),
            next: 0,
        }
    }

    /// Whether `page` is a decoy that may be mapped at `ipa`.
    pub(super) fn is_at(&self, page: Phys, ipa: Ipa) -> bool {
        self.all
            .iter()
            .any(|decoy| decoy.page == page && decoy.at == Some(ipa))
    }
}

impl<G: Granule> Memory<'_, G> {
    /// Maps a decoy at an address of RAM that the host may not access, and that its stage 2 does not
    /// map.
    pub(super) fn map_decoy<M: Machine>(&mut self, m: &mut M, ipa: Ipa) {
        let ipa = ipa.page::<G>();
        let n = self.decoys.next;
        self.decoys.next = (n + 1) % NR;
        let Some(&Decoy { page, at }) = self.decoys.all.get(n) else {
            return;
        };
        if let Some(old) = at {
            self.unmap_decoy(m, n, old);
        }
        // No TLB leads to it any more.
        m.scrub(page);
        let cost =
            |memory: &Self, m: &M| must(memory.host.map_cost(m, ipa, G::BYTES, page, Level::L3));
        if cost(self, m) > self.pool.free() {
            let path = self.host.depth();
            self.make_room(m, |pool| pool.free() >= path);
        }
        let attrs = self.ram_attrs;
        let (host, mut frames) = self.host_parts();
        must(host.map(m, &mut frames, ipa, G::BYTES, page, attrs, Level::L3));
        if let Some(decoy) = self.decoys.all.get_mut(n) {
            decoy.at = Some(ipa);
        }
    }

    /// Sees that the host meets no decoy at a page that is about to be its own.
    pub(super) fn drop_decoy<M: Machine>(&mut self, m: &mut M, page: Phys) {
        let ipa = page.host_ipa();
        let found = self
            .decoys
            .all
            .iter()
            .position(|decoy| decoy.at == Some(ipa));
        if let Some(n) = found {
            self.unmap_decoy(m, n, ipa);
        }
    }

    /// Unmaps decoy `n`, if it is still mapped: when tables ran short it may be gone already.
    fn unmap_decoy<M: Machine>(&mut self, m: &mut M, n: usize, at: Ipa) {
        let (host, mut frames) = self.host_parts();
        must(host.unmap(m, &mut frames, at, G::BYTES));
        if let Some(decoy) = self.decoys.all.get_mut(n) {
            decoy.at = None;
        }
    }
}
