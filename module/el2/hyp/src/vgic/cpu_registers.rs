// SPDX-License-Identifier: GPL-2.0
//! The System registers of a CPU interface, as user space saves and restores them
//! (KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS). They are views of the images: the guest's own accesses go to
//! the hardware and do not come here.

use mvirt_abi::Error;

use super::interface::vmcr;
use super::{CpuInterface, Hardware};

/// An encoding as KVM packs it: op0, op1, CRn, CRm, op2, here with op0 3 and op1 0.
const fn encoding(crn: u64, crm: u64, op2: u64) -> u64 {
    3 << 14 | crn << 7 | crm << 3 | op2
}

const PMR: u64 = encoding(4, 6, 0);
const BPR0: u64 = encoding(12, 8, 3);
const AP0R0: u64 = encoding(12, 8, 4);
const AP0R3: u64 = AP0R0 + 3;
const AP1R0: u64 = encoding(12, 9, 0);
const AP1R3: u64 = AP1R0 + 3;
const BPR1: u64 = encoding(12, 12, 3);
const CTLR: u64 = encoding(12, 12, 4);
const SRE: u64 = encoding(12, 12, 5);
const IGRPEN0: u64 = encoding(12, 12, 6);
const IGRPEN1: u64 = encoding(12, 12, 7);

/// ICC_SRE_EL1: System registers, no bypass.
const SRE_VALUE: u64 = 0b111;
/// ICC_CTLR_EL1.CBPR, EOImode.
const CTLR_CBPR: u64 = 1 << 0;
const CTLR_EOIMODE: u64 = 1 << 1;
/// ICC_CTLR_EL1.PRIbits and IDbits, of which a saved value may have less; SEIS and A3V.
const CTLR_PRIBITS: u64 = 7 << 8;
const CTLR_IDBITS: u64 = 7 << 11;
const CTLR_SAME: u64 = 3 << 14;

/// Where a register is in ICH_VMCR_EL2: its lowest bit, and all bits above that.
const fn field(register: u64) -> Option<(u32, u64)> {
    Some(match register {
        PMR => (vmcr::VPMR_SHIFT, 0xff),
        BPR0 => (vmcr::VBPR0_SHIFT, 7),
        BPR1 => (vmcr::VBPR1_SHIFT, 7),
        IGRPEN0 => (0, 1),
        IGRPEN1 => (1, 1),
        _ => return None,
    })
}

impl CpuInterface {
    /// Reads a register by its encoding. The vCPU is not inside. [`Error::NoAddress`] if there is none
    /// such, [`Error::Invalid`] for an active priority register that this CPU lacks.
    pub fn get_register(&self, register: u64, hw: &Hardware) -> Result<u64, Error> {
        if let Some((shift, mask)) = field(register) {
            if register == BPR1 && self.vmcr & vmcr::VCBPR != 0 {
                return Ok(((self.vmcr >> vmcr::VBPR0_SHIFT & 7) + 1).min(7));
            }
            return Ok(self.vmcr >> shift & mask);
        }
        match register {
            CTLR => {
                let mut value = hw.ctlr;
                if self.vmcr & vmcr::VCBPR != 0 {
                    value |= CTLR_CBPR;
                }
                if self.vmcr & vmcr::VEOIM != 0 {
                    value |= CTLR_EOIMODE;
                }
                Ok(value)
            }
            SRE => Ok(SRE_VALUE),
            AP0R0..=AP0R3 => apr(&self.ap0r, register - AP0R0, hw).map(|apr| u64::from(*apr)),
            AP1R0..=AP1R3 => apr(&self.ap1r, register - AP1R0, hw).map(|apr| u64::from(*apr)),
            _ => Err(Error::NoAddress),
        }
    }

    /// Writes a register; errors as [`get_register`](Self::get_register), and [`Error::Invalid`] for a
    /// value that needs a GIC with more than this one has.
    pub fn set_register(&mut self, register: u64, value: u64, hw: &Hardware) -> Result<(), Error> {
        if let Some((shift, mask)) = field(register) {
            if register != BPR1 || self.vmcr & vmcr::VCBPR == 0 {
                self.vmcr = self.vmcr & !(mask << shift) | (value & mask) << shift;
            }
            return Ok(());
        }
        match register {
            CTLR => {
                let more = |mask: u64| value & mask > hw.ctlr & mask;
                if more(CTLR_PRIBITS) || more(CTLR_IDBITS) || (value ^ hw.ctlr) & CTLR_SAME != 0 {
                    return Err(Error::Invalid);
                }
                self.vmcr &= !(vmcr::VCBPR | vmcr::VEOIM);
                if value & CTLR_CBPR != 0 {
                    self.vmcr |= vmcr::VCBPR;
                }
                if value & CTLR_EOIMODE != 0 {
                    self.vmcr |= vmcr::VEOIM;
                }
            }
            SRE if value & 1 == 0 => return Err(Error::Invalid),
            SRE => {}
            // 32-bit registers.
            AP0R0..=AP0R3 => *apr_mut(&mut self.ap0r, register - AP0R0, hw)? = value as u32,
            AP1R0..=AP1R3 => *apr_mut(&mut self.ap1r, register - AP1R0, hw)? = value as u32,
            _ => return Err(Error::NoAddress),
        }
        Ok(())
    }
}

fn apr<'a>(registers: &'a [u32; 4], n: u64, hw: &Hardware) -> Result<&'a u32, Error> {
    registers[..hw.nr_aprs()]
        .get(n as usize)
        .ok_or(Error::Invalid)
}

fn apr_mut<'a>(registers: &'a mut [u32; 4], n: u64, hw: &Hardware) -> Result<&'a mut u32, Error> {
    let there = &mut registers[..hw.nr_aprs()];
    there.get_mut(n as usize).ok_or(Error::Invalid)
}
