// SPDX-License-Identifier: GPL-2.0
//! Conditions and deadlines, at the ends of the counter too.

use proptest::prelude::*;

use super::*;

#[test]
fn control() {
    let now = 1000;
    // (CTL, CVAL, CTL as read, level)
    let table = [
        (0, 0, 0, false),
        (1, 1001, 1, false),
        (1, 1000, 5, true),
        (1, 999, 5, true),
        (3, 999, 7, false),
        (2, 999, 2, false),
        (1, u64::MAX, 1, false),
        // ISTATUS and what is above are not written.
        (0xffff_fff4, 0, 0, false),
        (0xd, 2000, 1, false),
    ];
    for (ctl, cval, read, level) in table {
        let timer = Timer::new(ctl, cval);
        assert_eq!(timer.read(Register::Ctl, now), read, "{ctl:#x} {cval}");
        assert_eq!(timer.level(now), level, "{ctl:#x} {cval}");
        let mut written = Timer::default();
        written.write(Register::Ctl, ctl, now);
        written.write(Register::Cval, cval, now);
        assert_eq!(written, timer);
    }
}

#[test]
fn timer_value() {
    let mut timer = Timer::default();
    // (TVAL, now, CVAL)
    let table = [
        (100, 1000, 1100),
        (0xffff_ffff, 1000, 999),
        (0x7fff_ffff, 0, 0x7fff_ffff),
        (0x8000_0000, 0x1_0000_0000, 0x8000_0000),
        (0xabcd_0000_0000_0001, 5, 6),
        (0xffff_ffff, 0, u64::MAX),
        (2, u64::MAX, 1),
    ];
    for (tval, now, cval) in table {
        timer.write(Register::Tval, tval, now);
        assert_eq!(timer.read(Register::Cval, now), cval, "{tval:#x} at {now}");
        let read = timer.read(Register::Tval, now);
        assert_eq!(read, tval & 0xffff_ffff, "{tval:#x} at {now}");
    }
    // It counts down.
    timer.write(Register::Tval, 10, 100);
    assert_eq!(timer.read(Register::Tval, 104), 6);
    assert_eq!(timer.read(Register::Tval, 112), 0xffff_fffe);
}

#[test]
fn deadlines() {
    let now = 1000;
    // (CTL, CVAL, offset, deadline)
    let table = [
        (1, 1500, 0, 1500),
        (1, 900, 0, now),
        (1, 1500, 100, 1600),
        (1, 900, 100, now),
        (0, 1500, 0, NEVER),
        (3, 1500, 0, NEVER),
        (2, 1500, 0, NEVER),
        // An offset that wraps: the guest's counter is 200 ahead.
        (1, 1500, 200u64.wrapping_neg(), 1300),
        (1, u64::MAX, 0, NEVER),
        (1, u64::MAX, 100, NEVER),
    ];
    for (ctl, cval, offset, expected) in table {
        let got = Timer::new(ctl, cval).deadline(now, offset);
        assert_eq!(got, expected, "{ctl} {cval} {offset}");
    }
}

#[test]
fn the_first_deadline_wakes() {
    let at = |cval| Timer::new(1, cval);
    let off = Timer::default();
    assert_eq!(wake_at(&off, &off, None, 1000, 100), NEVER);
    // The virtual timer's is later by the offset, the physical one's is not.
    assert_eq!(wake_at(&at(2000), &off, None, 1000, 100), 2100);
    assert_eq!(wake_at(&off, &at(2000), None, 1000, 100), 2000);
    assert_eq!(wake_at(&at(1800), &at(2000), None, 1000, 100), 1900);
    // WFIT's limit is of the virtual counter; one that has passed ends it at once.
    assert_eq!(wake_at(&at(1800), &off, Some(1500), 1000, 100), 1600);
    assert_eq!(wake_at(&off, &off, Some(0), 1000, 100), 1000);
}

proptest! {
    /// The level rises at the deadline and not before.
    #[test]
    fn deadline_and_level_agree(cval: u64, now: u64, offset: u64) {
        let timer = Timer::new(1, cval);
        let at = timer.deadline(now, offset);
        if timer.level(now.wrapping_sub(offset)) {
            prop_assert_eq!(at, now);
        } else if at < NEVER {
            prop_assert!(at > now);
            prop_assert!(timer.level(at.wrapping_sub(offset)));
            prop_assert!(!timer.level((at - 1).wrapping_sub(offset)));
        }
    }
}

#[test]
fn a_sleeper_is_woken_by_the_next_timer_that_is_not_due() {
    let on = |cval| Timer::new(ENABLE, cval);
    let off = Timer::new(0, 5);
    let masked = Timer::new(ENABLE | IMASK, 500);
    // The virtual counter is 100 behind.
    assert_eq!(next_at(&on(200), &on(350), 250, 100), 300);
    assert_eq!(next_at(&on(200), &on(280), 250, 100), 280);
    assert_eq!(next_at(&on(100), &on(350), 250, 100), 350);
    assert_eq!(next_at(&on(100), &on(250), 250, 100), NEVER);
    assert_eq!(next_at(&off, &masked, 250, 100), NEVER);
}
