// SPDX-License-Identifier: Apache-2.0
//! A tap interface of the host (Linux, Documentation/networking/tuntap.rst) as a link.
//!
//! Unsafe, because the kernel is told what to do by ioctls.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use libc::{c_int, c_short, c_uint, c_ulong};
use vmm_sys_util::ioctl::{ioctl_with_ref, ioctl_with_val};
use vmm_sys_util::ioctl_iow_nr;

use super::{Link, Offloads, HEADER};
use crate::sys;

const TUN: &str = "/dev/net/tun";
const KIND: c_uint = b'T' as c_uint;
ioctl_iow_nr!(TUNSETIFF, KIND, 202, c_int);
ioctl_iow_nr!(TUNSETOFFLOAD, KIND, 208, c_uint);
ioctl_iow_nr!(TUNSETVNETHDRSZ, KIND, 216, c_int);

/// The longest name of an interface.
pub const NAME: usize = libc::IFNAMSIZ - 1;

/// An interface that this process has for itself.
pub struct Tap {
    file: File,
    offloads: bool,
}

impl Tap {
    /// Opens an interface that is there; the error says what is wrong and what mends it.
    pub fn open(name: &str) -> Result<Tap, String> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(TUN)
            .map_err(|e| no_tun(&e))?;
        // The kernel would make one that nobody has set up, and call it the user's.
        let bytes = CString::new(name).map_err(|e| e.to_string())?;
        if !sys::has_interface(&bytes) {
            return Err(format!("no such interface; {}", make(name)));
        }
        let mut request = libc::ifreq {
            ifr_name: [0; libc::IFNAMSIZ],
            ifr_ifru: libc::__c_anonymous_ifr_ifru {
                ifru_flags: (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as c_short,
            },
        };
        for (to, from) in request.ifr_name[..NAME].iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        // SAFETY: the ioctl reads and writes an ifreq, which is ours until it returns.
        check(unsafe { ioctl_with_ref(&file, TUNSETIFF(), &request) })
            .map_err(|e| not_ours(name, &e))?;
        let header = HEADER as c_int;
        // SAFETY: the ioctl reads an int.
        check(unsafe { ioctl_with_ref(&file, TUNSETVNETHDRSZ(), &header) })
            .map_err(|e| format!("TUNSETVNETHDRSZ: {e}"))?;
        let mut tap = Tap {
            file,
            offloads: true,
        };
        // Before there is a driver nothing is offloaded; a kernel that cannot tells so here.
        tap.offloads = tap.set_offloads(Offloads::default()).is_ok();
        Ok(tap)
    }

    /// Another descriptor of it, to wait for its frames with.
    pub fn waiter(&self) -> io::Result<impl AsFd + Send + 'static> {
        self.file.try_clone()
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How to make one.
fn make(name: &str) -> String {
    format!(
        "as root: ip tuntap add dev {name} mode tap user USER && ip link set {name} up, and give it an \
         address or a bridge"
    )
}

fn no_tun(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV) => {
            format!("no {TUN}: modprobe tun, or a kernel with CONFIG_TUN")
        }
        _ => format!("{TUN}: {error}"),
    }
}

/// Why an interface that is there could not be had.
fn not_ours(name: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => format!(
            "it is another user's: ip tuntap del dev {name} mode tap; {}",
            make(name)
        ),
        Some(libc::EBUSY) => "another process has it: a tap is of one guest at a time".into(),
        Some(libc::EINVAL) => format!(
            "no tap, or one of several queues (multi_queue): ip -d tuntap list; {}",
            make(name)
        ),
        _ => format!("TUNSETIFF: {error}"),
    }
}

/// What TUNSETOFFLOAD takes: what the kernel may leave undone in a frame that it gives us.
fn flags_of(offloads: Offloads) -> c_uint {
    [
        (offloads.checksum, libc::TUN_F_CSUM),
        (offloads.tcp4, libc::TUN_F_TSO4),
        (offloads.tcp6, libc::TUN_F_TSO6),
        (offloads.ecn, libc::TUN_F_TSO_ECN),
    ]
    .into_iter()
    .filter_map(|(on, flag)| on.then_some(flag))
    .fold(0, |flags, flag| flags | flag)
}

impl Link for Tap {
    fn offloads(&self) -> bool {
        self.offloads
    }

    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        let flags = flags_of(offloads);
        // SAFETY: the ioctl takes its flags by value, and no pointer.
        check(unsafe { ioctl_with_val(&self.file, TUNSETOFFLOAD(), c_ulong::from(flags)) })
    }

    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.file.read(frame) {
                Ok(len) => return Ok(Some(len)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        loop {
            match self.file.write(frame) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // The interface itself was deleted.
                Err(e) if e.raw_os_error() == Some(libc::EBADFD) => return Err(e),
                // It is down, or full, or the host's stack will not have such a frame: a cable does
                // not tell either.
                Err(_) | Ok(_) => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_mends_it() {
        let said = |errno| not_ours("tap7", &io::Error::from_raw_os_error(errno));
        for (errno, parts) in [
            (
                libc::EPERM,
                &["another user's", "ip tuntap add dev tap7 mode tap"][..],
            ),
            (libc::EBUSY, &["another process"]),
            (
                libc::EINVAL,
                &["no tap", "multi_queue", "ip tuntap add dev tap7"],
            ),
            (libc::ENOMEM, &["TUNSETIFF", "memory"]),
        ] {
            let text = said(errno);
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
        let said = |errno| no_tun(&io::Error::from_raw_os_error(errno));
        assert!(said(libc::ENOENT).contains("modprobe tun"));
        assert!(said(libc::EACCES).contains("/dev/net/tun: Permission denied"));
    }

    #[test]
    fn the_kernel_is_told_each_offload_by_its_own_flag() {
        let none = Offloads::default();
        // The numbers are those of the kernel's linux/if_tun.h.
        for (offloads, flags) in [
            (none, 0),
            (
                Offloads {
                    checksum: true,
                    ..none
                },
                1,
            ),
            (Offloads { tcp4: true, ..none }, 2),
            (Offloads { tcp6: true, ..none }, 4),
            (Offloads { ecn: true, ..none }, 8),
        ] {
            assert_eq!(flags_of(offloads), flags, "{offloads:?}");
        }
        let all = Offloads {
            checksum: true,
            tcp4: true,
            tcp6: true,
            ecn: true,
        };
        assert_eq!(flags_of(all), 15);
    }

    #[test]
    fn an_interface_that_is_not_there_is_not_made() {
        let error = Tap::open("mvirt-none").err().unwrap();
        // A machine without tun has no other answer.
        assert!(
            error.contains("no such interface") || error.contains(TUN),
            "{error}"
        );
        if error.contains("no such") {
            assert!(error.contains("ip tuntap add dev mvirt-none"), "{error}");
        }
    }
}
