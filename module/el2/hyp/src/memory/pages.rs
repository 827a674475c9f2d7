// SPDX-License-Identifier: GPL-2.0
//! The metadata of all pages of RAM, in the chunks that EL1 gave.

use mvirt_abi::{Error, MAX_META_CHUNKS, META_BYTES_PER_PAGE, META_CHUNK};

use super::ram::{Pages, Ram};
use crate::addr::{Granule, Phys};
use crate::page::{PageState, PageWord};

/// Pages whose words fit in a chunk.
pub const PAGES_PER_CHUNK: u64 = META_CHUNK / META_BYTES_PER_PAGE;

/// The chunks of metadata: words by dense page number, [`PAGES_PER_CHUNK`] in each but the last.
pub type Chunks<'m> = [&'m mut [PageWord]; MAX_META_CHUNKS];

/// The state of each page of RAM.
#[derive(Debug)]
pub struct PageMap<'m, G> {
    ram: Ram<G>,
    chunks: Chunks<'m>,
}

impl<'m, G: Granule> PageMap<'m, G> {
    /// Takes the chunks over and gives each page to the host. [`Error::Invalid`] if they are too
    /// short.
    pub fn new(ram: Ram<G>, chunks: Chunks<'m>) -> Result<Self, Error> {
        let mut map = PageMap { ram, chunks };
        let mut left = map.ram.pages();
        for chunk in &mut map.chunks {
            let here = left.min(PAGES_PER_CHUNK);
            let words = chunk.get_mut(..index(here)?).ok_or(Error::Invalid)?;
            words.fill(PageWord::HOST);
            left -= here;
        }
        if left != 0 {
            return Err(Error::Invalid);
        }
        Ok(map)
    }

    /// The RAM that it covers.
    pub fn ram(&self) -> &Ram<G> {
        &self.ram
    }

    fn word(&self, pfn: u64) -> Option<PageWord> {
        let n = self.ram.index(pfn)?;
        let chunk = self.chunks.get(index(n / PAGES_PER_CHUNK).ok()?)?;
        chunk.get(index(n % PAGES_PER_CHUNK).ok()?).copied()
    }

    /// A page's state. [`Error::NoEntry`] if it is not RAM; [`Error::Perm`] if its word is not one
    /// of the used combinations, so that a damaged word gives nobody anything.
    pub fn get(&self, pfn: u64) -> Result<PageState, Error> {
        self.word(pfn)
            .ok_or(Error::NoEntry)?
            .decode()
            .ok_or(Error::Perm)
    }

    fn word_mut(&mut self, pfn: u64) -> Option<&mut PageWord> {
        let n = self.ram.index(pfn)?;
        let chunk = self.chunks.get_mut(index(n / PAGES_PER_CHUNK).ok()?)?;
        chunk.get_mut(index(n % PAGES_PER_CHUNK).ok()?)
    }

    /// Sets a page's state. [`Error::NoEntry`] if it is not RAM.
    pub fn set(&mut self, pfn: u64, state: PageState) -> Result<(), Error> {
        *self.word_mut(pfn).ok_or(Error::NoEntry)? = PageWord::encode(state);
        Ok(())
    }

    /// Sets the state of a range. [`Error::NoEntry`] if part of it is not RAM.
    pub fn set_all(&mut self, pages: Pages, state: PageState) -> Result<(), Error> {
        for pfn in pages.start..pages.end {
            self.set(pfn, state)?;
        }
        Ok(())
    }

    /// Whether each page of a range is RAM in state `state`: the first error of [`get`](Self::get),
    /// or [`Error::Perm`].
    pub fn expect_all(&self, pages: Pages, state: PageState) -> Result<(), Error> {
        for pfn in pages.start..pages.end {
            if self.get(pfn)? != state {
                return Err(Error::Perm);
            }
        }
        Ok(())
    }

    /// Adds to the count of a page and answers the sum; `None` if it is not RAM or the sum does
    /// not fit.
    pub fn count(&mut self, page: Phys, change: i32) -> Option<u16> {
        let word = self.word_mut(page.pfn::<G>())?;
        let state = word.decode()?;
        let count = u16::try_from(i32::from(state.count).checked_add(change)?).ok()?;
        *word = PageWord::encode(PageState { count, ..state });
        Some(count)
    }
}

fn index(n: u64) -> Result<usize, Error> {
    usize::try_from(n).map_err(|_| Error::Invalid)
}
