// SPDX-License-Identifier: GPL-2.0
//! The VM's GIC against a naive one, with list registers as the architecture has them.

mod hardware;
mod migrate;
mod naive;
mod random;
mod registers;
mod resample;
mod rig;
mod setup;
