// SPDX-License-Identifier: GPL-2.0
//! VMs: the hypercalls that make, run and end them.
//!
//! A slot of [`VMS`] holds one VM under a lock of its own, which comes before `calls::MEMORY`. A
//! vCPU that runs belongs to the CPU that runs it and is in no table.
//!
//! * `switch`  the world switch
//! * `fp`      a guest's FP registers
//! * `debug`   breakpoints and watchpoints
//! * `gic`     the virtual CPU interface
//! * `timers`  the counters' comparators
//! * `serror`  errors of memory around the switch
//! * `system`  what all CPUs have in common, what each has
//! * `run`     from the host's call to the guest and back
//! * `trap`    what made the guest leave
//! * `sysreg`  its trapped System registers
//!
//! Why unsafe: pages become the structures that live in them.

mod debug;
mod fp;
mod gic;
mod run;
mod serror;
mod switch;
mod sysreg;
mod system;
mod timers;
mod trap;

use mvirt_abi::{reg, vgic, Error, MAX_VMS, VCPU_POWER_OFF, VM_PROTECTED, VM_SYSTEM_SUSPEND};
use mvirt_hyp::addr::Phys;
use mvirt_hyp::cpu::Feature;
use mvirt_hyp::guest::firmware::Firmware;
use mvirt_hyp::guest::psci::{Entry, EntryPoint};
use mvirt_hyp::guest::reset::mpidr;
use mvirt_hyp::guest::sysreg::Context;
use mvirt_hyp::page::Use;
use mvirt_hyp::vgic::{Irq, Vgic, MAX_SPIS};
use mvirt_hyp::vm::user::View;
use mvirt_hyp::vm::vcpu::Vcpu;
use mvirt_hyp::vm::{Phase, Vm};

use crate::calls::{with_memory, with_memory_in_force};
use crate::cpu::{icc_sre, id_regs, PerCpu};
use crate::entropy;
use crate::layout::LINEAR_BASE;
use crate::lock::{Guard, SpinLock};
use crate::sysreg::{e2h, read_sysreg};

pub use run::{abandon, run};
pub use system::take_in;
pub use timers::{both_off, own_off};

/// What is in a slot.
enum Life {
    /// Nothing.
    Free,
    /// A VM that another CPU is making.
    Making,
    /// A VM.
    Alive(&'static mut Vm<'static>),
}

/// A slot.
pub struct Slot {
    /// How many VMs it has had: the upper part of a handle.
    generation: u32,
    life: Life,
}

static VMS: [SpinLock<Slot>; MAX_VMS] = [const {
    SpinLock::new(Slot {
        generation: 0,
        life: Life::Free,
    })
}; MAX_VMS];

/// Releases the locks of this file that this CPU, which is broken, holds.
pub fn abandon_locks() {
    VMS.iter().for_each(SpinLock::abandon);
    system::abandon_lock();
}

impl Slot {
    /// The VM in it. [`Error::NoEntry`] if there is none.
    pub fn vm(&mut self) -> Result<&mut Vm<'static>, Error> {
        match &mut self.life {
            Life::Alive(vm) => Ok(vm),
            Life::Free | Life::Making => Err(Error::NoEntry),
        }
    }
}

/// A handle's slot, locked. [`Error::NoEntry`] if the handle is stale or was never given.
fn find(handle: u64) -> Result<(usize, Guard<'static, Slot>), Error> {
    let n = (handle & 0xff) as usize;
    let slot = VMS.get(n).ok_or(Error::NoEntry)?.lock();
    if u64::from(slot.generation) != handle >> 8 {
        return Err(Error::NoEntry);
    }
    Ok((n, slot))
}

/// As [`find`], for a VM that is not being taken apart.
fn find_alive(handle: u64) -> Result<(usize, Guard<'static, Slot>), Error> {
    let (n, mut slot) = find(handle)?;
    if slot.vm()?.phase == Phase::Dying {
        return Err(Error::NoEntry);
    }
    Ok((n, slot))
}

/// Makes a value live in a page of EL2's, until `leave_page`.
fn move_in<T>(page: Phys, value: T) -> &'static mut T {
    const { assert!(size_of::<T>() <= 4096 && align_of::<T>() <= 4096) };
    let at = (LINEAR_BASE + page.raw()) as *mut T;
    // SAFETY: `page_take` gave the page to us alone: it is in the linear map, page aligned, and no
    // other reference to it exists until `leave_page` ends this one.
    unsafe {
        at.write(value);
        &mut *at
    }
}

/// Ends what lives in a page; answers the page.
fn leave_page<T: ?Sized>(value: &'static mut T) -> Phys {
    let at = (&raw mut *value).cast::<u8>() as u64;
    Phys::new(at - LINEAR_BASE)
}

fn page_take(usage: Use) -> Result<Phys, Error> {
    with_memory(|memory, m| memory.page_take(m, usage))
}

fn page_give(page: Phys) {
    let given = with_memory(|memory, m| memory.page_give(m, page));
    // It was taken from there.
    assert!(given.is_ok(), "a VM's page is not the pool's");
}

/// vm_create.
pub fn create(flags: u64, ipa_bits: u64) -> Result<u64, Error> {
    if flags & !VM_PROTECTED != 0 {
        return Err(Error::Invalid);
    }
    let ids = id_regs();
    // Without the GIC's System registers there is no interrupt controller for a guest. Where HCR_EL2.E2H is 1 the
    // registers of EL1 have other names: the world switch does not know them.
    if e2h() || !ids.has(Feature::Gicv3) || icc_sre(&ids) & 1 == 0 {
        return Err(Error::NotSupported);
    }
    system::core(PerCpu::current(), system::guests()?)?;
    let bits = u32::try_from(ipa_bits).map_err(|_| Error::Invalid)?;
    let (n, generation) = claim().ok_or(Error::Busy)?;
    let made = make(n, flags & VM_PROTECTED != 0, bits);
    let mut slot = VMS[n].lock();
    match made {
        Ok(vm) => {
            slot.life = Life::Alive(vm);
            Ok(n as u64 | u64::from(generation) << 8)
        }
        Err(e) => {
            slot.life = Life::Free;
            Err(e)
        }
    }
}

/// A free slot, marked so that nobody else takes it.
fn claim() -> Option<(usize, u32)> {
    VMS.iter().enumerate().find_map(|(n, slot)| {
        let mut slot = slot.lock();
        matches!(slot.life, Life::Free).then(|| {
            slot.life = Life::Making;
            (n, slot.generation)
        })
    })
}

fn make(n: usize, protected: bool, ipa_bits: u32) -> Result<&'static mut Vm<'static>, Error> {
    let spis = page_take(Use::Vgic)?;
    let routes = page_take(Use::Vgic).inspect_err(|_| page_give(spis))?;
    let page = page_take(Use::Vm).inspect_err(|_| {
        page_give(routes);
        page_give(spis);
    })?;
    let regime = with_memory_in_force(|memory, m| memory.guest_create(m, n, protected, ipa_bits))
        .inspect_err(|_| {
        page_give(page);
        page_give(routes);
        page_give(spis);
    })?;
    // The guest's virtual counter starts at 0.
    let cntvoff = read_sysreg!("cntpct_el0");
    let vgic = Vgic::new(
        move_in(spis, [Irq::RESET; MAX_SPIS]),
        move_in(routes, [0; MAX_SPIS]),
    );
    Ok(move_in(page, Vm::new(protected, regime, cntvoff, vgic)))
}

/// vm_destroy: whether it has to be called again.
pub fn destroy(handle: u64) -> Result<bool, Error> {
    let (n, mut slot) = find(handle)?;
    let vm = slot.vm()?;
    if vm.is_busy() {
        return Err(Error::Busy);
    }
    vm.phase = Phase::Dying;
    while let Some(vcpu) = vm.remove_one() {
        page_give(leave_page(vcpu));
    }
    if with_memory(|memory, m| memory.guest_destroy_step(m, n))? {
        return Ok(true);
    }
    if let Life::Alive(vm) = core::mem::replace(&mut slot.life, Life::Free) {
        let (spis, routes) = vm.vgic.take_tables();
        page_give(leave_page(spis));
        page_give(leave_page(routes));
        page_give(leave_page(vm));
    }
    slot.generation = (slot.generation + 1) & (u32::MAX >> 8);
    Ok(false)
}

/// vm_enable.
pub fn enable(handle: u64, features: u64) -> Result<(), Error> {
    if features != VM_SYSTEM_SUSPEND {
        return Err(Error::Invalid);
    }
    let (_, mut slot) = find_alive(handle)?;
    slot.vm()?.may_suspend = true;
    Ok(())
}

/// vcpu_create.
pub fn vcpu_create(handle: u64, index: u64) -> Result<(), Error> {
    let (_, mut slot) = find_alive(handle)?;
    let vm = slot.vm()?;
    let n = vm.expect_free(index)?;
    let page = page_take(Use::Vcpu)?;
    vm.vgic.add_vcpu(n).inspect_err(|_| page_give(page))?;
    // Lossless: below MAX_VCPUS.
    vm.put(move_in(page, Vcpu::new(n as u8, mpidr(n))));
    Ok(())
}

/// vcpu_init.
pub fn vcpu_init(handle: u64, index: u64, flags: u64) -> Result<(), Error> {
    if flags & !VCPU_POWER_OFF != 0 {
        return Err(Error::Invalid);
    }
    let (_, mut slot) = find_alive(handle)?;
    let vm = slot.vm()?;
    if vm.protected && vm.phase != Phase::Setup {
        return Err(Error::Perm);
    }
    vm.vcpu(index)?.reset(&EntryPoint::default());
    // Lossless: there is such a vCPU.
    vm.power.init(index as usize, flags & VCPU_POWER_OFF != 0);
    Ok(())
}

/// A stopped vCPU with the registers that it will run with: a CPU_ON that came for it is in them.
/// [`Error::Perm`] if they are not the host's to see.
fn open<'a>(vm: &'a mut Vm<'static>, index: u64) -> Result<&'a mut Vcpu, Error> {
    vm.vcpu(index)?;
    if vm.protected && vm.phase != Phase::Setup {
        return Err(Error::Perm);
    }
    // Lossless: there is such a vCPU.
    let entry = vm.power.enter(index as usize, false);
    let vcpu = vm.vcpu(index)?;
    if let Entry::Reset(entry) = entry {
        vcpu.reset(&entry);
    }
    Ok(vcpu)
}

/// Calls `f` with a vCPU of the VM's whose registers are the host's to see, and what they depend on.
fn with_registers<R>(
    vm: &mut Vm<'static>,
    index: u64,
    f: impl FnOnce(&mut Vcpu, &mut View<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let guests = system::guests()?;
    let has_gic = vm.vgic.is_ready();
    let mut cntvoff = vm.cntvoff;
    let mut view = View {
        context: Context {
            ids: &guests.ids,
            has_gic,
        },
        firmware: Firmware {
            has_trng: entropy::is_there(),
            workarounds: guests.workarounds,
        },
        count: timers::now(),
        cntvoff: &mut cntvoff,
    };
    let result = f(open(vm, index)?, &mut view);
    vm.cntvoff = cntvoff;
    result
}

/// vcpu_get_reg.
pub fn get_reg(handle: u64, index: u64, number: u64) -> Result<u64, Error> {
    let (_, mut slot) = find_alive(handle)?;
    let vm = slot.vm()?;
    if number == reg::POWER {
        vm.vcpu(index)?;
        return vm.power.get(index as usize).ok_or(Error::NoEntry);
    }
    with_registers(vm, index, |vcpu, view| view.get(vcpu, number))
}

/// vcpu_set_reg.
pub fn set_reg(handle: u64, index: u64, number: u64, value: u64) -> Result<(), Error> {
    let (_, mut slot) = find_alive(handle)?;
    let vm = slot.vm()?;
    if number == reg::POWER {
        open(vm, index)?;
        let done = vm.power.set(index as usize, value);
        return if done { Ok(()) } else { Err(Error::Invalid) };
    }
    with_registers(vm, index, |vcpu, view| view.set(vcpu, number, value))
}

/// guest_map.
pub fn map(handle: u64, gfn: u64, pfn: u64, nr: u64, rights: u64) -> Result<(), Error> {
    // The VM's lock is held so that it cannot be taken apart meanwhile.
    let (n, _slot) = find_alive(handle)?;
    with_memory(|memory, m| memory.guest_map(m, n, gfn, pfn, nr, rights))
}

/// guest_unmap: pages that were mapped, and where to go on.
pub fn unmap(handle: u64, gfn: u64, nr: u64) -> Result<(u64, u64), Error> {
    let (n, _slot) = find_alive(handle)?;
    with_memory(|memory, m| memory.guest_unmap(m, n, gfn, nr))
}

/// Whether an attribute is of the GIC's state, which is saved and restored, and not of its making.
fn is_state(attr: u64) -> bool {
    matches!(
        attr,
        vgic::DIST_REG | vgic::REDIST_REG | vgic::CPU_REG | vgic::LEVELS
    )
}

/// The VM whose GIC is to be set up or looked at. Its state is for when no vCPU runs, and that of a
/// protected VM for when none has run.
fn expect_vgic(slot: &mut Slot, attr: u64) -> Result<&mut Vm<'static>, Error> {
    let vm = slot.vm()?;
    if is_state(attr) {
        if vm.is_busy() {
            return Err(Error::Busy);
        }
        if vm.protected && vm.phase != Phase::Setup {
            return Err(Error::Perm);
        }
    }
    Ok(vm)
}

/// vgic_set.
pub fn vgic_set(handle: u64, attr: u64, index: u64, value: u64) -> Result<(), Error> {
    let (_, mut slot) = find_alive(handle)?;
    let vm = expect_vgic(&mut slot, attr)?;
    // A GIC is made before the first vCPU runs.
    if !is_state(attr) && vm.phase != Phase::Setup {
        return Err(Error::Busy);
    }
    if attr == vgic::CPU_REG {
        let iface = &mut vm.vcpu(index >> 32)?.iface;
        return iface.set_register(index & 0xffff, value, &gic::hardware());
    }
    let bits = vm.regime.ipa_bits;
    vm.vgic.set(attr, index, value, bits)
}

/// vgic_get.
pub fn vgic_get(handle: u64, attr: u64, index: u64) -> Result<u64, Error> {
    let (_, mut slot) = find_alive(handle)?;
    let vm = expect_vgic(&mut slot, attr)?;
    if attr == vgic::CPU_REG {
        let iface = &vm.vcpu(index >> 32)?.iface;
        return iface.get_register(index & 0xffff, &gic::hardware());
    }
    vm.vgic.get(attr, index)
}

/// irq_line: the vCPUs to wake.
pub fn irq_line(handle: u64, vcpu: u64, irq: u64, level: u64) -> Result<u64, Error> {
    let (_, mut slot) = find_alive(handle)?;
    slot.vm()?.vgic.set_line(vcpu, irq, level)
}

/// irq_resample.
pub fn irq_resample(handle: u64, irq: u64, wanted: u64) -> Result<(), Error> {
    let (_, mut slot) = find_alive(handle)?;
    slot.vm()?.vgic.set_resampled(irq, wanted)
}

/// irq_ended: the first interrupt's number, and which of 32 ended.
pub fn irq_ended(handle: u64) -> Result<(u32, u32), Error> {
    let (_, mut slot) = find_alive(handle)?;
    Ok(slot.vm()?.vgic.take_ended())
}
