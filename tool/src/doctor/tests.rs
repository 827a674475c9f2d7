// SPDX-License-Identifier: Apache-2.0
//! Machines that are made up: one on which mvirt can run, and one for each of its refusals.

use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::write::GzEncoder;
use mvirt_abi::refusal::Reason;
use vmm_sys_util::tempdir::TempDir;

use super::module::reason_of;
use super::*;

const TREE: &str = "sys/firmware/devicetree/base";
const TIMER: &str = " 11:   100   200     GICv3  30 Level     arch_timer\n";

/// Files below a directory.
struct Machine(TempDir);

impl Machine {
    /// What mvirt runs on.
    fn good() -> Machine {
        let m = Machine(TempDir::new_with_prefix("/tmp/mvirt-doctor-").expect("a directory"));
        m.write(
            "proc/cpuinfo",
            "processor\t: 0\nFeatures\t: fp asimd cpuid\nCPU implementer\t: 0x41\n\
             CPU architecture: 8\nCPU part\t: 0xd0b\n",
        );
        m.pages(4096);
        m.config("CONFIG_RUST=y\nCONFIG_OF=y\nCONFIG_ARM_PSCI_FW=y\nCONFIG_MODULES=y\n");
        m.write("proc/modules", "");
        m.write("proc/misc", "130 watchdog\n 10 vhost-net\n");
        m.interrupts(TIMER);
        m.iomem(&[(0x4000_0000, 0x7fff_ffff)]);
        m.write("proc/buddyinfo", "Node 0, zone      DMA     3     1     0     0     0     0     0     0     0     0    17\n");
        m.write("sys/devices/system/cpu/possible", "0-1\n");
        for cpu in 0..2 {
            m.midr(cpu, 0x414f_d0b1, 0);
            let node = format!("cpus/cpu@{cpu}");
            m.property(&format!("{node}/device_type"), b"cpu\0");
            m.property(&format!("{node}/enable-method"), b"psci\0");
            m.cells(&format!("{node}/reg"), &[cpu]);
        }
        m.property("psci/compatible", b"arm,psci-1.0\0arm,psci-0.2\0arm,psci\0");
        m.property("psci/method", b"smc\0");
        m.property("intc@8000000/compatible", b"arm,gic-v3\0");
        m.cells("intc@8000000/#interrupt-cells", &[3]);
        m.cells("intc@8000000/interrupts", &[1, 9, 4]);
        m.property("timer/compatible", b"arm,armv8-timer\0arm,armv7-timer\0");
        m.cells(
            "timer/interrupts",
            &[1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4],
        );
        m.log(&[
            "GICv3: GIC: Using split EOI/Deactivate mode",
            "CPU: All CPU(s) started at EL2",
        ]);
        m
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.0.as_path().join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    fn remove(&self, file: &str) {
        let path = self.0.as_path().join(file);
        if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
        .expect("it was there");
    }

    fn property(&self, property: &str, content: &[u8]) {
        self.write(&format!("{TREE}/{property}"), content);
    }

    fn cells(&self, property: &str, cells: &[u32]) {
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.property(property, &bytes);
    }

    fn pages(&self, size: u64) {
        let entries = [16u64, 0xff, 6, size, 0, 0];
        let bytes: Vec<u8> = entries.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.write("proc/self/auxv", bytes);
    }

    fn config(&self, text: &str) {
        let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).expect("memory");
        self.write("proc/config.gz", gz.finish().expect("memory"));
    }

    fn interrupts(&self, lines: &str) {
        let head = "           CPU0       CPU1\n";
        let tail = " 14:     5     0     GICv3  33 Level     uart-pl011\nIPI0:  7  9  Rescheduling interrupts\nErr:  0\n";
        self.write("proc/interrupts", format!("{head}{lines}{tail}"));
    }

    fn iomem(&self, ranges: &[(u64, u64)]) {
        let line = |(first, last): &(u64, u64)| {
            format!(
                "{first:08x}-{last:08x} : System RAM\n  {first:08x}-{first:08x} : Kernel code\n"
            )
        };
        let device = "09000000-09000fff : pl011@9000000\n".to_owned();
        self.write(
            "proc/iomem",
            device + &ranges.iter().map(line).collect::<String>(),
        );
    }

    fn midr(&self, cpu: u32, midr: u64, revidr: u64) {
        let place = format!("sys/devices/system/cpu/cpu{cpu}/regs/identification");
        self.write(&format!("{place}/midr_el1"), format!("{midr:#018x}\n"));
        self.write(&format!("{place}/revidr_el1"), format!("{revidr:#018x}\n"));
    }

    fn log(&self, lines: &[&str]) {
        let record =
            |(n, line): (usize, &&str)| format!("6,{n},{n}000,-;{line}\n SUBSYSTEM=none\n");
        self.write(
            "dev/kmsg",
            lines.iter().enumerate().map(record).collect::<String>(),
        );
    }

    fn examine(&self) -> Diagnosis {
        examine(&Root::new(self.0.as_path()), Running::No)
    }
}

fn of<'a>(diagnosis: &'a Diagnosis, check: &str) -> &'a Finding {
    let mut found = diagnosis.checks.iter().filter(|f| f.check == check);
    let finding = found.next().unwrap_or_else(|| panic!("no check {check}"));
    assert!(found.next().is_none(), "two checks {check}");
    finding
}

#[test]
fn a_good_machine_can() {
    let diagnosis = Machine::good().examine();
    for finding in &diagnosis.checks {
        assert_eq!(finding.result, Outcome::Ok, "{finding:?}");
        assert_eq!(
            (&finding.remedy, finding.refusals.len()),
            (&None, 0),
            "{finding:?}"
        );
    }
    assert_eq!(diagnosis.verdict, Verdict::Can);
}

/// Makes of a good machine one that is refused for this. Whoever adds a refusal comes by here.
fn spoil(m: &Machine, reason: Reason) -> Running {
    match reason {
        Reason::KernelAtEl2 => m.interrupts(&TIMER.replace("30", "26")),
        Reason::EnteredAtEl1 | Reason::NoEl2 => m.interrupts(&TIMER.replace("30", "27")),
        Reason::NoPsci => m.property("psci/compatible", b"none\0"),
        Reason::OldPsci => m.property("psci/compatible", b"arm,psci\0"),
        Reason::ConduitNotSmc => m.property("psci/method", b"hvc\0"),
        Reason::SpinTable => m.property("cpus/cpu@1/enable-method", b"spin-table\0"),
        Reason::NoMpidr => m.remove(&format!("{TREE}/cpus/cpu@1/reg")),
        Reason::KvmOwnsEl2 => m.write("proc/misc", "232 kvm\n130 watchdog\n"),
        Reason::PageSize => m.pages(65536),
        Reason::CpuErratum => {
            m.midr(1, 0x410f_d8b0, 0);
            m.write(
                "proc/cpuinfo",
                "Features\t: fp sme\nCPU implementer\t: 0x41\nCPU architecture: 8\n",
            );
        }
        Reason::TooManyCpus => m.write("sys/devices/system/cpu/possible", "0-32\n"),
        Reason::RamRanges => m.iomem(&(0..65).map(|n| (n << 24, (n << 24) + 0xffff)).collect::<Vec<_>>()),
        Reason::NoRam => m.iomem(&[]),
        Reason::TooMuchRam => m.iomem(&[(1 << 40, (1 << 48) - 1)]),
        Reason::NoMemory => m.write("proc/buddyinfo", "Node 0, zone      DMA     3     1     0     0     0     0     9     0     0     0     0\n"),
        Reason::AlreadyOwned => {
            return Running::Yes {
                active: 2,
                possible: 2,
            }
        }
        Reason::NoGicv3 => m.property("intc@8000000/compatible", b"arm,gic-400\0"),
        Reason::NoSplitEoi => m.log(&["GICv3: 256 SPIs implemented"]),
        Reason::NoMaintenance => m.remove(&format!("{TREE}/intc@8000000/interrupts")),
        Reason::NoTimer => m.cells("timer/interrupts", &[1, 13, 4, 1, 14, 4]),
        Reason::Taken => m.interrupts(&format!("{TIMER} 12:  0  0  GICv3  25 Level  vgic\n")),
        // Known by the log alone.
        Reason::OtherHypervisor
        | Reason::AbiMismatch
        | Reason::CpuGranule
        | Reason::CpuPaRange
        | Reason::Entry
        | Reason::Setup
        | Reason::Step
        | Reason::NoHotplug
        | Reason::NoWorldSwitch => {}
    }
    Running::No
}

/// A text of a reason up to its first value: whatever the value, a finding has it.
fn words(text: &str) -> Vec<&str> {
    text.split("{}").filter(|part| part.len() > 3).collect()
}

#[test]
fn each_refusal_shows_in_its_check() {
    for &reason in Reason::ALL {
        let Line::Before(check) = line_of(reason) else {
            continue;
        };
        let m = Machine::good();
        let running = spoil(&m, reason);
        let runs = running != Running::No;
        let diagnosis = examine(&Root::new(m.0.as_path()), running);
        let finding = of(&diagnosis, check);
        if runs {
            assert!(finding.found.contains(reason.cause()), "{finding:?}");
            assert_eq!(diagnosis.verdict, Verdict::Runs);
            continue;
        }
        assert!(
            finding.refusals.contains(&reason.name()),
            "{reason:?}: {finding:?}"
        );
        let remedy = finding.remedy.as_deref().unwrap_or_default();
        for part in words(reason.remedy()) {
            assert!(remedy.contains(part), "{reason:?}: {finding:?}");
        }
        // That no block is free now is no refusal yet, and the module's own page size is its own.
        if reason == Reason::NoMemory {
            assert_eq!((finding.result, finding.decides), (Outcome::Unknown, false));
            assert_eq!(diagnosis.verdict, Verdict::Can);
            continue;
        }
        assert_eq!(finding.result, Outcome::No, "{finding:?}");
        assert_eq!(diagnosis.verdict, Verdict::Cannot);
        if reason != Reason::PageSize {
            for part in words(reason.cause()) {
                assert!(finding.found.contains(part), "{reason:?}: {finding:?}");
            }
        }
        // And what is well is not blamed: each spoils one thing, but the timer tells two.
        let no = diagnosis.checks.iter().filter(|f| f.result == Outcome::No);
        let others: Vec<_> = no.filter(|f| f.check != check).map(|f| f.check).collect();
        let expected: &[&str] = match reason {
            Reason::EnteredAtEl1 | Reason::NoEl2 | Reason::KernelAtEl2 => &[vms::TIMERS],
            Reason::NoTimer => &[],
            _ => &[],
        };
        assert_eq!(others, expected, "{reason:?}");
    }
}

#[test]
fn each_refusal_is_known_from_the_log() {
    let values: [&dyn Display; 3] = [&7, &"0x410fd8b0", &4_193_714];
    for &reason in Reason::ALL {
        let line = reason.with(&values).to_string();
        let same: Vec<_> = Reason::ALL
            .iter()
            .filter(|r| reason_of(&line) == Some(**r))
            .collect();
        assert_eq!(same, [&reason], "{line}");

        let m = Machine::good();
        let head = if reason.is_of_vms() {
            "mvirt: no virtual machines on this machine: "
        } else {
            "mvirt: refused: "
        };
        m.log(&[
            "GICv3: GIC: Using split EOI/Deactivate mode",
            &format!("{head}{line}"),
        ]);
        let diagnosis = m.examine();
        let finding = diagnosis
            .checks
            .iter()
            .find(|f| f.result == Outcome::No)
            .expect("a finding");
        let (cause, remedy) = line.split_once("; ").expect("both halves");
        assert_eq!(finding.found, cause);
        assert_eq!(finding.remedy.as_deref(), Some(remedy));
        assert_eq!(finding.refusals, [reason.name()]);
        assert_eq!(diagnosis.verdict, Verdict::Cannot);
    }
}

#[test]
fn a_refusal_that_was_mended_is_forgotten() {
    let m = Machine::good();
    m.log(&[
        "mvirt: refused: no PSCI in the device tree; x",
        "mvirt: host runs under EL2: 2 CPUs",
    ]);
    assert_eq!(m.examine().verdict, Verdict::Can);
}

#[test]
fn where_mvirt_runs_a_second_load_is_told_and_decides_nothing() {
    let m = Machine::good();
    m.log(&[
        "mvirt: host runs under EL2: 2 CPUs",
        "mvirt: refused: mvirt owns EL2 already; restart the machine to load another",
    ]);
    for running in [
        Running::Yes {
            active: 2,
            possible: 2,
        },
        Running::Unseen,
    ] {
        let diagnosis = examine(&Root::new(m.0.as_path()), running);
        assert_eq!(diagnosis.verdict, Verdict::Runs);
        let log = of(&diagnosis, "log");
        assert_eq!((log.result, log.decides), (Outcome::Unknown, false));
        assert_eq!(log.refusals, ["AlreadyOwned"]);
    }
}

#[test]
fn a_line_of_a_newer_module_is_shown_as_it_is() {
    let m = Machine::good();
    m.log(&["mvirt: refused: the moon is full; wait a week"]);
    let diagnosis = m.examine();
    let log = of(&diagnosis, "log");
    assert_eq!(
        (log.found.as_str(), log.remedy.as_deref()),
        ("the moon is full", Some("wait a week"))
    );
    assert!(log.refusals.is_empty());
}

#[test]
fn the_log_tells_the_level_where_the_timer_does_not() {
    for (line, refusal) in [
        ("CPU: All CPU(s) started at EL2", None),
        ("CPU: All CPU(s) started at EL1", Some("EnteredAtEl1")),
        (
            "CPU features: detected: Virtualization Host Extensions",
            Some("KernelAtEl2"),
        ),
    ] {
        let m = Machine::good();
        m.interrupts("");
        m.log(&[line, "GICv3: GIC: Using split EOI/Deactivate mode"]);
        assert_eq!(
            of(&m.examine(), level::LEVEL).refusals.first().copied(),
            refusal,
            "{line}"
        );
    }
    let m = Machine::good();
    m.interrupts("");
    m.remove("dev/kmsg");
    let diagnosis = m.examine();
    assert_eq!(of(&diagnosis, level::LEVEL).result, Outcome::Unknown);
    assert_eq!(diagnosis.verdict, Verdict::Unknown);
}

#[test]
fn who_is_not_root_gets_an_answer() {
    let m = Machine::good();
    m.iomem(&[(0, 0), (0, 0), (0, 0)]);
    m.remove("proc/buddyinfo");
    m.remove("dev/kmsg");
    let diagnosis = m.examine();
    assert_eq!(diagnosis.verdict, Verdict::Can);
    assert_eq!(
        of(&diagnosis, "log").remedy.as_deref(),
        Some("run it as root")
    );
    // Whether some touch is hidden too.
    m.iomem(&[(0, 0); 65]);
    assert_eq!(m.examine().verdict, Verdict::Unknown);
}

#[test]
fn kernels_that_take_no_module() {
    type Change = fn(&Machine);
    let cases: [(&str, Change); 5] = [
        ("kernel.modules_disabled", |m| {
            m.write("proc/sys/kernel/modules_disabled", "1\n")
        }),
        ("takes no modules", |m| m.remove("proc/modules")),
        ("takes no modules", |m| {
            m.config("CONFIG_RUST=y\nCONFIG_OF=y\nCONFIG_ARM_PSCI_FW=y\n")
        }),
        ("without CONFIG_RUST (", |m| {
            m.config("CONFIG_OF=y\nCONFIG_ARM_PSCI_FW=y\nCONFIG_MODULES=y\n")
        }),
        ("big-endian", |m| {
            m.config("CONFIG_RUST=y\nCONFIG_OF=y\nCONFIG_ARM_PSCI_FW=y\nCONFIG_MODULES=y\nCONFIG_CPU_BIG_ENDIAN=y\n");
        }),
    ];
    for (words, spoil) in cases {
        let m = Machine::good();
        spoil(&m);
        let diagnosis = m.examine();
        let no: Vec<_> = diagnosis
            .checks
            .iter()
            .filter(|f| f.result == Outcome::No)
            .collect();
        assert_eq!(no.len(), 1, "{words}: {no:?}");
        assert!(no[0].found.contains(words), "{no:?}");
        assert!(no[0].remedy.is_some());
    }
}

#[test]
fn signed_modules_alone() {
    for lockdown in [
        "none [integrity] confidentiality\n",
        "none integrity [confidentiality]\n",
    ] {
        let m = Machine::good();
        m.write("sys/kernel/security/lockdown", lockdown);
        let diagnosis = m.examine();
        assert!(of(&diagnosis, "modules")
            .remedy
            .as_deref()
            .unwrap_or_default()
            .contains("sign mvirt.ko"));
        assert_eq!(diagnosis.verdict, Verdict::Can);
    }
}

#[test]
fn a_kernel_with_mvirt_in_it_needs_no_modules() {
    let m = Machine::good();
    m.remove("proc/modules");
    m.config("CONFIG_RUST=y\nCONFIG_OF=y\nCONFIG_ARM_PSCI_FW=y\nCONFIG_MVIRT=y\n");
    assert_eq!(m.examine().verdict, Verdict::Can);
}

#[test]
fn another_place_of_the_configuration() {
    let m = Machine::good();
    m.remove("proc/config.gz");
    assert_eq!(m.examine().verdict, Verdict::Unknown);
    m.write("proc/sys/kernel/osrelease", "6.18.15\n");
    m.write(
        "boot/config-6.18.15",
        "CONFIG_RUST=y\nCONFIG_OF=y\nCONFIG_ARM_PSCI_FW=y\nCONFIG_MODULES=y\n",
    );
    assert_eq!(m.examine().verdict, Verdict::Can);
}

#[test]
fn an_erratum_of_sme_is_open_where_sme_is_not_seen() {
    let m = Machine::good();
    m.midr(0, 0x410f_d8b0, 0);
    let diagnosis = m.examine();
    assert_eq!(of(&diagnosis, cpus::ERRATA).result, Outcome::Unknown);
    assert_eq!(diagnosis.verdict, Verdict::Unknown);
}

#[test]
fn ranges_that_touch_are_one() {
    let m = Machine::good();
    m.iomem(
        &(0..65)
            .map(|n| (n << 20, ((n + 1) << 20) - 1))
            .collect::<Vec<_>>(),
    );
    let finding = of(&m.examine(), memory::RANGES).clone();
    assert_eq!(finding.result, Outcome::Ok);
    assert!(
        finding.found.starts_with("65 MiB in 1 ranges"),
        "{finding:?}"
    );
}

#[test]
fn a_machine_without_anything_is_no_crash() {
    let empty = TempDir::new_with_prefix("/tmp/mvirt-doctor-").expect("a directory");
    let diagnosis = examine(&Root::new(empty.as_path()), Running::Strange("x".into()));
    assert_eq!(diagnosis.verdict, Verdict::Cannot);
    let tree = tree::Tree::new(&Root::new(Path::new("/nonexistent"))).is_there();
    assert!(!tree);
}
