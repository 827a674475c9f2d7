// SPDX-License-Identifier: GPL-2.0
//! The CPU interface of a vCPU: images of the ICH registers, which `arch` writes before an entry and
//! reads back after an exit (GICv3 architecture, IHI 0069, 12.4 "AArch64 virtualization control
//! registers").

/// List registers that a CPU may have.
pub const MAX_LRS: usize = 16;

/// `ICH_LR<n>_EL2`.
pub(super) mod lr {
    /// Pending, bit 62.
    pub const PENDING: u64 = 1 << 62;
    /// Active, bit 63.
    pub const ACTIVE: u64 = 1 << 63;
    /// The deactivation goes through to the physical interrupt.
    pub const HW: u64 = 1 << 61;
    /// Group 1, bit 60.
    pub const GROUP_SHIFT: u32 = 60;
    /// Priority, bits 55:48.
    pub const PRIORITY_SHIFT: u32 = 48;
    /// Without HW: a maintenance interrupt when the guest deactivates it.
    pub const EOI: u64 = 1 << 41;
    /// With HW: the physical INTID, from bit 32 on.
    pub const PINTID_SHIFT: u32 = 32;
    /// The virtual INTID. Ours are below 1024.
    pub const INTID: u64 = 0x3ff;
}

/// ICH_HCR_EL2.
pub(super) mod hcr {
    /// The virtual interface works.
    pub const EN: u64 = 1 << 0;
    /// Maintenance interrupt when the guest deactivated what is in no list register.
    pub const LRENPIE: u64 = 1 << 2;
    /// Maintenance interrupt when no list register is pending.
    pub const NPIE: u64 = 1 << 3;
    /// Maintenance interrupt when the guest has group 0 enabled; for group 1 two bits further up.
    pub const VGRP0EIE: u64 = 1 << 4;
    /// Maintenance interrupt when the guest has group 0 disabled; group 1 as above.
    pub const VGRP0DIE: u64 = 1 << 5;
    /// Writes of ICC_DIR_EL1 trap.
    pub const TDIR: u64 = 1 << 14;
    /// Deactivations of what is in no list register.
    pub const EOICOUNT_SHIFT: u32 = 27;
    /// Five bits.
    pub const EOICOUNT: u64 = 0x1f;
}

/// ICH_VMCR_EL2.
pub(super) mod vmcr {
    /// Group 0 is enabled; group 1 one bit further up.
    pub const VENG0: u64 = 1 << 0;
    /// FIQ for group 0: reads as one with ICC_SRE_EL1.SRE.
    pub const VFIQEN: u64 = 1 << 3;
    /// ICC_BPR0_EL1 serves both groups.
    pub const VCBPR: u64 = 1 << 4;
    /// EOImode: ending an interrupt only drops the priority.
    pub const VEOIM: u64 = 1 << 9;
    /// ICC_BPR1_EL1, three bits.
    pub const VBPR1_SHIFT: u32 = 18;
    /// ICC_BPR0_EL1, three bits.
    pub const VBPR0_SHIFT: u32 = 21;
    /// ICC_PMR_EL1, eight bits.
    pub const VPMR_SHIFT: u32 = 24;
}

/// What the virtual interface of a CPU has, from ICH_VTR_EL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// List registers: 1 to 16.
    pub nr_lrs: usize,
    /// Bits of preemption (PREbits): 5 to 7.
    pub pre_bits: u32,
    /// Writes of ICC_DIR_EL1 can be trapped (TDS).
    pub traps_dir: bool,
    /// What ICC_CTLR_EL1 shows a guest of it: PRIbits, IDbits, SEIS, A3V.
    pub ctlr: u64,
}

impl Hardware {
    /// Reads ICH_VTR_EL2.
    pub const fn from_vtr(vtr: u64) -> Hardware {
        let (pri_bits, id_bits) = (vtr >> 29 & 7, vtr >> 23 & 7);
        let (seis, a3v) = (vtr >> 22 & 1, vtr >> 21 & 1);
        Hardware {
            // ListRegs, bits 4:0, is the number less one; only 16 are defined.
            nr_lrs: (vtr & 0xf) as usize + 1,
            pre_bits: (vtr >> 26 & 7) as u32 + 1,
            traps_dir: vtr >> 19 & 1 == 1,
            ctlr: pri_bits << 8 | id_bits << 11 | seis << 14 | a3v << 15,
        }
    }

    /// Active priority registers of each group: a bit for each level of preemption.
    pub const fn nr_aprs(&self) -> usize {
        match self.pre_bits {
            0..=5 => 1,
            6 => 2,
            _ => 4,
        }
    }
}

/// A vCPU's CPU interface.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CpuInterface {
    /// ICH_HCR_EL2.
    pub hcr: u64,
    /// ICH_VMCR_EL2.
    pub vmcr: u64,
    /// `ICH_AP0R<n>_EL2`.
    pub ap0r: [u32; 4],
    /// `ICH_AP1R<n>_EL2`.
    pub ap1r: [u32; 4],
    /// `ICH_LR<n>_EL2`. Those from `used` on are 0.
    pub lr: [u64; MAX_LRS],
    /// How many list registers hold something.
    pub used: usize,
    /// The guest deactivated the physical interrupt behind a list register. For `arch` to take: its
    /// own note of what is active in the machine's GIC is stale.
    pub hw_ended: bool,
}

impl CpuInterface {
    /// After reset: groups off, priority mask 0, binary points at their minimum, which the CPU
    /// puts in for the 0 here.
    pub const RESET: CpuInterface = CpuInterface {
        hcr: hcr::EN,
        vmcr: vmcr::VFIQEN,
        ap0r: [0; 4],
        ap1r: [0; 4],
        lr: [0; MAX_LRS],
        used: 0,
        hw_ended: false,
    };

    /// Gives it the state of a reset. Its list registers must have been folded before
    /// ([`Vgic::sync`](super::Vgic::sync)): after an exit they always are.
    pub fn reset(&mut self) {
        *self = CpuInterface::RESET;
    }

    /// Whether the guest has the group of this number enabled.
    pub(super) const fn takes_group(&self, group: u32) -> bool {
        self.vmcr & vmcr::VENG0 << group != 0
    }

    /// ICC_PMR_EL1: what is not of higher priority (a lower number) is masked.
    pub(super) const fn mask(&self) -> u8 {
        (self.vmcr >> vmcr::VPMR_SHIFT) as u8
    }
}
