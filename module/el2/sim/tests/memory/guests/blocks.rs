// SPDX-License-Identifier: GPL-2.0
//! Blocks of guests: made, split, and unmapped with and without tables for the split.

use mvirt_abi::Stat;
use mvirt_hyp::addr::{Granule, GuestIpa, Level, K16, K4};
use mvirt_hyp::memory::{Denied, MAX_GUEST_MAP};
use mvirt_hyp::page::{PageState, Use};
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::Rig;

use super::{spare, with_rig, BITS, RW, RWX, SLOT, VMID};
use crate::common::donate;

/// A run that is aligned for both sides becomes a block, for protected guests too, and a page that
/// is taken out of it splits it.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn blocks() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            let level = |rig: &Rig<'_, K4>, gfn: u64| {
                let ipa = GuestIpa::new(gfn << 12);
                let found = rig.memory.guest_walk(&rig.m, SLOT, ipa);
                found.expect("within its size").map(|found| found.level)
            };
            let (memory, m) = (&mut rig.memory, &mut rig.m);
            assert_eq!(memory.guest_map(m, SLOT, 512, pfn, 512, RWX), Ok(()));
            // Not aligned alike: pages.
            let map = memory.guest_map(m, SLOT, 1025, pfn + 512, 511, RWX);
            assert_eq!(map, Ok(()));
            rig.settle();
            rig.check();
            assert_eq!(level(&rig, 700), Some(Level::L2));
            assert_eq!(level(&rig, 1025), Some(Level::L3));
            assert_eq!(level(&rig, 1024), None);

            rig.m
                .watch_guest(VMID, vec![600 << 12, 601 << 12, 602 << 12]);
            let (memory, m) = (&mut rig.memory, &mut rig.m);
            if protected {
                let got = memory.guest_relinquish(m, SLOT, 601);
                assert_eq!(got, Ok(pfn + 601 - 512));
            } else {
                assert_eq!(memory.guest_unmap(m, SLOT, 601, 1), Ok((1, 602)));
            }
            rig.settle();
            rig.check();
            // CPUs that ran into the split get on.
            assert_eq!(
                rig.m.take_guest_missed(VMID),
                [600, 601, 602].map(|n| n << 12)
            );
            for (gfn, there) in [(600, true), (601, false), (602, true)] {
                let got = rig.guest_access(2, SLOT, gfn << 12, Access::Write);
                assert_eq!(got.is_some(), there, "{gfn}");
                assert_eq!(level(&rig, gfn), there.then_some(Level::L3));
            }
        });
    }
}

/// The end of a share takes no memory: without a table for the split the whole block goes, and only
/// that.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn an_unmap_without_tables_takes_the_block() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, false, BITS).expect("room");
        for n in 0..2 {
            let map = rig
                .memory
                .guest_map(&mut rig.m, SLOT, 512 * (n + 1), pfn + 512 * n, 512, RW);
            assert_eq!(map, Ok(()));
        }
        rig.settle();
        let mut pages = Vec::new();
        while let Ok(page) = rig.memory.page_take(&mut rig.m, Use::Vcpu) {
            pages.push(page);
        }
        assert_eq!(spare(&rig), 0);
        let got = rig.memory.guest_unmap(&mut rig.m, SLOT, 600, 2);
        assert_eq!(got, Ok((512, 602)));
        rig.settle();
        rig.check();
        assert_eq!(rig.has(SLOT, 512), None);
        assert_eq!(rig.has(SLOT, 1024), Some(pfn + 512));
        assert_eq!(rig.memory.page(pfn), Ok(PageState::HOST));
        for page in pages {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
        }
        let got = rig.memory.guest_unmap(&mut rig.m, SLOT, 1100, 2);
        assert_eq!(got, Ok((2, 1102)));
        rig.settle();
        rig.check();
    });
}

/// A guest can end a share when no table is spare: the host loses more of its block, and faults it
/// in again.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn an_unshare_takes_no_table() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, true, BITS).expect("room");
        let (memory, m) = (&mut rig.memory, &mut rig.m);
        assert_eq!(memory.guest_map(m, SLOT, 512, pfn, 512, RWX), Ok(()));
        for gfn in 512..1024 {
            assert_eq!(memory.guest_share_host(m, SLOT, gfn), Ok(pfn + gfn - 512));
        }
        // All of a block is the host's to use: it has it as one.
        assert!(rig.access(0, pfn << 12, Access::Write).is_ok());
        assert_eq!(rig.leaf_level(pfn << 12), Some(Level::L2));
        while rig.memory.page_take(&mut rig.m, Use::Vgic).is_ok() {}
        let got = rig.memory.guest_unshare_host(&mut rig.m, SLOT, 700);
        assert_eq!(got, Ok(pfn + 700 - 512));
        rig.settle();
        rig.check();
        let at = (pfn + 700 - 512) << 12;
        assert_eq!(rig.access(0, at, Access::Read), Err(Denied::Owned));
        assert!(rig.access(0, at + 4096, Access::Read).is_ok());
    });
}

/// A whole slot is unmapped in calls that each do a bounded part.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_huge_range_is_unmapped_in_parts() {
    fn run<G: Granule>() {
        with_rig::<G>(|mut rig, pfn| {
            rig.guest_create(SLOT, false, BITS).expect("room");
            donate(&mut rig, pfn + 900, 40);
            let limit = 1u64 << (BITS - G::SHIFT);
            // Sparse: single pages far apart, a full table's worth of pages, the last page.
            let mut mapped = 0;
            for gfn in [1, 77, 99_000, limit / 2 + 3, limit - 1] {
                let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, 1, RW);
                assert_eq!(map, Ok(()));
                mapped += 1;
            }
            for n in 0..2 {
                let gfn = limit / 4 + 1 + n * 300;
                let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, 300, RW);
                assert_eq!(map, Ok(()));
                mapped += 300;
            }
            assert_eq!(rig.memory.page(pfn), Ok(PageState::with_guests(7)));
            let (mut at, mut unmapped, mut calls) = (0, 0, 0);
            while at < limit {
                let (nr, next) = rig
                    .memory
                    .guest_unmap(&mut rig.m, SLOT, at, limit - at)
                    .expect("never refused");
                assert!(next > at && next <= limit && nr <= MAX_GUEST_MAP);
                (at, unmapped, calls) = (next, unmapped + nr, calls + 1);
                rig.settle();
                rig.check();
            }
            assert_eq!(unmapped, mapped);
            assert!(calls < 100, "{calls} calls");
            assert_eq!(rig.memory.page(pfn), Ok(PageState::HOST));
            // All tables but the root are back.
            let tables = rig.memory.stat(Stat::GuestTableBytes);
            assert_eq!(tables, Some(G::BYTES));
        });
    }
    run::<K4>();
    run::<K16>();
}
