// SPDX-License-Identifier: GPL-2.0
//! The hardware's breakpoints and watchpoints.
//!
//! At EL2 none of them fires (`mvirt_hyp::guest::sysreg::Debug`), so that they can be changed one by
//! one, and an ERET synchronises them. MDSCR_EL1 is a guest's meanwhile, with EMBWE 0: where there are
//! banks of them (FEAT_Debugv8p9), MDSELR_EL1 selects none but the first (Arm ARM D24.3, "MDSELR_EL1").
//!
//! Why unsafe: registers are written by their encodings.

use mvirt_hyp::guest::sysreg::{Counts, Points};

use crate::sysreg::{read_sysreg, write_sysreg};

/// Calls `$callback!` with each number of a point and the encoding of its CRm.
macro_rules! for_each_point {
    ($callback:ident) => {
        $callback! { 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 }
    };
}

/// Reads them.
pub fn read(counts: Counts) -> Points {
    let mut points = Points::default();
    macro_rules! read {
        ($($n:literal)*) => {$(
            if $n < counts.breakpoints {
                points[0][$n] = read_sysreg!(concat!("s2_0_c0_c", $n, "_4"));
                points[1][$n] = read_sysreg!(concat!("s2_0_c0_c", $n, "_5"));
            }
            if $n < counts.watchpoints {
                points[2][$n] = read_sysreg!(concat!("s2_0_c0_c", $n, "_6"));
                points[3][$n] = read_sysreg!(concat!("s2_0_c0_c", $n, "_7"));
            }
        )*};
    }
    for_each_point!(read);
    points
}

/// Writes them.
///
/// # Safety
///
/// They belong to whoever is entered next.
pub unsafe fn write(points: &Points, counts: Counts) {
    macro_rules! write {
        ($($n:literal)*) => {$(
            if $n < counts.breakpoints {
                // SAFETY: this CPU has it; by the caller's promise.
                unsafe {
                    write_sysreg!(concat!("s2_0_c0_c", $n, "_4"), points[0][$n]);
                    write_sysreg!(concat!("s2_0_c0_c", $n, "_5"), points[1][$n]);
                }
            }
            if $n < counts.watchpoints {
                // SAFETY: as above.
                unsafe {
                    write_sysreg!(concat!("s2_0_c0_c", $n, "_6"), points[2][$n]);
                    write_sysreg!(concat!("s2_0_c0_c", $n, "_7"), points[3][$n]);
                }
            }
        )*};
    }
    for_each_point!(write);
}
