// SPDX-License-Identifier: GPL-2.0
//! The walkers, with their TLBs: of the host's CPUs, and what they find before EL2 wants it.

use mvirt_hyp::addr::{Granule, Ipa, Phys};
use mvirt_hyp::pgtable::{Attrs, Desc, View};

use super::{FakeMachine, Fault, Root};
use crate::tlb::{Leaf, Pointer, Tlb};

impl<G: Granule> FakeMachine<G> {
    /// Translates with a TLB that prefers what it has, and keeps what it finds.
    pub(super) fn translate(
        &self,
        tlb: &mut Tlb,
        root: Root,
        input: u64,
        old: bool,
    ) -> (Option<Leaf>, Option<(Leaf, Leaf)>) {
        if let Some(leaf) = tlb.leaf(input) {
            return (Some(leaf), None);
        }
        if input >> root.bits != 0 {
            return (None, None);
        }
        let root_index = input >> (G::level_shift(root.start) + G::BITS);
        let top = Phys::new(root.table.raw() + (root_index << G::SHIFT));
        let (mut table, mut level) = tlb
            .pointer(input)
            .map_or((top, root.start), |p| (p.table, p.level));
        loop {
            let size = G::level_size(level);
            let base = input & !(size - 1);
            let index = (input >> G::level_shift(level)) as usize & (G::ENTRIES - 1);
            let view = Desc::<G>::from_raw(self.seen(table, index, old)).view(level);
            match (view, level.below()) {
                (View::Table(next), Some(below)) => {
                    tlb.keep_pointer(Pointer {
                        input: base,
                        size,
                        level: below,
                        table: next,
                    });
                    (table, level) = (next, below);
                }
                (View::Leaf { oa, attrs }, _) => {
                    let leaf = Leaf {
                        input: base,
                        size,
                        level,
                        oa,
                        attrs,
                    };
                    let conflict = tlb.keep_leaf(leaf);
                    return (Some(leaf), conflict.map(|other| (other, leaf)));
                }
                _ => return (None, None),
            }
        }
    }

    /// A host CPU translates an address; `None` if it faults.
    pub fn host_translate(&mut self, cpu: usize, ipa: Ipa) -> Option<(Phys, Attrs)> {
        self.host_walk(cpu, ipa.raw(), false)
    }

    fn host_walk(&mut self, cpu: usize, ipa: u64, old: bool) -> Option<(Phys, Attrs)> {
        let root = self.host?;
        let mut tlb = std::mem::take(&mut self.host_tlbs[cpu]);
        let (leaf, conflict) = self.translate(&mut tlb, root, ipa, old);
        self.host_tlbs[cpu] = tlb;
        if let Some((a, b)) = conflict {
            self.fault(Fault::Conflict(a, b));
        }
        leaf.map(|leaf| (Phys::new(leaf.oa.raw() + (ipa - leaf.input)), leaf.attrs))
    }

    /// Whether the host's tables lead to a page, whatever TLBs hold.
    pub fn host_maps(&self, page: Phys) -> bool {
        let walk = |root| {
            self.translate(&mut Tlb::default(), root, page.raw(), false)
                .0
        };
        let own = self.host.and_then(walk);
        let own = own.is_some_and(|leaf| leaf.oa.raw() == leaf.input);
        own || self.decoys.contains_key(&page.raw())
    }

    /// Output pages of the host's leaves that are no identity, each as often as it is mapped.
    pub fn host_decoys(&self) -> u32 {
        self.decoys.values().sum()
    }

    /// All CPUs touch the watched addresses, and see old descriptors where they can.
    pub(super) fn speculate(&mut self) {
        for n in 0..self.watched.len() {
            let ipa = self.watched[n];
            for cpu in 0..self.host_tlbs.len() {
                // CPUs differ in how early they see a store.
                let found = self.host_walk(cpu, ipa, cpu % 2 == 0);
                if found.is_none() {
                    self.missed.insert(ipa);
                }
            }
        }
        self.speculate_guests();
    }
}
