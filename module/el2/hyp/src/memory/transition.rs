// SPDX-License-Identifier: GPL-2.0
//! Changes of ownership between the host and EL2.
//!
//! Each checks both sides, counts the table pages that it takes, and only then writes. The caller
//! is the host: each argument may be anything.

use mvirt_abi::Error;

use super::ram::Pages;
use super::{must, Memory};
use crate::addr::{Granule, Ipa, Level, Phys};
use crate::machine::Machine;
use crate::page::{Owner, PageState, Share, Use, View, FIRST_GUEST};
use crate::pgtable::{Attrs, Visitor};
use crate::pool::{Pool, RESERVE};

/// The most pages in one donation, so that no call holds the lock for long.
pub const MAX_DONATION: u64 = 512;

/// Stops at a table that is a donated page.
struct DonatedTable<'a>(&'a Pool);

impl Visitor for DonatedTable<'_> {
    type Stop = ();

    fn table(&mut self, table: Phys, _: Level, _: usize) -> Result<(), ()> {
        if self.0.is_home(table) {
            Ok(())
        } else {
            Err(())
        }
    }

    fn leaf(&mut self, _: u64, _: Level, _: Phys, _: Attrs) -> Result<(), ()> {
        Ok(())
    }
}

impl<G: Granule> Memory<'_, G> {
    /// Donates `nr` contiguous pages of the host, from `pfn` on, to the pool; answers the pool's
    /// free pages. The tables that this takes may come out of the reserve, if the donation fills
    /// it again: so a donation that is large enough is never refused for want of tables.
    ///
    /// [`Error::Invalid`] if `nr` is 0 or above [`MAX_DONATION`], or the range overflows;
    /// [`Error::NoEntry`] if a page is not RAM; [`Error::Perm`] if one is not the host's alone;
    /// [`Error::NoMemory`] if it would leave the pool below its reserve.
    pub fn pool_donate<M: Machine>(&mut self, m: &mut M, pfn: u64, nr: u64) -> Result<u64, Error> {
        if nr == 0 || nr > MAX_DONATION {
            return Err(Error::Invalid);
        }
        let end = pfn.checked_add(nr).ok_or(Error::Invalid)?;
        let pages = Pages { start: pfn, end };
        self.pages.expect_all(pages, PageState::HOST)?;
        // All of it is RAM, and so below the input size: the shifts lose nothing.
        let (ipa, size) = (Ipa::new(pfn << G::SHIFT), nr << G::SHIFT);
        let pa = ipa.host_phys();
        let mut need = self.donation_cost(m, ipa, size)?;
        if self.pool.free() < need {
            self.make_room(m, |pool| pool.free() >= need);
            need = self.donation_cost(m, ipa, size)?;
        }
        let after = self.pool.free().checked_sub(need).map(|left| left + nr);
        if after.is_none_or(|after| after < RESERVE) {
            return Err(Error::NoMemory);
        }

        let (host, mut frames) = self.host_parts();
        // TLBs are clean when this returns: from here on the pages are EL2's to touch.
        must(host.unmap(m, &mut frames, ipa, size));
        must(self.pages.set_all(pages, PageState::el2(Use::Free)));
        let (el2, mut frames) = self.el2_parts();
        must(el2.map_pages(m, &mut frames, pa, size));
        for pfn in pages.start..pages.end {
            self.pool.put(m, Phys::new(pfn << G::SHIFT));
        }
        self.donated += nr;
        Ok(self.pool.free())
    }

    fn donation_cost<M: Machine>(&self, m: &M, ipa: Ipa, size: u64) -> Result<u64, Error> {
        Ok(self.host.unmap_cost(m, ipa, size)? + self.el2.pages_cost(m, ipa.host_phys(), size)?)
    }

    /// Takes a donated page back from the pool, scrubbed; answers its number and the pool's free
    /// pages. It takes no table: where there is no table for the host's entry, the host's first
    /// access maps it. If those that are left are tables of the host's stage 2, and there is no
    /// guest, that is unmapped as in a fault that finds no table, so every page comes back in the end.
    /// While there is a guest the host's map may be in pages all over: to take it down, and to look
    /// for such tables in it, would take any time, and the next fault would want the tables again.
    ///
    /// [`Error::NoEntry`] if there is no donated page; [`Error::NoMemory`] if no more than the
    /// reserve is free; [`Error::Busy`] if those that are left are in use by VMs or beside them, or
    /// tables of EL2's, which it needs for what is shared with it.
    pub fn pool_reclaim<M: Machine>(&mut self, m: &mut M) -> Result<(u64, u64), Error> {
        if self.donated == 0 {
            return Err(Error::NoEntry);
        }
        let (in_use, has_guests) = (self.pool.donated() == 0, self.guests() > 0);
        if in_use && (has_guests || !self.host_has_donated_tables(m)) {
            // Whatever the host loses of its mappings, nothing would come of it.
            return Err(Error::Busy);
        }
        if !has_guests {
            self.make_room(m, |pool| pool.spare() > 0 && pool.donated() > 0);
        }
        if self.pool.spare() == 0 {
            return Err(Error::NoMemory);
        }
        let page = self.pool.take_donated(m).ok_or(Error::Busy)?;
        let pfn = page.pfn::<G>();
        self.drop_decoy(m, page);
        m.scrub(page);
        let (el2, mut frames) = self.el2_parts();
        must(el2.unmap_page(m, &mut frames, page));
        must(self.pages.set(pfn, PageState::HOST));
        self.donated -= 1;
        self.map_back(m, page);
        Ok((pfn, self.pool.free()))
    }

    fn host_has_donated_tables<M: Machine>(&self, m: &M) -> bool {
        let mut search = DonatedTable(&self.pool);
        self.host.visit(m, &mut search).is_err()
    }

    /// Maps a page that is the host's again, if its walk ends at level 3; joins what becomes whole.
    pub(super) fn map_back<M: Machine>(&mut self, m: &mut M, page: Phys) {
        let ipa = page.host_ipa();
        let attrs = self.ram_attrs;
        if self.host.map_cost(m, ipa, G::BYTES, page, Level::L3) != Ok(0) {
            return;
        }
        let (host, mut frames) = self.host_parts();
        must(host.map(m, &mut frames, ipa, G::BYTES, page, attrs, Level::L3));
    }

    /// Shares a page of the host with EL2, which reads and writes it in its linear map from then
    /// on. The host's own mapping stays as it is.
    ///
    /// [`Error::NoEntry`] if it is not RAM; [`Error::Perm`] if it is not the host's;
    /// [`Error::Exists`] if it is shared already; [`Error::NoMemory`] if the tables would come out
    /// of the reserve.
    pub fn host_share_el2<M: Machine>(&mut self, m: &mut M, pfn: u64) -> Result<(), Error> {
        let state = self.pages.get(pfn)?;
        match (state.view(Owner::Host), state.view(Owner::El2)) {
            (View::Owned, View::NoPage) => (),
            (View::SharedOwned, View::SharedBorrowed) => return Err(Error::Exists),
            _ => return Err(Error::Perm),
        }
        let page = Phys::from_pfn::<G>(pfn).ok_or(Error::Invalid)?;
        if self.el2.pages_cost(m, page, G::BYTES)? > self.pool.spare() {
            return Err(Error::NoMemory);
        }

        must(self.pages.set(pfn, PageState::SHARED));
        let (el2, mut frames) = self.el2_parts();
        must(el2.map_pages(m, &mut frames, page, G::BYTES));
        self.shared += 1;
        Ok(())
    }

    /// Ends a share.
    ///
    /// [`Error::NoEntry`] if the page is not RAM; [`Error::Perm`] if it is not the host's or not
    /// shared; [`Error::Busy`] while EL2 has it pinned.
    pub fn host_unshare_el2<M: Machine>(&mut self, m: &mut M, pfn: u64) -> Result<(), Error> {
        let state = self.shared_page(pfn)?;
        if state.count != 0 {
            return Err(Error::Busy);
        }
        let page = Phys::from_pfn::<G>(pfn).ok_or(Error::Invalid)?;

        let (el2, mut frames) = self.el2_parts();
        must(el2.unmap_page(m, &mut frames, page));
        must(self.pages.set(pfn, PageState::HOST));
        self.shared -= 1;
        Ok(())
    }

    /// Keeps a shared page shared while EL2 uses it; each pin is ended by [`unpin`](Self::unpin).
    ///
    /// [`Error::NoEntry`] and [`Error::Perm`] as for unsharing; [`Error::Busy`] after 65,535 pins.
    pub fn pin(&mut self, pfn: u64) -> Result<(), Error> {
        let state = self.shared_page(pfn)?;
        let count = state.count.checked_add(1).ok_or(Error::Busy)?;
        self.pages.set(pfn, PageState { count, ..state })
    }

    /// Ends a pin. [`Error::NoEntry`] and [`Error::Perm`] as for unsharing; [`Error::Invalid`] if
    /// the page is not pinned.
    pub fn unpin(&mut self, pfn: u64) -> Result<(), Error> {
        let state = self.shared_page(pfn)?;
        let count = state.count.checked_sub(1).ok_or(Error::Invalid)?;
        self.pages.set(pfn, PageState { count, ..state })
    }

    fn shared_page(&self, pfn: u64) -> Result<PageState, Error> {
        let state = self.pages.get(pfn)?;
        if state.owner == Owner::Host && state.share == Share::WithEl2 {
            Ok(state)
        } else {
            Err(Error::Perm)
        }
    }

    /// A page's state; errors as [`PageMap::get`](super::PageMap::get).
    pub fn page(&self, pfn: u64) -> Result<PageState, Error> {
        self.pages.get(pfn)
    }

    /// A page's owner (0 host, 1 EL2, 2 and up the guest in slot 0 and up) and the owner's [`View`] of it, as numbers for the hypercall.
    /// [`Error::NoEntry`] if it is not RAM.
    pub fn page_state(&self, pfn: u64) -> Result<(u64, u64), Error> {
        let state = self.pages.get(pfn)?;
        let owner = match state.owner {
            Owner::Host => 0,
            Owner::El2 => 1,
            Owner::Guest(slot) => u64::from(slot) + u64::from(FIRST_GUEST),
        };
        Ok((owner, state.view(state.owner) as u64))
    }
}
