// SPDX-License-Identifier: GPL-2.0
//! How the host makes the GIC, and how user space saves and restores it: KVM's attributes
//! (Documentation/virt/kvm/devices/arm-vgic-v3.rst).

use mvirt_abi::{vgic, Error};

use super::map::{region, FRAME};
use super::mmio::{By, Frame};
use super::Vgic;

impl Vgic<'_> {
    /// The VM has one more vCPU, with this index: it gets the next redistributor. [`Error::Busy`] once
    /// the GIC is initialised; [`Error::Invalid`] if the index is too high or was there before.
    pub fn add_vcpu(&mut self, vcpu: usize) -> Result<(), Error> {
        self.map.add_vcpu(vcpu)
    }

    /// Whether the VM may run with this GIC: [`Error::NoAddress`] if the distributor or a vCPU's
    /// redistributor has no address, [`Error::Invalid`] if they overlap or reach past the VM's physical
    /// addresses, [`Error::Busy`] if it is not initialised.
    pub fn expect_complete(&self, ipa_bits: u32) -> Result<(), Error> {
        self.map.expect_complete(ipa_bits)
    }

    /// Whether anybody has set anything of it: a VM without a GIC may run, one with half of it may not.
    pub fn is_begun(&self) -> bool {
        self.map.is_begun()
    }

    /// Whether it is initialised: before that the guest sees no GIC.
    pub fn is_ready(&self) -> bool {
        self.map.expect_ready().is_ok()
    }

    /// Sets an attribute of the contract's list ([`vgic`]); those of a vCPU's interface are
    /// [`CpuInterface::set_register`](super::CpuInterface::set_register). No vCPU is inside.
    ///
    /// [`Error::NoAddress`] for an attribute or a register that there is not.
    pub fn set(&mut self, attr: u64, index: u64, value: u64, ipa_bits: u32) -> Result<(), Error> {
        let map = &mut self.map;
        match attr {
            vgic::NR_IRQS => map.set_nr_irqs(value)?,
            vgic::DIST => map.set_dist(value, ipa_bits)?,
            vgic::REDIST => map.add_region(0, value, 0, ipa_bits)?,
            vgic::REDIST_REGION => {
                // Lossless: 12 bits.
                let count = (value >> region::COUNT_SHIFT) as u32;
                if count == 0 || value & region::FLAGS != 0 {
                    return Err(Error::Invalid);
                }
                let base = value & region::BASE;
                map.add_region(value & region::INDEX, base, count, ipa_bits)?;
            }
            vgic::INIT => map.init()?,
            _ => {
                self.user_access(attr, index, Some(value))?;
            }
        }
        Ok(())
    }

    /// Reads an attribute; errors as [`set`](Self::set).
    pub fn get(&mut self, attr: u64, index: u64) -> Result<u64, Error> {
        let map = &self.map;
        match attr {
            vgic::NR_IRQS => Ok(map.nr_asked().into()),
            vgic::DIST => Ok(map.dist()),
            vgic::REDIST => Ok(map.first_region()),
            vgic::REDIST_REGION => map.region(index),
            vgic::INIT => Ok(map.expect_ready().is_ok().into()),
            _ => self.user_access(attr, index, None),
        }
    }

    /// Registers and levels, as user space saves and restores them.
    fn user_access(&mut self, attr: u64, index: u64, write: Option<u64>) -> Result<u64, Error> {
        // Lossless: the lower half.
        let offset = index as u32;
        let vcpu = match attr {
            vgic::DIST_REG => 0,
            vgic::REDIST_REG | vgic::LEVELS => self.map.expect_vcpu(index >> 32)?,
            _ => return Err(Error::NoAddress),
        };
        // Two may come before: GICD_IIDR and GICD_TYPER2.
        if attr != vgic::DIST_REG || !matches!(offset, 0x08 | 0x0c) {
            self.map.expect_ready()?;
        }
        let (frame, offset) = match attr {
            vgic::LEVELS => return self.levels(vcpu, offset, write),
            vgic::DIST_REG => (Frame::Distributor, offset),
            _ if u64::from(offset) >= FRAME => (Frame::Private(vcpu), offset - FRAME as u32),
            _ => (Frame::Control(vcpu), offset),
        };
        if offset % 4 != 0 || u64::from(offset) >= FRAME {
            return Err(Error::NoAddress);
        }
        let value = write.map(|value| value & 0xffff_ffff);
        self.register(frame, offset, 4, value, By::User)
    }

    /// The levels of 32 lines. SGIs have none, and an edge-triggered one's does not count.
    fn levels(&mut self, vcpu: usize, first: u32, write: Option<u64>) -> Result<u64, Error> {
        if first % 32 != 0 || first >= 1024 {
            return Err(Error::Invalid);
        }
        let mut value = 0;
        for n in 0..32 {
            let intid = first + n;
            let irq = self
                .irq(vcpu, intid)
                .filter(|_| intid >= 16 && intid < self.map.nr_irqs());
            match (irq, write) {
                (Some(_), Some(new)) => {
                    self.line(vcpu, intid, new >> n & 1 == 1, false);
                }
                (Some(irq), None) => value |= u64::from(irq.line_pends()) << n,
                (None, _) => {}
            }
        }
        Ok(value)
    }
}
