// SPDX-License-Identifier: Apache-2.0
//! What virtual machines need beyond what mvirt itself does: the GIC and its interrupts.

use mvirt_abi::refusal::Reason;

use super::log::Log;
use super::root::Root;
use super::tree::{Node, Tree};
use super::Finding;

pub const GIC: &str = "GIC";
pub const TIMERS: &str = "timers";

const GICS: [&str; 5] = [
    "arm,gic-v3",
    "arm,gic-400",
    "arm,cortex-a15-gic",
    "arm,cortex-a9-gic",
    "arm,gic-v5",
];

/// The hardware's numbers of the interrupts that have a handler of this name. A line is `12: counts
/// of each CPU, chip, number, Level or Edge, names`.
pub fn lines_of(root: &Root, name: &str) -> Vec<u32> {
    let is_named = |(_, names): &(u32, String)| names.split(", ").any(|n| n == name);
    lines(root)
        .into_iter()
        .filter(is_named)
        .map(|(irq, _)| irq)
        .collect()
}

fn lines(root: &Root) -> Vec<(u32, String)> {
    let text = root.text("proc/interrupts").has().unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let kind = words.iter().position(|w| matches!(*w, "Level" | "Edge"))?;
            let irq = words.get(kind.checked_sub(1)?)?.parse().ok()?;
            Some((irq, words[kind + 1..].join(" ")))
        })
        .collect()
}

/// The interrupts in a node, by the hardware's numbers.
fn interrupts(node: &Node, gic: &Node) -> Option<Vec<u32>> {
    let size = *gic.cells("#interrupt-cells")?.first()? as usize;
    let cells = node.cells("interrupts")?;
    if size < 3 {
        return None;
    }
    // Documentation/devicetree/bindings/interrupt-controller/arm,gic-v3.yaml: 0 is an SPI, 1 a PPI.
    let number = |c: &[u32]| match c[0] {
        0 => Some(c[1] + 32),
        1 => Some(c[1] + 16),
        _ => None,
    };
    cells.chunks_exact(size).map(number).collect()
}

fn gic_node<'a>(tree: &Tree<'a>) -> Option<Node<'a>> {
    tree.compatible(&GICS)
}

/// Those of the timer: secure, physical, virtual, EL2's.
pub fn timer_interrupts(tree: &Tree) -> Option<Vec<u32>> {
    interrupts(&tree.compatible(&["arm,armv8-timer"])?, &gic_node(tree)?)
}

/// A GICv3 whose maintenance interrupt is described.
pub fn gic(tree: &Tree, log: &Log) -> Finding {
    let Some(node) = tree.compatible(&["arm,gic-v3"]) else {
        return Finding::refused(GIC, Reason::NoGicv3, &[]);
    };
    if interrupts(&node, &node).is_none_or(|irqs| irqs.is_empty()) {
        return Finding::refused(GIC, Reason::NoMaintenance, &[]);
    }
    // The driver says so as it starts; the log may have lost that.
    let starts = log.says("GICv3: ").unwrap_or(false);
    if starts && log.says("Using split EOI/Deactivate mode") == Some(false) {
        return Finding::refused(GIC, Reason::NoSplitEoi, &[]);
    }
    Finding::ok(GIC, "GICv3 with a maintenance interrupt")
}

/// The virtual and the EL2 timer are described, and free.
pub fn timers(root: &Root, tree: &Tree) -> Finding {
    let irqs = timer_interrupts(tree).unwrap_or_default();
    let [_, _, virt, el2, ..] = irqs[..] else {
        return Finding::refused(TIMERS, Reason::NoTimer, &[]);
    };
    let gic = tree.compatible(&["arm,gic-v3"]);
    let maintenance = gic.and_then(|gic| interrupts(&gic, &gic)?.first().copied());
    let ours = [Some(virt), Some(el2), maintenance];
    for (irq, names) in lines(root) {
        if ours.contains(&Some(irq)) && !names.starts_with("mvirt-") {
            let refused = Finding::refused(TIMERS, Reason::Taken, &[]);
            let found = format!("{}: {names} has interrupt {irq}", refused.found);
            return Finding { found, ..refused };
        }
    }
    Finding::ok(TIMERS, "the virtual and the EL2 timer are free")
}
