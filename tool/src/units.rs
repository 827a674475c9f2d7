// SPDX-License-Identifier: Apache-2.0
//! Numbers as people read them.

use std::fmt;

/// A number of bytes: in KiB below 1 MiB, else in MiB with two places, rounded to the nearest.
/// What is no whole number of KiB is shown in bytes, so that nothing small is rounded away.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        let text = match self.0 {
            b if b >= MIB => {
                // In hundredths, with 128 bits, so that no number overflows.
                let hundredths = (u128::from(b) * 100 + u128::from(MIB / 2)) / u128::from(MIB);
                format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
            }
            b if b % KIB == 0 => format!("{} KiB", b / KIB),
            b => format!("{b} B  "),
        };
        f.pad(&text)
    }
}

/// A span of time in nanoseconds, shown with three places in the largest unit that it fills.
pub struct Nanos(pub u64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            ns if ns >= 1_000_000_000 => (1_000_000_000, "s"),
            ns if ns >= 1_000_000 => (1_000_000, "ms"),
            ns if ns >= 1_000 => (1_000, "us"),
            ns => return f.pad(&format!("{ns} ns")),
        };
        let thousandths = self.0 % unit / (unit / 1000);
        f.pad(&format!("{}.{thousandths:03} {name}", self.0 / unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        for (bytes, text) in [
            (0, "0 KiB"),
            (1, "1 B  "),
            (4096, "4 KiB"),
            (4097, "4097 B  "),
            ((1 << 20) - 1024, "1023 KiB"),
            (1 << 20, "1.00 MiB"),
            ((1 << 20) + (1 << 19) + 1, "1.50 MiB"),
            ((2 << 20) - 1, "2.00 MiB"),
            (u64::MAX, "17592186044416.00 MiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!(format!("[{:>9}]", Bytes(4096)), "[    4 KiB]");
    }

    #[test]
    fn nanos() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.000 us"),
            (1_234_567, "1.234 ms"),
            (16_500_000, "16.500 ms"),
            (61_002_999_999, "61.002 s"),
        ] {
            assert_eq!(Nanos(ns).to_string(), text);
        }
    }
}
