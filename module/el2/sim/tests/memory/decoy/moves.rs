// SPDX-License-Identifier: GPL-2.0
//! What a decoy shows, what moves it, and how pages come home without one.

use mvirt_abi::{Error, DECOYS_PER_CPU};
use mvirt_hyp::addr::{Granule, Ipa, Phys, K16, K4};
use mvirt_hyp::memory::{Denied, Outcome};
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::{program, Rig};

use super::{by_kernel, far, kernel, maps, on_each, CPUS};
use crate::common::donate;

fn zeros<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = far(rig);
    donate(rig, pfn, 512);
    let own = Phys::new(pfn << G::SHIFT);
    assert!(rig.access(0, own.raw(), Access::Read).is_err(), "a program");
    let (decoy, _) = kernel(rig, 0, pfn);
    assert_ne!(decoy, own);
    assert_eq!(rig.m.host_load(decoy, true), 0);
    // What it writes stays there until the decoy is somewhere else.
    rig.m.host_store(decoy, 77, true);
    assert_eq!(kernel(rig, 1, pfn), (decoy, false), "the other CPU's too");
    let mut seen = vec![decoy];
    for n in 1..20 {
        let (other, _) = kernel(rig, 0, pfn + n);
        assert_ne!(other, Phys::new((pfn + n) << G::SHIFT));
        for cacheable in [true, false] {
            assert_eq!(rig.m.host_load(other, cacheable), 0, "page {n}");
        }
        rig.m.host_store(other, n, n % 2 == 0);
        if !seen.contains(&other) {
            seen.push(other);
        }
        rig.check();
    }
    assert_eq!(seen.len(), DECOYS_PER_CPU, "its own");
    // It moved on: the first page has none now.
    assert!(!maps(rig, 0, pfn));
    assert!(rig.access(0, own.raw(), Access::Read).is_err());
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn the_kernel_reads_zeros_each_time() {
    on_each(zeros::<K4>, zeros::<K16>);
}

/// One decoy, and what moves it.
fn moves<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = far(rig);
    donate(rig, pfn, 64);
    let (decoy, _) = kernel(rig, 2, pfn);
    // Other CPUs' faults leave it where it is, be they as many as they are.
    for n in 1..40 {
        kernel(rig, [0, 1, 3][n as usize % 3], pfn + n);
    }
    assert_eq!(kernel(rig, 2, pfn), (decoy, false));
    // Nor do those of its own CPU, as long as others are idle or were mapped before.
    for n in 41..40 + DECOYS_PER_CPU as u64 {
        assert!(kernel(rig, 2, pfn + n).1);
        assert!(maps(rig, 2, pfn), "{n}");
    }
    assert_eq!(
        kernel(rig, 2, pfn + 40),
        (decoy, true),
        "the longest mapped"
    );
    assert!(!maps(rig, 2, pfn));
    let ipa = Ipa::new((pfn + 40) << G::SHIFT);
    // A program reads it, when it is there.
    assert_eq!(rig.access(0, ipa.raw(), Access::Read), Ok(decoy));
    assert_eq!(rig.access(0, ipa.raw(), Access::Write), Ok(decoy));
    // Nobody executes it, and asks for ever.
    for at in [ipa, Ipa::new(pfn << G::SHIFT)] {
        let fetches = [program(Access::Fetch), by_kernel(1, Access::Fetch)];
        for by in fetches {
            let got = rig.memory.host_fault(&mut rig.m, at, by);
            assert_eq!(got, Outcome::Denied(Denied::Owned), "{by:?}");
        }
        let got = rig.access(3, at.raw(), Access::Fetch);
        assert_eq!(got, Err(Denied::Owned));
    }
    // Two CPUs that met at the page: the second finds it mapped.
    for by in [by_kernel(3, Access::Read), program(Access::Read)] {
        let got = rig.memory.host_fault(&mut rig.m, ipa, by);
        assert_eq!(got, Outcome::Retry);
    }
    rig.check();
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_decoy_moves_for_its_own_cpu_alone() {
    on_each(moves::<K4>, moves::<K16>);
}

fn home<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = far(rig);
    donate(rig, pfn, 32);
    for n in 0..8 {
        kernel(rig, n as usize % CPUS, pfn + 4 * n);
    }
    loop {
        match rig.memory.pool_reclaim(&mut rig.m) {
            Ok((back, _)) => {
                rig.settle();
                rig.check();
                let ipa = back << G::SHIFT;
                for cpu in 0..CPUS {
                    let at = rig
                        .access(cpu, ipa, Access::Write)
                        .expect("the host's again");
                    assert_eq!(at, Phys::new(ipa), "CPU {cpu}");
                }
            }
            Err(Error::NoEntry) => break,
            Err(e) => panic!("{e:?}"),
        }
    }
    assert_eq!(rig.m.host_decoys(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_page_comes_home_without_one() {
    on_each(home::<K4>, home::<K16>);
}

/// Guests' pages: shared, relinquished, and when the guest is taken apart.
fn guests<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = far(rig);
    donate(rig, (pfn - 64) & !15, 32);
    rig.guest_create(0, true, 36).expect("room");
    for n in 0..3 {
        rig.memory
            .guest_map(&mut rig.m, 0, 16 + n, pfn + n, 1, 0)
            .expect("the host's alone");
    }
    rig.settle();
    for n in 0..3 {
        assert_ne!(kernel(rig, 0, pfn + n).0, Phys::new((pfn + n) << G::SHIFT));
    }
    let at = pfn << G::SHIFT;
    let own = Ok(Phys::new(at));
    for _ in 0..2 {
        rig.memory
            .guest_share_host(&mut rig.m, 0, 16)
            .expect("its own");
        rig.settle();
        assert_eq!(rig.access(1, at, Access::Write), own);
        rig.memory
            .guest_unshare_host(&mut rig.m, 0, 16)
            .expect("its own");
        rig.settle();
        assert_eq!(rig.access(1, at, Access::Write), Err(Denied::Owned));
        assert_ne!(Ok(kernel(rig, 1, pfn).0), own);
    }
    rig.memory
        .guest_relinquish(&mut rig.m, 0, 17)
        .expect("its own");
    rig.settle();
    rig.guest_destroy(0);
    rig.check();
    assert_eq!(rig.m.host_decoys(), 0);
    for n in 0..3 {
        let ipa = (pfn + n) << G::SHIFT;
        assert_eq!(rig.access(1, ipa, Access::Read), Ok(Phys::new(ipa)));
    }
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_guests_page_comes_home_without_one() {
    on_each(guests::<K4>, guests::<K16>);
}
