// SPDX-License-Identifier: GPL-2.0
//! The roots that guests begin with, and how they are taken apart.

use mvirt_abi::{Error, Stat};
use mvirt_hyp::addr::{Granule, Phys, K16, K4};
use mvirt_hyp::page::{PageState, Use};
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::{Config, Rig};

use super::{with_config, with_rig, BITS, RWX, SLOT, VMID};
use crate::common::{donate, small};

/// Roots of several tables come from the pool where it has an aligned run, and from a donation of
/// one where not.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn roots_of_several_tables() {
    fn run<G: Granule>(pa_bits: u32, tables: u64) {
        let config = Config {
            pa_bits,
            ..small::<G>()[0].config::<G>()
        };
        with_config::<G>(&config, |mut rig, pfn| {
            let before = rig.memory.pool_pages();
            // Home pages are taken first: what is left in the end are these, no two together.
            for n in 0..30 {
                donate(&mut rig, pfn + 2 * n + 1, 1);
            }
            let mut taken = Vec::new();
            while let Ok(page) = rig.memory.page_take(&mut rig.m, Use::Vm) {
                taken.push(page);
            }
            assert_eq!(rig.guest_create(SLOT, true, 40), Err(Error::NoMemory));
            // Two together, but not aligned.
            for n in 0..10 {
                donate(&mut rig, pfn + 101 + 4 * n, 2);
            }
            match rig.guest_create(SLOT, true, 40) {
                Ok(_) => assert_eq!((tables, rig.guest_destroy(SLOT)), (1, 2)),
                Err(error) => assert_eq!((tables > 1, error), (true, Error::NoMemory)),
            }
            rig.check();
            donate(&mut rig, pfn + 1024, 16);
            let regime = rig.guest_create(SLOT, true, 40).expect("an aligned run");
            assert_eq!(regime.ipa_bits, 40);
            rig.check();
            let held = rig.memory.stat(Stat::GuestTableBytes);
            assert_eq!(held, Some(tables << G::SHIFT));
            // In each of its tables.
            let limit = 1u64 << (40 - G::SHIFT);
            let mut gfns: Vec<u64> = (0..tables).map(|n| n * (limit / tables) + n).collect();
            gfns.push(limit - 1);
            for (n, &gfn) in gfns.iter().enumerate() {
                let pfn = pfn + 200 + n as u64;
                donate(&mut rig, pfn + 400 + 3 * n as u64, 4);
                let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, 1, RWX);
                assert_eq!(map, Ok(()), "{gfn:#x}");
                rig.settle();
                let got = rig.guest_access(0, SLOT, gfn << G::SHIFT, Access::Fetch);
                assert_eq!(got, Some(Phys::new(pfn << G::SHIFT)));
            }
            rig.check();
            rig.guest_destroy(SLOT);
            for page in taken {
                rig.memory.page_give(&mut rig.m, page).expect("it is EL2's");
            }
            while rig.memory.pool_reclaim(&mut rig.m).is_ok() {
                rig.settle();
            }
            assert_eq!(rig.memory.donated_pages(), 0);
            let tables = rig.memory.stat(Stat::HostTableBytes);
            assert!(tables.is_some() && rig.memory.pool_pages() + 8 >= before);
            rig.check();
        });
    }
    run::<K4>(40, 2);
    run::<K4>(44, 1);
    run::<K4>(48, 1);
    run::<K16>(40, 16);
    run::<K16>(44, 1);
    run::<K16>(48, 1);
}

/// Taking a guest apart goes in short steps, nothing else of it answers meanwhile, and everything
/// comes back: scrubbed, but for what it shared.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn taking_apart() {
    fn run<G: Granule>(protected: bool) {
        with_rig::<G>(|mut rig, pfn| {
            let stats = |rig: &Rig<'_, G>| {
                let memory = &rig.memory;
                [Stat::GuestTableBytes, Stat::GuestBytes, Stat::VmBytes].map(|s| memory.stat(s))
            };
            let (before, free) = (stats(&rig), rig.memory.pool_pages());
            rig.guest_create(SLOT, protected, BITS).expect("room");
            let pieces = [
                (512, pfn, 512),
                (3, pfn + 600, 90),
                (0x10_0000, pfn + 700, 1),
            ];
            for (gfn, pfn, nr) in pieces {
                let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, nr, RWX);
                assert_eq!(map, Ok(()));
            }
            rig.settle();
            for (_, pfn, nr) in pieces {
                for pfn in pfn..pfn + nr {
                    rig.m
                        .host_store(Phys::new(pfn << G::SHIFT), 0x5ec, pfn % 2 == 0);
                }
            }
            if protected {
                let got = rig.memory.guest_share_host(&mut rig.m, SLOT, 5);
                assert_eq!(got, Ok(pfn + 602));
                assert_eq!(rig.memory.stat(Stat::GuestBytes), Some(603 << G::SHIFT));
            }
            // A vCPU that ran has TLB entries on each CPU.
            for cpu in 0..4 {
                rig.guest_access(cpu, SLOT, 600 << G::SHIFT, Access::Read);
            }
            let (mut steps, mut more) = (0, true);
            while more {
                let (writes, owned) = (rig.m.writes(), rig.memory.stat(Stat::GuestBytes));
                more = rig.guest_destroy_step(SLOT).expect("it is there");
                rig.check();
                steps += 1;
                let back = owned.zip(rig.memory.stat(Stat::GuestBytes));
                let back = back.map_or(0, |(before, after)| before - after);
                assert!(back <= 48 << 10, "{back} bytes at once");
                assert!(rig.m.writes() - writes < 6000);
                if more {
                    let (memory, m) = (&mut rig.memory, &mut rig.m);
                    let map = memory.guest_map(m, SLOT, 9999, pfn + 800, 1, RWX);
                    assert_eq!(map, Err(Error::NoEntry));
                    assert_eq!(memory.guest_unmap(m, SLOT, 3, 1), Err(Error::NoEntry));
                    assert_eq!(memory.guest_share_host(m, SLOT, 3), Err(Error::Perm));
                    assert_eq!(memory.guest_relinquish(m, SLOT, 3), Err(Error::Perm));
                    let made = memory.guest_create(m, SLOT, true, BITS);
                    assert_eq!(made, Err(Error::Exists));
                    assert_eq!(memory.guests(), 1);
                }
            }
            assert!(steps < 300, "{steps} steps");
            assert_eq!((stats(&rig), rig.memory.guests()), (before, 0));
            for (_, first, nr) in pieces {
                for pfn in first..first + nr {
                    let at = pfn << G::SHIFT;
                    assert_eq!(rig.memory.page(pfn), Ok(PageState::HOST));
                    assert_eq!(rig.access(0, at, Access::Write), Ok(Phys::new(at)));
                    let page = Phys::new(at);
                    let seen = [true, false].map(|c| rig.m.host_load(page, c));
                    let shared = protected && pfn == pieces[1].1 + 2;
                    let kept = !protected || shared;
                    assert_eq!(seen.contains(&0x5ec), kept, "{pfn:#x}");
                }
            }
            // The host's own tables for what was split come and go with its blocks.
            let now = rig.memory.pool_pages();
            assert!(free - now <= 3, "{free} {now}");
            let made = rig.guest_create(SLOT, !protected, BITS);
            assert_eq!(made.map(|regime| regime.vmid()), Ok(VMID));
        });
    }
    for protected in [true, false] {
        run::<K4>(protected);
        run::<K16>(protected);
    }
}
