// SPDX-License-Identifier: GPL-2.0
//! A guest's registers of EL1 and EL0, by name, as the logic lists them.
//!
//! Why unsafe: they are written.

use mvirt_hyp::for_each_guest_register;
use mvirt_hyp::vm::registers::{Reg, Registers};

use crate::host::read_par;
use crate::sysreg::{read_sysreg, write_sysreg};

macro_rules! accesses {
    (
        base { $($base:ident $base_name:ident ($($base_code:literal)*) $base_asm:literal;)* }
        pauth { $($pac:ident $pac_name:ident ($($pac_code:literal)*) $pac_asm:literal;)* }
    ) => {
        /// Reads all registers of EL1 and EL0.
        pub(super) fn read_all(regs: &mut Registers, pauth: bool) {
            $(if !matches!(Reg::$base, Reg::Par) {
                regs.set(Reg::$base, read_sysreg!($base_asm));
            })*
            regs.set(Reg::Par, read_par());
            if pauth {
                $(regs.set(Reg::$pac, read_sysreg!($pac_asm));)*
            }
        }

        /// Writes all registers of EL1 and EL0 but SCTLR_EL1 and TCR_EL1, which `swap` does.
        ///
        /// # Safety
        ///
        /// They are of the EL1&0 regime, which EL2 does not use; whoever enters it next must have
        /// the stage 2 that belongs to them.
        pub(super) unsafe fn write_all(regs: &Registers, pauth: bool) {
            // SAFETY: by the caller's promise.
            unsafe {
                $(if !matches!(Reg::$base, Reg::Sctlr | Reg::Tcr) {
                    write_sysreg!($base_asm, regs.get(Reg::$base));
                })*
                if pauth {
                    $(write_sysreg!($pac_asm, regs.get(Reg::$pac));)*
                }
            }
        }

        /// Writes one register of EL1 or EL0.
        ///
        /// # Safety
        ///
        /// It is of the guest whose registers are in the CPU; one of pointer authentication only where
        /// guests have that.
        pub unsafe fn write_one(register: Reg, value: u64) {
            // SAFETY: by the caller's promise.
            unsafe {
                match register {
                    $(Reg::$base => write_sysreg!($base_asm, value),)*
                    $(Reg::$pac => write_sysreg!($pac_asm, value),)*
                }
            }
        }
    };
}

for_each_guest_register!(accesses);
