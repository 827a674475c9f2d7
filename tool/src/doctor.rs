// SPDX-License-Identifier: Apache-2.0
//! Can mvirt run on a machine? Asked of files alone, so that it needs no module and no privilege, and
//! is tested on any machine with files that are made up ([`Root`]).
//!
//! * `root`     the files, where they may be others'
//! * `tree`     the device tree
//! * `log`      the kernel's log
//! * `kernel`, `level`, `firmware`, `cpus`, `memory`, `vms`, `module`  the checks
//!
//! The words of a check that says no are those of the module's refusal (`mvirt_abi::refusal`).
//! [`line_of`] says for each refusal which check has it: the compiler sees to it that none is
//! forgotten.

mod cpus;
mod firmware;
mod kernel;
mod level;
mod log;
mod memory;
mod module;
mod root;
mod tree;
mod vms;

use std::fmt::Display;

use mvirt_abi::refusal::Reason;
use serde::Serialize;

pub use root::Root;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As mvirt needs it.
    Ok,
    /// mvirt cannot run so.
    No,
    /// It could not be told.
    Unknown,
}

/// A check's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// The result.
    pub result: Outcome,
    /// What was found.
    pub found: String,
    /// What mends it.
    pub remedy: Option<String>,
    /// The module's refusals that this leads to.
    pub refusals: Vec<&'static str>,
    /// Whether the verdict depends on it.
    pub decides: bool,
}

impl Finding {
    fn new(check: &'static str, result: Outcome, found: impl Into<String>) -> Finding {
        Finding {
            check,
            result,
            found: found.into(),
            remedy: None,
            refusals: Vec::new(),
            decides: true,
        }
    }

    /// As mvirt needs it.
    fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(check, Outcome::Ok, found)
    }

    /// It could not be told.
    fn unknown(check: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(check, Outcome::Unknown, found)
    }

    /// Not as mvirt needs it, and not a matter of the module's.
    fn no(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Outcome::No, found).mend(remedy)
    }

    /// The module would refuse, in the same words.
    fn refused(check: &'static str, reason: Reason, values: &[&dyn Display]) -> Finding {
        let said = reason.with(values).to_string();
        let (cause, remedy) = said.split_once("; ").unwrap_or((&said, ""));
        Finding::no(check, cause, remedy).leads_to(reason)
    }

    fn mend(mut self, remedy: impl Into<String>) -> Finding {
        self.remedy = Some(remedy.into());
        self
    }

    fn leads_to(mut self, reason: Reason) -> Finding {
        self.refusals.push(reason.name());
        self
    }

    /// Told, but the verdict does not depend on it.
    fn aside(mut self) -> Finding {
        self.decides = false;
        self
    }
}

/// Whether mvirt runs, as far as its device tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Running {
    /// It does.
    Yes {
        /// CPUs under EL2.
        active: u64,
        /// CPUs that there may be.
        possible: u32,
    },
    /// There is no device.
    No,
    /// There is a device that this user may not ask.
    Unseen,
    /// Something else has the name.
    Strange(String),
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// mvirt runs.
    Runs,
    /// Nothing is in its way.
    Can,
    /// Something is.
    Cannot,
    /// Nothing is known to be, and not everything could be seen.
    Unknown,
}

/// All checks and what follows.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// The answer.
    pub verdict: Verdict,
    /// What it follows from.
    pub checks: Vec<Finding>,
}

/// Looks at the machine.
pub fn examine(root: &Root, running: Running) -> Diagnosis {
    let log = log::Log::read(root);
    let tree = tree::Tree::new(root);
    let config = kernel::Config::read(root);
    let runs = matches!(running, Running::Yes { .. } | Running::Unseen);

    let mut checks = vec![kernel::machine(root), kernel::pages(root)];
    checks.push(kernel::config(&config));
    checks.push(kernel::modules(root, &config, runs));
    let level = level::of(root, &tree, &log);
    checks.push(level::check(level));
    checks.push(level::kvm(root));
    checks.push(firmware::psci(&tree));
    checks.push(cpus::number(root));
    checks.push(cpus::described(&tree));
    checks.push(cpus::errata(root));
    checks.push(memory::ranges(root));
    checks.extend(memory::blocks(root));
    checks.push(vms::gic(&tree, &log));
    checks.push(vms::timers(root, &tree));
    checks.push(module::device(running));
    checks.extend(module::log(&log, runs));

    let any = |outcome| checks.iter().any(|f| f.decides && f.result == outcome);
    let verdict = if runs {
        Verdict::Runs
    } else if any(Outcome::No) {
        Verdict::Cannot
    } else if any(Outcome::Unknown) {
        Verdict::Unknown
    } else {
        Verdict::Can
    };
    Diagnosis { verdict, checks }
}

/// Where a refusal shows.
#[cfg_attr(not(test), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// In this check, before the module is loaded; in that of the log, after it was refused.
    Before(&'static str),
    /// Only the module can see it: in the check of the log, after it was refused.
    After,
}

/// Where each refusal of the module shows.
#[cfg_attr(not(test), allow(dead_code))]
pub const fn line_of(reason: Reason) -> Line {
    use Line::{After, Before};
    match reason {
        Reason::KernelAtEl2 | Reason::NoEl2 | Reason::EnteredAtEl1 => Before(level::LEVEL),
        Reason::KvmOwnsEl2 => Before(level::KVM),
        Reason::NoPsci | Reason::OldPsci | Reason::ConduitNotSmc => Before(firmware::PSCI),
        Reason::SpinTable | Reason::NoMpidr => Before(cpus::DESCRIBED),
        Reason::TooManyCpus => Before(cpus::NUMBER),
        Reason::CpuErratum => Before(cpus::ERRATA),
        Reason::PageSize => Before(kernel::PAGES),
        Reason::RamRanges | Reason::NoRam | Reason::TooMuchRam => Before(memory::RANGES),
        Reason::NoMemory => Before(memory::BLOCKS),
        Reason::AlreadyOwned => Before(module::DEVICE),
        Reason::NoGicv3 | Reason::NoSplitEoi | Reason::NoMaintenance => Before(vms::GIC),
        Reason::NoTimer | Reason::Taken => Before(vms::TIMERS),
        // What answers an HVC, what is in the module's file, what EL2 finds on a core that sysfs does
        // not show, and what fails on the way.
        Reason::OtherHypervisor
        | Reason::AbiMismatch
        | Reason::CpuGranule
        | Reason::CpuPaRange
        | Reason::Entry
        | Reason::Setup
        | Reason::Step
        | Reason::NoHotplug
        | Reason::NoWorldSwitch => After,
    }
}

#[cfg(test)]
mod tests;
