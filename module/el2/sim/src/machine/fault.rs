// SPDX-License-Identifier: GPL-2.0
//! What the fake machine reports.

use mvirt_hyp::addr::Phys;

use crate::tlb::{Leaf, Pointer};

/// Something that would go wrong on hardware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A valid descriptor was replaced by a different valid one.
    Overwritten(Phys, usize),
    /// A descriptor became valid while a TLB held an older translation of its region.
    NotInvalidated(Phys, usize),
    /// A table was linked before its content was published.
    LinkedUnpublished(Phys),
    /// A TLB was invalidated before a descriptor of a live table was published: it may refill.
    FlushedUnpublished(Phys),
    /// A call ended with an unpublished descriptor in a live table.
    LeftUnpublished(Phys),
    /// EL2 wrote to a page that a TLB still reaches, for the host or for a guest.
    WrittenWhileReachable(Phys),
    /// EL2 wrote to a page that the host's tables or a guest's still map.
    WrittenWhileMapped(Phys),
    /// EL2 wrote a valid descriptor to a page that is no table, but that a TLB takes for one.
    ReusedWhileCached(Phys),
    /// Two entries of one TLB contradict each other.
    Conflict(Leaf, Leaf),
    /// EL2 accessed a page that its stage 1 does not map for reading and writing.
    El2Unmapped(Phys),
    /// A TLB holds something at the end of a call that the tables no longer say.
    Stale(Leaf),
    /// A TLB points at the end of a call to a page that is no table.
    StalePointer(Pointer),
    /// A guest got a page whose content is still in a cache alone.
    GivenDirty(Phys),
    /// A guest may execute a page of which an instruction cache may hold something older.
    GivenStale(Phys),
    /// A protected guest got a page that the host still reaches.
    GivenWhileReachable(Phys),
    /// TLB maintenance named a guest that there is none of.
    NoGuest(u64),
}
