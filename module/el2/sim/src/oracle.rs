// SPDX-License-Identifier: GPL-2.0
//! The plain model: which page is whose, and what each call should answer.
//!
//! It knows nothing of tables, TLBs or blocks. Where the answer hangs on how many tables are
//! free, it says which answers are possible.

mod guest;

use std::collections::BTreeMap;

use mvirt_abi::{Error, PhysRange};
use mvirt_hyp::memory::{Denied, MAX_DONATION};

pub use guest::Guest;

/// What the model knows of a page that is not the host's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// EL2's from the start.
    Fixed,
    /// Donated to the pool.
    Donated,
    /// Shared by the host with EL2, and pinned so many times.
    Shared(u16),
    /// Mapped so many times in guests that are not protected.
    Lent(u16),
    /// The protected guest's in this slot.
    Guest(usize),
    /// The same, and the host may use it.
    GuestShared(usize),
}

/// The model.
#[derive(Clone, Debug)]
pub struct Oracle {
    ram: Vec<(u64, u64)>,
    limit: u64,
    shift: u32,
    pages: BTreeMap<u64, Page>,
    guests: BTreeMap<usize, Guest>,
}

impl Oracle {
    /// The state after boot. `el2` are the ranges that EL2 took.
    pub fn new(ram: &[PhysRange], el2: &[PhysRange], pa_bits: u32, shift: u32) -> Oracle {
        let pages = |range: &PhysRange| (range.base >> shift, (range.base + range.size) >> shift);
        let fixed = el2.iter().map(pages).flat_map(|(start, end)| start..end);
        Oracle {
            ram: ram.iter().map(pages).collect(),
            limit: 1 << pa_bits,
            shift,
            pages: fixed.map(|pfn| (pfn, Page::Fixed)).collect(),
            guests: BTreeMap::new(),
        }
    }

    fn is_ram(&self, pfn: u64) -> bool {
        self.ram
            .iter()
            .any(|&(start, end)| (start..end).contains(&pfn))
    }

    /// The page's state, by [`Page`]; `None` is the host's alone.
    pub fn page(&self, pfn: u64) -> Result<Option<Page>, Error> {
        if self.is_ram(pfn) {
            Ok(self.pages.get(&pfn).copied())
        } else {
            Err(Error::NoEntry)
        }
    }

    /// What `page_state` answers.
    pub fn page_state(&self, pfn: u64) -> Result<(u64, u64), Error> {
        Ok(match self.page(pfn)? {
            None => (0, 0),
            Some(Page::Shared(_) | Page::Lent(_)) => (0, 1),
            Some(Page::Guest(slot)) => (slot as u64 + 2, 0),
            Some(Page::GuestShared(slot)) => (slot as u64 + 2, 1),
            Some(Page::Fixed | Page::Donated) => (1, 0),
        })
    }

    /// Whether the host may access the page.
    pub fn host_may_access(&self, pfn: u64) -> bool {
        let page = self.pages.get(&pfn);
        !matches!(page, Some(Page::Fixed | Page::Donated | Page::Guest(_)))
    }

    /// What becomes of an access of the host.
    pub fn access(&self, ipa: u64) -> Result<(), Denied> {
        let pfn = ipa >> self.shift;
        if ipa >= self.limit {
            Err(Denied::Beyond)
        } else if !self.is_ram(pfn) || self.host_may_access(pfn) {
            Ok(())
        } else {
            Err(Denied::Owned)
        }
    }

    /// What a donation answers, if there are tables.
    pub fn donate(&mut self, pfn: u64, nr: u64) -> Result<(), Error> {
        let end = pfn.checked_add(nr).ok_or(Error::Invalid)?;
        if nr == 0 || nr > MAX_DONATION {
            return Err(Error::Invalid);
        }
        for pfn in pfn..end {
            if self.page(pfn)?.is_some() {
                return Err(Error::Perm);
            }
        }
        self.pages
            .extend((pfn..end).map(|pfn| (pfn, Page::Donated)));
        Ok(())
    }

    /// EL2 gave a page back; `false` if it was not one that it may give.
    pub fn reclaimed(&mut self, pfn: u64) -> bool {
        self.pages.get(&pfn) == Some(&Page::Donated) && self.pages.remove(&pfn).is_some()
    }

    /// What sharing answers, if there are tables.
    pub fn share(&mut self, pfn: u64) -> Result<(), Error> {
        match self.page(pfn)? {
            None => {
                self.pages.insert(pfn, Page::Shared(0));
                Ok(())
            }
            Some(Page::Shared(_)) => Err(Error::Exists),
            Some(_) => Err(Error::Perm),
        }
    }

    fn shared(&self, pfn: u64) -> Result<u16, Error> {
        match self.page(pfn)? {
            Some(Page::Shared(pins)) => Ok(pins),
            _ => Err(Error::Perm),
        }
    }

    /// What unsharing answers.
    pub fn unshare(&mut self, pfn: u64) -> Result<(), Error> {
        if self.shared(pfn)? != 0 {
            return Err(Error::Busy);
        }
        self.pages.remove(&pfn);
        Ok(())
    }

    /// What pinning answers.
    pub fn pin(&mut self, pfn: u64) -> Result<(), Error> {
        let pins = self.shared(pfn)?.checked_add(1).ok_or(Error::Busy)?;
        self.pages.insert(pfn, Page::Shared(pins));
        Ok(())
    }

    /// What unpinning answers.
    pub fn unpin(&mut self, pfn: u64) -> Result<(), Error> {
        let pins = self.shared(pfn)?.checked_sub(1).ok_or(Error::Invalid)?;
        self.pages.insert(pfn, Page::Shared(pins));
        Ok(())
    }

    /// The pages that are not the host's alone.
    pub fn pages(&self) -> impl Iterator<Item = (u64, Page)> + '_ {
        self.pages.iter().map(|(&pfn, &page)| (pfn, page))
    }

    /// How many pages are in a state that `is` accepts.
    pub fn count(&self, is: impl Fn(Page) -> bool) -> u64 {
        self.pages.values().filter(|&&page| is(page)).count() as u64
    }
}
