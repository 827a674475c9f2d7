// SPDX-License-Identifier: Apache-2.0
//! Puts a guest together, runs it, and takes it apart.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{mpsc, Arc};
use std::thread;

use vm_memory::{Bytes, GuestAddress};

use super::board::Board;
use super::bus::Bus;
use super::crew::Crew;
use super::event::{tell, Ending, Event, Events};
use super::fdt::{Description, Seed};
use super::hypervisor::{Hypervisor, Vcpu, Vm};
use super::layout::{self, Layout};
use super::load::{self, Kernel};
use super::peripherals::Peripherals;
use super::ram::Ram;
use super::{fdt, guard, input, search, Config, ConsoleKind};
use crate::devices::pvpanic::Pvpanic;
use crate::devices::serial::Uart;
use crate::devices::virtio::console::{Console, Input, Size, RECEIVE};
use crate::devices::virtio::slot::Slot;
use crate::error::Error;
use crate::terminal::{self, output::Output};

/// Our own words on the kernel's command line, before the user's. Nothing but the early console is
/// there before virtio is.
const CMDLINE: &str = "earlycon=uart8250,mmio,0x9000000";
/// A protected guest mixes in what the host calls random, but does not count on it.
const DISTRUST: &str = "rng_core.default_quality=0";
/// Linux's COMMAND_LINE_SIZE on arm64, with the byte that ends it.
const CMDLINE_MOST: usize = 2048;

/// What the guest's consoles are connected to.
pub struct Wires {
    /// What is typed.
    pub input: Box<dyn Read + Send>,
    /// Whether that is a terminal: then it has an escape key.
    pub is_terminal: bool,
    /// What is printed.
    pub output: Box<dyn Write + Send>,
    /// The size of the terminal.
    pub size: Option<Size>,
}

/// Checks what the hypervisor limits.
fn check_limits(config: &Config, hypervisor: &impl Hypervisor) -> Result<(), Error> {
    let most = hypervisor.max_cpus().min(layout::MAX_CPUS);
    if config.cpus > most {
        let why = format!("{} gives a guest at most {most}", config.device.display());
        return Err(Error::option("--cpus", &config.cpus, why));
    }
    let bits = hypervisor.address_bits();
    let most = 1_u64.checked_shl(bits).unwrap_or(u64::MAX) - layout::RAM;
    if config.memory > most {
        let mib = format!("{}M", config.memory >> 20);
        let why = format!(
            "{} has guest addresses of {bits} bits: at most {}M",
            config.device.display(),
            most >> 20
        );
        return Err(Error::option("--mem", &mib, why));
    }
    Ok(())
}

fn command_line(config: &Config) -> Result<String, Error> {
    let console = match config.console {
        ConsoleKind::Virtio => "console=hvc0",
        ConsoleKind::Serial => "console=ttyS0",
    };
    let mut words = vec![CMDLINE, console];
    if config.protected {
        words.push(DISTRUST);
    }
    if !config.cmdline.is_empty() {
        words.push(&config.cmdline);
    }
    let line = words.join(" ");
    if line.len() >= CMDLINE_MOST {
        let room = CMDLINE_MOST - 1 - (line.len() - config.cmdline.len());
        let why = format!("{} bytes; at most {room}", config.cmdline.len());
        return Err(Error::option("--cmdline", &"...", why));
    }
    Ok(line)
}

/// Random bytes of the host's, for a guest that trusts it.
fn seed() -> io::Result<Seed> {
    let mut random = File::open("/dev/urandom")?;
    let (mut kaslr, mut rng) = ([0; 8], [0; 64]);
    random.read_exact(&mut kaslr)?;
    random.read_exact(&mut rng)?;
    let kaslr = u64::from_le_bytes(kaslr);
    Ok(Seed { kaslr, rng })
}

/// Loads kernel and initramfs into new memory.
fn load(config: &Config) -> Result<(Layout, Ram), Error> {
    let kernel_path = config.kernel.display();
    let kernel_error = |why| Error::option("--kernel", &kernel_path, why);
    let kernel = Kernel::open(&config.kernel).map_err(kernel_error)?;
    let initrd_error = |why| {
        let path = config.initrd.clone().unwrap_or_default();
        Error::option("--initrd", &path.display(), why)
    };
    let initrd = config.initrd.as_deref().map(load::open_initrd).transpose();
    let initrd = initrd.map_err(initrd_error)?;

    let mib = format!("{}M", config.memory >> 20);
    let size = initrd.as_ref().map(|(_, len)| *len);
    let layout = Layout::new(config.memory, config.dma_pool, &kernel.header, size)
        .map_err(|why| Error::option("--mem", &mib, why))?;
    let ram = Ram::map(&layout.ram).map_err(|e| Error::option("--mem", &mib, e.to_string()))?;
    let memory = ram.view(&layout.ram);
    kernel.load(&memory, &layout).map_err(kernel_error)?;
    if let Some((file, _)) = initrd {
        load::load_initrd(file, &memory, &layout).map_err(initrd_error)?;
    }
    Ok((layout, ram))
}

/// Where the guest's memory is, for a test that looks for its secrets in the host.
fn announce(config: &Config, layout: &Layout, ram: &Ram) {
    let range = |range: &std::ops::Range<u64>| serde_json::json!({ "guest": range.start, "size": range.end - range.start });
    let place = serde_json::json!({
        "name": config.name,
        "pid": std::process::id(),
        "protected": config.protected,
        "ram": { "guest": layout.ram.start, "size": ram.size(), "user": ram.address() },
        "pool": layout.pool.as_ref().map(range),
    });
    // As with every message: if it fails there is nobody to tell.
    let _ = writeln!(io::stderr(), "{place}");
}

/// Runs a guest to its end.
pub fn run<H: Hypervisor>(
    config: &Config,
    hypervisor: &H,
    wires: Wires,
    (events, told): (Events, mpsc::Receiver<Event>),
) -> Result<Ending, Error> {
    check_limits(config, hypervisor)?;
    let cmdline = command_line(config)?;
    let peripherals = Peripherals::open(config)?;
    let (layout, ram) = load(config)?;
    let internal = |doing| move |source| Error::Internal { doing, source };
    guard::set(ram).map_err(internal("sigaction of SIGBUS"))?;
    if let Some(path) = &config.search {
        search::serve(ram, path)
            .map_err(|e| Error::option("--search", &path.display(), e.to_string()))?;
    }

    let vm = Arc::new(hypervisor.create(config.protected)?);
    vm.set_memory(layout.ram.start, ram.size(), ram.address())?;
    let vcpus: Result<Vec<_>, _> = (0..config.cpus).map(|n| vm.create_vcpu(n)).collect();
    let vcpus = vcpus?;
    let mpidrs: Result<Vec<_>, _> = vcpus.iter().map(Vcpu::mpidr).collect();
    vm.create_gic(config.cpus)?;

    let stopping = Arc::new(AtomicBool::new(false));
    let failed = events.clone();
    let output = Output::new(wires.output, stopping.clone(), move |e| {
        tell(&failed, Event::Failed(Error::Output(e)));
    });
    let mut board = Board {
        vm: vm.clone(),
        events: events.clone(),
        // The DMA pool alone, where there is one: the rest is not the devices' to touch.
        memory: ram.view(layout.pool.as_ref().unwrap_or(&layout.ram)),
        restricted: config.dma_pool,
        bus: Bus::default(),
        virtio: 0,
    };
    let serial = config.console == ConsoleKind::Serial;
    // A UART knows when the guest listens.
    let typed = Arc::new(if serial {
        Input::default()
    } else {
        Input::held()
    });
    let heard = serial.then(|| typed.clone());
    let uart = Uart::new(board.line(layout::UART_SPI), output.clone(), heard);
    let uart = Arc::new(uart);
    board.bus.add(layout::UART, uart.clone());
    let panicked = events.clone();
    let on_panic = move || tell(&panicked, Event::Ended(Ending::Crash));
    board
        .bus
        .add(layout::PVPANIC, Arc::new(Pvpanic { on_panic }));
    if let Some(size) = wires.size {
        typed.set_size(size);
    }
    let console = (!serial).then(|| {
        let console = Console::new(output, typed.clone());
        board.add("the console".into(), Box::new(console))
    });
    let memory = board.memory.clone();
    peripherals.place(&mut board, &memory)?;

    let seed = if config.protected {
        None
    } else {
        Some(seed().map_err(internal("random bytes"))?)
    };
    let tree = fdt::build(&Description {
        cmdline: &cmdline,
        mpidrs: &mpidrs?,
        ram: layout.ram.clone(),
        initrd: layout.initrd.clone(),
        pool: layout.pool.clone(),
        virtio: board.virtio,
        seed,
    })
    .map_err(|e| Error::Internal {
        doing: "the device tree",
        source: io::Error::other(e.to_string()),
    })?;
    assert!(
        tree.len() as u64 <= layout::FDT_SIZE,
        "as a test shows for the largest guest"
    );
    ram.view(&layout.ram)
        .write_slice(&tree, GuestAddress(layout.fdt.start))
        .map_err(|e| Error::Internal {
            doing: "the device tree",
            source: io::Error::other(e),
        })?;
    vcpus[0].set_entry(layout.kernel.start, layout.fdt.start)?;
    if config.json {
        announce(config, &layout, &ram);
    }

    let (input, is_terminal) = (wires.input, wires.is_terminal);
    let (held, listener, port) = (typed.clone(), console.clone(), uart.clone());
    let told_of = events.clone();
    thread::Builder::new()
        .name("input".into())
        .spawn(move || {
            let hand_on = || match &listener {
                Some(console) => console.serve(RECEIVE),
                None => port.receive(),
            };
            input::pump(input, is_terminal, &held, &hand_on, &told_of);
        })
        .map_err(internal("a thread"))?;
    if let Some(listener) = console.clone() {
        let held = typed.clone();
        thread::Builder::new()
            .name("console".into())
            .spawn(move || {
                held.wait_for_quiet();
                listener.serve(RECEIVE);
                // Linux reads the size when it is told of a change, and not before.
                if held.size().is_some() {
                    listener.config_changed();
                }
            })
            .map_err(internal("a thread"))?;
    }
    if is_terminal {
        terminal::say(format_args!("{}: press Ctrl-A x to leave it", config.name));
    }
    let crew = Crew::start(vcpus, Arc::new(board.bus), stopping, &events)?;
    let end = wait(&told, &typed, console.as_deref());
    crew.stop();
    // Who leaves does not wait for an output that is stuck.
    if matches!(end, Ok(Ending::PowerOff | Ending::Reset | Ending::Crash)) {
        // What failed there was told when it failed.
        let _told = uart.finish();
    }
    end
}

/// Waits for what ends the guest.
fn wait(
    told: &mpsc::Receiver<Event>,
    typed: &Input,
    console: Option<&Slot>,
) -> Result<Ending, Error> {
    loop {
        match told.recv() {
            Ok(Event::Ended(ending)) => return Ok(ending),
            Ok(Event::Failed(error)) => return Err(error),
            Ok(Event::Signal(signal)) => return Ok(Ending::Signal(signal)),
            Ok(event @ (Event::Resized | Event::Continued)) => {
                if matches!(event, Event::Continued) {
                    let source = terminal::again();
                    source.map_err(|source| Error::Internal {
                        doing: "the terminal",
                        source,
                    })?;
                }
                // A UART has no way to tell.
                if let (Some(console), Some((columns, rows))) = (console, terminal::size()) {
                    if typed.set_size(Size { columns, rows }) {
                        console.config_changed();
                    }
                }
            }
            Err(mpsc::RecvError) => return Err(Error::Guest("all vCPUs are gone".into())),
        }
    }
}

#[cfg(test)]
mod tests;
