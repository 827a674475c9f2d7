// SPDX-License-Identifier: GPL-2.0
//! The per-CPU interrupts that EL2 uses while a guest runs: the virtual timer's, the EL2 timer's
//! and the GIC's maintenance interrupt. The kernel has no other use for them, so they are taken
//! here, with a handler that has nothing to do, and enabled on each CPU.
//!
//! EL2 takes them itself in a guest. One that is still pending when the guest has left goes to the
//! handler, and its line is low by then: EL2 turns the timers and the GIC's virtual interface off.
//!
//! [`Ppis`] is the module's; [`refusal`] tells the rest of it why there can be no VM. No lock: what
//! is found at load does not change.
//!
//! Why unsafe: the kernel's interrupt code is C's.

use crate::bindings;
use crate::hvc::mrs;
use crate::refusal::Reason;
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::prelude::*;

/// Why there can be no VM on this machine.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Refusal {
    /// No CPU interface with System registers.
    NoGicv3 = 1,
    /// The kernel's GIC driver drops priority and deactivates in one.
    NoSplitEoi = 2,
    /// The device tree has no maintenance interrupt.
    NoMaintenance = 3,
    /// The device tree lacks the virtual or the EL2 timer's interrupt.
    NoTimer = 4,
    /// Another driver has one of them.
    Taken = 5,
    /// The kernel has no place for a CPU hotplug callback.
    NoHotplug = 6,
}

impl Refusal {
    const ALL: [Refusal; 6] = [
        Refusal::NoGicv3,
        Refusal::NoSplitEoi,
        Refusal::NoMaintenance,
        Refusal::NoTimer,
        Refusal::Taken,
        Refusal::NoHotplug,
    ];

    /// The reason, for the log.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Refusal::NoGicv3 => Reason::NoGicv3,
            Refusal::NoSplitEoi => Reason::NoSplitEoi,
            Refusal::NoMaintenance => Reason::NoMaintenance,
            Refusal::NoTimer => Reason::NoTimer,
            Refusal::Taken => Reason::Taken,
            Refusal::NoHotplug => Reason::NoHotplug,
        }
    }
}

/// An interrupt of which there is one for each CPU.
struct Source {
    compatible: &'static CStr,
    /// Its place in the node's list.
    index: i32,
    name: &'static CStr,
    missing: Refusal,
}

const SOURCES: [Source; 3] = [
    Source {
        compatible: kernel::c_str!("arm,gic-v3"),
        index: 0,
        name: kernel::c_str!("mvirt-vgic"),
        missing: Refusal::NoMaintenance,
    },
    // Documentation/devicetree/bindings/timer/arm,arch_timer.yaml: secure, physical, virtual, EL2.
    Source {
        compatible: kernel::c_str!("arm,armv8-timer"),
        index: 2,
        name: kernel::c_str!("mvirt-vtimer"),
        missing: Refusal::NoTimer,
    },
    Source {
        compatible: kernel::c_str!("arm,armv8-timer"),
        index: 3,
        name: kernel::c_str!("mvirt-htimer"),
        missing: Refusal::NoTimer,
    },
];

/// Their numbers in the kernel; 0 for one that is not ours.
static IRQS: [AtomicU32; SOURCES.len()] = [const { AtomicU32::new(0) }; SOURCES.len()];
/// A [`Refusal`], or 0.
static REFUSAL: AtomicU32 = AtomicU32::new(0);

/// Why there can be no VM, if so.
pub(crate) fn refusal() -> Option<Refusal> {
    let raw = REFUSAL.load(Ordering::Relaxed);
    Refusal::ALL.into_iter().find(|r| *r as u32 == raw)
}

fn irqs() -> impl Iterator<Item = u32> {
    IRQS.iter()
        .map(|irq| irq.load(Ordering::Relaxed))
        .filter(|irq| *irq != 0)
}

/// The interrupts, given back when dropped.
pub(crate) struct Ppis {
    hotplug: i32,
}

impl Ppis {
    /// Takes them. A machine that has not all of them keeps EL2, but has no VMs.
    pub(crate) fn new() -> Ppis {
        note(look().and_then(|()| take()));
        Ppis { hotplug: 0 }
    }

    /// Enables them on all CPUs, now and when they come online. EL2 has been taken: until then its timer
    /// may be as a reset left it, and fire without an end.
    pub(crate) fn enable(&mut self) {
        if refusal().is_some() {
            return;
        }
        // SAFETY: the callbacks below live as long as the module, whose `Ppis` removes them.
        let state = unsafe { bindings::mvirt_cpuhp_add() };
        self.hotplug = state.max(0);
        note(if state < 0 {
            Err(Refusal::NoHotplug)
        } else {
            Ok(())
        });
    }
}

/// Without one of them there is no VM, and the others go back.
fn note(taken: Result<(), Refusal>) {
    if let Err(refusal) = taken {
        REFUSAL.store(refusal as u32, Ordering::Relaxed);
        give_back();
    }
}

impl Drop for Ppis {
    fn drop(&mut self) {
        if self.hotplug > 0 {
            // SAFETY: the state that `enable` added. Disables the interrupts on all CPUs.
            unsafe { bindings::mvirt_cpuhp_remove(self.hotplug) };
        }
        give_back();
    }
}

fn look() -> Result<(), Refusal> {
    // SAFETY: reads ID registers.
    if !unsafe { bindings::mvirt_has_gicv3() } {
        return Err(Refusal::NoGicv3);
    }
    // ICC_CTLR_EL1.EOImode. A GIC with System registers that runs as a GICv2 for the kernel has no
    // node of a GICv3, and its registers are not to be touched.
    let node = irq_of(&SOURCES[0]);
    if node.is_none() {
        return Err(Refusal::NoMaintenance);
    }
    if mrs!("s3_0_c12_c12_4") & 1 << 1 == 0 {
        return Err(Refusal::NoSplitEoi);
    }
    Ok(())
}

fn irq_of(source: &Source) -> Option<u32> {
    // SAFETY: takes a string and an index; answers a number that stays mapped.
    let irq = unsafe { bindings::mvirt_of_irq(source.compatible.as_ptr().cast(), source.index) };
    (irq != 0).then_some(irq)
}

fn take() -> Result<(), Refusal> {
    for (source, ours) in SOURCES.iter().zip(&IRQS) {
        let irq = irq_of(source).ok_or(source.missing)?;
        // SAFETY: the name lives for good.
        if unsafe { bindings::mvirt_ppi_request(irq, source.name.as_ptr().cast()) } != 0 {
            return Err(Refusal::Taken);
        }
        ours.store(irq, Ordering::Relaxed);
    }
    Ok(())
}

fn give_back() {
    for ours in &IRQS {
        let irq = ours.swap(0, Ordering::Relaxed);
        if irq != 0 {
            // SAFETY: requested by `take`, and disabled on all CPUs by the hotplug callback, or not
            // enabled yet.
            unsafe { bindings::mvirt_ppi_free(irq) };
        }
    }
}

/// # Safety
///
/// Called by `glue_irq.c` on a CPU that comes online, with preemption off or in its hotplug thread.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_cpu_up() {
    // SAFETY: requested, and this CPU stays the current one.
    irqs().for_each(|irq| unsafe { bindings::mvirt_ppi_enable(irq) });
}

/// # Safety
///
/// As `mvirt_rs_cpu_up`, on a CPU that goes offline.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_cpu_down() {
    // SAFETY: as above.
    irqs().for_each(|irq| unsafe { bindings::mvirt_ppi_disable(irq) });
}
