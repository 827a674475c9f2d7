// SPDX-License-Identifier: Apache-2.0
//! /dev/vhost-vsock (Linux, include/uapi/linux/vhost.h) as the server of a socket device's queues.
//!
//! The kernel reads and writes the queues and their buffers through this process's own mapping, as this
//! process does itself. The crate `vhost` of rust-vmm would do the same with two more crates for random
//! numbers in two more versions.
//!
//! Unsafe, because the kernel is told of memory by its address.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use libc::{c_int, c_uint};
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};
use vmm_sys_util::ioctl::{ioctl, ioctl_with_mut_ref, ioctl_with_ref};
use vmm_sys_util::{ioctl_io_nr, ioctl_ior_nr, ioctl_iow_nr};

use super::{Server, LARGEST, LEAST, NEEDED, SERVED};
use crate::devices::virtio::slot::Slot;
use crate::devices::virtio::{Broken, Memory, Place};
use crate::sys;

/// The device.
pub const DEVICE: &str = "/dev/vhost-vsock";

/// struct vhost_vring_state.
#[repr(C)]
struct State {
    index: c_uint,
    num: c_uint,
}

/// struct vhost_vring_file.
#[repr(C)]
struct Event {
    index: c_uint,
    fd: c_int,
}

/// struct vhost_vring_addr.
#[repr(C)]
struct Addresses {
    index: c_uint,
    flags: c_uint,
    table: u64,
    used: u64,
    available: u64,
    log: u64,
}

/// The head of struct vhost_memory, whose size is in the number of its ioctl.
#[repr(C)]
struct TableHead {
    regions: u32,
    padding: u32,
}

/// struct vhost_memory with one struct vhost_memory_region.
#[repr(C)]
struct Table {
    head: TableHead,
    guest: u64,
    size: u64,
    user: u64,
    flags: u64,
}

const VIRTIO: c_uint = 0xaf;
ioctl_ior_nr!(VHOST_GET_FEATURES, VIRTIO, 0x00, u64);
ioctl_iow_nr!(VHOST_SET_FEATURES, VIRTIO, 0x00, u64);
ioctl_io_nr!(VHOST_SET_OWNER, VIRTIO, 0x01);
ioctl_iow_nr!(VHOST_SET_MEM_TABLE, VIRTIO, 0x03, TableHead);
ioctl_iow_nr!(VHOST_SET_VRING_NUM, VIRTIO, 0x10, State);
ioctl_iow_nr!(VHOST_SET_VRING_ADDR, VIRTIO, 0x11, Addresses);
ioctl_iow_nr!(VHOST_SET_VRING_BASE, VIRTIO, 0x12, State);
ioctl_iow_nr!(VHOST_SET_VRING_KICK, VIRTIO, 0x20, Event);
ioctl_iow_nr!(VHOST_SET_VRING_CALL, VIRTIO, 0x21, Event);
ioctl_iow_nr!(VHOST_SET_VRING_ERR, VIRTIO, 0x22, Event);
ioctl_iow_nr!(VHOST_VSOCK_SET_GUEST_CID, VIRTIO, 0x60, u64);
ioctl_iow_nr!(VHOST_VSOCK_SET_RUNNING, VIRTIO, 0x61, c_int);

/// What the kernel says while it serves the queues, for a thread that waits for it.
pub struct Calls {
    used: EventFd,
    failed: EventFd,
}

/// The open device, with the guest's CID.
pub struct Vhost {
    file: File,
    features: u64,
    kicks: [EventFd; SERVED],
    calls: Calls,
}

/// Names the call that failed.
fn call(name: &'static str, result: c_int) -> io::Result<()> {
    if result < 0 {
        let e = io::Error::last_os_error();
        return Err(io::Error::new(e.kind(), format!("{name}: {e}")));
    }
    Ok(())
}

impl Vhost {
    /// Opens the device and takes the CID; the error says what is wrong and what mends it.
    pub fn open(path: &Path, cid: u32) -> Result<Vhost, String> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| no_device(path, &e))?;
        let said = |e: io::Error| e.to_string();
        // SAFETY: the ioctl takes no argument.
        let owner = unsafe { ioctl(&file, VHOST_SET_OWNER()) };
        call("VHOST_SET_OWNER", owner).map_err(said)?;
        let mut features = 0_u64;
        // SAFETY: the ioctl writes a u64, which is ours.
        let result = unsafe { ioctl_with_mut_ref(&file, VHOST_GET_FEATURES(), &mut features) };
        call("VHOST_GET_FEATURES", result).map_err(said)?;
        if features & NEEDED != NEEDED {
            return Err(format!(
                "{} has features {features:#x}, of which {:#x} are needed",
                path.display(),
                NEEDED
            ));
        }
        let wide = u64::from(cid);
        // SAFETY: the ioctl reads a u64.
        if unsafe { ioctl_with_ref(&file, VHOST_VSOCK_SET_GUEST_CID(), &wide) } < 0 {
            return Err(no_cid(&io::Error::last_os_error()));
        }
        let event = || EventFd::new(EFD_NONBLOCK).map_err(said);
        Ok(Vhost {
            file,
            features,
            kicks: [event()?, event()?],
            calls: Calls {
                used: event()?,
                failed: event()?,
            },
        })
    }

    /// What a thread is to wait for.
    pub fn calls(&self) -> io::Result<Calls> {
        Ok(Calls {
            used: self.calls.used.try_clone()?,
            failed: self.calls.failed.try_clone()?,
        })
    }

    fn set_running(&self, running: bool) -> io::Result<()> {
        let running = c_int::from(running);
        // SAFETY: the ioctl reads an int.
        let result = unsafe { ioctl_with_ref(&self.file, VHOST_VSOCK_SET_RUNNING(), &running) };
        call("VHOST_VSOCK_SET_RUNNING", result)
    }

    fn set_memory(&self, memory: &Memory) -> io::Result<()> {
        let region = memory.iter().next().expect("a view has one region");
        let table = Table {
            head: TableHead {
                regions: 1,
                padding: 0,
            },
            guest: region.start_addr().raw_value(),
            size: region.len(),
            user: region.as_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the ioctl reads a table of one region. The kernel may change what is in it from now
        // on; it is guest memory, mapped until the process ends and only accessed through pointers.
        let result = unsafe { ioctl_with_ref(&self.file, VHOST_SET_MEM_TABLE(), &table) };
        call("VHOST_SET_MEM_TABLE", result)
    }

    fn set_queue(&self, number: usize, memory: &Memory, queue: &Place) -> io::Result<()> {
        let index = number as c_uint;
        let file = &self.file;
        let num = State {
            index,
            num: queue.size.into(),
        };
        // SAFETY: this ioctl and the next read the struct.
        call("VHOST_SET_VRING_NUM", unsafe {
            ioctl_with_ref(file, VHOST_SET_VRING_NUM(), &num)
        })?;
        let base = State { index, num: 0 };
        // SAFETY: as above.
        call("VHOST_SET_VRING_BASE", unsafe {
            ioctl_with_ref(file, VHOST_SET_VRING_BASE(), &base)
        })?;
        let user = |address| {
            memory
                .get_host_address(GuestAddress(address))
                .map(|place| place as u64)
                .map_err(io::Error::other)
        };
        let addresses = Addresses {
            index,
            flags: 0,
            table: user(queue.table)?,
            used: user(queue.used)?,
            available: user(queue.available)?,
            log: 0,
        };
        // SAFETY: the ioctl reads the struct. The areas were checked to lie in the memory when the queue
        // became ready, for this size; of what the kernel does there the same is true as above.
        call("VHOST_SET_VRING_ADDR", unsafe {
            ioctl_with_ref(file, VHOST_SET_VRING_ADDR(), &addresses)
        })?;
        for (name, number, event) in [
            (
                "VHOST_SET_VRING_CALL",
                VHOST_SET_VRING_CALL(),
                &self.calls.used,
            ),
            (
                "VHOST_SET_VRING_ERR",
                VHOST_SET_VRING_ERR(),
                &self.calls.failed,
            ),
            (
                "VHOST_SET_VRING_KICK",
                VHOST_SET_VRING_KICK(),
                &self.kicks[number],
            ),
        ] {
            let fd = event.as_raw_fd();
            // SAFETY: the ioctl reads the struct, and takes a reference of its own to the eventfd.
            let result = unsafe { ioctl_with_ref(file, number, &Event { index, fd }) };
            call(name, result)?;
        }
        Ok(())
    }
}

fn no_device(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV) => {
            format!("no {path}: modprobe vhost_vsock, or a kernel with CONFIG_VHOST_VSOCK")
        }
        Some(libc::EACCES) => format!("{path}: permission denied; it is root's, or its group's"),
        _ => format!("{path}: {error}"),
    }
}

fn no_cid(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "another guest has this CID".into(),
        Some(libc::EINVAL) => format!("no CID of a guest: {LEAST} to {LARGEST}"),
        _ => format!("VHOST_VSOCK_SET_GUEST_CID: {error}"),
    }
}

impl Server for Vhost {
    fn features(&self) -> u64 {
        self.features
    }

    fn run(&mut self, features: u64, memory: &Memory, queues: &[Place; SERVED]) -> io::Result<()> {
        // SAFETY: the ioctl reads a u64.
        let result = unsafe { ioctl_with_ref(&self.file, VHOST_SET_FEATURES(), &features) };
        call("VHOST_SET_FEATURES", result)?;
        self.set_memory(memory)?;
        for (number, queue) in queues.iter().enumerate() {
            self.set_queue(number, memory, queue)?;
        }
        self.set_running(true)?;
        // What the driver put there before was notified to nobody.
        self.kicks.iter().try_for_each(|kick| kick.write(1))
    }

    fn kick(&self, index: usize) -> io::Result<()> {
        self.kicks[index].write(1)
    }

    fn stop(&mut self) -> io::Result<()> {
        self.set_running(false)
    }
}

/// Passes on what the kernel says, for ever.
pub fn watch(calls: &Calls, slot: &Slot) -> io::Result<()> {
    // SAFETY: the descriptors are open while `calls` lives, which is longer than these.
    let files = [&calls.used, &calls.failed]
        .map(|event| unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) });
    loop {
        let ready = sys::wait_readable(&files)?;
        for (event, _) in [&calls.used, &calls.failed]
            .iter()
            .zip(&ready)
            .filter(|(_, r)| **r)
        {
            match event.read() {
                Err(e) if e.kind() != ErrorKind::WouldBlock => return Err(e),
                _ => {}
            }
        }
        if ready[0] {
            slot.used();
        }
        if ready[1] {
            let what = "the host's kernel cannot go on with the queues";
            slot.broken(&Broken(what.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    #[test]
    fn the_ioctls_are_those_of_the_kernel() {
        // include/uapi/linux/vhost.h as the compiler has it for arm64 and x86-64.
        for (number, expected) in [
            (VHOST_GET_FEATURES(), 0x8008_af00),
            (VHOST_SET_FEATURES(), 0x4008_af00),
            (VHOST_SET_OWNER(), 0xaf01),
            (VHOST_SET_MEM_TABLE(), 0x4008_af03),
            (VHOST_SET_VRING_NUM(), 0x4008_af10),
            (VHOST_SET_VRING_ADDR(), 0x4028_af11),
            (VHOST_SET_VRING_BASE(), 0x4008_af12),
            (VHOST_SET_VRING_KICK(), 0x4008_af20),
            (VHOST_SET_VRING_CALL(), 0x4008_af21),
            (VHOST_SET_VRING_ERR(), 0x4008_af22),
            (VHOST_VSOCK_SET_GUEST_CID(), 0x4008_af60),
            (VHOST_VSOCK_SET_RUNNING(), 0x4004_af61),
        ] {
            assert_eq!(number, expected, "{expected:#x}");
        }
        assert_eq!(size_of::<Table>(), 8 + 32);
    }

    #[test]
    fn each_failure_says_what_mends_it() {
        let said = |errno| no_device(Path::new(DEVICE), &io::Error::from_raw_os_error(errno));
        assert!(said(libc::ENOENT).contains("modprobe vhost_vsock"));
        assert!(said(libc::EACCES).contains("permission denied"));
        assert!(said(libc::EIO).starts_with("/dev/vhost-vsock: "));
        let said = |errno| no_cid(&io::Error::from_raw_os_error(errno));
        assert!(said(libc::EADDRINUSE).contains("another guest"));
        assert!(said(libc::EINVAL).contains("3 to 4294967294"));
        let missing = Vhost::open(Path::new("/nonexistent"), 3).err().unwrap();
        assert!(missing.contains("CONFIG_VHOST_VSOCK"), "{missing}");
    }
}
