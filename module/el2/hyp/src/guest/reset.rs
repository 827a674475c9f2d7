// SPDX-License-Identifier: GPL-2.0
//! The state of a vCPU after a reset.
//!
//! What the Arm ARM leaves UNKNOWN is 0 here, so that nothing of a former user is seen; KVM fills
//! it with a pattern. No state, no lock.

use super::psci::EntryPoint;
use crate::trap::Encoding;

/// PSTATE: EL1h, with D, A, I and F masked (Arm ARM D1.5.2, and KVM's VCPU_RESET_PSTATE_EL1).
pub const PSTATE: u64 = 0x3c5;
/// SCTLR_EL1 as KVM's: MMU, caches and alignment check off; nTWI, nTWE, SPAN, EIS and EOS, which
/// are RES1 where their features are not implemented; SA, SA0 and CP15BEN.
pub const SCTLR: u64 = 0x00c5_0078;
const SCTLR_EE: u64 = 1 << 25;

/// What is not 0 after a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// PC.
    pub pc: u64,
    /// x0; x1 to x30 are 0, and so are all SIMD registers.
    pub x0: u64,
    /// PSTATE.
    pub pstate: u64,
    /// SCTLR_EL1. All other System registers of EL1 are 0.
    pub sctlr: u64,
    /// For VMPIDR_EL2.
    pub mpidr: u64,
}

/// MPIDR_EL1 of the vCPU with this index, by KVM's formula: 16 in a group, as one ICC_SGI1R_EL1 can
/// name 16 at a time. Bit 31 is RES1, U is 0: a multiprocessor.
pub const fn mpidr(vcpu: usize) -> u64 {
    let n = vcpu as u64;
    (n & 0xf) | ((n >> 4) & 0xff) << 8 | ((n >> 12) & 0xff) << 16 | 1 << 31
}

/// The affinity fields of [`mpidr`].
pub const fn affinity(vcpu: usize) -> u64 {
    mpidr(vcpu) & !(1 << 31)
}

/// The state of `vcpu` after a reset that starts it at `entry`.
pub const fn reset(vcpu: usize, entry: &EntryPoint) -> Reset {
    Reset {
        pc: entry.pc,
        x0: entry.x0,
        pstate: PSTATE,
        // CPU_ON: the core starts with the caller's endianness (DEN0022F.b, 6.4).
        sctlr: if entry.big_endian {
            SCTLR | SCTLR_EE
        } else {
            SCTLR
        },
        mpidr: mpidr(vcpu),
    }
}

/// The value that a System register has after a reset of [`Reset`], for one that is named by its
/// encoding: SCTLR_EL1's, else 0.
pub fn register(reset: &Reset, register: Encoding) -> u64 {
    if register == Encoding::SCTLR_EL1 {
        reset.sctlr
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mpidrs() {
        let table = [
            (0, 0x8000_0000),
            (7, 0x8000_0007),
            (0x10, 0x8000_0100),
            (0x123, 0x8000_1203),
            (0x1fff, 0x8001_ff0f),
        ];
        for (vcpu, expected) in table {
            assert_eq!(mpidr(vcpu), expected, "{vcpu:#x}");
            assert_eq!(affinity(vcpu), expected & 0xff_ffff);
        }
    }

    #[test]
    fn state() {
        let entry = EntryPoint {
            pc: 0x4008_0000,
            x0: 0x4800_0000,
            big_endian: false,
        };
        let got = reset(3, &entry);
        assert_eq!((got.pc, got.x0), (0x4008_0000, 0x4800_0000));
        assert_eq!((got.pstate, got.mpidr), (0x3c5, 0x8000_0003));
        // M, C, I and A, WXN and the E bits are clear.
        let off = 1 << 0 | 1 << 2 | 1 << 12 | 1 << 1 | 1 << 19 | 1 << 24 | 1 << 25;
        assert_eq!(got.sctlr & off, 0);
        let big = EntryPoint {
            big_endian: true,
            ..entry
        };
        assert_eq!(reset(3, &big).sctlr, got.sctlr | 1 << 25);
        assert_eq!(register(&got, Encoding::SCTLR_EL1), got.sctlr);
        // VBAR_EL1.
        assert_eq!(register(&got, Encoding::new(3, 0, 12, 0, 0)), 0);
    }
}
