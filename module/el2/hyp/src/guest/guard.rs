// SPDX-License-Identifier: GPL-2.0
//! The MMIO guard: which pages of its address space a protected guest uses as MMIO.
//!
//! An access to a page that is not mapped goes to the host. If the guest takes that page for
//! memory, the host would learn what it stores there and choose what it loads. A guest that
//! enrolled therefore names the pages that are devices, and an access to any other page that the
//! host does not map becomes an external abort in the guest.
//!
//! Storage is bounded: [`RANGES`] ranges of pages, sorted, disjoint and merged where they touch. A
//! guest's devices lie side by side, so that it needs few. One more is [`Full`]. All-zero memory is
//! the empty guard of a guest that has not enrolled. No lock: it is under the VM's.

use crate::cpu::bits;

/// How many ranges that do not touch there can be.
pub const RANGES: usize = 64;

/// There is no room for another range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Bits of a page number: 48 of address, pages of 4 KiB.
const PAGE_BITS: u32 = 36;
/// The most pages in a range, by the bits that are left.
const MAX_PAGES: u64 = (1 << (64 - PAGE_BITS)) - 1;

/// First page in bits 35:0, number of pages above. The value 0 is no range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range(u64);

impl Range {
    const fn new(first: u64, pages: u64) -> Range {
        Range(pages << PAGE_BITS | first)
    }

    const fn first(self) -> u64 {
        bits(self.0, 0, PAGE_BITS)
    }

    const fn pages(self) -> u64 {
        self.0 >> PAGE_BITS
    }

    const fn end(self) -> u64 {
        self.first() + self.pages()
    }
}

/// The pages that a guest registered, by page number (IPA over the size of a page).
#[derive(Clone, Debug)]
pub struct Guard {
    enrolled: bool,
    count: u8,
    ranges: [Range; RANGES],
}

impl Default for Guard {
    fn default() -> Guard {
        Guard::new()
    }
}

impl Guard {
    /// No page, and not enrolled.
    pub const fn new() -> Guard {
        Guard {
            enrolled: false,
            count: 0,
            ranges: [Range(0); RANGES],
        }
    }

    /// From here on only registered pages are MMIO.
    pub fn enroll(&mut self) {
        self.enrolled = true;
    }

    /// Whether the guest enrolled.
    pub const fn is_enrolled(&self) -> bool {
        self.enrolled
    }

    /// Whether an access to `page` may go to the host as MMIO.
    pub fn allows(&self, page: u64) -> bool {
        !self.enrolled || self.contains(page)
    }

    /// Whether the guest registered `page`.
    pub fn contains(&self, page: u64) -> bool {
        self.find(page).is_ok()
    }

    /// Registers a page. Registered twice is registered. [`Full`] too for a page beyond 48 bits of
    /// address, which no VM has.
    pub fn add(&mut self, page: u64) -> Result<(), Full> {
        if page >> PAGE_BITS != 0 {
            return Err(Full);
        }
        let Err(at) = self.find(page) else {
            return Ok(());
        };
        let has_room = |range: &Range| range.pages() < MAX_PAGES;
        let left = at.checked_sub(1).and_then(|n| self.get(n));
        let left = left.filter(|range| range.end() == page && has_room(range));
        let right = self.get(at);
        let right = right.filter(|range| range.first() == page + 1 && has_room(range));
        match (left, right) {
            (Some(l), Some(r)) if l.pages() + r.pages() < MAX_PAGES => {
                self.set(at - 1, Range::new(l.first(), l.pages() + 1 + r.pages()));
                self.delete(at);
            }
            (Some(l), _) => self.set(at - 1, Range::new(l.first(), l.pages() + 1)),
            (None, Some(r)) => self.set(at, Range::new(page, r.pages() + 1)),
            (None, None) => return self.insert(at, Range::new(page, 1)),
        }
        Ok(())
    }

    /// Withdraws a page. `Ok` if it is not registered afterwards; [`Full`] if it is in the middle
    /// of a range that there is no room to split, and nothing has changed.
    pub fn remove(&mut self, page: u64) -> Result<(), Full> {
        let Ok(at) = self.find(page) else {
            return Ok(());
        };
        let Some(range) = self.get(at) else {
            return Ok(());
        };
        let before = Range::new(range.first(), page - range.first());
        let after = Range::new(page + 1, range.end() - page - 1);
        match (before.pages(), after.pages()) {
            (0, 0) => self.delete(at),
            (0, _) => self.set(at, after),
            (_, 0) => self.set(at, before),
            (_, _) => {
                self.insert(at + 1, after)?;
                self.set(at, before);
            }
        }
        Ok(())
    }

    fn used(&self) -> &[Range] {
        self.ranges.get(..usize::from(self.count)).unwrap_or(&[])
    }

    /// The range that holds `page`, or where a range that starts with it belongs.
    fn find(&self, page: u64) -> Result<usize, usize> {
        let after = self.used().partition_point(|range| range.first() <= page);
        match after.checked_sub(1).and_then(|n| self.get(n)) {
            Some(range) if page < range.end() => Ok(after - 1),
            _ => Err(after),
        }
    }

    fn get(&self, at: usize) -> Option<Range> {
        self.used().get(at).copied()
    }

    fn set(&mut self, at: usize, range: Range) {
        if let Some(slot) = self.ranges.get_mut(at) {
            *slot = range;
        }
    }

    fn insert(&mut self, at: usize, range: Range) -> Result<(), Full> {
        let count = usize::from(self.count);
        if count == RANGES {
            return Err(Full);
        }
        // The element behind the last used one is free; it comes to the front.
        if let Some(tail) = self.ranges.get_mut(at..=count) {
            tail.rotate_right(1);
        }
        self.count += 1;
        self.set(at, range);
        Ok(())
    }

    fn delete(&mut self, at: usize) {
        let count = usize::from(self.count);
        self.set(at, Range::default());
        if let Some(tail) = self.ranges.get_mut(at..count) {
            tail.rotate_left(1);
        }
        self.count -= 1;
    }
}

#[cfg(test)]
mod tests;
