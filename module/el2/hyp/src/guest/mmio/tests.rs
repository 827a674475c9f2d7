// SPDX-License-Identifier: GPL-2.0
//! Loads and stores of each size.

use super::*;

fn esr(iss: u64) -> u64 {
    (DATA_ABORT << 26) | (1 << 25) | (1 << 24) | iss | 0x07
}

fn load(size_log2: u8, sign_extend: bool, is_64bit: bool) -> Mmio {
    Mmio {
        size_log2,
        sign_extend,
        is_64bit,
        register: 0,
        is_write: false,
    }
}

#[test]
fn decodes_the_instruction() {
    // ldrsh x21, [..]: SAS 1, SSE, SRT 21, SF.
    let got = Mmio::decode(esr(1 << 22 | 1 << 21 | 21 << 16 | 1 << 15)).unwrap();
    let expected = Mmio {
        register: 21,
        ..load(1, true, true)
    };
    assert_eq!((got, got.bytes()), (expected, 2));
    // str w31 (wzr), [..].
    let got = Mmio::decode(esr(2 << 22 | 31 << 16 | 1 << 6)).unwrap();
    let expected = Mmio {
        register: 31,
        is_write: true,
        ..load(2, false, false)
    };
    assert_eq!(got, expected);
}

#[test]
fn what_is_not_decoded() {
    assert!(Mmio::decode(esr(0)).is_some());
    // ISV clear; a walk; cache maintenance; a fetch.
    assert_eq!(Mmio::decode(esr(0) & !(1 << 24)), None);
    assert_eq!(Mmio::decode(esr(1 << 7)), None);
    assert_eq!(Mmio::decode(esr(1 << 8)), None);
    assert_eq!(Mmio::decode(0x20 << 26 | 1 << 24 | 0x07), None);
}

#[test]
fn loads() {
    let data = 0x8182_8384_85a6_87f8;
    // (size, SSE, SF, register)
    let table = [
        (0, false, false, 0xf8),
        (0, true, false, 0xffff_fff8),
        (0, true, true, 0xffff_ffff_ffff_fff8),
        (1, false, true, 0x87f8),
        (1, true, false, 0xffff_87f8),
        (2, false, false, 0x85a6_87f8),
        (2, false, true, 0x85a6_87f8),
        (2, true, true, 0xffff_ffff_85a6_87f8),
        (3, false, true, data),
    ];
    for (size, sse, sf, expected) in table {
        let got = load(size, sse, sf).loaded(data, false);
        assert_eq!(got, expected, "{size} {sse} {sf}");
    }
    // A positive number stays so.
    assert_eq!(load(0, true, true).loaded(0x7f, false), 0x7f);
    // Big-endian: the device's bytes in reverse.
    assert_eq!(load(1, false, true).loaded(0x87f8, true), 0xf887);
    assert_eq!(
        load(1, true, true).loaded(0x87f8, true),
        0xffff_ffff_ffff_f887
    );
    assert_eq!(load(3, false, true).loaded(1, true), 1 << 56);
}

#[test]
fn stores() {
    let register = 0x1122_3344_5566_7788;
    let store = |size| load(size, false, true);
    let little = [0x88, 0x7788, 0x5566_7788, register];
    let big = [0x88, 0x8877, 0x8877_6655, 0x8877_6655_4433_2211];
    for size in 0..4u8 {
        let n = usize::from(size);
        assert_eq!(store(size).stored(register, false), little[n]);
        assert_eq!(store(size).stored(register, true), big[n]);
    }
}

#[test]
fn endianness_is_that_of_the_level() {
    // EL0 has E0E, EL1 EE.
    assert!(Mmio::is_big_endian(0x0, 1 << 24) && !Mmio::is_big_endian(0x5, 1 << 24));
    assert!(Mmio::is_big_endian(0x5, 1 << 25) && !Mmio::is_big_endian(0x0, 1 << 25));
    assert!(Mmio::is_big_endian(0x3c4, 1 << 25));
}
