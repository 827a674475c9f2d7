// SPDX-License-Identifier: GPL-2.0
//! The pages from which EL2 makes its tables.
//!
//! Owns the lists of free pages. A free page holds a link to the next one in its first descriptor,
//! so a list costs no memory. Bit 0 of a link is 0, so a walker that still held a pointer to the
//! page would read an invalid descriptor; bit 1 tells a link to page 0 from the end of the list.
//!
//! The pool is what keeps the host from getting stuck: [`RESERVE`] pages are for stage-2 faults
//! alone. A call that needs tables counts them first and is refused if it would take the reserve.
//!
//! Pages of the carve-out are *home* pages and stay until release; donated ones may go back, so
//! tables are made of home pages first.
//!
//! Some of the pages are *kept* for the tables that lead to decoys. They are in the lists, but free for
//! nothing else. Lock: the caller's, with the rest of the memory state.

use crate::addr::{Granule, Phys};
use crate::machine::Machine;

/// Pages that only a stage-2 fault may take: two whole paths of the longest walk, below the root.
pub const RESERVE: u64 = 6;

/// Set in a link, clear at the end of a list.
const LINK: u64 = 1 << 1;

fn link_to(next: Option<Phys>) -> u64 {
    next.map_or(0, |next| next.raw() | LINK)
}

fn next_of<M: Machine>(m: &M, page: Phys) -> Option<Phys> {
    let link = m.read_desc(page, 0);
    (link & LINK != 0).then_some(Phys::new(link & !LINK))
}

/// A list of free pages, linked through themselves.
#[derive(Debug, Default)]
pub struct Chain {
    head: Option<Phys>,
    len: u64,
}

impl Chain {
    /// An empty list.
    pub const fn new() -> Self {
        Self { head: None, len: 0 }
    }

    /// Pages in it.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a page in front.
    pub fn push<M: Machine>(&mut self, m: &mut M, page: Phys) {
        m.write_desc(page, 0, link_to(self.head));
        self.head = Some(page);
        self.len += 1;
    }

    /// Takes the first page out.
    pub fn pop<M: Machine>(&mut self, m: &M) -> Option<Phys> {
        let page = self.head?;
        self.head = next_of(m, page);
        self.len = self.len.checked_sub(1)?;
        Some(page)
    }

    /// Takes out what lies from `start` up to `end`, which is not included.
    fn remove<M: Machine>(&mut self, m: &mut M, start: Phys, end: Phys) {
        let mut before: Option<Phys> = None;
        let mut next = self.head;
        for _ in 0..self.len {
            let Some(page) = next else { break };
            next = next_of(m, page);
            if page < start || end <= page {
                before = Some(page);
                continue;
            }
            match before {
                Some(before) => m.write_desc(before, 0, link_to(next)),
                None => self.head = next,
            }
            self.len -= 1;
        }
    }

    /// Calls `each` for each page in the list, until it answers `false`. Ends after `len` pages
    /// even if the links run in a circle. Answers whether it saw the end of the list there.
    pub fn for_each<M: Machine>(&self, m: &M, mut each: impl FnMut(Phys) -> bool) -> bool {
        let mut next = self.head;
        for _ in 0..self.len {
            let Some(page) = next else { return false };
            if !each(page) {
                return false;
            }
            next = next_of(m, page);
        }
        next.is_none()
    }
}

/// EL2's free pages.
#[derive(Debug)]
pub struct Pool {
    home: Chain,
    donated: Chain,
    /// Pages that are kept for tables of decoys. At times there may not be as many.
    kept: u64,
    home_base: u64,
    home_size: u64,
}

impl Pool {
    /// An empty pool whose home pages are those of the carve-out.
    pub const fn new(carveout: mvirt_abi::PhysRange) -> Self {
        Self {
            home: Chain::new(),
            donated: Chain::new(),
            kept: 0,
            home_base: carveout.base,
            home_size: carveout.size,
        }
    }

    /// Free pages, the reserve included, without those that are kept.
    pub fn free(&self) -> u64 {
        self.listed().saturating_sub(self.kept)
    }

    /// All pages that are not in use.
    pub fn listed(&self) -> u64 {
        self.home.len() + self.donated.len()
    }

    /// Pages that are kept, if there are as many.
    pub fn kept(&self) -> u64 {
        self.kept.min(self.listed())
    }

    /// Pages that are to be kept, whether there are as many or not.
    pub fn wanted(&self) -> u64 {
        self.kept
    }

    /// Keeps so many pages more, of those that there are now or of those that come.
    pub fn keep(&mut self, nr: u64) {
        self.kept += nr;
    }

    /// Keeps so many pages less.
    pub fn unkeep(&mut self, nr: u64) {
        self.kept = self.kept.saturating_sub(nr);
    }

    /// Free pages that may go back to the host.
    pub fn donated(&self) -> u64 {
        self.donated.len()
    }

    /// Free pages that a call may take.
    pub fn spare(&self) -> u64 {
        self.free().saturating_sub(RESERVE)
    }

    /// Whether a page is one of the carve-out's.
    pub fn is_home(&self, page: Phys) -> bool {
        page.raw()
            .checked_sub(self.home_base)
            .is_some_and(|offset| offset < self.home_size)
    }

    /// Puts a page in.
    pub fn put<M: Machine>(&mut self, m: &mut M, page: Phys) {
        if self.is_home(page) {
            self.home.push(m, page);
        } else {
            self.donated.push(m, page);
        }
    }

    /// Takes a page for a table, its content undefined.
    pub fn take<M: Machine>(&mut self, m: &M) -> Option<Phys> {
        if self.home.is_empty() {
            self.donated.pop(m)
        } else {
            self.home.pop(m)
        }
    }

    /// Takes `nr` contiguous pages, a power of two, aligned to their size, their content undefined.
    /// `is_free` tells whether a page is in the pool. Takes time in the order of the free pages.
    pub fn take_run<G: Granule, M: Machine>(
        &mut self,
        m: &mut M,
        nr: u64,
        is_free: impl Fn(Phys) -> bool,
    ) -> Option<Phys> {
        let size = nr << G::SHIFT;
        let mut found = None;
        self.for_each(m, |first| {
            let mut pages = (0..nr).map(|n| first.checked_add(n << G::SHIFT));
            let aligned = first.raw() & size.wrapping_sub(1) == 0;
            if aligned && pages.all(|page| page.is_some_and(&is_free)) {
                found = Some(first);
            }
            found.is_none()
        });
        let first = found?;
        let end = first.checked_add(size)?;
        self.home.remove(m, first, end);
        self.donated.remove(m, first, end);
        Some(first)
    }

    /// Takes a page that may go back to the host.
    pub fn take_donated<M: Machine>(&mut self, m: &M) -> Option<Phys> {
        self.donated.pop(m)
    }

    /// Calls `each` for each free page, until it answers `false`; answers whether all were seen
    /// and both lists end where their length says.
    pub fn for_each<M: Machine>(&self, m: &M, mut each: impl FnMut(Phys) -> bool) -> bool {
        self.home.for_each(m, &mut each) && self.donated.for_each(m, &mut each)
    }
}

/// The most tables that a stage-2 root may consist of (Arm ARM D8.2.3, concatenation).
pub const MAX_ROOT_TABLES: u64 = 16;

/// The pool before there is any metadata: a run of pages, taken in order. EL2's own first tables
/// come from it, with the MMU off.
///
/// The first [`MAX_ROOT_TABLES`] pages that are aligned to their size are kept as a *window* for
/// the root of the host's stage 2: its size hangs on the CPUs' PARange, which may not be known yet.
/// Once all others are taken the window is used up from its end.
#[derive(Clone, Copy, Debug)]
pub struct BootPool {
    next: u64,
    window: u64,
    window_end: u64,
    end: u64,
}

impl BootPool {
    /// A run of `pages` pages at `base`; `None` if it is not aligned, ends past 64 bits or has no
    /// room for the window.
    pub fn new<G: Granule>(base: Phys, pages: u64) -> Option<Self> {
        let end = pages
            .checked_mul(G::BYTES)
            .and_then(|size| base.raw().checked_add(size))?;
        let size = MAX_ROOT_TABLES * G::BYTES;
        let window = base.raw().checked_next_multiple_of(size)?;
        let window_end = window
            .checked_add(size)
            .filter(|&window_end| window_end <= end)?;
        let mut pool = Self {
            next: base.raw(),
            window,
            window_end,
            end,
        };
        pool.skip_window();
        base.is_page::<G>().then_some(pool)
    }

    fn skip_window(&mut self) {
        if self.next == self.window {
            self.next = self.window_end;
        }
    }

    /// Takes the next page, its content undefined.
    pub fn take<G: Granule>(&mut self) -> Option<Phys> {
        if self.next < self.end {
            let page = self.next;
            self.next = page.checked_add(G::BYTES)?;
            self.skip_window();
            return Some(Phys::new(page));
        }
        let page = self.window_end.checked_sub(G::BYTES)?;
        if page < self.window {
            return None;
        }
        self.window_end = page;
        Some(Phys::new(page))
    }

    /// Whether a page of the run was not taken.
    pub fn is_free(&self, page: Phys) -> bool {
        let page = page.raw();
        (self.next..self.end).contains(&page) || (self.window..self.window_end).contains(&page)
    }

    /// The first page of the window.
    pub fn window(&self) -> Phys {
        Phys::new(self.window)
    }

    /// The end of the run.
    pub fn end(&self) -> Phys {
        Phys::new(self.end)
    }
}
