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
from plan import Boot

QEMU = "qemu-system-aarch64"
# panic=-1 reboots at once after a panic, and -no-reboot makes that an exit of QEMU.
# printk.devkmsg lifts the limit on how much a test may write into the log.
COMMAND_LINE = "console=ttyAMA0 panic=-1 oops=panic ignore_loglevel printk.devkmsg=on"
# Where a boot's own entry lies: clear of the kernel, and of the initrd at 128 MiB.
ENTRY = 0x50000000
# A machine that says it is done has this long to power itself off, in seconds.
POWER_OFF = 20


@dataclasses.dataclass(frozen=True)
class Images:
    """What machines boot: kernels by kind, the initramfs, the directory of entry blobs."""

    kernels: dict[str, pathlib.Path]
    initrd: pathlib.Path
    blobs: pathlib.Path


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


def _device_tree(boot: Boot, machine: list[str], directory: pathlib.Path) -> list[str]:
    """QEMU's own device tree with the boot's edits; QEMU keeps a /psci node that it is given."""
    blob = directory / "machine.dtb"
    dump = [*machine, "-machine", f"dumpdtb={blob}"]
    subprocess.run([QEMU, *dump], check=True, capture_output=True, timeout=30)
    for edit in boot.dtb:
        words = edit.split()
        flags = [w for w in words if w.startswith("-")]
        rest = [w for w in words if not w.startswith("-")]
        subprocess.run(["fdtput", *flags, str(blob), *rest], check=True, capture_output=True)
    return ["-dtb", str(blob)]


def command(boot: Boot, images: Images, tmp: pathlib.Path) -> list[str]:
    """QEMU's command line for a boot."""
    machine = ["-M", boot.machine, "-cpu", boot.cpu, "-smp", str(boot.smp), "-m", boot.mem]
    machine += ["-display", "none", "-nic", "none"]
    append = " ".join(filter(None, (COMMAND_LINE, boot.host, boot.append)))
    programs = ";".join(boot.programs)
    argv = [QEMU, *machine, "-serial", "stdio", "-monitor", "none", "-no-reboot"]
    argv += ["-kernel", str(images.kernels[boot.kernel])]
    argv += ["-initrd", str(images.initrd)]
    argv += ["-append", f'{append} selftest="{boot.test}:{programs}"']
    if boot.entry:
        blob = images.blobs / boot.entry
        argv += ["-device", f"loader,file={blob},addr={ENTRY:#x},cpu-num=0,force-raw=on"]
    return argv + (_device_tree(boot, machine, tmp) if boot.dtb else [])


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
    console = Console()
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
    cases = console.cases + console.verdict(ended, status, boot.report)
    return Outcome(boot, cases, log)
