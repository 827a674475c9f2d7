// SPDX-License-Identifier: GPL-2.0
//! Pinned memory: that of protected guests, and of all where the kernel has no MMU notifiers.
//!
//! A page is pinned when the guest first uses it, counted against RLIMIT_MEMLOCK, and stays so until
//! the guest gives it up or is gone. [`Chunks`] knows which page is where. Its mutex is held from
//! EL2's map call to the note of it, so that who finds a note knows whose the page is.
//!
//! Why unsafe: pages are pinned and unpinned by their numbers.

use crate::abi::{Caller, MAP_EXEC, MAP_WRITE};
use crate::bindings;
use crate::hvc::El2;
use crate::pool;
use crate::slots::{Range, BLOCK};
use crate::vm::Mm;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};

/// log2 of [`BLOCK`].
const BLOCK_ORDER: u32 = BLOCK.trailing_zeros();
/// What `page_state` answers for a page that is the host's.
const HOST: u64 = 0;

/// Room for the pages of a block.
pub(crate) type Scratch = KVec<*mut bindings::page>;

/// Makes it.
pub(crate) fn scratch() -> Result<Scratch> {
    Ok(KVec::from_elem(
        core::ptr::null_mut(),
        BLOCK as usize,
        GFP_KERNEL_ACCOUNT,
    )?)
}

/// The first page frame of pages that are contiguous.
pub(crate) fn contiguous(pages: &[*mut bindings::page]) -> Option<u64> {
    // SAFETY: the caller holds references to them.
    let pfn = |page: &*mut bindings::page| unsafe { bindings::mvirt_page_pfn(*page) };
    let first = pfn(pages.first()?);
    let follow = |(n, page)| pfn(page) == first + n;
    (0u64..).zip(pages).all(follow).then_some(first)
}

/// Whether the page could be part of a block at the same place as in the guest's.
pub(crate) fn may_be_block(page: *mut bindings::page, gfn: u64) -> bool {
    // SAFETY: the caller holds a reference to it.
    let (pfn, order) = unsafe {
        (
            bindings::mvirt_page_pfn(page),
            bindings::mvirt_page_order(page),
        )
    };
    order >= BLOCK_ORDER && (pfn ^ gfn) % BLOCK == 0
}

/// [`BLOCK`] guest pages, aligned.
enum Chunk {
    /// None is pinned.
    Empty,
    /// All are, contiguous from this page frame on.
    Block(u64),
    /// Each by itself: its page frame plus 1, or 0.
    Pages(KVBox<[u64; BLOCK as usize]>),
}

/// What is pinned of a slot, and counted.
struct Chunks {
    mm: Arc<Mm>,
    dirty: bool,
    /// The guest's page where the first chunk begins.
    base: u64,
    list: KVVec<Chunk>,
}

impl Chunks {
    fn unpin(&self, pfn: u64, nr: u64) {
        // SAFETY: pinned by `Pinned::grab`, and nobody's but the host's any more.
        unsafe { bindings::mvirt_unpin(pfn, nr, self.dirty) };
        self.mm.uncount(nr);
    }

    fn chunk(&mut self, gfn: u64) -> Result<(&mut Chunk, usize)> {
        let at = gfn.checked_sub(self.base).ok_or(EINVAL)?;
        // Lossless: KVVec's length bounds it.
        let chunk = self.list.get_mut((at / BLOCK) as usize).ok_or(EINVAL)?;
        Ok((chunk, (at % BLOCK) as usize))
    }

    fn is_empty(&mut self, gfn: u64) -> bool {
        matches!(self.chunk(gfn), Ok((Chunk::Empty, _)))
    }

    /// The chunk of a page, as one that knows each page by itself.
    fn pages(&mut self, gfn: u64) -> Result<(&mut [u64; BLOCK as usize], usize)> {
        let (chunk, n) = self.chunk(gfn)?;
        let block = match chunk {
            Chunk::Pages(_) => None,
            Chunk::Empty => Some(None),
            Chunk::Block(pfn) => Some(Some(*pfn)),
        };
        if let Some(block) = block {
            let mut pages = KVBox::new([0; BLOCK as usize], GFP_KERNEL_ACCOUNT)?;
            if let Some(first) = block {
                (first + 1..)
                    .zip(pages.iter_mut())
                    .for_each(|(pfn, page)| *page = pfn);
            }
            *chunk = Chunk::Pages(pages);
        }
        match chunk {
            Chunk::Pages(pages) => Ok((pages, n)),
            Chunk::Empty | Chunk::Block(_) => Err(EINVAL),
        }
    }

    /// A slot's pages after a guest's one: those that are noted, each once.
    fn drain(&mut self) {
        let list = core::mem::take(&mut self.list);
        for chunk in &list {
            match chunk {
                Chunk::Empty => {}
                Chunk::Block(pfn) => self.unpin(*pfn, BLOCK),
                Chunk::Pages(pages) => pages
                    .iter()
                    .filter(|page| **page != 0)
                    .for_each(|page| self.unpin(page - 1, 1)),
            }
            // SAFETY: slots are dropped where only mutexes and semaphores are held.
            unsafe { bindings::mvirt_relax() };
        }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.drain();
    }
}

/// A slot's memory, pinned as it is used; unpinned when this is dropped.
#[pin_data]
pub(crate) struct Pinned {
    handle: u64,
    mm: Arc<Mm>,
    range: Range,
    write: bool,
    #[pin]
    chunks: Mutex<Chunks>,
}

impl Pinned {
    /// Nothing is pinned yet.
    pub(crate) fn new(
        handle: u64,
        mm: Arc<Mm>,
        range: Range,
        write: bool,
    ) -> Result<Pin<KBox<Pinned>>> {
        let base = range.gfn & !(BLOCK - 1);
        let nr = (range.end() - base).div_ceil(BLOCK);
        let mut list = KVVec::with_capacity(nr as usize, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..nr {
            list.push(Chunk::Empty, GFP_KERNEL_ACCOUNT)?;
        }
        let chunks = Chunks {
            mm: mm.clone(),
            dirty: write,
            base,
            list,
        };
        KBox::pin_init(
            try_pin_init!(Pinned {
                handle,
                mm,
                range,
                write,
                chunks <- new_mutex!(chunks),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Pins and counts `nr` pages; `None` if they are not contiguous.
    fn grab(&self, gfn: u64, nr: u64, scratch: &mut Scratch) -> Result<Option<u64>> {
        self.mm.count(nr)?;
        let pages = &mut scratch[..nr as usize];
        let hva = self.range.hva_of(gfn);
        // SAFETY: `pages` has room for `nr`; may sleep.
        let got = unsafe { bindings::mvirt_pin(hva, nr as i32, self.write, pages.as_mut_ptr()) };
        let held = &pages[..got.max(0) as usize];
        if held.len() == pages.len() {
            if let Some(pfn) = contiguous(held) {
                return Ok(Some(pfn));
            }
        }
        for page in held {
            // SAFETY: pinned above.
            unsafe { bindings::mvirt_unpin(bindings::mvirt_page_pfn(*page), 1, false) };
        }
        self.mm.uncount(nr);
        if got < 0 {
            return Err(Error::from_errno(got));
        }
        if got == 0 {
            return Err(EFAULT);
        }
        Ok(None)
    }

    fn drop_grabbed(&self, pfn: u64, nr: u64) {
        // SAFETY: pinned by `grab`, and nobody else knows.
        unsafe { bindings::mvirt_unpin(pfn, nr, false) };
        self.mm.uncount(nr);
    }

    /// Gives the guest pages that were pinned, and notes them.
    fn give(&self, gfn: u64, pfn: u64, nr: u64) -> Result {
        let mut chunks = self.chunks.lock();
        let prepared = if nr == 1 {
            chunks.pages(gfn).map(|_| ())
        } else if chunks.is_empty(gfn) {
            Ok(())
        } else {
            // A page of it was given meanwhile, whose pin the block's note would forget.
            Err(EEXIST)
        };
        let rights = MAP_EXEC | if self.write { MAP_WRITE } else { 0 };
        let given = prepared.and_then(|()| {
            pool::supply(|| El2.guest_map(self.handle, gfn, pfn, nr, rights).map(|_| ()))
        });
        if given.is_err() {
            drop(chunks);
            self.drop_grabbed(pfn, nr);
            return given;
        }
        if nr == 1 {
            // Prepared above: cannot fail.
            let (pages, n) = chunks.pages(gfn)?;
            let before = core::mem::replace(&mut pages[n], pfn + 1);
            if before != 0 {
                // The guest gave it up, and another vCPU needs it before that one has said so.
                chunks.unpin(before - 1, 1);
            }
        } else {
            *chunks.chunk(gfn)?.0 = Chunk::Block(pfn);
        }
        Ok(())
    }

    fn map_block(&self, gfn: u64, scratch: &mut Scratch) -> Result<bool> {
        let Some(first) = self.range.block(gfn) else {
            return Ok(false);
        };
        if !self.chunks.lock().is_empty(gfn) {
            return Ok(false);
        }
        // A page alone tells what it is part of. It may be the first use of it: what is not one yet
        // becomes a huge page here, if user space has asked for such.
        let Some(pfn) = self.grab(gfn, 1, scratch)? else {
            return Ok(false);
        };
        let huge = may_be_block(scratch[0], gfn);
        self.drop_grabbed(pfn, 1);
        if !huge {
            return Ok(false);
        }
        match self.grab(first, BLOCK, scratch) {
            Ok(Some(pfn)) if pfn % BLOCK == 0 => match self.give(first, pfn, BLOCK) {
                Ok(()) => Ok(true),
                // A page of it is mapped, or is another guest's: the one that is needed may do.
                Err(e) if e == EEXIST || e == EPERM => Ok(false),
                Err(e) => Err(e),
            },
            Ok(Some(pfn)) => {
                self.drop_grabbed(pfn, BLOCK);
                Ok(false)
            }
            // The limit, or a hole: a page may do.
            Ok(None) | Err(_) => Ok(false),
        }
    }

    /// Gives the guest the page that it faulted on, or the block around it.
    pub(crate) fn map(&self, gfn: u64, scratch: &mut Scratch) -> Result {
        if self.map_block(gfn, scratch)? {
            return Ok(());
        }
        // One page is always contiguous.
        let pfn = self.grab(gfn, 1, scratch)?.ok_or(EFAULT)?;
        match self.give(gfn, pfn, 1) {
            // Another vCPU was faster.
            Err(e) if e == EEXIST => Ok(()),
            done => done,
        }
    }

    /// The guest gave up a page: unpins it, if it is the host's.
    pub(crate) fn relinquish(&self, gfn: u64) -> Result {
        let mut chunks = self.chunks.lock();
        if chunks.is_empty(gfn) {
            return Ok(());
        }
        let (pages, n) = chunks.pages(gfn)?;
        let Some(pfn) = pages[n].checked_sub(1) else {
            return Ok(());
        };
        // Meanwhile another vCPU may have made the host give the same page again.
        let [owner, ..] = El2.page_state(pfn)?;
        if owner == HOST {
            pages[n] = 0;
            chunks.unpin(pfn, 1);
        }
        Ok(())
    }
}

impl Mm {
    /// Counts pages against RLIMIT_MEMLOCK. A line in the log says what a single page met: where a
    /// block is too much, a page may do.
    fn count(&self, nr: u64) -> Result {
        // SAFETY: the mm_struct is referenced; may sleep.
        let counted = unsafe { bindings::mvirt_mm_account(self.as_ptr(), nr, true) };
        if counted != 0 && nr == 1 {
            // SAFETY: as above.
            unsafe { bindings::mvirt_mm_tell_limit(self.as_ptr()) };
        }
        kernel::error::to_result(counted)
    }

    fn uncount(&self, nr: u64) {
        // SAFETY: as above; these were counted.
        unsafe { bindings::mvirt_mm_account(self.as_ptr(), nr, false) };
    }
}
