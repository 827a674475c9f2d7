// SPDX-License-Identifier: GPL-2.0
//! What one CPU's TLB holds of one stage.
//!
//! It forgets nothing until it is told to: leaves, and pointers to tables (the walk cache).

use mvirt_hyp::addr::{Level, Phys};
use mvirt_hyp::pgtable::Attrs;

/// A cached leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// First input address.
    pub input: u64,
    /// Bytes that it covers.
    pub size: u64,
    /// The level that it was found at.
    pub level: Level,
    /// Where it leads.
    pub oa: Phys,
    /// Its attributes.
    pub attrs: Attrs,
}

/// A cached table descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// First input address.
    pub input: u64,
    /// Bytes that the table covers.
    pub size: u64,
    /// The level of the table that it leads to.
    pub level: Level,
    /// The table.
    pub table: Phys,
}

/// A TLB.
#[derive(Clone, Debug, Default)]
pub struct Tlb {
    leaves: Vec<Leaf>,
    pointers: Vec<Pointer>,
}

fn overlap(a: u64, a_size: u64, b: u64, b_size: u64) -> bool {
    a < b + b_size && b < a + a_size
}

impl Tlb {
    /// The leaf that translates `input`.
    pub fn leaf(&self, input: u64) -> Option<Leaf> {
        self.leaves
            .iter()
            .find(|l| overlap(l.input, l.size, input, 1))
            .copied()
    }

    /// The pointer that gets a walk for `input` furthest.
    pub fn pointer(&self, input: u64) -> Option<Pointer> {
        let here = self
            .pointers
            .iter()
            .filter(|p| overlap(p.input, p.size, input, 1));
        here.max_by_key(|p| p.level).copied()
    }

    /// Keeps a leaf; answers one that it contradicts.
    pub fn keep_leaf(&mut self, leaf: Leaf) -> Option<Leaf> {
        let found = self
            .leaves
            .iter()
            .find(|l| overlap(l.input, l.size, leaf.input, leaf.size));
        match found {
            Some(&old) if old == leaf => None,
            found => {
                let found = found.copied();
                self.leaves.push(leaf);
                found
            }
        }
    }

    /// Keeps a pointer.
    pub fn keep_pointer(&mut self, pointer: Pointer) {
        if !self.pointers.contains(&pointer) {
            self.pointers.push(pointer);
        }
    }

    /// Whether anything is held that covers part of a region, other than pointers to tables that
    /// cover more than it.
    pub fn holds(&self, input: u64, size: u64) -> bool {
        self.leaves
            .iter()
            .any(|l| overlap(l.input, l.size, input, size))
            || self
                .pointers
                .iter()
                .any(|p| p.size <= size && overlap(p.input, p.size, input, size))
    }

    /// Whether a leaf leads to a page.
    pub fn reaches(&self, page: Phys) -> bool {
        self.leaves
            .iter()
            .any(|l| overlap(l.oa.raw(), l.size, page.raw(), 1))
    }

    /// Whether a pointer leads to a table.
    pub fn points_to(&self, table: Phys) -> bool {
        self.pointers.iter().any(|p| p.table == table)
    }

    /// Forgets what translates `input`: leaves, of `level` alone if one is given, and pointers.
    pub fn forget(&mut self, input: u64, level: Option<Level>) {
        self.leaves.retain(|l| {
            !overlap(l.input, l.size, input, 1) || level.is_some_and(|level| level != l.level)
        });
        self.pointers
            .retain(|p| !overlap(p.input, p.size, input, 1));
    }

    /// Forgets everything.
    pub fn forget_all(&mut self) {
        self.leaves.clear();
        self.pointers.clear();
    }

    /// The leaves.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The pointers.
    pub fn pointers(&self) -> &[Pointer] {
        &self.pointers
    }
}
