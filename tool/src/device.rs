// SPDX-License-Identifier: Apache-2.0
//! The device, and the seam before it.
//!
//! [`Device`] is what the rest of the tool sees; [`Node`] is the one in `/dev`. Unsafe, because no
//! crate knows mvirt's numbers of ioctls. KVM's, which `mvirt run` needs, are in `run/kvm.rs`.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::uapi::{mvirt_info, MVIRT_ABI_VERSION, MVIRT_CMD_GET_INFO, MVIRT_IOC};

/// `MVIRT_GET_INFO` of the header: bindgen cannot evaluate the macros of `<linux/ioctl.h>`.
const MVIRT_GET_INFO: libc::Ioctl = libc::_IO(MVIRT_IOC, MVIRT_CMD_GET_INFO);

/// What the tool asks of mvirt.
pub trait Device {
    /// Where it is, for messages.
    fn path(&self) -> &Path;

    /// `MVIRT_GET_INFO`: fills `info`, whose `size` and `flags` the caller has set. The error is
    /// the kernel's errno.
    fn get_info(&self, info: &mut mvirt_info) -> io::Result<()>;
}

/// The device node of the module.
pub struct Node {
    path: PathBuf,
    file: File,
}

impl Node {
    /// Opens the device at `path`.
    pub fn open(path: &Path) -> Result<Node, Error> {
        match File::open(path) {
            Ok(file) => Ok(Node {
                path: path.into(),
                file,
            }),
            Err(source) => Err(open_error(path, source)),
        }
    }
}

impl Device for Node {
    fn path(&self) -> &Path {
        &self.path
    }

    fn get_info(&self, info: &mut mvirt_info) -> io::Result<()> {
        // The kernel believes `size`, so that it must be true.
        assert_eq!(info.size as usize, size_of::<mvirt_info>());
        // SAFETY: MVIRT_GET_INFO takes a pointer to a struct mvirt_info and writes at most `size`
        // bytes to it, which was just checked to be its size; `info` is ours alone until the call
        // returns, and any bytes are a valid mvirt_info, for it has integers only. Should the file
        // be another driver's, then its letter is another one and it refuses the number.
        let ret = unsafe { libc::ioctl(self.file.as_raw_fd(), MVIRT_GET_INFO, info) };
        if ret < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// Says why a device could not be opened.
pub fn open_error(path: &Path, source: io::Error) -> Error {
    let path = path.to_path_buf();
    match source.raw_os_error() {
        // ENXIO and ENODEV: a node that was left behind or made by hand, without its driver.
        Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => Error::NotLoaded { path },
        Some(libc::EACCES | libc::EPERM) => Error::Permission { path },
        _ => Error::Device {
            path,
            doing: "open",
            source,
        },
    }
}

/// Asks for the information, and refuses an answer whose meaning this tool does not know.
pub fn info(device: &impl Device) -> Result<mvirt_info, Error> {
    let mut info = mvirt_info {
        size: size_of::<mvirt_info>() as u32,
        ..mvirt_info::default()
    };
    device.get_info(&mut info).map_err(|source| {
        let path = device.path().to_path_buf();
        match source.raw_os_error() {
            // Drivers answer a number that is not theirs with either; KVM on arm64 with EINVAL.
            Some(libc::ENOTTY | libc::EINVAL) => Error::NotMvirt { path },
            _ => Error::Device {
                path,
                doing: "MVIRT_GET_INFO",
                source,
            },
        }
    })?;
    if info.abi_version != MVIRT_ABI_VERSION {
        return Err(Error::Version {
            module: info.abi_version,
            module_hash: info.abi_hash,
            tool: MVIRT_ABI_VERSION,
            tool_hash: mvirt_abi::HASH,
        });
    }
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that answers `Ok` with a version, or an errno.
    struct Fake(Result<u32, i32>);

    impl Device for Fake {
        fn path(&self) -> &Path {
            Path::new("/dev/fake")
        }

        fn get_info(&self, info: &mut mvirt_info) -> io::Result<()> {
            assert_eq!(
                (info.size as usize, info.flags),
                (size_of::<mvirt_info>(), 0)
            );
            info.abi_version = self.0.map_err(io::Error::from_raw_os_error)?;
            info.abi_hash = 0x1234;
            Ok(())
        }
    }

    #[test]
    fn our_version_is_taken() {
        assert_eq!(info(&Fake(Ok(MVIRT_ABI_VERSION))).unwrap().abi_hash, 0x1234);
    }

    #[test]
    fn other_versions_are_refused() {
        for module in [0, MVIRT_ABI_VERSION + 1, u32::MAX] {
            match info(&Fake(Ok(module))) {
                Err(Error::Version {
                    module: m,
                    module_hash: 0x1234,
                    tool,
                    tool_hash,
                }) => {
                    assert_eq!((m, tool), (module, MVIRT_ABI_VERSION));
                    assert_eq!(tool_hash, mvirt_abi::HASH);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_device_that_is_not_ours_is_told_apart() {
        for errno in [libc::ENOTTY, libc::EINVAL] {
            assert!(matches!(
                info(&Fake(Err(errno))),
                Err(Error::NotMvirt { .. })
            ));
        }
        assert!(matches!(
            info(&Fake(Err(libc::EIO))),
            Err(Error::Device { source, .. }) if source.raw_os_error() == Some(libc::EIO)
        ));
    }

    #[test]
    fn errors_of_open_have_their_cause() {
        let error = |errno| open_error(Path::new("/x"), io::Error::from_raw_os_error(errno));
        assert!(matches!(error(libc::ENOENT), Error::NotLoaded { .. }));
        assert!(matches!(error(libc::ENXIO), Error::NotLoaded { .. }));
        assert!(matches!(error(libc::ENODEV), Error::NotLoaded { .. }));
        assert!(matches!(error(libc::EACCES), Error::Permission { .. }));
        assert!(matches!(error(libc::EPERM), Error::Permission { .. }));
        assert!(matches!(
            error(libc::EMFILE),
            Error::Device { doing: "open", .. }
        ));
    }

    #[test]
    fn the_number_is_the_headers() {
        assert_eq!(MVIRT_GET_INFO, 0xd600);
    }
}
