// SPDX-License-Identifier: GPL-2.0
//! One case for each function and refusal, and any sequence of calls against a model.

use std::string::String;
use std::vec;

use proptest::prelude::*;

use super::*;
use crate::doc_check::check_table;
use crate::guest::reset::mpidr;

const PC: u64 = 0x4008_0000;

fn context(caller: usize) -> Context {
    Context {
        caller,
        big_endian: false,
        ipa_bits: 40,
        may_suspend: true,
    }
}

/// vCPU 0 on, 1 to `n` - 1 off.
fn vm(n: usize) -> Power {
    let mut power = Power::new();
    for vcpu in 0..n {
        assert!(power.init(vcpu, vcpu != 0));
    }
    power
}

fn call(power: &mut Power, id: u32, args: [u64; 3]) -> Action {
    power.call(Identifier::decode(id).unwrap(), args, &context(0))
}

fn code(code: ReturnCode) -> Action {
    Action::Answer(code.to_x0())
}

fn entry(pc: u64, x0: u64) -> EntryPoint {
    EntryPoint {
        pc,
        x0,
        big_endian: false,
    }
}

const CPU_ON: u32 = 0xc400_0003;
const AFFINITY_INFO: u32 = 0xc400_0004;
const SYSTEM_SUSPEND: u32 = 0xc400_000e;

#[test]
fn version_and_what_is_constant() {
    let mut vm = vm(1);
    assert_eq!(call(&mut vm, 0x8400_0000, [0; 3]), Action::Answer(0x1_0003));
    assert_eq!(call(&mut vm, 0x8400_0006, [0; 3]), Action::Answer(2));
    for id in [0xc400_0001, 0x8400_0001] {
        assert_eq!(call(&mut vm, id, [1 << 16, PC, 0]), Action::Wait);
    }
    assert_eq!(vm.get(0), Some(power::ON));
}

/// What each identifier is said to be, and does.
#[test]
fn features_agree_with_the_functions() {
    for function in Function::ALL {
        for id in [function.id(), function.id32()] {
            let mut vm = vm(2);
            let said = call(&mut vm, 0x8400_000a, [u64::from(id), 0, 0]);
            let supported = said != code(ReturnCode::NotSupported);
            // Arguments that no function takes for good, but PSCI_FEATURES's own.
            let does = call(&mut vm, id, [u64::from(id), 2, 2]);
            assert_eq!(supported, does != code(ReturnCode::NotSupported), "{id:#x}");
            let expected = match function {
                Function::SystemOff2 => 1,
                _ => 0,
            };
            if supported {
                assert_eq!(said, Action::Answer(expected), "{id:#x}");
            }
        }
    }
    let mut vm = vm(1);
    let mut features = |id| call(&mut vm, 0x8400_000a, [id, 0, 0]);
    assert_eq!(features(0x8000_0000), code(ReturnCode::Success));
    assert_eq!(features(0x8400_0016), code(ReturnCode::NotSupported));
    assert_eq!(features(0xc400_0000), code(ReturnCode::NotSupported));
    assert_eq!(features(0x8400_0050), code(ReturnCode::NotSupported));
}

#[test]
fn a_form_that_there_is_not() {
    let mut vm = vm(1);
    // 64-bit PSCI_VERSION, SYSTEM_OFF; a number beyond 1.3.
    for id in [0xc400_0000, 0xc400_0008, 0x8400_0016] {
        assert_eq!(call(&mut vm, id, [0; 3]), code(ReturnCode::NotSupported));
    }
}

#[test]
fn cpu_on() {
    let mut vm = vm(3);
    let on = |vm: &mut Power, target, pc| call(vm, CPU_ON, [target, pc, 77]);
    let invalid = code(ReturnCode::InvalidParameters);
    // Not created; RES1 bit 31 is no part of the affinity; above Aff3.
    for target in [3, 0x100, 1 << 31 | 1, 1 << 40 | 1, 1 << 32] {
        assert_eq!(on(&mut vm, target, PC), invalid, "{target:#x}");
    }
    let address = code(ReturnCode::InvalidAddress);
    assert_eq!(on(&mut vm, 1, 1 << 40), address);
    assert_eq!(on(&mut vm, 1, PC + 2), address);
    assert_eq!(vm.get(1), Some(power::OFF));
    assert_eq!(on(&mut vm, 0, PC), code(ReturnCode::AlreadyOn));
    assert_eq!(on(&mut vm, 1, PC), Action::Started(1));
    assert_eq!(on(&mut vm, 1, PC + 8), code(ReturnCode::OnPending));
    // The first entry counts, once.
    assert_eq!(vm.get(1), Some(power::ON));
    assert_eq!(vm.enter(1, false), Entry::Reset(entry(PC, 77)));
    assert_eq!(vm.enter(1, false), Entry::Run);
    assert_eq!(on(&mut vm, 1, PC), code(ReturnCode::AlreadyOn));
    assert_eq!(vm.enter(2, true), Entry::Off);
    assert_eq!(vm.enter(3, true), Entry::Off);
}

#[test]
fn cpu_on_passes_what_the_caller_is() {
    let mut vm = vm(3);
    let mut big = context(0);
    big.big_endian = true;
    let id = Identifier::decode(CPU_ON).unwrap();
    assert_eq!(vm.call(id, [1, PC, 0], &big), Action::Started(1));
    let Entry::Reset(got) = vm.enter(1, false) else {
        panic!("not reset");
    };
    assert!(got.big_endian);
    // SMC32: the upper halves are not arguments.
    let junk = 0xdead_beef_0000_0000;
    let done = call(&mut vm, 0x8400_0003, [junk | 2, junk | PC, junk | 5]);
    assert_eq!(done, Action::Started(2));
    assert_eq!(vm.enter(2, false), Entry::Reset(entry(PC, 5)));
}

#[test]
fn cpu_off_and_on_again() {
    let mut vm = vm(2);
    assert_eq!(call(&mut vm, 0x8400_0002, [0; 3]), Action::Off);
    assert_eq!(vm.enter(0, true), Entry::Off);
    assert_eq!(vm.get(0), Some(power::OFF));
    let id = Identifier::decode(CPU_ON).unwrap();
    assert_eq!(vm.call(id, [0, PC, 0], &context(1)), Action::Started(0));
}

#[test]
fn affinity_info() {
    let mut vm = vm(4);
    let info = |vm: &mut Power, target, level| call(vm, AFFINITY_INFO, [target, level, 0]);
    let (on, off) = (Action::Answer(0), Action::Answer(1));
    assert_eq!(info(&mut vm, 0, 0), on);
    assert_eq!(info(&mut vm, 1, 0), off);
    // Levels 1 to 3 are the whole VM; what is below the level does not count.
    for level in 1..4 {
        assert_eq!(info(&mut vm, 0x3, level), on);
    }
    let invalid = code(ReturnCode::InvalidParameters);
    for (target, level) in [
        (4, 0),
        (0x100, 1),
        (0x1_0000, 2),
        (1 << 32, 3),
        (0, 4),
        (1 << 31, 0),
    ] {
        assert_eq!(info(&mut vm, target, level), invalid, "{target:#x} {level}");
    }
    // Pending counts as on.
    assert_eq!(call(&mut vm, CPU_ON, [1, PC, 0]), Action::Started(1));
    assert_eq!(info(&mut vm, 1, 0), on);
    assert!(vm.set(0, power::OFF) && vm.set(1, power::OFF));
    assert_eq!(info(&mut vm, 0, 1), off);
}

#[test]
fn the_end_of_the_vm() {
    let event = |event, flags| Action::System {
        event,
        flags,
        x0: Some(ReturnCode::InternalFailure.to_x0()),
        stops_others: true,
    };
    let table = [
        (0x8400_0008, [0, 0, 0], event(SystemEvent::Shutdown, 0)),
        (0x8400_0009, [0, 0, 0], event(SystemEvent::Reset, 0)),
        (0xc400_0015, [0, 0, 9], event(SystemEvent::Shutdown, 1)),
        (0x8400_0015, [1, 0, 0], event(SystemEvent::Shutdown, 1)),
        (0xc400_0012, [0, 42, 0], event(SystemEvent::Reset, 1)),
        (
            0x8400_0012,
            [0x8000_0000, 42, 0],
            event(SystemEvent::Reset, 1),
        ),
        (
            0xc400_0012,
            [0xffff_ffff, 0, 0],
            event(SystemEvent::Reset, 1),
        ),
    ];
    for (id, args, expected) in table {
        let mut vm = vm(2);
        let _ = call(&mut vm, CPU_ON, [1, PC, 0]);
        assert_eq!(call(&mut vm, id, args), expected, "{id:#x} {args:x?}");
        assert_eq!(
            (vm.enter(0, true), vm.enter(1, true)),
            (Entry::Off, Entry::Off)
        );
        assert!(vm.init(0, false));
        assert_eq!(
            (vm.enter(0, true), vm.enter(1, true)),
            (Entry::Run, Entry::Off)
        );
    }
    let refused = [
        (0xc400_0015, [2, 0, 0]),
        (0xc400_0015, [1, 1, 0]),
        (0xc400_0015, [1 << 32, 0, 0]),
        (0xc400_0012, [1, 0, 0]),
        (0xc400_0012, [0x7fff_ffff, 0, 0]),
    ];
    for (id, args) in refused {
        let mut vm = vm(1);
        let got = call(&mut vm, id, args);
        assert_eq!(
            got,
            code(ReturnCode::InvalidParameters),
            "{id:#x} {args:x?}"
        );
        assert_eq!(vm.get(0), Some(power::ON));
    }
    assert_eq!(SystemEvent::Shutdown as u32, 1);
    assert_eq!(SystemEvent::Reset as u32, 2);
    assert_eq!(SystemEvent::Suspend as u32, 5);
}

#[test]
fn system_suspend() {
    let mut vm = vm(2);
    let id = Identifier::decode(SYSTEM_SUSPEND).unwrap();
    let forbidden = Context {
        may_suspend: false,
        ..context(0)
    };
    assert_eq!(
        vm.call(id, [PC, 5, 0], &forbidden),
        code(ReturnCode::NotSupported)
    );
    let features = Identifier::decode(0x8400_000a).unwrap();
    let said = vm.call(features, [u64::from(SYSTEM_SUSPEND), 0, 0], &forbidden);
    assert_eq!(said, code(ReturnCode::NotSupported));
    assert_eq!(
        call(&mut vm, SYSTEM_SUSPEND, [1 << 40, 5, 0]),
        code(ReturnCode::InvalidAddress)
    );
    // The others must be off; one that is on its way up is not.
    let _ = call(&mut vm, CPU_ON, [1, PC, 0]);
    assert_eq!(
        call(&mut vm, SYSTEM_SUSPEND, [PC, 5, 0]),
        code(ReturnCode::Denied)
    );
    assert!(vm.set(1, power::OFF));
    let expected = Action::System {
        event: SystemEvent::Suspend,
        flags: 0,
        x0: None,
        stops_others: false,
    };
    assert_eq!(call(&mut vm, SYSTEM_SUSPEND, [PC, 5, 0]), expected);
    assert_eq!(vm.get(0), Some(power::SUSPENDED));
    assert_eq!(vm.enter(0, false), Entry::Wait);
    // The host may say so too, or take it back.
    let mut other = vm.clone();
    assert!(other.set(0, power::ON));
    assert_eq!(other.enter(0, true), Entry::Run);
    assert!(vm.set(0, power::SUSPENDED));
    assert_eq!(vm.enter(0, true), Entry::Reset(entry(PC, 5)));
    assert_eq!(vm.enter(0, false), Entry::Run);
}

#[test]
fn the_host_sets_a_state() {
    let mut vm = vm(2);
    let _ = call(&mut vm, CPU_ON, [1, PC, 0]);
    // The host's registers count from here on, not the entry point.
    assert!(vm.set(1, power::ON));
    assert_eq!(vm.enter(1, false), Entry::Run);
    assert!(!vm.set(1, 3) && !vm.set(2, power::ON) && !vm.set(usize::MAX, power::ON));
    assert_eq!(vm.get(2), None);
    // It waits, and goes on where it was.
    assert!(vm.set(1, power::SUSPENDED));
    assert_eq!(vm.get(1), Some(power::SUSPENDED));
    assert_eq!(
        (vm.enter(1, false), vm.enter(1, true)),
        (Entry::Wait, Entry::Run)
    );
    assert_eq!(vm.get(1), Some(power::ON));
    assert!(!vm.init(MAX_VCPUS, false));
    assert!(vm.init(MAX_VCPUS - 1, true));
}

proptest! {
    /// Whatever the guest calls: a vCPU runs only if it is on, and a reset is to the entry point of
    /// the CPU_ON that was answered with success.
    #[test]
    fn any_sequence(steps in prop::collection::vec((0usize..4, 0usize..5, 0usize..4), 0..60)) {
        let mut power = vm(4);
        // (on, entry point that is pending)
        let mut model = [(true, None), (false, None), (false, None), (false, None)];
        for (n, (what, target, caller)) in steps.into_iter().enumerate() {
            let pc = 4 * n as u64;
            let call = |power: &mut Power, id, args| {
                power.call(Identifier::decode(id).unwrap(), args, &context(caller))
            };
            match what {
                0 if model[caller].0 && model[caller].1.is_none() => {
                    let got = call(&mut power, CPU_ON, [target as u64, pc, 1]);
                    let expected = match model.get_mut(target) {
                        None => code(ReturnCode::InvalidParameters),
                        Some((false, _)) => {
                            model[target] = (true, Some(pc));
                            Action::Started(target)
                        }
                        Some((true, Some(_))) => code(ReturnCode::OnPending),
                        Some((true, None)) => code(ReturnCode::AlreadyOn),
                    };
                    prop_assert_eq!(got, expected);
                }
                1 if model[caller].0 && model[caller].1.is_none() => {
                    prop_assert_eq!(call(&mut power, 0x8400_0002, [0; 3]), Action::Off);
                    model[caller].0 = false;
                }
                2 => {
                    let got = power.enter(caller, false);
                    let expected = match model[caller] {
                        (false, _) => Entry::Off,
                        (true, None) => Entry::Run,
                        (true, Some(pc)) => Entry::Reset(entry(pc, 1)),
                    };
                    model[caller].1 = None;
                    prop_assert_eq!(got, expected);
                }
                _ => {
                    let got = call(&mut power, AFFINITY_INFO, [caller as u64, 0, 0]);
                    prop_assert_eq!(got, Action::Answer(u64::from(!model[caller].0)));
                }
            }
        }
    }
}

#[test]
fn affinities_are_mpidrs_without_res1() {
    for vcpu in 0..MAX_VCPUS {
        assert_eq!(mpidr(vcpu) & AFFINITY & !(1 << 31), affinity(vcpu));
    }
}

#[test]
fn the_documentation_shows_the_functions() {
    let mut rows = vec![["Function", "Guest"].map(String::from).to_vec()];
    for function in Function::ALL {
        let mut vm = vm(1);
        let said = call(&mut vm, 0x8400_000a, [u64::from(function.id()), 0, 0]);
        let text = if said == code(ReturnCode::NotSupported) {
            "NOT_SUPPORTED"
        } else {
            match function {
                Function::Version => "1.3",
                Function::CpuSuspend => "waits as by WFI; any power_state",
                Function::CpuOn => "INVALID_ADDRESS for an entry point that is beyond the VM's address space or unaligned",
                Function::AffinityInfo => "levels 0 to 3; a vCPU that is on its way up is ON",
                Function::MigrateInfoType => "2: nothing to migrate",
                Function::SystemOff => "exit to the host: SHUTDOWN",
                Function::SystemReset => "exit to the host: RESET",
                Function::SystemOff2 => "exit to the host: SHUTDOWN, flag PSCI_OFF2; type HIBERNATE_OFF or 0",
                Function::SystemReset2 => "exit to the host: RESET, flag PSCI_RESET2; warm reset, or a vendor's type",
                Function::SystemSuspend => "if the host enabled it: exit to the host: SUSPEND; an interrupt resumes the vCPU at its entry point. DENIED while another vCPU is on",
                _ => "yes",
            }
        };
        rows.push([function.name(), text].map(String::from).to_vec());
    }
    check_table("guest-services.rst", "psci", &rows);
}
