// SPDX-License-Identifier: Apache-2.0
//! Disks, network and sockets of a guest: opened before anything else, since an option may ask for what
//! cannot be had, then put on the board.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::board::Board;
use super::hypervisor::Vm;
use super::{layout, Config, DiskSpec, NetSpec};
use crate::devices::virtio::blk::{disk::Disk, Blk};
use crate::devices::virtio::net::{self, tap::Tap, Gate, Net, Wants};
use crate::devices::virtio::rng::Rng;
use crate::devices::virtio::slot::Slot;
use crate::devices::virtio::vsock::{vhost, Vsock};
use crate::devices::virtio::Memory;
use crate::error::Error;
use crate::{sys, terminal};

/// What was opened.
pub struct Peripherals {
    random: File,
    disks: Vec<Disk>,
    net: Option<(Tap, [u8; 6])>,
    vsock: Option<(vhost::Vhost, u32)>,
}

fn internal(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Internal { doing, source }
}

impl Peripherals {
    /// Opens what the options name; a failure names the option.
    pub fn open(config: &Config) -> Result<Peripherals, Error> {
        let mut random = File::open("/dev/urandom").map_err(internal("open of /dev/urandom"))?;
        Ok(Peripherals {
            disks: open_disks(&config.disks)?,
            net: match &config.net {
                None => None,
                Some(spec) => Some(open_net(spec, &mut random)?),
            },
            vsock: match config.vsock {
                None => None,
                Some(cid) => Some((open_vsock(cid)?, cid)),
            },
            random,
        })
    }

    /// Puts them on the board, with the threads that they need.
    pub fn place<V: Vm>(self, board: &mut Board<V>, memory: &Memory) -> Result<(), Error> {
        board.add("the entropy device".into(), Box::new(Rng(self.random)));
        for (number, disk) in self.disks.into_iter().enumerate() {
            let name = format!("disk{number}");
            let slot = board.add(format!("disk {number}"), Box::new(Blk::new(disk, &name)));
            slot.serve_in_thread(&name).map_err(internal("a thread"))?;
        }
        if let Some((tap, mac)) = self.net {
            let waiter = tap.waiter().map_err(internal("a descriptor of the tap"))?;
            let device = Net::new(tap, mac);
            let gate = device.gate();
            let slot = board.add("the network interface".into(), Box::new(device));
            spawn("net", move || wait_for_frames(&waiter, &gate, &slot))?;
        }
        if let Some((server, cid)) = self.vsock {
            let calls = server.calls().map_err(internal("an eventfd"))?;
            let device = Vsock::new(server, cid, memory.clone());
            let slot = board.add("the socket device".into(), Box::new(device));
            spawn("vsock", move || vhost::watch(&calls, &slot))?;
        }
        Ok(())
    }
}

/// Starts a thread that runs until the process ends, or until it has told why it cannot.
fn spawn(
    name: &'static str,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        if let Err(e) = work() {
            terminal::say(format_args!("{name}: {e}; the guest goes on without it"));
        }
    });
    thread.map(drop).map_err(internal("a thread"))
}

/// Tells the device of each frame that the host has for it.
fn wait_for_frames(
    waiter: &impl std::os::fd::AsFd,
    gate: &Gate,
    slot: &Arc<Slot>,
) -> io::Result<()> {
    while gate.wait() {
        sys::wait_readable(&[waiter.as_fd()])?;
        gate.close();
        slot.serve(net::RECEIVE);
        if gate.wants() == Wants::Gone {
            break;
        }
    }
    // The driver learns it from the link's state.
    slot.config_changed();
    Err(io::Error::other("the tap interface was deleted"))
}

fn open_disks(specs: &[DiskSpec]) -> Result<Vec<Disk>, Error> {
    let most = layout::MAX_DISKS;
    if specs.len() > most {
        let given = specs.len();
        return Err(Error::option(
            "--disk",
            &given,
            format!("at most {most} disks"),
        ));
    }
    let open = |spec: &DiskSpec| {
        Disk::open(&spec.path, spec.read_only)
            .map_err(|why| Error::option("--disk", &spec.path.display(), why))
    };
    specs.iter().map(open).collect()
}

fn open_net(spec: &NetSpec, random: &mut impl Read) -> Result<(Tap, [u8; 6]), Error> {
    let tap = Tap::open(&spec.tap)
        .map_err(|why| Error::option("--net", &format_args!("tap={}", spec.tap), why))?;
    let mac = match spec.mac {
        Some(mac) => mac,
        None => random_mac(random).map_err(internal("random bytes"))?,
    };
    Ok((tap, mac))
}

fn open_vsock(cid: u32) -> Result<vhost::Vhost, Error> {
    vhost::Vhost::open(Path::new(vhost::DEVICE), cid)
        .map_err(|why| Error::option("--vsock", &cid, why))
}

/// An address of nobody's: of one station, given locally (IEEE 802, section 8.4).
fn random_mac(random: &mut impl Read) -> io::Result<[u8; 6]> {
    let mut mac = [0; 6];
    random.read_exact(&mut mac)?;
    mac[0] = mac[0] & !1 | 2;
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_was_not_given_is_local_and_of_one_station() {
        for byte in 0..=0xff {
            let mac = random_mac(&mut io::repeat(byte)).unwrap();
            assert_eq!(mac[0] & 3, 2);
            assert_eq!(mac[1..], [byte; 5]);
        }
        assert!(random_mac(&mut io::empty()).is_err());
    }
}
