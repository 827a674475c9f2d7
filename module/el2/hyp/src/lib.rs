// SPDX-License-Identifier: GPL-2.0
//! mvirt's EL2 logic: who owns which page, what a trap means, what the host may do.
//!
//! No unsafe code, no assembly, no globals: the `arch` crate calls it with the machine behind a
//! trait, and the `sim` crate calls it with a fake one.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod addr;
pub mod admit;
pub mod cpu;
pub mod errata;
pub mod frame;
pub mod guest;
pub mod machine;
pub mod memory;
pub mod page;
pub mod pgtable;
pub mod pool;
pub mod psci;
pub mod smccc;
pub mod sysreg;
pub mod trap;
pub mod vgic;
pub mod vm;

#[cfg(test)]
mod doc_check;
