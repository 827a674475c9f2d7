// SPDX-License-Identifier: Apache-2.0
//! The guest's memory in this process.
//!
//! Anonymous memory at a multiple of 2 MiB, so that the host backs it by huge pages where it has
//! them and EL2 maps it in blocks. It is not inherited by a child and not in a core dump: both would
//! read what a protected guest keeps to itself.
//!
//! Unsafe, because memory is mapped, and because two views of one mapping are made: of all of it,
//! to load the guest, and of the part that devices may use.

use std::io;
use std::ops::Range;
use std::ptr;

use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestRegionMmap};

use super::layout::BLOCK;
use crate::devices::virtio::Memory;

/// # Invariants
///
/// `address` begins a mapping of `size` bytes, readable and writable, private to this process,
/// which stays until the process ends.
#[derive(Clone, Copy)]
pub struct Ram {
    base: u64,
    address: usize,
    size: usize,
}

impl Ram {
    /// Maps memory for the guest-physical range, which is a multiple of 2 MiB. It is never
    /// unmapped: threads that serve devices may be in it until the process ends.
    pub fn map(range: &Range<u64>) -> io::Result<Ram> {
        let size = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let block = BLOCK as usize;
        let reserve = size.checked_add(block).ok_or(io::ErrorKind::OutOfMemory)?;
        // MAP_NORESERVE: a guest may be given more than it will ever touch.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping wherever the kernel likes touches no other memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), reserve, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = (start as usize).next_multiple_of(block);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let place = address as *mut libc::c_void;
        // SAFETY: `address` is less than a block above `start`, so the range is in the reservation,
        // which nobody else knows of; the rest of that stays as it is, without access.
        let mapped = unsafe { libc::mmap(place, size, protection, flags | libc::MAP_FIXED, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        for advice in [libc::MADV_DONTFORK, libc::MADV_DONTDUMP] {
            // SAFETY: neither changes what is in the memory; the range is the mapping just made.
            if unsafe { libc::madvise(place, size, advice) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: as above. A kernel without huge pages refuses it, and small ones do as well.
        let _huge = unsafe { libc::madvise(place, size, libc::MADV_HUGEPAGE) };
        // INVARIANT: mapped above with this size and these rights, and nothing unmaps it.
        Ok(Ram {
            base: range.start,
            address,
            size,
        })
    }

    /// Where it is in this process.
    pub fn address(&self) -> u64 {
        self.address as u64
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size as u64
    }

    /// Whether an address of this process is in it. It may be called in a signal handler.
    pub fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.address) < self.size
    }

    /// A view of all of it, or of a part, which is inside.
    pub fn view(&self, part: &Range<u64>) -> Memory {
        let offset = usize::try_from(part.start - self.base).expect("inside");
        let size = usize::try_from(part.end - part.start).expect("inside");
        assert!(offset <= self.size && size <= self.size - offset);
        let start = (self.address + offset) as *mut u8;
        let builder = MmapRegionBuilder::new(size)
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: by the invariant of Ram and the assertion the range is mapped until the process
        // ends; vm-memory does not unmap what it did not map, and it makes no reference to it.
        let region = unsafe { builder.with_raw_mmap_pointer(start) }.build();
        let region = region.expect("the parts are multiples of the page size");
        let region = GuestRegionMmap::new(region, GuestAddress(part.start)).expect("no wrap");
        Memory::from_regions(vec![region]).expect("one region")
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::super::layout::RAM;
    use super::*;

    #[test]
    fn the_views_are_of_the_same_memory_and_end_where_they_end() {
        let ram = Ram::map(&(RAM..RAM + 4 * BLOCK)).unwrap();
        assert_eq!(ram.address() % BLOCK, 0);
        let all = ram.view(&(RAM..RAM + 4 * BLOCK));
        let part = ram.view(&(RAM + BLOCK..RAM + 2 * BLOCK));
        all.write_obj(0x1234_u32, GuestAddress(RAM + BLOCK))
            .unwrap();
        let read = |at| part.read_obj::<u32>(GuestAddress(at));
        assert_eq!(read(RAM + BLOCK).unwrap(), 0x1234);
        assert_eq!(read(RAM + 2 * BLOCK - 4).unwrap(), 0);
        for outside in [
            RAM,
            RAM + BLOCK - 4,
            RAM + BLOCK - 1,
            RAM + 2 * BLOCK - 3,
            RAM + 2 * BLOCK,
        ] {
            assert!(read(outside).is_err(), "{outside:#x}");
        }
    }

    #[test]
    fn it_is_known_which_addresses_are_its_own() {
        let ram = Ram::map(&(RAM..RAM + BLOCK)).unwrap();
        let start = ram.address() as usize;
        assert!(ram.contains(start) && ram.contains(start + BLOCK as usize - 1));
        assert!(!ram.contains(start - 1) && !ram.contains(start + BLOCK as usize));
    }

    #[test]
    fn it_is_in_no_core_dump_and_no_child() {
        let ram = Ram::map(&(RAM..RAM + 2 * BLOCK)).unwrap();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let start = format!("{:x}-{:x} ", ram.address(), ram.address() + ram.size());
        let (_, mine) = maps.split_once(&start).expect("the mapping");
        let flags = mine.lines().find_map(|line| line.strip_prefix("VmFlags:"));
        let flags: Vec<_> = flags.expect("flags").split_whitespace().collect();
        assert!(flags.contains(&"dd") && flags.contains(&"dc"), "{flags:?}");
    }

    #[test]
    fn too_much_is_an_error() {
        assert!(Ram::map(&(RAM..RAM + (1 << 60))).is_err());
    }
}
