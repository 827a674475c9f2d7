// SPDX-License-Identifier: GPL-2.0
//! The GIC's virtual CPU interface: the ICH registers, and the two interrupts of EL2's own timers.
//!
//! Why unsafe: list registers and the physical CPU interface are written.

use mvirt_hyp::vgic::{CpuInterface, Hardware};

use crate::sysreg::{isb, read_sysreg, write_sysreg};

/// What ICH_VTR_EL2 says of this CPU.
pub fn hardware() -> Hardware {
    Hardware::from_vtr(read_sysreg!("s3_4_c12_c11_1"))
}

macro_rules! indexed {
    ($read:ident $write:ident $($n:literal $reg:literal)*) => {
        fn $read(n: usize) -> u64 {
            match n {
                $($n => read_sysreg!($reg),)*
                _ => 0,
            }
        }

        /// # Safety
        ///
        /// The register exists on this CPU, and the value is of the vCPU that is loaded.
        unsafe fn $write(n: usize, value: u64) {
            // SAFETY: by the caller's promise.
            unsafe {
                match n {
                    $($n => write_sysreg!($reg, value),)*
                    _ => {}
                }
            }
        }
    };
}

indexed!(read_lr write_lr
    0 "s3_4_c12_c12_0" 1 "s3_4_c12_c12_1" 2 "s3_4_c12_c12_2" 3 "s3_4_c12_c12_3"
    4 "s3_4_c12_c12_4" 5 "s3_4_c12_c12_5" 6 "s3_4_c12_c12_6" 7 "s3_4_c12_c12_7"
    8 "s3_4_c12_c13_0" 9 "s3_4_c12_c13_1" 10 "s3_4_c12_c13_2" 11 "s3_4_c12_c13_3"
    12 "s3_4_c12_c13_4" 13 "s3_4_c12_c13_5" 14 "s3_4_c12_c13_6" 15 "s3_4_c12_c13_7");
indexed!(read_ap0r write_ap0r
    0 "s3_4_c12_c8_0" 1 "s3_4_c12_c8_1" 2 "s3_4_c12_c8_2" 3 "s3_4_c12_c8_3");
indexed!(read_ap1r write_ap1r
    0 "s3_4_c12_c9_0" 1 "s3_4_c12_c9_1" 2 "s3_4_c12_c9_2" 3 "s3_4_c12_c9_3");

/// ICH_HCR_EL2.TC, TALL0 and TALL1: every register of the CPU interface traps.
const NO_GIC: u64 = 0b111 << 10;

/// Puts a vCPU's interface in.
pub fn load(iface: &CpuInterface, hardware: &Hardware, has_gic: bool) {
    if !has_gic {
        // SAFETY: the virtual interface is off, and traps.
        unsafe { write_sysreg!("s3_4_c12_c11_0", NO_GIC) };
        return;
    }
    // SAFETY: the registers exist (`hardware` is this CPU's), and the guest's interface is off, or
    // its own, until the ERET.
    unsafe {
        // ICH_VMCR_EL2 before the list registers: it has the group enables.
        write_sysreg!("s3_4_c12_c11_7", iface.vmcr);
        for n in 0..hardware.nr_aprs() {
            write_ap0r(n, iface.ap0r[n].into());
            write_ap1r(n, iface.ap1r[n].into());
        }
        for n in 0..hardware.nr_lrs {
            write_lr(n, iface.lr[n]);
        }
        // ICH_HCR_EL2.
        write_sysreg!("s3_4_c12_c11_0", iface.hcr);
    }
}

/// Which list registers hold nothing any more: ICH_ELRSR_EL2.
pub fn empty_lists() -> u64 {
    read_sysreg!("s3_4_c12_c11_5")
}

/// Puts one list register in, of the vCPU whose interface is.
pub fn load_list(iface: &CpuInterface, n: usize) {
    // SAFETY: it exists, for `Vgic` filled it for this CPU, and the guest whose it is goes on.
    unsafe { write_lr(n, iface.lr[n]) };
}

/// Takes a vCPU's interface out; it stays in force.
pub fn save(iface: &mut CpuInterface, hardware: &Hardware) {
    iface.vmcr = read_sysreg!("s3_4_c12_c11_7");
    iface.hcr = read_sysreg!("s3_4_c12_c11_0");
    for n in 0..hardware.nr_aprs() {
        // 32-bit registers.
        iface.ap0r[n] = read_ap0r(n) as u32;
        iface.ap1r[n] = read_ap1r(n) as u32;
    }
    // What was not in use stays so: only EL2 fills a list register.
    for n in 0..iface.used {
        iface.lr[n] = read_lr(n);
    }
}

/// Turns the virtual interface off, for the host.
pub fn off() {
    // SAFETY: no virtual interrupt, and no maintenance interrupt, from here on.
    unsafe { write_sysreg!("s3_4_c12_c11_0", 0) };
    isb();
}
