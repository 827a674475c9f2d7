// SPDX-License-Identifier: GPL-2.0
//! What a protected guest does with its own pages: share, unshare, relinquish.
//!
//! The caller is the guest, so what it does may harm itself alone. [`Error::NoEntry`] always means
//! that the page is not mapped: the host may be asked for it and the guest tries again. Any other
//! error is for the guest.

use mvirt_abi::Error;

use super::{ipa_of, slot_number};
use crate::addr::{Granule, GuestIpa, Phys};
use crate::machine::Machine;
use crate::memory::{must, Memory};
use crate::page::{PageState, Share};
use crate::pgtable::View;

impl<G: Granule> Memory<'_, G> {
    /// Lets the host use the guest's page `gfn` as well; answers the page's number. The host's
    /// stage 2 maps it when the host uses it.
    ///
    /// What the page held before is cleaned out to memory: the host may map it non-cacheable, and
    /// would else find what the guest has long overwritten.
    ///
    /// [`Error::NoEntry`] if nothing is mapped there; [`Error::Perm`] if the guest is not protected;
    /// [`Error::Invalid`] if the page is beyond its size of address; [`Error::Exists`] if it is
    /// shared already.
    pub fn guest_share_host<M: Machine>(
        &mut self,
        m: &mut M,
        slot: usize,
        gfn: u64,
    ) -> Result<u64, Error> {
        let (page, state) = self.guest_page(m, slot, gfn)?;
        if state.share != Share::None {
            return Err(Error::Exists);
        }
        let pfn = page.pfn::<G>();

        self.drop_decoy(m, page);
        m.clean_page(page, false);
        let share = Share::WithHost;
        must(self.pages.set(pfn, PageState { share, ..state }));
        Ok(pfn)
    }

    /// Ends that; answers the page's number. It takes no table: where a block of the host's would
    /// have to be split and none is spare, the host faults the rest of it in again.
    ///
    /// [`Error::NoEntry`], [`Error::Perm`] and [`Error::Invalid`] as for sharing, and
    /// [`Error::Perm`] if the page is not shared.
    pub fn guest_unshare_host<M: Machine>(
        &mut self,
        m: &mut M,
        slot: usize,
        gfn: u64,
    ) -> Result<u64, Error> {
        let (page, state) = self.guest_page(m, slot, gfn)?;
        if state.share != Share::WithHost {
            return Err(Error::Perm);
        }
        let pfn = page.pfn::<G>();

        self.unmap_host_page(m, page);
        // A line that the host left dirty would be written back over what the guest stores with
        // its caches off.
        m.clean_page(page, false);
        let share = Share::None;
        must(self.pages.set(pfn, PageState { share, ..state }));
        Ok(pfn)
    }

    /// Gives the guest's page `gfn` back to the host, scrubbed; answers its number.
    ///
    /// [`Error::NoEntry`], [`Error::Perm`] and [`Error::Invalid`] as for sharing, and
    /// [`Error::Perm`] if the page is shared; [`Error::NoMemory`] if a block has to be split and the
    /// table would come out of the reserve.
    pub fn guest_relinquish<M: Machine>(
        &mut self,
        m: &mut M,
        slot: usize,
        gfn: u64,
    ) -> Result<u64, Error> {
        let (page, state) = self.guest_page(m, slot, gfn)?;
        if state.share != Share::None {
            return Err(Error::Perm);
        }
        let tree = self.guest(slot)?.tree;
        let ipa = ipa_of::<G>(gfn);
        if tree.unmap_cost(m, ipa, G::BYTES)? > self.pool.spare() {
            return Err(Error::NoMemory);
        }

        let mut frames = self.guest_frames();
        // TLBs are clean when this returns: no vCPU can write to the page after the scrub.
        must(tree.unmap(m, &mut frames, ipa, G::BYTES));
        self.give_back(m, page);
        Ok(page.pfn::<G>())
    }

    /// A page that a protected guest owns, and its state.
    fn guest_page<M: Machine>(
        &self,
        m: &M,
        slot: usize,
        gfn: u64,
    ) -> Result<(Phys, PageState), Error> {
        let guest = self.guest(slot).map_err(|_| Error::Perm)?;
        if !guest.protected {
            return Err(Error::Perm);
        }
        let ipa = GuestIpa::from_pfn::<G>(gfn).ok_or(Error::Invalid)?;
        let entry = guest.tree.walk(m, ipa).ok_or(Error::Invalid)?;
        let View::Leaf { oa, .. } = entry.view else {
            return Err(Error::NoEntry);
        };
        let offset = ipa.raw() & (G::level_size(entry.level) - 1);
        let page = Phys::new(oa.raw() | offset);
        let state = self.pages.get(page.pfn::<G>()).map_err(|_| Error::Perm)?;
        // What a protected guest's tables show is its own: an invariant, not trusted here.
        if state.owner != PageState::guest(slot_number(slot)?).owner {
            return Err(Error::Perm);
        }
        Ok((page, state))
    }

    /// Takes a page out of the host's stage 2, with TLB invalidation; more than that, if a block
    /// would have to be split and no table is spare.
    fn unmap_host_page<M: Machine>(&mut self, m: &mut M, page: Phys) {
        let ipa = page.host_ipa();
        // All of the host's leaves are within RAM or outside of it, and the page is RAM.
        let entry = must(self.host.walk(m, ipa).ok_or(Error::Invalid));
        let tables = must(self.host.unmap_cost(m, ipa, G::BYTES));
        let size = if tables > self.pool.spare() {
            G::level_size(entry.level)
        } else {
            G::BYTES
        };
        let start = crate::addr::Ipa::new(ipa.raw() & !(size - 1));
        let (host, mut frames) = self.host_parts();
        must(host.unmap(m, &mut frames, start, size));
    }
}
