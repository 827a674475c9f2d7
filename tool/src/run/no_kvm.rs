// SPDX-License-Identifier: Apache-2.0
//! Elsewhere than on arm64 there is no hypervisor to run a guest on.

use std::io;
use std::path::Path;

use super::hypervisor::{Access, Exit, Hypervisor, Kick, Vcpu, Vm};
use crate::error::Error;

/// What does not exist.
pub enum Kvm {}

impl Kvm {
    /// Says so.
    pub fn open(_path: &Path) -> Result<Kvm, Error> {
        Err(Error::NotArm64)
    }
}

impl Hypervisor for Kvm {
    type Vm = Kvm;

    fn max_cpus(&self) -> u32 {
        match *self {}
    }
    fn address_bits(&self) -> u32 {
        match *self {}
    }
    fn create(&self, _protected: bool) -> Result<Kvm, Error> {
        match *self {}
    }
}

impl Vm for Kvm {
    type Vcpu = Kvm;

    fn set_memory(&self, _guest: u64, _size: u64, _user: u64) -> Result<(), Error> {
        match *self {}
    }
    fn create_vcpu(&self, _number: u32) -> Result<Kvm, Error> {
        match *self {}
    }
    fn create_gic(&self, _cpus: u32) -> Result<(), Error> {
        match *self {}
    }
    fn set_irq(&self, _spi: u32, _high: bool) -> io::Result<()> {
        match *self {}
    }
}

impl Vcpu for Kvm {
    type Kick = Kvm;

    fn mpidr(&self) -> Result<u64, Error> {
        match *self {}
    }
    fn set_entry(&self, _pc: u64, _x0: u64) -> Result<(), Error> {
        match *self {}
    }
    fn kick(&mut self) -> Kvm {
        match *self {}
    }
    fn run(&mut self, _mmio: &mut dyn FnMut(Access<'_>)) -> io::Result<Exit> {
        match *self {}
    }
}

impl Kick for Kvm {
    fn leave(&self) {
        match *self {}
    }
}
