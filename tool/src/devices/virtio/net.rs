// SPDX-License-Identifier: Apache-2.0
//! The network device (virtio 1.2, section 5.1): one pair of queues, no control queue.
//!
//! Frames go to and come from a [`Link`], with the header of virtio before each: the host's kernel
//! takes and gives just that ([`tap`]), so checksums and the cutting into segments are left to
//! whoever does them best. A frame is copied once out of guest memory, its header is checked, and only
//! then it is sent; what the host's stack makes of it is the host's to check.
//!
//! Whoever waits for frames of the link does so at the [`Gate`], which is open while the device wants
//! to know of them. Lock order: the device's transport, then the gate.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net as net;

use super::{copy_config, Broken, Device, Place, Ring, Served};

pub mod tap;

/// The queue that the driver fills with buffers for frames.
pub const RECEIVE: usize = 0;
/// The queue of the guest's frames.
pub const TRANSMIT: usize = 1;
/// Entries of each.
const QUEUE: u16 = 256;
/// struct virtio_net_hdr_v1, which is before each frame.
pub const HEADER: usize = 12;
/// The largest frame that any link has, 64 KiB that are to be cut into segments and what is around
/// them, with its header.
pub const MOST: usize = HEADER + 18 + (64 << 10);

/// What is done to frames on the way to the guest, as the driver accepted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums may be missing.
    pub checksum: bool,
    /// More than one segment of TCP over IPv4 may be in a frame.
    pub tcp4: bool,
    /// The same for IPv6.
    pub tcp6: bool,
    /// Those may have congestion bits.
    pub ecn: bool,
}

/// The other end of the cable.
pub trait Link: Send {
    /// Whether it knows [`Offloads`] at all.
    fn offloads(&self) -> bool;

    /// Sets what may be done to the frames that it gives.
    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()>;

    /// Takes its next frame, with the header; `None` if there is none now.
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>>;

    /// Gives it a frame, with the header. A link that is down, or full, has thrown it away.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;
}

/// Whether the device wants to know of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// It has no buffer for one, or no driver.
    Nothing,
    /// It has taken all that there were.
    More,
    /// The link is gone for good.
    Gone,
}

/// Where the one who waits for frames waits until the device wants them.
pub struct Gate {
    wants: Mutex<Wants>,
    changed: Condvar,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            wants: Mutex::new(Wants::Nothing),
            changed: Condvar::new(),
        }
    }
}

impl Gate {
    /// What the device wants.
    pub fn wants(&self) -> Wants {
        *self.lock()
    }

    /// Waits until it wants frames, or no more for ever: then it answers false.
    pub fn wait(&self) -> bool {
        let idle = |wants: &mut Wants| *wants == Wants::Nothing;
        let wants = self.changed.wait_while(self.lock(), idle);
        *wants.unwrap_or_else(PoisonError::into_inner) == Wants::More
    }

    /// The one who waited has seen that there is a frame, and tells the device now: if that takes it, the
    /// gate is open again.
    pub fn close(&self) {
        self.set(Wants::Nothing);
    }

    fn set(&self, to: Wants) {
        let mut wants = self.lock();
        if *wants != Wants::Gone {
            *wants = to;
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device.
pub struct Net<L> {
    link: L,
    mac: [u8; 6],
    accepted: u64,
    gate: Arc<Gate>,
    /// A frame of the link's that waits for buffers, or one of the guest's.
    incoming: Vec<u8>,
    waiting: usize,
    outgoing: Vec<u8>,
}

impl<L: Link> Net<L> {
    /// A device with this address.
    pub fn new(link: L, mac: [u8; 6]) -> Net<L> {
        Net {
            link,
            mac,
            accepted: 0,
            gate: Arc::default(),
            incoming: vec![0; MOST],
            waiting: 0,
            outgoing: vec![0; MOST],
        }
    }

    /// Where to wait for the link's frames.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    fn has(&self, feature: u32) -> bool {
        self.accepted & 1 << feature != 0
    }

    fn receive(&mut self, ring: &mut Ring<'_>) -> Result<Served, Broken> {
        loop {
            if self.gate.wants() == Wants::Gone {
                return Ok(Served::Waiting);
            }
            if self.waiting == 0 {
                match self.link.receive(&mut self.incoming) {
                    // What is no frame is not handed on.
                    Ok(Some(len)) if len <= HEADER => continue,
                    Ok(Some(len)) => self.waiting = len,
                    Ok(None) => {
                        self.gate.set(Wants::More);
                        return Ok(Served::Waiting);
                    }
                    Err(_) => {
                        self.gate.set(Wants::Gone);
                        return Ok(Served::Waiting);
                    }
                }
            }
            if !self.deliver(ring)? {
                self.gate.close();
                return Ok(Served::Waiting);
            }
            self.waiting = 0;
        }
    }

    /// Puts the frame that waits into the driver's buffers; false if there are too few, and the driver is
    /// to notify of more. A frame that cannot fit is thrown away, as a network card does.
    fn deliver(&mut self, ring: &mut Ring<'_>) -> Result<bool, Broken> {
        let merge = self.has(net::VIRTIO_NET_F_MRG_RXBUF);
        let (mut buffers, mut room) = (Vec::new(), 0);
        while room < self.waiting {
            let Some(buffer) = ring.take()? else {
                if buffers.len() >= ring.size() {
                    ring.untake(buffers.len());
                    return Ok(true);
                }
                if ring.wait_for_more(buffers.len())? {
                    return Ok(false);
                }
                continue;
            };
            let len = buffer.writer.len();
            if len < HEADER {
                return Err(Broken(format!(
                    "a buffer of {len} bytes for a frame, whose header alone has {HEADER}"
                )));
            }
            room += len;
            buffers.push((buffer, len));
            if !merge && room < self.waiting {
                ring.untake(1);
                return Ok(true);
            }
        }
        let count = u16::try_from(buffers.len()).expect("a queue has fewer entries");
        let frame = &mut self.incoming[..self.waiting];
        frame[10..HEADER].copy_from_slice(&count.to_le_bytes());
        if self.accepted & 1 << net::VIRTIO_NET_F_GUEST_CSUM == 0 {
            frame[0] = 0;
        }
        let mut left = &*frame;
        for (buffer, len) in &mut buffers {
            let (here, rest) = left.split_at(left.len().min(*len));
            buffer.writer.write(here)?;
            (*len, left) = (here.len(), rest);
        }
        ring.give_together(&buffers)?;
        Ok(true)
    }

    fn transmit(&mut self, ring: &mut Ring<'_>) -> Result<Served, Broken> {
        while let Some(mut request) = ring.take()? {
            let len = request.reader.len();
            if len < HEADER {
                return Err(Broken(format!(
                    "a frame of {len} bytes, whose header alone has {HEADER}"
                )));
            }
            if len > HEADER && len <= MOST {
                request.reader.read(&mut self.outgoing[..len])?;
                let sound = check(&mut self.outgoing, self.accepted);
                if sound && self.gate.wants() != Wants::Gone {
                    let sent = self.link.send(&self.outgoing[..len]);
                    if sent.is_err() {
                        self.gate.set(Wants::Gone);
                    }
                }
            }
            ring.give(&request, 0)?;
        }
        Ok(Served::All)
    }
}

/// Makes a header say no more than what the driver accepted; false if the frame needs more.
fn check(header: &mut [u8], accepted: u64) -> bool {
    let has = |feature: u32| accepted & 1 << feature != 0;
    let ecn = net::VIRTIO_NET_HDR_GSO_ECN as u8;
    header[0] &= net::VIRTIO_NET_HDR_F_NEEDS_CSUM as u8;
    header[10..HEADER].fill(0);
    let needed = match u32::from(header[1] & !ecn) {
        net::VIRTIO_NET_HDR_GSO_NONE if header[1] == 0 => true,
        net::VIRTIO_NET_HDR_GSO_TCPV4 => has(net::VIRTIO_NET_F_HOST_TSO4),
        net::VIRTIO_NET_HDR_GSO_TCPV6 => has(net::VIRTIO_NET_F_HOST_TSO6),
        _ => false,
    };
    needed
        && (header[0] == 0 || has(net::VIRTIO_NET_F_CSUM))
        && (header[1] & ecn == 0 || has(net::VIRTIO_NET_F_HOST_ECN))
}

impl<L: Link> Device for Net<L> {
    fn id(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn features(&self) -> u64 {
        let own = 1 << net::VIRTIO_NET_F_MAC
            | 1 << net::VIRTIO_NET_F_STATUS
            | 1 << net::VIRTIO_NET_F_MRG_RXBUF;
        if !self.link.offloads() {
            return own;
        }
        own | 1 << net::VIRTIO_NET_F_CSUM
            | 1 << net::VIRTIO_NET_F_GUEST_CSUM
            | 1 << net::VIRTIO_NET_F_GUEST_TSO4
            | 1 << net::VIRTIO_NET_F_GUEST_TSO6
            | 1 << net::VIRTIO_NET_F_GUEST_ECN
            | 1 << net::VIRTIO_NET_F_HOST_TSO4
            | 1 << net::VIRTIO_NET_F_HOST_TSO6
            | 1 << net::VIRTIO_NET_F_HOST_ECN
    }

    fn queues(&self) -> &'static [u16] {
        &[QUEUE, QUEUE]
    }

    fn config(&self, offset: usize, data: &mut [u8]) {
        // mac and status of struct virtio_net_config, section 5.1.4.
        let mut config = [0; 8];
        config[..6].copy_from_slice(&self.mac);
        if self.gate.wants() != Wants::Gone {
            config[6] = net::VIRTIO_NET_S_LINK_UP as u8;
        }
        copy_config(&config, offset, data);
    }

    fn start(&mut self, features: u64) {
        self.accepted = features;
    }

    fn attach(&mut self, _queues: &[Option<Place>]) -> Result<(), Broken> {
        let offloads = Offloads {
            checksum: self.has(net::VIRTIO_NET_F_GUEST_CSUM),
            tcp4: self.has(net::VIRTIO_NET_F_GUEST_TSO4),
            tcp6: self.has(net::VIRTIO_NET_F_GUEST_TSO6),
            ecn: self.has(net::VIRTIO_NET_F_GUEST_ECN),
        };
        if self.link.offloads() && self.gate.wants() != Wants::Gone {
            self.link
                .set_offloads(offloads)
                .map_err(|e| Broken(format!("the link takes no {offloads:?}: {e}")))?;
        }
        // Before the driver has given buffers there is nothing to notify of.
        self.gate.set(Wants::More);
        Ok(())
    }

    fn stop(&mut self) {
        self.accepted = 0;
        self.waiting = 0;
        self.gate.close();
    }

    fn serve(&mut self, index: usize, ring: &mut Ring<'_>) -> Result<Served, Broken> {
        match index {
            RECEIVE => self.receive(ring),
            TRANSMIT => self.transmit(ring),
            _ => Err(Broken(format!("no queue {index}"))),
        }
    }
}

#[cfg(test)]
mod tests;
