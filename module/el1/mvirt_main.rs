// SPDX-License-Identifier: GPL-2.0
//! The Linux module: takes EL2 at load and offers it at /dev/mvirt.
//!
//! * `abi`      the contract with the EL2 image
//! * `refusal`  the words of refusals, which `mvirt doctor` shares
//! * `bindings` what bindgen made of `bindings.h`
//! * `probe`    can this machine be taken over, and if not, why
//! * `memory`   what EL2 lives in
//! * `takeover` the take-over
//! * `hvc`      the conduit
//! * `device`   /dev/mvirt
//! * `caps`, `vm`, `vm_ioctl`  VMs, and the ioctls of their files
//! * `slots`, `pin`, `notifier`, `fault`  their memory
//! * `vcpu`, `run`, `run_page`, `thread`, `onereg`, `reglist`  their vCPUs
//! * `vgic_device`, `irq`  their GIC, and the machine's interrupts for it
//! * `irqfd`, `routes`, `ioeventfd`, `eventfd`  eventfds that raise interrupts, or that writes signal
//! * `pool`     pages for EL2
//! * `files`, `lock`, `user`  what the kernel crate does not wrap
//! * `regs`     debugfs: EL2's registers, CPU by CPU
//! * `handover` kexec and hibernation
//! * `report`   the panic notifier that shows what EL2 left behind

use kernel::prelude::*;

#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../abi/contract/mod.rs"]
mod abi;
mod bindings;
mod caps;
mod device;
mod eventfd;
mod fault;
mod files;
mod handover;
mod hvc;
mod ioeventfd;
mod irq;
mod irqfd;
mod lock;
mod memory;
mod notifier;
mod onereg;
mod pin;
mod pool;
mod probe;
#[allow(dead_code, unreachable_pub)]
#[path = "../abi/refusal.rs"]
mod refusal;
mod reglist;
mod regs;
mod report;
mod routes;
mod run;
mod run_page;
mod slots;
mod takeover;
mod thread;
mod user;
mod vcpu;
mod vgic_device;
mod vm;
mod vm_ioctl;

module! {
    type: Mvirt,
    name: "mvirt",
    authors: ["The mvirt developers"],
    description: "mvirt: protected virtual machines beside the host",
    license: "GPL",
}

/// The loaded module. Fields are dropped in this order: the device goes first, then EL2, and last what
/// tells of kexec and hibernation, which matter while EL2 is ours.
struct Mvirt {
    _device: device::Device,
    _registers: regs::Registers,
    _report: report::Notifier,
    _ppis: irq::Ppis,
    _host: takeover::Host,
    _handover: handover::Handover,
}

/// One line in the log for each refusal: the cause, and what mends it.
fn refused(refusal: probe::Refusal) -> Error {
    pr_err!("refused: {}\n", refusal);
    refusal.into()
}

/// A refusal of a step in which the kernel failed us.
fn setup(step: &'static str) -> impl Fn(Error) -> Error {
    move |e| refused(probe::Refusal::Setup(step, e))
}

impl kernel::Module for Mvirt {
    /// EL2 is taken last: nothing can fail once it is ours.
    fn init(_module: &'static ThisModule) -> Result<Self> {
        probe::probe().map_err(refused)?;
        let report = report::Notifier::new().map_err(setup("the panic notifier"))?;
        let registers = regs::Registers::new().map_err(setup("debugfs"))?;
        pool::init();
        takeover::init();
        let handover = handover::Handover::new().map_err(setup("the notifiers"))?;
        let mut ppis = irq::Ppis::new();
        let device = device::Device::new().map_err(setup("/dev/mvirt"))?;
        let host = match takeover::Host::new(&mut ppis) {
            Ok(host) => host,
            Err(refusal) => {
                drop(device);
                // SAFETY: the device is gone, and nothing else of ours gives out references.
                unsafe { bindings::mvirt_wait_for_openers() };
                return Err(refused(refusal));
            }
        };
        Ok(Mvirt {
            _device: device,
            _registers: registers,
            _report: report,
            _ppis: ppis,
            _host: host,
            _handover: handover,
        })
    }
}
