// SPDX-License-Identifier: Apache-2.0
//! The CPUs: how many, whether the device tree describes them, and their errata.

use mvirt_abi::refusal::{Reason, RefusedErratum, REFUSED_ERRATA};
use mvirt_abi::MAX_CPUS;

use super::root::Root;
use super::tree::Tree;
use super::Finding;

pub const NUMBER: &str = "CPUs";
pub const DESCRIBED: &str = "CPU nodes";
pub const ERRATA: &str = "errata";

/// How many numbers there are in a list such as `0-3,5`.
fn count(list: &str) -> Option<u64> {
    list.trim().split(',').try_fold(0u64, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        Some(sum + u64::from(last.checked_sub(first)?) + 1)
    })
}

/// As many as EL2 serves.
pub fn number(root: &Root) -> Finding {
    let list = root.line("sys/devices/system/cpu/possible");
    match list.as_deref().and_then(count) {
        Some(n) if n > MAX_CPUS as u64 => {
            Finding::refused(NUMBER, Reason::TooManyCpus, &[&n, &MAX_CPUS, &MAX_CPUS])
        }
        Some(n) => Finding::ok(NUMBER, format!("{n} possible, {MAX_CPUS} are served")),
        None => Finding::unknown(NUMBER, "/sys/devices/system/cpu/possible cannot be read"),
    }
}

/// Each CPU has a number of the hardware's and is started by PSCI.
pub fn described(tree: &Tree) -> Finding {
    let nodes = tree.cpus();
    if nodes.is_empty() {
        return Finding::refused(DESCRIBED, Reason::NoMpidr, &[&0]);
    }
    for (cpu, node) in nodes.iter().enumerate() {
        if node.text("enable-method").as_deref() == Some("spin-table") {
            return Finding::refused(DESCRIBED, Reason::SpinTable, &[&cpu]);
        }
    }
    for (cpu, node) in nodes.iter().enumerate() {
        if node.property("reg").is_none() {
            return Finding::refused(DESCRIBED, Reason::NoMpidr, &[&cpu]);
        }
    }
    Finding::ok(DESCRIBED, format!("{} in the device tree", nodes.len()))
}

fn register(root: &Root, cpu: &str, name: &str) -> Option<u64> {
    let file = format!("sys/devices/system/cpu/{cpu}/regs/identification/{name}");
    let text = root.line(&file)?;
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

fn is_of(row: &RefusedErratum, midr: u64, revidr: Option<u64>) -> bool {
    // MIDR_EL1 (Arm ARM D24.2): Implementer, Variant, PartNum, Revision.
    let revision = midr >> 16 & 0xf0 | midr & 0xf;
    let mended = row.revidr_mends_last
        && revision == u64::from(row.last)
        && revidr.is_some_and(|value| value & 1 == 1);
    midr >> 24 & 0xff == u64::from(row.implementer)
        && midr >> 4 & 0xfff == u64::from(row.part)
        && (u64::from(row.first)..=u64::from(row.last)).contains(&revision)
        && !mended
}

/// No CPU that is online has an erratum that EL2 cannot live with.
pub fn errata(root: &Root) -> Finding {
    let is_cpu = |name: &&String| {
        let number = name.strip_prefix("cpu").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let names = root.names("sys/devices/system/cpu");
    let cores: Vec<_> = names
        .iter()
        .filter(is_cpu)
        .filter_map(|cpu| Some((cpu, register(root, cpu, "midr_el1")?)))
        .collect();
    if cores.is_empty() {
        return Finding::unknown(
            ERRATA,
            "no CPU shows its MIDR_EL1 in /sys/devices/system/cpu",
        );
    }
    let info = root.text("proc/cpuinfo").has().unwrap_or_default();
    let has_sme = info.split_whitespace().any(|word| word == "sme");
    for (cpu, midr) in &cores {
        let revidr = register(root, cpu, "revidr_el1");
        let Some(row) = REFUSED_ERRATA.iter().find(|r| is_of(r, *midr, revidr)) else {
            continue;
        };
        let number = cpu.trim_start_matches("cpu");
        let midr = format!("{midr:#010x}");
        let values: [&dyn std::fmt::Display; 3] = [&number, &midr, &row.erratum];
        let refused = Finding::refused(ERRATA, Reason::CpuErratum, &values);
        if row.sme && !has_sme {
            // The core may have SME that this kernel does not use, and then the erratum.
            let found = format!("{}, if it has SME", refused.found);
            return Finding {
                found,
                result: super::Outcome::Unknown,
                ..refused
            };
        }
        return refused;
    }
    Finding::ok(
        ERRATA,
        format!("none that EL2 cannot work around on {} CPUs", cores.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_counted() {
        for (list, n) in [("0", Some(1)), ("0-3", Some(4)), ("0-1,4,6-7\n", Some(5))] {
            assert_eq!(count(list), n, "{list}");
        }
        for list in ["", "a", "3-1", "0-"] {
            assert_eq!(count(list), None, "{list}");
        }
    }

    #[test]
    fn revisions_are_compared() {
        let row = &REFUSED_ERRATA[0];
        let c1_pro = |variant: u64, revision: u64| 0x410f_d8b0 | variant << 20 | revision;
        assert!(is_of(row, c1_pro(0, 0), Some(1)));
        assert!(is_of(row, c1_pro(1, 2), Some(0)));
        assert!(is_of(row, c1_pro(1, 2), None));
        assert!(!is_of(row, c1_pro(1, 2), Some(1)));
        assert!(!is_of(row, c1_pro(1, 3), Some(0)));
        assert!(!is_of(row, 0x410f_d0b0, None));
        assert!(!is_of(row, c1_pro(0, 0) | 2 << 24, None));
    }
}
