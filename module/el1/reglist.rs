// SPDX-License-Identifier: GPL-2.0
//! KVM's numbers of all registers that a vCPU may have: what KVM_GET_REG_LIST asks EL2 for.
//!
//! System registers are those that KVM lists for a vCPU without optional features, and the keys of
//! pointer authentication, which are there without asking where guests have it. SP_EL0, SP_EL1, ELR_EL1
//! and SPSR_EL1 are listed among the core registers, as by KVM.

use crate::abi::reg;
use crate::bindings;

/// ARM64_SYS_REG() without the part that all have in common.
const fn packed([op0, op1, crn, crm, op2]: [u64; 5]) -> u64 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

const SYSTEM: [[u64; 5]; 50] = [
    // MDCCINT_EL1, MDSCR_EL1, OSLSR_EL1, DBGVCR32_EL2.
    [2, 0, 0, 2, 0],
    [2, 0, 0, 2, 2],
    [2, 0, 1, 1, 4],
    [2, 4, 0, 7, 0],
    // MIDR_EL1, MPIDR_EL1, REVIDR_EL1, CLIDR_EL1, AIDR_EL1, CSSELR_EL1, CTR_EL0.
    [3, 0, 0, 0, 0],
    [3, 0, 0, 0, 5],
    [3, 0, 0, 0, 6],
    [3, 1, 0, 0, 1],
    [3, 1, 0, 0, 7],
    [3, 2, 0, 0, 0],
    [3, 3, 0, 0, 1],
    // SCTLR_EL1, ACTLR_EL1, CPACR_EL1, TTBR0_EL1, TTBR1_EL1, TCR_EL1.
    [3, 0, 1, 0, 0],
    [3, 0, 1, 0, 1],
    [3, 0, 1, 0, 2],
    [3, 0, 2, 0, 0],
    [3, 0, 2, 0, 1],
    [3, 0, 2, 0, 2],
    // APIA, APIB, APDA, APDB and APGA, each the lower half of the key and the upper one.
    [3, 0, 2, 1, 0],
    [3, 0, 2, 1, 1],
    [3, 0, 2, 1, 2],
    [3, 0, 2, 1, 3],
    [3, 0, 2, 2, 0],
    [3, 0, 2, 2, 1],
    [3, 0, 2, 2, 2],
    [3, 0, 2, 2, 3],
    [3, 0, 2, 3, 0],
    [3, 0, 2, 3, 1],
    // AFSR0_EL1, AFSR1_EL1, ESR_EL1, FAR_EL1, PAR_EL1, MAIR_EL1, AMAIR_EL1.
    [3, 0, 5, 1, 0],
    [3, 0, 5, 1, 1],
    [3, 0, 5, 2, 0],
    [3, 0, 6, 0, 0],
    [3, 0, 7, 4, 0],
    [3, 0, 10, 2, 0],
    [3, 0, 10, 3, 0],
    // VBAR_EL1, DISR_EL1, CONTEXTIDR_EL1, TPIDR_EL1, CNTKCTL_EL1, TPIDR_EL0, TPIDRRO_EL0.
    [3, 0, 12, 0, 0],
    [3, 0, 12, 1, 1],
    [3, 0, 13, 0, 1],
    [3, 0, 13, 0, 4],
    [3, 0, 14, 1, 0],
    [3, 3, 13, 0, 2],
    [3, 3, 13, 0, 3],
    // CNTPCT_EL0, CNTP_CTL_EL0, CNTP_CVAL_EL0, CNTV_CTL_EL0, and KVM's numbers for CNTV_CVAL_EL0
    // and CNTVCT_EL0.
    [3, 3, 14, 0, 1],
    [3, 3, 14, 2, 1],
    [3, 3, 14, 2, 2],
    [3, 3, 14, 3, 1],
    [3, 3, 14, 0, 2],
    [3, 3, 14, 3, 2],
    // DACR32_EL2, IFSR32_EL2, FPEXC32_EL2.
    [3, 4, 3, 0, 0],
    [3, 4, 5, 0, 1],
    [3, 4, 5, 3, 0],
];

/// Firmware's registers of each of the two kinds.
const NR_FIRMWARE: u64 = 4;

/// All but the core ones, without KVM_REG_ARM64.
pub(crate) fn others() -> impl Iterator<Item = u64> {
    const U32: u64 = bindings::NR_KVM_REG_SIZE_U32;
    const U64: u64 = bindings::NR_KVM_REG_SIZE_U64;
    // DBGBVR, DBGBCR, DBGWVR, DBGWCR, 16 of each, as KVM lists them.
    let points = (0..16).flat_map(|n| (4..8).map(move |op2| [2, 0, 0, n, op2]));
    // The feature ID registers, allocated or not.
    let features = (1..8).flat_map(|crm| (0..8).map(move |op2| [3, 0, 0, crm, op2]));
    let system = SYSTEM.into_iter().chain(points).chain(features);
    let firmware = [
        bindings::NR_KVM_REG_ARM_FW,
        bindings::NR_KVM_REG_ARM_FW_FEAT_BMAP,
    ];
    system
        .map(|register| U64 | bindings::NR_KVM_REG_ARM64_SYSREG | packed(register))
        .chain(
            firmware
                .into_iter()
                .flat_map(|kind| (0..NR_FIRMWARE).map(move |n| U64 | kind | n)),
        )
        .chain((0..reg::NR_CCSIDR).map(|n| U32 | bindings::NR_KVM_REG_ARM_DEMUX | n))
}
