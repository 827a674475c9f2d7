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
mod reglist;
#[allow(dead_code, unreachable_pub)]
#[path = "../abi/refusal.rs"]
mod refusal;
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

use kernel::miscdevice::{MiscDeviceOptions, MiscDeviceRegistration};

module! {
    type: Mvirt,
    name: "mvirt",
    authors: ["The mvirt developers"],
    description: "mvirt: protected virtual machines beside the host",
    license: "GPL",
}

/// The loaded module. Fields are dropped in this order: the device goes first, EL2 last.
struct Mvirt {
    _device: Pin<KBox<MiscDeviceRegistration<device::Device>>>,
    _registers: regs::Registers,
    _report: report::Notifier,
    _ppis: irq::Ppis,
    _host: takeover::Host,
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
        let mut ppis = irq::Ppis::new();
        let options = MiscDeviceOptions {
            name: kernel::c_str!("mvirt"),
        };
        let device = KBox::pin_init(MiscDeviceRegistration::register(options), GFP_KERNEL)
            .map_err(setup("/dev/mvirt"))?;
        let host = takeover::Host::new(&mut ppis).map_err(refused)?;
        Ok(Mvirt {
            _device: device,
            _registers: registers,
            _report: report,
            _ppis: ppis,
            _host: host,
        })
    }
}
