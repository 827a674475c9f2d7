// SPDX-License-Identifier: Apache-2.0
//! The kernel: its machine, its pages, its configuration, and whether it takes modules.

use std::io::Read;

use flate2::read::GzDecoder;
use mvirt_abi::refusal::Reason;

use super::root::{Content, Root};
use super::Finding;

const MACHINE: &str = "machine";
pub const PAGES: &str = "pages";
const CONFIG: &str = "kernel";
const MODULES: &str = "modules";

/// arm64, as /proc/cpuinfo tells.
pub fn machine(root: &Root) -> Finding {
    let Content::Has(text) = root.text("proc/cpuinfo") else {
        return Finding::unknown(MACHINE, "/proc/cpuinfo cannot be read");
    };
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(key, value)| (key.trim() == name).then(|| value.trim().to_owned()))
    };
    match (value("CPU implementer"), value("CPU architecture")) {
        // A 32-bit kernel on such a core says 8 too, but has other features.
        (Some(_), Some(n)) if n == "8" || n == "AArch64" => {
            let arm32 = value("Features").is_some_and(|f| f.split(' ').any(|f| f == "thumb"));
            if arm32 {
                return Finding::no(MACHINE, "a 32-bit kernel", "mvirt is for arm64 kernels");
            }
            Finding::ok(MACHINE, "arm64")
        }
        _ => Finding::no(
            MACHINE,
            "this is no arm64 machine",
            "mvirt is for arm64 kernels",
        ),
    }
}

/// The size of a page, from the auxiliary vector.
pub fn page_size(root: &Root) -> Option<u64> {
    const AT_PAGESZ: u64 = 6;
    let vector = root.bytes("proc/self/auxv").has()?;
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
    vector
        .chunks_exact(16)
        .find_map(|entry| (number(&entry[..8])? == AT_PAGESZ).then(|| number(&entry[8..]))?)
}

/// 4 or 16 KiB.
pub fn pages(root: &Root) -> Finding {
    match page_size(root) {
        Some(size @ (4096 | 16384)) => Finding::ok(PAGES, format!("{} KiB", size / 1024)),
        Some(size) => Finding::no(
            PAGES,
            format!("the kernel has pages of {} KiB", size / 1024),
            Reason::PageSize.remedy(),
        )
        .leads_to(Reason::PageSize),
        None => Finding::unknown(PAGES, "/proc/self/auxv does not tell the size of a page"),
    }
}

/// The kernel's configuration, if it can be found.
pub struct Config(Option<(String, String)>);

impl Config {
    /// Finds it.
    pub fn read(root: &Root) -> Config {
        if let Content::Has(packed) = root.bytes("proc/config.gz") {
            let mut text = String::new();
            if GzDecoder::new(&packed[..])
                .read_to_string(&mut text)
                .is_ok()
            {
                return Config(Some(("/proc/config.gz".into(), text)));
            }
        }
        let release = root.line("proc/sys/kernel/osrelease").unwrap_or_default();
        let places = [
            format!("boot/config-{release}"),
            format!("lib/modules/{release}/config"),
            format!("lib/modules/{release}/build/.config"),
        ];
        Config(places.into_iter().find_map(|place| {
            let text = root.text(&place).has()?;
            Some((format!("/{place}"), text))
        }))
    }

    /// Whether an option is `y`; `None` if there is no configuration to look at.
    pub fn is_set(&self, option: &str) -> Option<bool> {
        let (_, text) = self.0.as_ref()?;
        let wanted = format!("{option}=y");
        Some(text.lines().any(|line| line == wanted))
    }
}

/// What the module is built from.
pub fn config(config: &Config) -> Finding {
    let Some((place, _)) = &config.0 else {
        return Finding::unknown(CONFIG, "its configuration was not found")
            .mend("CONFIG_RUST, CONFIG_OF and CONFIG_ARM_PSCI_FW are needed");
    };
    let lacks: Vec<_> = ["CONFIG_RUST", "CONFIG_OF", "CONFIG_ARM_PSCI_FW"]
        .into_iter()
        .filter(|option| config.is_set(option) != Some(true))
        .collect();
    if !lacks.is_empty() {
        let lacks = lacks.join(", ");
        return Finding::no(
            CONFIG,
            format!("built without {lacks} ({place})"),
            format!("build it with {lacks}"),
        );
    }
    if config.is_set("CONFIG_CPU_BIG_ENDIAN") == Some(true) {
        return Finding::no(
            CONFIG,
            "big-endian",
            "build it without CONFIG_CPU_BIG_ENDIAN",
        );
    }
    Finding::ok(CONFIG, format!("has what the module needs ({place})"))
}

/// Whether a module can be loaded now. It need not, where mvirt is built in or runs.
pub fn modules(root: &Root, config: &Config, runs: bool) -> Finding {
    const EARLIER: &str = "load mvirt earlier in boot, or build it in";
    if config.is_set("CONFIG_MVIRT") == Some(true) {
        return Finding::ok(MODULES, "none is needed: mvirt is built in");
    }
    if runs {
        return Finding::ok(MODULES, "mvirt is loaded");
    }
    if config.is_set("CONFIG_MODULES") == Some(false) || !root.is_there("proc/modules") {
        return Finding::no(
            MODULES,
            "this kernel takes no modules",
            "build it with CONFIG_MODULES, or with mvirt in it",
        );
    }
    if root.line("proc/sys/kernel/modules_disabled").as_deref() == Some("1") {
        return Finding::no(
            MODULES,
            "no more modules are taken (kernel.modules_disabled is 1)",
            EARLIER,
        );
    }
    let lockdown = root
        .line("sys/kernel/security/lockdown")
        .unwrap_or_default();
    let locked = lockdown.contains("[integrity]") || lockdown.contains("[confidentiality]");
    if locked || config.is_set("CONFIG_MODULE_SIG_FORCE") == Some(true) {
        return Finding::ok(MODULES, "signed modules alone are taken")
            .mend("sign mvirt.ko with a key that the kernel trusts");
    }
    Finding::ok(MODULES, "can be loaded")
}
