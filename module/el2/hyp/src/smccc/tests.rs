// SPDX-License-Identifier: GPL-2.0
//! Function identifiers in all their spellings.

use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::doc_check::check_table;
use crate::psci::Function;

fn why(x0: u64) -> Option<Refusal> {
    match Smc::classify(0, x0) {
        Smc::Refuse { why, .. } => Some(why),
        _ => None,
    }
}

/// Every fast call of the standard service in both forms that is refused.
fn refused_numbers(form: u64) -> Vec<u64> {
    (0..=0xffff).filter(|n| why(form | n).is_some()).collect()
}

#[test]
fn psci_goes_to_the_relay() {
    for function in Function::ALL {
        for id in [function.id(), function.id32()] {
            let smc64 = id & SMC64 != 0;
            let expected = Smc::Psci(Identifier::Known {
                function: *function,
                smc64,
            });
            assert_eq!(
                Smc::classify(0, u64::from(id)),
                expected,
                "{}",
                function.name()
            );
            // The SVE hint and the upper half of x0 are no part of the identifier.
            let spelled = 0xdead_beef_0000_0000 | u64::from(id | SVE_HINT);
            assert_eq!(Smc::classify(0, spelled), expected, "{}", function.name());
        }
    }
    for id in [
        0x8400_0016,
        0x8400_001f,
        0xc400_0000,
        0xc400_0002,
        0xc400_001f,
    ] {
        assert_eq!(
            Smc::classify(0, id),
            Smc::Psci(Identifier::Unknown),
            "{id:#x}"
        );
    }
    assert_eq!(Smc::classify(0, 0x8400_0020), refuse(Refusal::Sdei));
}

#[test]
fn exactly_these_standard_services_are_refused() {
    let mut expected: Vec<u64> = (0x20..=0x3f).collect();
    expected.extend(0x60..=0xef);
    expected.extend(0x110..=0x12f);
    expected.extend(0x150..=0x1cf);
    expected.extend(0x2e0..=0x2ff);
    assert_eq!(refused_numbers(0x8400_0000), expected);
    assert_eq!(refused_numbers(0xc400_0000), expected);
}

#[test]
fn ff_a_is_gone_and_says_so_in_its_own_shapes() {
    for number in 0x60..=0xefu64 {
        for id in [0x8400_0000 | number, 0xc400_0000 | number] {
            // DEN0077A: FFA_VERSION answers the code itself, everything else FFA_ERROR, target 0
            // and the code in w2.
            let expected = if number == 0x63 {
                [u64::MAX, 0, 0, 0]
            } else {
                [0x8400_0060, 0, 0xffff_ffff, 0]
            };
            match Smc::classify(0, id) {
                Smc::Refuse {
                    result,
                    clears_x4_to_x7: true,
                    ..
                } => assert_eq!(result, expected, "{id:#x}"),
                other => panic!("{id:#x}: {other:?}"),
            }
        }
    }
    assert_eq!(why(u64::from(FFA_RXTX_UNMAP)), Some(Refusal::Ffa));
}

#[test]
fn other_owners_are_forwarded() {
    let ids = [
        0x8000_0000u64, // SMCCC_VERSION
        0x8000_8000,    // SMCCC_ARCH_WORKAROUND_1
        0x8200_0071,    // SiP, with a number that FF-A uses
        0xc300_0025,    // OEM
        0x8400_0053,    // TRNG_RND32
        0x8400_005f,    // Management Mode, the last number before FF-A
        0x8400_00f0,    // the Errata Management ABI, the first number after FF-A
        0xb200_0001,    // Trusted OS
        0x3200_0004,    // Trusted OS, yielding
        0x0400_0071,    // yielding: not FF-A
        0x0e00_0000,    // yielding, bits 23:17 are its own
        0xc600_a000,    // mvirt's own calls are HVCs
    ];
    for id in ids {
        assert_eq!(Smc::classify(0, id), Smc::Forward { x0: id }, "{id:#x}");
    }
    let upper = Smc::classify(0, 0xffff_ffff_8000_0000);
    assert_eq!(upper, Smc::Forward { x0: 0x8000_0000 });
}

#[test]
fn no_second_spelling() {
    for bit in 17..24 {
        for id in [0x8400_0003u64, 0xc400_0073, 0xc400_0021, 0x8200_0000] {
            assert_eq!(
                why(id | 1 << bit),
                Some(Refusal::ReservedBits),
                "{id:#x} bit {bit}"
            );
        }
    }
    // The hint does not hide a refused call.
    assert_eq!(why(0xc401_0071), Some(Refusal::Ffa));
    assert_eq!(why(0xc401_0021), Some(Refusal::Sdei));
    for imm in [1, 0x8000, 0xffff] {
        match Smc::classify(imm, 0x8400_0000) {
            Smc::Refuse {
                why: Refusal::Immediate,
                result,
                clears_x4_to_x7: false,
            } => {
                assert_eq!(result[0], u64::MAX);
            }
            other => panic!("#{imm:#x}: {other:?}"),
        }
    }
}

#[test]
fn hvc() {
    for (x0, call) in (0..).zip(StubCall::ALL) {
        assert_eq!(Hvc::classify(0, x0), Hvc::Stub(call));
        let truth = call == StubCall::GetIchVtrEl2;
        assert_eq!(call.answer() == StubAnswer::IchVtr, truth);
    }
    for call in Call::ALL {
        assert_eq!(Hvc::classify(0, call.id()), Hvc::Mvirt(*call));
    }
    let past_end = Call::ALL.last().unwrap().id() + 1;
    // KVM's UID query and its host calls, PSCI by HVC, all 64 bits of a stub call's number.
    for x0 in [
        5,
        0x1_0000_0003,
        0x8600_ff01,
        0xc600_0001,
        0x8400_0000,
        past_end,
        u64::MAX,
    ] {
        assert_eq!(Hvc::classify(0, x0), Hvc::Unknown, "{x0:#x}");
    }
    assert_eq!(Hvc::classify(1, 0), Hvc::Unknown);
    assert_eq!(Hvc::classify(1, Call::Version.id()), Hvc::Unknown);
}

/// Ranges of numbers of the standard service that are refused for one reason.
fn refused_ranges(reason: Refusal) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for n in (0..=0xffff).filter(|n| why(0x8400_0000 | n) == Some(reason)) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => ranges.push((n, n)),
        }
    }
    let text = |&(first, last): &(u64, u64)| {
        if first == last {
            format!("{first:#x}")
        } else {
            format!("{first:#x} to {last:#x}")
        }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_documentation_shows_what_is_refused() {
    let header = ["What", "Number, owner 4, SMC32 and SMC64", "Answer"];
    let mut rows = vec![header.map(String::from).to_vec()];
    for reason in Refusal::ALL {
        let what = match reason {
            Refusal::Immediate => "SMC with an immediate that is not 0",
            Refusal::ReservedBits => "Fast call with bits 23:17 set",
            Refusal::Ffa => "FF-A",
            Refusal::FfaVersion => "FF-A: FFA_VERSION",
            Refusal::Sdei => "SDEI",
            Refusal::Drtm => "DRTM",
            Refusal::FirmwareActivation => "Live firmware activation",
            Refusal::Realm => "Realm management",
        };
        let numbers = match reason {
            Refusal::Immediate | Refusal::ReservedBits => String::from("any"),
            _ => refused_ranges(reason),
        };
        let answer = match refuse(reason) {
            Smc::Refuse {
                result: [0x8400_0060, ..],
                ..
            } => "FFA_ERROR, w2 = NOT_SUPPORTED",
            _ => "NOT_SUPPORTED",
        };
        rows.push([what, &numbers, answer].map(String::from).to_vec());
    }
    check_table("psci-relay.rst", "refused", &rows);
}
