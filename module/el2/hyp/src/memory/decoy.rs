// SPDX-License-Identifier: GPL-2.0
//! Decoys: what the host's kernel meets where it has no right to look.
//!
//! A program that accesses a page of a guest's or of EL2's gets SIGBUS. The kernel may come there by
//! an access that it does not expect to fail, on a program's behalf (/proc/PID/mem) or its own, and
//! would end itself. So the host's stage 2 maps a page of zeros at that address: the kernel reads
//! nothing, writes to nothing that matters, and goes on. Documentation/page-states.rst has the states.
//!
//! # Invariants
//!
//! - A decoy is EL2's page for good, and is mapped at one address at most: one whose page the host may
//!   not access. Before a page becomes the host's to use, its decoy is unmapped.
//! - It is zeroed each time it is mapped, when no TLB leads to it any more: nothing passes from one
//!   address to another.
//! - It is never executable. What was executed could outlive the zeroing in an instruction cache; and
//!   there is nothing to execute in zeros.
//!
//! # Progress
//!
//! An instruction has to find all the pages that it touches mapped at once. A decoy moves for a fault
//! of its own CPU only, the longest mapped first. So a page that a CPU has had mapped stays for its next
//! [`DECOYS_PER_CPU`] - 1 faults, whatever other CPUs do, and an instruction that touches up to
//! [`DECOYS_PER_CPU`] pages is done after at most as many faults of its CPU. It may use a decoy of
//! another CPU's as well: when that moves away, the next fault maps one of its own.
//!
//! # Tables
//!
//! The pool keeps a page for each decoy that is mapped with no table of its own, so that mapping one
//! never fails, nor takes the host's other mappings away. Where nothing of a whole level-2 table is
//! mapped either, that table comes out of the reserve.

use mvirt_abi::{Error, DECOYS_PER_CPU, MAX_CPUS};

use super::ram::Pages;
use super::{must, Memory};
use crate::addr::{Granule, Ipa, Level, Phys};
use crate::machine::Machine;
use crate::page::{PageState, Use};
use crate::pgtable::stage2::decoy_attrs;

/// A decoy.
#[derive(Clone, Copy, Debug)]
struct Decoy {
    page: Phys,
    /// Where the host's stage 2 shows it.
    at: Option<Ipa>,
    /// A page that the pool kept for a decoy is in use as the table that leads to it.
    has_table: bool,
}

/// All of them, by CPU, the longest mapped of each first. Apart from [`Memory`], which is moved while it
/// is made.
#[derive(Debug)]
pub struct Decoys {
    all: [[Option<Decoy>; DECOYS_PER_CPU]; MAX_CPUS],
    /// How many there are.
    nr: u64,
    /// How many are mapped.
    mapped: u64,
}

impl Decoys {
    /// None yet.
    pub const fn new() -> Decoys {
        Decoys {
            all: [[None; DECOYS_PER_CPU]; MAX_CPUS],
            nr: 0,
            mapped: 0,
        }
    }

    /// Makes a page of EL2's a decoy of `cpu`. [`Error::Invalid`] if it has all.
    fn add(&mut self, cpu: usize, page: Phys) -> Result<(), Error> {
        let decoys = self.all.get_mut(cpu).ok_or(Error::Invalid)?;
        let place = decoys.iter_mut().find(|place| place.is_none());
        *place.ok_or(Error::Invalid)? = Some(Decoy {
            page,
            at: None,
            has_table: false,
        });
        self.nr += 1;
        Ok(())
    }

    /// How many there are.
    pub(super) fn nr(&self) -> u64 {
        self.nr
    }

    fn iter(&self) -> impl Iterator<Item = &Decoy> {
        self.all.iter().flatten().flatten()
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Decoy> {
        self.all.iter_mut().flatten().flatten()
    }

    /// Whether `page` is a decoy that is mapped at `ipa`.
    pub(super) fn is_at(&self, page: Phys, ipa: Ipa) -> bool {
        self.iter()
            .any(|decoy| decoy.page == page && decoy.at == Some(ipa))
    }

    /// How many are mapped, and how many have a table that was kept for them.
    pub(super) fn mapped(&self) -> (u64, u64) {
        let count = |is: fn(&Decoy) -> bool| self.iter().filter(|decoy| is(decoy)).count() as u64;
        (
            count(|decoy| decoy.at.is_some()),
            count(|decoy| decoy.has_table),
        )
    }

    /// The decoy of `cpu` that is to be mapped next, put behind its others, and where it is now:
    /// [`Error::Invalid`] if there is no such CPU.
    fn next(&mut self, cpu: usize) -> Result<&mut Decoy, Error> {
        let decoys = self.all.get_mut(cpu).ok_or(Error::Invalid)?;
        let idle = decoys
            .iter()
            .position(|decoy| decoy.is_some_and(|decoy| decoy.at.is_none()));
        let rest = decoys.get_mut(idle.unwrap_or(0)..);
        let rest = rest.ok_or(Error::Invalid)?;
        rest.rotate_left(1);
        let next = rest.last_mut().and_then(Option::as_mut);
        next.ok_or(Error::Invalid)
    }

    /// Notes that `page` is not mapped any more; whether it had a table that was kept for it.
    fn unmapped(&mut self, page: Phys) -> bool {
        let decoy = self
            .iter_mut()
            .find(|decoy| decoy.page == page && decoy.at.is_some());
        let Some(decoy) = decoy else { return false };
        decoy.at = None;
        let had_table = core::mem::take(&mut decoy.has_table);
        self.mapped -= 1;
        had_table
    }
}

impl Default for Decoys {
    fn default() -> Decoys {
        Decoys::new()
    }
}

impl<G: Granule> Memory<'_, G> {
    /// Takes the decoys of `nr_cpus` CPUs out of the pool, and has it keep a page for a table for each.
    /// [`Error::NoMemory`] if it has not as many.
    pub(super) fn make_decoys<M: Machine>(
        &mut self,
        m: &mut M,
        nr_cpus: usize,
    ) -> Result<(), Error> {
        for cpu in 0..nr_cpus {
            for _ in 0..DECOYS_PER_CPU {
                let page = self.pool.take(m).ok_or(Error::NoMemory)?;
                self.pages
                    .set(page.pfn::<G>(), PageState::el2(Use::Decoy))?;
                self.decoys.add(cpu, page)?;
                self.pool.keep(1);
            }
        }
        Ok(())
    }

    /// Bytes of decoys, and of what is kept for their tables.
    pub(super) fn decoy_bytes(&self) -> u64 {
        (self.decoys.nr() + self.pool.kept()) << G::SHIFT
    }

    /// Maps a decoy of `cpu` at an address of RAM that the host may not access, and that its stage 2
    /// does not map.
    pub(super) fn map_decoy<M: Machine>(&mut self, m: &mut M, ipa: Ipa, cpu: usize) {
        let ipa = ipa.page::<G>();
        let Decoy { page, at, .. } = *must(self.decoys.next(cpu));
        if let Some(old) = at {
            self.unmap_decoy(m, page, old);
        }
        // No TLB leads to it any more, so that nobody writes to it after this.
        m.scrub(page);
        let cost =
            |memory: &Self, m: &M| must(memory.host.map_cost(m, ipa, G::BYTES, page, Level::L3));
        if cost(self, m) > self.pool.listed() {
            // Pages that were kept are tables of the host's now. After this they are back.
            let path = self.host.depth();
            self.make_room(m, |pool| pool.listed() >= path);
        }
        let has_table = cost(self, m) > 0;
        if has_table {
            self.pool.unkeep(1);
        }
        let attrs = decoy_attrs(self.fwb);
        let (host, mut frames) = self.host_parts();
        must(host.map(m, &mut frames, ipa, G::BYTES, page, attrs, Level::L3));
        let decoy = self.decoys.iter_mut().find(|decoy| decoy.page == page);
        if let Some(decoy) = decoy {
            (decoy.at, decoy.has_table) = (Some(ipa), has_table);
            self.decoys.mapped += 1;
        }
    }

    /// Sees that the host meets no decoy at a page that is about to be its own.
    pub(super) fn drop_decoy<M: Machine>(&mut self, m: &mut M, page: Phys) {
        if self.decoys.mapped == 0 {
            return;
        }
        let ipa = page.host_ipa();
        let found = self.decoys.iter().find(|decoy| decoy.at == Some(ipa));
        if let Some(&Decoy { page, .. }) = found {
            self.unmap_decoy(m, page, ipa);
        }
    }

    /// Unmaps the decoy `page`, which is mapped at `ipa`, with TLB invalidation.
    fn unmap_decoy<M: Machine>(&mut self, m: &mut M, page: Phys, ipa: Ipa) {
        let tables = self.host_tables;
        let (host, mut frames) = self.host_parts();
        must(host.unmap(m, &mut frames, ipa, G::BYTES));
        if !self.decoys.unmapped(page) {
            return;
        }
        // Its table may still lead to another decoy, which has it from now on. If it leads to pages of
        // the host's, these would have taken a table of their own, and what is kept is short of one
        // until it comes back.
        let is_near = |at: Ipa| (at.raw() ^ ipa.raw()) >> G::level_shift(Level::L2) == 0;
        let heir = self
            .decoys
            .iter_mut()
            .find(|decoy| !decoy.has_table && decoy.at.is_some_and(is_near));
        match heir.filter(|_| self.host_tables == tables) {
            Some(heir) => heir.has_table = true,
            None => self.pool.keep(1),
        }
    }

    /// Notes that nothing of a range of the host's addresses is mapped any more, nor any of the tables
    /// below it there.
    pub(super) fn decoys_are_gone(&mut self, range: Pages) {
        let is_in = |ipa: Ipa| range.has(ipa.pfn::<G>());
        let mut tables = 0;
        while self.decoys.mapped > 0 {
            let found = self
                .decoys
                .iter()
                .find(|decoy| decoy.at.is_some_and(is_in))
                .map(|decoy| decoy.page);
            let Some(page) = found else { break };
            tables += u64::from(self.decoys.unmapped(page));
        }
        self.pool.keep(tables);
    }
}
