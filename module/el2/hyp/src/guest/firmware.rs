// SPDX-License-Identifier: GPL-2.0
//! What a VM is offered by its firmware, as numbers that user space saves, compares and writes back:
//! KVM's firmware pseudo-registers (Documentation/virt/kvm/arm/fw-pseudo-registers.rst).
//!
//! A VM here has one offer, which EL2 makes. So a value that asks for less than KVM could take away
//! (an older PSCI, a service less) is refused; of the workarounds, as in KVM, a lower level is
//! taken, as it says what a VM came from, and changes nothing.

use mvirt_abi::{reg, Error};

use super::psci::VERSION;
use super::services::{Spectre, Workarounds};

/// What differs from machine to machine.
#[derive(Clone, Copy, Debug)]
pub struct Firmware {
    /// There are the TRNG's services.
    pub has_trng: bool,
    /// Of all CPUs.
    pub workarounds: Workarounds,
}

/// KVM_REG_ARM_FW_REG's numbers.
const PSCI_VERSION: u64 = 0;
const WORKAROUND_1: u64 = 1;
const WORKAROUND_2: u64 = 2;
const WORKAROUND_3: u64 = 3;
/// KVM_REG_ARM_FW_FEAT_BMAP_REG's.
const STD: u64 = reg::FEATURES;
const STD_HYP: u64 = reg::FEATURES + 1;
const VENDOR_HYP: u64 = reg::FEATURES + 2;
const VENDOR_HYP_2: u64 = reg::FEATURES + 3;

/// KVM_REG_ARM_STD_BIT_TRNG_V1_0.
const STD_TRNG: u64 = 1 << 0;
/// KVM_REG_ARM_VENDOR_HYP_BIT_FUNC_FEAT: the UID and the services' bitmap.
const VENDOR_HYP_FEATURES: u64 = 1 << 0;

/// KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2_UNKNOWN: taken for "not available".
const WORKAROUND_2_UNKNOWN: u64 = 1;

/// KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1_NOT_AVAIL, AVAIL, NOT_REQUIRED; 3's are the same.
const fn level(spectre: Spectre) -> u64 {
    match spectre {
        Spectre::Vulnerable => 0,
        Spectre::Mitigated => 1,
        Spectre::Unaffected => 2,
    }
}

impl Firmware {
    /// Reads a register by its number above [`reg::FIRMWARE`]. [`Error::NoEntry`] if there is none such.
    pub fn get(&self, number: u64) -> Result<u64, Error> {
        Ok(match number {
            PSCI_VERSION => VERSION,
            WORKAROUND_1 => level(self.workarounds.v2),
            // NOT_AVAIL: see `services`.
            WORKAROUND_2 => 0,
            WORKAROUND_3 => level(self.workarounds.bhb),
            STD if self.has_trng => STD_TRNG,
            VENDOR_HYP => VENDOR_HYP_FEATURES,
            STD | STD_HYP | VENDOR_HYP_2 => 0,
            _ => return Err(Error::NoEntry),
        })
    }

    /// Writes one; [`Error::Invalid`] for a value that is not to be had.
    pub fn set(&self, number: u64, value: u64) -> Result<(), Error> {
        let own = self.get(number)?;
        let good = match number {
            WORKAROUND_1 | WORKAROUND_3 => value <= own,
            WORKAROUND_2 => value <= WORKAROUND_2_UNKNOWN,
            _ => value == own,
        };
        if good {
            Ok(())
        } else {
            Err(Error::Invalid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firmware(has_trng: bool, v2: Spectre, bhb: Spectre) -> Firmware {
        let workarounds = Workarounds { v2, bhb };
        Firmware {
            has_trng,
            workarounds,
        }
    }

    #[test]
    fn each_takes_what_it_shows_and_no_other_number_is_there() {
        let firmware = firmware(true, Spectre::Unaffected, Spectre::Mitigated);
        let there = [0, 1, 2, 3, 0x100, 0x101, 0x102, 0x103];
        for number in 0..0x200 {
            let value = firmware.get(number);
            assert_eq!(value.is_ok(), there.contains(&number), "{number:#x}");
            assert_eq!(
                firmware.set(number, value.unwrap_or(0)).is_ok(),
                value.is_ok()
            );
        }
        assert_eq!(firmware.get(0), Ok(0x1_0003));
        assert_eq!(firmware.get(0x100), Ok(1));
        assert_eq!(firmware.get(0x102), Ok(1));
    }

    #[test]
    fn values_that_are_not_to_be_had() {
        use Spectre::{Mitigated, Unaffected, Vulnerable};
        for (spectre, own) in [(Vulnerable, 0), (Mitigated, 1), (Unaffected, 2)] {
            let firmware = firmware(false, spectre, spectre);
            for number in [1, 3] {
                assert_eq!(firmware.get(number), Ok(own));
                for value in 0..20 {
                    let done = firmware.set(number, value);
                    assert_eq!(done.is_ok(), value <= own, "{number} {value}");
                }
            }
        }
        let firmware = firmware(false, Mitigated, Mitigated);
        for (number, value) in [
            (0, 0x1_0002),
            (0, 0),
            (2, 2),
            (2, 3),
            (2, 0x10),
            // A TRNG that is not there, stolen time, and no services at all.
            (0x100, 1),
            (0x101, 1),
            (0x102, 0),
            (0x102, 3),
            (0x103, 1),
        ] {
            assert_eq!(firmware.set(number, value), Err(Error::Invalid));
        }
        assert_eq!(firmware.set(2, 1), Ok(()));
        assert_eq!(firmware.set(7, 0), Err(Error::NoEntry));
    }
}
