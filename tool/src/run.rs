// SPDX-License-Identifier: Apache-2.0
//! A virtual machine: memory, devices, vCPUs, from its options to its end.
//!
//! [`hypervisor`] is the seam before KVM's ioctls; behind it is `kvm`, which exists on arm64 alone.
//! All else is built and tested everywhere.
//!
//! Threads: one for each vCPU, one for each disk, one that waits for frames, one for what vhost says, one
//! that reads standard input, one for signals, one that waits until the console listens.
//! They tell the main thread by [`event::Event`]s what happens, and the first that ends the guest
//! decides. No thread waits for another while it has a lock; the locks of the devices are in
//! `devices`.

pub mod board;
pub mod bus;
pub mod crew;
pub mod event;
pub mod fdt;
pub mod guard;
// What only KVM answers is dead code where there is none.
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]
pub mod hypervisor;
pub mod image;
pub mod input;
#[cfg(target_arch = "aarch64")]
pub mod kvm;
#[cfg(not(target_arch = "aarch64"))]
#[path = "run/no_kvm.rs"]
pub mod kvm;
pub mod layout;
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]
pub mod limits;
pub mod load;
pub mod machine;
pub mod packing;
pub mod peripherals;
mod probe;
pub mod ram;
pub mod search;
pub mod vcpu;

use std::path::PathBuf;

/// What a guest is to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// How messages call it.
    pub name: String,
    /// The hypervisor's device.
    pub device: PathBuf,
    /// Whether the host must not reach its memory.
    pub protected: bool,
    /// Whether devices reach no more of its memory than a DMA pool; a protected guest's never do.
    pub dma_pool: bool,
    /// Number of vCPUs.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// An Image, in one of the ways of [`packing`].
    pub kernel: PathBuf,
    /// An initramfs.
    pub initrd: Option<PathBuf>,
    /// What follows our own words on the kernel's command line.
    pub cmdline: String,
    /// What it is typed to by.
    pub console: ConsoleKind,
    /// Disks in their order.
    pub disks: Vec<DiskSpec>,
    /// Its network interface.
    pub net: Option<NetSpec>,
    /// The number of its sockets.
    pub vsock: Option<u32>,
    /// Whether to tell on standard error where the guest's memory is.
    pub json: bool,
    /// A FIFO through which one asks for a [`search`].
    pub search: Option<PathBuf>,
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// The file or block device.
    pub path: PathBuf,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// The console that gets what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ConsoleKind {
    /// The virtio console, hvc0
    Virtio,
    /// The 16550, ttyS0
    Serial,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetSpec {
    /// The tap interface of the host.
    pub tap: String,
    /// Its address, if the user wants one.
    pub mac: Option<[u8; 6]>,
}
