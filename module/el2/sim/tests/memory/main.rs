// SPDX-License-Identifier: GPL-2.0
//! The tests of EL2's memory logic: one program, because linking costs more than running.

mod boot;
mod checker;
mod common;
mod decoy;
mod documentation;
mod fault;
mod guests;
mod machine;
mod ownership;
mod page;
mod random;
mod random_decoys;
mod random_guests;
mod registers;
mod sequences;
mod tables;
