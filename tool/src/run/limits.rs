// SPDX-License-Identifier: Apache-2.0
//! What the host limits this process's memory by, and the words for it.
//!
//! A protected guest's memory is pinned: it counts against RLIMIT_MEMLOCK, and against the memory
//! cgroup without any way to swap it out. A limit that is less than the guest's memory ends the guest
//! in the middle of its work, that of a cgroup by the OOM killer, without a word. So both are looked at
//! before it starts; and when the kernel says that there is no memory, the limit that is met is named
//! with its value.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Config;
use crate::error::Error;
use crate::sys;
use crate::units::Bytes;

/// CAP_IPC_LOCK's bit: who has it may lock what he likes.
const IPC_LOCK: u32 = 14;
/// What is left of a limit that counts as met: a guest's page, or a huge one of it.
const LITTLE: u64 = 2 << 20;

/// RLIMIT_MEMLOCK, where it holds for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Memlock {
    /// What holds.
    soft: u64,
    /// What it may be raised to.
    hard: u64,
    /// How much is locked.
    used: u64,
}

/// The memory limit of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cgroup {
    /// Its memory.max.
    file: PathBuf,
    /// What that says.
    most: u64,
    /// How much is used.
    used: u64,
}

/// All that limits this process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    memlock: Option<Memlock>,
    cgroup: Option<Cgroup>,
    available: Option<u64>,
}

/// The value of a line "NAME: VALUE ..." of a file in /proc.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.strip_prefix(':')?.split_whitespace().next()
}

fn kib(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The cgroup of version 2 that leaves least, of the process's own and those above it.
fn cgroup(proc: &Path, mount: &Path) -> Option<Cgroup> {
    let list = fs::read_to_string(proc.join("self/cgroup")).ok()?;
    let path = list.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = mount.join(path);
    let limit = |dir: &Path| {
        let number = |name| -> Option<u64> {
            let text = fs::read_to_string(dir.join(name)).ok()?;
            text.trim().parse().ok()
        };
        // "max" is no number, and no limit; the root has no such file.
        let most = number("memory.max")?;
        let used = number("memory.current").unwrap_or(0);
        let file = dir.join("memory.max");
        Some(Cgroup { file, most, used })
    };
    let dirs = own.ancestors().take_while(|dir| dir.starts_with(mount));
    dirs.filter_map(limit)
        .min_by_key(|cgroup| cgroup.most.saturating_sub(cgroup.used))
}

/// The ioctl whose EBUSY is a limit.
pub const CREATE_VM: &str = "KVM_CREATE_VM";
/// How many machines mvirt has at a time.
const MACHINES: u32 = 32;

/// The error of an ioctl, with the limit that was met where it is one.
pub fn told(ioctl: &str, error: io::Error) -> io::Error {
    let hint = match error.raw_os_error() {
        Some(libc::ENOMEM) => Limits::read().explain(),
        Some(libc::EBUSY) if ioctl == CREATE_VM => {
            format!("there can be {MACHINES} virtual machines at a time, and there are: end one")
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}\n{hint}"))
}

impl Limits {
    /// Those of this process, as they are now.
    pub fn read() -> Limits {
        let memlock = sys::memlock().ok();
        Limits::read_in(Path::new("/proc"), Path::new("/sys/fs/cgroup"), memlock)
    }

    fn read_in(proc: &Path, mount: &Path, memlock: Option<(u64, u64)>) -> Limits {
        let status = fs::read_to_string(proc.join("self/status")).unwrap_or_default();
        let meminfo = fs::read_to_string(proc.join("meminfo")).unwrap_or_default();
        let caps = field(&status, "CapEff").and_then(|caps| u64::from_str_radix(caps, 16).ok());
        let exempt = caps.is_some_and(|caps| caps >> IPC_LOCK & 1 != 0);
        let used = kib(&status, "VmLck").unwrap_or(0);
        let memlock = memlock.filter(|(soft, _)| !exempt && *soft != sys::NO_LIMIT);
        Limits {
            memlock: memlock.map(|(soft, hard)| Memlock { soft, hard, used }),
            cgroup: cgroup(proc, mount),
            available: kib(&meminfo, "MemAvailable"),
        }
    }

    /// The soft limit of locked memory that a protected guest of `memory` bytes needs, if it is more
    /// than there is and may be had; what is in the way of such a guest, if anything is.
    fn admit(&self, memory: u64) -> Result<Option<u64>, String> {
        if let Some(Cgroup { file, most, .. }) = &self.cgroup {
            if *most < memory {
                return Err(format!(
                    "{} is {}, and a protected guest's memory cannot be swapped out: raise it, or \
                     give the guest less",
                    file.display(),
                    Bytes(*most)
                ));
            }
        }
        let Some(memlock) = &self.memlock else {
            return Ok(None);
        };
        let needed = memory.saturating_add(memlock.used);
        if needed <= memlock.soft {
            return Ok(None);
        }
        if needed <= memlock.hard {
            return Ok(Some(needed));
        }
        Err(format!(
            "RLIMIT_MEMLOCK is {}, and a protected guest's memory is locked: raise it to {} \
             (ulimit -l {}), or give this process CAP_IPC_LOCK",
            Bytes(memlock.hard),
            Bytes(needed),
            needed.div_ceil(1024)
        ))
    }

    /// Why there is no memory: the limits that are met, or how much the host has.
    pub fn explain(&self) -> String {
        let mut met = Vec::new();
        if let Some(Memlock { soft, used, .. }) = &self.memlock {
            if soft.saturating_sub(*used) < LITTLE {
                met.push(format!(
                    "RLIMIT_MEMLOCK is {}, and {} are locked: raise it (ulimit -l)",
                    Bytes(*soft),
                    Bytes(*used)
                ));
            }
        }
        if let Some(Cgroup { file, most, used }) = &self.cgroup {
            if most.saturating_sub(*used) < LITTLE {
                met.push(format!(
                    "{} is {}, and {} are used: raise it",
                    file.display(),
                    Bytes(*most),
                    Bytes(*used)
                ));
            }
        }
        if met.is_empty() {
            met.push(match self.available {
                Some(bytes) => format!("the host has {} left (MemAvailable)", Bytes(bytes)),
                None => "the host has none left".into(),
            });
        }
        met.join("; ")
    }
}

/// Checks that the host's limits have room for the guest, and raises the soft one if that will do.
/// A guest that is not protected may be swapped out, and locks nothing.
pub fn check(config: &Config) -> Result<(), Error> {
    if !config.protected {
        return Ok(());
    }
    let mib = format!("{}M", config.memory >> 20);
    let limits = Limits::read();
    let raise = limits
        .admit(config.memory)
        .map_err(|why| Error::option("--mem", &mib, why))?;
    if let (Some(soft), Some(memlock)) = (raise, limits.memlock) {
        sys::set_memlock(soft, memlock.hard).map_err(|source| Error::Internal {
            doing: "RLIMIT_MEMLOCK",
            source,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::tempdir::TempDir;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Files of a host: a process with these capabilities in cgroup /a/b.
    fn host(caps: &str, limits: &[(&str, &str, &str)]) -> (TempDir, PathBuf, PathBuf) {
        let dir = TempDir::new_with_prefix("/tmp/mvirt-limits-").unwrap();
        let (proc, mount) = (dir.as_path().join("proc"), dir.as_path().join("cgroup"));
        fs::create_dir_all(proc.join("self")).unwrap();
        fs::create_dir_all(mount.join("a/b")).unwrap();
        let status = format!("Name:\tx\nVmLck:\t      12 kB\nCapEff:\t{caps}\n");
        fs::write(proc.join("self/status"), status).unwrap();
        fs::write(proc.join("self/cgroup"), "1:name=x:/y\n0::/a/b\n").unwrap();
        fs::write(proc.join("meminfo"), "MemAvailable:   2048 kB\n").unwrap();
        for (cgroup, most, used) in limits {
            fs::write(mount.join(cgroup).join("memory.max"), most).unwrap();
            fs::write(mount.join(cgroup).join("memory.current"), used).unwrap();
        }
        (dir, proc, mount)
    }

    fn read(caps: &str, cgroups: &[(&str, &str, &str)], memlock: (u64, u64)) -> Limits {
        let (_dir, proc, mount) = host(caps, cgroups);
        Limits::read_in(&proc, &mount, Some(memlock))
    }

    #[test]
    fn an_ioctl_tells_the_limit_that_it_met() {
        let told = |ioctl, errno| told(ioctl, io::Error::from_raw_os_error(errno));
        let no_memory = told("KVM_CREATE_VCPU", libc::ENOMEM).to_string();
        assert!(no_memory.lines().count() > 1, "{no_memory}");
        let busy = told(CREATE_VM, libc::EBUSY).to_string();
        assert!(busy.contains(" 32 "), "{busy}");
        for (ioctl, errno) in [("KVM_CREATE_VCPU", libc::EBUSY), (CREATE_VM, libc::EPERM)] {
            assert_eq!(told(ioctl, errno).raw_os_error(), Some(errno));
        }
    }

    #[test]
    fn the_limit_of_locked_memory_is_named_with_its_value() {
        let limits = read("0", &[], (64 << 10, 64 << 10));
        let why = limits.admit(256 * MIB).unwrap_err();
        for part in [
            "RLIMIT_MEMLOCK is 64 KiB",
            "raise it to 256.01 MiB",
            "ulimit -l 262156",
            "CAP_IPC_LOCK",
        ] {
            assert!(why.contains(part), "{why}");
        }
        let why = limits.explain();
        assert!(why.contains("is 64 KiB, and 12 KiB are locked"), "{why}");
    }

    #[test]
    fn a_soft_limit_is_raised_as_far_as_needed() {
        let limits = read("0", &[], (64 << 10, 512 * MIB));
        assert_eq!(limits.admit(256 * MIB), Ok(Some(256 * MIB + 12 * 1024)));
        assert_eq!(limits.admit(16 << 10), Ok(None));
        assert!(limits.admit(512 * MIB).is_err());
    }

    #[test]
    fn who_may_lock_what_he_likes_has_no_limit() {
        let limits = read("0000000000004000", &[], (64 << 10, 64 << 10));
        assert_eq!(limits.memlock, None);
        assert_eq!(limits.admit(256 * MIB), Ok(None));
        let limits = read("0", &[], (sys::NO_LIMIT, sys::NO_LIMIT));
        assert_eq!(limits.admit(256 * MIB), Ok(None));
        let why = limits.explain();
        assert!(why.contains("2.00 MiB left (MemAvailable)"), "{why}");
    }

    #[test]
    fn the_cgroup_that_leaves_least_counts() {
        let most = (100 * MIB).to_string();
        let cgroups = [("a", &*most, "4096"), ("a/b", "max\n", "4096")];
        let limits = read("0000000000004000", &cgroups, (0, 0));
        let why = limits.admit(128 * MIB).unwrap_err();
        assert!(why.contains("/cgroup/a/memory.max is 100.00 MiB"), "{why}");
        assert_eq!(limits.admit(100 * MIB), Ok(None));
        let used = (99 * MIB).to_string();
        let cgroups = [("a", &*most, &*used), ("a/b", "209715200\n", "4096")];
        let why = read("0000000000004000", &cgroups, (0, 0)).explain();
        assert!(
            why.contains("is 100.00 MiB, and 99.00 MiB are used"),
            "{why}"
        );
    }

    #[test]
    fn a_host_that_tells_nothing_limits_nothing() {
        let nowhere = Path::new("/nonexistent");
        let limits = Limits::read_in(nowhere, nowhere, None);
        assert_eq!(limits.admit(u64::MAX), Ok(None));
        assert!(limits.explain().contains("none left"));
    }
}
