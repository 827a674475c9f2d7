// SPDX-License-Identifier: GPL-2.0
//! The general-purpose registers of whoever EL2 interrupted, as the vectors save them.

/// x0 to x30, the PC and PSTATE.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Frame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// ELR_EL2: where to go on.
    pub elr: u64,
    /// SPSR_EL2: with which PSTATE.
    pub spsr: u64,
    /// Keeps the stack 16-byte aligned.
    pub reserved: u64,
}

const _: () = assert!(size_of::<Frame>() % 16 == 0);

impl Frame {
    /// All zero.
    pub const ZERO: Frame = Frame {
        x: [0; 31],
        elr: 0,
        spsr: 0,
        reserved: 0,
    };

    /// Reads a general-purpose register by its number in an instruction; 31 is XZR.
    pub fn gp(&self, rt: u8) -> u64 {
        self.x.get(usize::from(rt)).copied().unwrap_or(0)
    }

    /// Writes a general-purpose register by its number in an instruction; 31 is XZR.
    pub fn set_gp(&mut self, rt: u8, value: u64) {
        if let Some(x) = self.x.get_mut(usize::from(rt)) {
            *x = value;
        }
    }
}
