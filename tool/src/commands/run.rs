// SPDX-License-Identifier: Apache-2.0
//! `mvirt run`: a guest in this terminal, until it powers itself off.

mod parse;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use crate::devices::virtio::console::Size;
use crate::devices::virtio::vsock;
use crate::error::Error;
use crate::run::event::{tell, Event, Events};
use crate::run::kvm::Kvm;
use crate::run::machine::{self, Wires};
use crate::run::{limits, Config, ConsoleKind, DiskSpec};
use crate::{sys, terminal};

/// Run a guest in this terminal until it powers itself off.
#[derive(clap::Args)]
pub struct Args {
    /// The kernel: an arm64 Image, plain, compressed by gzip or zstd, or as EFI zboot
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,

    /// The initramfs
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,

    /// Words for the kernel's command line, behind those of the tool
    #[arg(
        long,
        value_name = "WORDS",
        default_value = "",
        hide_default_value = true
    )]
    cmdline: String,

    /// The guest's memory: a multiple of 2 MiB, as 512M or 2G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = parse::memory)]
    mem: u64,

    /// The number of vCPUs
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    cpus: u32,

    /// What is typed goes to, and the kernel's console
    #[arg(long, value_name = "KIND", default_value = "virtio", value_enum)]
    console: ConsoleKind,

    /// A disk: a raw file or a block device; with ",ro" the guest may only read it. More than once
    #[arg(long = "disk", value_name = "FILE[,ro]", value_parser = parse::disk)]
    disks: Vec<DiskSpec>,

    /// The network: a tap interface of the host, tap=NAME or tap=NAME,mac=ADDRESS, or none
    #[arg(long, value_name = "LINK", default_value = "none", value_parser = parse::net)]
    net: parse::Link,

    /// Sockets between host and guest (AF_VSOCK): the number of the guest
    #[arg(long, value_name = "CID", value_parser = clap::value_parser!(u32).range(i64::from(vsock::LEAST)..=i64::from(vsock::LARGEST)))]
    vsock: Option<u32>,

    /// What messages call the guest
    #[arg(long, default_value = "guest", value_parser = parse::name)]
    name: String,

    /// Keep the guest's memory from the host; this is the default
    #[arg(long, overrides_with = "no_protected")]
    protected: bool,

    /// Let the host read and change the guest's memory
    #[arg(long, overrides_with = "protected")]
    no_protected: bool,

    /// Let devices reach no more of the guest's memory than a DMA pool, as without --no-protected
    #[arg(long)]
    dma_pool: bool,

    /// Tell on standard error, as a line of JSON, where the guest's memory is
    #[arg(long)]
    json: bool,

    /// Look in the guest's memory for what is written to this FIFO: for "make run"
    #[arg(long, value_name = "FIFO", hide = true)]
    search: Option<PathBuf>,
}

impl Args {
    fn config(self, device: PathBuf) -> Config {
        // Never unprotected without being told so.
        let protected = self.protected || !self.no_protected;
        Config {
            name: self.name,
            device,
            protected,
            dma_pool: self.dma_pool || protected,
            cpus: self.cpus,
            memory: self.mem,
            kernel: self.kernel,
            initrd: self.initrd,
            cmdline: self.cmdline,
            console: self.console,
            disks: self.disks,
            net: self.net.0,
            vsock: self.vsock,
            json: self.json,
            search: self.search,
        }
    }
}

/// The signals that are told as events. The terminal's own do not come while it is raw.
const SIGNALS: [libc::c_int; 6] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGWINCH,
    libc::SIGCONT,
];

/// Runs the subcommand; answers the exit code.
pub fn run(args: Args, device: PathBuf) -> Result<u8, Error> {
    let config = args.config(device);
    let hypervisor = Kvm::open(&config.device)?;
    limits::check(&config)?;
    let internal = |doing| move |source| Error::Internal { doing, source };

    // Before any thread, so that all of them have it so.
    sys::block(&SIGNALS);
    let (events, told) = mpsc::channel();
    let signals = events.clone();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || watch_signals(&signals))
        .map_err(internal("a thread"))?;

    let raw = terminal::Raw::enter().map_err(internal("the terminal"))?;
    // Without std's buffers: what the guest prints is seen at once, and a write ends by a signal.
    let output = sys::unbuffered(io::stdout()).map_err(internal("standard output"))?;
    let wires = Wires {
        input: Box::new(io::stdin()),
        is_terminal: io::stdin().is_terminal(),
        output: Box::new(output),
        size: terminal::size().map(|(columns, rows)| Size { columns, rows }),
    };
    let result = machine::run(&config, &hypervisor, wires, (events, told));
    drop(raw);
    let ending = result?;
    if let crate::run::event::Ending::Signal(signal) = ending {
        sys::die_of(signal);
    }
    if let Some(message) = ending.message() {
        terminal::say(format_args!("{} {message}", config.name));
    }
    Ok(ending.exit_code())
}

fn watch_signals(events: &Events) {
    // It fails only for signals that do not exist.
    while let Ok(signal) = sys::wait_for(&SIGNALS) {
        tell(
            events,
            match signal {
                libc::SIGWINCH => Event::Resized,
                libc::SIGCONT => Event::Continued,
                other => Event::Signal(other),
            },
        );
    }
}
