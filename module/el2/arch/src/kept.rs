// SPDX-License-Identifier: GPL-2.0
//! The accesses to the EL2 registers that are kept for the host, made from the logic's one list.
//!
//! Why unsafe: MRS and MSR by encoding, and the values are shared between CPUs.

use core::arch::asm;

use mvirt_hyp::for_each_kept_register;
use mvirt_hyp::sysreg::Kept;

macro_rules! accesses {
    ($($variant:ident $name:ident ($op0:literal $op1:literal $crn:literal $crm:literal $op2:literal)
        $feature:ident $treatment:ident;)*) => {
        /// Reads a kept register. The CPU must have it (`Kept::present`).
        pub fn read(register: Kept) -> u64 {
            let value: u64;
            match register {
                // SAFETY: reading changes nothing but the destination.
                $(Kept::$variant => unsafe {
                    asm!(concat!("mrs {}, s", $op0, "_", $op1, "_c", $crn, "_c", $crm, "_", $op2),
                         out(reg) value, options(nomem, nostack, preserves_flags));
                })*
            }
            value
        }

        /// Writes a kept register. The CPU must have it (`Kept::present`).
        ///
        /// # Safety
        ///
        /// The value is one that `Snapshot::replay` made: what the kernel had set, with EL2's own
        /// bits where the register decides about EL2's rule.
        pub unsafe fn write(register: Kept, value: u64) {
            match register {
                // SAFETY: by the caller's promise; none of these registers changes EL2's own
                // translation.
                $(Kept::$variant => unsafe {
                    asm!(concat!("msr s", $op0, "_", $op1, "_c", $crn, "_c", $crm, "_", $op2, ", {}"),
                         in(reg) value, options(nostack, preserves_flags));
                })*
            }
        }
    };
}

for_each_kept_register!(accesses);
