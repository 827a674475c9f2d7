// SPDX-License-Identifier: GPL-2.0
//! Translation tables of VMSAv8-64: stage 2, the host's and the guests', and EL2's stage 1.
//!
//! [`Tree`] walks and changes tables of either kind; [`stage1`] and [`stage2`] know the attributes
//! and the registers. Names and level numbers are those of the Arm ARM, chapter D8.
//!
//! This code builds EL2's first tables while the MMU is off and the image runs at another address
//! than the one it is linked at. So there are no function pointers, trait objects, statics that
//! hold references, atomics or panics in here.

mod desc;
pub mod stage1;
pub mod stage2;
mod tree;

pub use desc::{Attrs, Desc, View};
pub use tree::{BootFrames, Entry, Flush, Frames, Stage, Tree, Vacant, Visitor};
