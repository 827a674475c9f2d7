// SPDX-License-Identifier: GPL-2.0
//! Each service, offered and not.

use super::*;
use crate::cpu::IdRegs;
use crate::errata::{Support, Workarounds as Firmware};
use crate::psci::Function;

const PAGE: u64 = 0x4000_1000;

fn offer() -> Offer {
    Offer {
        protected: true,
        granule: 0x1000,
        ipa_bits: 40,
        has_trng: true,
        workarounds: Workarounds::default(),
    }
}

fn open() -> Offer {
    Offer {
        protected: false,
        has_trng: false,
        ..offer()
    }
}

fn call(id: u64, args: [u64; 3], offer: &Offer) -> Service {
    classify(0, [id, args[0], args[1], args[2]], offer)
}

const UNKNOWN: Service = one(NOT_SUPPORTED);
const INVALID: Service = one(INVALID_PARAMETER);

#[test]
fn the_convention_itself() {
    assert_eq!(call(0x8000_0000, [0; 3], &offer()), one(0x1_0002));
    // Only W0 counts, and only immediate 0.
    assert_eq!(call(0xdead_0000_8000_0000, [0; 3], &offer()), one(0x1_0002));
    assert_eq!(classify(1, [0x8000_0000, 0, 0, 0], &offer()), UNKNOWN);
    // SOC_ID, stolen time, PTP, FF-A, SDEI, yielding calls, the kernel's stub, our own calls.
    for id in [
        0x8000_0002,
        0xc500_0020,
        0xc500_0021,
        0x8600_0001,
        0x8400_0063,
        0xc400_0020,
        0x3200_0000,
        0,
        1,
        2,
        mvirt_abi::CALL_BASE,
        mvirt_abi::CALL_BASE + 4,
        0x8600_0002,
        0xc600_000a,
        0xc600_0001,
    ] {
        assert_eq!(call(id, [0; 3], &offer()), UNKNOWN, "{id:#x}");
    }
    assert_eq!(NOT_SUPPORTED, u64::MAX);
}

#[test]
fn psci_is_handed_on() {
    for function in Function::ALL {
        let id = function.id();
        let expected = Service::Psci(Identifier::decode(id).unwrap());
        for offer in [offer(), open()] {
            assert_eq!(call(u64::from(id), [1, 2, 3], &offer), expected);
        }
    }
}

#[test]
fn workarounds() {
    let features = |id: u64, v2, bhb| {
        let offer = Offer {
            workarounds: Workarounds { v2, bhb },
            ..offer()
        };
        call(0x8000_0001, [id, 0, 0], &offer)
    };
    use Spectre::{Mitigated, Unaffected, Vulnerable};
    for (state, expected) in [(Unaffected, 1), (Mitigated, 0), (Vulnerable, NOT_SUPPORTED)] {
        assert_eq!(features(0x8000_8000, state, Vulnerable), one(expected));
        assert_eq!(features(0x8000_3fff, Vulnerable, state), one(expected));
    }
    assert_eq!(features(0x8000_7fff, Unaffected, Unaffected), UNKNOWN);
    assert_eq!(features(0x8000_0000, Vulnerable, Vulnerable), one(0));
    assert_eq!(features(0x8000_0002, Unaffected, Unaffected), UNKNOWN);
    for id in [0x8000_8000, 0x8000_3fff] {
        assert_eq!(call(id, [0; 3], &offer()), one(0));
    }
}

#[test]
fn workarounds_are_those_of_the_worst_cpu() {
    let cpu = |midr, csv2: u64, wa1| {
        let ids = IdRegs {
            midr,
            pfr0: csv2 << 56,
            ..IdRegs::default()
        };
        let firmware = Firmware {
            wa1,
            wa3: Support::Unknown,
        };
        Mitigations::of(&ids, &firmware).unwrap()
    };
    let (a55, a72, a76) = (0x412f_d050, 0x410f_d083, 0x414f_d0b1);
    let mut all = Workarounds::default();
    all.fold(&cpu(a55, 0, Support::Unknown));
    let expected = |v2, bhb| Workarounds { v2, bhb };
    assert_eq!(all, expected(Spectre::Unaffected, Spectre::Unaffected));
    all.fold(&cpu(a76, 1, Support::Unknown));
    assert_eq!(all, expected(Spectre::Unaffected, Spectre::Mitigated));
    all.fold(&cpu(a72, 0, Support::Required));
    assert_eq!(all, expected(Spectre::Mitigated, Spectre::Mitigated));
    all.fold(&cpu(a72, 0, Support::Unknown));
    assert_eq!(all, expected(Spectre::Vulnerable, Spectre::Mitigated));
    all.fold(&cpu(a55, 0, Support::Unknown));
    assert_eq!(all, expected(Spectre::Vulnerable, Spectre::Mitigated));
}

#[test]
fn discovery_of_kvm() {
    let uid = Service::Answer([0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d]);
    for offer in [offer(), open()] {
        assert_eq!(call(0x8600_ff01, [0; 3], &offer), uid);
    }
    // FEATURES itself, and 2 to 9 for a protected guest: not PTP.
    assert_eq!(call(0x8600_0000, [0; 3], &open()), one(1));
    assert_eq!(call(0x8600_0000, [0; 3], &offer()), one(0b11_1111_1101));
}

#[test]
fn memory_is_for_protected_guests() {
    for n in 0..16 {
        let id = 0xc600_0000 + n;
        assert_eq!(call(id, [PAGE, 0, 0], &open()), UNKNOWN, "{id:#x}");
        let offered = call(id, [PAGE, 0, 0], &offer()) != UNKNOWN;
        assert_eq!(offered, (2..=9).contains(&n), "{id:#x}");
    }
    for id in [0xc600_0002, 0xc600_0005] {
        assert_eq!(call(id, [0; 3], &offer()), one(0x1000));
        for args in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
            assert_eq!(call(id, args, &offer()), INVALID);
        }
    }
    assert_eq!(call(0xc600_0006, [1, 2, 3], &offer()), Service::GuardEnroll);
    assert_eq!(Service::memory_answer(true), [0; 4]);
    assert_eq!(Service::memory_answer(false), [(-3i64) as u64, 0, 0, 0]);
}

#[test]
fn pages_are_checked() {
    type Make = fn(u64) -> Service;
    let calls: [(u64, Make, bool); 5] = [
        (3, Service::Share, true),
        (4, Service::Unshare, true),
        (7, Service::GuardMap, false),
        (8, Service::GuardUnmap, false),
        (9, Service::Relinquish, true),
    ];
    for (n, service, rest_counts) in calls {
        let id = 0xc600_0000 + n;
        let last = (1 << 40) - 0x1000;
        for page in [0, PAGE, last] {
            assert_eq!(call(id, [page, 0, 0], &offer()), service(page));
        }
        for wrong in [1, PAGE + 8, 1 << 40, last + 0x1000, 1 << 63, !0xfff] {
            assert_eq!(call(id, [wrong, 0, 0], &offer()), INVALID, "{n} {wrong:#x}");
        }
        for rest in [[1, 0], [0, 1]] {
            let got = call(id, [PAGE, rest[0], rest[1]], &offer());
            let expected = if rest_counts { INVALID } else { service(PAGE) };
            assert_eq!(got, expected, "{n}");
        }
        // The granule is that of stage 2.
        let big = Offer {
            granule: 0x4000,
            ..offer()
        };
        assert_eq!(call(id, [PAGE, 0, 0], &big), INVALID);
        assert_eq!(call(id, [0x4000_4000, 0, 0], &big), service(0x4000_4000));
    }
}

#[test]
fn random_numbers() {
    let without = Offer {
        has_trng: false,
        ..offer()
    };
    for id in [
        0x8400_0050,
        0x8400_0051,
        0x8400_0052,
        0x8400_0053,
        0xc400_0053,
    ] {
        assert_eq!(call(id, [32, 0, 0], &without), UNKNOWN);
        assert_ne!(call(0x8400_0051, [id, 0, 0], &offer()), UNKNOWN);
    }
    assert_eq!(call(0x8400_0050, [0; 3], &offer()), one(0x1_0000));
    assert_eq!(call(0x8400_0051, [0x8400_0054, 0, 0], &offer()), UNKNOWN);
    // UUIDs are told from errors by W0.
    let Service::Answer(uuid) = call(0x8400_0052, [0; 3], &offer()) else {
        panic!("no UUID");
    };
    assert!(uuid[0] != 0xffff_ffff && uuid.iter().all(|word| *word <= 0xffff_ffff));
    let rnd = |id, bits| call(id, [bits, 0, 0], &offer());
    let invalid = one((-2i64) as u64);
    for (id, most) in [(0x8400_0053, 96), (0xc400_0053, 192)] {
        let is_64bit = most == 192;
        for bits in [1, 64, most] {
            let expected = Service::Trng(Entropy { bits, is_64bit });
            assert_eq!(rnd(id, u64::from(bits)), expected);
        }
        for bits in [0, most + 1, u32::MAX] {
            assert_eq!(rnd(id, u64::from(bits)), invalid, "{bits}");
        }
    }
}

#[test]
fn entropy_fills_registers_from_x3() {
    let (a, b, c) = (
        0x1111_2222_3333_4444,
        0x5555_6666_7777_8888,
        0x9999_aaaa_bbbb_cccc,
    );
    let table = [
        (64, true, 1, [0, 0, 0, a]),
        (65, true, 2, [0, 0, b & 1, a]),
        (68, true, 2, [0, 0, 8, a]),
        (128, true, 2, [0, 0, b, a]),
        (192, true, 3, [0, c, b, a]),
        (191, true, 3, [0, c & (u64::MAX >> 1), b, a]),
        (8, true, 1, [0, 0, 0, 0x44]),
        (32, false, 1, [0, 0, 0, 0x3333_4444]),
        (40, false, 1, [0, 0, 0x22, 0x3333_4444]),
        (64, false, 1, [0, 0, 0x1111_2222, 0x3333_4444]),
        (96, false, 2, [0, 0x7777_8888, 0x1111_2222, 0x3333_4444]),
        (65, false, 2, [0, 0, 0x1111_2222, 0x3333_4444]),
    ];
    for (bits, is_64bit, words, expected) in table {
        let entropy = Entropy { bits, is_64bit };
        assert_eq!(entropy.words(), words, "{bits}");
        assert_eq!(
            entropy.answer(Some([a, b, c])),
            expected,
            "{bits} {is_64bit}"
        );
        assert_eq!(entropy.answer(None), [(-3i64) as u64, 0, 0, 0]);
    }
}
