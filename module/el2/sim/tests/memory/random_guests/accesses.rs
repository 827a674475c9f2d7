// SPDX-License-Identifier: GPL-2.0
//! The accesses of a sequence: what is reached is the oracle's, and nothing private is seen.

use mvirt_abi::{MAP_EXEC, MAP_WRITE};
use mvirt_hyp::addr::{Granule, Phys};
use mvirt_hyp::trap::Access;
use mvirt_sim::machine::SECRET;
use mvirt_sim::oracle::Page;

use super::{Run, PRIVATE, PUBLIC};

impl<G: Granule> Run<'_, G> {
    /// Answers whether the access went through.
    pub(super) fn guest_access(
        &mut self,
        cpu: usize,
        slot: usize,
        gfn: u64,
        access: Access,
    ) -> bool {
        let Some(ipa) = gfn.checked_mul(G::BYTES) else {
            return false;
        };
        let has = self.oracle.guest_page(slot, gfn);
        let may = has.filter(|&(_, rights)| match access {
            Access::Read => true,
            Access::Write => rights & MAP_WRITE != 0,
            Access::Fetch => rights & MAP_EXEC != 0,
        });
        // One that is being taken apart does not run.
        if self.oracle.guest(slot).is_some_and(|guest| guest.dying) {
            return false;
        }
        let got = self.rig.guest_access(cpu, slot, ipa, access);
        assert_eq!(got, may.map(|(pfn, _)| Phys::new(pfn << G::SHIFT)));
        if let Some(page) = got {
            let seen = [true, false].map(|cacheable| self.rig.m.host_load(page, cacheable));
            let own = self.oracle.page(page.pfn::<G>()) == Ok(Some(Page::Guest(slot)));
            assert!(!seen.contains(&SECRET));
            assert!(own || !seen.contains(&PRIVATE));
        }
        got.is_some()
    }

    pub(super) fn guest_store(&mut self, slot: usize, gfn: u64, cacheable: bool) {
        if self.guest_access(0, slot, gfn, Access::Write) {
            let (pfn, _) = self.oracle.guest_page(slot, gfn).expect("it was written");
            let own = self.oracle.page(pfn) == Ok(Some(Page::Guest(slot)));
            let value = if own { PRIVATE } else { PUBLIC };
            let page = Phys::new(pfn << G::SHIFT);
            self.rig.m.host_store(page, value, cacheable);
        }
    }

    /// Answers whether the access went through.
    pub(super) fn host_access(&mut self, cpu: usize, ipa: u64, access: Access) -> bool {
        let got = self.rig.access(cpu, ipa, access);
        assert_eq!(got, self.oracle.access(ipa).map(|()| Phys::new(ipa)));
        if got.is_ok() {
            for cacheable in [true, false] {
                let seen = self.rig.m.host_load(Phys::new(ipa), cacheable);
                assert!(seen != SECRET && seen != PRIVATE, "{ipa:#x}");
            }
        }
        got.is_ok()
    }
}
