// SPDX-License-Identifier: Apache-2.0
//! The subcommands, one file each.

pub mod doctor;
pub mod info;
pub mod run;
