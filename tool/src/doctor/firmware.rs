// SPDX-License-Identifier: Apache-2.0
//! The firmware: PSCI 0.2 or later, called by SMC.

use mvirt_abi::refusal::Reason;

use super::tree::Tree;
use super::Finding;

pub const PSCI: &str = "PSCI";

/// As the module asks: first for 0.2 or later, then for what is older.
pub fn psci(tree: &Tree) -> Finding {
    if !tree.is_there() {
        let refused = Finding::refused(PSCI, Reason::NoPsci, &[]);
        let found = format!("{}: this machine has none", refused.found);
        return Finding { found, ..refused }.mend(
            "the firmware must describe the machine by a device tree, with PSCI 0.2 or later",
        );
    }
    let Some(node) = tree.compatible(&["arm,psci-1.0", "arm,psci-0.2"]) else {
        let old = tree.compatible(&["arm,psci"]).is_some();
        let reason = if old { Reason::OldPsci } else { Reason::NoPsci };
        return Finding::refused(PSCI, reason, &[]);
    };
    match node.text("method").as_deref() {
        Some("smc") => Finding::ok(PSCI, "0.2 or later, called by SMC"),
        _ => Finding::refused(PSCI, Reason::ConduitNotSmc, &[]),
    }
}
