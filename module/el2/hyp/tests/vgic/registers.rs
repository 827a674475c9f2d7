// SPDX-License-Identifier: GPL-2.0
//! The registers one by one: sizes, fixed bits, what user space sees of them.

use mvirt_abi::{vgic, Error};
use mvirt_hyp::guest::sysreg::Sgi;
use mvirt_hyp::vgic::{Access, CpuInterface, Hardware, MmioResult, Vgic, PTIMER, VTIMER};

use crate::rig::{ready, vtr, DIST, REDIST, SGI_BASE};

fn read(vgic: &mut Vgic<'_>, ipa: u64, size: u64) -> u64 {
    let result = vgic.mmio(ipa, Access::Read { size }).unwrap();
    assert_eq!(result.wake, 0);
    result.value
}

fn write(vgic: &mut Vgic<'_>, ipa: u64, size: u64, value: u64) -> u64 {
    let result = vgic.mmio(ipa, Access::Write { size, value }).unwrap();
    assert_eq!(result.value, 0);
    result.wake
}

/// An interface that takes everything.
fn open() -> CpuInterface {
    let mut iface = CpuInterface::RESET;
    iface.vmcr |= 0xff << 24 | 3;
    iface
}

fn hw(nr_lrs: u64) -> Hardware {
    Hardware::from_vtr(vtr(nr_lrs))
}

#[test]
fn identification() {
    let mut vgic = ready(2, 96);
    for (ipa, size, value) in [
        // ARE and DS.
        (DIST, 4, 0x50),
        // 96 interrupts of 10 bits, no 1 of N.
        (DIST + 4, 4, 2 | 9 << 19 | 1 << 25),
        (DIST + 8, 4, 0x4b00_343b),
        (DIST + 0xc, 4, 0),
        (DIST + 0x10, 4, 0),
        (DIST + 0xffe8, 4, 0x3b),
        (DIST + 0xffd0, 4, 0),
        (REDIST, 4, 6),
        (REDIST + 4, 4, 0x4b00_043b),
        (REDIST + 8, 8, 0),
        (REDIST + 0x2_0008, 8, 1 << 32 | 1 << 8 | 1 << 4),
        (REDIST + 0x2_0008, 4, 1 << 8 | 1 << 4),
        (REDIST + 0x2_000c, 4, 1),
        (REDIST + 0x14, 4, 0),
        (REDIST + 0xffe8, 4, 0x3b),
        (REDIST + SGI_BASE + 0xc00, 4, 0xaaaa_aaaa),
        (REDIST + SGI_BASE + 0xc04, 4, 0),
        (REDIST + SGI_BASE + 0x100, 4, 0xffff),
        (REDIST + SGI_BASE + 0x80, 4, 0xffff_ffff),
    ] {
        assert_eq!(read(&mut vgic, ipa, size), value, "{ipa:#x}");
        // What tells of interrupts does so only after a sync.
        let fixed = !(REDIST + SGI_BASE..REDIST + 0x2_0000).contains(&ipa);
        let expected = fixed.then_some(value);
        assert_eq!(vgic.read_fixed(ipa, size), expected, "{ipa:#x}");
    }
    for (ipa, expected) in [
        (DIST + 0x100, None),
        (DIST + 0xffcc, None),
        (DIST + 0x1_0000, None),
        (DIST + 6, Some(0)),
    ] {
        assert_eq!(vgic.read_fixed(ipa, 4), expected, "{ipa:#x}");
    }
    // GICD_CTLR's fixed bits, and each vCPU has something to look at.
    assert_eq!(write(&mut vgic, DIST, 4, u64::MAX), 3);
    assert_eq!(read(&mut vgic, DIST, 4), 0x53);
    assert_eq!(write(&mut vgic, DIST, 4, 3), 0);
}

#[test]
fn sizes() {
    let mut vgic = ready(1, 96);
    let priorities = DIST + 0x400 + 40;
    write(&mut vgic, priorities, 4, 0xffff_ffff);
    assert_eq!(read(&mut vgic, priorities, 4), 0xf8f8_f8f8);
    write(&mut vgic, priorities + 1, 1, 0x1234);
    assert_eq!(read(&mut vgic, priorities, 4), 0xf8f8_30f8);
    assert_eq!(read(&mut vgic, priorities + 1, 1), 0x30);
    for size in [2, 8] {
        write(&mut vgic, priorities, size, 0);
        assert_eq!(read(&mut vgic, priorities, size), 0);
    }
    assert_eq!(read(&mut vgic, priorities, 4), 0xf8f8_30f8);
    // Unaligned, and too small.
    let enable = DIST + 0x104;
    write(&mut vgic, enable, 4, 0xf00d);
    for (ipa, size) in [
        (enable + 2, 4),
        (enable, 1),
        (enable, 2),
        (enable, 8),
        (enable + 1, 1),
    ] {
        write(&mut vgic, ipa, size, u64::MAX);
        assert_eq!(read(&mut vgic, ipa, size), 0);
    }
    assert_eq!(read(&mut vgic, enable, 4), 0xf00d);
    // The private ones are not the distributor's, and what is past the last is none's.
    for ipa in [
        DIST + 0x100,
        DIST + 0x10c,
        DIST + 0x17c,
        REDIST + SGI_BASE + 0x104,
    ] {
        write(&mut vgic, ipa, 4, 0xffff_ffff);
        assert_eq!(read(&mut vgic, ipa, 4), 0, "{ipa:#x}");
    }
    assert_eq!(read(&mut vgic, REDIST + SGI_BASE + 0x100, 4), 0xffff);
}

#[test]
fn routes() {
    let mut vgic = ready(3, 96);
    let router = DIST + 0x6000 + 40 * 8;
    write(&mut vgic, router, 8, 1 << 31 | 2);
    assert_eq!(read(&mut vgic, router, 8), 2);
    assert_eq!(read(&mut vgic, router, 4), 2);
    write(&mut vgic, router + 4, 4, 1);
    assert_eq!(read(&mut vgic, router, 8), 2);
    write(&mut vgic, router, 4, 1);
    assert_eq!(read(&mut vgic, router, 8), 1);
    write(&mut vgic, DIST + 0x104, 4, 1 << 8);
    assert_eq!(vgic.set_line(0, 40, 1), Ok(1 << 1));
    // To a CPU that there is not: it waits.
    for nobody in [5, 0x102, 0xff] {
        assert_eq!(write(&mut vgic, router, 4, nobody), 0);
        assert_eq!(write(&mut vgic, router, 4, 2), 1 << 2);
    }
    // Read back in whole all the same, but for Aff3 and Interrupt_Routing_Mode.
    write(&mut vgic, router, 8, 0x3_ff01_0203);
    assert_eq!(read(&mut vgic, router, 8), 0x01_0203);
    assert_eq!(read(&mut vgic, router + 8, 8), 0);
    // GICD_IROUTER0 to 31 are reserved.
    write(&mut vgic, DIST + 0x6000, 8, 1);
    assert_eq!(read(&mut vgic, DIST + 0x6000, 8), 0);
}

#[test]
fn sgis_go_where_they_are_sent() {
    let all = 0b111;
    for (sgi, value, group0, group1) in [
        (Sgi::Group1, 1 << 24 | 0b101, 0b101, 0b101),
        (Sgi::Group1, 1 << 24 | 1 << 40, 0b110, 0b110),
        (Sgi::Group0, 1 << 24 | 0b101, 0b101, 0),
        (Sgi::OtherGroup1, 1 << 24 | 0b101, 0b101, 0),
        // Aff1, Aff2, Aff3, RS; a CPU that there is not.
        (Sgi::Group1, 1 << 24 | 1 << 16 | all, 0, 0),
        (Sgi::Group1, 1 << 24 | 1 << 32 | all, 0, 0),
        (Sgi::Group1, 1 << 24 | 1 << 48 | all, 0, 0),
        (Sgi::Group1, 1 << 24 | 1 << 44 | all, 0, 0),
        (Sgi::Group1, 1 << 24 | 1 << 3, 0, 0),
    ] {
        for (group, expected) in [(0, group0), (1, group1)] {
            let mut vgic = ready(3, 64);
            for vcpu in 0..3 {
                let at = REDIST + vcpu * 0x2_0000 + SGI_BASE + 0x80;
                write(&mut vgic, at, 4, 0xffff_fffd | group << 1);
            }
            assert_eq!(
                vgic.sgi(0, sgi, value),
                expected,
                "{value:#x}, group {group}"
            );
            for vcpu in 0..3 {
                let at = REDIST + vcpu * 0x2_0000 + SGI_BASE + 0x200;
                let pending = u64::from(expected >> vcpu & 1 == 1) << 1;
                assert_eq!(read(&mut vgic, at, 4), pending);
            }
        }
    }
}

#[test]
fn lines_of_timers_are_not_the_hosts() {
    let mut vgic = ready(1, 64);
    for ppi in [VTIMER, PTIMER] {
        assert_eq!(vgic.set_line(0, ppi.into(), 1), Ok(0));
    }
    assert_eq!(read(&mut vgic, REDIST + SGI_BASE + 0x200, 4), 0);
    vgic.set_timer_line(0, PTIMER, true, None);
    assert_eq!(read(&mut vgic, REDIST + SGI_BASE + 0x200, 4), 1 << PTIMER);
}

#[test]
fn user_space_sees_latches() {
    let mut vgic = ready(1, 96);
    vgic.set_line(0, 40, 1).unwrap();
    let pending = DIST + 0x204;
    assert_eq!(read(&mut vgic, pending, 4), 1 << 8);
    assert_eq!(vgic.get(vgic::DIST_REG, 0x204), Ok(0));
    // A write sets the latches as they are to be, up and down; ICPENDR is nothing.
    vgic.set(vgic::DIST_REG, 0x204, 0b110, 40).unwrap();
    vgic.set(vgic::DIST_REG, 0x204, 0b011, 40).unwrap();
    vgic.set(vgic::DIST_REG, 0x284, 0b001, 40).unwrap();
    assert_eq!(vgic.get(vgic::DIST_REG, 0x204), Ok(0b011));
    assert_eq!(vgic.get(vgic::DIST_REG, 0x284), Ok(0));
    assert_eq!(read(&mut vgic, pending, 4), 1 << 8 | 0b011);
    // Levels: by 32, not of SGIs, not of edges.
    assert_eq!(vgic.get(vgic::LEVELS, 32), Ok(1 << 8));
    vgic.set(vgic::LEVELS, 0, u64::MAX, 40).unwrap();
    assert_eq!(vgic.get(vgic::LEVELS, 0), Ok(0xffff_0000));
    vgic.set(vgic::LEVELS, 32, 0b100, 40).unwrap();
    assert_eq!(read(&mut vgic, pending, 4), 0b111);
    write(&mut vgic, DIST + 0xc08, 4, 0b10_0000);
    assert_eq!(vgic.get(vgic::LEVELS, 32), Ok(0));
    for wrong in [1, 16, 1024] {
        assert_eq!(vgic.get(vgic::LEVELS, wrong), Err(Error::Invalid));
    }
    // All that there is not.
    for (attr, index) in [
        (vgic::DIST_REG, 0x14),
        (vgic::DIST_REG, 0x105),
        (vgic::DIST_REG, 0x1_0000),
        (vgic::REDIST_REG, 0x18),
        (vgic::REDIST_REG, 0x2_0000),
        (vgic::REDIST_REG, 0x1_6100),
        (99, 0),
    ] {
        assert_eq!(
            vgic.get(attr, index),
            Err(Error::NoAddress),
            "{attr} {index:#x}"
        );
    }
    assert_eq!(vgic.get(vgic::REDIST_REG, 1 << 32), Err(Error::Invalid));
}

#[test]
fn revisions() {
    let mut vgic = ready(1, 64);
    for (value, expected) in [
        (0x4b00_243b, Ok(())),
        (0x4b00_143b, Err(Error::Invalid)),
        (0x4b00_443b, Err(Error::Invalid)),
        (0x4b00_343c, Err(Error::Invalid)),
        (0x0100_343b, Err(Error::Invalid)),
    ] {
        assert_eq!(
            vgic.set(vgic::DIST_REG, 8, value, 40),
            expected,
            "{value:#x}"
        );
    }
    assert_eq!(read(&mut vgic, DIST + 8, 4), 0x4b00_243b);
    assert_eq!(read(&mut vgic, REDIST, 4), 0);
    // A guest does not change it.
    write(&mut vgic, DIST + 8, 4, 0x4b00_343b);
    assert_eq!(read(&mut vgic, DIST + 8, 4), 0x4b00_243b);
    assert_eq!(
        vgic.set(vgic::DIST_REG, 0xc, 0x100, 40),
        Err(Error::Invalid)
    );
    assert_eq!(vgic.set(vgic::DIST_REG, 0xc, 0, 40), Ok(()));
}

#[test]
fn soft_pending_behind_an_active_timer() {
    // With HW set, nothing would tell EL2 that the timer was ended.
    let mut vgic = ready(1, 64);
    let mut iface = open();
    write(&mut vgic, DIST, 4, 3);
    write(&mut vgic, REDIST + SGI_BASE + 0x100, 4, 1 << VTIMER);
    vgic.set_timer_line(0, VTIMER, true, Some(VTIMER));
    vgic.flush(0, &mut iface, &hw(4));
    let expected = 1 << 62 | 1 << 61 | 1 << 60 | u64::from(VTIMER) << 32 | u64::from(VTIMER);
    assert_eq!((iface.used, iface.lr[0]), (1, expected));
    assert!(!vgic.hw_active(0));
    // Acknowledged.
    iface.lr[0] ^= 3 << 62;
    assert_eq!(vgic.sync(0, &mut iface), 0);
    assert!(vgic.hw_active(0));
    write(&mut vgic, REDIST + SGI_BASE + 0x200, 4, 1 << VTIMER);
    vgic.flush(0, &mut iface, &hw(4));
    let expected = 1 << 63 | 1 << 60 | 1 << 41 | u64::from(VTIMER);
    assert_eq!((iface.used, iface.lr[0]), (1, expected));
}

#[test]
fn interface_registers() {
    let reg = |crn: u64, crm: u64, op2: u64| 3 << 14 | crn << 7 | crm << 3 | op2;
    let (ctlr, bpr1) = (reg(12, 12, 4), reg(12, 12, 3));
    let hw = hw(4);
    let mut iface = CpuInterface::RESET;
    for (register, value, expected) in [
        (reg(4, 6, 0), 0x1f8, 0xf8),
        (reg(12, 8, 3), 0xf, 7),
        (bpr1, 3, 3),
        (reg(12, 12, 6), 1, 1),
        (reg(12, 12, 7), 3, 1),
        (reg(12, 8, 4), 0xffff_ffff, 0xffff_ffff),
        (reg(12, 9, 0), 5, 5),
        (reg(12, 12, 5), 1, 7),
        (ctlr, 2 | 4 << 8 | 1 << 11, 2 | 4 << 8 | 1 << 11),
    ] {
        assert_eq!(
            iface.set_register(register, value, &hw),
            Ok(()),
            "{register:#x}"
        );
        assert_eq!(
            iface.get_register(register, &hw),
            Ok(expected),
            "{register:#x}"
        );
    }
    assert_eq!(
        iface.vmcr,
        0xf8 << 24 | 7 << 21 | 3 << 18 | 1 << 9 | 1 << 3 | 3
    );
    // More than there is; another answer to accesses; less is a value from an older machine.
    for wrong in [5 << 8, 4 << 8 | 2 << 11, 4 << 8 | 1 << 14, 4 << 8 | 1 << 15] {
        assert_eq!(
            iface.set_register(ctlr, wrong, &hw),
            Err(Error::Invalid),
            "{wrong:#x}"
        );
    }
    // With CBPR the one binary point counts for both groups.
    assert_eq!(iface.set_register(ctlr, 1, &hw), Ok(()));
    assert_eq!(iface.get_register(bpr1, &hw), Ok(7));
    iface.set_register(reg(12, 8, 3), 2, &hw).unwrap();
    iface.set_register(bpr1, 6, &hw).unwrap();
    assert_eq!(iface.get_register(bpr1, &hw), Ok(3));
    iface.set_register(ctlr, 0, &hw).unwrap();
    assert_eq!(iface.get_register(bpr1, &hw), Ok(3));
    // Five bits of preemption have one active priority register.
    for apr in [reg(12, 8, 5), reg(12, 9, 3)] {
        assert_eq!(iface.get_register(apr, &hw), Err(Error::Invalid));
        assert_eq!(iface.set_register(apr, 0, &hw), Err(Error::Invalid));
    }
    let seven = Hardware::from_vtr(6 << 29 | 6 << 26);
    assert_eq!(iface.set_register(reg(12, 9, 3), 1, &seven), Ok(()));
    assert_eq!(iface.ap1r, [5, 0, 0, 1]);
    assert_eq!(
        iface.set_register(reg(12, 12, 5), 6, &hw),
        Err(Error::Invalid)
    );
    assert_eq!(
        iface.get_register(reg(12, 12, 0), &hw),
        Err(Error::NoAddress)
    );
    assert_eq!(
        iface.set_register(reg(12, 11, 3), 0, &hw),
        Err(Error::NoAddress)
    );
}

#[test]
fn nothing_costs_nothing() {
    let mut vgic = ready(1, 64);
    let mut iface = open();
    vgic.flush(0, &mut iface, &hw(4));
    // En and TDIR; no list register, no maintenance.
    assert_eq!((iface.hcr, iface.used), (1 | 1 << 14, 0));
    assert_eq!(vgic.sync(0, &mut iface), 0);
    assert!(!vgic.is_pending(0, &iface));
    assert_eq!(MmioResult::default(), MmioResult { value: 0, wake: 0 });
    let hw = Hardware::from_vtr(0xf);
    assert_eq!((hw.nr_lrs, hw.traps_dir), (16, false));
    vgic.flush(0, &mut iface, &hw);
    assert_eq!(iface.hcr, 1);
}
