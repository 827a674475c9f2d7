// SPDX-License-Identifier: GPL-2.0
//! Can this machine be taken over? If not: why, and what mends it.
//!
//! Nothing here changes anything. The order matters: CurrentEL is read before any HVC, since a
//! kernel at EL2 has its own handler there and oopses.

use crate::abi::{Call, CpuRefusal, Error, HASH, MAX_CPUS, MAX_RAM_RANGES};
use crate::bindings;
use crate::hvc::{mrs, El2, HVC_STUB_ERR};
use crate::refusal::Reason;
use core::fmt::Display;
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
    /// RAM is in too many ranges.
    RamRanges,
    /// No RAM is known.
    NoRam,
    /// More RAM than there is metadata for.
    TooMuchRam,
    /// An allocation failed.
    NoMemory(usize),
    /// The kernel refused a step of the module's own set-up.
    Setup(&'static str, kernel::error::Error),
    /// EL2 refused a step of the take-over.
    Step(&'static str, Error),
}

impl fmt::Display for Refusal {
    /// The cause; what mends it. The words are those of `module/abi/refusal.rs`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut say = |reason: Reason, values: &[&dyn Display]| reason.with(values).fmt(f);
        let page_kib = kernel::page::PAGE_SIZE / 1024;
        match *self {
            Refusal::KernelAtEl2 => say(Reason::KernelAtEl2, &[]),
            Refusal::NoEl2 => say(Reason::NoEl2, &[]),
            Refusal::EnteredAtEl1 => say(Reason::EnteredAtEl1, &[]),
            Refusal::NoPsci => say(Reason::NoPsci, &[]),
            Refusal::SpinTable(cpu) => say(Reason::SpinTable, &[&cpu]),
            Refusal::OldPsci => say(Reason::OldPsci, &[]),
            Refusal::ConduitNotSmc => say(Reason::ConduitNotSmc, &[]),
            Refusal::KvmOwnsEl2 => say(Reason::KvmOwnsEl2, &[]),
            Refusal::AlreadyOwned => say(Reason::AlreadyOwned, &[]),
            Refusal::OtherHypervisor(x0) => {
                say(Reason::OtherHypervisor, &[&format_args!("{x0:#x}")])
            }
            Refusal::PageSize(shift) => {
                say(Reason::PageSize, &[&((1u64 << shift) / 1024), &page_kib])
            }
            Refusal::AbiMismatch(hash) => say(
                Reason::AbiMismatch,
                &[&format_args!("{hash:#018x}"), &format_args!("{HASH:#018x}")],
            ),
            Refusal::Cpu(cpu, midr, why) => {
                let midr = Midr(midr);
                match why {
                    CpuRefusal::Erratum(number) => say(Reason::CpuErratum, &[&cpu, &midr, &number]),
                    CpuRefusal::Granule => say(Reason::CpuGranule, &[&cpu, &midr, &page_kib]),
                    CpuRefusal::PaRange => say(Reason::CpuPaRange, &[&cpu, &midr]),
                }
            }
            Refusal::Entry(cpu, e) => say(Reason::Entry, &[&cpu, &format_args!("{e:?}")]),
            Refusal::TooManyCpus(n) => say(Reason::TooManyCpus, &[&n, &MAX_CPUS, &MAX_CPUS]),
            Refusal::NoMpidr(cpu) => say(Reason::NoMpidr, &[&cpu]),
            Refusal::RamRanges => say(Reason::RamRanges, &[&MAX_RAM_RANGES]),
            Refusal::NoRam => say(Reason::NoRam, &[]),
            Refusal::TooMuchRam => say(Reason::TooMuchRam, &[]),
            Refusal::NoMemory(size) => say(Reason::NoMemory, &[&(size / 1024)]),
            Refusal::Setup(step, e) => say(Reason::Setup, &[&step, &-e.to_errno()]),
            Refusal::Step(step, e) => say(Reason::Step, &[&step, &format_args!("{e:?}")]),
        }
    }
}

/// MIDR_EL1 as the kernel prints it.
struct Midr(u64);

impl Display for Midr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#010x}", self.0)
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
