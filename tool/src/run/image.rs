// SPDX-License-Identifier: Apache-2.0
//! The header of an arm64 Image (Linux, Documentation/arch/arm64/booting.rst).

/// Bytes of the header.
pub const HEADER: usize = 64;
/// "ARM\x64", at 56.
const MAGIC: &[u8] = b"ARM\x64";
/// The Image may begin anywhere from its alignment on.
const ALIGNMENT: u64 = 2 << 20;

/// What the header says.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Distance of the Image from a multiple of 2 MiB.
    pub text_offset: u64,
    /// Bytes that it takes in memory, with what is not in the file.
    pub size: u64,
}

impl Header {
    /// Reads the first bytes of a file; the error says what the file is instead.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Header, &'static str> {
        if &bytes[56..60] != MAGIC {
            return Err(match bytes {
                [0x7f, b'E', b'L', b'F', ..] => "an ELF file (vmlinux), not an arm64 Image",
                [b'M', b'Z', _, _, b'z', b'i', b'm', b'g', ..] => {
                    "an EFI zboot image inside of another compressed file: unpack the outer one before"
                }
                _ => "no arm64 Image: neither plain, nor compressed by gzip or zstd, nor as EFI zboot",
            });
        }
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let (text_offset, size) = (word(8), word(16));
        if size == 0 {
            return Err("an Image from before Linux 3.17, which does not tell its size");
        }
        if text_offset >= ALIGNMENT {
            return Err("an Image with a text offset beyond 2 MiB");
        }
        Ok(Header { text_offset, size })
    }
}

/// The header of an Image, for tests.
#[cfg(test)]
pub fn header(text_offset: u64, size: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[8..16].copy_from_slice(&text_offset.to_le_bytes());
    bytes[16..24].copy_from_slice(&size.to_le_bytes());
    bytes[56..60].copy_from_slice(MAGIC);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_tells_its_place_and_size() {
        let parsed = Header::parse(&header(0x8_0000, 0x123_0000)).unwrap();
        let (text_offset, size) = (0x8_0000, 0x123_0000);
        assert_eq!(parsed, Header { text_offset, size });
    }

    #[test]
    fn what_is_no_image_is_named() {
        let said = |bytes: &[u8]| {
            let mut header = [0; HEADER];
            header[..bytes.len()].copy_from_slice(bytes);
            Header::parse(&header).unwrap_err()
        };
        assert!(said(b"\x7fELF\x02").contains("vmlinux"));
        assert!(said(b"MZ\0\0zimg").contains("zboot"));
        assert!(said(b"#!/bin/sh").contains("no arm64 Image"));
        assert!(Header::parse(&header(0, 0)).unwrap_err().contains("3.17"));
        let far = header(2 << 20, 1 << 20);
        assert!(Header::parse(&far).unwrap_err().contains("text offset"));
    }
}
