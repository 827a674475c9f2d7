// SPDX-License-Identifier: GPL-2.0
//! The System registers of EL1 and EL0 that are a guest's own while it runs.
//!
//! [`for_each_guest_register!`](crate::for_each_guest_register) is the one list: `arch` expands it
//! into the accesses of the world switch, here it becomes the storage in a vCPU, by number. What a
//! guest can reach and is not in it is trapped (`crate::guest`), or belongs to the counters, the GIC
//! or the FP registers, which have switches of their own.

use crate::trap::Encoding;

/// Calls `$callback!` with the list: `Variant NAME (op0 op1 CRn CRm op2) name-for-assembler;`. The
/// second part, after `pauth`, is there only on CPUs with pointer authentication.
#[macro_export]
macro_rules! for_each_guest_register {
    ($callback:ident) => {
        $callback! {
            base {
            Sctlr SCTLR_EL1 (3 0 1 0 0) "sctlr_el1";
            Cpacr CPACR_EL1 (3 0 1 0 2) "cpacr_el1";
            Ttbr0 TTBR0_EL1 (3 0 2 0 0) "ttbr0_el1";
            Ttbr1 TTBR1_EL1 (3 0 2 0 1) "ttbr1_el1";
            Tcr TCR_EL1 (3 0 2 0 2) "tcr_el1";
            Spsr SPSR_EL1 (3 0 4 0 0) "spsr_el1";
            Elr ELR_EL1 (3 0 4 0 1) "elr_el1";
            SpEl0 SP_EL0 (3 0 4 1 0) "sp_el0";
            SpEl1 SP_EL1 (3 4 4 1 0) "sp_el1";
            Afsr0 AFSR0_EL1 (3 0 5 1 0) "afsr0_el1";
            Afsr1 AFSR1_EL1 (3 0 5 1 1) "afsr1_el1";
            Esr ESR_EL1 (3 0 5 2 0) "esr_el1";
            Far FAR_EL1 (3 0 6 0 0) "far_el1";
            Par PAR_EL1 (3 0 7 4 0) "par_el1";
            Mair MAIR_EL1 (3 0 10 2 0) "mair_el1";
            Amair AMAIR_EL1 (3 0 10 3 0) "amair_el1";
            Vbar VBAR_EL1 (3 0 12 0 0) "vbar_el1";
            Contextidr CONTEXTIDR_EL1 (3 0 13 0 1) "contextidr_el1";
            TpidrEl1 TPIDR_EL1 (3 0 13 0 4) "tpidr_el1";
            Cntkctl CNTKCTL_EL1 (3 0 14 1 0) "cntkctl_el1";
            TpidrEl0 TPIDR_EL0 (3 3 13 0 2) "tpidr_el0";
            TpidrroEl0 TPIDRRO_EL0 (3 3 13 0 3) "tpidrro_el0";
            }
            pauth {
            ApiaLo APIAKeyLo_EL1 (3 0 2 1 0) "s3_0_c2_c1_0";
            ApiaHi APIAKeyHi_EL1 (3 0 2 1 1) "s3_0_c2_c1_1";
            ApibLo APIBKeyLo_EL1 (3 0 2 1 2) "s3_0_c2_c1_2";
            ApibHi APIBKeyHi_EL1 (3 0 2 1 3) "s3_0_c2_c1_3";
            ApdaLo APDAKeyLo_EL1 (3 0 2 2 0) "s3_0_c2_c2_0";
            ApdaHi APDAKeyHi_EL1 (3 0 2 2 1) "s3_0_c2_c2_1";
            ApdbLo APDBKeyLo_EL1 (3 0 2 2 2) "s3_0_c2_c2_2";
            ApdbHi APDBKeyHi_EL1 (3 0 2 2 3) "s3_0_c2_c2_3";
            ApgaLo APGAKeyLo_EL1 (3 0 2 3 0) "s3_0_c2_c3_0";
            ApgaHi APGAKeyHi_EL1 (3 0 2 3 1) "s3_0_c2_c3_1";
            }
        }
    };
}

macro_rules! define {
    (
        base { $($base:ident $base_name:ident ($($base_code:literal)*) $base_asm:literal;)* }
        pauth { $($pac:ident $pac_name:ident ($($pac_code:literal)*) $pac_asm:literal;)* }
    ) => {
        /// A register of a guest's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Reg {
            $(#[doc = concat!("`", stringify!($base_name), "`.")] $base,)*
            $(#[doc = concat!("`", stringify!($pac_name), "`.")] $pac,)*
        }

        impl Reg {
            /// All, by number.
            pub const ALL: &'static [Reg] = &[$(Reg::$base,)* $(Reg::$pac,)*];
            /// How many there are on each CPU; those above are of pointer authentication.
            pub const BASE: usize = [$(Reg::$base),*].len();

            /// The name in the Arm ARM.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Reg::$base => stringify!($base_name),)*
                    $(Reg::$pac => stringify!($pac_name),)*
                }
            }

            /// The encoding in an MRS or MSR instruction.
            pub const fn encoding(self) -> Encoding {
                match self {
                    $(Reg::$base => $crate::vm::registers::encoding([$($base_code),*]),)*
                    $(Reg::$pac => $crate::vm::registers::encoding([$($pac_code),*]),)*
                }
            }
        }
    };
}

for_each_guest_register!(define);

const fn encoding(code: [u8; 5]) -> Encoding {
    let [op0, op1, crn, crm, op2] = code;
    Encoding::new(op0, op1, crn, crm, op2)
}

/// How many registers there are.
pub const COUNT: usize = Reg::ALL.len();

/// The registers of one guest CPU, or the host's while a guest runs.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Registers(pub [u64; COUNT]);

impl Registers {
    /// All zero.
    pub const ZERO: Registers = Registers([0; COUNT]);

    /// Reads one.
    pub const fn get(&self, reg: Reg) -> u64 {
        self.0[reg as usize]
    }

    /// Writes one.
    pub fn set(&mut self, reg: Reg, value: u64) {
        self.0[reg as usize] = value;
    }
}
