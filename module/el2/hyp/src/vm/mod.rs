// SPDX-License-Identifier: GPL-2.0
//! A VM: what its vCPUs share.
//!
//! [`Vm`] is a page of EL2's, under the VM's lock. Its memory is not in it: the stage-2 tables are
//! `memory`'s, by the number of the slot.
//!
//! ```text
//!   vm_create -> Setup --first vcpu_run--> Running --vm_destroy--> Dying --last step--> (free)
//!                  |                                                 ^
//!                  +--------------------vm_destroy-------------------+
//! ```
//!
//! `Setup`: vCPUs and the GIC are made and, in a protected VM too, registers written by the host.
//! `Running`: a protected VM's registers are closed to the host. `Dying`: nothing but the next step
//! of vm_destroy is answered.

pub mod registers;
pub mod user;
pub mod vcpu;

use mvirt_abi::{Error, MAX_CPUS, MAX_VCPUS};

use crate::guest::guard::Guard;
use crate::guest::psci::Power;
use crate::pgtable::stage2::GuestRegime;
use crate::vgic::Vgic;
use vcpu::Vcpu;

/// Where a VM is in its life; see the picture above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No vCPU has run.
    Setup,
    /// A vCPU has run.
    Running,
    /// It is being taken apart.
    Dying,
}

/// A place for a vCPU.
#[derive(Debug)]
pub enum Place<'m> {
    /// There is none of this index.
    Empty,
    /// It is stopped.
    Here(&'m mut Vcpu),
    /// The CPU of this index runs it.
    Away(u8),
}

/// No vCPU has been on a CPU since its TLB entries of the VMID went.
const NOBODY: u8 = u8::MAX;

/// A VM.
#[derive(Debug)]
pub struct Vm<'m> {
    /// Where it is in its life.
    pub phase: Phase,
    /// The host has no access to it.
    pub protected: bool,
    /// Its stage 2.
    pub regime: GuestRegime,
    /// CNTVOFF_EL2.
    pub cntvoff: u64,
    /// Its GIC.
    pub vgic: Vgic<'m>,
    /// Which of its vCPUs are on.
    pub power: Power,
    /// The host has enabled PSCI SYSTEM_SUSPEND.
    pub may_suspend: bool,
    /// Which pages it took for MMIO.
    pub guard: Guard,
    vcpus: [Place<'m>; MAX_VCPUS],
    last: [u8; MAX_CPUS],
}

impl<'m> Vm<'m> {
    /// A VM without vCPUs.
    pub fn new(protected: bool, regime: GuestRegime, cntvoff: u64, vgic: Vgic<'m>) -> Vm<'m> {
        Vm {
            phase: Phase::Setup,
            protected,
            regime,
            cntvoff,
            vgic,
            power: Power::new(),
            may_suspend: false,
            guard: Guard::new(),
            vcpus: [const { Place::Empty }; MAX_VCPUS],
            last: [NOBODY; MAX_CPUS],
        }
    }

    /// Whether a vCPU may still be added under this index: [`Error::Invalid`] if it is too high,
    /// [`Error::Exists`] if it is taken, [`Error::Busy`] once the VM runs.
    pub fn expect_free(&self, index: u64) -> Result<usize, Error> {
        let n = usize::try_from(index).map_err(|_| Error::Invalid)?;
        match self.vcpus.get(n).ok_or(Error::Invalid)? {
            Place::Empty if self.phase == Phase::Setup => Ok(n),
            Place::Empty => Err(Error::Busy),
            _ => Err(Error::Exists),
        }
    }

    /// Puts a vCPU into its place.
    pub fn put(&mut self, vcpu: &'m mut Vcpu) {
        let n = usize::from(vcpu.index);
        self.vcpus[n] = Place::Here(vcpu);
    }

    /// The vCPU, to look at and to change. [`Error::NoEntry`] if there is none, [`Error::Busy`]
    /// while it runs.
    pub fn vcpu(&mut self, index: u64) -> Result<&mut Vcpu, Error> {
        let n = usize::try_from(index).map_err(|_| Error::NoEntry)?;
        match self.vcpus.get_mut(n) {
            Some(Place::Here(vcpu)) => Ok(vcpu),
            Some(Place::Away(_)) => Err(Error::Busy),
            Some(Place::Empty) | None => Err(Error::NoEntry),
        }
    }

    /// Takes a vCPU out, for `cpu` to run it. Errors as [`vcpu`](Self::vcpu), and [`Error::Perm`]
    /// if it was never initialised.
    pub fn take(&mut self, index: u64, cpu: u8) -> Result<&'m mut Vcpu, Error> {
        if !self.vcpu(index)?.ready {
            return Err(Error::Perm);
        }
        let n = usize::try_from(index).map_err(|_| Error::NoEntry)?;
        match core::mem::replace(&mut self.vcpus[n], Place::Away(cpu)) {
            Place::Here(vcpu) => Ok(vcpu),
            // Looked at above.
            Place::Away(_) | Place::Empty => Err(Error::NoEntry),
        }
    }

    /// Notes that a vCPU is about to run on `cpu`; whether another one of this VM was there last.
    /// Their stage-1 entries share VMID and ASIDs, and a guest changes its tables for one CPU at
    /// a time, so what the other left in the TLB has to go (Arm ARM D8.16, "TLB maintenance").
    pub fn moves_in(&mut self, cpu: usize, index: u8) -> bool {
        let last = &mut self.last[cpu];
        let other = *last != index;
        *last = index;
        other
    }

    /// Whether a vCPU of this VM runs.
    pub fn is_busy(&self) -> bool {
        self.vcpus
            .iter()
            .any(|place| matches!(place, Place::Away(_)))
    }

    /// Takes any stopped vCPU out for good.
    pub fn remove_one(&mut self) -> Option<&'m mut Vcpu> {
        let place = self
            .vcpus
            .iter_mut()
            .find(|p| matches!(p, Place::Here(_)))?;
        match core::mem::replace(place, Place::Empty) {
            Place::Here(vcpu) => Some(vcpu),
            Place::Away(_) | Place::Empty => None,
        }
    }

    /// The vCPUs that there are, one bit each.
    pub fn present(&self) -> u64 {
        let is_there = |(n, place): (u32, &Place<'_>)| match place {
            Place::Empty => 0,
            Place::Here(_) | Place::Away(_) => 1u64 << n,
        };
        (0..).zip(&self.vcpus).map(is_there).sum()
    }
}

#[cfg(test)]
mod tests;
