// SPDX-License-Identifier: GPL-2.0
//! Interrupts whose ends the host hears of, case by case.

use mvirt_abi::{Error, LINE_PULSE, MAX_IRQS, WAKE_ENDED};
use mvirt_hyp::vgic::{Access, CpuInterface, Hardware, Vgic};

use crate::rig::{ready, routes, table, vtr, DIST};

const PENDING: u64 = 1 << 62;
const ACTIVE: u64 = 1 << 63;
const EOI: u64 = 1 << 41;

/// A GIC with all SPIs, whose vCPU 0 takes everything.
fn open() -> (Vgic<'static>, CpuInterface) {
    let mut vgic = ready(2, 1024);
    let mut iface = CpuInterface::RESET;
    iface.vmcr |= 0xff << 24 | 3;
    write(&mut vgic, 0, 3);
    for word in 1..32 {
        write(&mut vgic, 0x100 + 4 * word, u64::from(u32::MAX));
    }
    (vgic, iface)
}

fn write(vgic: &mut Vgic<'_>, offset: u64, value: u64) -> u64 {
    let access = Access::Write { size: 4, value };
    vgic.mmio(DIST + offset, access).unwrap().wake
}

fn hw() -> Hardware {
    Hardware::from_vtr(vtr(4))
}

/// The host's line goes up and the guest takes the interrupt: it is active in a list register.
fn raise_and_take(vgic: &mut Vgic<'_>, iface: &mut CpuInterface, intid: u64) {
    assert_eq!(vgic.set_line(0, intid, 1).unwrap() & !WAKE_ENDED, 1);
    vgic.flush(0, iface, &hw());
    assert_eq!(iface.lr[0] & (0x3ff | PENDING | EOI), intid | PENDING | EOI);
    iface.lr[0] ^= PENDING | ACTIVE;
}

fn goes_in_with(vgic: &mut Vgic<'_>, iface: &mut CpuInterface) -> usize {
    vgic.flush(0, iface, &hw());
    iface.used
}

#[test]
fn an_end_lowers_the_line_and_is_told_once() {
    let (mut vgic, mut iface) = open();
    vgic.set_resampled(40, 1).unwrap();
    for _ in 0..3 {
        raise_and_take(&mut vgic, &mut iface, 40);
        // It comes out before the end: nothing is told.
        assert_eq!(vgic.sync(0, &mut iface), 0);
        assert_eq!(vgic.take_ended(), (0, 0));
        vgic.flush(0, &mut iface, &hw());
        // The line is high behind the active state: the end comes to EL2.
        assert_eq!(iface.lr[0] & (PENDING | ACTIVE | EOI), ACTIVE | EOI);
        iface.lr[0] &= !ACTIVE;
        assert_eq!(vgic.sync(0, &mut iface), WAKE_ENDED);
        // Before the host has heard of it the guest goes on without the interrupt, and each answer
        // says that there is something to hear.
        assert_eq!(goes_in_with(&mut vgic, &mut iface), 0);
        assert_eq!(vgic.sync(0, &mut iface), WAKE_ENDED);
        assert_eq!(vgic.take_ended(), (32, 1 << 8));
        assert_eq!(vgic.take_ended(), (0, 0));
        assert_eq!(goes_in_with(&mut vgic, &mut iface), 0);
        assert_eq!(vgic.sync(0, &mut iface), 0);
    }
}

#[test]
fn a_line_that_goes_up_again_before_it_is_told_is_another_interrupt() {
    let (mut vgic, mut iface) = open();
    vgic.set_resampled(40, 1).unwrap();
    raise_and_take(&mut vgic, &mut iface, 40);
    iface.lr[0] &= !ACTIVE;
    assert_eq!(vgic.sync(0, &mut iface), WAKE_ENDED);
    assert_eq!(vgic.set_line(0, 40, 1), Ok(1 | WAKE_ENDED));
    assert_eq!(vgic.take_ended(), (32, 1 << 8));
    // Taken and ended, once more.
    assert_eq!(goes_in_with(&mut vgic, &mut iface), 1);
    iface.lr[0] &= !PENDING;
    assert_eq!(vgic.sync(0, &mut iface), WAKE_ENDED);
    assert_eq!(vgic.take_ended(), (32, 1 << 8));
}

#[test]
fn nothing_is_told_of_what_the_host_did_not_raise() {
    let (mut vgic, mut iface) = open();
    vgic.set_resampled(40, 1).unwrap();
    // Made pending by the guest itself.
    write(&mut vgic, 0x204, 1 << 8);
    assert_eq!(goes_in_with(&mut vgic, &mut iface), 1);
    iface.lr[0] &= !PENDING;
    assert_eq!(vgic.sync(0, &mut iface), 0);
    // Lowered by the host in time, and after the guest took it.
    raise_and_take(&mut vgic, &mut iface, 40);
    assert_eq!(vgic.set_line(0, 40, 0), Ok(1));
    iface.lr[0] &= !ACTIVE;
    assert_eq!(vgic.sync(0, &mut iface), 0);
    // An edge, whose line stays up.
    write(&mut vgic, 0xc00 + 4 * 2, 2 << 16);
    assert_eq!(vgic.set_line(0, 40, 1), Ok(1));
    assert_eq!(goes_in_with(&mut vgic, &mut iface), 1);
    iface.lr[0] &= !PENDING;
    assert_eq!(vgic.sync(0, &mut iface), 0);
    // One that nobody marked.
    assert_eq!(vgic.set_line(0, 41, 1), Ok(1));
    assert_eq!(goes_in_with(&mut vgic, &mut iface), 1);
    iface.lr[0] &= !PENDING;
    assert_eq!(vgic.sync(0, &mut iface), 0);
    assert_eq!(vgic.take_ended(), (0, 0));
}

#[test]
fn the_mark_goes_with_what_was_to_be_told() {
    let (mut vgic, mut iface) = open();
    for intid in [40, 41, 900] {
        vgic.set_resampled(intid, 1).unwrap();
        raise_and_take(&mut vgic, &mut iface, intid);
        iface.lr[0] &= !ACTIVE;
        assert_eq!(vgic.sync(0, &mut iface), WAKE_ENDED);
    }
    // A second mark takes nothing away.
    vgic.set_resampled(41, 1).unwrap();
    vgic.set_resampled(40, 0).unwrap();
    assert_eq!(vgic.take_ended(), (32, 1 << 9));
    vgic.set_resampled(900, 0).unwrap();
    assert_eq!(vgic.take_ended(), (0, 0));
    // 41 is still marked, 40 is not.
    raise_and_take(&mut vgic, &mut iface, 40);
    iface.lr[0] &= !ACTIVE;
    assert_eq!(vgic.sync(0, &mut iface), 0);
    assert_eq!(goes_in_with(&mut vgic, &mut iface), 1);
    assert_eq!(vgic.sync(0, &mut iface), 0);
    assert_eq!(vgic.set_line(0, 40, 0), Ok(0));
    raise_and_take(&mut vgic, &mut iface, 41);
    iface.lr[0] &= !ACTIVE;
    assert_eq!(vgic.sync(0, &mut iface), WAKE_ENDED);
}

#[test]
fn every_spi_is_told_word_by_word() {
    let (mut vgic, mut iface) = open();
    let last = u64::from(MAX_IRQS) - 1;
    for intid in 32..=last {
        vgic.set_resampled(intid, 1).unwrap();
        raise_and_take(&mut vgic, &mut iface, intid);
        iface.lr[0] &= !ACTIVE;
        assert_eq!(vgic.sync(0, &mut iface), WAKE_ENDED);
    }
    for first in (32..1024).step_by(32) {
        let all = if first == 992 { 0x0fff_ffff } else { u32::MAX };
        assert_eq!(vgic.take_ended(), (first, all));
    }
    assert_eq!(vgic.take_ended(), (0, 0));
}

/// ICACTIVER and ICC_DIR_EL1 end an interrupt as well, but only one that is active.
#[test]
fn other_ends() {
    let (mut vgic, mut iface) = open();
    iface.vmcr |= 1 << 9;
    vgic.set_resampled(40, 1).unwrap();
    for by_register in [true, false] {
        assert_eq!(vgic.set_line(0, 40, 1), Ok(1));
        for turn in 0..2 {
            let wake = if by_register {
                write(&mut vgic, 0x384, 1 << 8)
            } else {
                vgic.deactivate(1, &iface, 40)
            };
            if turn == 0 {
                // Pending: nothing to end.
                assert_eq!(wake & WAKE_ENDED, 0);
                vgic.flush(0, &mut iface, &hw());
                iface.lr[0] ^= PENDING | ACTIVE;
                assert_eq!(vgic.sync(0, &mut iface), 0);
            } else {
                assert_eq!(wake & WAKE_ENDED, WAKE_ENDED);
            }
        }
        assert_eq!(vgic.take_ended(), (32, 1 << 8));
        assert_eq!(goes_in_with(&mut vgic, &mut iface), 0);
        assert_eq!(vgic.sync(0, &mut iface), 0);
    }
}

#[test]
fn what_is_refused() {
    let mut vgic = Vgic::new(table(), routes());
    vgic.add_vcpu(0).unwrap();
    assert_eq!(vgic.set_resampled(40, 1), Err(Error::Busy));
    let mut vgic = ready(1, 96);
    for intid in [0, 15, 27, 31, 96, 1023, 1 << 32 | 40, u64::MAX] {
        assert_eq!(vgic.set_resampled(intid, 1), Err(Error::Invalid));
    }
    assert_eq!(vgic.set_resampled(40, 2), Err(Error::Invalid));
    assert_eq!(vgic.set_line(0, 40, LINE_PULSE + 1), Err(Error::Invalid));
    assert_eq!(vgic.set_line(0, 40, u64::MAX), Err(Error::Invalid));
}

#[test]
fn a_pulse_is_an_edge_and_no_level() {
    let (mut vgic, mut iface) = open();
    write(&mut vgic, 0xc00 + 4 * 2, 2 << 16);
    assert_eq!(vgic.set_line(0, 40, LINE_PULSE), Ok(1));
    // One wake for both flanks; level-sensitive: nothing is left.
    assert_eq!(vgic.set_line(0, 41, LINE_PULSE), Ok(0));
    assert_eq!(goes_in_with(&mut vgic, &mut iface), 1);
    assert_eq!(iface.lr[0] & (0x3ff | EOI), 40);
    assert_eq!(vgic.sync(0, &mut iface), 0);
    // A pulse lowers a line that was up.
    assert_eq!(vgic.set_line(0, 41, 1), Ok(1));
    assert_eq!(vgic.set_line(0, 41, LINE_PULSE), Ok(0));
    assert_eq!(goes_in_with(&mut vgic, &mut iface), 1);
}

/// Another vCPU writes ICACTIVER while the owner has the interrupt in a list register.
#[test]
fn an_end_from_elsewhere_is_told_when_the_owner_comes_out() {
    let (mut vgic, mut iface) = open();
    vgic.set_resampled(40, 1).unwrap();
    raise_and_take(&mut vgic, &mut iface, 40);
    assert_eq!(write(&mut vgic, 0x384, 1 << 8), 1);
    assert_eq!(vgic.sync(0, &mut iface), WAKE_ENDED);
    assert_eq!(vgic.take_ended(), (32, 1 << 8));
    assert_eq!(goes_in_with(&mut vgic, &mut iface), 0);
}

/// With EOImode 0 the guest ends what is in no list register: ICH_HCR_EL2.EOIcount.
#[test]
fn an_end_that_is_counted_is_told() {
    let (mut vgic, mut iface) = open();
    let one = Hardware::from_vtr(vtr(1));
    vgic.set_resampled(40, 1).unwrap();
    write(&mut vgic, 0x400 + 40, 0x80);
    raise_and_take(&mut vgic, &mut iface, 40);
    assert_eq!(vgic.sync(0, &mut iface), 0);
    assert_eq!(vgic.set_line(0, 41, 1), Ok(1));
    vgic.flush(0, &mut iface, &one);
    assert_eq!(iface.lr[0] & 0x3ff, 41);
    // It takes and ends 41, and then ends 40.
    iface.lr[0] &= !PENDING;
    iface.hcr |= 1 << 27;
    assert_eq!(vgic.sync(0, &mut iface), WAKE_ENDED);
    assert_eq!(vgic.take_ended(), (32, 1 << 8));
}
