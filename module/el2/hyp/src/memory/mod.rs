// SPDX-License-Identifier: GPL-2.0
//! Who owns which page, and the tables that enforce it.
//!
//! [`Memory`] owns the page metadata, the host's stage 2, those of the guests, EL2's stage 1 and the
//! pool of table pages. The metadata is the truth. The host's stage 2 is an identity map that may show less than
//! the host has a right to, never more: what is missing is mapped by the fault that meets it. EL2's
//! linear map shows exactly what EL2 works on: its pool, its tables, the metadata, the state of VMs,
//! and what is shared with it. For the guests see `guest`.
//!
//! # Invariants
//!
//! - A page has one owner; no table of anybody else reaches it but by a recorded share (I1).
//! - Each change checks both sides and counts its table pages before its first write; TLBs are
//!   invalidated before the new owner touches the page, and a page is scrubbed before it goes back.
//! - Free pages and the tables of the host's stage 2 below its root are together at least
//!   [`RESERVE`](crate::pool::RESERVE), beside what is kept for decoys, so a fault can always be served:
//!   see `fault`.
//!
//! # Lock
//!
//! One lock around all of it; `&mut self` is the token. A CPU that faults while another changes
//! the tables waits for the lock and then finds a valid entry.

mod boot;
mod check;
mod decoy;
mod fault;
mod guest;
mod object;
mod pages;
mod ram;
mod transition;

use mvirt_abi::{Error, Stat};

use crate::addr::{Granule, Phys};
use crate::machine::Machine;
use crate::page::{PageState, Use};
use crate::pgtable::stage1::El2Map;
use crate::pgtable::stage2::{HostStage, Shape};
use crate::pgtable::{Attrs, Frames, Tree};
use crate::pool::Pool;

pub use boot::Boot;
pub use check::Violation;
pub use decoy::Decoys;
pub use fault::{Accessor, Denied, Outcome};
pub use guest::{GuestMapping, GuestTable, MAX_GUEST_CLEAN, MAX_GUEST_MAP};
pub use pages::{Chunks, PageMap, PAGES_PER_CHUNK};
pub use ram::{Pages, Ram};
pub use transition::MAX_DONATION;

/// All of memory, as EL2 rules it.
#[derive(Debug)]
pub struct Memory<'m, G> {
    host: Tree<G, HostStage>,
    shape: Shape,
    el2: El2Map<G>,
    pages: PageMap<'m, G>,
    pool: Pool,
    ram_attrs: Attrs,
    mmio_attrs: Attrs,
    host_tables: u64,
    el2_tables: u64,
    shared: u64,
    donated: u64,
    meta_bytes: u64,
    fwb: bool,
    guests: &'m mut GuestTable<G>,
    guest_tables: u64,
    /// Pages that protected guests own.
    guest_pages: u64,
    /// Pages that non-protected guests have mapped, each as often as it is mapped.
    guest_shares: u64,
    /// Pages with the state of VMs.
    objects: u64,
    /// What the host's kernel meets where it has no right to look.
    decoys: &'m mut Decoys,
}

/// The pool as a source of tables of one kind.
struct PoolFrames<'a, 'm, G> {
    pool: &'a mut Pool,
    pages: &'a mut PageMap<'m, G>,
    tables: &'a mut u64,
    usage: Use,
}

impl<G: Granule, M: Machine> Frames<M> for PoolFrames<'_, '_, G> {
    fn take(&mut self, m: &mut M) -> Option<Phys> {
        let page = self.pool.take(m)?;
        m.clear_table(page);
        must(self.pages.set(page.pfn::<G>(), PageState::el2(self.usage)));
        *self.tables += 1;
        Some(page)
    }

    fn give(&mut self, m: &mut M, table: Phys) {
        must(self.pages.set(table.pfn::<G>(), PageState::el2(Use::Free)));
        self.pool.put(m, table);
        *self.tables -= 1;
    }

    fn count(&mut self, table: Phys, change: i32) -> usize {
        must(
            self.pages
                .count(table, change)
                .map(usize::from)
                .ok_or(Error::Invalid),
        )
    }
}

/// Unwraps what was checked before the first write. If it fails all the same, an invariant is
/// broken, and going on could give the host what is not its own: the machine stops with a report.
#[track_caller]
fn must<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(_) => panic!("memory: a step failed that had been checked"),
    }
}

impl<'m, G: Granule> Memory<'m, G> {
    /// The host's stage 2 and the frames for its tables, borrowed apart.
    fn host_parts(&mut self) -> (&Tree<G, HostStage>, PoolFrames<'_, 'm, G>) {
        let frames = PoolFrames {
            pool: &mut self.pool,
            pages: &mut self.pages,
            tables: &mut self.host_tables,
            usage: Use::HostTable,
        };
        (&self.host, frames)
    }

    /// EL2's stage 1 and the frames for its tables, borrowed apart.
    fn el2_parts(&mut self) -> (&El2Map<G>, PoolFrames<'_, 'm, G>) {
        let frames = PoolFrames {
            pool: &mut self.pool,
            pages: &mut self.pages,
            tables: &mut self.el2_tables,
            usage: Use::El2Table,
        };
        (&self.el2, frames)
    }

    /// VTCR_EL2, with 8-bit VMIDs.
    pub fn vtcr(&self) -> u64 {
        self.shape.vtcr
    }

    /// The base address for VTTBR_EL2.
    pub fn host_root(&self) -> Phys {
        self.host.root()
    }

    /// The host's stage 2, to look at.
    pub fn host_tree(&self) -> &Tree<G, HostStage> {
        &self.host
    }

    /// EL2's stage 1, to look at.
    pub fn el2_map(&self) -> &El2Map<G> {
        &self.el2
    }

    /// The RAM that there is.
    pub fn ram(&self) -> &Ram<G> {
        self.pages.ram()
    }

    /// Free pages of the pool, the reserve included.
    pub fn pool_pages(&self) -> u64 {
        self.pool.free()
    }

    /// Pages that the host shares with EL2.
    pub fn shared_pages(&self) -> u64 {
        self.shared
    }

    /// Donated pages that EL2 still has. [`pool_reclaim`](Self::pool_reclaim) gives them back, once
    /// they are free.
    pub fn donated_pages(&self) -> u64 {
        self.donated
    }

    /// A counter about memory; `None` if it is not kept here.
    pub fn stat(&self, stat: Stat) -> Option<u64> {
        match stat {
            Stat::MetaBytes => Some(self.meta_bytes),
            Stat::El2TableBytes => Some(self.el2_tables << G::SHIFT),
            Stat::HostTableBytes => Some(self.host_tables << G::SHIFT),
            Stat::PoolBytes => Some(self.pool.free() << G::SHIFT),
            Stat::SharedBytes => Some(self.shared << G::SHIFT),
            Stat::GuestTableBytes => Some(self.guest_tables << G::SHIFT),
            Stat::VmBytes => Some(self.objects << G::SHIFT),
            Stat::GuestBytes => Some(self.guest_pages << G::SHIFT),
            Stat::DecoyBytes => Some(self.decoy_bytes()),
            _ => None,
        }
    }
}
