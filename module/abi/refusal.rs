// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Why mvirt does not run on a machine, or runs no virtual machines there: one list of causes with
//! what mends each, for the module's log lines and for `mvirt doctor`.
//!
//! It is no part of the contract's hash: words may change. `{}` in a text stands for a value.

use core::fmt::{self, Display, Formatter, Write};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident: $cause:literal; $remedy:literal;)*) => {
        /// A reason, without its values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Each of them.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// Its name, as in the source.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)* }
            }

            /// The cause.
            pub const fn cause(self) -> &'static str {
                match self { $(Reason::$name => $cause,)* }
            }

            /// What mends it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Reason::$name => $remedy,)* }
            }
        }
    };
}

reasons! {
    /// The kernel runs at EL2 itself (VHE).
    KernelAtEl2: "the kernel itself runs at EL2 (VHE)";
        "boot with id_aa64mmfr1.vh=0, and kvm-arm.mode=none if KVM is built in";
    /// The CPU has no EL2, or a hypervisor hides it.
    NoEl2: "this CPU has no EL2, or another hypervisor hides it";
        "the machine must provide EL2 (QEMU: -machine virtualization=on)";
    /// The kernel was entered at EL1.
    EnteredAtEl1: "the kernel was entered at EL1";
        "the boot loader or firmware must enter it at EL2";
    /// The device tree has no PSCI node.
    NoPsci: "no PSCI in the device tree"; "the firmware must implement PSCI 0.2 or later";
    /// CPUs start from a spin table. The CPU.
    SpinTable: "CPU {} starts from a spin-table"; "the firmware must start CPUs by PSCI 0.2 or later";
    /// PSCI before 0.2 has no standard function numbers.
    OldPsci: "the firmware's PSCI is older than 0.2"; "update the firmware to PSCI 0.2 or later";
    /// PSCI calls go by HVC, to a hypervisor.
    ConduitNotSmc: "the PSCI conduit is not SMC, so a hypervisor is below this kernel";
        "boot without it";
    /// KVM of this kernel has EL2.
    KvmOwnsEl2: "this kernel's KVM has taken EL2";
        "boot with kvm-arm.mode=none or without CONFIG_KVM";
    /// mvirt has it already.
    AlreadyOwned: "mvirt owns EL2 already"; "restart the machine to load another";
    /// Something answers HVCs that is not the kernel's stub. The answer.
    OtherHypervisor: "another hypervisor has the EL2 vectors (HVC answered {})"; "boot without it";
    /// The image is for another page size. KiB of the image's, of the kernel's.
    PageSize: "the EL2 image is for {} KiB pages, the kernel has {}";
        "rebuild the module for a kernel with CONFIG_ARM64_4K_PAGES or CONFIG_ARM64_16K_PAGES, which are served";
    /// The image was built from another contract. The image's hash, the module's.
    AbiMismatch: "the EL2 image has ABI hash {}, the module {}"; "rebuild the module";
    /// The CPU, its MIDR_EL1, the erratum's number.
    CpuErratum: "CPU {} (MIDR {}) has erratum {}, which EL2 cannot work around";
        "use a later revision of this core (Documentation/errata.rst)";
    /// The CPU, its MIDR_EL1, KiB of a page.
    CpuGranule: "CPU {} (MIDR {}) has no pages of {} KiB at EL2 or stage 2";
        "use a kernel with other pages";
    /// The CPU, its MIDR_EL1.
    CpuPaRange: "CPU {} (MIDR {}) has a size of physical addresses that EL2 does not know";
        "report its ID_AA64MMFR0_EL1";
    /// A CPU did not come to EL2, and is not to blame. The CPU, the error.
    Entry: "CPU {} did not come to EL2 ({})"; "report it with this log";
    /// More CPUs than EL2 serves. How many, the limit twice.
    TooManyCpus: "{} possible CPUs, {} are served"; "boot with nr_cpus={}";
    /// A CPU's MPIDR is not in the device tree. The CPU.
    NoMpidr: "CPU {} has no reg in the device tree"; "the firmware must describe each CPU";
    /// RAM in too many ranges. The limit.
    RamRanges: "RAM is in more ranges than EL2 keeps ({})"; "report this machine's /proc/iomem";
    /// No RAM at all.
    NoRam: "the kernel knows no System RAM"; "report this machine's /proc/iomem";
    /// More RAM than there can be metadata for.
    TooMuchRam: "there is more RAM than EL2 has metadata for"; "report this machine's /proc/iomem";
    /// An allocation failed. Its KiB.
    NoMemory: "{} KiB of contiguous memory were not to be had"; "load the module earlier in boot";
    /// The kernel refused a step of the module's own set-up. The step, the errno.
    Setup: "the kernel refused {} (errno {})";
        "free memory, or the name mvirt, and load the module again";
    /// EL2 refused a step of the take-over. The step, the error.
    Step: "EL2 refused {} ({})"; "report it with this log";

    /// No CPU interface with System registers.
    NoGicv3: "the interrupt controller is not a GICv3 or later";
        "virtual machines need one (QEMU: -machine gic-version=3)";
    /// The kernel's GIC driver drops priority and deactivates in one.
    NoSplitEoi: "the kernel's GIC driver does not split end and deactivation of an interrupt";
        "a kernel that is entered at EL2 on each CPU does";
    /// The device tree has no maintenance interrupt.
    NoMaintenance: "the device tree has no maintenance interrupt of the GIC";
        "the firmware must describe it (interrupts of the GIC's node)";
    /// The device tree lacks the virtual or the EL2 timer's interrupt.
    NoTimer: "the device tree lacks the virtual or the EL2 timer's interrupt";
        "the firmware must describe all of them (interrupts of arm,armv8-timer)";
    /// Another driver has one of them.
    Taken: "another driver uses the virtual timer's, the EL2 timer's or the GIC's maintenance interrupt";
        "boot without it: /proc/interrupts names it";
    /// The kernel has no place for a CPU hotplug callback.
    NoHotplug: "the kernel has no place for a CPU hotplug callback"; "load the module earlier in boot";
    /// EL2 does not make a VM.
    NoWorldSwitch: "EL2 cannot switch worlds here (HCR_EL2.E2H cannot be 0, or the GIC has no System registers)";
        "a core with FEAT_E2H0 and a GICv3 are needed";
}

impl Reason {
    /// mvirt itself runs, but no virtual machines.
    pub const fn is_of_vms(self) -> bool {
        self as u32 >= Reason::NoGicv3 as u32
    }

    /// With its values, in their order: as the log has it.
    pub const fn with<'a>(self, values: &'a [&'a dyn Display]) -> Said<'a> {
        Said {
            reason: self,
            values,
        }
    }
}

/// What a line of the log says: the cause; what mends it.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    reason: Reason,
    values: &'a [&'a dyn Display],
}

impl Display for Said<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut values = self.values.iter();
        fill(f, self.reason.cause(), &mut values)?;
        f.write_str("; ")?;
        fill(f, self.reason.remedy(), &mut values)
    }
}

/// Writes a text with values in its holes. A hole without a value stays as it is, to be seen.
fn fill<'a>(
    f: &mut Formatter<'_>,
    text: &str,
    values: &mut impl Iterator<Item = &'a &'a dyn Display>,
) -> fmt::Result {
    let mut parts = text.split("{}");
    f.write_str(parts.next().unwrap_or_default())?;
    for part in parts {
        match values.next() {
            Some(value) => value.fmt(f)?,
            None => {
                f.write_char('{')?;
                f.write_char('}')?;
            }
        }
        f.write_str(part)?;
    }
    Ok(())
}

/// An erratum that EL2 refuses a core for; of the rows of Documentation/errata.rst those that say so.
/// A test of EL2's table compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedErratum {
    /// The number that its maker gave it.
    pub erratum: u32,
    /// MIDR_EL1.Implementer.
    pub implementer: u32,
    /// MIDR_EL1.PartNum.
    pub part: u32,
    /// The first affected revision: variant in bits 7:4, revision in bits 3:0.
    pub first: u32,
    /// The last.
    pub last: u32,
    /// Only with SME.
    pub sme: bool,
    /// The last revision is mended where bit 0 of REVIDR_EL1 is set.
    pub revidr_mends_last: bool,
}

/// All of them.
pub const REFUSED_ERRATA: &[RefusedErratum] = &[RefusedErratum {
    erratum: 4_193_714,
    implementer: 0x41,
    part: 0xd8b,
    first: 0x00,
    last: 0x12,
    sme: true,
    revidr_mends_last: true,
}];
