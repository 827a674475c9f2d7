// SPDX-License-Identifier: GPL-2.0
//! What the host's kernel meets where it has no right to look.

use crate::common::small;
use mvirt_abi::Error;
use mvirt_hyp::addr::{Granule, Ipa, Phys, K16, K4};
use mvirt_hyp::memory::Outcome;
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::Rig;

/// A page of the host's that is not near anything, and its pages up to `nr`.
fn donate<G: Granule>(rig: &mut Rig<'_, G>, nr: u64) -> u64 {
    let ram = rig.memory.ram();
    let range = (0..ram.nr())
        .filter_map(|n| ram.range(n))
        .max_by_key(|range| range.len())
        .expect("there is RAM");
    let pfn = (range.end - 600) & !511;
    rig.memory
        .pool_donate(&mut rig.m, pfn, nr)
        .expect("it is the host's alone");
    rig.settle();
    pfn
}

/// The kernel on `cpu` accesses a page: where it ends up.
fn kernel<G: Granule>(rig: &mut Rig<'_, G>, cpu: usize, pfn: u64) -> Phys {
    let ipa = Ipa::new(pfn << G::SHIFT);
    if let Some((phys, _)) = rig.m.host_translate(cpu, ipa) {
        return phys;
    }
    let outcome = rig.memory.host_fault(&mut rig.m, ipa, true);
    assert_eq!(outcome, Outcome::Mapped);
    rig.settle();
    rig.check();
    rig.m.host_translate(cpu, ipa).expect("it was mapped").0
}

fn on_each(test: impl Fn(&mut Rig<'_, K4>), test_16k: impl Fn(&mut Rig<'_, K16>)) {
    let layout = small::<K4>().swap_remove(0);
    layout
        .config::<K4>()
        .boot::<K4, _>(|mut rig| test(&mut rig))
        .expect("boots");
    let layout = small::<K16>().swap_remove(0);
    layout
        .config::<K16>()
        .boot::<K16, _>(|mut rig| test_16k(&mut rig))
        .expect("boots");
}

fn zeros<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = donate(rig, 512);
    let own = Phys::new(pfn << G::SHIFT);
    assert!(rig.access(0, own.raw(), Access::Read).is_err(), "a program");
    let decoy = kernel(rig, 0, pfn);
    assert_ne!(decoy, own);
    assert_eq!(rig.m.host_load(decoy, true), 0);
    // What it writes stays there until the decoy is somewhere else.
    rig.m.host_store(decoy, 77, true);
    assert_eq!(kernel(rig, 1, pfn), decoy, "the other CPU finds it mapped");
    let mut seen = vec![decoy];
    for n in 1..20 {
        let other = kernel(rig, n as usize % 4, pfn + n);
        assert_ne!(other, Phys::new((pfn + n) << G::SHIFT));
        assert_eq!(rig.m.host_load(other, true), 0, "page {n}");
        assert_eq!(
            rig.m.host_load(other, false),
            0,
            "page {n}, past the caches"
        );
        rig.m.host_store(other, n, true);
        if !seen.contains(&other) {
            seen.push(other);
        }
    }
    assert!(seen.len() > 1 && seen.len() < 20, "{} decoys", seen.len());
    // It moved on: the first page has none now.
    assert!(rig.m.host_translate(0, own.host_ipa()).is_none());
    assert!(rig.access(0, own.raw(), Access::Read).is_err());
}

#[test]
fn the_kernel_reads_zeros_each_time() {
    on_each(zeros::<K4>, zeros::<K16>);
}

fn home<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = donate(rig, 8);
    for n in 0..8 {
        kernel(rig, n as usize % 4, pfn + n);
    }
    loop {
        match rig.memory.pool_reclaim(&mut rig.m) {
            Ok((back, _)) => {
                rig.settle();
                rig.check();
                let ipa = back << G::SHIFT;
                for cpu in 0..4 {
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
}

#[test]
fn a_page_comes_home_without_one() {
    on_each(home::<K4>, home::<K16>);
}

/// Guests' pages: shared, relinquished, and when the guest is taken apart.
fn guests<G: Granule>(rig: &mut Rig<'_, G>) {
    let ram = rig.memory.ram();
    let range = ram.range(0).expect("there is RAM");
    let pfn = (range.end - 600) & !511;
    donate_below(rig, pfn - 64);
    rig.guest_create(0, true, 36).expect("room");
    for n in 0..3 {
        rig.memory
            .guest_map(&mut rig.m, 0, 16 + n, pfn + n, 1, 0)
            .expect("the host's alone");
    }
    rig.settle();
    for n in 0..3 {
        assert_ne!(kernel(rig, 0, pfn + n), Phys::new((pfn + n) << G::SHIFT));
    }
    rig.memory
        .guest_share_host(&mut rig.m, 0, 16)
        .expect("its own");
    rig.settle();
    rig.memory
        .guest_relinquish(&mut rig.m, 0, 17)
        .expect("its own");
    rig.settle();
    rig.guest_destroy(0);
    rig.check();
    for n in 0..3 {
        let ipa = (pfn + n) << G::SHIFT;
        assert_eq!(rig.access(1, ipa, Access::Read), Ok(Phys::new(ipa)));
    }
}

fn donate_below<G: Granule>(rig: &mut Rig<'_, G>, pfn: u64) {
    rig.memory
        .pool_donate(&mut rig.m, pfn & !15, 32)
        .expect("the host's alone");
    rig.settle();
}

#[test]
fn a_guests_page_comes_home_without_one() {
    on_each(guests::<K4>, guests::<K16>);
}
