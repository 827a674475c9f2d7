// SPDX-License-Identifier: Apache-2.0
//! What the options of `mvirt run` may be. clap puts the option and its value before the reason.

use crate::run::layout::BLOCK;
use crate::run::DiskSpec;

/// A size with its unit.
pub fn memory(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match &text[digits.len()..] {
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "" => return Err("a size has a unit: K, M or G, as in 512M".into()),
        other => return Err(format!("unit \"{other}\": it is K, M or G, as in 512M")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "no whole number before the unit")?;
    let bytes = number
        .checked_mul(unit)
        .ok_or("more than there are addresses")?;
    if bytes == 0 || bytes % BLOCK != 0 {
        return Err("a guest's memory is a multiple of 2 MiB".into());
    }
    Ok(bytes)
}

/// A file with what the guest may do with it.
pub fn disk(text: &str) -> Result<DiskSpec, String> {
    let (path, read_only) = match text.strip_suffix(",ro") {
        Some(path) => (path, true),
        None => (text, false),
    };
    if path.is_empty() {
        return Err("no file".into());
    }
    Ok(DiskSpec {
        path: path.into(),
        read_only,
    })
}

/// A name that fits into messages and file names.
pub fn name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > 63 || !text.chars().all(good) {
        return Err("1 to 63 letters, digits, - _ and .".into());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("2M", 2 << 20),
            ("512M", 512 << 20),
            ("512MiB", 512 << 20),
            ("1G", 1 << 30),
            ("3GiB", 3 << 30),
            ("524288K", 512 << 20),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for (text, why) in [
            ("512", "has a unit"),
            ("512m", "unit \"m\""),
            ("512 M", "unit \" M\""),
            ("M", "no whole number"),
            ("", "has a unit"),
            ("1.5G", "no whole number"),
            ("-1G", "no whole number"),
            ("0M", "2 MiB"),
            ("3M", "2 MiB"),
            ("99999999999G", "addresses"),
            ("99999999999999999999G", "no whole number"),
        ] {
            let error = memory(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn disks() {
        let spec = |path: &str, read_only| {
            let path = path.into();
            Ok(DiskSpec { path, read_only })
        };
        assert_eq!(disk("a.img"), spec("a.img", false));
        assert_eq!(disk("a.img,ro"), spec("a.img", true));
        assert_eq!(disk("a,b,ro"), spec("a,b", true));
        assert_eq!(disk("a,b"), spec("a,b", false));
        assert!(disk("").is_err() && disk(",ro").is_err());
    }

    #[test]
    fn names() {
        assert_eq!(name("web-1.test_A"), Ok("web-1.test_A".into()));
        for bad in ["", "a b", "a/b", "\x1b[1m", "ä", &"x".repeat(64)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
