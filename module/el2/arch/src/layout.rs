// SPDX-License-Identifier: GPL-2.0
//! EL2's virtual address space.
//!
//! One translation regime with 48-bit addresses, and five regions in it, so far apart that none
//! can run into the next (Documentation/memory-layout.rst):
//!
//! | from                    | what                                                            |
//! |-------------------------|-----------------------------------------------------------------|
//! | 0                       | the identity page, at its physical address                      |
//! | [`LINEAR_BASE`]         | what EL2 owns or is shared with it, at its physical address plus this |
//! | [`IMAGE_BASE`]          | the image, where it is linked                                   |
//! | [`STACKS_BASE`]         | each CPU's stack above its guard                                |
//! | [`DEVICES_BASE`]        | the SGI frame of each CPU's redistributor                       |
//! | [`WINDOWS_BASE`]        | each CPU's window: a page of another's, while EL2 works on it   |

use mvirt_abi::{PhysRange, MAX_CPUS, STACK_SIZE};
use mvirt_hyp::addr::{Granule, Level};

/// The granule of EL2's tables and of the host's stage 2: the host's own.
#[cfg(not(page_16k))]
pub type Page = mvirt_hyp::addr::K4;
/// The granule of EL2's tables and of the host's stage 2: the host's own.
#[cfg(page_16k)]
pub type Page = mvirt_hyp::addr::K16;

/// log2 of the size of a page.
pub const PAGE_SHIFT: u32 = Page::SHIFT;

/// Bytes in a page.
pub const PAGE_SIZE: u64 = Page::BYTES;

/// Bits of an EL2 virtual address.
pub const VA_BITS: u32 = 48;

/// The linear map: physical address 0 would be here.
pub const LINEAR_BASE: u64 = 1 << 46;

/// Physical addresses from here on are refused: they would not fit below [`IMAGE_BASE`].
pub const PHYS_LIMIT: u64 = 1 << 46;

/// Where image.lds links the image.
pub const IMAGE_BASE: u64 = 1 << 47;

/// The first CPU's slot of guard and stack.
pub const STACKS_BASE: u64 = IMAGE_BASE + (1 << 30);

/// Each CPU has a slot of this size: the lower half stays unmapped and is the guard, the upper
/// half is the stack. A stack pointer that ran off the stack has the bit [`STACK_SIZE`] clear,
/// which is what the vectors look at.
pub const STACK_SLOT: u64 = 2 * STACK_SIZE;

/// The lowest mapped address of the stack of the CPU with this index.
pub const fn stack_base(cpu: u64) -> u64 {
    STACKS_BASE + cpu * STACK_SLOT + STACK_SIZE
}

/// The first CPU's redistributor, a page of it: above all windows, and in the same table of level 3.
pub const DEVICES_BASE: u64 = WINDOWS_BASE + MAX_CPUS as u64 * PAGE_SIZE;

/// Where the SGI frame of a CPU's redistributor is mapped.
pub const fn gicr(cpu: u64) -> u64 {
    DEVICES_BASE + cpu * PAGE_SIZE
}

/// The first CPU's window, of a page: above all stacks, and in the same table of level 3, which the
/// stack of CPU 0 keeps in being.
pub const WINDOWS_BASE: u64 = STACKS_BASE + MAX_CPUS as u64 * STACK_SLOT;

const _: () = {
    // Bytes of a table of level 3 for the granule, and the end of all that is in it.
    let table = PAGE_SIZE << (PAGE_SHIFT - 3);
    let end = DEVICES_BASE + MAX_CPUS as u64 * PAGE_SIZE;
    assert!(STACKS_BASE % table == 0 && end - STACKS_BASE <= table);
};

/// The window of the CPU with this index.
pub const fn window(cpu: u64) -> u64 {
    WINDOWS_BASE + cpu * PAGE_SIZE
}

/// The index of the descriptor for `va` in its table of level 3.
pub fn page_index(va: u64) -> usize {
    (va >> Page::level_shift(Level::L3)) as usize & (Page::ENTRIES - 1)
}

/// True if the range lies wholly in physical memory that EL2 can map.
pub fn in_phys_limit(range: PhysRange) -> bool {
    range
        .base
        .checked_add(range.size)
        .is_some_and(|end| end <= PHYS_LIMIT)
}
