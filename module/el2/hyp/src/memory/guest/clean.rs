// SPDX-License-Identifier: GPL-2.0
//! Cleaning of a guest's memory as a whole, for a guest that asks for it by set and way.

use mvirt_abi::Error;

use super::ipa_of;
use super::unmap::Next;
use crate::addr::Granule;
use crate::machine::Machine;
use crate::memory::{Memory, Pages};

/// The most pages in one step: with 4 KiB pages 4,096 lines of 64 bytes, some tens of microseconds.
pub const MAX_GUEST_CLEAN: u64 = 64;

impl<G: Granule> Memory<'_, G> {
    /// Cleans and invalidates what the guest in `slot` has from its page `gfn` on, some pages of it,
    /// and answers the page to go on with; `None` after the last.
    ///
    /// What it is given meanwhile is clean by that; what is taken from it is not its any more.
    /// [`Error::NoEntry`] if there is no such guest.
    pub fn guest_clean<M: Machine>(
        &mut self,
        m: &mut M,
        slot: usize,
        gfn: u64,
    ) -> Result<Option<u64>, Error> {
        let end = self.guest(slot)?.limit();
        if gfn >= end {
            return Ok(None);
        }
        let range = Pages { start: gfn, end };
        let part = match self.next_leaves(m, slot, range, MAX_GUEST_CLEAN) {
            Next::None(next) => Pages {
                start: next,
                end: next,
            },
            Next::Some(part) => part,
            Next::Block(block) => {
                let start = block.start.max(gfn);
                let end = block.end.min(start + MAX_GUEST_CLEAN);
                Pages { start, end }
            }
        };
        for gfn in part.start..part.end {
            if let Some(mapping) = self.guest_walk(m, slot, ipa_of::<G>(gfn))? {
                m.clean_page(mapping.phys, false);
            }
        }
        Ok((part.end < end).then_some(part.end))
    }
}
