// SPDX-License-Identifier: GPL-2.0
//! EL2's pool under guests: pages for the state of VMs, and what comes back of a donation.

use mvirt_abi::{Error, Stat};
use mvirt_hyp::addr::{Phys, K4};
use mvirt_hyp::machine::Machine;
use mvirt_hyp::memory::Denied;
use mvirt_hyp::page::{PageState, Use};
use mvirt_hyp::pool::RESERVE;
use mvirt_hyp::trap::Access;

use super::{with_rig, BITS, RWX, SLOT};
use crate::common::donate;

/// Pages for the state of VMs: zeroed, scrubbed, counted, and none out of the reserve.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn pages_for_objects() {
    with_rig::<K4>(|mut rig, pfn| {
        let free = rig.memory.pool_pages();
        for usage in [
            Use::None,
            Use::Free,
            Use::HostTable,
            Use::GuestTable,
            Use::Image,
        ] {
            let got = rig.memory.page_take(&mut rig.m, usage);
            assert_eq!(got, Err(Error::Invalid));
        }
        let mut pages = Vec::new();
        for usage in [Use::Vm, Use::Vcpu, Use::Vgic].into_iter().cycle() {
            match rig.memory.page_take(&mut rig.m, usage) {
                Ok(page) => {
                    let state = rig.memory.page(page.pfn::<K4>());
                    assert_eq!(state, Ok(PageState::el2(usage)));
                    let access = rig.access(0, page.raw(), Access::Read);
                    assert_eq!(access, Err(Denied::Owned));
                    // Without what the pool keeps in its pages; and then EL2 uses it.
                    assert!((0..512).all(|n| rig.m.read_desc(page, n) == 0));
                    rig.m.write_desc(page, 7, 0x5ec0);
                    pages.push(page);
                }
                Err(error) => {
                    assert_eq!(error, Error::NoMemory);
                    break;
                }
            }
        }
        rig.settle();
        rig.check();
        assert_eq!(rig.memory.pool_pages(), RESERVE);
        let bytes = rig.memory.stat(Stat::VmBytes);
        assert_eq!(bytes, Some((pages.len() as u64) << 12));
        for page in [Phys::new(pfn << 12), rig.memory.host_root()] {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Err(Error::Perm));
        }
        let beyond = rig.memory.page_give(&mut rig.m, Phys::new(0x0900_0000));
        assert_eq!(beyond, Err(Error::NoEntry));
        for &page in &pages {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
            assert_eq!(rig.m.read_desc(page, 7), 0);
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Err(Error::Perm));
        }
        rig.settle();
        rig.check();
        assert_eq!(rig.memory.pool_pages(), free);
    });
}

/// Donated pages that VMs use do not come back yet, and the host does not pay for the question.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn pages_in_use_are_not_reclaimed() {
    with_rig::<K4>(|mut rig, pfn| {
        // More than the reserve and what is kept for decoys, so that VMs get some of them too.
        donate(&mut rig, pfn, 32);
        let mut pages = Vec::new();
        while let Ok(page) = rig.memory.page_take(&mut rig.m, Use::Vm) {
            pages.push(page);
        }
        let donated = |page: &Phys| (pfn..pfn + 32).contains(&page.pfn::<K4>());
        let (stay, go): (Vec<Phys>, Vec<Phys>) = pages.into_iter().partition(donated);
        assert!(!stay.is_empty());
        for page in go {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
        }
        while let Ok((back, _)) = rig.memory.pool_reclaim(&mut rig.m) {
            assert!((pfn..pfn + 32).contains(&back));
        }
        assert_eq!(rig.memory.donated_pages(), stay.len() as u64);
        rig.settle();
        assert!(rig.access(0, (pfn + 700) << 12, Access::Read).is_ok());
        let (flushes, level) = (rig.m.flushes(), rig.leaf_level((pfn + 700) << 12));
        assert_eq!(rig.memory.pool_reclaim(&mut rig.m), Err(Error::Busy));
        assert_eq!(rig.m.flushes(), flushes);
        assert!(level.is_some());
        assert_eq!(rig.leaf_level((pfn + 700) << 12), level);
        for page in stay {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
            assert!(rig.memory.pool_reclaim(&mut rig.m).is_ok());
        }
        assert_eq!(rig.memory.donated_pages(), 0);
        rig.settle();
        rig.check();
    });
}

/// While a guest lives, donated pages that are tables of the host's stage 2 stay: the host's map is
/// neither searched nor taken down, however large it is. They come back when the guest is gone.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn tables_of_the_host_stay_while_there_is_a_guest() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, true, BITS).expect("room");
        let mut taken = Vec::new();
        while let Ok(page) = rig.memory.page_take(&mut rig.m, Use::Vm) {
            taken.push(page);
        }
        donate(&mut rig, pfn + 64, 24);
        // What is left of EL2's own comes first.
        for _ in 0..8 {
            taken.push(rig.memory.page_take(&mut rig.m, Use::Vm).expect("room"));
        }
        for n in 0..2 {
            let pfn = pfn + 600 + 512 * n;
            let map = rig.memory.guest_map(&mut rig.m, SLOT, n, pfn, 1, RWX);
            assert_eq!(map, Ok(()));
            rig.settle();
        }
        while rig.memory.pool_reclaim(&mut rig.m).is_ok() {
            rig.settle();
        }
        assert!(rig.memory.donated_pages() > 0);
        let before = (rig.m.flushes(), rig.m.writes());
        let tables = rig.memory.stat(Stat::HostTableBytes);
        let got = rig.memory.pool_reclaim(&mut rig.m);
        assert!(matches!(got, Err(Error::NoMemory | Error::Busy)), "{got:?}");
        assert_eq!((rig.m.flushes(), rig.m.writes()), before);
        assert_eq!(rig.memory.stat(Stat::HostTableBytes), tables);
        rig.guest_destroy(SLOT);
        for page in taken {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
        }
        while rig.memory.pool_reclaim(&mut rig.m).is_ok() {
            rig.settle();
        }
        assert_eq!(rig.memory.donated_pages(), 0);
        rig.check();
    });
}
