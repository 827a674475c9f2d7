// SPDX-License-Identifier: GPL-2.0
//! Taking a guest's memory apart, in steps that each hold the lock for a short time.
//!
//! From the first step on nothing else of the slot answers. The pages go back first: those of a
//! protected guest scrubbed, but for what it shared with the host, who knows that content; of a
//! block, which leaves the tables whole, a part in each step. Each table follows when it is empty.
//! Then the TLBs are asked to forget the VMID, and the root and the slot are free.

use mvirt_abi::Error;

use super::unmap::Next;
use super::{ipa_of, Guest};
use crate::addr::{Granule, Phys};
use crate::machine::Machine;
use crate::memory::{must, Memory, Pages};
use crate::page::{PageState, Share, Use};
use crate::pgtable::Frames;

/// Bytes that one step scrubs at most. A page takes some 3,300 instructions: 500 to scrub it, the rest
/// to map it for that, to note it, and to give it back to the host's map. Where the page is the last that
/// the host lacks of a block, or might be, all of a table is looked at, which takes 4,000 more, and
/// putting the block in its place as many again: which pages those are the host decides, so that each
/// counts as one of them.
const STEP_BYTES: u64 = 48 << 10;
/// That many pages of the smallest granule.
const STEP_PAGES: usize = 12;

/// How far a guest is taken apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dying {
    /// The guest's pages below this one are unmapped.
    at: u64,
    /// Pages of a block that is unmapped, still to be given back.
    pub(super) left: Pages,
}

impl<G: Granule> Memory<'_, G> {
    /// Takes the next step in taking the guest in `slot` apart; answers whether more are to come.
    /// When it answers `false`, all its pages are the host's, its tables are in the pool, no TLB
    /// holds anything of its VMID, and the slot is free.
    ///
    /// No vCPU of it runs, and its regime is in no CPU's VTTBR_EL2, from the first step on.
    ///
    /// [`Error::NoEntry`] if there is no such guest.
    pub fn guest_destroy_step<M: Machine>(
        &mut self,
        m: &mut M,
        slot: usize,
    ) -> Result<bool, Error> {
        let guest = self.guests.0.get_mut(slot).and_then(Option::as_mut);
        let guest = guest.ok_or(Error::NoEntry)?;
        let mut dying = *guest.dying.get_or_insert_default();
        let range = Pages {
            start: dying.at,
            end: guest.limit(),
        };
        if !dying.left.is_empty() {
            dying.left = self.give_back_some(m, dying.left);
        } else if range.is_empty() {
            self.free_root(m, slot);
            return Ok(false);
        } else if guest.protected {
            dying = self.take_pages(m, slot, range);
        } else {
            (_, dying.at) = self.end_shares(m, slot, range);
        }
        must(self.slot_mut(slot)).dying = Some(dying);
        Ok(true)
    }

    /// Unmaps the next pages of a protected guest and gives them back, as many as a step may.
    fn take_pages<M: Machine>(&mut self, m: &mut M, slot: usize, range: Pages) -> Dying {
        let tree = must(self.slot(slot)).tree;
        let most = STEP_BYTES >> G::SHIFT;
        let mut dying = Dying::default();
        match self.next_leaves(m, slot, range, most) {
            Next::None(at) => dying.at = at,
            Next::Some(part) => {
                let (ipa, size) = (ipa_of::<G>(part.start), part.len() << G::SHIFT);
                let mut pages: [Option<Phys>; STEP_PAGES] = [None; STEP_PAGES];
                let mut free = pages.iter_mut();
                must(tree.leaves(m, ipa, size, |_, _, oa, _| {
                    // There is room for each: a step is no more pages than that.
                    *must(free.next().ok_or(Error::Invalid)) = Some(oa);
                    true
                }));
                let mut frames = self.guest_frames();
                must(tree.unmap(m, &mut frames, ipa, size));
                for page in pages.into_iter().flatten() {
                    self.give_back(m, page);
                }
                dying.at = part.end;
            }
            Next::Block(block) => {
                let (ipa, size) = (ipa_of::<G>(block.start), block.len() << G::SHIFT);
                must(tree.leaves(m, ipa, size, |_, _, oa, _| {
                    let start = oa.pfn::<G>();
                    let end = start + block.len();
                    dying.left = Pages { start, end };
                    false
                }));
                let mut frames = self.guest_frames();
                must(tree.unmap(m, &mut frames, ipa, size));
                dying.left = self.give_back_some(m, dying.left);
                dying.at = block.end;
            }
        }
        dying
    }

    /// Gives back as many of the pages as a step may; answers the others.
    fn give_back_some<M: Machine>(&mut self, m: &mut M, pages: Pages) -> Pages {
        let end = pages.end.min(pages.start + (STEP_BYTES >> G::SHIFT));
        for pfn in pages.start..end {
            self.give_back(m, Phys::new(pfn << G::SHIFT));
        }
        Pages {
            start: end,
            ..pages
        }
    }

    /// Gives a protected guest's page, which is in no table and no TLB of the guest any more, back
    /// to the host.
    pub(super) fn give_back<M: Machine>(&mut self, m: &mut M, page: Phys) {
        let pfn = page.pfn::<G>();
        self.drop_decoy(m, page);
        // What was shared with the host the host may have mapped now, and has seen.
        if must(self.pages.get(pfn)).share != Share::WithHost {
            m.scrub_page(page);
        }
        must(self.pages.set(pfn, PageState::HOST));
        self.guest_pages -= 1;
        self.map_back(m, page);
    }

    /// The last step: the root goes to the pool, and the slot is free.
    fn free_root<M: Machine>(&mut self, m: &mut M, slot: usize) {
        let Some(Guest {
            tree, root_tables, ..
        }) = self.guests.0.get_mut(slot).and_then(Option::take)
        else {
            return;
        };
        // A CPU may still hold the root's descriptors, though they are invalid, as a walk that has
        // begun: not after this.
        m.tlb_flush_guest_all(tree.stage().0);
        for n in 0..root_tables {
            let table = Phys::new(tree.root().raw() + (n << G::SHIFT));
            debug_assert_eq!(
                self.pages.get(table.pfn::<G>()),
                Ok(PageState::el2(Use::GuestTable))
            );
            self.guest_frames().give(m, table);
        }
    }

    /// The guest in `slot`, whole or not.
    pub(super) fn slot(&self, slot: usize) -> Result<&Guest<G>, Error> {
        let guest = self.guests.0.get(slot).and_then(Option::as_ref);
        guest.ok_or(Error::NoEntry)
    }

    fn slot_mut(&mut self, slot: usize) -> Result<&mut Guest<G>, Error> {
        let guest = self.guests.0.get_mut(slot).and_then(Option::as_mut);
        guest.ok_or(Error::NoEntry)
    }
}
