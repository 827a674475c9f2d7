// SPDX-License-Identifier: GPL-2.0
//! Which functions there are, which are passed on as they are, and what the documentation says of them.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::doc_check::check_table;

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
