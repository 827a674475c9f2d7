// SPDX-License-Identifier: GPL-2.0
//! Pages that are lent to guests: how often, and with which rights.

use mvirt_abi::{Error, MAP_EXEC};
use mvirt_hyp::addr::{GuestIpa, Level, Phys, K4};
use mvirt_hyp::page::PageState;
use mvirt_hyp::pgtable::stage2::Rights;
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::Rig;

use super::{with_rig, BITS, RW, RWX, SLOT};
use crate::common::donate;

/// A page may be in several guests and at several addresses, and be lent as often as the count holds.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn loans_are_counted() {
    with_rig::<K4>(|mut rig, pfn| {
        donate(&mut rig, pfn + 512, 300);
        rig.guest_create(SLOT, false, BITS).expect("room");
        rig.guest_create(SLOT + 1, false, BITS).expect("room");
        for gfn in 0..u64::from(u16::MAX) {
            let slot = SLOT + (gfn % 2) as usize;
            let map = rig.memory.guest_map(&mut rig.m, slot, gfn, pfn, 1, 0);
            assert_eq!(map, Ok(()));
        }
        rig.settle();
        rig.check();
        let full = Ok(PageState::with_guests(u16::MAX));
        assert_eq!(rig.memory.page(pfn), full);
        let map = rig.memory.guest_map(&mut rig.m, SLOT, 1 << 20, pfn, 1, 0);
        assert_eq!(map, Err(Error::Busy));
        assert_eq!(rig.memory.pool_donate(&mut rig.m, pfn, 1), Err(Error::Perm));
        rig.guest_destroy(SLOT);
        let left = Ok(PageState::with_guests(u16::MAX / 2));
        assert_eq!(rig.memory.page(pfn), left);
        rig.guest_destroy(SLOT + 1);
        assert_eq!(rig.memory.page(pfn), Ok(PageState::HOST));
        rig.check();
    });
}

/// The same page again with other rights changes the rights; anything else in the way is left.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn rights_change() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, false, BITS).expect("room");
        let map = |rig: &mut Rig<'_, K4>, gfn, pfn, nr, rights| {
            let got = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, nr, rights);
            rig.settle();
            rig.check();
            got
        };
        assert_eq!(map(&mut rig, 512, pfn, 512, 0), Ok(()));
        assert!(rig.guest_access(0, SLOT, 600 << 12, Access::Read).is_some());
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Write)
            .is_none());
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Fetch)
            .is_none());
        assert_eq!(map(&mut rig, 512, pfn, 512, 0), Err(Error::Exists));
        // One page of the block, by way of a split.
        assert_eq!(map(&mut rig, 600, pfn + 88, 1, RW), Ok(()));
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Write)
            .is_some());
        assert!(rig
            .guest_access(0, SLOT, 601 << 12, Access::Write)
            .is_none());
        assert_eq!(map(&mut rig, 600, pfn + 88, 1, RW), Err(Error::Exists));
        // Another page is in the way; so is a range of which a part is mapped.
        assert_eq!(map(&mut rig, 600, pfn + 89, 1, RWX), Err(Error::Exists));
        assert_eq!(map(&mut rig, 1023, pfn + 511, 2, RWX), Err(Error::Exists));
        // What is written and then made executable is fetched anew.
        rig.m.host_store(Phys::new((pfn + 88) << 12), 5, true);
        assert_eq!(map(&mut rig, 600, pfn + 88, 1, MAP_EXEC), Ok(()));
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Fetch)
            .is_some());
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Write)
            .is_none());
        let ipa = GuestIpa::new(600 << 12 | 0x123);
        let found = rig.memory.guest_walk(&rig.m, SLOT, ipa).expect("in range");
        let found = found.expect("it is mapped");
        let execute_only = Rights {
            write: false,
            execute: true,
        };
        assert_eq!((found.rights, found.level), (execute_only, Level::L3));
        assert_eq!(found.phys, Phys::new((pfn + 88) << 12 | 0x123));
        // All of it, split by now, in one call.
        assert_eq!(map(&mut rig, 512, pfn, 512, RWX), Ok(()));
        assert_eq!(rig.memory.page(pfn + 88), Ok(PageState::with_guests(1)));
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Write)
            .is_some());
    });
}
