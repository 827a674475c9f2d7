// SPDX-License-Identifier: GPL-2.0
//! Where interrupts come from: SGIs, lines that the host drives, EL2's timers.

use mvirt_abi::{Error, LINE_PULSE, MAX_VCPUS};

use crate::guest::sysreg::Sgi;

use super::irq::flag;
use super::{CpuInterface, Hardware, Vgic, PRIVATE, PTIMER, VTIMER};

/// ICC_SGI1R_EL1 and its like (IHI 0069, 12.2.20).
mod sgir {
    /// Aff0 of the targets, 16 bits, from RS * 16 on.
    pub const TARGETS: u64 = 0xffff;
    /// INTID, four bits.
    pub const INTID_SHIFT: u32 = 24;
    /// All CPUs but this one.
    pub const IRM: u64 = 1 << 40;
    /// Aff3, Aff2, Aff1 and the range selector: 0 for each CPU that there is.
    pub const AFFINITY: u64 = 0xff << 48 | 0xf << 44 | 0xff << 32 | 0xff << 16;
}

/// Where an SGI went that its vCPU sent to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Into this list register.
    In(usize),
    /// Nowhere: it is pending, and disabled.
    Not,
}

impl Vgic<'_> {
    /// The guest wrote one of the ICC_SGI registers. ICC_SGI1R_EL1 makes SGIs of either group, the
    /// other two of group 0 only, as KVM has it with GICD_CTLR.DS. Answers the wake mask.
    pub fn sgi(&mut self, vcpu: usize, sgi: Sgi, value: u64) -> u64 {
        self.wake = 0;
        let group1 = sgi == Sgi::Group1;
        let intid = (value >> sgir::INTID_SHIFT & 0xf) as u32;
        // Lossless: 16 bits.
        let mut targets = if value & sgir::IRM != 0 {
            !(1 << vcpu)
        } else if value & sgir::AFFINITY == 0 {
            (value & sgir::TARGETS) as u32
        } else {
            0
        };
        targets &= self.map.present();
        while targets != 0 {
            let target = targets.trailing_zeros() as usize;
            targets &= targets - 1;
            match self.irq(target, intid) {
                Some(irq) if group1 || !irq.has(flag::GROUP1) => {
                    self.put(target, intid, irq.with(flag::LATCH, true));
                }
                _ => {}
            }
        }
        self.take_wake()
    }

    /// As [`sgi`](Self::sgi) with [`Sgi::Group1`], for the common case that all it needs is one more list register of the
    /// vCPU that wrote it, which is inside: fills that one and answers its number; or that it takes
    /// none, as the SGI is disabled. `None` if there is more to do; nothing has changed then.
    ///
    /// `empty` is ICH_ELRSR_EL2: which list registers hold nothing any more.
    pub fn sgi_to_self(
        &mut self,
        vcpu: usize,
        value: u64,
        iface: &mut CpuInterface,
        hw: &Hardware,
        empty: u64,
    ) -> Option<Listed> {
        let all = sgir::TARGETS | sgir::AFFINITY | sgir::IRM;
        if value & all != 1 << vcpu {
            return None;
        }
        let intid = (value >> sgir::INTID_SHIFT & 0xf) as u32;
        self.list_one(vcpu, intid, iface, hw, empty)
    }

    /// The host sets a line (KVM_IRQ_LINE): an SPI's, or the PPI's of a vCPU, which counts for PPIs
    /// only. An edge is each call with `level` not 0; with [`LINE_PULSE`] the line is low in the end.
    /// Answers the wake mask.
    ///
    /// [`Error::Invalid`] for an SGI, an interrupt or a vCPU that there is not, and another level;
    /// [`Error::Busy`] before the GIC is initialised. The timers' PPIs are EL2's: ignored, as KVM does.
    pub fn set_line(&mut self, vcpu: u64, intid: u64, level: u64) -> Result<u64, Error> {
        self.map.expect_ready()?;
        let intid = u32::try_from(intid).map_err(|_| Error::Invalid)?;
        if intid < 16 || intid >= self.map.nr_irqs() || level > LINE_PULSE {
            return Err(Error::Invalid);
        }
        let vcpu = if intid < PRIVATE {
            self.map.expect_vcpu(vcpu)?
        } else {
            0
        };
        if intid == VTIMER || intid == PTIMER {
            return Ok(0);
        }
        Ok(self.line(vcpu, intid, level == 1, level != 0))
    }

    /// Sets a line, and the latch of an edge-triggered interrupt if there was an `edge`.
    pub(super) fn line(&mut self, vcpu: usize, intid: u32, level: bool, edge: bool) -> u64 {
        self.wake = 0;
        if let Some(irq) = self.irq(vcpu, intid) {
            let mut new = irq.with(flag::LINE, level);
            if edge && irq.has(flag::EDGE) {
                new = new.with(flag::LATCH, true);
            }
            self.put(vcpu, intid, new);
        }
        self.take_wake()
    }

    /// EL2 sets the line of one of a vCPU's timers. With `physical` the interrupt of this INTID is
    /// active in the machine's GIC while the line is high or [`hw_active`](Self::hw_active) says so,
    /// and the guest's deactivation ends that.
    ///
    /// To be called after [`sync`](Self::sync), before [`flush`](Self::flush).
    pub fn set_timer_line(&mut self, vcpu: usize, ppi: u32, level: bool, physical: Option<u32>) {
        let Some(irq) = self.irq(vcpu, ppi) else {
            return;
        };
        let mut new = irq.with(flag::LINE, level);
        if let Some(intid) = physical {
            // Lossless: a PPI.
            new = new.with(flag::HW, true).with_target(intid as u8);
        }
        self.put(vcpu, ppi, new);
        self.wake = 0;
    }

    /// Whether the virtual timer's interrupt is active in the guest: then it has to be in the machine,
    /// so that it does not fire there.
    pub fn hw_active(&self, vcpu: usize) -> bool {
        let irq = self.irq(vcpu, VTIMER);
        irq.is_some_and(|irq| irq.has(flag::HW) && irq.has(flag::ACTIVE))
    }
}

const _: () = assert!(MAX_VCPUS <= 16, "Aff0 of each vCPU is in one target list");
