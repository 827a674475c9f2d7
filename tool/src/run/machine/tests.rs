// SPDX-License-Identifier: Apache-2.0
//! A whole guest on a hypervisor made of software, whose vCPUs do what the test says.

use std::sync::atomic::Ordering;
use std::sync::Mutex;
use std::time::Duration;

use vmm_sys_util::tempfile::TempFile;

use super::super::hypervisor::{Access, Exit, Kick};
use super::super::image;
use super::*;

type Script = Arc<dyn Fn(u32, &mut dyn FnMut(Access<'_>)) -> io::Result<Exit> + Send + Sync>;

/// What was asked of the hypervisor.
#[derive(Default)]
struct Log {
    memory: Option<(u64, u64, u64)>,
    entry: Option<(u64, u64)>,
    gic: Option<u32>,
    irqs: Vec<(u32, bool)>,
    protected: bool,
}

#[derive(Clone)]
struct Fake {
    script: Script,
    log: Arc<Mutex<Log>>,
    number: u32,
    kicked: Arc<AtomicBool>,
}

fn fake(
    script: impl Fn(u32, &mut dyn FnMut(Access<'_>)) -> io::Result<Exit> + Send + Sync + 'static,
) -> Fake {
    Fake {
        script: Arc::new(script),
        log: Arc::default(),
        number: 0,
        kicked: Arc::default(),
    }
}

impl Hypervisor for Fake {
    type Vm = Fake;
    fn max_cpus(&self) -> u32 {
        8
    }
    fn address_bits(&self) -> u32 {
        36
    }
    fn create(&self, protected: bool) -> Result<Fake, Error> {
        self.log.lock().unwrap().protected = protected;
        Ok(self.clone())
    }
}

impl Vm for Fake {
    type Vcpu = Fake;
    fn set_memory(&self, guest: u64, size: u64, user: u64) -> Result<(), Error> {
        self.log.lock().unwrap().memory = Some((guest, size, user));
        Ok(())
    }
    fn create_vcpu(&self, number: u32) -> Result<Fake, Error> {
        let kicked = Arc::default();
        Ok(Fake {
            number,
            kicked,
            ..self.clone()
        })
    }
    fn create_gic(&self, cpus: u32) -> Result<(), Error> {
        self.log.lock().unwrap().gic = Some(cpus);
        Ok(())
    }
    fn set_irq(&self, spi: u32, high: bool) -> io::Result<()> {
        self.log.lock().unwrap().irqs.push((spi, high));
        Ok(())
    }
}

impl Vcpu for Fake {
    type Kick = Arc<AtomicBool>;
    fn mpidr(&self) -> Result<u64, Error> {
        Ok(1 << 31 | u64::from(self.number))
    }
    fn set_entry(&self, pc: u64, x0: u64) -> Result<(), Error> {
        assert_eq!(self.number, 0);
        self.log.lock().unwrap().entry = Some((pc, x0));
        Ok(())
    }
    fn kick(&mut self) -> Arc<AtomicBool> {
        self.kicked.clone()
    }
    fn run(&mut self, mmio: &mut dyn FnMut(Access<'_>)) -> io::Result<Exit> {
        if self.kicked.load(Ordering::SeqCst) {
            return Ok(Exit::Interrupted);
        }
        (self.script)(self.number, mmio)
    }
}

impl Kick for Arc<AtomicBool> {
    fn leave(&self) {
        self.store(true, Ordering::SeqCst);
    }
}

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A guest of 32 MiB with a kernel of one page, and its files.
fn config(protected: bool) -> (Config, TempFile, TempFile) {
    let (kernel, disk) = (TempFile::new().unwrap(), TempFile::new().unwrap());
    kernel.as_file().write_all(&image::header(0, 4096)).unwrap();
    disk.as_file().set_len(1 << 20).unwrap();
    let config = Config {
        name: "test".into(),
        device: "/dev/fake".into(),
        protected,
        dma_pool: protected,
        cpus: 2,
        memory: 32 << 20,
        kernel: kernel.as_path().into(),
        initrd: None,
        cmdline: "quiet".into(),
        console: ConsoleKind::Virtio,
        disks: vec![super::super::DiskSpec {
            path: disk.as_path().into(),
            read_only: true,
        }],
        net: None,
        vsock: None,
        json: false,
        search: None,
    };
    (config, kernel, disk)
}

fn boot(
    config: &Config,
    hypervisor: &Fake,
    output: Box<dyn Write + Send>,
) -> Result<Ending, Error> {
    let wires = Wires {
        input: Box::new(io::empty()),
        is_terminal: false,
        output,
        size: None,
    };
    run(config, hypervisor, wires, mpsc::channel())
}

fn system(kind: u32) -> io::Result<Exit> {
    Ok(Exit::System(kind, vec![]))
}

#[test]
fn a_guest_is_put_together_prints_and_ends() {
    for protected in [false, true] {
        // vCPU 0 prints and powers off; the other one waits in the guest until it is kicked.
        let hypervisor = fake(|number, mmio| {
            if number > 0 {
                thread::sleep(Duration::from_millis(1));
                return Ok(Exit::Again);
            }
            for byte in b"hi\nth" {
                let (address, data) = (layout::UART, &[*byte][..]);
                mmio(Access::Write { address, data });
            }
            system(1)
        });
        let (config, _kernel, _disk) = config(protected);
        let screen = Screen::default();
        let end = boot(&config, &hypervisor, Box::new(screen.clone()));
        assert_eq!(end.unwrap(), Ending::PowerOff);
        assert_eq!(*screen.0.lock().unwrap(), b"hi\nth");

        let log = hypervisor.log.lock().unwrap();
        let (guest, size, user) = log.memory.unwrap();
        assert_eq!(
            (guest, size, user % layout::BLOCK),
            (layout::RAM, 32 << 20, 0)
        );
        let (pc, x0) = log.entry.unwrap();
        assert_eq!((pc, x0), (layout::RAM, layout::RAM + layout::BLOCK));
        assert_eq!((log.gic, log.protected), (Some(2), protected));
        // A Ram is never unmapped, so what was loaded can still be looked at.
        let read = |at: u64, len: usize| {
            // SAFETY: the range is in the memory that the log names, which nobody writes to now.
            unsafe { std::slice::from_raw_parts((user + at - guest) as *const u8, len) }
        };
        assert_eq!(read(pc, image::HEADER), image::header(0, 4096));
        assert_eq!(read(x0, 4), [0xd0, 0x0d, 0xfe, 0xed]);
        let tree = String::from_utf8_lossy(read(x0, layout::FDT_SIZE as usize));
        assert!(tree.contains("console=hvc0"));
        assert_eq!(tree.contains("default_quality=0"), protected);
        assert_eq!(tree.contains("restricted-dma-pool"), protected);
        assert_eq!(tree.contains("rng-seed"), !protected);
    }
}

#[test]
fn the_devices_are_where_the_tree_says() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let ids = seen.clone();
    let hypervisor = fake(move |_, mmio| {
        for index in 0..4 {
            let mut data = [0; 4];
            let address = layout::VIRTIO + index * layout::STRIDE + 8;
            mmio(Access::Read {
                address,
                data: &mut data,
            });
            ids.lock().unwrap().push(u32::from_le_bytes(data));
        }
        system(2)
    });
    let (mut config, _kernel, _disk) = config(true);
    config.cpus = 1;
    let end = boot(&config, &hypervisor, Box::new(io::sink())).unwrap();
    assert_eq!(end, Ending::Reset);
    // Console, entropy, disk, nothing.
    assert_eq!(*seen.lock().unwrap(), [3, 4, 2, u32::MAX]);
}

/// Makes a queue of the entropy device ready at an address; answers the device's status.
fn status_of_queue_at(at: u64, mmio: &mut dyn FnMut(Access<'_>)) -> u32 {
    use virtio_bindings::virtio_mmio as reg;
    let base = layout::VIRTIO + layout::STRIDE;
    let mut set = |register: u32, value: u64| {
        let address = base + u64::from(register);
        let data = &(value as u32).to_le_bytes()[..];
        mmio(Access::Write { address, data });
    };
    set(reg::VIRTIO_MMIO_STATUS, 0);
    set(reg::VIRTIO_MMIO_STATUS, 3);
    // VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM.
    set(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    set(reg::VIRTIO_MMIO_DRIVER_FEATURES, 3);
    set(reg::VIRTIO_MMIO_STATUS, 11);
    set(reg::VIRTIO_MMIO_QUEUE_NUM, 16);
    set(reg::VIRTIO_MMIO_QUEUE_DESC_LOW, at);
    set(reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW, at + 0x1000);
    set(reg::VIRTIO_MMIO_QUEUE_USED_LOW, at + 0x2000);
    set(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    let mut data = [0; 4];
    let address = base + u64::from(reg::VIRTIO_MMIO_STATUS);
    mmio(Access::Read {
        address,
        data: &mut data,
    });
    u32::from_le_bytes(data)
}

#[test]
fn devices_of_a_protected_guest_reach_its_pool_alone() {
    const RUNNING: u32 = 11;
    const NEEDS_RESET: u32 = 64;
    for protected in [false, true] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = seen.clone();
        let hypervisor = fake(move |_, mmio| {
            let end = layout::RAM + (32 << 20);
            let pool = end - (8 << 20);
            for at in [layout::RAM, pool - 0x2000, pool, end - 0x3000, end] {
                told.lock().unwrap().push(status_of_queue_at(at, mmio));
            }
            system(1)
        });
        let (mut config, _kernel, _disk) = config(protected);
        config.cpus = 1;
        boot(&config, &hypervisor, Box::new(io::sink())).unwrap();
        let outside = if protected {
            RUNNING | NEEDS_RESET
        } else {
            RUNNING
        };
        let expected = [outside, outside, RUNNING, RUNNING, RUNNING | NEEDS_RESET];
        assert_eq!(*seen.lock().unwrap(), expected, "{protected}");
    }
}

/// Reads the 16550 as an early boot does, then as a terminal does, and gives back what it got.
#[test]
fn a_serial_console_gets_what_is_typed_once_it_listens() {
    let hypervisor = fake(|_, mmio| {
        let mut get = |offset| {
            let mut data = [0];
            let address = layout::UART + offset;
            mmio(Access::Read {
                address,
                data: &mut data,
            });
            data[0]
        };
        if get(5) & 1 == 0 {
            // The interrupt of the receiver.
            let address = layout::UART + 1;
            mmio(Access::Write {
                address,
                data: &[1],
            });
            thread::sleep(Duration::from_millis(1));
            return Ok(Exit::Again);
        }
        let byte = get(0);
        let address = layout::UART;
        mmio(Access::Write {
            address,
            data: &[byte],
        });
        if byte == b'!' {
            system(1)
        } else {
            Ok(Exit::Again)
        }
    });
    let (mut config, _kernel, _disk) = config(true);
    (config.console, config.cpus) = (ConsoleKind::Serial, 1);
    let screen = Screen::default();
    let wires = Wires {
        input: Box::new(&b"hello!"[..]),
        is_terminal: false,
        output: Box::new(screen.clone()),
        size: None,
    };
    let end = run(&config, &hypervisor, wires, mpsc::channel()).unwrap();
    assert_eq!(end, Ending::PowerOff);
    assert_eq!(*screen.0.lock().unwrap(), b"hello!");
    let log = hypervisor.log.lock().unwrap();
    let (guest, _, user) = log.memory.unwrap();
    let tree = log.entry.unwrap().1;
    // SAFETY: as above: the range is in memory that is never unmapped and that nobody writes to now.
    let tree = unsafe {
        let at = (user + tree - guest) as *const u8;
        std::slice::from_raw_parts(at, layout::FDT_SIZE as usize)
    };
    let tree = String::from_utf8_lossy(tree);
    assert!(tree.contains("console=ttyS0") && !tree.contains("hvc0"));
}

#[test]
fn a_panic_is_told_by_pvpanic() {
    let hypervisor = fake(|_, mmio| {
        let (address, data) = (layout::PVPANIC, &[1][..]);
        mmio(Access::Write { address, data });
        Ok(Exit::Again)
    });
    let (config, _kernel, _disk) = config(false);
    let end = boot(&config, &hypervisor, Box::new(io::sink())).unwrap();
    assert_eq!(end, Ending::Crash);
}

#[test]
fn an_output_that_is_closed_ends_the_guest() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let hypervisor = fake(|_, mmio| {
        let (address, data) = (layout::UART, &b"\n"[..]);
        mmio(Access::Write { address, data });
        Ok(Exit::Again)
    });
    let (config, _kernel, _disk) = config(false);
    let error = boot(&config, &hypervisor, Box::new(Closed)).unwrap_err();
    assert!(matches!(error, Error::Output(e) if e.kind() == io::ErrorKind::BrokenPipe));
}

#[test]
fn limits_name_the_option_its_value_and_the_limit() {
    let hypervisor = fake(|_, _| system(1));
    let (good, _kernel, _disk) = config(true);
    let error = |change: &dyn Fn(&mut Config)| {
        let mut config = good.clone();
        change(&mut config);
        let error = boot(&config, &hypervisor, Box::new(io::sink())).unwrap_err();
        assert!(matches!(error, Error::Option { .. }), "{error:?}");
        error.to_string()
    };
    for (text, parts) in [
        (
            error(&|c| c.cpus = 9),
            &["--cpus 9: ", "/dev/fake", "at most 8"][..],
        ),
        (
            error(&|c| c.memory = 1 << 36),
            &["--mem 65536M: ", "36 bits", "at most 63488M"],
        ),
        (
            error(&|c| c.memory = 8 << 20),
            &["--mem 8M: ", "at least 12 MiB"],
        ),
        (
            error(&|c| c.kernel = "/nonexistent".into()),
            &["--kernel /nonexistent: No such file"],
        ),
        (
            error(&|c| c.initrd = Some("/none".into())),
            &["--initrd /none: No such file"],
        ),
        (
            error(&|c| c.cmdline = "x".repeat(2048)),
            &["--cmdline", "2048 bytes; at most "],
        ),
        (
            error(&|c| c.disks[0].path = "/dev/null".into()),
            &["--disk /dev/null: neither"],
        ),
        (
            error(&|c| c.disks = vec![c.disks[0].clone(); 31]),
            &["--disk 31: at most 30"],
        ),
        (
            error(&|c| {
                let tap = "mvirt-none".into();
                c.net = Some(super::super::NetSpec { tap, mac: None });
            }),
            &["--net tap=mvirt-none: "],
        ),
    ] {
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
