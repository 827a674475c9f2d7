// SPDX-License-Identifier: GPL-2.0
//! The calls that suspend a CPU or the system.

use super::*;

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
