// SPDX-License-Identifier: Apache-2.0
//! What is behind a block device: a raw file, or a block device of the host.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use vmm_sys_util::write_zeroes::{PunchHole, WriteZeroesAt};

use super::SECTOR;
use crate::sys;

/// An open disk, locked against others that write to it.
pub struct Disk {
    file: File,
    sectors: u64,
    read_only: bool,
}

impl Disk {
    /// Opens it; the error says what is wrong with the file.
    pub fn open(path: &Path, read_only: bool) -> Result<Disk, String> {
        let said = |e: io::Error| e.to_string();
        let mut file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .open(path)
            .map_err(said)?;
        let kind = file.metadata().map_err(said)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err("neither a file nor a block device".into());
        }
        if !sys::lock(&file, !read_only).map_err(said)? {
            let how = if read_only { "writes to it" } else { "uses it" };
            return Err(format!("another process {how}"));
        }
        // The length that metadata tells of a block device is 0.
        let len = file.seek(SeekFrom::End(0)).map_err(said)?;
        if len == 0 || len % SECTOR != 0 {
            return Err(format!("{len} bytes; a disk is a multiple of {SECTOR}"));
        }
        Ok(Disk {
            file,
            sectors: len / SECTOR,
            read_only,
        })
    }

    /// Its size in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether it may not be written to.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Where `sector` begins in the file, if `len` bytes from there are whole sectors of the disk.
    pub fn range(&self, sector: u64, len: u64) -> Option<u64> {
        let end = sector.checked_add(len / SECTOR)?;
        // A sector of the disk: its address is less than the length of a file.
        (len % SECTOR == 0 && end <= self.sectors).then(|| sector * SECTOR)
    }

    /// Reads at a place that [`Disk::range`] gave.
    pub fn read(&self, to: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(to, at)
    }

    /// Writes at a place that [`Disk::range`] gave.
    pub fn write(&self, from: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(from, at)
    }

    /// Makes all that was written safe.
    pub fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.file.sync_data()
    }

    /// Makes zeros of a range; with `unmap` they need not take room, where the file system can.
    pub fn clear(&mut self, at: u64, len: u64, unmap: bool) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        if unmap {
            match self.file.punch_hole(at, len) {
                Err(e) if e.kind() == ErrorKind::Unsupported => {}
                done => return done,
            }
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.file.write_all_zeroes_at(at, len)
    }
}
