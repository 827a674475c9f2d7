// SPDX-License-Identifier: Apache-2.0
//! The module itself: whether it runs, and what it said when it was loaded last.

use mvirt_abi::refusal::Reason;

use super::log::Log;
use super::{Finding, Outcome, Running};

pub const DEVICE: &str = "module";
const LOG: &str = "log";

/// What the device says.
pub fn device(running: Running) -> Finding {
    match running {
        Running::Yes { active, possible } => Finding::ok(
            DEVICE,
            format!(
                "{}: {active} of {possible} CPUs",
                Reason::AlreadyOwned.cause()
            ),
        ),
        Running::Unseen => Finding::ok(
            DEVICE,
            format!("{}, and root may ask it more", Reason::AlreadyOwned.cause()),
        ),
        Running::No => Finding::ok(DEVICE, "not loaded").aside(),
        Running::Strange(error) => Finding::unknown(DEVICE, error),
    }
}

/// The module's last word about loading, and that about virtual machines.
pub fn log(log: &Log, runs: bool) -> Vec<Finding> {
    let Some(lines) = log.lines() else {
        let why = log.why_not().unwrap_or_default();
        return vec![Finding::unknown(LOG, why).mend("run it as root").aside()];
    };
    let ours = lines.iter().filter_map(|line| line.strip_prefix("mvirt: "));
    let is_about_loading = |line: &&str| {
        let starts = ["refused: ", "host runs under EL2", "EL2 is given back"];
        starts.iter().any(|start| line.starts_with(start))
    };
    let mut findings = Vec::new();
    match ours.clone().rfind(is_about_loading) {
        Some(line) => findings.push(loading(line, runs)),
        None => findings.push(Finding::ok(LOG, "nothing of mvirt's").aside()),
    }
    let vms = "no virtual machines on this machine: ";
    if let Some(line) = ours.filter_map(|line| line.strip_prefix(vms)).next_back() {
        findings.push(said(line));
    }
    findings
}

fn loading(line: &str, runs: bool) -> Finding {
    match line.strip_prefix("refused: ") {
        Some(refusal) if runs => Finding {
            result: Outcome::Unknown,
            ..said(refusal).aside()
        },
        Some(refusal) => said(refusal),
        None => Finding::ok(LOG, line).aside(),
    }
}

/// A refusal, as it was said.
fn said(line: &str) -> Finding {
    let (cause, remedy) = line.split_once("; ").unwrap_or((line, "report it"));
    let finding = Finding::no(LOG, cause, remedy);
    match reason_of(line) {
        Some(reason) => finding.leads_to(reason),
        // A module that is newer than this tool.
        None => finding,
    }
}

/// Which reason a line of the log gives.
pub fn reason_of(line: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| {
        let template = format!("{}; {}", reason.cause(), reason.remedy());
        matches(line, &template)
    })
}

/// Whether a text is this one with something in each hole.
fn matches(text: &str, template: &str) -> bool {
    let mut parts = template.split("{}");
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        // A hole has a character at least.
        let Some(at) = rest
            .char_indices()
            .skip(1)
            .find_map(|(at, _)| rest[at..].starts_with(part).then_some(at))
            .or((part.is_empty() && !rest.is_empty()).then_some(rest.len()))
        else {
            return false;
        };
        open = part.is_empty();
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || open
}
