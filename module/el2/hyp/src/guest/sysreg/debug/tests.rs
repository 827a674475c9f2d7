// SPDX-License-Identifier: GPL-2.0
//! What a guest reads back, and what of it the hardware is given.

use std::vec::Vec;

use super::super::tests::Cpu;
use super::*;

type Code = (u8, u8, u8, u8, u8);

const MDSCR: Code = (2, 0, 0, 2, 2);
const OSLAR: Code = (2, 0, 1, 0, 4);
const OSLSR: Code = (2, 0, 1, 1, 4);

const fn bvr(n: u8) -> Code {
    (2, 0, 0, n, 4)
}

const fn bcr(n: u8) -> Code {
    (2, 0, 0, n, 5)
}

const fn wvr(n: u8) -> Code {
    (2, 0, 0, n, 6)
}

const fn wcr(n: u8) -> Code {
    (2, 0, 0, n, 7)
}

fn counts(breakpoints: usize, watchpoints: usize) -> Counts {
    Counts {
        breakpoints,
        watchpoints,
    }
}

#[test]
fn as_many_as_the_id_register_says() {
    let mut cpu = Cpu::new();
    for (op2, nr) in [(4, 6), (5, 6), (6, 4), (7, 4)] {
        let there: Vec<u8> = (0..16)
            .filter(|n| cpu.read((2, 0, 0, *n, op2)) != Outcome::Undefined)
            .collect();
        assert_eq!(there, Vec::from_iter(0..nr));
        for n in 0..16 {
            let value = u64::from(n) + 10 * u64::from(op2);
            let done = cpu.write((2, 0, 0, n, op2), value);
            let expected = if n < nr {
                Outcome::Debug
            } else {
                Outcome::Undefined
            };
            assert_eq!(done, expected);
        }
    }
    for (op2, nr) in [(4, 6), (5, 6), (6, 4), (7, 4)] {
        for n in 0..nr {
            let expected = u64::from(n) + 10 * u64::from(op2);
            assert_eq!(cpu.read((2, 0, 0, n, op2)), Outcome::Value(expected));
        }
    }
    assert_eq!(Counts::of(0x0010_1006), counts(2, 2));
    assert_eq!(Counts::of(0x00f0_f006), counts(16, 16));
}

#[test]
fn software_step_reaches_the_hardware() {
    let mut cpu = Cpu::new();
    assert_eq!(cpu.write(MDSCR, u64::MAX), Outcome::Debug);
    assert_eq!(cpu.read(MDSCR), Outcome::Value(u64::MAX));
    // SS and KDE; not MDE, which would arm the host's breakpoints in the guest.
    assert_eq!(cpu.state.debug.hardware_mdscr(), 1 << 13 | 1);
    assert_eq!(cpu.read(OSLSR), Outcome::Value(0b1000));
    assert_eq!(cpu.write(OSLAR, 1), Outcome::Debug);
    assert_eq!(cpu.read(OSLSR), Outcome::Value(0b1010));
    assert_eq!(cpu.state.debug.hardware_mdscr(), 0);
    assert_eq!(cpu.write(OSLAR, 0xfe), Outcome::Debug);
    assert_eq!(cpu.read(OSLSR), Outcome::Value(0b1000));
    assert_eq!(
        (cpu.read(OSLAR), cpu.write(OSLSR, 0)),
        (Outcome::Undefined, Outcome::Undefined)
    );
    // As user space writes it.
    let debug = &mut cpu.state.debug;
    assert!(debug.set_oslsr(0b1010) && debug.oslsr() == 0b1010);
    assert!(!debug.set_oslsr(0b0010) && !debug.set_oslsr(0b1001) && debug.oslsr() == 0b1010);
    assert!(debug.set_oslsr(0b1000) && debug.oslsr() == 0b1000);
}

#[test]
fn armed_by_a_point_and_mde_with_the_lock_open() {
    for point in [bcr(0), bcr(5), wcr(0), wcr(3)] {
        for (enabled, mde, locked) in [
            (true, true, false),
            (false, true, false),
            (true, false, false),
            (true, true, true),
        ] {
            let mut cpu = Cpu::new();
            cpu.write(point, 0x1e4 | u64::from(enabled));
            cpu.write(MDSCR, if mde { 1 << 15 } else { 1 << 13 | 1 });
            cpu.write(OSLAR, locked.into());
            let debug = &cpu.state.debug;
            let armed = enabled && mde && !locked;
            assert_eq!(debug.is_armed(), armed, "{point:?}");
            assert_eq!(debug.hardware_mdscr() >> 15 & 1, u64::from(armed));
        }
    }
    assert!(!Debug::default().is_armed());
}

/// Each of the guest's is in one place, and every other place is off: what is there is the host's.
#[test]
fn no_point_of_the_hosts_stays() {
    for guest in 2..=POINTS {
        for cpu in guest..=POINTS {
            let mut debug = Debug::default();
            let all = counts(guest, guest);
            for n in 0..guest {
                let value = n as u64;
                // Lossless: below 16.
                for (kind, of_kind) in [0x1000, ENABLE, 0x2000, ENABLE].into_iter().enumerate() {
                    let slot = debug.point(kind as u8, n as u8, all);
                    *slot.expect("it is there") = of_kind + (value << 5);
                }
            }
            let hardware = debug.hardware(all, counts(cpu, cpu));
            let on = |kind: usize| hardware[kind].iter().filter(|c| **c & 1 == 1).count();
            assert_eq!((on(BCR_KIND), on(WCR_KIND)), (guest, guest));
            for n in 0..guest {
                let at = if n + 1 == guest { cpu - 1 } else { n };
                assert_eq!(hardware[BVR_KIND][at], 0x1000 + ((n as u64) << 5));
                assert_eq!(hardware[WVR_KIND][n], 0x2000 + ((n as u64) << 5));
            }
            for kind in hardware {
                assert!(kind[cpu..].iter().all(|value| *value == 0));
            }
        }
    }
}

#[test]
fn a_link_follows_the_last_breakpoint() {
    let mut cpu = Cpu::new();
    // Unlinked by address; by context, linked to; by address, linked to 5; a watchpoint, linked to 5.
    cpu.write(bcr(0), 0x0000_01e5);
    cpu.write(bcr(5), 0x0030_01e7);
    cpu.write(bvr(5), 0x1234);
    cpu.write(bcr(1), 0x0015_01e5);
    cpu.write(wcr(0), 0x0015_1ff5);
    cpu.write(wvr(0), 0x5678);
    let same = cpu.state.debug.hardware(counts(6, 4), counts(6, 4));
    assert_eq!(same[BCR_KIND][..6], [0x01e5, 0x15_01e5, 0, 0, 0, 0x30_01e7]);
    assert_eq!((same[BVR_KIND][5], same[WCR_KIND][0]), (0x1234, 0x15_1ff5));
    let more = cpu.state.debug.hardware(counts(6, 4), counts(16, 16));
    assert_eq!((more[BCR_KIND][5], more[BCR_KIND][15]), (0, 0x30_01e7));
    assert_eq!((more[BCR_KIND][1], more[BVR_KIND][15]), (0x1f_01e5, 0x1234));
    assert_eq!((more[WCR_KIND][0], more[WVR_KIND][0]), (0x1f_1ff5, 0x5678));
}

#[test]
fn only_what_the_guest_has_reaches_the_hardware() {
    let at = |kind: usize, code: Code, value: u64| {
        let mut cpu = Cpu::new();
        cpu.write(code, value);
        cpu.state.debug.hardware(counts(6, 4), counts(6, 4))[kind][0]
    };
    for kind in 0..16 {
        let value = kind << 20 | 0x1e5;
        let expected = if kind <= 3 { value } else { 0 };
        assert_eq!(at(BCR_KIND, bcr(0), value), expected, "type {kind:#x}");
    }
    assert_eq!(at(BCR_KIND, bcr(0), !(0xc << 20)), 0x003f_e1e7);
    assert_eq!(at(WCR_KIND, wcr(0), u64::MAX), 0x1f1f_ffff);
    assert_eq!(at(BVR_KIND, bvr(0), u64::MAX), u64::MAX);
}

#[test]
fn other_debug_registers() {
    let mut cpu = Cpu::new();
    let mdccint = (2, 0, 0, 2, 0);
    assert_eq!(cpu.write(mdccint, 5), Outcome::Debug);
    assert_eq!(cpu.read(mdccint), Outcome::Value(5));
    assert_eq!(cpu.read((2, 0, 7, 14, 6)), Outcome::Value(0b1010));
    // MDRAR_EL1 and MDCCSR_EL0 are read-only.
    for e in [(2, 0, 1, 0, 0), (2, 3, 0, 1, 0)] {
        assert_eq!(cpu.read(e), Outcome::Value(0), "{e:?}");
        assert_eq!(cpu.write(e, 1), Outcome::Undefined, "{e:?}");
    }
    let raz_wi = [
        (2, 0, 1, 3, 4),
        (2, 0, 1, 4, 4),
        (2, 0, 7, 8, 6),
        (2, 0, 7, 9, 6),
        (2, 0, 0, 0, 2),
        (2, 0, 0, 3, 2),
        (2, 0, 0, 6, 2),
        (2, 3, 0, 4, 0),
        (2, 3, 0, 5, 0),
    ];
    for e in raz_wi {
        assert_eq!(cpu.write(e, 1), Outcome::Done, "{e:?}");
        assert_eq!(cpu.read(e), Outcome::Value(0), "{e:?}");
    }
    // DBGVCR32_EL2 and trace.
    for e in [
        (2, 4, 0, 7, 0),
        (2, 1, 0, 0, 1),
        (2, 0, 0, 2, 3),
        (2, 0, 1, 2, 4),
    ] {
        assert_eq!(cpu.read(e), Outcome::Undefined, "{e:?}");
    }
}
