// SPDX-License-Identifier: GPL-2.0
//! A vCPU, as the host has it, and the ioctls of its file.
//!
//! [`State`] is under the vCPU's mutex, which every ioctl takes; [`Vcpu::run`] and [`Vcpu::thread`] are
//! for everybody.
//!
//! Why unsafe: the mutex is C's, so the state is in a cell.

use crate::abi::{power, reg, Caller, VCPU_POWER_OFF};
use crate::bindings;
use crate::files::VcpuFile;
use crate::hvc::El2;
use crate::onereg;
use crate::pin::{scratch, Scratch};
use crate::run;
use crate::run_page::RunPage;
use crate::thread::{Locked, Thread};
use crate::user;
use crate::vm::Vm;
use core::cell::UnsafeCell;
use kernel::prelude::*;

/// KVM's features for which there is a number, supported or not.
const KNOWN_FEATURES: u32 = (1 << (bindings::KVM_ARM_VCPU_HAS_EL2_E2H0 + 1)) - 1;
const FEATURE_OFF: u32 = 1 << bindings::KVM_ARM_VCPU_POWER_OFF;
const FEATURE_PSCI: u32 = 1 << bindings::KVM_ARM_VCPU_PSCI_0_2;

/// How an access that user space does goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// None is under way.
    None,
    /// User space has it: a read of so many bytes, or 0 for a write.
    Asked(u32),
    /// It is done, with this value; the guest does not know yet.
    Done(u64),
    /// Nobody answers there; the guest does not know yet.
    Failed,
}

/// What its ioctls change.
pub(crate) struct State {
    /// The features of KVM_ARM_VCPU_INIT, once it was called.
    features: Option<u32>,
    pub(crate) access: Access,
    pub(crate) scratch: Scratch,
}

impl State {
    /// KVM_ARM_VCPU_INIT was called; ENOEXEC if not.
    pub(crate) fn expect_init(&self) -> Result {
        self.features.map(|_| ()).ok_or(ENOEXEC)
    }
}

/// A vCPU.
#[pin_data]
pub(crate) struct Vcpu {
    pub(crate) index: usize,
    pub(crate) run: RunPage,
    #[pin]
    pub(crate) thread: Thread,
    state: UnsafeCell<State>,
}

// SAFETY: the state is under the mutex in `thread`, all else is Sync.
unsafe impl Sync for Vcpu {}
// SAFETY: as above.
unsafe impl Send for Vcpu {}

impl Vcpu {
    /// One that EL2 does not know yet.
    pub(crate) fn new(index: usize) -> Result<Pin<KBox<Vcpu>>> {
        let run = RunPage::new()?;
        let state = State {
            features: None,
            access: Access::None,
            scratch: scratch()?,
        };
        KBox::pin_init(
            try_pin_init!(Vcpu {
                index,
                run,
                thread <- Thread::new(),
                state: UnsafeCell::new(state),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    #[allow(clippy::mut_from_ref)]
    fn state<'a>(&'a self, _locked: &'a mut Locked<'_>) -> &'a mut State {
        // SAFETY: the vCPU's mutex is held, and its guard borrowed alone, as long as this is.
        unsafe { &mut *self.state.get() }
    }
}

/// An ioctl of the vCPU's file, by its number.
pub(crate) fn ioctl(file: &VcpuFile, cmd: u32, arg: usize) -> Result<isize> {
    let vm: &Vm = &file.vm;
    if !vm.mm.is_current() {
        return Err(EIO);
    }
    let vcpu = file.vcpu()?;
    let mut locked = vcpu.thread.lock()?;
    if u64::from(cmd) == bindings::NR_KVM_RUN {
        let inside = vcpu.thread.begin(&locked);
        return match arg {
            0 => run::run(vm, vcpu, vcpu.state(&mut locked), &inside),
            _ => Err(EINVAL),
        };
    }
    let state = vcpu.state(&mut locked);
    match u64::from(cmd) {
        bindings::NR_KVM_ARM_VCPU_INIT => init(vm, vcpu, state, &user::read(arg)?),
        bindings::NR_KVM_GET_ONE_REG => {
            state.expect_init()?;
            onereg::get(vm, vcpu, &user::read(arg)?)
        }
        bindings::NR_KVM_SET_ONE_REG => {
            state.expect_init()?;
            onereg::set(vm, vcpu, &user::read(arg)?)
        }
        bindings::NR_KVM_GET_REG_LIST => {
            state.expect_init()?;
            onereg::list(vm, vcpu, arg)
        }
        bindings::NR_KVM_GET_MP_STATE => get_mp_state(vm, vcpu, arg),
        bindings::NR_KVM_SET_MP_STATE => set_mp_state(vm, vcpu, &user::read(arg)?),
        _ => Err(ENOTTY),
    }
}

/// KVM_ARM_VCPU_INIT: the state of a reset. PSCI is always there, asked for or not.
fn init(vm: &Vm, vcpu: &Vcpu, state: &mut State, init: &bindings::kvm_vcpu_init) -> Result<isize> {
    if init.target != bindings::KVM_ARM_TARGET_GENERIC_V8 {
        return Err(EINVAL);
    }
    let features = init.features[0];
    if init.features[1..].iter().any(|f| *f != 0) || features & !KNOWN_FEATURES != 0 {
        return Err(ENOENT);
    }
    if features & !(FEATURE_OFF | FEATURE_PSCI) != 0 {
        return Err(EINVAL);
    }
    // Once chosen, features stay; whether it starts off is no such thing.
    let lasting = features & !FEATURE_OFF;
    if state.features.is_some_and(|before| before != lasting) {
        return Err(EINVAL);
    }
    let off = features & FEATURE_OFF != 0;
    let flags = if off { VCPU_POWER_OFF } else { 0 };
    El2.vcpu_init(vm.handle, vcpu.index as u64, flags)?;
    state.features = Some(lasting);
    if vm.has_run() {
        // As KVM's stage2_unmap_vm(): what user space writes for the next start, before this call or
        // after it, is in caches, and the guest starts with its MMU off. What it faults in anew is
        // cleaned. (A protected VM that has run does not come here.)
        vm.slots.write().unmap_all(vm.handle);
    }
    // A reset forgets what the vCPU was waiting for.
    state.access = Access::None;
    Ok(0)
}

const MP_STATES: [(u32, u64); 3] = [
    (bindings::KVM_MP_STATE_RUNNABLE, power::ON),
    (bindings::KVM_MP_STATE_STOPPED, power::OFF),
    (bindings::KVM_MP_STATE_SUSPENDED, power::SUSPENDED),
];

fn get_mp_state(vm: &Vm, vcpu: &Vcpu, arg: usize) -> Result<isize> {
    let [power, ..] = El2.vcpu_get_reg(vm.handle, vcpu.index as u64, reg::POWER)?;
    let (mp_state, _) = *MP_STATES.iter().find(|(_, p)| *p == power).ok_or(EIO)?;
    user::write(arg, &bindings::kvm_mp_state { mp_state })?;
    Ok(0)
}

fn set_mp_state(vm: &Vm, vcpu: &Vcpu, wanted: &bindings::kvm_mp_state) -> Result<isize> {
    let state = MP_STATES.iter().find(|(s, _)| *s == wanted.mp_state);
    let (_, power) = *state.ok_or(EINVAL)?;
    El2.vcpu_set_reg(vm.handle, vcpu.index as u64, reg::POWER, power)?;
    Ok(0)
}
