// SPDX-License-Identifier: Apache-2.0
//! The block device (virtio 1.2, section 5.2) on a raw file or a host's block device.
//!
//! The page cache of the host is between: no O_DIRECT, so no device of the host reads or writes
//! guest memory. With VIRTIO_BLK_F_FLUSH what was written is safe after the next flush; without it,
//! when the request is done.

use std::io::{self, ErrorKind};

use virtio_bindings::virtio_blk as blk;
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

use super::ring::{Buffer, Request};
use super::{copy_config, Broken, Device, Ring, Served};

pub mod disk;

use disk::Disk;

/// Bytes of a sector, in which the device counts.
pub const SECTOR: u64 = 512;
/// Copied at a time.
const CHUNK: usize = 128 << 10;
/// Entries of the queue; a request may have as many parts of data, less its head and its status.
const QUEUE: u16 = 256;
/// Ranges of one discard or write-zeroes request, and sectors of one range.
const RANGES: u32 = 32;
const RANGE_SECTORS: u32 = 1 << 22;
/// Bytes of a range.
const RANGE: usize = 16;

/// Why a request was not done.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// The disk has no such place, or cannot.
    Io,
    /// The device has no such request.
    Unsupported,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        match error.kind() {
            ErrorKind::Unsupported => Refusal::Unsupported,
            _ => Refusal::Io,
        }
    }
}

/// What ends a request early: the request is refused, or the driver's rings are wrong.
enum Stop {
    Refused(Refusal),
    Broken(Broken),
}

impl<T: Into<Refusal>> From<T> for Stop {
    fn from(refusal: T) -> Stop {
        Stop::Refused(refusal.into())
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Stop {
        Stop::Broken(broken)
    }
}

/// The device.
pub struct Blk {
    disk: Disk,
    id: [u8; blk::VIRTIO_BLK_ID_BYTES as usize],
    /// The driver does not flush, so each write is made safe.
    write_through: bool,
    chunk: Vec<u8>,
}

impl Blk {
    /// A device for `disk`, which the guest sees with the name `id`, cut to 20 bytes.
    pub fn new(disk: Disk, id: &str) -> Blk {
        let mut name = [0; blk::VIRTIO_BLK_ID_BYTES as usize];
        for (to, from) in name.iter_mut().zip(id.bytes()) {
            *to = from;
        }
        Blk {
            disk,
            id: name,
            write_through: false,
            chunk: vec![0; CHUNK],
        }
    }

    /// Does a request; answers how many bytes of the driver's were written.
    fn request(&mut self, request: &mut Request<'_>) -> Result<usize, Broken> {
        let mut head = [0; 16];
        request.reader.read(&mut head)?;
        let room = request.writer.len();
        let Some(data) = room.checked_sub(1) else {
            return Err(Broken("a request without a byte for its status".into()));
        };
        let mut status = request.writer.split_off(data);
        let (kind, sector) = (&head[..4], &head[8..]);
        let kind = u32::from_le_bytes(kind.try_into().expect("4 bytes"));
        let sector = u64::from_le_bytes(sector.try_into().expect("8 bytes"));
        let result = match self.execute(kind, sector, request) {
            Ok(()) => blk::VIRTIO_BLK_S_OK,
            Err(Stop::Refused(Refusal::Io)) => blk::VIRTIO_BLK_S_IOERR,
            Err(Stop::Refused(Refusal::Unsupported)) => blk::VIRTIO_BLK_S_UNSUPP,
            Err(Stop::Broken(broken)) => return Err(broken),
        };
        status.write(&[result as u8])?;
        // Section 2.7.8.2: a length never covers what was not written. The status lies at the end,
        // so it counts only where all before it was.
        let left = request.writer.len();
        Ok(if left == 0 { room } else { data - left })
    }

    fn execute(&mut self, kind: u32, sector: u64, request: &mut Request<'_>) -> Result<(), Stop> {
        match kind {
            blk::VIRTIO_BLK_T_IN => self.read(sector, &mut request.writer),
            blk::VIRTIO_BLK_T_OUT => self.write(sector, &mut request.reader),
            blk::VIRTIO_BLK_T_FLUSH => Ok(self.disk.flush()?),
            blk::VIRTIO_BLK_T_GET_ID => {
                let len = request.writer.len().min(self.id.len());
                Ok(request.writer.write(&self.id[..len])?)
            }
            blk::VIRTIO_BLK_T_DISCARD => self.clear(&mut request.reader, 0),
            blk::VIRTIO_BLK_T_WRITE_ZEROES => {
                self.clear(&mut request.reader, blk::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
            }
            _ => Err(Refusal::Unsupported.into()),
        }
    }

    fn read(&mut self, sector: u64, to: &mut Buffer<'_>) -> Result<(), Stop> {
        let mut at = self
            .disk
            .range(sector, to.len() as u64)
            .ok_or(Refusal::Io)?;
        while to.len() > 0 {
            let chunk = &mut self.chunk[..to.len().min(CHUNK)];
            self.disk.read(chunk, at)?;
            to.write(chunk)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    fn write(&mut self, sector: u64, from: &mut Buffer<'_>) -> Result<(), Stop> {
        let range = self.disk.range(sector, from.len() as u64);
        let mut at = range
            .filter(|_| !self.disk.read_only())
            .ok_or(Refusal::Io)?;
        while from.len() > 0 {
            let chunk = &mut self.chunk[..from.len().min(CHUNK)];
            from.read(chunk)?;
            self.disk.write(chunk, at)?;
            at += chunk.len() as u64;
        }
        if self.write_through {
            self.disk.flush()?;
        }
        Ok(())
    }

    /// Discards ranges, or makes zeros of them: what was discarded reads as zeros here, so both are
    /// the same but for the flags that they may have. All ranges are checked before one is touched.
    fn clear(&mut self, from: &mut Buffer<'_>, flags: u32) -> Result<(), Stop> {
        let len = from.len();
        if self.disk.read_only() || len == 0 || len % RANGE != 0 || len > RANGE * RANGES as usize {
            return Err(Refusal::Io.into());
        }
        let mut ranges = Vec::with_capacity(len / RANGE);
        while from.len() > 0 {
            let mut range = [0; RANGE];
            from.read(&mut range)?;
            let word =
                |at: usize| u32::from_le_bytes(range[at..at + 4].try_into().expect("4 bytes"));
            let sector = u64::from(word(0)) | u64::from(word(4)) << 32;
            let sectors = word(8);
            if word(12) & !flags != 0 {
                return Err(Refusal::Unsupported.into());
            }
            if sectors > RANGE_SECTORS {
                return Err(Refusal::Io.into());
            }
            let len = u64::from(sectors) * SECTOR;
            let unmap = flags == 0 || word(12) != 0;
            ranges.push((self.disk.range(sector, len).ok_or(Refusal::Io)?, len, unmap));
        }
        for (at, len, unmap) in ranges {
            self.disk.clear(at, len, unmap)?;
        }
        if self.write_through {
            self.disk.flush()?;
        }
        Ok(())
    }
}

impl Device for Blk {
    fn id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        let all = 1 << blk::VIRTIO_BLK_F_SEG_MAX
            | 1 << blk::VIRTIO_BLK_F_BLK_SIZE
            | 1 << blk::VIRTIO_BLK_F_FLUSH;
        if self.disk.read_only() {
            all | 1 << blk::VIRTIO_BLK_F_RO
        } else {
            all | 1 << blk::VIRTIO_BLK_F_DISCARD | 1 << blk::VIRTIO_BLK_F_WRITE_ZEROES
        }
    }

    fn queues(&self) -> &'static [u16] {
        &[QUEUE]
    }

    fn config(&self, offset: usize, data: &mut [u8]) {
        // struct virtio_blk_config, section 5.2.4.
        let mut config = [0; 60];
        config[0..8].copy_from_slice(&(self.disk.sectors()).to_le_bytes());
        config[12..16].copy_from_slice(&(u32::from(QUEUE) - 2).to_le_bytes());
        config[20..24].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        for (at, value) in [
            (36, RANGE_SECTORS), // max_discard_sectors
            (40, RANGES),        // max_discard_seg
            (44, 8),             // discard_sector_alignment: a page of a file
            (48, RANGE_SECTORS), // max_write_zeroes_sectors
            (52, RANGES),        // max_write_zeroes_seg
            (56, 1),             // write_zeroes_may_unmap
        ] {
            config[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        copy_config(&config, offset, data);
    }

    fn start(&mut self, features: u64) {
        self.write_through = features & 1 << blk::VIRTIO_BLK_F_FLUSH == 0;
    }

    fn serve(&mut self, _index: usize, ring: &mut Ring<'_>) -> Result<Served, Broken> {
        while let Some(mut request) = ring.take()? {
            let written = self.request(&mut request)?;
            ring.give(&request, written)?;
        }
        Ok(Served::All)
    }
}

#[cfg(test)]
mod tests;
