// SPDX-License-Identifier: GPL-2.0
//! How a GIC is made: what KVM's selftest vgic_init asks of addresses and regions.

use mvirt_abi::{vgic, Error, MAX_VCPUS};
use mvirt_hyp::vgic::{Access, Vgic};

use crate::rig::{routes, table};

const BITS: u32 = 40;
const TOP: u64 = 1 << BITS;
const GICR_TYPER: u64 = 8;

fn with_vcpus(ids: &[usize]) -> Vgic<'static> {
    let mut vgic = Vgic::new(table(), routes());
    for id in ids {
        vgic.add_vcpu(*id).unwrap();
    }
    vgic
}

fn set(vgic: &mut Vgic<'_>, attr: u64, value: u64) -> Result<(), Error> {
    vgic.set(attr, 0, value, BITS)
}

fn region(count: u64, base: u64, flags: u64, index: u64) -> u64 {
    count << 52 | base | flags << 12 | index
}

fn add(vgic: &mut Vgic<'_>, count: u64, base: u64, index: u64) -> Result<(), Error> {
    set(vgic, vgic::REDIST_REGION, region(count, base, 0, index))
}

fn typer(vgic: &mut Vgic<'_>, vcpu: u64) -> Result<u64, Error> {
    vgic.get(vgic::REDIST_REG, vcpu << 32 | GICR_TYPER)
}

#[test]
fn number_of_interrupts() {
    let mut vgic = with_vcpus(&[0]);
    for wrong in [0, 32, 63, 65, 96 + 16, 1056, 1 << 32] {
        assert_eq!(
            set(&mut vgic, vgic::NR_IRQS, wrong),
            Err(Error::Invalid),
            "{wrong}"
        );
    }
    assert_eq!(set(&mut vgic, vgic::NR_IRQS, 1024), Ok(()));
    assert_eq!(set(&mut vgic, vgic::NR_IRQS, 64), Err(Error::Busy));
    assert_eq!(vgic.get(vgic::NR_IRQS, 0), Ok(1024));
    set(&mut vgic, vgic::INIT, 0).unwrap();
    // The last four INTIDs are none, though GICD_TYPER counts by 32.
    assert_eq!(vgic.get(vgic::DIST_REG, 4).unwrap() & 0x1f, 31);
    assert_eq!(vgic.set_line(0, 1019, 1), Ok(0));
    assert_eq!(vgic.set_line(0, 1020, 1), Err(Error::Invalid));

    let mut other = with_vcpus(&[0]);
    set(&mut other, vgic::INIT, 0).unwrap();
    assert_eq!(other.get(vgic::NR_IRQS, 0), Ok(256));
    assert_eq!(set(&mut other, vgic::NR_IRQS, 64), Err(Error::Busy));
}

#[test]
fn one_region() {
    let mut vgic = with_vcpus(&[0]);
    for attr in [vgic::DIST, vgic::REDIST] {
        assert_eq!(set(&mut vgic, attr, 0x1000), Err(Error::Invalid));
        assert_eq!(set(&mut vgic, attr, TOP), Err(Error::TooBig));
        assert_eq!(set(&mut vgic, attr, !0xffff), Err(Error::Invalid));
        assert_eq!(vgic.get(attr, 0), Ok(u64::MAX));
    }
    // Room for half a redistributor, enough for the distributor.
    assert_eq!(
        set(&mut vgic, vgic::REDIST, TOP - 0x1_0000),
        Err(Error::TooBig)
    );
    assert_eq!(set(&mut vgic, vgic::REDIST, 0), Ok(()));
    assert_eq!(set(&mut vgic, vgic::REDIST, 0xe_0000), Err(Error::Exists));
    assert_eq!(add(&mut vgic, 4, 0x10_0000, 0), Err(Error::Invalid));
    assert_eq!(add(&mut vgic, 4, 0x10_0000, 1), Err(Error::Invalid));
    // An overlap with the distributor shows when it is to run.
    assert_eq!(vgic.expect_complete(BITS), Err(Error::NoAddress));
    assert_eq!(set(&mut vgic, vgic::DIST, 0x1_0000), Ok(()));
    assert_eq!(set(&mut vgic, vgic::DIST, 0x100_0000), Err(Error::Exists));
    assert_eq!(vgic.expect_complete(BITS), Err(Error::Invalid));
}

#[test]
fn one_region_meets_the_distributor() {
    let mut vgic = with_vcpus(&[0]);
    set(&mut vgic, vgic::DIST, 0x1_0000).unwrap();
    assert_eq!(set(&mut vgic, vgic::REDIST, 0), Err(Error::Invalid));
    assert_eq!(set(&mut vgic, vgic::REDIST, 0x2_0000), Ok(()));
    assert_eq!(vgic.expect_complete(BITS), Err(Error::Busy));
    set(&mut vgic, vgic::INIT, 0).unwrap();
    assert_eq!(vgic.expect_complete(BITS), Ok(()));
}

#[test]
fn one_region_grows_past_the_top() {
    let mut vgic = with_vcpus(&[0]);
    set(&mut vgic, vgic::REDIST, TOP - 3 * 0x2_0000).unwrap();
    set(&mut vgic, vgic::DIST, 0).unwrap();
    for n in 1..4 {
        vgic.add_vcpu(n).unwrap();
    }
    set(&mut vgic, vgic::INIT, 0).unwrap();
    assert_eq!(vgic.expect_complete(BITS), Err(Error::Invalid));
}

#[test]
fn regions() {
    let mut vgic = with_vcpus(&[0, 1, 2, 3]);
    let flags = region(4, 0x10_0000, 1, 0);
    assert_eq!(
        set(&mut vgic, vgic::REDIST_REGION, flags),
        Err(Error::Invalid)
    );
    assert_eq!(add(&mut vgic, 0, 0x10_0000, 0), Err(Error::Invalid));
    assert_eq!(add(&mut vgic, 2, 0x20_0000, 1), Err(Error::Invalid));
    assert_eq!(add(&mut vgic, 2, 0x20_0000, 0), Ok(()));
    assert_eq!(add(&mut vgic, 2, 0x20_0000, 1), Err(Error::Invalid));
    assert_eq!(add(&mut vgic, 1, 0x21_0000, 1), Err(Error::Invalid));
    assert_eq!(add(&mut vgic, 1, 0x24_0000, 2), Err(Error::Invalid));
    assert_eq!(add(&mut vgic, 1, 0x24_0000, 1), Ok(()));
    assert_eq!(add(&mut vgic, 1, TOP, 2), Err(Error::TooBig));
    assert_eq!(add(&mut vgic, 2, TOP - 0x3_0000, 2), Err(Error::TooBig));
    assert_eq!(set(&mut vgic, vgic::REDIST, 0x26_0000), Err(Error::Invalid));
    for (index, expected) in [
        (0, Ok(region(2, 0x20_0000, 0, 0))),
        (1, Ok(region(1, 0x24_0000, 0, 1))),
        (2, Err(Error::NoEntry)),
    ] {
        assert_eq!(vgic.get(vgic::REDIST_REGION, index), expected);
    }
    assert_eq!(set(&mut vgic, vgic::DIST, 0x26_0000), Ok(()));
    assert_eq!(add(&mut vgic, 1, 0x26_0000, 2), Err(Error::Invalid));
    // Three places for four.
    set(&mut vgic, vgic::INIT, 0).unwrap();
    assert_eq!(vgic.expect_complete(BITS), Err(Error::NoAddress));
    assert_eq!(add(&mut vgic, 1, 0x28_0000, 2), Ok(()));
    assert_eq!(vgic.expect_complete(BITS), Ok(()));
}

#[test]
fn as_many_regions_as_vcpus() {
    let mut vgic = with_vcpus(&[0]);
    for n in 0..MAX_VCPUS as u64 {
        assert_eq!(add(&mut vgic, 1, n * 0x2_0000, n), Ok(()));
    }
    let n = MAX_VCPUS as u64;
    assert_eq!(add(&mut vgic, 1, n * 0x2_0000, n), Err(Error::Invalid));
}

#[test]
fn begun_by_any_attribute() {
    for attr in [vgic::NR_IRQS, vgic::DIST, vgic::REDIST, vgic::INIT] {
        let mut vgic = with_vcpus(&[0]);
        assert!(!vgic.is_begun());
        let value = if attr == vgic::NR_IRQS { 64 } else { 0x1_0000 };
        set(&mut vgic, attr, value).unwrap();
        assert!(vgic.is_begun(), "{attr}");
    }
}

#[test]
fn vcpus() {
    let mut vgic = with_vcpus(&[]);
    assert_eq!(set(&mut vgic, vgic::INIT, 0), Err(Error::NoEntry));
    assert_eq!(vgic.add_vcpu(MAX_VCPUS), Err(Error::Invalid));
    vgic.add_vcpu(3).unwrap();
    assert_eq!(vgic.add_vcpu(3), Err(Error::Invalid));
    assert_eq!(typer(&mut vgic, 1), Err(Error::Invalid));
    assert_eq!(typer(&mut vgic, 3), Err(Error::Busy));
    assert_eq!(vgic.set_line(3, 16, 1), Err(Error::Busy));
    assert!(!vgic.is_ready());
    set(&mut vgic, vgic::INIT, 0).unwrap();
    assert!(vgic.is_ready());
    assert_eq!(set(&mut vgic, vgic::INIT, 0), Ok(()));
    assert_eq!(vgic.add_vcpu(1), Err(Error::Busy));
    assert_eq!(vgic.set_line(1, 16, 1), Err(Error::Invalid));
    assert_eq!(vgic.set_line(3, 15, 1), Err(Error::Invalid));
    assert_eq!(vgic.set_line(3, 16, 1), Ok(0));
}

#[test]
fn typer_tells_the_last_of_each_run() {
    let mut vgic = with_vcpus(&[0, 3, 1, 2]);
    set(&mut vgic, vgic::INIT, 0).unwrap();
    let all = |vgic: &mut Vgic<'_>| {
        [0, 1, 2, 3].map(|n| typer(vgic, n).map(|value| value as u32).unwrap())
    };
    assert_eq!(all(&mut vgic), [0, 0x100, 0x200, 0x300]);
    add(&mut vgic, 2, 0x20_0000, 0).unwrap();
    assert_eq!(all(&mut vgic), [0, 0x100, 0x200, 0x310]);
    assert_eq!(add(&mut vgic, 10, 0x10_0000, 1), Err(Error::Invalid));
    add(&mut vgic, 10, 0x2_0000, 1).unwrap();
    assert_eq!(all(&mut vgic), [0, 0x100, 0x210, 0x310]);
}

#[test]
fn typer_where_regions_touch() {
    let mut vgic = with_vcpus(&[0, 3, 5, 4, 1, 2]);
    set(&mut vgic, vgic::INIT, 0).unwrap();
    add(&mut vgic, 2, 0x10_0000, 0).unwrap();
    add(&mut vgic, 2, 0x24_0000, 1).unwrap();
    add(&mut vgic, 2, 0x20_0000, 2).unwrap();
    let expected = [
        (0, 0x000),
        (1, 0x100),
        (2, 0x200),
        (3, 0x310),
        (5, 0x500),
        (4, 0x410),
    ];
    for (vcpu, value) in expected {
        assert_eq!(
            typer(&mut vgic, vcpu).unwrap() & 0xffff_ffff,
            value,
            "{vcpu}"
        );
    }
    // One region for all.
    let mut vgic = with_vcpus(&[0, 3, 5, 4, 1, 2]);
    set(&mut vgic, vgic::INIT, 0).unwrap();
    set(&mut vgic, vgic::REDIST, 0x1_0000).unwrap();
    for vcpu in 0..6 {
        let last = u64::from(vcpu == 2) << 4;
        assert_eq!(
            typer(&mut vgic, vcpu).unwrap() & 0xffff_ffff,
            vcpu << 8 | last
        );
    }
}

#[test]
fn frames_are_where_they_were_put() {
    let mut vgic = with_vcpus(&[2, 0, 1]);
    set(&mut vgic, vgic::DIST, 0x800_0000).unwrap();
    add(&mut vgic, 1, 0x900_0000, 0).unwrap();
    add(&mut vgic, 8, 0xa00_0000, 1).unwrap();
    // Before INIT there is no GIC for a guest.
    assert!(!vgic.covers(0x800_0000));
    assert_eq!(vgic.mmio(0x800_0000, Access::Read { size: 4 }), None);
    set(&mut vgic, vgic::INIT, 0).unwrap();
    let affinity = |vgic: &mut Vgic<'_>, base: u64| {
        let result = vgic.mmio(base + GICR_TYPER, Access::Read { size: 8 })?;
        Some(result.value >> 32)
    };
    for (base, vcpu) in [
        (0x900_0000, Some(2)),
        (0x902_0000, None),
        (0xa00_0000, Some(0)),
        (0xa02_0000, Some(1)),
        (0xa04_0000, None),
        (0x9fe_0000, None),
    ] {
        assert_eq!(affinity(&mut vgic, base), vcpu, "{base:#x}");
        assert_eq!(vgic.covers(base), vcpu.is_some());
        assert_eq!(vgic.covers(base + 0x1_ffff), vcpu.is_some());
    }
    assert!(vgic.covers(0x800_ffff) && !vgic.covers(0x801_0000) && !vgic.covers(0x7ff_ffff));
}
