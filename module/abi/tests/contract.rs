// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The contract against itself: numbers that survive a round trip, calls that reach the method of
//! their name with their arguments in order, a layout whose parts do not overlap.

use mvirt_abi::*;

#[test]
fn numbers_name_one_call_each() {
    for (i, call) in Call::ALL.iter().enumerate() {
        assert_eq!(call.id(), CALL_BASE + i as u64, "numbers leave no gap");
        assert_eq!(Call::from_id(call.id()), Some(*call));
    }
}

#[test]
fn numbers_around_the_list_name_none() {
    let end = CALL_BASE + Call::ALL.len() as u64;
    for x0 in [0, 4, CALL_BASE - 1, end, end + 0xffff, u64::MAX] {
        assert_eq!(Call::from_id(x0), None, "{x0:#x}");
    }
    // All 64 bits count: neither the upper half nor a wrapped number is overlooked.
    for call in Call::ALL {
        assert_eq!(Call::from_id(call.id() | 1 << 32), None);
        assert_eq!(Call::from_id(call.id() | 1 << 63), None);
        assert_eq!(Call::from_id(call.id() & 0xffff), None);
        assert_eq!(Call::from_id(call.id() + 0x1_0000), None);
    }
}

#[test]
fn numbers_are_apart_from_the_stubs_and_kvms() {
    // The stub's are below 16; KVM's host calls are SMCCC 64-bit fast calls of the vendor
    // hypervisor service with numbers below 0x1000; the guest interface is in the same range.
    assert_eq!(CALL_BASE >> 24, 0xc6);
    let first = CALL_BASE & 0xffff;
    assert!(first >= 0x1000 && first + (Call::ALL.len() as u64) <= 0xffff);
}

#[test]
fn calls_fit_the_registers() {
    for call in Call::ALL {
        assert!(
            call.args().len() <= 6 && call.results().len() <= 6,
            "{}",
            call.name()
        );
    }
}

#[test]
fn errors_survive_the_trip() {
    for error in Error::ALL {
        assert_eq!(Error::from_raw(error.to_raw()), Some(error));
        assert!(
            (-4095..0).contains(&(error.to_raw() as i64)),
            "{error:?} is no errno"
        );
    }
}

#[test]
fn success_is_no_error_and_nonsense_is_one() {
    assert_eq!(Error::from_raw(0), None);
    // The kernel's hyp stub answers 0xbadca11 to a number that it does not know.
    let stub = 0x0bad_ca11;
    for x0 in [
        1,
        stub,
        i64::MAX as u64,
        u64::MAX - 4095,
        i64::MIN as u64,
        -3i64 as u64,
    ] {
        assert_eq!(Error::from_raw(x0), Some(Error::NotSupported), "{x0:#x}");
    }
}

#[test]
fn entry_errors_survive_the_trip() {
    use CpuRefusal::*;
    let mut all = vec![
        EntryError::Cpu(Granule),
        EntryError::Cpu(PaRange),
        EntryError::Cpu(Erratum(0)),
        EntryError::Cpu(Erratum(4_193_714)),
        EntryError::Cpu(Erratum(u32::MAX)),
    ];
    all.extend(Error::ALL.map(EntryError::Failed));
    for error in all {
        let (x0, x1) = error.to_raw();
        assert_eq!(EntryError::from_raw(x0, x1), Some(error));
        assert_eq!(Error::from_raw(x0), Some(error.error()));
    }
}

#[test]
fn an_entry_that_succeeds_has_no_error_whatever_x1_says() {
    let reason = CpuRefusal::Erratum(1).to_raw();
    for x1 in [0, ENTERED_SPECTRE_V2_OPEN, reason, u64::MAX] {
        assert_eq!(EntryError::from_raw(0, x1), None);
    }
}

#[test]
fn a_reason_is_read_beside_its_error_alone() {
    let reason = CpuRefusal::Erratum(4_193_714).to_raw();
    // The stub refused to enter: x1 is what EL1 passed, which may look like anything.
    let stub = EntryError::Failed(Error::NotSupported);
    assert_eq!(EntryError::from_raw(0x0bad_ca11, reason), Some(stub));
    let invalid = EntryError::Failed(Error::Invalid);
    assert_eq!(
        EntryError::from_raw(Error::Invalid.to_raw(), reason),
        Some(invalid)
    );
    // No reason that is known here.
    for x1 in [0, 1, 1 << 32 | 1, 2 << 32 | 1, 4 << 32, u64::MAX] {
        let x0 = Error::NotSupported.to_raw();
        assert_eq!(EntryError::from_raw(x0, x1), Some(stub), "{x1:#x}");
    }
}

/// The two sides joined: a caller whose conduit is a handler.
struct Loop;

/// Answers with the arguments that a method got, padded, after the call's number.
struct Echo(Vec<u64>);

/// Writes [`Handler`] for [`Echo`]: each method notes its arguments.
macro_rules! echo {
    ($($method:ident ( $($arg:ident),* );)*) => {
        impl Handler for Echo {
            $(fn $method(&mut self $(, $arg: u64)*) -> Result<Results, Error> {
                self.0 = vec![$($arg),*];
                Ok([name_hash(stringify!($method)), 2, 3, 4, 5, 6])
            })*
        }

        /// Each stub of [`Caller`], called with 11, 12, ...
        fn call_all(to: &Loop) -> Vec<(&'static str, Result<Results, Error>)> {
            vec![$({
                let mut _next = 10u64;
                (stringify!($method), to.$method($({
                    let _ = stringify!($arg);
                    _next += 1;
                    _next
                }),*))
            }),*]
        }
    };
}

echo! {
    version();
    prepare();
    enable_cpu();
    finalise();
    release();
    stat(stat, cpu);
    read_reg(index);
    pool_donate(pfn, nr);
    pool_reclaim();
    share(pfn);
    unshare(pfn);
    page_state(pfn);
    crash(kind);
    vm_create(flags, ipa_bits);
    vm_destroy(vm);
    vcpu_create(vm, vcpu);
    vcpu_init(vm, vcpu, flags);
    vcpu_run(vm, vcpu, flags, value);
    vcpu_get_reg(vm, vcpu, reg);
    vcpu_set_reg(vm, vcpu, reg, value);
    guest_map(vm, gfn, pfn, nr, rights);
    guest_unmap(vm, gfn, nr);
    vgic_set(vm, attr, index, value);
    vgic_get(vm, attr, index);
    irq_line(vm, vcpu, irq, level);
    irq_resample(vm, irq, wanted);
    irq_ended(vm);
    vm_enable(vm, features);
}

fn name_hash(name: &str) -> u64 {
    name.bytes()
        .fold(7, |h, b| h.wrapping_mul(31) ^ u64::from(b))
}

impl Caller for Loop {
    fn hvc(&self, id: u64, args: [u64; 6]) -> (u64, Results) {
        let call = Call::from_id(id).expect("a stub makes a call of the list");
        let mut echo = Echo(Vec::new());
        let results = echo.dispatch(call, &args).expect("echo succeeds");
        assert_eq!(
            echo.0,
            args[..call.args().len()],
            "{}: arguments in order",
            call.name()
        );
        assert!(
            args[call.args().len()..].iter().all(|x| *x == 0),
            "unused registers are 0"
        );
        (0, results)
    }
}

#[test]
fn every_call_reaches_the_method_of_its_name() {
    let made = call_all(&Loop);
    assert_eq!(made.len(), Call::ALL.len());
    for (call, (name, answer)) in Call::ALL.iter().zip(made) {
        assert_eq!(call.name(), name);
        assert_eq!(answer, Ok([name_hash(name), 2, 3, 4, 5, 6]));
    }
}

#[test]
fn a_refusal_comes_back_as_the_error() {
    struct Refuse;
    impl Caller for Refuse {
        fn hvc(&self, _id: u64, _args: [u64; 6]) -> (u64, Results) {
            (Error::Busy.to_raw(), [9; 6])
        }
    }
    assert_eq!(Refuse.share(1), Err(Error::Busy));
}

#[test]
fn carveout_parts_are_aligned_and_apart() {
    let params = size_of::<BootParams>() as u64;
    for page_shift in [12, 14] {
        let page = 1u64 << page_shift;
        for cpus in 1..=MAX_CPUS as u32 {
            for image in [0, 1, page as u32, 0x1_2345, 1 << 20] {
                let c = Carveout::new(image, cpus, page_shift).expect("in range");
                for at in [c.params, c.stacks, c.pool, c.size] {
                    assert_eq!(at % page, 0);
                }
                assert!(u64::from(image) <= c.params);
                assert!(c.params + params <= c.stacks);
                assert_eq!(c.pool - c.stacks, STACK_SIZE * u64::from(cpus));
                let pages = INITIAL_POOL_PAGES + 8 * u64::from(cpus);
                assert_eq!(c.size - c.pool, pages * page);
            }
        }
    }
}

#[test]
fn carveout_refuses_what_is_out_of_range() {
    assert_eq!(Carveout::new(4096, 0, 12), None);
    assert_eq!(Carveout::new(4096, MAX_CPUS as u32 + 1, 12), None);
    assert_eq!(Carveout::new(4096, u32::MAX, 12), None);
    assert_eq!(Carveout::new((1 << 20) + 1, 1, 12), None);
    assert_eq!(Carveout::new(u32::MAX, 1, 12), None);
    for page_shift in [0, 11, 13, 15, 16, 63, 64, u32::MAX] {
        assert_eq!(Carveout::new(4096, 1, page_shift), None);
    }
}

#[test]
fn counters_are_numbered_in_order_and_named_once() {
    for (i, stat) in Stat::ALL.iter().enumerate() {
        assert_eq!(*stat as usize, i);
        assert!(Stat::ALL[..i]
            .iter()
            .all(|other| other.name() != stat.name()));
    }
}
