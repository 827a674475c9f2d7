// SPDX-License-Identifier: GPL-2.0
//! The short way against the long one.

use super::*;
use crate::guest::event::Event;
use crate::guest::idregs::{GuestIds, SystemIds};
use crate::guest::psci::{Action, Context as Call, Power};
use crate::guest::services::Workarounds;
use crate::guest::sysreg::{Outcome, State};

const EL1: u64 = 0x3c5;

fn ids() -> GuestIds {
    let mut system = SystemIds::new();
    assert!(system.fold(|register| 0x1111_1111_1111_1111 * (register as u64 % 3 + 1)));
    let ids = GuestIds::new(&system).unwrap();
    // What the tests below compare is not all 0.
    assert_ne!(ids.feature(4, 0, true), ids.feature(4, 0, false));
    assert_ne!(ids.feature(6, 0, true), Some(0));
    ids
}

fn offer(protected: bool) -> Offer {
    Offer {
        protected,
        granule: 0x1000,
        ipa_bits: 40,
        has_trng: protected,
        workarounds: Workarounds::default(),
    }
}

fn frame(pstate: u64) -> Frame {
    Frame {
        x: core::array::from_fn(|n| 0x100 + n as u64),
        elr: 0x4000_1000,
        spsr: pstate,
        reserved: 0,
    }
}

fn same(a: &Frame, b: &Frame) -> bool {
    (a.x, a.elr, a.spsr) == (b.x, b.elr, b.spsr)
}

/// Each syndrome of the class, register and direction, at any PSTATE: the general path's answer, or
/// nothing.
#[test]
fn id_registers_are_read_as_the_general_path_reads_them() {
    let ids = ids();
    let mut answered = 0;
    for iss in 0..1u64 << 22 {
        // Of the general-purpose registers, some.
        if !matches!(iss >> 5 & 0x1f, 0 | 7 | 30 | 31) {
            continue;
        }
        let esr = 0x18 << 26 | 1 << 25 | iss;
        let context = Context {
            ids: &ids,
            has_gic: iss & 1 << 17 != 0 || iss & 1 << 1 != 0,
        };
        // BTYPE and SS are set before.
        let before = frame(EL1 | 0b11 << 10 | 1 << 21);
        let mut quick = before;
        if !answer(&mut quick, esr, &offer(true), &context) {
            assert!(same(&quick, &before), "{esr:#x}");
            continue;
        }
        answered += 1;
        let Event::Sysreg(access) = Event::decode(esr, before.spsr) else {
            panic!("{esr:#x} is no register");
        };
        let outcome = State::default().access(access, 0, &context);
        let Outcome::Value(value) = outcome else {
            panic!("{esr:#x}: {outcome:?}");
        };
        let mut long = before;
        long.set_gp(access.rt, value);
        long.elr += 4;
        long.spsr = EL1;
        assert!(same(&quick, &long), "{esr:#x}");
    }
    assert_eq!(answered, 7 * 8 * 4);
}

#[test]
fn calls_are_answered_as_the_general_path_answers_them() {
    let ids = ids();
    let context = Context {
        ids: &ids,
        has_gic: true,
    };
    let mut answered = 0;
    for protected in [false, true] {
        let offer = offer(protected);
        for id in (0..=0xff_u64).flat_map(|owner| {
            let numbers = (0..0x60).chain([0x3fff, 0x7fff, 0x8000, 0xa000, 0xff01, 0x1234]);
            numbers.map(move |n| owner << 24 | n)
        }) {
            let mut before = frame(EL1);
            before.x[0] = id;
            let mut quick = before;
            let done = answer(&mut quick, HVC_0, &offer, &context);
            let [x0, x1, x2, x3, ..] = before.x;
            let values = match classify(0, [x0, x1, x2, x3], &offer) {
                Service::Answer(values) => Some(values),
                Service::Psci(function) => {
                    let call = Call {
                        caller: 0,
                        big_endian: false,
                        ipa_bits: 40,
                        may_suspend: false,
                    };
                    match Power::new().call(function, [x1, x2, x3], &call) {
                        Action::Answer(x0) if id == 0x8400_0000 => Some([x0, 0, 0, 0]),
                        _ => None,
                    }
                }
                _ => None,
            };
            assert_eq!(done, values.is_some(), "{id:#x}");
            let mut long = before;
            if let Some(values) = values {
                long.x[..4].copy_from_slice(&values);
                answered += 1;
            }
            assert!(same(&quick, &long), "{id:#x}");
        }
    }
    assert!(answered > 1000);
}

#[test]
fn what_is_not_legal_and_what_is_no_such_trap_is_left_alone() {
    let ids = ids();
    let context = Context {
        ids: &ids,
        has_gic: true,
    };
    // ID_AA64PFR0_EL1 into x0.
    let mrs = MRS_ID | 4 << 1;
    for (esr, pstate) in [
        // AArch32, and EL2.
        (mrs, 0x1d0),
        (HVC_0, 0x1d0),
        (mrs, 0x3c9),
        (HVC_0, 0x3c9),
        // Another immediate, SMC, HVC of AArch32, a write, an instruction of 16 bits.
        (HVC_0 | 1, EL1),
        (0x17 << 26 | 1 << 25, EL1),
        (0x12 << 26 | 1 << 25, EL1),
        (mrs & !1, EL1),
        (mrs & !(1 << 25), EL1),
    ] {
        let before = frame(pstate);
        let mut quick = before;
        assert!(!answer(&mut quick, esr, &offer(true), &context), "{esr:#x}");
        assert!(same(&quick, &before), "{esr:#x}");
    }
    let mut quick = frame(EL1);
    assert!(answer(&mut quick, mrs, &offer(true), &context));
}
