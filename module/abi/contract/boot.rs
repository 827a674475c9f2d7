// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What EL1 tells EL2 at take-over, while the host is still trusted.
//!
//! EL1 takes one physically contiguous *carve-out* and lays it out as [`Carveout`] computes; then
//! metadata for the ownership of each page of RAM comes in separate chunks. EL1 fills a
//! [`BootParams`], cleans all of the carve-out to the point of coherency, and enters each CPU with
//! `hvc #0`, x0 = HVC_SOFT_RESTART, x1 = physical address of the image's entry, x2 = physical
//! address of the carve-out, x3 = index of the CPU in [`BootParams::cpus`].
//! The entry returns with `eret` to the instruction after the HVC, x18 to x30 and SP as they were,
//! x0 = 0 and x1 = flags ([`ENTERED_SPECTRE_V2_OPEN`](super::ENTERED_SPECTRE_V2_OPEN)), or x0 and x1
//! as in [`EntryError`](super::EntryError).

/// The most CPUs that EL2 serves.
pub const MAX_CPUS: usize = 32;
/// The most separate ranges of RAM.
pub const MAX_RAM_RANGES: usize = 64;
/// The most chunks of page metadata. A chunk holds at most 4 MiB, so 16 are for 64 GiB of RAM in
/// pages of 4 KiB.
pub const MAX_META_CHUNKS: usize = 16;
/// Bytes of metadata for each page of RAM.
pub const META_BYTES_PER_PAGE: u64 = 4;
/// Size of a CPU's EL2 stack, without its guard page.
pub const STACK_SIZE: u64 = 16384;
/// Pages that EL2's pool starts with: its own tables, the host's stage 2, and the reserve.
pub const INITIAL_POOL_PAGES: u64 = 40;
/// Decoy pages of each CPU, which the host's kernel meets where it has no right to look: as many as
/// one instruction may touch. A memory copy of FEAT_MOPS reads and writes, each across the end of a
/// page at worst. The pool starts with these as well, and with a page for a table for each.
pub const DECOYS_PER_CPU: usize = 4;

/// A range of physical memory, page aligned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PhysRange {
    /// First byte.
    pub base: u64,
    /// Length in bytes; never 0 in a used entry.
    pub size: u64,
}

/// What the probe at EL1 found out and EL2 cannot see for itself.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootParams {
    /// The carve-out that this structure is in.
    pub carveout: PhysRange,
    /// How many entries of `cpus` are used.
    pub nr_cpus: u32,
    /// How many entries of `ram` are used.
    pub nr_ram: u32,
    /// How many entries of `meta` are used.
    pub nr_meta: u32,
    /// [`BOOT_ALLOW_RELEASE`] and its like.
    pub flags: u32,
    /// Physical address of a page of the host's, which holds a [`Report`](super::Report). It is
    /// shared with EL2 for good.
    pub report: u64,
    /// MPIDR_EL1 affinity fields of each CPU that may ever run the host, in the order of EL1's
    /// logical CPU numbers; from the device tree for those that are offline.
    pub cpus: [u64; MAX_CPUS],
    /// Physical address of each CPU's redistributor (GICv3), in the same order. 0 where there is
    /// none: then there are no VMs.
    pub gicr: [u64; MAX_CPUS],
    /// RAM, ascending, without overlap. What is not RAM is MMIO to EL2.
    pub ram: [PhysRange; MAX_RAM_RANGES],
    /// Memory for page metadata, in the order of `ram`: each chunk but the last is 4 MiB.
    pub meta: [PhysRange; MAX_META_CHUNKS],
}

/// Flag: the host may end EL2's rule again with [`Call::Release`](super::Call::Release).
pub const BOOT_ALLOW_RELEASE: u32 = 1 << 0;

/// Size of a chunk of metadata: the largest that the page allocator gives with 4 KiB pages.
pub const META_CHUNK: u64 = 4 << 20;

/// How the carve-out is divided. Offsets from its base, each page aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carveout {
    /// [`BootParams`]. The image is at 0.
    pub params: u64,
    /// Stacks, [`STACK_SIZE`] each, by CPU index.
    pub stacks: u64,
    /// The first page of the pool.
    pub pool: u64,
    /// The size of all.
    pub size: u64,
}

impl Carveout {
    /// Lays out the carve-out for an image of `image_size` bytes and `nr_cpus` CPUs.
    ///
    /// `None` if a number is out of range: no CPU or more than [`MAX_CPUS`], a page size other
    /// than 4 or 16 KiB, an image of more than 1 MiB.
    pub const fn new(image_size: u32, nr_cpus: u32, page_shift: u32) -> Option<Carveout> {
        if nr_cpus == 0 || nr_cpus as usize > MAX_CPUS || image_size > 1 << 20 {
            return None;
        }
        if page_shift != 12 && page_shift != 14 {
            return None;
        }
        let page = 1u64 << page_shift;
        let params = (image_size as u64 + page - 1) & !(page - 1);
        let stacks = params + ((size_of_params() + page - 1) & !(page - 1));
        let pool = stacks + STACK_SIZE * nr_cpus as u64;
        Some(Carveout {
            params,
            stacks,
            pool,
            size: pool + Self::pool_pages(nr_cpus) * page,
        })
    }

    /// Pages of the pool.
    pub const fn pool_pages(nr_cpus: u32) -> u64 {
        INITIAL_POOL_PAGES + 2 * DECOYS_PER_CPU as u64 * nr_cpus as u64
    }
}

const fn size_of_params() -> u64 {
    core::mem::size_of::<BootParams>() as u64
}
