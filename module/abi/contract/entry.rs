// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What a CPU's entry to EL2 answers: x0 as a hypercall does, and in x1 what x0 has no room for.

use super::Error;

/// x1 of an entry that succeeded: Spectre-v2 stays open on this CPU, as neither the core nor the
/// firmware closes it.
pub const ENTERED_SPECTRE_V2_OPEN: u64 = 1 << 0;

/// Why EL2 does not run on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuRefusal {
    /// Stage 1 or stage 2 has no pages of the image's size (ID_AA64MMFR0_EL1.TGran4, TGran16,
    /// TGran4_2, TGran16_2).
    Granule,
    /// Its physical address size is not one that EL2 knows (ID_AA64MMFR0_EL1.PARange).
    PaRange,
    /// It has this erratum, by its maker's number, and EL2 cannot work around it.
    Erratum(u32),
}

impl CpuRefusal {
    /// As in x1: the kind in the upper half, an erratum's number in the lower.
    pub const fn to_raw(self) -> u64 {
        match self {
            CpuRefusal::Granule => 1 << 32,
            CpuRefusal::PaRange => 2 << 32,
            CpuRefusal::Erratum(number) => 3 << 32 | number as u64,
        }
    }

    /// Reads x1.
    pub const fn from_raw(x1: u64) -> Option<CpuRefusal> {
        match (x1 >> 32, x1 & 0xffff_ffff) {
            (1, 0) => Some(CpuRefusal::Granule),
            (2, 0) => Some(CpuRefusal::PaRange),
            (3, number) => Some(CpuRefusal::Erratum(number as u32)),
            _ => None,
        }
    }
}

/// Why an entry was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// EL2 does not run on this CPU: [`Error::NotSupported`] in x0, the reason in x1.
    Cpu(CpuRefusal),
    /// The CPU is not to blame: the error in x0, 0 in x1.
    Failed(Error),
}

impl From<CpuRefusal> for EntryError {
    fn from(why: CpuRefusal) -> EntryError {
        EntryError::Cpu(why)
    }
}

impl From<Error> for EntryError {
    fn from(error: Error) -> EntryError {
        EntryError::Failed(error)
    }
}

impl EntryError {
    /// The error without the reason.
    pub const fn error(self) -> Error {
        match self {
            EntryError::Cpu(_) => Error::NotSupported,
            EntryError::Failed(error) => error,
        }
    }

    /// x0 and x1.
    pub const fn to_raw(self) -> (u64, u64) {
        let x1 = match self {
            EntryError::Cpu(why) => why.to_raw(),
            EntryError::Failed(_) => 0,
        };
        (self.error().to_raw(), x1)
    }

    /// Reads x0 and x1: `None` if the entry succeeded.
    ///
    /// x1 is a reason only beside EL2's own [`Error::NotSupported`]: whoever else answered, such as
    /// the kernel's hyp stub, left something of its own there.
    pub fn from_raw(x0: u64, x1: u64) -> Option<EntryError> {
        let error = Error::from_raw(x0)?;
        let why = CpuRefusal::from_raw(x1).filter(|_| x0 == Error::NotSupported.to_raw());
        Some(why.map_or(EntryError::Failed(error), EntryError::Cpu))
    }
}
