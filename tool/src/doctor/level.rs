// SPDX-License-Identifier: Apache-2.0
//! The Exception level at which the kernel was entered and runs, and whether its KVM has EL2.
//!
//! The kernel's timer tells, to everybody: it is EL2's own where the kernel runs at EL2, the physical
//! one where it was entered at EL2 and went down to EL1, and the virtual one where it was entered at
//! EL1 (arch_timer_select_ppi() of drivers/clocksource/arm_arch_timer.c). The log says it too.

use mvirt_abi::refusal::Reason;

use super::log::Log;
use super::root::Root;
use super::tree::Tree;
use super::{vms, Finding};

pub const LEVEL: &str = "EL2";
pub const KVM: &str = "KVM";

/// Where the kernel was entered, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// At EL2, where it stayed.
    AtEl2,
    /// At EL2, and it runs at EL1.
    EnteredAtEl2,
    /// At EL1.
    EnteredAtEl1,
}

/// Finds out.
pub fn of(root: &Root, tree: &Tree, log: &Log) -> Option<Level> {
    by_timer(root, tree).or_else(|| by_log(log))
}

fn by_timer(root: &Root, tree: &Tree) -> Option<Level> {
    let used = vms::lines_of(root, "arch_timer");
    let timers = vms::timer_interrupts(tree)?;
    let place = timers.iter().position(|irq| used.contains(irq))?;
    Some(match place {
        0 | 1 => Level::EnteredAtEl2,
        2 => Level::EnteredAtEl1,
        _ => Level::AtEl2,
    })
}

fn by_log(log: &Log) -> Option<Level> {
    if log.says("CPU features: detected: Virtualization Host Extensions")? {
        return Some(Level::AtEl2);
    }
    if log.says("CPU: All CPU(s) started at EL2")? {
        return Some(Level::EnteredAtEl2);
    }
    log.says("CPU: All CPU(s) started at EL1")?
        .then_some(Level::EnteredAtEl1)
}

/// At EL1, entered at EL2.
pub fn check(level: Option<Level>) -> Finding {
    match level {
        Some(Level::EnteredAtEl2) => {
            Finding::ok(LEVEL, "the kernel was entered at EL2 and runs at EL1")
        }
        Some(Level::AtEl2) => Finding::refused(LEVEL, Reason::KernelAtEl2, &[]),
        // ID_AA64PFR0_EL1 would tell them apart, and is hidden from programs.
        Some(Level::EnteredAtEl1) => {
            let (entered, none) = (Reason::EnteredAtEl1, Reason::NoEl2);
            Finding::no(
                LEVEL,
                format!("{}, or {}", entered.cause(), none.cause()),
                format!("{}; {}", entered.remedy(), none.remedy()),
            )
            .leads_to(entered)
            .leads_to(none)
        }
        None => Finding::unknown(
            LEVEL,
            "neither /proc/interrupts nor the log tells where the kernel was entered",
        )
        .mend("run it as root"),
    }
}

/// No KVM that has EL2.
pub fn kvm(root: &Root) -> Finding {
    let misc = root.text("proc/misc").has().unwrap_or_default();
    let registered = misc
        .lines()
        .any(|l| l.split_whitespace().nth(1) == Some("kvm"));
    if registered || root.is_there("dev/kvm") {
        return Finding::refused(KVM, Reason::KvmOwnsEl2, &[]);
    }
    Finding::ok(KVM, "does not use EL2")
}
