// SPDX-License-Identifier: Apache-2.0
//! A queue while its device serves it.
//!
//! A chain of descriptors is walked once, into memory of our own, and checked; nothing reads a
//! descriptor again, for the driver may change it at any time.

use std::collections::VecDeque;

use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemory, Permissions};

use super::{Broken, Memory};

/// What one side of a request consists of, in the order in which it is used up.
pub struct Buffer<'a> {
    memory: &'a Memory,
    parts: VecDeque<(GuestAddress, usize)>,
}

impl Buffer<'_> {
    /// The bytes that are left.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, len)| len).sum()
    }

    /// Cuts off what comes after the first `len` bytes; there are as many.
    pub fn split_off(&mut self, len: usize) -> Self {
        let mut front = VecDeque::new();
        let mut left = len;
        while let Some((address, size)) = self.parts.pop_front() {
            let here = size.min(left);
            left -= here;
            if here > 0 {
                front.push_back((address, here));
            }
            if here < size {
                // Inside the part, whose end was checked.
                let rest = address.unchecked_add(here as u64);
                self.parts.push_front((rest, size - here));
                break;
            }
        }
        assert_eq!(left, 0, "split beyond the end of a buffer");
        Buffer {
            memory: self.memory,
            parts: std::mem::replace(&mut self.parts, front),
        }
    }

    /// Takes the next bytes, all that `data` has room for.
    pub fn read(&mut self, data: &mut [u8]) -> Result<(), Broken> {
        let memory = self.memory;
        self.each(data.len(), |at, range| {
            memory.read_slice(&mut data[range], at)
        })
    }

    /// Writes `data` to the next bytes.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Broken> {
        let memory = self.memory;
        self.each(data.len(), |at, range| memory.write_slice(&data[range], at))
    }

    /// Calls `copy` for each part of the next `len` bytes, with where it belongs in the caller's.
    fn each(
        &mut self,
        len: usize,
        mut copy: impl FnMut(GuestAddress, std::ops::Range<usize>) -> vm_memory::GuestMemoryResult<()>,
    ) -> Result<(), Broken> {
        let mut done = 0;
        while done < len {
            let Some((address, size)) = self.parts.pop_front() else {
                return Err(Broken(format!("{len} bytes wanted, {done} are there")));
            };
            let here = size.min(len - done);
            copy(address, done..done + here).map_err(|e| Broken(e.to_string()))?;
            done += here;
            if here < size {
                let rest = address.unchecked_add(here as u64);
                self.parts.push_front((rest, size - here));
            }
        }
        Ok(())
    }
}

/// A request that was taken from a ring and has to be given back.
pub struct Request<'a> {
    /// What the driver has written.
    pub reader: Buffer<'a>,
    /// What the device is to write.
    pub writer: Buffer<'a>,
    head: u16,
}

/// A queue with the memory that it lies in.
pub struct Ring<'a> {
    queue: &'a mut Queue,
    memory: &'a Memory,
    used: bool,
}

impl<'a> Ring<'a> {
    /// A ring of which nothing has been used yet.
    pub fn new(queue: &'a mut Queue, memory: &'a Memory) -> Ring<'a> {
        Ring {
            queue,
            memory,
            used: false,
        }
    }

    /// The next request, if there is one.
    pub fn take(&mut self) -> Result<Option<Request<'a>>, Broken> {
        let memory = self.memory;
        let mut available = self
            .queue
            .iter(memory)
            .map_err(|e| Broken(format!("available ring: {e}")))?;
        let Some(mut chain) = available.next() else {
            return Ok(None);
        };
        let head = chain.head_index();
        let (reader, writer) = sides(memory, &mut chain)?;
        Ok(Some(Request {
            reader,
            writer,
            head,
        }))
    }

    /// Gives a request back, with `written` bytes at the start of its part for the device.
    pub fn give(&mut self, request: &Request<'_>, written: usize) -> Result<(), Broken> {
        // A chain has at most 2^32 bytes.
        let written = u32::try_from(written).unwrap_or(u32::MAX);
        self.used = true;
        self.queue
            .add_used(self.memory, request.head, written)
            .map_err(|e| Broken(format!("used ring: {e}")))
    }

    /// Whether anything was given back.
    pub fn used(&self) -> bool {
        self.used
    }
}

/// Sorts a chain's descriptors and checks each. virtio-queue just stops at a descriptor that is not
/// there and when a chain is longer than its table, and a device would take what came before for
/// the request; so its last one must be one that says so.
fn sides<'a>(
    memory: &'a Memory,
    chain: &mut dyn Iterator<Item = Descriptor>,
) -> Result<(Buffer<'a>, Buffer<'a>), Broken> {
    let mut sides = [VecDeque::new(), VecDeque::new()];
    let mut last: Option<Descriptor> = None;
    for descriptor in chain {
        let written = descriptor.is_write_only();
        // Virtio 1.2, 2.7.4.2: what the device reads comes before what it writes.
        if !written && !sides[1].is_empty() {
            return Err(Broken("a part to be read after one to be written".into()));
        }
        let (address, len) = (descriptor.addr(), descriptor.len() as usize);
        let access = [Permissions::Read, Permissions::Write][usize::from(written)];
        if !memory.check_range(address, len, access) {
            return Err(Broken(format!(
                "a buffer at {:#x} of {len} bytes is not in the memory that devices may use",
                address.0
            )));
        }
        sides[usize::from(written)].push_back((address, len));
        last = Some(descriptor);
    }
    match last {
        None => return Err(Broken("a chain without a descriptor".into())),
        Some(last) if last.has_next() => return Err(Broken("a chain without an end".into())),
        Some(_) => {}
    }
    let [reader, writer] = sides.map(|parts| Buffer { memory, parts });
    Ok((reader, writer))
}
