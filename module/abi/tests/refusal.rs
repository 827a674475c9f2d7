// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The words of refusals: whole, apart from each other, and filled in.

use std::fmt::Display;

use mvirt_abi::refusal::Reason;

#[test]
fn each_has_a_cause_and_a_remedy() {
    for reason in Reason::ALL {
        // The log line is cut in two at the first semicolon.
        assert!(!reason.cause().contains(';'), "{reason:?}");
        for text in [reason.cause(), reason.remedy()] {
            assert!(
                text.len() > 10 && !text.ends_with('.'),
                "{reason:?}: {text}"
            );
        }
        assert_eq!(reason.name(), format!("{reason:?}"));
    }
}

#[test]
fn no_two_say_the_same() {
    for (n, a) in Reason::ALL.iter().enumerate() {
        for b in &Reason::ALL[n + 1..] {
            assert_ne!(a.cause(), b.cause());
        }
    }
}

#[test]
fn values_are_filled_in_in_their_order() {
    let values: [&dyn Display; 3] = [&33, &32, &"32"];
    assert_eq!(
        Reason::TooManyCpus.with(&values).to_string(),
        "33 possible CPUs, 32 are served; boot with nr_cpus=32"
    );
    assert_eq!(
        Reason::NoEl2.with(&[]).to_string(),
        "this CPU has no EL2, or another hypervisor hides it; the machine must provide EL2 \
         (QEMU: -machine virtualization=on)"
    );
}

#[test]
fn a_value_that_is_missing_is_seen() {
    let values: [&dyn Display; 1] = [&7];
    assert_eq!(
        Reason::Step.with(&values).to_string(),
        "EL2 refused 7 ({}); report it with this log"
    );
}

#[test]
fn virtual_machines_come_last() {
    let first = Reason::ALL.iter().position(|reason| reason.is_of_vms());
    let first = first.expect("there are some");
    assert_eq!(Reason::ALL[first], Reason::NoGicv3);
    assert!(Reason::ALL[first..].iter().all(|reason| reason.is_of_vms()));
}
