// SPDX-License-Identifier: Apache-2.0
//! Kernel and initramfs: from their files into guest memory.
//!
//! By `image_size` of the header, not by the length of the file: the kernel's own data lies behind
//! what is in the file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use vm_memory::{Bytes, GuestAddress};

use super::image::{Header, HEADER};
use super::layout::Layout;
use super::packing::Packing;
use crate::devices::virtio::Memory;

/// Copied at a time from a file that is unpacked.
const CHUNK: usize = 256 << 10;

/// A kernel whose header was read.
pub struct Kernel {
    file: File,
    packing: Packing,
    /// What its header says.
    pub header: Header,
}

impl Kernel {
    /// Opens it; the error says what is wrong with the file.
    pub fn open(path: &Path) -> Result<Kernel, String> {
        let mut file = File::open(path).map_err(|e| e.to_string())?;
        let packing = Packing::of(&mut file)?;
        let mut header = [0; HEADER];
        packing
            .read(&file)
            .and_then(|mut image| image.read_exact(&mut header))
            .map_err(|e| short(&packing, &e))?;
        let header = Header::parse(&header)?;
        if let Some(most) = packing.most().filter(|most| header.size > *most) {
            return Err(format!(
                "{} bytes unpacked, by its header; of {} at most {most} are: unpack it before",
                header.size,
                packing.name(),
            ));
        }
        Ok(Kernel {
            file,
            packing,
            header,
        })
    }

    /// Copies it to its place, which is as large as its header says.
    pub fn load(mut self, memory: &Memory, layout: &Layout) -> Result<(), String> {
        let (start, size) = (layout.kernel.start, layout.kernel.end - layout.kernel.start);
        if self.packing.plain() {
            self.file
                .seek(SeekFrom::Start(0))
                .map_err(|e| e.to_string())?;
            return copy(self.file, memory, start, size);
        }
        let image = self.packing.read(&self.file);
        let bad = |e| format!("{}: {e}", self.packing.name());
        unpack(image.map_err(bad)?, memory, start, size, bad)
    }
}

fn short(packing: &Packing, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "too short for a kernel".into(),
        _ => format!("{}: {error}", packing.name()),
    }
}

/// Copies a whole file, of at most `most` bytes.
fn copy(mut file: File, memory: &Memory, to: u64, most: u64) -> Result<(), String> {
    let len = file.metadata().map_err(|e| e.to_string())?.len();
    if len > most {
        return Err(format!("{len} bytes, but its header says {most}"));
    }
    let len = usize::try_from(len).map_err(|e| e.to_string())?;
    memory
        .read_exact_volatile_from(GuestAddress(to), &mut file, len)
        .map_err(|e| e.to_string())
}

fn unpack(
    mut stream: impl Read,
    memory: &Memory,
    to: u64,
    most: u64,
    bad: impl Fn(io::Error) -> String,
) -> Result<(), String> {
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    loop {
        let len = match stream.read(&mut chunk).map_err(&bad)? {
            0 => return Ok(()),
            len => len as u64,
        };
        if done + len > most {
            return Err(format!(
                "more unpacked than the {most} bytes that its header says"
            ));
        }
        memory
            .write_slice(&chunk[..len as usize], GuestAddress(to + done))
            .map_err(|e| e.to_string())?;
        done += len;
    }
}

/// Opens an initramfs; answers its length too.
pub fn open_initrd(path: &Path) -> Result<(File, u64), String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let len = file.metadata().map_err(|e| e.to_string())?.len();
    if len == 0 {
        return Err("an empty file".into());
    }
    Ok((file, len))
}

/// Copies an initramfs to its place.
pub fn load_initrd(file: File, memory: &Memory, layout: &Layout) -> Result<(), String> {
    match &layout.initrd {
        Some(at) => copy(file, memory, at.start, at.end - at.start),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use vmm_sys_util::tempfile::TempFile;

    use super::super::image;
    use super::super::layout::RAM;
    use super::super::packing::tests::{gzip, zboot, zstd};
    use super::super::packing::WINDOW;
    use super::*;

    const SIZE: u64 = 1 << 20;

    fn file(content: &[u8]) -> TempFile {
        let file = TempFile::new().unwrap();
        file.as_file().write_all(content).unwrap();
        file
    }

    fn kernel(len: usize) -> Vec<u8> {
        let mut content: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
        content[..HEADER].copy_from_slice(&image::header(0x1000, SIZE));
        content
    }

    fn memory() -> Memory {
        Memory::from_ranges(&[(GuestAddress(RAM), 8 << 20)]).unwrap()
    }

    fn load(content: &[u8]) -> Result<Memory, String> {
        let kernel = Kernel::open(file(content).as_path())?;
        let layout = Layout::new(8 << 20, false, &kernel.header, None)?;
        let memory = memory();
        kernel.load(&memory, &layout)?;
        Ok(memory)
    }

    #[test]
    fn a_kernel_is_where_its_header_says_packed_or_not() {
        let content = kernel(600_001);
        for file in [
            content.clone(),
            gzip(&content),
            zstd(&content),
            zboot("gzip", &gzip(&content)),
            zboot("zstd", &zstd(&content)),
        ] {
            let memory = load(&file).unwrap();
            let mut there = vec![0; content.len()];
            memory
                .read_slice(&mut there, GuestAddress(RAM + 0x1000))
                .unwrap();
            assert!(there == content);
        }
    }

    #[test]
    fn broken_kernels_are_refused() {
        let content = kernel(600_001);
        let packed = gzip(&content);
        let error = |content: &[u8]| load(content).err().unwrap();
        assert!(error(b"").contains("too short"));
        assert!(error(&content[..63]).contains("too short"));
        assert!(error(&gzip(b"hello")).contains("too short"));
        assert!(error(&packed[..packed.len() / 2]).contains("gzip"));
        let long = kernel(SIZE as usize + 1);
        assert!(error(&long).contains("header says 1048576"));
        assert!(error(&gzip(&long)).contains("1048576 bytes that its header says"));
        assert!(error(&zstd(&long)).contains("1048576 bytes that its header says"));
        let nested = zboot("gzip", &gzip(&zboot("gzip", &packed)));
        assert!(error(&nested).contains("inside of"));
        let mut large = kernel(600_001);
        large[16..24].copy_from_slice(&(WINDOW + 1).to_le_bytes());
        assert!(error(&zstd(&large)).contains(&format!("at most {WINDOW}")));
        assert!(Kernel::open("/nonexistent".as_ref()).is_err());
    }

    #[test]
    fn an_initramfs_is_where_the_layout_says() {
        let content = file(b"070701");
        let (initrd, len) = open_initrd(content.as_path()).unwrap();
        let header = Header {
            text_offset: 0,
            size: SIZE,
        };
        let layout = Layout::new(8 << 20, false, &header, Some(len)).unwrap();
        let memory = memory();
        load_initrd(initrd, &memory, &layout).unwrap();
        let mut there = [0; 6];
        let at = layout.initrd.unwrap().start;
        memory.read_slice(&mut there, GuestAddress(at)).unwrap();
        assert_eq!(&there, b"070701");
        assert!(open_initrd(file(b"").as_path()).is_err());
    }
}
