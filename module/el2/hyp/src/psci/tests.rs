// SPDX-License-Identifier: GPL-2.0
//! One case for each function and each refusal; `tests/psci` has the interleavings.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use mvirt_abi::MAX_CPUS;

use super::*;
use crate::doc_check::check_table;

const EL2: u64 = 0x1_4000_0100;
const MPIDRS: [u64; 4] = [0x0, 0x1, 0x100, 0x1_0000_0000];
const RAM: core::ops::Range<u64> = 0x4000_0000..0x2_0000_0000;
const GOOD: u64 = 0x1_8000_0000;

fn firmware() -> Firmware {
    Firmware {
        version: 0x1_0001,
        extended_state: false,
        entry: EL2,
    }
}

/// A relay with CPU 0 online.
fn relay() -> Relay {
    let mut relay = Relay::new(&MPIDRS, firmware()).unwrap();
    assert!(relay.adopt(0));
    relay
}

fn call(relay: &mut Relay, id: u32, x: [u64; 3]) -> Action {
    relay.decide(0, Identifier::decode(id).unwrap(), x, |pc| {
        RAM.contains(&pc)
    })
}

fn code(code: ReturnCode) -> Action {
    Action::Answer(code.to_x0())
}

#[test]
fn what_makes_no_relay() {
    let new = |mpidrs: &[u64], version| {
        Relay::new(
            mpidrs,
            Firmware {
                version,
                ..firmware()
            },
        )
        .map(|_| ())
    };
    assert_eq!(new(&[0], 1), Err(Unusable::Version(1)));
    assert_eq!(new(&[0], 2), Ok(()));
    assert_eq!(new(&[], 2), Err(Unusable::Count(0)));
    assert_eq!(
        new(&[0; MAX_CPUS + 1], 2),
        Err(Unusable::Count(MAX_CPUS + 1))
    );
    assert_eq!(new(&[0, 1 << 31], 2), Err(Unusable::Mpidr(1)));
    assert_eq!(new(&[0, 1 << 24], 2), Err(Unusable::Mpidr(1)));
    assert_eq!(new(&[0, 1, 2, 1], 2), Err(Unusable::Duplicate(3)));
}

#[test]
fn adoption_is_once_and_of_slots_only() {
    let mut relay = relay();
    assert_eq!(relay.state(0), Some(State::Online));
    assert_eq!(relay.state(3), Some(State::Offline));
    assert_eq!(relay.state(4), None);
    assert!(!relay.adopt(0));
    assert!(!relay.adopt(4));
    assert_eq!(relay.find(0x100), Some(2));
    assert_eq!(relay.find(0x200), None);
}

#[test]
fn identifiers() {
    assert_eq!(Identifier::decode(0x8400_0020), None);
    assert_eq!(Identifier::decode(0xc400_0020), None);
    assert_eq!(Identifier::decode(0x8300_0003), None);
    assert_eq!(Identifier::decode(0x0400_0003), None);
    assert_eq!(
        Identifier::decode(0xc400_0008),
        Some(Identifier::Unknown),
        "no such form"
    );
    let cpu_on = |smc64| {
        Some(Identifier::Known {
            function: Function::CpuOn,
            smc64,
        })
    };
    assert_eq!(Identifier::decode(0x8400_0003), cpu_on(false));
    assert_eq!(Identifier::decode(0xc400_0003), cpu_on(true));
    let smc64 = Function::ALL.iter().filter(|f| f.has_smc64()).count();
    assert_eq!((Function::ALL.len(), smc64), (22, 13));
}

#[test]
fn unknown_functions_stay_here() {
    for n in 22..32 {
        for base in [0x8400_0000, 0xc400_0000] {
            let mut relay = relay();
            assert_eq!(
                call(&mut relay, base + n, [0; 3]),
                code(ReturnCode::NotSupported)
            );
        }
    }
}

/// Each function that is only passed on, with the identifier that the firmware gets.
#[test]
fn passed_on() {
    let table = [
        (0x8400_0005, 0x8400_0005),
        (0xc400_0005, 0xc400_0005),
        (0x8400_0006, 0x8400_0006),
        (0xc400_0007, 0xc400_0007),
        (0x8400_0008, 0x8400_0008),
        (0x8400_0009, 0x8400_0009),
        (0xc400_000d, 0xc400_000d),
        (0x8400_000f, 0x8400_000f),
        (0xc400_0010, 0xc400_0010),
        (0xc400_0011, 0xc400_0011),
        (0x8400_0012, 0x8400_0012),
        (0xc400_0012, 0xc400_0012),
        (0x8400_0013, 0x8400_0013),
        (0xc400_0014, 0xc400_0014),
        (0x8400_0015, 0x8400_0015),
        (0xc400_0015, 0xc400_0015),
    ];
    const X: [u64; 3] = [0xa_0000_0001, 0xb_0000_0002, 0xc_0000_0003];
    for (id, to) in table {
        let x = if id & 1 << 30 != 0 { X } else { [1, 2, 3] };
        let expected = Action::Call {
            regs: [to, x[0], x[1], x[2]],
            then: Then::Pass,
        };
        let mut relay = relay();
        assert_eq!(call(&mut relay, id, X), expected, "{id:#x}");
        assert_eq!(relay.complete(Then::Pass, 77), 77);
        assert_eq!(relay.state(0), Some(State::Online));
    }
}

#[test]
fn version_is_capped() {
    for (firmware_version, answer) in [(0x2, 0x2), (0x1_0001, 0x1_0001), (0x1_0004, 0x1_0003)] {
        let firmware = Firmware {
            version: firmware_version,
            ..firmware()
        };
        let mut relay = Relay::new(&MPIDRS, firmware).unwrap();
        assert_eq!(
            call(&mut relay, 0x8400_0000, [0; 3]),
            Action::Answer(answer)
        );
    }
}

#[test]
fn features() {
    let mut relay = relay();
    for id in [
        0x8000_0000u64,
        0x8400_0001,
        0xc400_0001,
        0xc400_000e,
        0x8400_0000,
    ] {
        let regs = [0x8400_000a, id, 0, 0];
        let expected = Action::Call {
            regs,
            then: Then::Pass,
        };
        assert_eq!(
            call(&mut relay, 0x8400_000a, [id | 7 << 32, 9, 9]),
            expected,
            "{id:#x}"
        );
    }
    for id in [
        0x8400_0016,
        0xc400_0008,
        0x8000_0001,
        0xc400_0021,
        0x8400_0073,
        0,
    ] {
        assert_eq!(
            call(&mut relay, 0x8400_000a, [id, 0, 0]),
            code(ReturnCode::NotSupported)
        );
    }
}

#[test]
fn cpu_on() {
    let mut relay = relay();
    let refused = [
        ([0x2, GOOD, 0], ReturnCode::InvalidParameters),
        // A bit outside the affinity fields, or in Aff3.
        ([0x1 | 1 << 24, GOOD, 0], ReturnCode::InvalidParameters),
        ([0x1 | 1 << 63, GOOD, 0], ReturnCode::InvalidParameters),
        ([0x1, GOOD + 1, 0], ReturnCode::InvalidAddress),
        ([0x1, GOOD + 2, 0], ReturnCode::InvalidAddress),
        ([0x1, RAM.end, 0], ReturnCode::InvalidAddress),
        ([0x0, GOOD, 0], ReturnCode::AlreadyOn),
    ];
    for (x, expected) in refused {
        assert_eq!(call(&mut relay, 0xc400_0003, x), code(expected), "{x:x?}");
        assert_eq!(relay.state(1), Some(State::Offline));
    }

    let action = call(
        &mut relay,
        0xc400_0003,
        [0x1_0000_0000, GOOD, 0x1234_5678_9abc],
    );
    let Action::Call { regs, then } = action else {
        panic!("{action:?}")
    };
    assert_eq!(regs, [0xc400_0003, 0x1_0000_0000, EL2, 3]);
    assert!(!then.may_lose_context());
    let again = call(&mut relay, 0xc400_0003, [0x1_0000_0000, GOOD, 0]);
    assert_eq!(again, code(ReturnCode::OnPending));
    assert_eq!(relay.complete(then, 0), 0);
    let entry = EntryPoint {
        pc: GOOD,
        x0: 0x1234_5678_9abc,
    };
    let arrival = Arrival {
        entry,
        is_resume: false,
        watch_first_write: true,
    };
    assert_eq!(relay.enter(3), Ok(arrival));
    assert_eq!(relay.state(3), Some(State::Online));
    assert_eq!(relay.enter(3), Err(Uncalled::State(State::Online)));
}

#[test]
fn cpu_on_by_smc32() {
    let mut relay = relay();
    // Only W1 to W3 count, and the firmware gets the SMC64 form with EL2's entry.
    let x = [
        0xffff_ffff_0000_0001,
        0xffff_ffff_4000_0000,
        0xffff_ffff_0000_0007,
    ];
    let action = call(&mut relay, 0x8400_0003, x);
    let Action::Call { regs, then } = action else {
        panic!("{action:?}")
    };
    assert_eq!(regs, [0xc400_0003, 0x1, EL2, 1]);
    // A 32-bit failure code with the upper half clear is a failure too.
    assert_eq!(relay.complete(then, 0xffff_fffa), 0xffff_fffa);
    assert_eq!(relay.state(1), Some(State::Offline));
    assert_eq!(relay.enter(1), Err(Uncalled::State(State::Offline)));
}

#[test]
fn cpu_off_and_freeze() {
    for id in [0x8400_0002, 0x8400_000b] {
        let mut relay = relay();
        let action = call(&mut relay, id, [0x1_0000, 8, 8]);
        let Action::Call { regs, then } = action else {
            panic!("{action:?}")
        };
        assert_eq!(
            (regs, then),
            ([u64::from(id), 0x1_0000, 0, 0], Then::Off(0))
        );
        assert!(then.may_lose_context());
        assert_eq!(relay.state(0), Some(State::Offline));
        assert_eq!(relay.enter(0), Err(Uncalled::State(State::Offline)));
        let denied = ReturnCode::Denied.to_x0();
        assert_eq!(relay.complete(then, denied), denied);
        assert_eq!(relay.state(0), Some(State::Online));
    }
}

/// CPU 0 calls CPU_OFF, CPU 1 calls CPU_ON for it, the firmware denies the CPU_OFF.
fn denied_off_with_cpu_on_under_way() -> (Relay, Then) {
    let mut relay = relay();
    assert!(relay.adopt(1));
    let Action::Call { then: off, .. } = call(&mut relay, 0x8400_0002, [0; 3]) else {
        panic!()
    };
    let action = cpu_on_from_cpu1(&mut relay, 5);
    let Action::Call { then: on, .. } = action else {
        panic!("{action:?}")
    };
    relay.complete(off, ReturnCode::Denied.to_x0());
    assert_eq!(relay.state(0), Some(State::Online));
    assert_eq!(cpu_on_from_cpu1(&mut relay, 6), code(ReturnCode::AlreadyOn));
    (relay, on)
}

fn cpu_on_from_cpu1(relay: &mut Relay, x0: u64) -> Action {
    relay.decide(
        1,
        Identifier::decode(0xc400_0003).unwrap(),
        [0x0, GOOD, x0],
        |_| true,
    )
}

#[test]
fn an_attempt_outlives_a_denied_cpu_off() {
    let (mut relay, on) = denied_off_with_cpu_on_under_way();
    // CPU 0 goes after all before the firmware works on the CPU_ON, which then succeeds.
    let Action::Call { .. } = call(&mut relay, 0x8400_0002, [0; 3]) else {
        panic!()
    };
    assert_eq!(cpu_on_from_cpu1(&mut relay, 6), code(ReturnCode::OnPending));
    relay.complete(on, 0);
    let entry = EntryPoint { pc: GOOD, x0: 5 };
    assert_eq!(relay.enter(0).map(|a| a.entry), Ok(entry));
}

#[test]
fn a_refused_attempt_leaves_an_online_cpu_alone() {
    let (mut relay, on) = denied_off_with_cpu_on_under_way();
    relay.complete(on, ReturnCode::AlreadyOn.to_x0());
    assert_eq!(relay.state(0), Some(State::Online));
    let Action::Call { .. } = call(&mut relay, 0x8400_0002, [0; 3]) else {
        panic!()
    };
    assert_eq!(relay.state(0), Some(State::Offline));
    assert_eq!(relay.enter(0), Err(Uncalled::State(State::Offline)));
}

#[test]
fn a_stale_refusal_does_not_end_a_newer_attempt() {
    let (mut relay, on) = denied_off_with_cpu_on_under_way();
    let Action::Call { .. } = call(&mut relay, 0x8400_0002, [0; 3]) else {
        panic!()
    };
    assert!(relay.enter(0).is_ok());
    let Action::Call { .. } = call(&mut relay, 0x8400_0002, [0; 3]) else {
        panic!()
    };
    let Action::Call { .. } = cpu_on_from_cpu1(&mut relay, 7) else {
        panic!()
    };
    relay.complete(on, ReturnCode::InternalFailure.to_x0());
    assert_eq!(relay.enter(0).map(|a| a.entry.x0), Ok(7));
}

#[test]
fn affinity_info() {
    let mut relay = relay();
    let ask = |relay: &mut Relay, x: [u64; 3]| call(relay, 0xc400_0004, x);
    let forwarded = |mpidr, level| Action::Call {
        regs: [0xc400_0004, mpidr, level, 0],
        then: Then::Pass,
    };
    assert_eq!(ask(&mut relay, [0x0, 0, 0]), Action::Answer(0));
    assert_eq!(ask(&mut relay, [0x1, 0, 0]), forwarded(0x1, 0));
    assert_eq!(
        ask(&mut relay, [0x2, 0, 0]),
        code(ReturnCode::InvalidParameters)
    );
    assert_eq!(
        ask(&mut relay, [0x0, 4, 0]),
        code(ReturnCode::InvalidParameters)
    );
    assert_eq!(ask(&mut relay, [0x7f, 1, 0]), forwarded(0x7f, 1));
    let Action::Call { .. } = call(&mut relay, 0xc400_0003, [0x1, GOOD, 0]) else {
        panic!()
    };
    assert_eq!(ask(&mut relay, [0x1, 0, 0]), Action::Answer(2));
    // The level has 32 bits in the SMC64 form too.
    assert_eq!(ask(&mut relay, [0x1, 1 << 32, 0]), Action::Answer(2));
    let Action::Call { .. } = call(&mut relay, 0x8400_0002, [0; 3]) else {
        panic!()
    };
    assert_eq!(
        ask(&mut relay, [0x0, 0, 0]),
        forwarded(0x0, 0),
        "only firmware knows"
    );
}

#[test]
fn cpu_suspend() {
    // (extended format, power_state, entry, answer or kept entry)
    let (standby, down) = (0x0, 0x1_0000);
    let (standby_x, down_x) = (0x1_0000, 0x4000_0000);
    let entry = EntryPoint { pc: GOOD, x0: 9 };
    let table = [
        (false, down, GOOD, Some(Some(entry))),
        (false, down, 0, None),
        (false, standby, 0, Some(None)),
        (false, standby, GOOD, Some(Some(entry))),
        (true, down_x, GOOD, Some(Some(entry))),
        (true, down_x, GOOD + 2, None),
        (true, standby_x, 0, Some(None)),
    ];
    for (extended_state, power_state, pc, kept) in table {
        let mut relay = Relay::new(
            &MPIDRS,
            Firmware {
                extended_state,
                ..firmware()
            },
        )
        .unwrap();
        assert!(relay.adopt(0));
        let action = call(&mut relay, 0xc400_0001, [power_state, pc, 9]);
        let Some(kept) = kept else {
            assert_eq!(action, code(ReturnCode::InvalidAddress));
            assert_eq!(relay.state(0), Some(State::Online));
            continue;
        };
        let Action::Call { regs, then } = action else {
            panic!("{action:?}")
        };
        assert_eq!(
            regs,
            [0xc400_0001, power_state, EL2, 0],
            "EL2's entry, standby too"
        );
        assert_eq!(then, Then::Suspend(0));
        assert_eq!(relay.state(0), Some(State::Suspended { entry: kept }));
        let mut returned = relay.clone();
        assert_eq!(returned.complete(then, 0), 0);
        assert_eq!(returned.state(0), Some(State::Online));
        match kept {
            Some(entry) => {
                let arrival = Arrival {
                    entry,
                    is_resume: true,
                    watch_first_write: true,
                };
                assert_eq!(relay.enter(0), Ok(arrival));
            }
            None => assert_eq!(relay.enter(0), Err(Uncalled::NoEntryPoint)),
        }
    }
}

#[test]
fn other_suspends() {
    for id in [0x8400_000c, 0xc400_000c, 0x8400_000e, 0xc400_000e] {
        let pc = 0x5000_0000;
        let mut relay = relay();
        assert_eq!(
            call(&mut relay, id, [pc + 1, 0, 0]),
            code(ReturnCode::InvalidAddress)
        );
        let action = call(&mut relay, id, [pc, 0x33, 0x44]);
        let regs = [u64::from(id | 1 << 30), EL2, 0, 0];
        assert_eq!(
            action,
            Action::Call {
                regs,
                then: Then::Suspend(0)
            },
            "{id:#x}"
        );
        let on = Identifier::decode(0xc400_0003).unwrap();
        let action = relay.decide(1, on, [0x0, GOOD, 0], |_| true);
        assert_eq!(action, code(ReturnCode::AlreadyOn), "a suspended CPU is on");
        assert_eq!(
            relay.enter(0).map(|a| a.entry),
            Ok(EntryPoint { pc, x0: 0x33 })
        );
    }
}

#[test]
fn calls_of_a_cpu_that_does_not_run() {
    for id in [0x8400_0002, 0xc400_0001, 0xc400_000c] {
        for slot in [1, 4, usize::MAX] {
            let mut relay = relay();
            let id = Identifier::decode(id).unwrap();
            let action = relay.decide(slot, id, [GOOD, GOOD, 0], |_| true);
            assert_eq!(action, code(ReturnCode::InternalFailure));
        }
    }
}

#[test]
fn arrivals_that_nobody_called() {
    let mut relay = relay();
    assert_eq!(relay.enter(0), Err(Uncalled::State(State::Online)));
    assert_eq!(relay.enter(1), Err(Uncalled::State(State::Offline)));
    assert_eq!(relay.enter(4), Err(Uncalled::NoSlot));
    assert_eq!(relay.enter(u64::MAX), Err(Uncalled::NoSlot));
}

#[test]
fn a_core_that_is_turned_away_can_be_called_again() {
    let mut relay = relay();
    let on = |relay: &mut Relay| call(relay, 0xc400_0003, [0x1, GOOD, 0]);
    assert!(!relay.turn_away(1), "it is not here");
    assert!(!relay.turn_away(4));
    let Action::Call { .. } = on(&mut relay) else {
        panic!()
    };
    assert!(relay.enter(1).is_ok());
    assert!(relay.turn_away(1));
    assert_eq!(relay.state(1), Some(State::Offline));
    assert_eq!(relay.enter(1), Err(Uncalled::State(State::Offline)));
    assert!(matches!(on(&mut relay), Action::Call { .. }));
    assert!(relay.enter(1).is_ok());
}

#[test]
fn a_refused_soft_restart_ends_the_watch() {
    let mut relay = relay();
    relay.soft_restart_refused();
    let Action::Call { .. } = call(&mut relay, 0xc400_0003, [0x1, GOOD, 0]) else {
        panic!()
    };
    assert_eq!(relay.enter(1).map(|a| a.watch_first_write), Ok(false));
}

/// What the relay does about a call with usable arguments, in words.
fn behaviour(id: u32) -> &'static str {
    let mut relay = relay();
    let number = id & 0x1f;
    // CPU_ON and AFFINITY_INFO take a CPU, the suspends an entry point first or second.
    let x = match number {
        3 => [0x1, 0x5000_0000, 0],
        4 => [0x1, 0, 0],
        _ => [0x5000_0000, 0x5000_0000, 0],
    };
    match call(&mut relay, id, x) {
        Action::Answer(_) if number == 0 => "answered by EL2",
        Action::Answer(_) if number == 10 => "passed on if the function has a row here",
        Action::Answer(_) => panic!("{id:#x}"),
        Action::Call {
            then: Then::CpuOn(_),
            ..
        } => "relayed with EL2's entry point",
        Action::Call {
            then: Then::Suspend(_),
            ..
        } => "relayed with EL2's entry point; returns or resumes",
        Action::Call {
            then: Then::Off(_), ..
        } => "relayed; the CPU is off unless it returns",
        Action::Call {
            then: Then::Pass, ..
        } if number == 4 => "from EL2's state where the CPU is on or pending, else passed on",
        Action::Call {
            then: Then::Pass, ..
        } => "passed on",
    }
}

#[test]
fn the_documentation_shows_the_functions() {
    let header = ["Function", "SMC32", "SMC64", "What EL2 does"];
    let mut rows: Vec<Vec<String>> = vec![header.map(String::from).to_vec()];
    for function in Function::ALL {
        let smc64 = function.has_smc64();
        let what = behaviour(function.id());
        assert_eq!(what, behaviour(function.id32()), "{}", function.name());
        rows.push(vec![
            function.name().to_string(),
            format!("{:#010x}", function.id32()),
            if smc64 {
                format!("{:#010x}", function.id())
            } else {
                "none".to_string()
            },
            what.to_string(),
        ]);
    }
    check_table("psci-relay.rst", "functions", &rows);
}
