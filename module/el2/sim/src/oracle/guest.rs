// SPDX-License-Identifier: GPL-2.0
//! The model's guests: who has which page where.

use std::collections::BTreeMap;

use mvirt_abi::{Error, MAP_EXEC, MAP_WRITE, MAX_IPA_BITS, MAX_VMS, MIN_IPA_BITS};
use mvirt_hyp::memory::MAX_GUEST_MAP;

use super::{Oracle, Page};

/// A guest of the model.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Whether it owns what it has.
    pub protected: bool,
    /// Whether it is being taken apart.
    pub dying: bool,
    limit: u64,
    /// By guest page: the page and the rights.
    map: BTreeMap<u64, (u64, u64)>,
}

impl Oracle {
    fn whole(&self, slot: usize) -> Option<&Guest> {
        self.guests.get(&slot).filter(|guest| !guest.dying)
    }

    /// The guest in a slot, whole or not.
    pub fn guest(&self, slot: usize) -> Option<&Guest> {
        self.guests.get(&slot)
    }

    /// What the guest has at a page: the page and the rights.
    pub fn guest_page(&self, slot: usize, gfn: u64) -> Option<(u64, u64)> {
        self.whole(slot)?.map.get(&gfn).copied()
    }

    /// All that a guest has.
    pub fn guest_pages(&self, slot: usize) -> Vec<(u64, u64, u64)> {
        let guest = self.whole(slot).into_iter();
        let pages = guest.flat_map(|guest| &guest.map);
        pages.map(|(&gfn, &(pfn, r))| (gfn, pfn, r)).collect()
    }

    /// What making a guest answers, if there are tables.
    pub fn guest_create(&mut self, slot: usize, protected: bool, bits: u32) -> Result<(), Error> {
        if slot >= MAX_VMS {
            return Err(Error::Invalid);
        }
        if self.guests.contains_key(&slot) {
            return Err(Error::Exists);
        }
        let most = MAX_IPA_BITS.min(self.limit.trailing_zeros());
        if !(MIN_IPA_BITS..=most).contains(&bits) {
            return Err(Error::Invalid);
        }
        let guest = Guest {
            protected,
            dying: false,
            limit: 1 << (bits - self.shift),
            map: BTreeMap::new(),
        };
        self.guests.insert(slot, guest);
        Ok(())
    }

    /// What mapping answers, if there are tables.
    pub fn guest_map(
        &mut self,
        slot: usize,
        gfn: u64,
        pfn: u64,
        nr: u64,
        rights: u64,
    ) -> Result<(), Error> {
        let guest = self.whole(slot).ok_or(Error::NoEntry)?;
        let protected = guest.protected;
        if nr == 0 || nr > MAX_GUEST_MAP || rights & !(MAP_WRITE | MAP_EXEC) != 0 {
            return Err(Error::Invalid);
        }
        let end = gfn.checked_add(nr).ok_or(Error::Invalid)?;
        if end > guest.limit || pfn.checked_add(nr).is_none() {
            return Err(Error::Invalid);
        }
        let has: Vec<(u64, u64, u64)> = guest
            .map
            .range(gfn..end)
            .map(|(&gfn, &(pfn, rights))| (gfn, pfn, rights))
            .collect();
        let fresh = has.is_empty();
        if !fresh {
            let same = |&(g, p, _): &(u64, u64, u64)| p == pfn + (g - gfn);
            let all_same = has.len() as u64 == nr && has.iter().all(same);
            let other_rights = has.iter().any(|&(_, _, r)| r != rights);
            if protected || !all_same || !other_rights {
                return Err(Error::Exists);
            }
        }
        let mut next = Vec::new();
        for pfn in (pfn..pfn + nr).filter(|_| fresh) {
            let page = match (protected, self.page(pfn)?) {
                (true, None) => Page::Guest(slot),
                (false, None) => Page::Lent(1),
                (false, Some(Page::Lent(count))) => {
                    Page::Lent(count.checked_add(1).ok_or(Error::Busy)?)
                }
                _ => return Err(Error::Perm),
            };
            next.push((pfn, page));
        }
        self.pages.extend(next);
        let rights = if protected {
            MAP_WRITE | MAP_EXEC
        } else {
            rights
        };
        let map = &mut self.guests.get_mut(&slot).expect("it is there").map;
        map.extend((0..nr).map(|n| (gfn + n, (pfn + n, rights))));
        Ok(())
    }

    /// What unmapping refuses.
    pub fn guest_unmap(&self, slot: usize, gfn: u64, nr: u64) -> Result<(), Error> {
        let guest = self.whole(slot).ok_or(Error::NoEntry)?;
        if guest.protected {
            return Err(Error::Perm);
        }
        match gfn.checked_add(nr) {
            Some(end) if nr > 0 && end <= guest.limit => Ok(()),
            _ => Err(Error::Invalid),
        }
    }

    /// A guest page of a guest that is not protected is not mapped any more; `false` if it was not.
    pub fn guest_unmapped(&mut self, slot: usize, gfn: u64) -> bool {
        let guest = self.guests.get_mut(&slot).expect("it is there");
        let Some((pfn, _)) = guest.map.remove(&gfn) else {
            return false;
        };
        match self.pages.get(&pfn) {
            Some(&Page::Lent(1)) => self.pages.remove(&pfn),
            Some(&Page::Lent(count)) => self.pages.insert(pfn, Page::Lent(count - 1)),
            other => panic!("page {pfn:#x} is lent, not {other:?}"),
        };
        true
    }

    fn own(&self, slot: usize, gfn: u64) -> Result<(u64, Page), Error> {
        let guest = self.whole(slot).ok_or(Error::Perm)?;
        if !guest.protected {
            return Err(Error::Perm);
        }
        if gfn >= guest.limit {
            return Err(Error::Invalid);
        }
        let &(pfn, _) = guest.map.get(&gfn).ok_or(Error::NoEntry)?;
        Ok((pfn, self.pages[&pfn]))
    }

    /// What a guest's share with the host answers.
    pub fn guest_share(&mut self, slot: usize, gfn: u64) -> Result<u64, Error> {
        match self.own(slot, gfn)? {
            (pfn, Page::Guest(_)) => {
                self.pages.insert(pfn, Page::GuestShared(slot));
                Ok(pfn)
            }
            _ => Err(Error::Exists),
        }
    }

    /// What the end of such a share answers.
    pub fn guest_unshare(&mut self, slot: usize, gfn: u64) -> Result<u64, Error> {
        match self.own(slot, gfn)? {
            (pfn, Page::GuestShared(_)) => {
                self.pages.insert(pfn, Page::Guest(slot));
                Ok(pfn)
            }
            _ => Err(Error::Perm),
        }
    }

    /// What a guest that gives a page back is answered, if there are tables.
    pub fn guest_relinquish(&mut self, slot: usize, gfn: u64) -> Result<u64, Error> {
        match self.own(slot, gfn)? {
            (pfn, Page::Guest(_)) => {
                self.pages.remove(&pfn);
                let guest = self.guests.get_mut(&slot).expect("it is there");
                guest.map.remove(&gfn);
                Ok(pfn)
            }
            _ => Err(Error::Perm),
        }
    }

    /// The guest is being taken apart. `false` if there is none.
    pub fn guest_dies(&mut self, slot: usize) -> bool {
        let guest = self.guests.get_mut(&slot);
        guest.is_some_and(|guest| {
            guest.dying = true;
            true
        })
    }

    /// What a guest had that is being taken apart, and has not come back yet.
    pub fn left_of(&self, slot: usize) -> Vec<(u64, u64)> {
        let guest = self.guests.get(&slot).filter(|guest| guest.dying);
        let map = guest.into_iter().flat_map(|guest| &guest.map);
        map.map(|(&gfn, &(pfn, _))| (gfn, pfn)).collect()
    }

    /// A page of such a guest came back to the host.
    pub fn came_back(&mut self, slot: usize, gfn: u64) {
        let guest = self.guests.get_mut(&slot).expect("it is there");
        if !guest.protected {
            assert!(self.guest_unmapped(slot, gfn));
            return;
        }
        if let Some((pfn, _)) = guest.map.remove(&gfn) {
            self.pages.remove(&pfn);
        }
    }

    /// The guest is gone. `false` if it had anything left.
    pub fn guest_gone(&mut self, slot: usize) -> bool {
        self.guests
            .remove(&slot)
            .is_some_and(|guest| guest.map.is_empty())
    }
}
