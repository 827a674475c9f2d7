// SPDX-License-Identifier: GPL-2.0
//! The accesses to the EL2 registers that are kept for the host, made from the logic's one list, and
//! reads of those that EL2 itself runs by.
//!
//! Why unsafe: MRS and MSR by encoding, and the values are shared between CPUs.

use core::arch::asm;

use mvirt_hyp::for_each_kept_register;
use mvirt_hyp::sysreg::Kept;
use mvirt_hyp::trap::Encoding;

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

macro_rules! own_registers {
    ($($name:ident ($op0:literal $op1:literal $crn:literal $crm:literal $op2:literal);)*) => {
        /// The encodings of the registers that EL2 itself runs by, in the order of [`read_own`].
        const OWN: &[Encoding] = &[$(Encoding::new($op0, $op1, $crn, $crm, $op2)),*];

        /// Reads the `index`th register that EL2 itself runs by: its encoding and its value. None
        /// past the end.
        pub fn read_own(index: usize) -> Option<(Encoding, u64)> {
            let values = [$({
                let _register = stringify!($name);
                let value: u64;
                // SAFETY: every CPU with EL2 has the register, and reading it changes nothing but
                // the destination.
                unsafe {
                    asm!(concat!("mrs {}, s", $op0, "_", $op1, "_c", $crn, "_c", $crm, "_", $op2),
                         out(reg) value, options(nomem, nostack, preserves_flags));
                }
                value
            }),*];
            Some((*OWN.get(index)?, *values.get(index)?))
        }
    };
}

// These are no part of a snapshot: EL2 sets them itself on each CPU, at take-over and when one comes
// up. The same value is due on all CPUs of a kind, which is why they can be read. TPIDR_EL2 and
// SP_EL2 are each CPU's own.
own_registers! {
    VTTBR_EL2 (3 4 2 1 0);
    VTCR_EL2 (3 4 2 1 2);
    VBAR_EL2 (3 4 12 0 0);
    SCTLR_EL2 (3 4 1 0 0);
    TCR_EL2 (3 4 2 0 2);
    MAIR_EL2 (3 4 10 2 0);
    TTBR0_EL2 (3 4 2 0 0);
}
