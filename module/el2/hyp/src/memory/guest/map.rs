// SPDX-License-Identifier: GPL-2.0
//! From the host to a guest: donation to a protected one, a share with another one.

use mvirt_abi::{Error, MAP_EXEC, MAP_WRITE};

use super::{ipa_of, slot_number, Guest};
use crate::addr::{Granule, GuestIpa, Ipa, Level, Phys};
use crate::machine::Machine;
use crate::memory::{must, Memory, Pages};
use crate::page::{PageState, Share};
use crate::pgtable::stage2::{guest_attrs, Rights};
use crate::pgtable::Vacant;

/// The most pages in one call: they are cleaned under the lock.
pub const MAX_GUEST_MAP: u64 = 512;

/// A range of a guest's pages and the host's pages for it.
#[derive(Clone, Copy)]
struct Request {
    slot: usize,
    ipa: GuestIpa,
    size: u64,
    pages: Pages,
    rights: Rights,
}

/// What a guest has in a range already.
enum Found {
    Nothing,
    /// The very pages of the request, with other rights.
    OtherRights,
}

impl<G: Granule> Memory<'_, G> {
    /// Gives the guest in `slot` the `nr` contiguous pages of the host's from `pfn` on, at page
    /// `gfn` and up: a protected one for good and with every right, another one as a share with
    /// `rights` ([`MAP_WRITE`], [`MAP_EXEC`]). In the largest blocks that fit. The content stays,
    /// and is what a guest sees that starts with its MMU off.
    ///
    /// If exactly these pages are shared there already, but with other rights, the rights change.
    ///
    /// [`Error::NoEntry`] if there is no such guest, or a page is not RAM; [`Error::Invalid`] if
    /// `nr` is 0 or above [`MAX_GUEST_MAP`], the range is beyond the guest's size of address, or
    /// `rights` has unknown bits; [`Error::Exists`] if any of it is mapped; [`Error::Perm`] if a
    /// page is not the host's to give; [`Error::Busy`] if a page is mapped 65,535 times;
    /// [`Error::NoMemory`] if the tables would come out of the reserve.
    #[allow(clippy::too_many_arguments)]
    pub fn guest_map<M: Machine>(
        &mut self,
        m: &mut M,
        slot: usize,
        gfn: u64,
        pfn: u64,
        nr: u64,
        rights: u64,
    ) -> Result<(), Error> {
        let guest = self.guest(slot)?;
        if nr > MAX_GUEST_MAP || rights & !(MAP_WRITE | MAP_EXEC) != 0 {
            return Err(Error::Invalid);
        }
        guest.end(gfn, nr)?;
        let end = pfn.checked_add(nr).ok_or(Error::Invalid)?;
        let request = Request {
            slot,
            ipa: ipa_of::<G>(gfn),
            size: nr << G::SHIFT,
            pages: Pages { start: pfn, end },
            rights: Rights {
                write: rights & MAP_WRITE != 0,
                execute: rights & MAP_EXEC != 0,
            },
        };
        if guest.protected {
            self.host_donate_guest(m, request)
        } else {
            self.host_share_guest(m, request)
        }
    }

    fn host_donate_guest<M: Machine>(&mut self, m: &mut M, request: Request) -> Result<(), Error> {
        let owner = PageState::guest(slot_number(request.slot)?);
        let guest = self.guest(request.slot)?;
        let vacant = vacant(guest, m, request);
        if vacant.is_none() && !matches!(found(guest, m, request)?, Found::Nothing) {
            return Err(Error::Exists);
        }
        self.pages.expect_all(request.pages, PageState::HOST)?;
        // All of it is RAM, and so below the host's input size: the shift loses nothing.
        let ipa = Ipa::new(request.pages.start << G::SHIFT);
        let mut tables = self.host.unmap_cost(m, ipa, request.size)?;
        if vacant.is_none() {
            let pa = ipa.host_phys();
            tables += guest
                .tree
                .map_cost(m, request.ipa, request.size, pa, Level::L2)?;
        }
        if tables > self.pool.spare() {
            return Err(Error::NoMemory);
        }

        let (host, mut frames) = self.host_parts();
        // TLBs are clean when this returns: the host can make no line dirty any more.
        must(host.unmap(m, &mut frames, ipa, request.size));
        must(self.pages.set_all(request.pages, owner));
        self.guest_pages += request.pages.len();
        let rights = Rights::ALL;
        self.hand_over(m, Request { rights, ..request }, vacant);
        Ok(())
    }

    fn host_share_guest<M: Machine>(&mut self, m: &mut M, request: Request) -> Result<(), Error> {
        let guest = self.guest(request.slot)?;
        let tree = guest.tree;
        let vacant = vacant(guest, m, request);
        if vacant.is_some() {
            let pfn = request.pages.start;
            let next = next_share(self.pages.get(pfn)?)?;
            must(self.pages.set(pfn, next));
            self.guest_shares += 1;
            self.hand_over(m, request, vacant);
            return Ok(());
        }
        match found(guest, m, request)? {
            Found::OtherRights => {
                // What is unmapped leaves at least the tables that mapping it again takes.
                let tables = tree.unmap_cost(m, request.ipa, request.size)?;
                if tables > self.pool.spare() {
                    return Err(Error::NoMemory);
                }
                let mut frames = self.guest_frames();
                must(tree.unmap(m, &mut frames, request.ipa, request.size));
            }
            Found::Nothing => {
                for pfn in request.pages.start..request.pages.end {
                    next_share(self.pages.get(pfn)?)?;
                }
                let pa = Phys::new(request.pages.start << G::SHIFT);
                if tree.map_cost(m, request.ipa, request.size, pa, Level::L2)? > self.pool.spare() {
                    return Err(Error::NoMemory);
                }

                for pfn in request.pages.start..request.pages.end {
                    let next = must(self.pages.get(pfn).and_then(next_share));
                    must(self.pages.set(pfn, next));
                }
                self.guest_shares += request.pages.len();
            }
        }
        self.hand_over(m, request, None);
        Ok(())
    }

    /// Cleans the pages, so that the guest sees their content whatever its stage 1 says, and maps
    /// them, at the place that [`vacant`] found. The order is what matters: no access of the guest comes
    /// before its page is clean.
    fn hand_over<M: Machine>(&mut self, m: &mut M, request: Request, vacant: Option<Vacant>) {
        for pfn in request.pages.start..request.pages.end {
            m.clean_page(Phys::new(pfn << G::SHIFT), request.rights.execute);
        }
        let attrs = guest_attrs(request.rights, self.fwb);
        let tree = must(self.guest(request.slot)).tree;
        let pa = Phys::new(request.pages.start << G::SHIFT);
        let mut frames = self.guest_frames();
        must(match vacant {
            Some(place) => tree.map_at(m, &mut frames, place, pa, attrs),
            None => {
                let Request { ipa, size, .. } = request;
                tree.map(m, &mut frames, ipa, size, pa, attrs, Level::L2)
            }
        });
    }
}

/// The place of a request for one page, if it takes no table and nothing is there: the usual fault.
fn vacant<G: Granule, M: Machine>(guest: &Guest<G>, m: &M, request: Request) -> Option<Vacant> {
    (request.size == G::BYTES)
        .then(|| guest.tree.vacant(m, request.ipa))
        .flatten()
}

/// What the guest has where the request wants to map; [`Error::Exists`] if that is in the way.
fn found<G: Granule, M: Machine>(
    guest: &Guest<G>,
    m: &M,
    request: Request,
) -> Result<Found, Error> {
    let start = request.ipa.raw();
    let end = start + request.size;
    let offset = (request.pages.start << G::SHIFT).wrapping_sub(start);
    let (mut bytes, mut same_pages, mut same_rights) = (0, true, true);
    guest
        .tree
        .leaves(m, request.ipa, request.size, |at, level, oa, attrs| {
            let leaf_end = at.raw() + G::level_size(level);
            bytes += leaf_end.min(end) - at.raw().max(start);
            same_pages &= oa.raw() == at.raw().wrapping_add(offset);
            same_rights &= Rights::of(attrs) == request.rights;
            true
        })?;
    if bytes == 0 {
        Ok(Found::Nothing)
    } else if bytes == request.size && same_pages && !same_rights {
        Ok(Found::OtherRights)
    } else {
        Err(Error::Exists)
    }
}

/// The state of a page that is shared with one guest more.
fn next_share(state: PageState) -> Result<PageState, Error> {
    match state {
        PageState::HOST => Ok(PageState::with_guests(1)),
        PageState {
            share: Share::WithGuests,
            count,
            ..
        } => {
            let count = count.checked_add(1).ok_or(Error::Busy)?;
            Ok(PageState::with_guests(count))
        }
        _ => Err(Error::Perm),
    }
}
