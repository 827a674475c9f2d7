// SPDX-License-Identifier: Apache-2.0
//! The seam before KVM's ioctls: what a machine asks of the hypervisor.

use std::io;

use crate::error::Error;

/// A device that makes virtual machines.
pub trait Hypervisor {
    /// Its machines.
    type Vm: Vm;

    /// The most vCPUs of a machine.
    fn max_cpus(&self) -> u32;

    /// Bits of a guest-physical address.
    fn address_bits(&self) -> u32;

    /// Makes a machine.
    fn create(&self, protected: bool) -> Result<Self::Vm, Error>;
}

/// A virtual machine. Its interrupts are set by all threads.
pub trait Vm: Send + Sync + 'static {
    /// Its vCPUs.
    type Vcpu: Vcpu;

    /// Gives it memory of this process, at an address of its own.
    fn set_memory(&self, guest: u64, size: u64, user: u64) -> Result<(), Error>;

    /// Makes a vCPU; the first one starts, the others wait for the guest's CPU_ON.
    fn create_vcpu(&self, number: u32) -> Result<Self::Vcpu, Error>;

    /// Makes the GICv3, once all vCPUs are there.
    fn create_gic(&self, cpus: u32) -> Result<(), Error>;

    /// Sets the level of a shared interrupt.
    fn set_irq(&self, spi: u32, high: bool) -> io::Result<()>;
}

/// A vCPU, used by its own thread.
pub trait Vcpu: Send + 'static {
    /// Makes it leave [`Vcpu::run`], from another thread.
    type Kick: Kick;

    /// Its affinity.
    fn mpidr(&self) -> Result<u64, Error>;

    /// Where it starts, and what is in x0 then.
    fn set_entry(&self, pc: u64, x0: u64) -> Result<(), Error>;

    /// A way to make it leave. It is good as long as the vCPU lives.
    fn kick(&mut self) -> Self::Kick;

    /// Runs the guest until something is to be done. `mmio` does what the guest wanted of a device.
    fn run(&mut self, mmio: &mut dyn FnMut(Access<'_>)) -> io::Result<Exit>;
}

/// See [`Vcpu::kick`]. The one who kicks sends a signal to the vCPU's thread as well.
pub trait Kick {
    /// The next run returns at once.
    fn leave(&self);
}

/// An access to a device.
pub enum Access<'a> {
    /// A read, to be filled.
    Read {
        /// Where.
        address: u64,
        /// What the guest gets.
        data: &'a mut [u8],
    },
    /// A write.
    Write {
        /// Where.
        address: u64,
        /// What the guest wrote.
        data: &'a [u8],
    },
}

/// Why the guest was left.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// It can go on.
    Again,
    /// By a signal, or because it was kicked.
    Interrupted,
    /// KVM_EXIT_SYSTEM_EVENT: its type and its data.
    System(u32, Vec<u64>),
    /// It cannot go on: the exit and what the kernel tells of it.
    Stuck(String),
}
