// SPDX-License-Identifier: GPL-2.0
//! Each class of exception, with syndromes worked out by hand from the Arm ARM.

use std::vec::Vec;

use super::*;
use crate::trap::Encoding;

const EL1H: u64 = 0x3c5;

fn esr(ec: u64, iss: u64) -> u64 {
    (ec << 26) | (1 << 25) | iss
}

fn decode(ec: u64, iss: u64) -> Event {
    Event::decode(esr(ec, iss), EL1H)
}

fn failed(failure: Failure, ec: u64) -> Event {
    Event::Failed(failure, ec as u8)
}

#[test]
fn calls_and_registers() {
    assert_eq!(decode(0x16, 3), Event::Hvc { imm: 3 });
    assert_eq!(decode(0x17, 0), Event::Smc { imm: 0 });
    // mrs x7, midr_el1
    let access = SysregAccess {
        register: Encoding::new(3, 0, 0, 0, 0),
        rt: 7,
        is_read: true,
    };
    let iss = 3 << 20 | 7 << 5 | 1;
    assert_eq!(decode(0x18, iss), Event::Sysreg(access));
    assert_eq!(u64::from(access.iss()), iss);
}

#[test]
fn waits() {
    let wait = |iss| match decode(0x01, iss) {
        Event::Wait(wfx) => (wfx.is_event, wfx.limit),
        other => panic!("{other:?}"),
    };
    let rn = 19 << 5;
    assert_eq!(wait(0), (false, None));
    assert_eq!(wait(1), (true, None));
    assert_eq!(wait(rn | 1 << 2 | 2), (false, Some(19)));
    assert_eq!(wait(rn | 1 << 2 | 3), (true, Some(19)));
    // RV clear: the register is not valid.
    assert_eq!(wait(rn | 2), (false, None));
    // RN without a limit means nothing.
    assert_eq!(wait(rn | 1 << 2), (false, None));
}

/// What each class is, with an ISS of 0.
#[test]
fn every_class() {
    let of = |what: fn(&Event) -> bool| -> Vec<u64> {
        (0..64).filter(|ec| what(&decode(*ec, 0))).collect()
    };
    let undefined = [0x00, 0x09, 0x0a, 0x14, 0x19, 0x1b, 0x1d, 0x2d];
    assert_eq!(of(|e| *e == Event::Undefined), undefined);
    assert_eq!(of(|e| *e == Event::FpSimd), [0x07]);
    assert_eq!(of(|e| matches!(e, Event::Memory(_))), [0x20, 0x24]);
    let illegal = |e: &Event| matches!(e, Event::Failed(Failure::IllegalState, _));
    assert_eq!(of(illegal), [0x0e]);
    let unexpected = |e: &Event| matches!(e, Event::Failed(Failure::UnexpectedTrap, _));
    // 64 less the above and WFx, HVC, SMC, System registers.
    assert_eq!(of(unexpected).len(), 64 - 8 - 1 - 2 - 1 - 4);
    // The class goes to the host.
    assert_eq!(decode(0x3c, 0), failed(Failure::UnexpectedTrap, 0x3c));
    assert_eq!(decode(0x3f, 0), failed(Failure::UnexpectedTrap, 0x3f));
}

#[test]
fn pstates() {
    for legal in [0x0, 0x4, 0x5, 0x3c5, 0xf000_0000 | 1 << 22] {
        assert!(is_legal(legal), "{legal:#x}");
    }
    // AArch32 User and Supervisor; EL2, EL3, reserved.
    for illegal in [
        0x10, 0x13, 0x1f, 0x8, 0x9, 0xc, 0xd, 0x1, 0x2, 0x6, 0x7, 0xf,
    ] {
        assert!(!is_legal(illegal), "{illegal:#x}");
        let got = Event::decode(esr(0x16, 0), illegal);
        assert_eq!(got, failed(Failure::IllegalState, 0x16), "{illegal:#x}");
    }
}

fn access(ec: u64, iss: u64) -> Access {
    match decode(ec, iss) {
        Event::Memory(access) => access,
        other => panic!("{other:?}"),
    }
}

#[test]
fn aborts_by_fault() {
    let abort = |fsc| match Trap::decode(esr(0x24, fsc)) {
        Ok(Trap::Abort(abort)) => abort,
        other => panic!("{other:?}"),
    };
    for fsc in (0x00..=0x0f).chain([0x29, 0x2a, 0x2b, 0x2c]) {
        assert_eq!(access(0x24, fsc).abort.fault, abort(fsc).fault, "{fsc:#x}");
    }
    for fsc in [0x10, 0x18, 0x31, 0x35] {
        assert_eq!(decode(0x24, fsc), Event::External(abort(fsc)), "{fsc:#x}");
    }
    for fsc in [0x12, 0x13, 0x14, 0x17, 0x1b, 0x1f, 0x24, 0x28] {
        let expected = failed(Failure::MemoryError, 0x24);
        assert_eq!(decode(0x24, fsc), expected, "{fsc:#x}");
    }
    for fsc in [0x11, 0x21, 0x30, 0x34, 0x19, 0x3f] {
        let expected = failed(Failure::UnexpectedTrap, 0x24);
        assert_eq!(decode(0x24, fsc), expected, "{fsc:#x}");
    }
    assert!(access(0x24, 0x0f).is_permission() && !access(0x24, 0x07).is_permission());
}

/// The bits of the contract that the host reads.
#[test]
fn exit_bits() {
    use mvirt_abi::abort::*;
    let isv = 1 << 24;
    let table = [
        (0x24, 0x07, false, 0),
        (0x24, 0x07 | 1 << 6, false, WRITE),
        (0x20, 0x07, false, FETCH),
        (0x20, 0x0f, false, FETCH | PERMISSION),
        (0x24, isv | 0x07, false, DECODED),
        (
            0x24,
            isv | 0x07 | 1 << 6 | 2 << 22,
            true,
            DECODED | WRITE | GUARDED | 2 << SIZE_SHIFT,
        ),
        (
            0x24,
            isv | 0x07 | 3 << 22,
            true,
            DECODED | GUARDED | 3 << SIZE_SHIFT,
        ),
        // A walk: the registers say nothing of the instruction.
        (0x24, isv | 0x06 | 1 << 7, false, TABLE_WALK),
        (
            0x24,
            0x0e | 1 << 7 | 1 << 6,
            false,
            TABLE_WALK | WRITE | PERMISSION,
        ),
        // Cache maintenance.
        (0x24, isv | 0x07 | 1 << 8 | 1 << 6, false, WRITE),
    ];
    for (ec, iss, guarded, expected) in table {
        assert_eq!(
            access(ec, iss).exit_bits(guarded),
            expected,
            "{ec:#x} {iss:#x}"
        );
    }
}
