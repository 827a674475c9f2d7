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
    /// Requests were given back together, of which virtio-queue has counted the last one alone.
    together: bool,
}

/// Bytes of the used ring before its entries, and of an entry (virtio 1.2, section 2.7.8).
const USED_HEAD: u64 = 4;
const USED_ENTRY: u64 = 8;

impl<'a> Ring<'a> {
    /// A ring of which nothing has been used yet.
    pub fn new(queue: &'a mut Queue, memory: &'a Memory) -> Ring<'a> {
        Ring {
            queue,
            memory,
            used: false,
            together: false,
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

    /// Its entries.
    pub fn size(&self) -> usize {
        self.queue.size().into()
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

    /// Gives requests back that belong together, each with as many bytes written: the driver sees all
    /// of them at once or none, for it looks at the ring while this is in it.
    pub fn give_together(&mut self, requests: &[(Request<'_>, usize)]) -> Result<(), Broken> {
        let Some(((last, written), others)) = requests.split_last() else {
            return Ok(());
        };
        let (first, size) = (self.queue.next_used(), self.queue.size());
        let mut next = first;
        for (request, written) in others {
            let written = u32::try_from(*written).unwrap_or(u32::MAX);
            let entry = [u32::from(request.head).to_le_bytes(), written.to_le_bytes()];
            // The ring was checked to lie in the memory when the queue became ready.
            let at = self.queue.used_ring() + USED_HEAD + USED_ENTRY * u64::from(next % size);
            self.memory
                .write_slice(entry.as_flattened(), GuestAddress(at))
                .map_err(|e| Broken(format!("used ring: {e}")))?;
            next = next.wrapping_add(1);
        }
        self.queue.set_next_used(next);
        self.together |= next != first;
        // This one moves the index over all of them.
        self.give(last, *written)
    }

    /// Asks the driver to notify when there is more than what was taken, and puts the latest `count`
    /// requests back; false, and nothing is put back, if there is more by now. After this the device
    /// is [`super::Served::Waiting`].
    pub fn wait_for_more(&mut self, count: usize) -> Result<bool, Broken> {
        let more = self.queue.enable_notification(self.memory);
        if more.map_err(|e| Broken(format!("available ring: {e}")))? {
            return Ok(false);
        }
        // The driver is asked by the index that follows the last one taken: from here on that one is
        // behind it.
        self.untake(count);
        Ok(true)
    }

    /// Puts the latest `count` requests that were taken back, as if they had not been.
    pub fn untake(&mut self, count: usize) {
        for _ in 0..count {
            self.queue.go_to_previous_position();
        }
    }

    /// Whether anything was given back.
    pub fn used(&self) -> bool {
        self.used
    }

    /// Whether the driver is to be interrupted whatever virtio-queue says.
    pub fn together(&self) -> bool {
        self.together
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
