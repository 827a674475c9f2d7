// SPDX-License-Identifier: GPL-2.0
//! A vCPU's registers as the host reads and writes them for user space (ONE_REG): one name for each,
//! wherever it is kept.
//!
//! Who may do so when is decided by the caller. No lock: the vCPU is stopped, and the VM is the
//! caller's.

use mvirt_abi::{reg, Error};

use super::registers::Reg;
use super::vcpu::Vcpu;
use crate::guest::firmware::Firmware;
use crate::guest::sysreg::{Context, Written};
use crate::trap::Encoding;

/// CNTPCT_EL0 and CNTVCT_EL0, packed. KVM has CVAL and CNT swapped in its numbers for the virtual
/// timer's registers, which EL1 translates.
const CNTPCT_EL0: u64 = 0xdf01;
const CNTVCT_EL0: u64 = 0xdf02;

/// What the registers depend on beside the vCPU.
pub struct View<'a> {
    /// For those that a guest's access traps to.
    pub context: Context<'a>,
    /// For the pseudo-registers.
    pub firmware: Firmware,
    /// The physical counter, as it is now.
    pub count: u64,
    /// CNTVOFF_EL2 of the VM.
    pub cntvoff: &'a mut u64,
}

/// What a number above [`reg::SYSREG`] encodes, as Linux packs it.
fn encoding(number: u64) -> Option<Encoding> {
    let code = number
        .checked_sub(reg::SYSREG)
        .filter(|code| *code <= 0xffff)?;
    // Lossless: at most 4 bits each.
    let field = |shift: u32, width: u32| ((code >> shift) & ((1 << width) - 1)) as u8;
    Some(Encoding::new(
        field(14, 2),
        field(11, 3),
        field(7, 4),
        field(3, 4),
        field(0, 3),
    ))
}

impl View<'_> {
    /// Whether it is a key that guests here have not.
    fn is_hidden(&self, register: Encoding) -> bool {
        let pauth = &Reg::ALL[Reg::BASE..];
        !self.context.ids.has_pauth() && pauth.iter().any(|key| key.encoding() == register)
    }

    /// CCSIDR_EL1 with CSSELR_EL1 as it would have to be for that.
    fn ccsidr(&self, csselr: u64) -> Result<u64, Error> {
        const CCSIDR_EL1: Encoding = Encoding::new(3, 1, 0, 0, 0);
        let context = &self.context;
        if csselr >= reg::NR_CCSIDR {
            return Err(Error::NoEntry);
        }
        let value = context.ids.read(CCSIDR_EL1, context.has_gic, csselr);
        value.ok_or(Error::NoEntry)
    }

    /// Reads a register by its number in the contract. [`Error::NoEntry`] if there is none such.
    pub fn get(&self, vcpu: &Vcpu, number: u64) -> Result<u64, Error> {
        if number >= reg::CCSIDR {
            return self.ccsidr(number - reg::CCSIDR);
        }
        if number >= reg::FIRMWARE {
            return self.firmware.get(number - reg::FIRMWARE);
        }
        let Some(register) = encoding(number) else {
            return vcpu.get(number);
        };
        match number - reg::SYSREG {
            CNTPCT_EL0 => return Ok(self.count),
            CNTVCT_EL0 => return Ok(self.count.wrapping_sub(*self.cntvoff)),
            _ if self.is_hidden(register) => return Err(Error::NoEntry),
            _ => {}
        }
        match vcpu.get(number) {
            Err(Error::NoEntry) => {
                let value = vcpu.stored.user_get(register, &self.context);
                value.ok_or(Error::NoEntry)
            }
            value => value,
        }
    }

    /// Writes one; errors as [`get`](Self::get), and [`Error::Invalid`] for a value that it cannot have.
    ///
    /// CNTVCT_EL0 sets the offset of the whole VM. CNTPCT_EL0 is the machine's counter, whatever is
    /// written: user space that restores a VM writes back what it once read.
    pub fn set(&mut self, vcpu: &mut Vcpu, number: u64, value: u64) -> Result<(), Error> {
        if number >= reg::CCSIDR {
            let own = self.ccsidr(number - reg::CCSIDR)?;
            return if own == value {
                Ok(())
            } else {
                Err(Error::Invalid)
            };
        }
        if number >= reg::FIRMWARE {
            return self.firmware.set(number - reg::FIRMWARE, value);
        }
        let Some(register) = encoding(number) else {
            return vcpu.put(number, value);
        };
        match number - reg::SYSREG {
            CNTPCT_EL0 => return Ok(()),
            CNTVCT_EL0 => {
                *self.cntvoff = self.count.wrapping_sub(value);
                return Ok(());
            }
            _ if self.is_hidden(register) => return Err(Error::NoEntry),
            _ => {}
        }
        match vcpu.put(number, value) {
            Err(Error::NoEntry) => match vcpu.stored.user_set(register, value, &self.context) {
                Written::Done => Ok(()),
                Written::Invalid => Err(Error::Invalid),
                Written::Absent => Err(Error::NoEntry),
            },
            result => result,
        }
    }
}
