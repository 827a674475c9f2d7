// SPDX-License-Identifier: Apache-2.0
//! What can go wrong, what the user reads then, and the exit code that a script sees.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

/// The end of the help text. [`Error::exit_code`] gives the numbers.
pub const EXIT_CODES: &str = "Exit codes:
  0  done; of \"run\": the guest powered itself off
  1  failed for another reason than those below
  2  the command line is wrong, or an option cannot be had
  3  mvirt is not loaded: there is no device
  4  no permission to use the device
  5  the device is not mvirt's, of a version that this tool does not know, or cannot do this
  6  the guest wanted a reset
  7  the guest crashed
  8  the guest cannot go on
  9  the guest was left by the escape key";

/// The exit code of [`Error::Guest`].
pub const GUEST_FAILED: u8 = 8;

/// Why a subcommand could not do its work.
// The errors of KVM are dead code where there is none.
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no device at that path.
    #[error(
        "{}: no such device: mvirt is not loaded\n\
         Load it with `modprobe mvirt` or `insmod mvirt.ko`. If it refused to take over, \
         `dmesg | grep mvirt` names the cause and what mends it.",
        path.display()
    )]
    NotLoaded {
        /// The path that was tried.
        path: PathBuf,
    },
    /// The device may not be opened.
    #[error(
        "{}: permission denied: the device is for root alone (mode 0600)\n\
         Run this as root, or let root change the owner of the device.",
        path.display()
    )]
    Permission {
        /// The path that was tried.
        path: PathBuf,
    },
    /// What is at that path does not answer mvirt's ioctls.
    #[error("{}: not the device of mvirt: it refuses MVIRT_GET_INFO", path.display())]
    NotMvirt {
        /// The path that was tried.
        path: PathBuf,
    },
    /// The module and the tool do not know each other's contract.
    #[error(
        "the module has device ABI {module} (EL2 contract {module_hash:#018x}), \
         this tool knows {tool} (EL2 contract {tool_hash:#018x})\n\
         Use the tool that was built with the module."
    )]
    Version {
        /// `MVIRT_ABI_VERSION` of the module.
        module: u32,
        /// The module's hash of the contract with EL2.
        module_hash: u64,
        /// `MVIRT_ABI_VERSION` of this tool.
        tool: u32,
        /// This tool's hash of the contract with EL2.
        tool_hash: u64,
    },
    /// What is at that path does not answer KVM's ioctls.
    #[error("{}: it does not speak the ioctls of KVM, version 12", path.display())]
    NotKvm {
        /// The path that was tried.
        path: PathBuf,
    },
    /// The device has no virtual machines.
    #[error("{}: it makes no virtual machines: the module is older than this tool", path.display())]
    NoMachines {
        /// The path that was tried.
        path: PathBuf,
    },
    /// The device has no protected virtual machines.
    #[error(
        "{}: it makes no protected virtual machines\n\
         Add --no-protected to run the guest where the host can read its memory.",
        path.display()
    )]
    NoProtected {
        /// The path that was tried.
        path: PathBuf,
    },
    /// The device lacks what every guest needs.
    #[error("{}: it lacks {name}", path.display())]
    Lacks {
        /// The path that was tried.
        path: PathBuf,
        /// The capability.
        name: &'static str,
    },
    /// There is no hypervisor for this tool here.
    #[cfg(not(target_arch = "aarch64"))]
    #[error("guests run on arm64 alone, and this tool was built for another architecture")]
    NotArm64,
    /// An option asks for what cannot be had.
    #[error("{option} {value}: {why}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it was given.
        value: String,
        /// What is wrong with that, and the limit.
        why: String,
    },
    /// The guest cannot go on.
    #[error("the guest cannot go on: {0}")]
    Guest(String),
    /// This process could not get what it needs.
    #[error("{doing}: {source}")]
    Internal {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device cannot be used for another reason.
    #[error("{}: {doing}: {source}", path.display())]
    Device {
        /// The path that was tried.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The result could not be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// An option that asks for what cannot be had.
    pub fn option(option: &'static str, value: &impl std::fmt::Display, why: String) -> Error {
        let value = value.to_string();
        Error::Option { option, value, why }
    }

    /// The exit code, as [`EXIT_CODES`] lists them; 2 is clap's.
    fn exit_code(&self) -> u8 {
        match self {
            Error::Device { .. } | Error::Output(_) | Error::Internal { .. } => 1,
            #[cfg(not(target_arch = "aarch64"))]
            Error::NotArm64 => 1,
            Error::Option { .. } => 2,
            Error::NotLoaded { .. } => 3,
            Error::Permission { .. } => 4,
            Error::NotMvirt { .. }
            | Error::Version { .. }
            | Error::NotKvm { .. }
            | Error::NoMachines { .. }
            | Error::NoProtected { .. }
            | Error::Lacks { .. } => 5,
            Error::Guest(_) => GUEST_FAILED,
        }
    }

    /// Tells the user, and answers the exit code.
    pub fn report(&self) -> ExitCode {
        // Whoever reads our output may stop early, as `head` does. That needs no message.
        let closed = matches!(self, Error::Output(e) if e.kind() == io::ErrorKind::BrokenPipe);
        if !closed {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            // If this fails too, the exit code is all that is left to say it with.
            let _ = writeln!(anstream::stderr(), "{red}mvirt:{red:#} {self}");
        }
        ExitCode::from(self.exit_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Error> {
        let path = PathBuf::from("/dev/mvirt");
        vec![
            Error::NotLoaded { path: path.clone() },
            Error::Permission { path: path.clone() },
            Error::NotMvirt { path: path.clone() },
            Error::Version {
                module: 7,
                module_hash: 0xaa,
                tool: 1,
                tool_hash: 0xbb,
            },
            Error::NotKvm { path: path.clone() },
            Error::NoMachines { path: path.clone() },
            Error::NoProtected { path: path.clone() },
            Error::Lacks {
                path: path.clone(),
                name: "KVM_CAP_ONE_REG",
            },
            Error::option("--cpus", &9, "at most 8".into()),
            Error::Guest("vCPU 0".into()),
            Error::Internal {
                doing: "a thread",
                source: io::Error::from_raw_os_error(11),
            },
            Error::Device {
                path,
                doing: "open",
                source: io::Error::from_raw_os_error(5),
            },
            Error::Output(io::ErrorKind::StorageFull.into()),
        ]
    }

    #[test]
    fn every_exit_code_is_documented() {
        for error in all() {
            let line = format!("\n  {}  ", error.exit_code());
            assert!(EXIT_CODES.contains(&line), "{error:?}");
        }
    }

    #[test]
    fn a_version_mismatch_names_both_sides() {
        let text = all()[3].to_string();
        for part in [
            "ABI 7",
            "0x00000000000000aa",
            "knows 1",
            "0x00000000000000bb",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn a_limit_is_told_with_the_option_and_its_value() {
        let error = Error::option("--cpus", &9, "at most 8".into());
        assert_eq!(error.to_string(), "--cpus 9: at most 8");
        assert!(all()[6].to_string().contains("--no-protected"));
    }

    #[test]
    fn a_missing_device_says_how_to_load_the_module() {
        let text = all()[0].to_string();
        assert!(text.starts_with("/dev/mvirt: "));
        assert!(text.contains("modprobe mvirt") && text.contains("dmesg"));
    }
}
