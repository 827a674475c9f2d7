// SPDX-License-Identifier: GPL-2.0
//! The end of shares with guests that are not protected.
//!
//! It is never refused for want of memory, for an MMU notifier of the host's cannot fail: where a
//! block would have to be split and no table is spare, the whole block goes, and the guest faults
//! the rest in again.

use mvirt_abi::Error;

use super::{ipa_of, MAX_SCAN};
use crate::addr::{Granule, Level};
use crate::machine::Machine;
use crate::memory::{must, Memory, Pages};
use crate::page::PageState;
use crate::pgtable::View;

/// Pages that one call unmaps at most, if they are not a block: some 350 instructions each.
const MAX_UNMAP: u64 = 256;

/// The next leaf, or leaves in one table, of a range of a guest's pages.
pub(super) enum Next {
    /// Pages of one table of level 3, some of them mapped.
    Some(Pages),
    /// A block, all of it.
    Block(Pages),
    /// Nothing up to this page; that is the end of the range, or as far as one call looks.
    None(u64),
}

impl<G: Granule> Memory<'_, G> {
    /// Ends the share of the `nr` pages from `gfn` on with the guest in `slot`, as far as they are
    /// mapped. Answers how many pages were unmapped, which may be more than asked for, and the page
    /// to go on with: the range's end, when all of it is done.
    ///
    /// [`Error::NoEntry`] if there is no such guest; [`Error::Perm`] if it is protected;
    /// [`Error::Invalid`] if `nr` is 0 or the range is beyond its size of address.
    pub fn guest_unmap<M: Machine>(
        &mut self,
        m: &mut M,
        slot: usize,
        gfn: u64,
        nr: u64,
    ) -> Result<(u64, u64), Error> {
        let guest = self.guest(slot)?;
        if guest.protected {
            return Err(Error::Perm);
        }
        let end = guest.end(gfn, nr)?;
        Ok(self.end_shares(m, slot, Pages { start: gfn, end }))
    }

    /// One step of [`guest_unmap`](Self::guest_unmap), on a guest that is there.
    pub(super) fn end_shares<M: Machine>(
        &mut self,
        m: &mut M,
        slot: usize,
        range: Pages,
    ) -> (u64, u64) {
        match self.next_leaves(m, slot, range, MAX_UNMAP) {
            Next::None(next) => (0, next),
            Next::Some(part) => (self.end_share(m, slot, part), part.end),
            Next::Block(block) => {
                let start = block.start.max(range.start);
                let end = block.end.min(range.end);
                let part = Pages { start, end };
                let tree = must(self.slot(slot)).tree;
                let size = part.len() << G::SHIFT;
                let tables = must(tree.unmap_cost(m, ipa_of::<G>(start), size));
                let goes = if tables > self.pool.spare() {
                    block
                } else {
                    part
                };
                (self.end_share(m, slot, goes), end)
            }
        }
    }

    /// The first leaves in a range, at most `most` pages of them unless it is a block.
    pub(super) fn next_leaves<M: Machine>(
        &self,
        m: &M,
        slot: usize,
        range: Pages,
        most: u64,
    ) -> Next {
        let tree = must(self.slot(slot)).tree;
        let mut at = range.start;
        for _ in 0..MAX_SCAN {
            if at >= range.end {
                break;
            }
            // It is below the guest's limit, so the walk ends somewhere.
            let entry = must(tree.walk(m, ipa_of::<G>(at)).ok_or(Error::Invalid));
            let span = G::level_size(entry.level) >> G::SHIFT;
            let start = at & !(span - 1);
            let mut end = start + span;
            match (entry.view, entry.level) {
                (_, Level::L3) => {
                    // All bits of an index: the table's last page.
                    let table_end = (at | (G::ENTRIES as u64 - 1)) + 1;
                    end = table_end.min(range.end).min(at + most);
                    let (ipa, size) = (ipa_of::<G>(at), (end - at) << G::SHIFT);
                    let mut mapped = false;
                    must(tree.leaves(m, ipa, size, |_, _, _, _| {
                        mapped = true;
                        false
                    }));
                    if mapped {
                        return Next::Some(Pages { start: at, end });
                    }
                }
                (View::Leaf { .. }, _) => return Next::Block(Pages { start, end }),
                _ => (),
            }
            at = end;
        }
        Next::None(at.min(range.end))
    }

    /// Unmaps what is mapped in a range and ends the shares; answers how many.
    fn end_share<M: Machine>(&mut self, m: &mut M, slot: usize, part: Pages) -> u64 {
        let tree = must(self.slot(slot)).tree;
        let (ipa, size) = (ipa_of::<G>(part.start), part.len() << G::SHIFT);
        let (start, end) = (ipa.raw(), ipa.raw() + size);
        let mut ended = 0;
        // The words first, as the tables know the pages only until they are unmapped. Nobody sees
        // what is in between: the lock is held until TLBs are clean, too.
        let pages = &mut self.pages;
        must(tree.leaves(m, ipa, size, |at, level, oa, _| {
            let leaf_end = at.raw() + G::level_size(level);
            let first = at.raw().max(start);
            let nr = (leaf_end.min(end) - first) >> G::SHIFT;
            let pfn = (oa.raw() + (first - at.raw())) >> G::SHIFT;
            for pfn in pfn..pfn + nr {
                let count = must(pages.get(pfn)).count;
                let next = match must(count.checked_sub(1).ok_or(Error::Invalid)) {
                    0 => PageState::HOST,
                    count => PageState::with_guests(count),
                };
                must(pages.set(pfn, next));
            }
            ended += nr;
            true
        }));
        let mut frames = self.guest_frames();
        must(tree.unmap(m, &mut frames, ipa, size));
        self.guest_shares -= ended;
        ended
    }
}
