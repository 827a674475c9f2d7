// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The header at the start of the EL2 image's flat binary.
//!
//! The first page of the image is the *identity page*: it holds this header and the code that runs
//! with the EL2 MMU off (entry from the stub, entry from PSCI, exit), and is mapped at EL2 both at
//! its link address and at its physical address, read-only and executable.

/// `b"mvirtEL2"`, little endian.
pub const IMAGE_MAGIC: u64 = u64::from_le_bytes(*b"mvirtEL2");

/// The start of the EL2 image. All offsets are in bytes from the header itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ImageHeader {
    /// [`IMAGE_MAGIC`].
    pub magic: u64,
    /// [`HASH`](super::HASH) of the contract that the image was built from.
    pub abi_hash: u64,
    /// Link address of the header: an EL2 virtual address, a multiple of 2 MiB.
    pub link_base: u64,
    /// log2 of the page size (12 or 14) of EL2's tables and of the host's stage 2.
    pub page_shift: u32,
    /// Size of [`BootParams`](super::BootParams) as EL2 sees it.
    pub params_size: u32,
    /// Where EL1 enters through HVC_SOFT_RESTART, MMU off: see [`BootParams`](super::BootParams).
    pub entry: u32,
    /// End of the executable segment, page aligned. It starts at 0.
    pub text_end: u32,
    /// End of the read-only segment, page aligned. It starts at `text_end`.
    pub rodata_end: u32,
    /// End of the initialised writable segment: the size of the flat binary.
    pub data_end: u32,
    /// End of the zero-initialised part, page aligned: the memory the image needs.
    pub bss_end: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
}
