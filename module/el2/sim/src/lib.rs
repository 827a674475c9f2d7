// SPDX-License-Identifier: GPL-2.0
//! A fake machine for the EL2 logic, and an oracle that knows what it should do.
//!
//! An emulator forgives what hardware does not: it keeps no stale TLB entries, no dirty lines and
//! no store that a walker has not seen yet. [`machine::FakeMachine`] keeps all of them for as long
//! as the architecture allows, and reports each misuse that it sees. [`rig::Rig`] boots the EL2
//! logic on it; [`oracle::Oracle`] is the plain model that tests compare with.
#![forbid(unsafe_code)]

pub mod machine;
pub mod oracle;
pub mod rig;
pub mod tlb;
