// SPDX-License-Identifier: GPL-2.0
//! Aborts that come to EL2, and the address that faulted.
//!
//! Encodings: Arm ARM (DDI 0487) D24.2.40, ISS encodings for an exception from a Data Abort and
//! from an Instruction Abort, and D24.2.57, "HPFAR_EL2".

use super::Unknown;
use crate::cpu::bits;

/// What the host tried. A walk of its stage 1 is a read, or a write where hardware sets flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Fetch,
}

/// Why an access faulted. Levels are those of the Arm ARM: -2 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An address beyond the configured size.
    AddressSize {
        /// Level of the walk.
        level: i8,
    },
    /// No valid descriptor.
    Translation {
        /// Level of the walk.
        level: i8,
    },
    /// The Access flag is clear.
    AccessFlag {
        /// Level of the walk.
        level: i8,
    },
    /// The descriptor forbids it.
    Permission {
        /// Level of the walk.
        level: i8,
    },
    /// Synchronous External abort, or a parity or ECC error.
    External {
        /// Level of the walk, if a walk caused it.
        level: Option<i8>,
    },
    /// Granule Protection Check.
    GranuleProtection {
        /// Level of the walk, if a walk caused it.
        level: Option<i8>,
    },
    /// Synchronous Tag Check Fault.
    TagCheck,
    /// Misaligned access.
    Alignment,
    /// Two TLB entries match.
    TlbConflict,
    /// Unsupported atomic hardware update, or an exclusive or atomic that the memory does not do.
    UnsupportedAtomic,
    /// IMPLEMENTATION DEFINED, Lockdown.
    Lockdown,
}

impl Fault {
    fn decode(fsc: u64) -> Result<Fault, Unknown> {
        // Lossless: 0 to 3, and 6 bits.
        let level = (fsc & 3) as i8;
        Ok(match fsc {
            0x00..=0x03 => Fault::AddressSize { level },
            0x04..=0x07 => Fault::Translation { level },
            0x08..=0x0b => Fault::AccessFlag { level },
            0x0c..=0x0f => Fault::Permission { level },
            0x10 => Fault::External { level: None },
            0x11 => Fault::TagCheck,
            0x12 => Fault::External { level: Some(-2) },
            0x13 => Fault::External { level: Some(-1) },
            0x14..=0x17 => Fault::External { level: Some(level) },
            // Parity or ECC: FSC 0b0110xx not on a walk, 0b0111xx on a walk of level xx.
            0x18 => Fault::External { level: None },
            0x1b => Fault::External { level: Some(-1) },
            0x1c..=0x1f => Fault::External { level: Some(level) },
            0x21 => Fault::Alignment,
            0x22 => Fault::GranuleProtection { level: Some(-2) },
            0x23 => Fault::GranuleProtection { level: Some(-1) },
            0x24..=0x27 => Fault::GranuleProtection { level: Some(level) },
            0x28 => Fault::GranuleProtection { level: None },
            0x29 => Fault::AddressSize { level: -1 },
            0x2a => Fault::Translation { level: -2 },
            0x2b => Fault::Translation { level: -1 },
            0x2c => Fault::AddressSize { level: -2 },
            0x30 => Fault::TlbConflict,
            0x31 | 0x35 => Fault::UnsupportedAtomic,
            0x34 => Fault::Lockdown,
            _ => return Err(Unknown::FaultStatus(fsc as u8)),
        })
    }
}

/// A Data Abort or Instruction Abort from a lower Exception level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// What the access wanted.
    pub access: Access,
    /// Why it faulted.
    pub fault: Fault,
    /// S1PTW: the access was a walk of the host's stage-1 tables, and FAR_EL2 is the address whose
    /// translation was under way.
    pub on_walk: bool,
    /// FnV clear: FAR_EL2 holds an address.
    pub far_valid: bool,
    /// CM: the access was a cache maintenance instruction (or DC ZVA's kin).
    pub is_cache_maintenance: bool,
}

/// The registers that say where an abort was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRegisters {
    /// FAR_EL2.
    pub far: u64,
    /// HPFAR_EL2.
    pub hpfar: u64,
}

/// The intermediate physical address of an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAddress {
    /// It is known. After a fault on a walk it is the start of the page that holds the descriptor:
    /// the offset in it is not reported.
    Ipa(u64),
    /// The registers do not tell: translate FAR_EL2 by AT S1E1R, with PAR_EL1 saved. If that
    /// fails, the host's own tables have changed or are to blame, and it runs the instruction
    /// again.
    Translate,
    /// It cannot be known: an External abort whose FAR_EL2 is not valid, or on a walk.
    None,
}

impl Abort {
    pub(super) fn decode(esr: u64, is_fetch: bool) -> Result<Abort, Unknown> {
        let fault = Fault::decode(bits(esr, 0, 6))?;
        let on_walk = bits(esr, 7, 1) == 1;
        let is_cache_maintenance = !is_fetch && bits(esr, 8, 1) == 1;
        let access = if is_fetch {
            Access::Fetch
        } else if bits(esr, 6, 1) == 1 {
            // WnR is 1 for cache maintenance and address translation too, whatever they do.
            Access::Write
        } else {
            Access::Read
        };
        let far_valid = bits(esr, 10, 1) == 0;
        Ok(Abort {
            access,
            fault,
            on_walk,
            far_valid,
            is_cache_maintenance,
        })
    }

    /// It was to be executed. A walk for an instruction is no fetch.
    pub fn is_fetch(&self) -> bool {
        self.access == Access::Fetch && !self.on_walk
    }

    /// A fetch where stage 2 denies the right to execute: of the host's, it met a decoy, since nothing
    /// else lacks that right. There is no address for it: HPFAR_EL2 does not hold it, and an AT
    /// instruction may not find it where stage 1 lets a program execute, but nobody read. Nor is one
    /// needed, for when the fetch was made the page was not the host's.
    pub fn is_denied_fetch(&self) -> bool {
        self.is_fetch() && matches!(self.fault, Fault::Permission { .. })
    }

    /// Where it was.
    ///
    /// HPFAR_EL2 is written for Translation, Access flag and Address size faults of stage 2, and
    /// for a Permission fault on a walk of stage-1 tables (Arm ARM, R_FKLWR); for every other
    /// abort it is UNKNOWN.
    ///
    /// `retranslate` is erratum 834220 (Cortex-A57): a stage-2 Translation fault may be reported
    /// where stage 1 forbids the access, and must be checked with an AT instruction first.
    pub fn address(&self, regs: FaultRegisters, retranslate: bool) -> FaultAddress {
        let written = match self.fault {
            Fault::Translation { .. } => self.on_walk || !retranslate,
            Fault::AccessFlag { .. } | Fault::AddressSize { .. } => true,
            Fault::Permission { .. } => self.on_walk,
            Fault::External { level: Some(_) } => return FaultAddress::None,
            Fault::External { level: None } if !self.far_valid => return FaultAddress::None,
            _ => false,
        };
        if !written {
            return FaultAddress::Translate;
        }
        // FIPA, bits 47:4, is IPA[55:12].
        let page = bits(regs.hpfar, 4, 44) << 12;
        if self.on_walk {
            FaultAddress::Ipa(page)
        } else {
            FaultAddress::Ipa(page | bits(regs.far, 0, 12))
        }
    }
}
