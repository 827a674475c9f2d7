// SPDX-License-Identifier: GPL-2.0
//! Can this machine be taken over? If not: why, and what mends it.
//!
//! Nothing here changes anything. The order matters: CurrentEL is read before any HVC, since a
//! kernel at EL2 has its own handler there and oopses.

use crate::abi::{Call, CpuRefusal, Error, HASH};
use crate::bindings;
use crate::hvc::{mrs, El2, HVC_STUB_ERR};
use kernel::fmt;
use kernel::prelude::*;

/// Why mvirt cannot run here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The kernel runs at EL2 itself (VHE).
    KernelAtEl2,
    /// The CPU has no EL2, or a hypervisor hides it.
    NoEl2,
    /// The kernel was entered at EL1.
    EnteredAtEl1,
    /// The device tree has no PSCI node.
    NoPsci,
    /// CPUs start from a spin table.
    SpinTable(u32),
    /// PSCI before 0.2 has no standard function numbers.
    OldPsci,
    /// PSCI calls go by HVC, to a hypervisor.
    ConduitNotSmc,
    /// KVM of this kernel has EL2.
    KvmOwnsEl2,
    /// mvirt has it already.
    AlreadyOwned,
    /// Something answers HVCs that is not the kernel's stub.
    OtherHypervisor(u64),
    /// The image is for another page size.
    PageSize(u32),
    /// The image was built from another contract.
    AbiMismatch(u64),
    /// EL2 does not run on a CPU, with this MIDR_EL1.
    Cpu(u32, u64, CpuRefusal),
    /// A CPU did not come to EL2, and is not to blame.
    Entry(u32, Error),
    /// More CPUs than EL2 serves.
    TooManyCpus(u32),
    /// A CPU's MPIDR is not in the device tree.
    NoMpidr(u32),
    /// RAM that EL2 cannot address or in too many ranges.
    Ram(&'static str),
    /// An allocation failed.
    NoMemory(usize),
    /// The kernel refused a step of the module's own set-up.
    Setup(&'static str, kernel::error::Error),
    /// EL2 refused a step of the take-over.
    Step(&'static str, Error),
}

impl fmt::Display for Refusal {
    /// The cause; what mends it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Refusal::*;
        match *self {
            KernelAtEl2 => f.write_str(
                "the kernel itself runs at EL2 (VHE); boot with id_aa64mmfr1.vh=0, and \
                 kvm-arm.mode=none if KVM is built in",
            ),
            NoEl2 => f.write_str(
                "this CPU has no EL2, or another hypervisor hides it; the machine must provide EL2 \
                 (QEMU: -machine virtualization=on)",
            ),
            EnteredAtEl1 => f.write_str(
                "the kernel was entered at EL1; the boot loader or firmware must enter it at EL2",
            ),
            NoPsci => f.write_str(
                "no PSCI in the device tree; the firmware must implement PSCI 0.2 or later",
            ),
            SpinTable(cpu) => write!(
                f,
                "CPU {cpu} starts from a spin-table; the firmware must start CPUs by PSCI 0.2 or later",
            ),
            OldPsci => f.write_str(
                "the firmware's PSCI is older than 0.2; update the firmware to PSCI 0.2 or later",
            ),
            ConduitNotSmc => f.write_str(
                "the PSCI conduit is not SMC, so a hypervisor is below this kernel; boot without it",
            ),
            KvmOwnsEl2 => f.write_str(
                "this kernel's KVM has taken EL2; boot with kvm-arm.mode=none or without CONFIG_KVM",
            ),
            AlreadyOwned => f.write_str("mvirt owns EL2 already; restart the machine to load another"),
            OtherHypervisor(x0) => write!(
                f,
                "another hypervisor has the EL2 vectors (HVC answered {x0:#x}); boot without it",
            ),
            PageSize(shift) => write!(
                f,
                "the EL2 image is for {} KiB pages, the kernel has {}; rebuild the module for a kernel with \
                 CONFIG_ARM64_4K_PAGES or CONFIG_ARM64_16K_PAGES, which are served",
                (1u64 << shift) / 1024,
                kernel::page::PAGE_SIZE / 1024,
            ),
            AbiMismatch(hash) => write!(
                f,
                "the EL2 image has ABI hash {hash:#018x}, the module {HASH:#018x}; rebuild the module",
            ),
            Cpu(cpu, midr, why) => {
                write!(f, "CPU {cpu} (MIDR {midr:#010x}) ")?;
                match why {
                    CpuRefusal::Erratum(number) => write!(
                        f,
                        "has erratum {number}, which EL2 cannot work around; use a later revision of \
                         this core (Documentation/errata.rst)",
                    ),
                    CpuRefusal::Granule => write!(
                        f,
                        "has no pages of {} KiB at EL2 or stage 2; use a kernel with other pages",
                        kernel::page::PAGE_SIZE / 1024,
                    ),
                    CpuRefusal::PaRange => f.write_str(
                        "has a size of physical addresses that EL2 does not know; report its \
                         ID_AA64MMFR0_EL1",
                    ),
                }
            }
            Entry(cpu, e) => write!(
                f,
                "CPU {cpu} did not come to EL2 ({e:?}); report it with this log",
            ),
            TooManyCpus(n) => write!(
                f,
                "{n} possible CPUs, {} are served; boot with nr_cpus={}",
                crate::abi::MAX_CPUS,
                crate::abi::MAX_CPUS,
            ),
            NoMpidr(cpu) => write!(
                f,
                "CPU {cpu} has no reg in the device tree; the firmware must describe each CPU",
            ),
            Ram(what) => write!(f, "{what}; report this machine's /proc/iomem"),
            NoMemory(size) => write!(
                f,
                "{} KiB of contiguous memory were not to be had; load the module earlier in boot",
                size / 1024,
            ),
            Setup(step, e) => write!(
                f,
                "the kernel refused {step} (errno {}); free memory, or the name mvirt, and load the \
                 module again",
                -e.to_errno(),
            ),
            Step(step, e) => write!(f, "EL2 refused {step} ({e:?}); report it with this log"),
        }
    }
}

impl From<Refusal> for kernel::error::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoMemory(_) => ENOMEM,
            Refusal::KvmOwnsEl2 | Refusal::AlreadyOwned | Refusal::OtherHypervisor(_) => EBUSY,
            Refusal::Entry(..) | Refusal::Step(..) => EIO,
            Refusal::Setup(_, e) => e,
            _ => ENODEV,
        }
    }
}

/// Looks at the CPU, the firmware and who has EL2.
pub(crate) fn probe() -> Result<(), Refusal> {
    if (mrs!("CurrentEL") >> 2) & 3 != 1 {
        return Err(Refusal::KernelAtEl2);
    }
    // ID_AA64PFR0_EL1.EL2.
    if (mrs!("id_aa64pfr0_el1") >> 8) & 0xf == 0 {
        return Err(Refusal::NoEl2);
    }
    firmware()?;
    entered_at_el2()?;
    owner()
}

/// PSCI 0.2 or later, called by SMC, for each CPU.
fn firmware() -> Result<(), Refusal> {
    for cpu in possible_cpus() {
        // SAFETY: plain look-up; the answer is NULL or a string that lives as long as the tree.
        let method = unsafe { bindings::mvirt_cpu_enable_method(cpu) };
        // SAFETY: as above.
        if !method.is_null() && unsafe { CStr::from_char_ptr(method) }.to_bytes() == b"spin-table" {
            return Err(Refusal::SpinTable(cpu));
        }
    }
    let node = |compatible: &CStr| {
        // SAFETY: a look-up by a string that lives; NULL from and type mean the whole tree. The
        // reference to the node is kept: it is the firmware's own, which never goes.
        unsafe {
            bindings::of_find_compatible_node(
                core::ptr::null_mut(),
                core::ptr::null(),
                compatible.as_ptr().cast(),
            )
        }
    };
    let mut psci = node(kernel::c_str!("arm,psci-1.0"));
    if psci.is_null() {
        psci = node(kernel::c_str!("arm,psci-0.2"));
    }
    if psci.is_null() {
        let old = !node(kernel::c_str!("arm,psci")).is_null();
        return Err(if old {
            Refusal::OldPsci
        } else {
            Refusal::NoPsci
        });
    }
    let mut method = core::ptr::null();
    // SAFETY: `psci` is a node, `method` is written with a string of the tree.
    let found = unsafe {
        bindings::of_property_read_string(
            psci,
            kernel::c_str!("method").as_ptr().cast(),
            &mut method,
        )
    };
    // SAFETY: on success `method` is such a string.
    if found != 0 || unsafe { CStr::from_char_ptr(method) }.to_bytes() != b"smc" {
        return Err(Refusal::ConduitNotSmc);
    }
    Ok(())
}

/// A kernel that was entered at EL2 uses the physical timer, one entered at EL1 the virtual one.
/// That is asked before any HVC, because with SCR_EL3.HCE clear, as firmware leaves it that gives
/// no EL2 to the kernel, an HVC is UNDEFINED (Arm ARM C6.2, HVC).
fn entered_at_el2() -> Result<(), Refusal> {
    let physical = mrs!("cntp_ctl_el0") & 1 != 0;
    let virt = mrs!("cntv_ctl_el0") & 1 != 0;
    if virt && !physical {
        return Err(Refusal::EnteredAtEl1);
    }
    Ok(())
}

/// Who answers an HVC.
fn owner() -> Result<(), Refusal> {
    use crate::abi::Caller;
    let (x0, x) = El2.hvc(Call::Version.id(), [0; 6]);
    match x0 {
        HVC_STUB_ERR => Ok(()),
        0 if x[0] == HASH => Err(Refusal::AlreadyOwned),
        // SMCCC's NOT_SUPPORTED: KVM's answer, with nVHE and with pKVM.
        u64::MAX => Err(Refusal::KvmOwnsEl2),
        _ => Err(Refusal::OtherHypervisor(x0)),
    }
}

/// The numbers of the CPUs that may ever be online.
pub(crate) fn possible_cpus() -> impl Iterator<Item = u32> {
    // SAFETY: both read the kernel's own masks.
    let nr = unsafe { bindings::mvirt_nr_cpu_ids() };
    // SAFETY: as above.
    (0..nr).filter(|cpu| unsafe { bindings::mvirt_cpu_possible(*cpu) })
}
