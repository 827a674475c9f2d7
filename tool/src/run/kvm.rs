// SPDX-License-Identifier: Apache-2.0
//! KVM's ioctls, as /dev/mvirt and /dev/kvm take them. Nothing is decided here.
//!
//! Unsafe, because the kernel is told of memory by its address, and because a byte of `kvm_run` is
//! written from another thread.

use std::ffi::CString;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use kvm_bindings::{
    kvm_create_device, kvm_device_attr, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3, kvm_regs,
    kvm_userspace_memory_region, kvm_vcpu_init, user_pt_regs, KVM_API_VERSION,
    KVM_ARM_IRQ_TYPE_SHIFT, KVM_ARM_IRQ_TYPE_SPI, KVM_ARM_VCPU_POWER_OFF, KVM_ARM_VCPU_PSCI_0_2,
    KVM_DEV_ARM_VGIC_CTRL_INIT, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_DEV_ARM_VGIC_GRP_CTRL,
    KVM_DEV_ARM_VGIC_GRP_NR_IRQS, KVM_REG_ARM64, KVM_REG_ARM64_SYSREG,
    KVM_REG_ARM64_SYSREG_CRM_SHIFT, KVM_REG_ARM64_SYSREG_CRN_SHIFT, KVM_REG_ARM64_SYSREG_OP0_SHIFT,
    KVM_REG_ARM64_SYSREG_OP1_SHIFT, KVM_REG_ARM64_SYSREG_OP2_SHIFT, KVM_REG_ARM_CORE,
    KVM_REG_SIZE_U64, KVM_VGIC_V3_ADDR_TYPE_DIST, KVM_VGIC_V3_ADDR_TYPE_REDIST,
};
use kvm_ioctls::{Cap, DeviceFd, VcpuExit, VcpuFd, VmFd};

use super::hypervisor::{Access, Exit, Hypervisor, Kick, Vcpu, Vm};
use super::layout::{GICD, GICR, IRQS, PRIVATE_IRQS};
use super::limits::{self, CREATE_VM};
use crate::device::open_error;
use crate::error::Error;

/// The bit of a machine's type that makes it a protected one.
const PROTECTED: u64 = 1 << 31;
/// Bits of an address in a machine of type 0.
const DEFAULT_BITS: u32 = 40;
/// Why KVM_RUN was left, in `kvm_run`.
const OTHER: &str = "an exit that this tool does not know";

/// The device.
pub struct Kvm {
    path: PathBuf,
    kvm: kvm_ioctls::Kvm,
}

/// What a failed ioctl becomes.
fn failed(path: &Path, doing: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Error {
    let path = path.to_path_buf();
    move |error| Error::Device {
        path,
        doing,
        source: limits::told(doing, io::Error::from_raw_os_error(error.errno())),
    }
}

impl Kvm {
    /// Opens the device at `path`.
    pub fn open(path: &Path) -> Result<Kvm, Error> {
        let source = |e: kvm_ioctls::Error| io::Error::from_raw_os_error(e.errno());
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| Error::Device {
            path: path.into(),
            doing: "open",
            source: e.into(),
        })?;
        let kvm = kvm_ioctls::Kvm::new_with_path(name).map_err(|e| open_error(path, source(e)))?;
        if kvm.get_api_version() != KVM_API_VERSION as i32 {
            return Err(Error::NotKvm { path: path.into() });
        }
        Ok(Kvm {
            path: path.into(),
            kvm,
        })
    }

    /// The type of a machine: its address bits, 0 for the default.
    fn machine_type(&self) -> u64 {
        match self.address_bits() {
            DEFAULT_BITS => 0,
            bits => bits.into(),
        }
    }
}

impl Hypervisor for Kvm {
    type Vm = Machine;

    fn max_cpus(&self) -> u32 {
        u32::try_from(self.kvm.get_max_vcpus()).unwrap_or(u32::MAX)
    }

    fn address_bits(&self) -> u32 {
        // 0, or an error, where only the default is known.
        match u32::try_from(self.kvm.get_host_ipa_limit()) {
            Ok(bits @ 1..DEFAULT_BITS) => bits,
            _ => DEFAULT_BITS,
        }
    }

    fn create(&self, protected: bool) -> Result<Machine, Error> {
        let kind = self.machine_type();
        // A signal ends it, and nothing but asking again is to be done.
        let create = |kind| loop {
            match self.kvm.create_vm_with_type(kind) {
                Err(error) if error.errno() == libc::EINTR => {}
                other => break other,
            }
        };
        let path = || self.path.clone();
        let wanted = if protected { kind | PROTECTED } else { kind };
        let vm = create(wanted).map_err(|error| match error.errno() {
            libc::ENOTTY => Error::NoMachines { path: path() },
            // The same machine, but for the protection, tells what was wrong.
            libc::EINVAL if protected && create(kind).is_ok() => {
                Error::NoProtected { path: path() }
            }
            _ => failed(&self.path, CREATE_VM)(error),
        })?;
        // Asked of the device: pKVM leaves some of them out for a protected machine, which has them.
        for (cap, name) in [
            (Cap::OneReg, "KVM_CAP_ONE_REG"),
            (Cap::ArmPsci02, "KVM_CAP_ARM_PSCI_0_2"),
            (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
        ] {
            if !self.kvm.check_extension(cap) {
                return Err(Error::Lacks { path: path(), name });
            }
        }
        Ok(Machine { path: path(), vm })
    }
}

/// A machine.
pub struct Machine {
    path: PathBuf,
    vm: VmFd,
}

impl Machine {
    /// The target of the machine's vCPUs, for vCPU `number`.
    fn target(&self, number: u32) -> Result<kvm_vcpu_init, Error> {
        let mut init = kvm_vcpu_init::default();
        let bad = failed(&self.path, "KVM_ARM_PREFERRED_TARGET");
        self.vm.get_preferred_target(&mut init).map_err(bad)?;
        init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
        if number > 0 {
            init.features[0] |= 1 << KVM_ARM_VCPU_POWER_OFF;
        }
        Ok(init)
    }

    fn set<T>(
        &self,
        gic: &DeviceFd,
        group: u32,
        attr: u32,
        value: Option<&T>,
    ) -> Result<(), Error> {
        let attr = kvm_device_attr {
            flags: 0,
            group,
            attr: attr.into(),
            addr: value.map_or(0, |value| ptr::from_ref(value) as u64),
        };
        gic.set_device_attr(&attr)
            .map_err(failed(&self.path, "KVM_SET_DEVICE_ATTR of the GIC"))
    }
}

impl Vm for Machine {
    type Vcpu = Processor;

    fn set_memory(&self, guest: u64, size: u64, user: u64) -> Result<(), Error> {
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: guest,
            memory_size: size,
            userspace_addr: user,
        };
        // SAFETY: the range is a Ram, which stays mapped until the process ends and is only accessed
        // through pointers, so that the guest may change it at any time.
        unsafe { self.vm.set_user_memory_region(region) }
            .map_err(failed(&self.path, "KVM_SET_USER_MEMORY_REGION"))
    }

    fn create_vcpu(&self, number: u32) -> Result<Processor, Error> {
        let vcpu = self.vm.create_vcpu(number.into());
        let vcpu = vcpu.map_err(failed(&self.path, "KVM_CREATE_VCPU"))?;
        vcpu.vcpu_init(&self.target(number)?)
            .map_err(failed(&self.path, "KVM_ARM_VCPU_INIT"))?;
        Ok(Processor {
            path: self.path.clone(),
            vcpu,
        })
    }

    fn create_gic(&self, _cpus: u32) -> Result<(), Error> {
        let mut device = kvm_create_device {
            type_: kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
            ..Default::default()
        };
        let gic = self.vm.create_device(&mut device);
        let gic = gic.map_err(failed(&self.path, "KVM_CREATE_DEVICE of a GICv3"))?;
        let address = KVM_DEV_ARM_VGIC_GRP_ADDR;
        self.set(&gic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, Some(&IRQS))?;
        self.set(&gic, address, KVM_VGIC_V3_ADDR_TYPE_DIST, Some(&GICD))?;
        self.set(&gic, address, KVM_VGIC_V3_ADDR_TYPE_REDIST, Some(&GICR))?;
        let init = KVM_DEV_ARM_VGIC_CTRL_INIT;
        self.set::<()>(&gic, KVM_DEV_ARM_VGIC_GRP_CTRL, init, None)
    }

    fn set_irq(&self, spi: u32, high: bool) -> io::Result<()> {
        let kind = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT;
        self.vm
            .set_irq_line(kind | (PRIVATE_IRQS + spi), high)
            .map_err(|e| io::Error::from_raw_os_error(e.errno()))
    }
}

/// The number of a core register (Linux, Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG).
const fn core_register(offset: usize) -> u64 {
    KVM_REG_ARM64
        | KVM_REG_SIZE_U64
        | KVM_REG_ARM_CORE as u64
        | ((offset_of!(kvm_regs, regs) + offset) / size_of::<u32>()) as u64
}

/// MPIDR_EL1: op0 3, op1 0, CRn 0, CRm 0, op2 5.
const MPIDR: u64 = KVM_REG_ARM64
    | KVM_REG_SIZE_U64
    | KVM_REG_ARM64_SYSREG as u64
    | 3 << KVM_REG_ARM64_SYSREG_OP0_SHIFT
    | 0 << KVM_REG_ARM64_SYSREG_OP1_SHIFT
    | 0 << KVM_REG_ARM64_SYSREG_CRN_SHIFT
    | 0 << KVM_REG_ARM64_SYSREG_CRM_SHIFT
    | 5 << KVM_REG_ARM64_SYSREG_OP2_SHIFT;

/// A vCPU.
pub struct Processor {
    path: PathBuf,
    vcpu: VcpuFd,
}

impl Vcpu for Processor {
    type Kick = ImmediateExit;

    fn mpidr(&self) -> Result<u64, Error> {
        let mut value = [0; 8];
        self.vcpu
            .get_one_reg(MPIDR, &mut value)
            .map_err(failed(&self.path, "KVM_GET_ONE_REG of MPIDR_EL1"))?;
        Ok(u64::from_le_bytes(value))
    }

    fn set_entry(&self, pc: u64, x0: u64) -> Result<(), Error> {
        for (offset, value) in [
            (offset_of!(user_pt_regs, pc), pc),
            (offset_of!(user_pt_regs, regs), x0),
        ] {
            self.vcpu
                .set_one_reg(core_register(offset), &value.to_le_bytes())
                .map_err(failed(&self.path, "KVM_SET_ONE_REG"))?;
        }
        Ok(())
    }

    fn kick(&mut self) -> ImmediateExit {
        ImmediateExit(&mut self.vcpu.get_kvm_run().immediate_exit)
    }

    fn run(&mut self, mmio: &mut dyn FnMut(Access<'_>)) -> io::Result<Exit> {
        let internal = match self.vcpu.run() {
            Ok(VcpuExit::MmioRead(address, data)) => {
                mmio(Access::Read { address, data });
                return Ok(Exit::Again);
            }
            Ok(VcpuExit::MmioWrite(address, data)) => {
                mmio(Access::Write { address, data });
                return Ok(Exit::Again);
            }
            Ok(VcpuExit::Intr) => return Ok(Exit::Interrupted),
            Err(e) if e.errno() == libc::EINTR => return Ok(Exit::Interrupted),
            Err(e) => return Err(io::Error::from_raw_os_error(e.errno())),
            Ok(VcpuExit::SystemEvent(kind, data)) => return Ok(Exit::System(kind, data.to_vec())),
            Ok(VcpuExit::FailEntry(reason, cpu)) => {
                let text = format!(
                    "KVM_EXIT_FAIL_ENTRY: hardware_entry_failure_reason {reason:#x}, cpu {cpu}"
                );
                return Ok(Exit::Stuck(text));
            }
            Ok(VcpuExit::InternalError) => true,
            Ok(_) => false,
        };
        let run = self.vcpu.get_kvm_run();
        let text = if internal {
            // SAFETY: the exit reason is KVM_EXIT_INTERNAL_ERROR, for which the kernel fills this
            // member; it has integers only, of which any are valid.
            let error = unsafe { run.__bindgen_anon_1.internal };
            let known = (error.ndata as usize).min(error.data.len());
            format!(
                "KVM_EXIT_INTERNAL_ERROR: suberror {}, data {:x?}",
                error.suberror,
                &error.data[..known]
            )
        } else {
            format!("{OTHER}: exit_reason {}", run.exit_reason)
        };
        Ok(Exit::Stuck(text))
    }
}

/// The member of `kvm_run` that makes KVM_RUN return at once. It is in a mapping that lives as long
/// as the vCPU.
pub struct ImmediateExit(*mut u8);

impl Kick for ImmediateExit {
    fn leave(&self) {
        // SAFETY: by the contract of Vcpu::kick the vCPU lives, and with it the mapping. The byte is
        // for user space to write at any time, from any thread; the kernel only reads it, and this
        // process reads it nowhere.
        unsafe { ptr::write_volatile(self.0, 1) };
    }
}
