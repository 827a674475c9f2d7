// SPDX-License-Identifier: GPL-2.0
//! Accessors of system registers, and of the EL1 registers of the host, which have other names
//! when HCR_EL2.E2H is 1 (Arm ARM D1.4.1: with E2H, `SCTLR_EL1` at EL2 means SCTLR_EL2, and the
//! host's own is `SCTLR_EL12`).
//!
//! Why unsafe: MRS and MSR are only reachable as assembly. Reading a system register that exists
//! has no effect on memory, so `read_sysreg!` carries its own claim. Writing one may change
//! translation, so `write_sysreg!` expands to bare assembly and each use needs a claim.

/// Reads a system register by its name.
macro_rules! read_sysreg {
    ($reg:expr) => {{
        let value: u64;
        // SAFETY: an MRS of a register that this CPU has changes nothing but its destination.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $reg), out(reg) value,
                             options(nomem, nostack, preserves_flags));
        }
        value
    }};
}

/// Writes a system register by its name. To be used in an `unsafe` block.
macro_rules! write_sysreg {
    ($reg:expr, $value:expr) => {{
        let value: u64 = $value;
        core::arch::asm!(concat!("msr ", $reg, ", {}"), in(reg) value,
                         options(nostack, preserves_flags));
    }};
}

pub(crate) use {read_sysreg, write_sysreg};

/// HCR_EL2.E2H: EL2 uses the EL2&0 regime and the register formats of FEAT_VHE.
pub const HCR_E2H: u64 = 1 << 34;

/// True if EL2 runs with HCR_EL2.E2H set, which it does on cores without FEAT_E2H0 only: the bit
/// stays as the kernel left it.
pub fn e2h() -> bool {
    read_sysreg!("hcr_el2") & HCR_E2H != 0
}

/// Synchronises the context: later instructions see earlier system register writes.
pub fn isb() {
    // SAFETY: a barrier changes no state of the program.
    unsafe { core::arch::asm!("isb", options(nostack, preserves_flags)) };
}

/// Waits until earlier accesses and TLB maintenance are complete in the Inner Shareable domain.
pub fn dsb_ish() {
    // SAFETY: as above.
    unsafe { core::arch::asm!("dsb ish", options(nostack, preserves_flags)) };
}

/// Orders all accesses before against all after.
pub fn dmb_sy() {
    // SAFETY: as above.
    unsafe { core::arch::asm!("dmb sy", options(nostack, preserves_flags)) };
}

macro_rules! host_register {
    (read $(#[$doc:meta])* $name:ident: $el1:literal, $el12:literal) => {
        $(#[$doc])*
        pub fn $name() -> u64 {
            if e2h() { read_sysreg!($el12) } else { read_sysreg!($el1) }
        }
    };
    (write $(#[$doc:meta])* $name:ident: $el1:literal, $el12:literal) => {
        $(#[$doc])*
        pub fn $name(value: u64) {
            // SAFETY: a register of the host's EL1&0 regime. EL2 runs in its own regime, which it
            // does not affect; what the host's accesses may reach is bounded by its stage 2.
            unsafe { if e2h() { write_sysreg!($el12, value) } else { write_sysreg!($el1, value) } }
        }
    };
}

// The S-names are the *_EL12 registers (Arm ARM D24.1: op1 = 5), spelled so that an assembler
// that was not told of FEAT_VHE takes them.
host_register!(read /** The host's SCTLR_EL1. */ host_sctlr: "sctlr_el1", "s3_5_c1_c0_0");
host_register!(write /** Sets the host's SCTLR_EL1. */ set_host_sctlr: "sctlr_el1", "s3_5_c1_c0_0");
host_register!(read /** The host's TCR_EL1. */ host_tcr: "tcr_el1", "s3_5_c2_c0_2");
host_register!(write /** Sets the host's TCR_EL1. */ set_host_tcr: "tcr_el1", "s3_5_c2_c0_2");
host_register!(read /** The host's VBAR_EL1. */ host_vbar: "vbar_el1", "s3_5_c12_c0_0");
host_register!(write /** Sets the host's ESR_EL1. */ set_host_esr: "esr_el1", "s3_5_c5_c2_0");
host_register!(write /** Sets the host's FAR_EL1. */ set_host_far: "far_el1", "s3_5_c6_c0_0");
host_register!(write /** Sets the host's ELR_EL1. */ set_host_elr: "elr_el1", "s3_5_c4_c0_1");
host_register!(write /** Sets the host's SPSR_EL1. */ set_host_spsr: "spsr_el1", "s3_5_c4_c0_0");
host_register!(write /** Sets the host's CNTV_CTL_EL0. */ set_host_cntv_ctl: "cntv_ctl_el0", "s3_5_c14_c3_1");

/// Translates an address by an AT instruction. To be used in an `unsafe` block.
macro_rules! at {
    ($op:literal, $address:expr) => {{
        let address: u64 = $address;
        core::arch::asm!(concat!("at ", $op, ", {}"), in(reg) address,
                         options(nostack, preserves_flags));
    }};
}

pub(crate) use at;
