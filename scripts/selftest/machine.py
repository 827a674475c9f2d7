# SPDX-License-Identifier: GPL-2.0
"""Boots one machine under QEMU, reads its console to the end or to the deadline."""

import dataclasses
import pathlib
import queue
import subprocess
import tempfile
import threading
import time

from console import Case, Console
from plan import Boot, PlanError

QEMU = "qemu-system-aarch64"
# panic=-1 reboots at once after a panic, and -no-reboot makes that an exit of QEMU.
# printk.devkmsg lifts the limit on how much a test may write into the log.
COMMAND_LINE = "console=ttyAMA0 panic=-1 oops=panic ignore_loglevel printk.devkmsg=on"
# As in scripts/qemu-host.sh: a count of instructions is the clock, and nothing is random.
ICOUNT = ["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm", "-seed", "1"]
ICOUNT_MACHINE, ICOUNT_WORD = ",dtb-randomness=off", "nokaslr"
# Where a boot's own entry lies: clear of the kernel, and of the initrd at 128 MiB.
ENTRY = 0x50000000
# As in selftests/lib/device-tree.S, and with ENTRY in selftests/smc/firmware.S.
DTB_OFFSET = 0x10000
# As in selftests/smc/firmware.S and selftests/suspend/firmware/firmware.h.
KERNEL = 0x40200000
# Of the first idle state; QEMU's own handles are 0x8000 and up.
IDLE_PHANDLE = 0x100
# Where RAM starts on the virt machine; the size of a further piece of it, and of the gap before it.
RAM = 0x40000000
PIECE = 2 << 20
# A machine that says it is done has this long to power itself off, in seconds.
POWER_OFF = 20


@dataclasses.dataclass(frozen=True)
class Images:
    """What machines boot: kernels by kind, the initramfs, the directory of entry blobs."""

    kernels: dict[str, pathlib.Path]
    initrd: pathlib.Path
    blobs: pathlib.Path
    guest: pathlib.Path | None = None  # the initramfs with a guest in it
    debian: pathlib.Path | None = None  # the initramfs with Debian's guests in it
    disk: pathlib.Path | None = None  # the disk of Debian's guest


@dataclasses.dataclass
class Outcome:
    """What became of a boot."""

    boot: Boot
    cases: list[Case]
    log: pathlib.Path


class _Reader(threading.Thread):
    """Puts the console's lines into a queue with the time of their arrival; None at its end."""

    def __init__(self, stream, start: float) -> None:
        super().__init__(daemon=True)
        self.lines: queue.Queue = queue.Queue()
        self._stream, self._start = stream, start

    def run(self) -> None:
        for raw in self._stream:
            text = raw.decode("utf-8", "replace")
            self.lines.put((text, time.monotonic() - self._start))
        self.lines.put(None)


def _loader(blob: pathlib.Path, address: int) -> list[str]:
    return ["-device", f"loader,file={blob},addr={address:#x},force-raw=on"]


def _start_at(blob: pathlib.Path) -> list[str]:
    *device, options = _loader(blob, ENTRY)
    return [*device, f"{options},cpu-num=0"]


def size(text: str) -> int:
    """Bytes of a size such as 4M."""
    return int(text[:-1]) << {"M": 20, "G": 30}[text[-1]]


def _drive(boot: Boot, tmp: pathlib.Path) -> list[str]:
    """An empty disk on virtio-mmio."""
    disk = tmp / "disk"
    with open(disk, "wb") as f:
        f.truncate(size(boot.drive))
    drive = f"file={disk},if=none,id=disk,format=raw"
    return ["-drive", drive, "-device", "virtio-blk-device,drive=disk"]


def ram(boot: Boot) -> list[tuple[int, int]]:
    """Base and size of the ranges of RAM that the kernel is told of."""
    half = size(boot.mem) // 2
    pieces = [RAM + half + (2 * n + 1) * PIECE for n in range(boot.ram_ranges - 1)]
    if pieces[-1] + PIECE > RAM + 2 * half:
        raise PlanError(f"{boot.slug}: {boot.mem} is not enough for {boot.ram_ranges} ranges")
    return [(RAM, half), *((base, PIECE) for base in pieces)]


def _edits(boot: Boot) -> list[str]:
    """What fdtput is to do."""
    edits = list(boot.dtb)
    if boot.ram_ranges > 1:
        cells = [c for pair in ram(boot) for v in pair for c in (v >> 32, v & 0xFFFFFFFF)]
        edits.append(f"-tx /memory@{RAM:x} reg {' '.join(f'{c:x}' for c in cells)}")
    return edits + idle_edits(boot)


def idle_edits(boot: Boot) -> list[str]:
    """As Documentation/devicetree/bindings/cpu/idle-states.yaml of the kernel wants it."""
    handles = [f"{IDLE_PHANDLE + n:x}" for n in range(len(boot.idle_states))]
    edits = []
    for state, handle in zip(boot.idle_states, handles, strict=True):
        param, residency, *stops = state.split()
        if stops not in ([], ["stops"]):
            raise PlanError(f"{boot.slug}: no idle state is '{state}'")
        node = f"/cpus/idle-states/cpu-{param}"
        edits += [f"-cp {node}", f"-ts {node} compatible arm,idle-state"]
        edits += [f"-tx {node} arm,psci-suspend-param {param}", f"-tx {node} phandle {handle}"]
        # Of what it saves the test machine knows nothing: half of the residency each way.
        for name, part in (("entry-latency", 2), ("exit-latency", 2), ("min-residency", 1)):
            edits.append(f"-tu {node} {name}-us {int(residency) // part}")
        if stops:
            # The timer's node says that it never stops, and the kernel believes that first.
            edits += ["-d /timer always-on", f"{node} local-timer-stop"]
    if handles:
        edits.append("-ts /cpus/idle-states entry-method psci")
        cells = " ".join(handles)
        for cpu in range(boot.smp):
            # QEMU leaves it out where there is one CPU, and the kernel asks for it.
            edits.append(f"-ts /cpus/cpu@{cpu:x} enable-method psci")
            edits.append(f"-tx /cpus/cpu@{cpu:x} cpu-idle-states {cells}")
    return edits


def _device_tree(boot: Boot, argv: list[str], tmp: pathlib.Path) -> pathlib.Path:
    """The tree that QEMU would give the kernel, with the boot's edits."""
    tree = tmp / "machine.dtb"
    dump = [*argv, "-machine", f"dumpdtb={tree}"]
    subprocess.run(dump, check=True, capture_output=True, timeout=30)
    for edit in _edits(boot):
        words = edit.split()
        flags = [w for w in words if w.startswith("-")]
        rest = [w for w in words if not w.startswith("-")]
        subprocess.run(["fdtput", *flags, str(tree), *rest], check=True, capture_output=True)
    return tree


def _with_tree(boot: Boot, argv: list[str], images: Images, tmp: pathlib.Path) -> list[str]:
    """The edited tree, and who hands it over. Not by -dtb: QEMU writes its own /psci into that."""
    tree = _device_tree(boot, argv, tmp)
    handover = _start_at(images.blobs / "lib/device-tree.bin")
    return [*argv, *handover, *_loader(tree, ENTRY + DTB_OFFSET)]


def _under_firmware(
    boot: Boot, machine: list[str], kernel: list[str], images: Images, tmp: pathlib.Path
) -> list[str]:
    """With a firmware QEMU loads no kernel: all that the tree speaks of is put into RAM here."""
    tree = _device_tree(boot, [*machine, *kernel], tmp)
    get = ["fdtget", "-tx", str(tree), "/chosen", "linux,initrd-start"]
    cells = subprocess.run(get, check=True, capture_output=True, text=True).stdout.split()
    initrd = int("".join(f"{int(cell, 16):08x}" for cell in cells), 16)
    loaded = [(images.kernels[boot.kernel], KERNEL), (_initrd(boot, images), initrd)]
    loaded.append((tree, ENTRY + DTB_OFFSET))
    devices = [word for blob, address in loaded for word in _loader(blob, address)]
    return [*machine, "-bios", str(images.blobs / boot.firmware), *devices]


def _initrd(boot: Boot, images: Images) -> pathlib.Path | None:
    if boot.debian:
        return images.debian
    return images.guest if boot.guest else images.initrd


def command(boot: Boot, images: Images, tmp: pathlib.Path) -> list[str]:
    """QEMU's command line for a boot."""
    kind = boot.machine + (ICOUNT_MACHINE if boot.icount else "")
    machine = [QEMU, "-M", kind, "-cpu", boot.cpu, "-smp", str(boot.smp), "-m", boot.mem]
    machine += ICOUNT if boot.icount else []
    machine += ["-display", "none", "-nic", "none"]
    machine += ["-serial", "stdio", "-monitor", "none", "-no-reboot"]
    if boot.drive:
        machine += _drive(boot, tmp)
    if boot.debian:
        # What is written to it is gone when the machine is.
        machine += ["-drive", f"file={images.disk},if=none,id=debian,format=raw,snapshot=on"]
        machine += ["-device", "virtio-blk-device,drive=debian"]
    clock = ICOUNT_WORD if boot.icount else ""
    append = " ".join(filter(None, (COMMAND_LINE, clock, boot.host, boot.append)))
    programs = ";".join(boot.programs)
    kernel = ["-kernel", str(images.kernels[boot.kernel])]
    kernel += ["-initrd", str(_initrd(boot, images))]
    kernel += ["-append", f'{append} selftest="{boot.test}:{programs}"']
    if boot.firmware:
        return _under_firmware(boot, machine, kernel, images, tmp)
    argv = [*machine, *kernel]
    if boot.entry:
        argv += _start_at(images.blobs / boot.entry)
    return _with_tree(boot, argv, images, tmp) if _edits(boot) else argv


def _watch(process: subprocess.Popen, reader: _Reader, console: Console, boot: Boot) -> str:
    """Feeds the console until QEMU ends or a deadline passes; says which."""
    start = time.monotonic()
    deadline = start + boot.timeout
    while (left := deadline - time.monotonic()) > 0:
        try:
            item = reader.lines.get(timeout=left)
        except queue.Empty:
            break
        if item is None:
            status = process.wait()
            return "powered off" if status == 0 else f"QEMU ended with status {status}"
        was_done = console.done
        console.feed(*item)
        if console.done and not was_done:
            if not boot.poweroff:
                return "done"
            deadline = time.monotonic() + POWER_OFF
    if console.done:
        return f"no power-off within {POWER_OFF} s"
    return f"timeout after {boot.timeout} s"


def run(boot: Boot, images: Images, logs: pathlib.Path) -> Outcome:
    """Boots, waits, judges. The log holds the command line and the whole console."""
    log = logs / f"{boot.slug}.log"
    start = time.monotonic()
    console = Console(boot.programs)
    with tempfile.TemporaryDirectory(prefix="mvirt-selftest-") as tmp:
        argv = command(boot, images, pathlib.Path(tmp))
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        process = subprocess.Popen(argv, stderr=subprocess.STDOUT, **pipes)
        reader = _Reader(process.stdout, start)
        reader.start()
        try:
            status = _watch(process, reader, console, boot)
        finally:
            process.kill()
            process.wait()
    log.write_text("\n".join([" ".join(argv), *console.lines, f"({status})", ""]))
    ended = status == ("powered off" if boot.poweroff else "done")
    cases = console.cases + console.verdict(ended, status, boot.report, boot.complaint)
    return Outcome(boot, cases, log)
