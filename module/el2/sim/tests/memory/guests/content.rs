// SPDX-License-Identifier: GPL-2.0
//! What is in a guest's pages as they change hands: handed over, hidden, cleaned.

use mvirt_abi::Error;
use mvirt_hyp::addr::{Granule, Phys, K4};
use mvirt_hyp::memory::MAX_GUEST_CLEAN;
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::Rig;

use super::{with_rig, BITS, RWX, SLOT};

/// What the host wrote is what a guest reads with its MMU off, and what it fetches.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn content_is_handed_over() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            for n in 0..6 {
                let page = Phys::new((pfn + n) << 12);
                rig.access(0, page.raw(), Access::Write).expect("its own");
                rig.m.host_store(page, 77 + n, n % 2 == 0);
            }
            let map = rig.memory.guest_map(&mut rig.m, SLOT, 5, pfn, 6, RWX);
            assert_eq!(map, Ok(()));
            rig.settle();
            for n in 0..6 {
                let page = rig.guest_access(0, SLOT, (5 + n) << 12, Access::Read);
                assert_eq!(page, Some(Phys::new((pfn + n) << 12)));
                let page = Phys::new((pfn + n) << 12);
                for cacheable in [true, false] {
                    assert_eq!(rig.m.host_load(page, cacheable), 77 + n);
                }
            }
        });
    }
}

/// A host that maps a shared page non-cacheable finds nothing that the guest had overwritten, and
/// nothing dirty of the host's is left when the share ends.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_share_hides_what_was_overwritten() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, true, BITS).expect("room");
        let (memory, m) = (&mut rig.memory, &mut rig.m);
        assert_eq!(memory.guest_map(m, SLOT, 9, pfn, 1, RWX), Ok(()));
        let page = Phys::new(pfn << 12);
        m.host_store(page, 0x5ec, false);
        m.host_store(page, 1, true);
        assert_eq!(memory.guest_share_host(m, SLOT, 9), Ok(pfn));
        rig.settle();
        assert!(rig.access(0, page.raw(), Access::Write).is_ok());
        assert_eq!(rig.m.host_load(page, false), 1);
        rig.m.host_store(page, 2, true);
        let got = rig.memory.guest_unshare_host(&mut rig.m, SLOT, 9);
        assert_eq!(got, Ok(pfn));
        rig.settle();
        rig.check();
        // The guest stores with its caches off; nothing covers that up later.
        rig.m.host_store(page, 3, false);
        assert_eq!(rig.m.host_load(page, true), 3);
    });
}

/// What a guest that cleans by set and way must find: each of its pages in memory, and in steps.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn all_of_a_guest_is_cleaned_in_steps() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            assert_eq!(
                rig.memory.guest_clean(&mut rig.m, SLOT + 1, 0),
                Err(Error::NoEntry)
            );
            // A block, pages on both sides of a table's end, and the last page that there can be.
            let last = (1 << (BITS - K4::SHIFT)) - 1;
            let runs = [
                (512, 512, 512),
                (1534, 1030, 5),
                (0, 1040, 1),
                (last, 1050, 1),
            ];
            let mut mine = Vec::new();
            for (gfn, offset, nr) in runs {
                let map = rig
                    .memory
                    .guest_map(&mut rig.m, SLOT, gfn, pfn + offset, nr, RWX);
                assert_eq!(map, Ok(()), "{gfn}");
                mine.extend(pfn + offset..pfn + offset + nr);
            }
            let others: Vec<u64> = (0..8).map(|n| pfn + 1100 + n).collect();
            let page = |pfn: u64| Phys::new(pfn << K4::SHIFT);
            for pfn in mine.iter().chain(&others) {
                // In the caches alone: by the guest, or by the host for its own.
                rig.m.host_store(page(*pfn), 0x1000 + pfn, true);
            }
            let in_memory = |rig: &mut Rig<'_, K4>, pfns: &[u64]| {
                let m = &mut rig.m;
                let cleaned = |pfn: &&u64| m.host_load(page(**pfn), false) == 0x1000 + **pfn;
                pfns.iter().filter(cleaned).count()
            };
            assert_eq!(in_memory(&mut rig, &mine), 0);
            let (mut next, mut before, mut steps) = (Some(0), 0, 0);
            while let Some(gfn) = next {
                next = rig
                    .memory
                    .guest_clean(&mut rig.m, SLOT, gfn)
                    .expect("it is there");
                assert!(next.is_none_or(|next| next > gfn));
                let now = in_memory(&mut rig, &mine);
                // Lossless: a small number.
                assert!(now - before <= MAX_GUEST_CLEAN as usize);
                before = now;
                steps += 1;
            }
            assert_eq!(before, mine.len());
            assert_eq!(in_memory(&mut rig, &others), 0);
            assert!(steps < 8 * 512, "{steps}");
            assert_eq!(rig.memory.guest_clean(&mut rig.m, SLOT, last + 1), Ok(None));
            rig.settle();
            rig.check();
            rig.guest_destroy(SLOT);
        });
    }
}
