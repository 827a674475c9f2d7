// SPDX-License-Identifier: GPL-2.0
//! What is refused, and that a refusal changes nothing.

use mvirt_abi::{Error, MAX_VMS};
use mvirt_hyp::addr::{GuestIpa, K4};
use mvirt_hyp::memory::MAX_GUEST_MAP;
use mvirt_hyp::page::Use;

use super::{with_rig, BITS, RWX, SLOT, VMID};
use crate::common::donate;

/// What no guest is in a slot for is refused, and so are numbers that overflow or lie beyond.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn wrong_numbers_are_refused() {
    with_rig::<K4>(|mut rig, pfn| {
        let (memory, m) = (&mut rig.memory, &mut rig.m);
        for slot in [SLOT, MAX_VMS, usize::MAX] {
            let map = memory.guest_map(m, slot, 0, pfn, 1, RWX);
            assert_eq!(map, Err(Error::NoEntry));
            assert_eq!(memory.guest_unmap(m, slot, 0, 1), Err(Error::NoEntry));
            assert_eq!(memory.guest_destroy_step(m, slot), Err(Error::NoEntry));
            let walk = memory.guest_walk(m, slot, GuestIpa::new(0));
            assert_eq!(walk, Err(Error::NoEntry));
            // To a guest, NoEntry would mean that the host is asked for the page.
            assert_eq!(memory.guest_share_host(m, slot, 0), Err(Error::Perm));
            assert_eq!(memory.guest_unshare_host(m, slot, 0), Err(Error::Perm));
            assert_eq!(memory.guest_relinquish(m, slot, 0), Err(Error::Perm));
        }
        for slot in [MAX_VMS, MAX_VMS + 1, 255, 256, usize::MAX] {
            let made = memory.guest_create(m, slot, true, BITS);
            assert_eq!(made, Err(Error::Invalid), "{slot}");
        }
        for bits in [0, 31, 41, 48, 64, u32::MAX] {
            let made = memory.guest_create(m, SLOT, true, bits);
            assert_eq!(made, Err(Error::Invalid), "{bits}");
        }
        assert_eq!(rig.memory.guests(), 0);
        let regime = rig.guest_create(SLOT, false, BITS).expect("there is room");
        assert_eq!((regime.vmid(), regime.ipa_bits), (VMID, BITS));
        let again = rig.memory.guest_create(&mut rig.m, SLOT, false, BITS);
        assert_eq!(again, Err(Error::Exists));
        let limit = 1u64 << (BITS - 12);
        let rows = [
            (0, pfn, 0, RWX, Error::Invalid),
            (0, pfn, MAX_GUEST_MAP + 1, RWX, Error::Invalid),
            (0, pfn, u64::MAX, RWX, Error::Invalid),
            (0, pfn, 1, 4, Error::Invalid),
            (0, pfn, 1, u64::MAX, Error::Invalid),
            (limit, pfn, 1, RWX, Error::Invalid),
            (limit - 1, pfn, 2, RWX, Error::Invalid),
            (u64::MAX, pfn, 1, RWX, Error::Invalid),
            (1 << 52, pfn, 1, RWX, Error::Invalid),
            (0, u64::MAX, 1, RWX, Error::Invalid),
            (0, u64::MAX - 1, 1, RWX, Error::NoEntry),
            (0, pfn | 1 << 52, 1, RWX, Error::NoEntry),
            (0, 0x9000, 1, RWX, Error::NoEntry),
        ];
        for (gfn, pfn, nr, rights, error) in rows {
            let writes = rig.m.writes();
            let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, nr, rights);
            assert_eq!(map, Err(error), "{gfn:#x} {pfn:#x} {nr:#x} {rights:#x}");
            assert_eq!(writes, rig.m.writes());
        }
        for (gfn, nr) in [(0, 0), (0, limit + 1), (limit, 1), (1, u64::MAX)] {
            let unmap = rig.memory.guest_unmap(&mut rig.m, SLOT, gfn, nr);
            assert_eq!(unmap, Err(Error::Invalid), "{gfn:#x} {nr:#x}");
        }
        for ipa in [1 << BITS, 1 << 48, u64::MAX] {
            let walk = rig.memory.guest_walk(&rig.m, SLOT, GuestIpa::new(ipa));
            assert_eq!(walk, Err(Error::Invalid));
        }
        rig.settle();
        rig.check();
    });
}

/// A refused range leaves each of its pages as it was, wherever the wrong page is in it.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_refused_range_changes_nothing() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            for bad in 0..4 {
                rig.memory
                    .host_share_el2(&mut rig.m, pfn + bad)
                    .expect("it is the host's");
                let (free, writes) = (rig.memory.pool_pages(), rig.m.writes());
                let map = rig.memory.guest_map(&mut rig.m, SLOT, 8, pfn, 4, RWX);
                assert_eq!(map, Err(Error::Perm));
                assert_eq!((free, writes), (rig.memory.pool_pages(), rig.m.writes()));
                rig.memory
                    .host_unshare_el2(&mut rig.m, pfn + bad)
                    .expect("it is shared");
                rig.settle();
                rig.check();
            }
            let map = rig.memory.guest_map(&mut rig.m, SLOT, 8, pfn, 4, RWX);
            assert_eq!(map, Ok(()));
            rig.settle();
            rig.check();
        });
    }
}

/// Refused for want of tables, a call has changed nothing; with pages donated it goes through.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn no_memory_changes_nothing() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            let map = rig.memory.guest_map(&mut rig.m, SLOT, 512, pfn, 512, RWX);
            assert_eq!(map, Ok(()));
            while rig.memory.page_take(&mut rig.m, Use::Vm).is_ok() {}
            let writes = rig.m.writes();
            let (memory, m) = (&mut rig.memory, &mut rig.m);
            let map = memory.guest_map(m, SLOT, 5, pfn + 600, 1, RWX);
            assert_eq!(map, Err(Error::NoMemory));
            if protected {
                let got = memory.guest_relinquish(m, SLOT, 600);
                assert_eq!(got, Err(Error::NoMemory));
            } else {
                let map = memory.guest_map(m, SLOT, 600, pfn + 88, 1, 0);
                assert_eq!(map, Err(Error::NoMemory));
            }
            let made = memory.guest_create(m, SLOT + 1, protected, BITS);
            assert_eq!(made, Err(Error::NoMemory));
            assert_eq!(writes, rig.m.writes());
            rig.settle();
            rig.check();
            donate(&mut rig, pfn + 1024, 16);
            let (memory, m) = (&mut rig.memory, &mut rig.m);
            assert_eq!(memory.guest_map(m, SLOT, 5, pfn + 600, 1, RWX), Ok(()));
            if protected {
                let got = memory.guest_relinquish(m, SLOT, 600);
                assert_eq!(got, Ok(pfn + 88));
            } else {
                let map = memory.guest_map(m, SLOT, 600, pfn + 88, 1, 0);
                assert_eq!(map, Ok(()));
            }
            rig.settle();
            rig.check();
            rig.guest_destroy(SLOT);
        });
    }
}
