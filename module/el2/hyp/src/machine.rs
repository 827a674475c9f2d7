// SPDX-License-Identifier: GPL-2.0
//! What the memory logic needs of the machine: table memory, barriers, TLB and cache maintenance.
//!
//! `arch` implements it with instructions, `sim` with a model that keeps stale TLB entries and
//! dirty lines. An implementation decides nothing. Each `table` and `page` that is passed in is a
//! page-aligned page of RAM; but for the methods that say otherwise, EL2 owns it and, once EL2's MMU
//! is on, maps it in its linear map. `index` is below the number of descriptors in a table.

use crate::addr::{GuestIpa, Ipa, Level, Phys, Va};
use crate::pgtable::stage2::GuestRegime;

/// The machine under the memory logic.
pub trait Machine {
    /// Reads a descriptor, single-copy atomic.
    fn read_desc(&self, table: Phys, index: usize) -> u64;

    /// Writes a descriptor, single-copy atomic (Arm ARM B2.2.1): a walker sees the old value or
    /// the new one. Orders nothing.
    fn write_desc(&mut self, table: Phys, index: usize, desc: u64);

    /// Writes zeros, that is invalid descriptors, to a whole page. Orders nothing.
    fn clear_table(&mut self, table: Phys);

    /// Makes the descriptors written before visible to all walkers before whatever comes next:
    /// DSB ISHST, and an ISB so that EL2's own next access uses them (Arm ARM D8.2.6).
    fn publish(&mut self);

    /// Zeroes a page and cleans and invalidates it to the point of coherency, so that neither a
    /// cacheable nor a non-cacheable access of the next owner finds what was there.
    fn scrub(&mut self, page: Phys);

    /// Cleans and invalidates a page to the point of coherency, and if it may be `executed` has no
    /// CPU fetch what was there before: for a page that another party is about to have, which may
    /// access it with its MMU off.
    ///
    /// EL2 does not map the page: an implementation reaches it for the time of the call alone. The
    /// caller has seen to it that EL2 may.
    fn clean_page(&mut self, page: Phys, executed: bool);

    /// As [`scrub`](Self::scrub), for a page that EL2 does not map: see
    /// [`clean_page`](Self::clean_page).
    fn scrub_page(&mut self, page: Phys);

    /// Invalidates what any CPU holds of a guest's translation of `ipa`, whose last leaf was at
    /// `level`: as [`tlb_flush_host_page`](Self::tlb_flush_host_page), with the guest's VMID in
    /// VTTBR_EL2 meanwhile.
    fn tlb_flush_guest_page(&mut self, guest: GuestRegime, ipa: GuestIpa, level: Level);

    /// As [`tlb_flush_guest_page`](Self::tlb_flush_guest_page) for all of the guest's translations.
    fn tlb_flush_guest_all(&mut self, guest: GuestRegime);

    /// Invalidates what any CPU holds of the host's translation of `ipa`, whose last leaf was at
    /// `level`, and waits for the accesses that used it.
    ///
    /// TLBI IPAS2E1IS (not the last-level form, which spares cached table descriptors), DSB ISH,
    /// TLBI VMALLE1IS for entries that combine both stages, DSB ISH, ISB (Arm ARM D8.16).
    fn tlb_flush_host_page(&mut self, ipa: Ipa, level: Level);

    /// As [`tlb_flush_host_page`](Self::tlb_flush_host_page) for all of the host's translations:
    /// TLBI VMALLS12E1IS, DSB ISH, ISB.
    fn tlb_flush_host_all(&mut self);

    /// Invalidates what any CPU holds of EL2's translation of `va`, cached table descriptors
    /// included: TLBI VAE2IS, DSB ISH, ISB.
    fn tlb_flush_el2(&mut self, va: Va);
}
