// SPDX-License-Identifier: GPL-2.0
//! CPU_ON, CPU_OFF and AFFINITY_INFO: what they answer and what they leave.

use super::*;

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
