// SPDX-License-Identifier: GPL-2.0
//! The guests of the fake machine: a stage 2 and TLB entries for each VMID.
//!
//! Every CPU may have run every guest, and so has entries for each.

use mvirt_hyp::addr::{Granule, GuestIpa, Level, Phys};
use mvirt_hyp::pgtable::stage2::{GuestRegime, GuestStage, Rights};
use mvirt_hyp::pgtable::{Attrs, Tree};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{FakeMachine, Fault, Root, Which};
use crate::tlb::Tlb;

/// A guest as the hardware sees it.
#[derive(Debug)]
pub(super) struct Guest {
    root: Root,
    root_tables: u64,
    regime: GuestRegime,
    protected: bool,
    /// By CPU.
    pub(super) tlbs: Vec<Tlb>,
    watched: Vec<u64>,
    missed: FxHashSet<u64>,
    /// How often the tables map a page.
    mapped: FxHashMap<u64, u32>,
    /// Pages that it had at the end of the last call, and whether it might execute them.
    had: FxHashSet<(u64, bool)>,
    /// The same, as of now.
    has: FxHashSet<(u64, bool)>,
}

impl Guest {
    /// Whether the tables lead to a page.
    pub(super) fn maps(&self, page: Phys) -> bool {
        self.mapped.contains_key(&page.raw())
    }
}

fn pages<G: Granule>(level: Level, oa: Phys) -> impl Iterator<Item = Phys> {
    let nr = G::level_size(level) >> G::SHIFT;
    (0..nr).map(move |n| Phys::new(oa.raw() + (n << G::SHIFT)))
}

impl<G: Granule> FakeMachine<G> {
    /// Makes the guest known whose tables these are. From now on its vCPUs may run on any CPU.
    ///
    /// # Panics
    ///
    /// If the registers do not describe the tables, or there is such a guest.
    pub fn enable_guest(&mut self, tree: &Tree<G, GuestStage>, root_tables: u64, protected: bool) {
        let regime = tree.stage().0;
        let table = Phys::new(regime.vttbr & ((1 << 48) - 1));
        assert_eq!(table, tree.root());
        assert_eq!(regime.vtcr & 0x3f, 64 - u64::from(tree.bits()), "T0SZ");
        assert_eq!(
            table.raw() % (root_tables << G::SHIFT),
            0,
            "the root is not aligned"
        );
        let (start, bits) = (tree.start(), tree.bits());
        let guest = Guest {
            root: Root { table, start, bits },
            root_tables,
            regime,
            protected,
            tlbs: vec![Tlb::default(); self.cpus()],
            watched: Vec::new(),
            missed: FxHashSet::default(),
            mapped: FxHashMap::default(),
            had: FxHashSet::default(),
            has: FxHashSet::default(),
        };
        let old = self.guests.insert(regime.vmid(), guest);
        assert!(old.is_none(), "VMID {} is in use", regime.vmid());
        for n in 0..root_tables {
            let base = n << (G::level_shift(start) + G::BITS);
            let root = Phys::new(table.raw() + (n << G::SHIFT));
            if self.before.contains_key(&root.raw()) {
                self.fault(Fault::LinkedUnpublished(root));
            }
            self.link(Which::Guest(regime.vmid()), root, start, base);
        }
    }

    /// The guest is gone: nothing of it may be left in a TLB.
    ///
    /// # Panics
    ///
    /// If there is no such guest.
    pub fn disable_guest(&mut self, vmid: u64) {
        let guest = &self.guests[&vmid];
        let (root, tables) = (guest.root, guest.root_tables);
        for n in 0..tables {
            let table = Phys::new(root.table.raw() + (n << G::SHIFT));
            self.unlink(Which::Guest(vmid), table, root.start);
        }
        let guest = self.guests.remove(&vmid).expect("it was there");
        for tlb in &guest.tlbs {
            tlb.leaves()
                .iter()
                .for_each(|&leaf| self.fault(Fault::Stale(leaf)));
            let pointers = tlb.pointers().iter();
            pointers.for_each(|&pointer| self.fault(Fault::StalePointer(pointer)));
        }
    }

    /// Makes all CPUs touch these addresses of a guest at each step of EL2's.
    pub fn watch_guest(&mut self, vmid: u64, ipas: Vec<u64>) {
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.watched = ipas;
        }
    }

    /// Watched addresses of a guest that some CPU found unmapped since the last time.
    pub fn take_guest_missed(&mut self, vmid: u64) -> Vec<u64> {
        let guest = self.guests.get_mut(&vmid);
        let mut missed: Vec<u64> = guest.map_or(Vec::new(), |g| g.missed.drain().collect());
        missed.sort_unstable();
        missed
    }

    /// A vCPU translates an address on a CPU; `None` if it faults.
    pub fn guest_translate(
        &mut self,
        cpu: usize,
        vmid: u64,
        ipa: GuestIpa,
    ) -> Option<(Phys, Attrs)> {
        self.guest_walk(cpu, vmid, ipa.raw(), false)
    }

    fn guest_walk(&mut self, cpu: usize, vmid: u64, ipa: u64, old: bool) -> Option<(Phys, Attrs)> {
        let guest = self.guests.get_mut(&vmid)?;
        let root = guest.root;
        let mut tlb = std::mem::take(&mut guest.tlbs[cpu]);
        let (leaf, conflict) = self.translate(&mut tlb, root, ipa, old);
        self.guests.get_mut(&vmid)?.tlbs[cpu] = tlb;
        if let Some((a, b)) = conflict {
            self.fault(Fault::Conflict(a, b));
        }
        leaf.map(|leaf| (Phys::new(leaf.oa.raw() + (ipa - leaf.input)), leaf.attrs))
    }

    pub(super) fn speculate_guests(&mut self) {
        let watched: Vec<(u64, u64)> = self
            .guests
            .iter()
            .flat_map(|(&vmid, guest)| guest.watched.iter().map(move |&ipa| (vmid, ipa)))
            .collect();
        for (vmid, ipa) in watched {
            for cpu in 0..self.cpus() {
                let found = self.guest_walk(cpu, vmid, ipa, cpu % 2 == 0);
                if let (None, Some(guest)) = (found, self.guests.get_mut(&vmid)) {
                    guest.missed.insert(ipa);
                }
            }
        }
    }

    pub(super) fn guest_tlbs(&self, vmid: u64) -> impl Iterator<Item = &Tlb> {
        self.guests.get(&vmid).into_iter().flat_map(|g| &g.tlbs)
    }

    pub(super) fn flush_guest(&mut self, regime: GuestRegime, mut flush: impl FnMut(&mut Tlb)) {
        self.before_flush();
        let guest = self.guests.get_mut(&regime.vmid());
        match guest.filter(|guest| guest.regime == regime) {
            Some(guest) => guest.tlbs.iter_mut().for_each(&mut flush),
            None => self.fault(Fault::NoGuest(regime.vmid())),
        }
        self.speculate();
    }

    /// A live leaf was added: has the guest a page that is ready for it?
    pub(super) fn leaf_added(
        &mut self,
        which: Which,
        level: Level,
        input: u64,
        oa: Phys,
        attrs: Attrs,
    ) {
        if which == Which::Host && oa.raw() != input {
            *self.decoys.entry(oa.raw()).or_default() += 1;
        }
        let Which::Guest(vmid) = which else { return };
        let executable = Rights::of(attrs).execute;
        for page in pages::<G>(level, oa) {
            let Some(guest) = self.guests.get_mut(&vmid) else {
                return;
            };
            *guest.mapped.entry(page.raw()).or_default() += 1;
            let key = (page.raw(), executable);
            guest.has.insert(key);
            if guest.had.contains(&key) {
                continue;
            }
            let (had, protected) = (
                guest.had.contains(&(page.raw(), !executable)),
                guest.protected,
            );
            let content = self.contents.get(&page.raw());
            if content.is_some_and(|content| content.cache.is_some()) && !had {
                self.fault(Fault::GivenDirty(page));
            }
            if executable && self.fetched_old.contains(&page.raw()) {
                self.fault(Fault::GivenStale(page));
            }
            let reached = self.host_tlbs.iter().any(|tlb| tlb.reaches(page));
            if protected && (reached || self.host_maps(page)) {
                self.fault(Fault::GivenWhileReachable(page));
            }
        }
    }

    /// A live leaf was removed.
    pub(super) fn leaf_removed(&mut self, which: Which, level: Level, input: u64, oa: Phys) {
        if which == Which::Host && oa.raw() != input {
            let left = self.decoys.get(&oa.raw()).map_or(0, |nr| nr - 1);
            if left == 0 {
                self.decoys.remove(&oa.raw());
            } else {
                self.decoys.insert(oa.raw(), left);
            }
        }
        let Which::Guest(vmid) = which else { return };
        let Some(guest) = self.guests.get_mut(&vmid) else {
            return;
        };
        for page in pages::<G>(level, oa) {
            let left = guest.mapped.get(&page.raw()).map_or(0, |nr| nr - 1);
            if left == 0 {
                guest.mapped.remove(&page.raw());
                guest.has.remove(&(page.raw(), false));
                guest.has.remove(&(page.raw(), true));
            } else {
                guest.mapped.insert(page.raw(), left);
            }
        }
    }

    pub(super) fn settle_guests(&mut self) {
        for guest in self.guests.values_mut() {
            guest.had.clone_from(&guest.has);
        }
        for guest in self.guests.values() {
            for tlb in &guest.tlbs {
                self.settle_tlb(tlb, guest.root);
            }
        }
    }
}
