// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The contract between mvirt's EL1 module and its EL2 image.
//!
//! The text is in `contract/`, so that the kernel module, where a module is one crate, can take
//! it in as a Rust module, while the EL2 image and the host-side tests use it as this crate.
#![no_std]

mod contract;
pub mod refusal;
pub use contract::*;
