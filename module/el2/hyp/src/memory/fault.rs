// SPDX-License-Identifier: GPL-2.0
//! Stage-2 faults of the host.
//!
//! What the host has a right to is mapped: RAM in a page or in the level-2 block around it (blocks
//! of level 1 come back by joining), anything else as MMIO in the largest block that touches no
//! RAM. Everything that is EL2's is RAM, so such a block touches nothing that is owned.
//!
//! # When tables run short
//!
//! A fault may take the reserve. If even that is used up, all MMIO is unmapped and its tables come
//! back; if there were none, all of the host's RAM is unmapped too. Both come back by faults, in
//! blocks. Each unmap ends with the whole host's TLB entries gone, so nothing stale is left, and a
//! path below the root takes no more than the reserve holds: a fault is always served.

use super::ram::Pages;
use super::{must, Memory};
use crate::addr::{Granule, Ipa, Level};
use crate::machine::Machine;
use crate::pgtable::stage2::Memory as Kind;
use crate::pgtable::View;
use crate::pool::Pool;

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The address is mapped now: back to the host, which tries again.
    Mapped,
    /// A decoy is mapped at the address now: the same.
    Decoy,
    /// It was mapped already, by another CPU since the fault: the same.
    Retry,
    /// It stays as it is: the host gets an exception.
    Denied(Denied),
}

/// Why an access stays denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The address is beyond the physical address size.
    Beyond,
    /// The page is not the host's.
    Owned,
}

/// Who accessed an address, as far as that matters where the host has no right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accessor {
    /// The kernel, EL1, on the CPU of this index; else a program, EL0.
    pub kernel: Option<usize>,
    /// It was to be executed. A walk for an instruction is no fetch.
    pub fetch: bool,
}

impl<G: Granule> Memory<'_, G> {
    /// Serves a translation or permission fault at stage 2 of the host.
    ///
    /// Faults of other kinds (address size, alignment, TLB conflict, external abort) are not mended
    /// by a mapping and are not for this function. What was tried does not count: whatever is mapped
    /// is mapped with every right.
    ///
    /// Where the host has no right, `by` decides: the kernel meets a decoy, but finds nothing there to
    /// execute; a program that comes to a decoy by chance reads it.
    pub fn host_fault<M: Machine>(&mut self, m: &mut M, ipa: Ipa, by: Accessor) -> Outcome {
        let Some(entry) = self.host.walk(m, ipa) else {
            return Outcome::Denied(Denied::Beyond);
        };
        let is_mapped = matches!(entry.view, View::Leaf { .. });
        let pfn = ipa.pfn::<G>();
        let state = self.pages.get(pfn);
        let kind = match self.pages.ram().range_of(pfn) {
            Some(_) if !state.is_ok_and(|state| state.host_may_access()) => {
                // What is mapped there is a decoy, which cannot be executed: trying again would end
                // here again.
                return match by.kernel {
                    _ if by.fetch => Outcome::Denied(Denied::Owned),
                    _ if is_mapped => Outcome::Retry,
                    None => Outcome::Denied(Denied::Owned),
                    Some(cpu) => {
                        self.map_decoy(m, ipa, cpu);
                        Outcome::Decoy
                    }
                };
            }
            Some(_) => Kind::Ram,
            None => Kind::Mmio,
        };
        if is_mapped {
            return Outcome::Retry;
        }
        self.map_around(m, ipa, kind, entry.level);
        Outcome::Mapped
    }

    /// Maps the largest leaf around `ipa`, whose walk ended with an invalid entry at `level`.
    fn map_around<M: Machine>(&mut self, m: &mut M, ipa: Ipa, kind: Kind, level: Level) {
        let mut leaf = self.largest_leaf(ipa, kind, level);
        if self.leaf_cost(m, leaf) > self.pool.free() {
            // After this a whole path is free, which is more than any leaf takes.
            let path = self.host.depth();
            self.make_room(m, |pool| pool.free() >= path);
            let level = self.host.walk(m, ipa).map_or(level, |entry| entry.level);
            leaf = self.largest_leaf(ipa, kind, level);
        }
        let (first, pages) = leaf;
        let (start, size) = (Ipa::new(pages.start << G::SHIFT), pages.len() << G::SHIFT);
        let attrs = match kind {
            Kind::Ram => self.ram_attrs,
            Kind::Mmio => self.mmio_attrs,
        };
        let (host, mut frames) = self.host_parts();
        must(host.map(m, &mut frames, start, size, start.host_phys(), attrs, first));
    }

    fn leaf_cost<M: Machine>(&self, m: &M, (first, pages): (Level, Pages)) -> u64 {
        let (start, size) = (Ipa::new(pages.start << G::SHIFT), pages.len() << G::SHIFT);
        must(self.host.map_cost(m, start, size, start.host_phys(), first))
    }

    /// The first level, from `level` on, at which a leaf around `ipa` may be, and its pages.
    fn largest_leaf(&self, ipa: Ipa, kind: Kind, level: Level) -> (Level, Pages) {
        let page = ipa.pfn::<G>();
        let around = |level: Level| {
            let pages = 1u64 << (G::level_shift(level) - G::SHIFT);
            let start = page & !(pages - 1);
            Pages {
                start,
                end: start + pages,
            }
        };
        [Level::L1, Level::L2]
            .into_iter()
            .filter(|&candidate| candidate >= level && candidate >= G::FIRST_BLOCK)
            .map(|candidate| (candidate, around(candidate)))
            .find(|&(candidate, pages)| self.is_uniform(candidate, pages, kind))
            .unwrap_or((
                Level::L3,
                Pages {
                    start: page,
                    end: page + 1,
                },
            ))
    }

    fn is_uniform(&self, level: Level, pages: Pages, kind: Kind) -> bool {
        let ram = self.pages.ram();
        match kind {
            Kind::Mmio => !ram.touches(pages) && pages.end <= 1 << (self.host.bits() - G::SHIFT),
            // A scan of the words of a level-1 block would take too long under the lock.
            Kind::Ram => {
                level == Level::L2
                    && ram
                        .range_of(pages.start)
                        .is_some_and(|range| range.contains(pages))
                    && (pages.start..pages.end).all(|pfn| {
                        self.pages
                            .get(pfn)
                            .is_ok_and(|state| state.host_may_access())
                    })
            }
        }
    }

    /// Unmaps what the host can fault in again, until the pool is as wanted or nothing is left: see
    /// the head of this file for what and in which order.
    pub(super) fn make_room<M: Machine>(&mut self, m: &mut M, wanted: impl Fn(&Pool) -> bool) {
        let limit = 1 << (self.host.bits() - G::SHIFT);
        let mut n = 0;
        while !wanted(&self.pool) {
            let Some(gap) = self.pages.ram().gap(n, limit) else {
                break;
            };
            self.unmap_host(m, gap);
            n += 1;
        }
        let mut n = 0;
        while !wanted(&self.pool) {
            let Some(range) = self.pages.ram().range(n) else {
                break;
            };
            self.unmap_host(m, range);
            n += 1;
        }
    }

    /// Unmaps a gap or a range: no leaf crosses its ends, so nothing is split.
    fn unmap_host<M: Machine>(&mut self, m: &mut M, pages: Pages) {
        if pages.is_empty() {
            return;
        }
        let (start, size) = (Ipa::new(pages.start << G::SHIFT), pages.len() << G::SHIFT);
        let (host, mut frames) = self.host_parts();
        must(host.unmap(m, &mut frames, start, size));
        self.decoys_are_gone(pages);
    }
}
