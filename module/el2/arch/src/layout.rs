// SPDX-License-Identifier: GPL-2.0
//! EL2's virtual address space.
//!
//! One translation regime with 48-bit addresses, and four regions in it, so far apart that none
//! can run into the next (Documentation/memory-layout.rst):
//!
//! | from                    | what                                                            |
//! |-------------------------|-----------------------------------------------------------------|
//! | 0                       | the identity page, at its physical address                      |
//! | [`LINEAR_BASE`]         | what EL2 owns or is shared with it, at its physical address plus this |
//! | [`IMAGE_BASE`]          | the image, where it is linked                                   |
//! | [`STACKS_BASE`]         | each CPU's stack above its guard                                |

use mvirt_abi::{PhysRange, STACK_SIZE};
use mvirt_hyp::addr::Granule;

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

/// True if the range lies wholly in physical memory that EL2 can map.
pub fn in_phys_limit(range: PhysRange) -> bool {
    range
        .base
        .checked_add(range.size)
        .is_some_and(|end| end <= PHYS_LIMIT)
}
