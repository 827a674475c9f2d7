// SPDX-License-Identifier: Apache-2.0
//! How a kernel's Image lies in its file: plain, compressed by gzip or zstd, or as the compressed payload
//! of an EFI zboot image (Linux, drivers/firmware/efi/libstub/zboot-header.S).

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Bytes of a zboot header that tell of the payload.
const HEAD: usize = 56;
/// "MZ" with the two bytes that zboot leaves empty, then its own name.
const ZBOOT: &[u8] = b"MZ\0\0zimg";

/// The largest window of zstd that ruzstd makes: 2^26 bytes and half of that, of at most 100 MiB.
pub const WINDOW: u64 = 96 << 20;
/// The same as the byte of a frame's header: exponent 16, mantissa 4 (RFC 8878, section 3.1.1.1.2).
const WINDOW_BYTE: u8 = 16 << 3 | 4;
/// The flag of a frame without a window of its own (section 3.1.1.1.1.2).
const SINGLE_SEGMENT: u8 = 1 << 5;

/// What the bytes are packed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Plain,
    Gzip,
    Zstd,
}

/// Where the Image is in its file, and how it is packed.
#[derive(Debug, PartialEq, Eq)]
pub struct Packing {
    method: Method,
    at: u64,
    len: u64,
}

impl Packing {
    /// Finds out; the error says what the file is instead.
    pub fn of(file: &mut File) -> Result<Packing, String> {
        let said = |e: io::Error| e.to_string();
        let len = file.metadata().map_err(said)?.len();
        let mut head = Vec::with_capacity(HEAD);
        file.take(HEAD as u64)
            .read_to_end(&mut head)
            .map_err(said)?;
        let whole = |method| Packing { method, at: 0, len };
        if head.starts_with(GZIP) {
            Ok(whole(Method::Gzip))
        } else if head.starts_with(ZSTD) {
            Ok(whole(Method::Zstd))
        } else if head.starts_with(ZBOOT) {
            zboot(&head, len)
        } else {
            Ok(whole(Method::Plain))
        }
    }

    /// Whether bytes of the file are bytes of the Image.
    pub fn plain(&self) -> bool {
        self.method == Method::Plain
    }

    /// The most that can be unpacked.
    pub fn most(&self) -> Option<u64> {
        (self.method == Method::Zstd).then_some(WINDOW)
    }

    /// The bytes of the Image from its first on.
    pub fn read<'a>(&self, mut file: &'a File) -> io::Result<Box<dyn Read + 'a>> {
        file.seek(SeekFrom::Start(self.at))?;
        let packed = BufReader::new(file.take(self.len));
        Ok(match self.method {
            Method::Plain => Box::new(packed),
            Method::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Method::Zstd => Box::new(Zstd::new(packed)?),
        })
    }

    /// What its errors begin with.
    pub fn name(&self) -> &'static str {
        match self.method {
            Method::Plain => "read",
            Method::Gzip => "gzip",
            Method::Zstd => "zstd",
        }
    }
}

/// The payload of a zboot image whose file has `len` bytes.
fn zboot(head: &[u8], len: u64) -> Result<Packing, String> {
    if head.len() < HEAD {
        return Err("too short for an EFI zboot image".into());
    }
    let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
    let (at, size) = (u64::from(word(8)), u64::from(word(12)));
    if at < HEAD as u64 || size == 0 || at + size > len {
        return Err(format!(
            "an EFI zboot image of {len} bytes whose payload would be {size} bytes at {at:#x}"
        ));
    }
    let name = head[24..].split(|&byte| byte == 0).next();
    let method = match name {
        Some(b"gzip") => Method::Gzip,
        Some(b"zstd") => Method::Zstd,
        other => {
            let other = String::from_utf8_lossy(other.unwrap_or_default()).into_owned();
            return Err(format!(
                "an EFI zboot image compressed by \"{}\"; gzip and zstd are known here",
                other.escape_default()
            ));
        }
    };
    Ok(Packing {
        method,
        at,
        len: size,
    })
}

/// One frame of zstd, whose checksum must be right if it has one.
struct Zstd<R: Read>(
    StreamingDecoder<io::Chain<Cursor<Vec<u8>>, R>, ruzstd::decoding::FrameDecoder>,
);

impl<R: Read> Zstd<R> {
    fn new(mut packed: R) -> io::Result<Zstd<R>> {
        let mut head = vec![0; ZSTD.len() + 2];
        packed.read_exact(&mut head)?;
        // Kernels are packed with "-22 --ultra" out of a pipe, which asks for a window of 128 MiB
        // whatever the length. No offset goes back before the first byte, so a window as large as all
        // that is unpacked does, and Kernel::load sees that it is no more.
        if head[4] & SINGLE_SEGMENT == 0 && head[5] > WINDOW_BYTE {
            head[5] = WINDOW_BYTE;
        }
        let packed = Cursor::new(head).chain(packed);
        StreamingDecoder::new(packed)
            .map(Zstd)
            .map_err(io::Error::other)
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.0.read(buffer)?;
        let frame = &self.0.decoder;
        if len == 0 && !buffer.is_empty() {
            if let Some(sum) = frame.get_checksum_from_data() {
                if frame.get_calculated_checksum() != Some(sum) {
                    return Err(io::Error::other("the checksum is wrong"));
                }
            }
        }
        Ok(len)
    }
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    use flate2::{write::GzEncoder, Compression};
    use ruzstd::encoding::{compress_to_vec, CompressionLevel};
    use vmm_sys_util::tempfile::TempFile;

    use super::*;

    pub fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    pub fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    /// A zboot image: its payload lies between code that nobody runs here.
    pub fn zboot(method: &str, payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x1000];
        image[..8].copy_from_slice(ZBOOT);
        image[8..12].copy_from_slice(&0x1000_u32.to_le_bytes());
        image[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image[24..24 + method.len()].copy_from_slice(method.as_bytes());
        image.extend(payload);
        // zstd's has the length behind it; then comes the stub.
        image.extend([0x5a; 0x204]);
        image
    }

    fn unpacked(content: &[u8]) -> Result<Vec<u8>, String> {
        let file = TempFile::new().unwrap();
        file.as_file().write_all(content).unwrap();
        let mut file = File::open(file.as_path()).unwrap();
        let packing = Packing::of(&mut file)?;
        let mut all = Vec::new();
        packing
            .read(&file)
            .and_then(|mut stream| stream.read_to_end(&mut all))
            .map_err(|e| format!("{}: {e}", packing.name()))?;
        Ok(all)
    }

    fn content() -> Vec<u8> {
        (0..300_001_u32).map(|n| (n / 5) as u8).collect()
    }

    #[test]
    fn each_way_to_pack_gives_the_same_bytes() {
        let content = content();
        for packed in [
            content.clone(),
            gzip(&content),
            zstd(&content),
            zboot("gzip", &gzip(&content)),
            zboot("zstd", &zstd(&content)),
        ] {
            assert!(unpacked(&packed).unwrap() == content);
        }
        assert_eq!(unpacked(b"x").unwrap(), b"x");
    }

    #[test]
    fn a_frame_may_ask_for_a_window_beyond_what_is_made() {
        let content = content();
        let mut packed = zstd(&content);
        assert_eq!(packed[4] & SINGLE_SEGMENT, 0, "the encoder gives a window");
        // 128 MiB, as of zstd -22 --ultra: exponent 17.
        packed[5] = 17 << 3;
        assert!(unpacked(&packed).unwrap() == content);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let content = content();
        let error = |packed: &[u8]| unpacked(packed).unwrap_err();
        let image = zboot("gzip", &gzip(&content));
        assert!(error(&image[..40]).contains("too short for an EFI zboot"));
        assert!(error(&image[..0x1010]).contains("whose payload would be"));
        for (method, said) in [
            ("xzkern", "\"xzkern\""),
            ("", "\"\""),
            ("\x1b[", "\\u{1b}["),
        ] {
            let said = format!(
                "compressed by {}",
                if said.starts_with('"') {
                    said.into()
                } else {
                    format!("\"{said}\"")
                }
            );
            assert!(error(&zboot(method, b"payload")).contains(&said), "{said}");
        }
        let mut far = image.clone();
        far[8..16].copy_from_slice(&[0xff; 8]);
        assert!(error(&far).contains("0xffffffff"));
        let packed = zstd(&content);
        assert!(error(&packed[..packed.len() / 2]).starts_with("zstd: "));
        assert!(error(&packed[..5]).starts_with("zstd: "));
        let mut flipped = packed.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(error(&flipped).contains("checksum"), "the encoder adds one");
        let mut bad = gzip(&content);
        let middle = bad.len() / 2;
        bad[middle] ^= 0x55;
        assert!(error(&bad).starts_with("gzip: "));
    }
}
