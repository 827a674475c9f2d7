// SPDX-License-Identifier: GPL-2.0
//! Which addresses are RAM, and a dense number for each page of it.
//!
//! # Invariants
//!
//! Ranges are whole pages, ascending, below the host's input size, apart from each other (ranges
//! that touch are merged). The dense numbers run from 0 to [`Ram::pages`] in the order of the
//! addresses.

use core::marker::PhantomData;

use mvirt_abi::{Error, PhysRange, MAX_RAM_RANGES};

use crate::addr::Granule;

/// A range of page numbers; `end` is not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// The first page.
    pub start: u64,
    /// The page after the last.
    pub end: u64,
}

impl Pages {
    /// Reads a range of the boot parameters: [`Error::Invalid`] if it is empty, not page aligned,
    /// or ends past 64 bits; [`Error::NotSupported`] if it ends past `bits` bits.
    pub fn new<G: Granule>(range: PhysRange, bits: u32) -> Result<Pages, Error> {
        let end = range.base.checked_add(range.size).ok_or(Error::Invalid)?;
        if range.size == 0 || (range.base | range.size) & (G::BYTES - 1) != 0 {
            return Err(Error::Invalid);
        }
        if end > 1 << bits {
            return Err(Error::NotSupported);
        }
        Ok(Pages {
            start: range.base >> G::SHIFT,
            end: end >> G::SHIFT,
        })
    }

    /// How many pages it has.
    pub fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether page `pfn` is in it.
    pub fn has(self, pfn: u64) -> bool {
        self.start <= pfn && pfn < self.end
    }

    /// Whether all of `other` is in it.
    pub fn contains(self, other: Pages) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two have a page in common.
    pub fn overlaps(self, other: Pages) -> bool {
        self.start < other.end && other.start < self.end
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Range {
    pages: Pages,
    /// The dense number of its first page.
    first: u64,
}

/// The host's RAM.
#[derive(Debug)]
pub struct Ram<G> {
    ranges: [Range; MAX_RAM_RANGES],
    nr: usize,
    pages: u64,
    granule: PhantomData<G>,
}

impl<G: Granule> Ram<G> {
    /// Reads the ranges of the boot parameters.
    ///
    /// [`Error::Invalid`] if there are none or too many, if one is malformed or they are not
    /// ascending and apart; [`Error::NotSupported`] if one ends past `bits` bits.
    pub fn new(ram: &[PhysRange], bits: u32) -> Result<Self, Error> {
        if ram.is_empty() || ram.len() > MAX_RAM_RANGES {
            return Err(Error::Invalid);
        }
        let mut new = Ram {
            ranges: [Range::default(); MAX_RAM_RANGES],
            nr: 0,
            pages: 0,
            granule: PhantomData,
        };
        for &range in ram {
            let pages = Pages::new::<G>(range, bits)?;
            new.add(pages)?;
        }
        Ok(new)
    }

    fn add(&mut self, pages: Pages) -> Result<(), Error> {
        let last = self
            .nr
            .checked_sub(1)
            .and_then(|last| self.ranges.get_mut(last));
        match last {
            Some(last) if pages.start < last.pages.end => return Err(Error::Invalid),
            Some(last) if pages.start == last.pages.end => last.pages.end = pages.end,
            _ => {
                let range = self.ranges.get_mut(self.nr).ok_or(Error::Invalid)?;
                *range = Range {
                    pages,
                    first: self.pages,
                };
                self.nr += 1;
            }
        }
        self.pages += pages.len();
        Ok(())
    }

    fn used(&self) -> &[Range] {
        self.ranges.get(..self.nr).unwrap_or(&[])
    }

    fn find(&self, pfn: u64) -> Option<&Range> {
        // The last range that starts at or below the page, if any does: by halves. This is the look-up of
        // each page's state, and most machines have few ranges.
        let mut ranges = self.used();
        while ranges.len() > 1 {
            let (below, above) = ranges.split_at_checked(ranges.len() / 2)?;
            let in_above = above.first().is_some_and(|range| range.pages.start <= pfn);
            ranges = if in_above { above } else { below };
        }
        ranges.first().filter(|range| range.pages.has(pfn))
    }

    /// How many pages of RAM there are.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The dense number of a page; `None` if it is not RAM.
    pub fn index(&self, pfn: u64) -> Option<u64> {
        self.find(pfn)
            .map(|range| range.first + (pfn - range.pages.start))
    }

    /// The range that a page is in; `None` if it is not RAM.
    pub fn range_of(&self, pfn: u64) -> Option<Pages> {
        self.find(pfn).map(|range| range.pages)
    }

    /// How many ranges there are.
    pub fn nr(&self) -> usize {
        self.nr
    }

    /// Range number `n`, in ascending order.
    pub fn range(&self, n: usize) -> Option<Pages> {
        self.used().get(n).map(|range| range.pages)
    }

    /// What is not RAM before range number `n`, or below page `limit` after the last; it may be
    /// empty.
    pub fn gap(&self, n: usize, limit: u64) -> Option<Pages> {
        let start = n
            .checked_sub(1)
            .map_or(Some(0), |before| self.range(before).map(|r| r.end))?;
        let end = self.range(n).map_or(limit, |range| range.start);
        Some(Pages { start, end })
    }

    /// Whether any page of a range is RAM.
    pub fn touches(&self, pages: Pages) -> bool {
        self.used().iter().any(|range| range.pages.overlaps(pages))
    }
}
