// SPDX-License-Identifier: GPL-2.0
//! What makes a relay, and CPUs that come, go and call out of turn.

use mvirt_abi::MAX_CPUS;

use super::*;

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
