// SPDX-License-Identifier: GPL-2.0
//! A VM, as the host has it: what its files share.
//!
//! A [`Vm`] lives as long as one of its files does. Then memory that is not pinned leaves the guest, EL2
//! takes the VM apart, and what the host holds for it goes after, in the order of the fields.
//!
//! Locks, outermost first: a vCPU's mutex (`thread`), `config`, `slots`, then those of a slot's
//! memory, then `pool`. Those of `irqfds` and `ioeventfds` are taken alone, inside a vCPU's mutex.
//!
//! Why unsafe: vCPUs are published by pointer, and the address space is C's.

use crate::abi::{self, vgic, Caller, MAX_IPA_BITS, MAX_VCPUS, MIN_IPA_BITS, VM_PROTECTED};
use crate::bindings;
use crate::files::NewFile;
use crate::hvc::El2;
use crate::ioeventfd::IoEventFds;
use crate::irq;
use crate::irqfd::Irqfds;
use crate::lock::RwLock;
use crate::pool;
use crate::refusal::Reason;
use crate::slots::Slots;
use crate::vcpu::Vcpu;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};

/// KVM_VM_TYPE_ARM_IPA_SIZE_MASK.
const TYPE_IPA_BITS: usize = 0xff;
const TYPE_PROTECTED: usize = bindings::NR_KVM_VM_TYPE_ARM_PROTECTED as usize;
/// Bits of the guest's physical address if none are asked for.
const DEFAULT_IPA_BITS: u32 = 40;

/// The address space of who made a VM. It may be dead; the structure is there.
pub(crate) struct Mm(*mut bindings::mm_struct);

// SAFETY: a counted reference, and what is done with it takes the kernel's own locks.
unsafe impl Send for Mm {}
// SAFETY: as above.
unsafe impl Sync for Mm {}

impl Mm {
    fn current() -> Mm {
        // SAFETY: the callers are ioctls, so there is one.
        Mm(unsafe { bindings::mvirt_mm_grab() })
    }

    /// It is the caller's.
    pub(crate) fn is_current(&self) -> bool {
        // SAFETY: compares pointers.
        unsafe { bindings::mvirt_mm_is_current(self.0) }
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::mm_struct {
        self.0
    }
}

impl Drop for Mm {
    fn drop(&mut self) {
        // SAFETY: the reference that `current` took.
        unsafe { bindings::mvirt_mm_drop(self.0) };
    }
}

/// What is set up before a VM runs.
pub(crate) struct Config {
    /// It has a GIC's file.
    pub(crate) vgic: bool,
}

/// A VM.
#[pin_data(PinnedDrop)]
pub(crate) struct Vm {
    /// EL2's name for it.
    pub(crate) handle: u64,
    pub(crate) protected: bool,
    /// Its memory is pinned.
    pub(crate) pins: bool,
    pub(crate) ipa_bits: u32,
    pub(crate) mm: Arc<Mm>,
    ran: AtomicBool,
    vcpus: [AtomicPtr<Vcpu>; MAX_VCPUS],
    #[pin]
    pub(crate) config: Mutex<Config>,
    #[pin]
    pub(crate) slots: RwLock<Slots>,
    #[pin]
    pub(crate) irqfds: Irqfds,
    #[pin]
    pub(crate) ioeventfds: IoEventFds,
}

/// Bits of a guest's physical address that this machine has at most.
pub(crate) fn max_ipa_bits() -> u32 {
    // SAFETY: reads ID registers.
    let range = unsafe { bindings::mvirt_pa_range() };
    // ID_AA64MMFR0_EL1.PARange (Arm ARM D24.2); above 48 bits guests have no use for it here.
    let bits = match range {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        _ => MAX_IPA_BITS,
    };
    bits.min(MAX_IPA_BITS)
}

/// A reason as the log has it: 7.x prints what implements the kernel's own trait.
struct Why(Reason);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(&self.0.with(&[]), f)
    }
}

/// One line in the log, the first time.
fn no_vms(why: Reason) -> Error {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        pr_warn!("no virtual machines on this machine: {}\n", Why(why));
    }
    // EOPNOTSUPP
    abi::Error::NotSupported.into()
}

/// KVM_CREATE_VM: a descriptor.
pub(crate) fn create(kind: usize) -> Result<isize> {
    if kind & !(TYPE_IPA_BITS | TYPE_PROTECTED) != 0 {
        return Err(EINVAL);
    }
    let ipa_bits = match (kind & TYPE_IPA_BITS) as u32 {
        0 => DEFAULT_IPA_BITS,
        bits => bits,
    };
    if !(MIN_IPA_BITS..=max_ipa_bits()).contains(&ipa_bits) {
        return Err(EINVAL);
    }
    if let Some(refusal) = irq::refusal() {
        return Err(no_vms(refusal.reason()));
    }
    let protected = kind & TYPE_PROTECTED != 0;
    let vm = Vm::new(protected, ipa_bits)?;
    Ok(NewFile::vm(vm)?.install())
}

/// Takes a VM of EL2's apart; whether that was done.
fn destroy(handle: u64) -> bool {
    loop {
        match El2.vm_destroy(handle) {
            Ok([0, ..]) => break,
            Ok(_) => {}
            Err(e) => {
                pr_err!(
                    "EL2 does not take a VM apart ({:?}): its memory is lost\n",
                    e
                );
                return false;
            }
        }
        // SAFETY: nothing is held here but mutexes.
        unsafe { bindings::mvirt_relax() };
    }
    pool::reclaim();
    true
}

impl Vm {
    fn new(protected: bool, ipa_bits: u32) -> Result<Arc<Vm>> {
        let flags = if protected { VM_PROTECTED } else { 0 };
        let mm = Arc::new(Mm::current(), GFP_KERNEL_ACCOUNT)?;
        // SAFETY: a constant of the kernel's.
        let followed = !protected && unsafe { bindings::mvirt_has_notifiers() };
        if followed {
            // Here and not with the first slot: that this call ends for a signal VMMs know from KVM.
            // SAFETY: the calling process's, which `mm` holds.
            let ret = unsafe { bindings::mvirt_notifiers_begin(mm.as_ptr()) };
            kernel::error::to_result(ret)?;
        }
        let made = pool::supply_by(pool::ROOT_ORDER, || {
            El2.vm_create(flags, u64::from(ipa_bits))
        });
        let handle = match made {
            Ok([handle, ..]) => handle,
            Err(e) if e == abi::Error::NotSupported.into() => {
                return Err(no_vms(Reason::NoWorldSwitch));
            }
            Err(e) => return Err(e),
        };
        let vm = Arc::pin_init(
            try_pin_init!(Vm {
                handle,
                protected,
                pins: !followed,
                ipa_bits,
                mm,
                ran: AtomicBool::new(false),
                vcpus: [const { AtomicPtr::new(null_mut()) }; MAX_VCPUS],
                config <- new_mutex!(Config { vgic: false }),
                slots <- RwLock::new(Slots::new()),
                irqfds <- Irqfds::new(),
                ioeventfds <- IoEventFds::new(),
            }),
            GFP_KERNEL_ACCOUNT,
        );
        if vm.is_err() {
            destroy(handle);
        }
        vm
    }

    /// A vCPU has been run.
    pub(crate) fn has_run(&self) -> bool {
        self.ran.load(Ordering::Acquire)
    }

    /// A vCPU is about to be run: from here on the slots of a protected VM do not change. EBUSY if the
    /// VM has a GIC's file, but the GIC is not initialised.
    pub(crate) fn begin_run(&self) -> Result {
        if self.has_run() {
            return Ok(());
        }
        let config = self.config.lock();
        if config.vgic {
            let [ready, ..] = El2.vgic_get(self.handle, vgic::INIT, 0)?;
            if ready == 0 {
                return Err(EBUSY);
            }
        }
        // Who changes the slots has seen the flag, or is done.
        let _slots = self.slots.read();
        self.ran.store(true, Ordering::Release);
        Ok(())
    }

    /// A vCPU, if there is one of this index.
    pub(crate) fn vcpu(&self, index: usize) -> Option<&Vcpu> {
        let vcpu = self.vcpus.get(index)?.load(Ordering::Acquire);
        // SAFETY: null, or published by `add_vcpu`, and freed when the VM is dropped.
        unsafe { vcpu.as_ref() }
    }

    /// All vCPUs.
    pub(crate) fn vcpus(&self) -> impl Iterator<Item = &Vcpu> {
        (0..MAX_VCPUS).filter_map(|n| self.vcpu(n))
    }

    /// Wakes vCPUs, or makes them come out: one bit each. From any context.
    pub(crate) fn kick(&self, mask: u64) {
        for vcpu in self.vcpus() {
            if mask >> vcpu.index & 1 != 0 {
                vcpu.thread.kick();
            }
        }
    }

    /// KVM_CREATE_VCPU: a descriptor.
    pub(crate) fn add_vcpu(self: &Arc<Self>, index: usize) -> Result<isize> {
        let place = self.vcpus.get(index).ok_or(EINVAL)?;
        let _config = self.config.lock();
        if self.vcpu(index).is_some() {
            return Err(EEXIST);
        }
        let vcpu = Vcpu::new(index)?;
        let file = NewFile::vcpu(self.clone(), index)?;
        pool::supply(|| El2.vcpu_create(self.handle, index as u64).map(|_| ()))?;
        // SAFETY: it is not moved any more: only `drop` below makes a box of it again.
        let vcpu = unsafe { Pin::into_inner_unchecked(vcpu) };
        place.store(KBox::into_raw(vcpu), Ordering::Release);
        Ok(file.install())
    }
}

#[pinned_drop]
impl PinnedDrop for Vm {
    fn drop(self: Pin<&mut Self>) {
        if !self.pins {
            // EL2 answers nothing about a VM that it takes apart: what user space lost meanwhile
            // would go to others while EL2 still has it as this guest's.
            self.slots.write().clear(self.handle);
        }
        if !destroy(self.handle) {
            self.slots.write().leak();
        }
        for place in &self.vcpus {
            let vcpu = place.swap(null_mut(), Ordering::Acquire);
            if !vcpu.is_null() {
                // SAFETY: published by `add_vcpu`; whoever used it held the VM.
                drop(unsafe { KBox::from_raw(vcpu) });
            }
        }
    }
}

impl From<abi::Error> for Error {
    fn from(e: abi::Error) -> Error {
        Error::from_errno(-(e as i32))
    }
}
