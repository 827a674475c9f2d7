// SPDX-License-Identifier: GPL-2.0
//! Guests' memory: a stage 2 for each VM slot.
//!
//! A protected guest *owns* what it has: the host donates a page to it, loses it, and gets it back
//! scrubbed, when the guest relinquishes it or is taken apart; the guest may let the host use a page
//! meanwhile. A guest that is not protected *borrows*: the host keeps its pages and may map each in
//! several VMs and at several addresses, which the page's word counts. So of a guest's tables, those
//! of a protected one show pages that it owns, each once, and those of another one pages of the host
//! that are shared with guests.
//!
//! The slot chooses the VMID for good: its number plus 1, the host's being 0. Until the slot is free
//! again all TLB entries of the VMID are gone.
//!
//! # Two masters
//!
//! What a guest asks for (share, unshare, relinquish) it asks while its vCPU is the context of this
//! CPU; what the host asks for comes while the host is. TLB maintenance names the regime that it is
//! for, so neither matters here. That no vCPU of a guest runs while it is taken apart, nor is in the
//! context of any CPU, is the caller's to see to.

mod clean;
mod destroy;
mod map;
mod share;
mod unmap;

use mvirt_abi::{Error, MAX_VMS};

use super::{Memory, PoolFrames};
use crate::addr::{Granule, GuestIpa, Level, Phys};
use crate::machine::Machine;
use crate::page::{PageState, Use};
use crate::pgtable::stage2::{GuestRegime, GuestStage, Rights, Shape};
use crate::pgtable::{Tree, View};
use destroy::Dying;

pub use clean::MAX_GUEST_CLEAN;
pub use map::MAX_GUEST_MAP;

/// Descriptors or tables that one call looks at before it answers, where there may be any number.
const MAX_SCAN: usize = 64;

/// The memory of one guest.
#[derive(Debug)]
pub(super) struct Guest<G> {
    tree: Tree<G, GuestStage>,
    root_tables: u64,
    protected: bool,
    /// How far it is taken apart, once that has begun.
    dying: Option<Dying>,
}

/// The memory of all guests, by slot: apart from [`Memory`], which is moved while it is made.
#[derive(Debug)]
pub struct GuestTable<G>(pub(super) [Option<Guest<G>>; MAX_VMS]);

impl<G> GuestTable<G> {
    /// No guest.
    pub const fn new() -> GuestTable<G> {
        GuestTable([const { None }; MAX_VMS])
    }
}

impl<G> Default for GuestTable<G> {
    fn default() -> GuestTable<G> {
        GuestTable::new()
    }
}

/// What a guest has at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestMapping {
    /// The byte.
    pub phys: Phys,
    /// What the guest may do there, besides reading.
    pub rights: Rights,
    /// The level of the leaf.
    pub level: Level,
}

/// The first byte of a guest's page. The page is below the guest's input size.
fn ipa_of<G: Granule>(gfn: u64) -> GuestIpa {
    GuestIpa::new(gfn << G::SHIFT)
}

impl<G: Granule> Guest<G> {
    pub(super) fn tree(&self) -> &Tree<G, GuestStage> {
        &self.tree
    }

    pub(super) fn is_protected(&self) -> bool {
        self.protected
    }

    /// Pages that have left the guest's tables and are its own until they are scrubbed.
    pub(super) fn leaving(&self) -> u64 {
        self.dying.map_or(0, |dying| dying.left.len())
    }

    /// The page after the last that the guest can have.
    fn limit(&self) -> u64 {
        1 << (self.tree.bits() - G::SHIFT)
    }

    /// The end of a range of guest pages; [`Error::Invalid`] if it is empty or beyond the limit.
    fn end(&self, gfn: u64, nr: u64) -> Result<u64, Error> {
        let end = gfn.checked_add(nr).ok_or(Error::Invalid)?;
        if nr == 0 || end > self.limit() {
            return Err(Error::Invalid);
        }
        Ok(end)
    }
}

impl<'m, G: Granule> Memory<'m, G> {
    /// Makes the memory of a guest in `slot`, empty, and answers the registers for it.
    ///
    /// [`Error::Invalid`] if there is no such slot or the CPUs have no such size of address;
    /// [`Error::Exists`] if the slot is in use; [`Error::NoMemory`] if the root would come out of
    /// the reserve, or if it needs a run of pages and the pool has none: up to
    /// [`MAX_ROOT_TABLES`](crate::pool::MAX_ROOT_TABLES) contiguous pages, aligned to their size,
    /// donated at a time, are one.
    pub fn guest_create<M: Machine>(
        &mut self,
        m: &mut M,
        slot: usize,
        protected: bool,
        ipa_bits: u32,
    ) -> Result<GuestRegime, Error> {
        let vmid = slot_number(slot)? + 1;
        if self.guests.0.get(slot).is_none_or(Option::is_some) {
            return Err(Error::Exists);
        }
        // The host's input size is that of the CPUs' physical addresses.
        let shape = Shape::guest::<G>(ipa_bits, self.shape.ipa_bits)?;
        let nr = shape.root_tables;
        if self.pool.spare() < nr {
            return Err(Error::NoMemory);
        }
        let root = if nr == 1 {
            self.pool.take(m)
        } else {
            let free = |page: Phys| {
                let state = self.pages.get(page.pfn::<G>());
                state == Ok(PageState::el2(Use::Free))
            };
            self.pool.take_run::<G, M>(m, nr, free)
        };
        let root = root.ok_or(Error::NoMemory)?;

        for n in 0..nr {
            let table = Phys::new(root.raw() + (n << G::SHIFT));
            m.clear_table(table);
            super::must(
                self.pages
                    .set(table.pfn::<G>(), PageState::el2(Use::GuestTable)),
            );
        }
        m.publish();
        self.guest_tables += nr;
        let regime = GuestRegime::new(&shape, root, vmid);
        if let Some(free) = self.guests.0.get_mut(slot) {
            *free = Some(Guest {
                tree: Tree::new(root, shape.start, ipa_bits, GuestStage(regime)),
                root_tables: nr,
                protected,
                dying: None,
            });
        }
        Ok(regime)
    }

    /// What the guest in `slot` has at `ipa`; `None` if nothing is mapped there.
    ///
    /// [`Error::NoEntry`] if there is no such guest; [`Error::Invalid`] if `ipa` is beyond its size
    /// of address.
    pub fn guest_walk<M: Machine>(
        &self,
        m: &M,
        slot: usize,
        ipa: GuestIpa,
    ) -> Result<Option<GuestMapping>, Error> {
        let entry = self.guest(slot)?.tree.walk(m, ipa).ok_or(Error::Invalid)?;
        Ok(match entry.view {
            View::Leaf { oa, attrs } => {
                let offset = ipa.raw() & (G::level_size(entry.level) - 1);
                Some(GuestMapping {
                    phys: Phys::new(oa.raw() | offset),
                    rights: Rights::of(attrs),
                    level: entry.level,
                })
            }
            _ => None,
        })
    }

    /// How many guests there are, those that are being taken apart among them.
    pub fn guests(&self) -> usize {
        self.guests.0.iter().flatten().count()
    }

    /// A guest's stage 2, to look at; `None` if there is no such guest.
    pub fn guest_tree(&self, slot: usize) -> Option<&Tree<G, GuestStage>> {
        self.guests.0.get(slot)?.as_ref().map(Guest::tree)
    }

    /// The guest in `slot`, if it is whole.
    fn guest(&self, slot: usize) -> Result<&Guest<G>, Error> {
        let guest = self.guests.0.get(slot).and_then(Option::as_ref);
        guest
            .filter(|guest| guest.dying.is_none())
            .ok_or(Error::NoEntry)
    }

    /// The frames for the tables of guests.
    fn guest_frames(&mut self) -> PoolFrames<'_, 'm, G> {
        PoolFrames {
            pool: &mut self.pool,
            pages: &mut self.pages,
            tables: &mut self.guest_tables,
            usage: Use::GuestTable,
        }
    }
}

/// A slot's number as the page words have it.
fn slot_number(slot: usize) -> Result<u8, Error> {
    let number = u8::try_from(slot).map_err(|_| Error::Invalid)?;
    if slot < MAX_VMS {
        Ok(number)
    } else {
        Err(Error::Invalid)
    }
}
