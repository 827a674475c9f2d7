// SPDX-License-Identifier: Apache-2.0
//! What the options of `mvirt run` may be. clap puts the option and its value before the reason.

use crate::devices::virtio::net::tap;
use crate::run::layout::BLOCK;
use crate::run::{DiskSpec, NetSpec};

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

/// What a guest's network is connected to, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link(pub Option<NetSpec>);

/// A link: `none`, or a tap interface with, perhaps, the guest's address on it.
pub fn net(text: &str) -> Result<Link, String> {
    if text == "none" {
        return Ok(Link(None));
    }
    let mut parts = text.split(',');
    let tap = parts
        .next()
        .and_then(|first| first.strip_prefix("tap="))
        .ok_or("it is none, or tap=NAME with the name of an interface")?;
    // As the kernel's dev_valid_name.
    let good = |c: char| !c.is_whitespace() && c != '/' && c != ':';
    if tap.is_empty()
        || tap.len() > tap::NAME
        || [".", ".."].contains(&tap)
        || !tap.chars().all(good)
    {
        let most = tap::NAME;
        return Err(format!(
            "\"{tap}\" names no interface: 1 to {most} bytes, no space, / or :"
        ));
    }
    let mut address = None;
    for part in parts {
        let value = part
            .strip_prefix("mac=")
            .ok_or_else(|| format!("\"{part}\": after the interface there may be mac=ADDRESS"))?;
        if address.replace(mac(value)?).is_some() {
            return Err("more than one mac=".into());
        }
    }
    Ok(Link(Some(NetSpec {
        tap: tap.into(),
        mac: address,
    })))
}

/// An address of one station.
fn mac(text: &str) -> Result<[u8; 6], String> {
    let wrong = || format!("mac={text}: an address is six bytes, as in 52:54:00:12:34:56");
    let bytes: Result<Vec<u8>, _> = text
        .split(':')
        .map(|byte| {
            let digits = byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
            let value = digits.then(|| u8::from_str_radix(byte, 16).ok());
            value.flatten().ok_or_else(wrong)
        })
        .collect();
    let mac: [u8; 6] = bytes?.try_into().map_err(|_| wrong())?;
    if mac[0] & 1 != 0 || mac == [0; 6] {
        return Err(format!("mac={text}: not the address of one station"));
    }
    Ok(mac)
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
    fn links() {
        let link = |tap: &str, mac| {
            let tap = tap.into();
            Ok(Link(Some(NetSpec { tap, mac })))
        };
        assert_eq!(net("none"), Ok(Link(None)));
        assert_eq!(net("tap=tap0"), link("tap0", None));
        let mac = Some([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
        assert_eq!(net("tap=br-a.1,mac=52:54:00:ab:CD:ef"), link("br-a.1", mac));
        for (text, why) in [
            ("", "tap=NAME"),
            ("tap0", "tap=NAME"),
            ("user", "tap=NAME"),
            ("tap=", "names no interface"),
            ("tap=a/b", "names no interface"),
            ("tap=..", "names no interface"),
            ("tap=0123456789abcdef", "1 to 15"),
            ("tap=t,mtu=9000", "\"mtu=9000\""),
            ("tap=t,", "\"\""),
            ("tap=t,mac=1:2:3:4:5:6", "six bytes"),
            ("tap=t,mac=52:54:00:12:34", "six bytes"),
            ("tap=t,mac=52:54:00:12:34:56:78", "six bytes"),
            ("tap=t,mac=52:54:00:12:34:+6", "six bytes"),
            ("tap=t,mac=53:54:00:12:34:56", "one station"),
            ("tap=t,mac=00:00:00:00:00:00", "one station"),
            (
                "tap=t,mac=52:54:00:12:34:56,mac=52:54:00:12:34:56",
                "more than one",
            ),
        ] {
            let error = net(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(name("web-1.test_A"), Ok("web-1.test_A".into()));
        for bad in ["", "a b", "a/b", "\x1b[1m", "ä", &"x".repeat(64)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
