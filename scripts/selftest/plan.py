# SPDX-License-Identifier: GPL-2.0
"""What is to be booted: reads each test's test.toml and crosses its axes.

A test is a directory below selftests/ with a test.toml:

    about = "one line"
    timeout = 60                 seconds for a boot, unless the boot says otherwise
    [[boot]]                     one or more; a list in an axis is crossed with the other axes
    name = "late"                set when a test boots in more than one way
    matrix = "smoke"             "smoke": in both matrices; "full", the default: in that alone
    cpu = ["cortex-a76", "max"]  axis, -cpu
    smp = [1, 4]                 axis, -smp
    mem = ["1G"]                 axis, -m
    programs = ["load mvirt"]    run in the guest one after the other, each with TAP on its stdout
    append = "maxcpus=1"         for the kernel's command line
    host = "..."                 replaces DEFAULT_HOST on the command line
    machine = "..."              replaces DEFAULT_MACHINE
    dtb = ["-ts / name value"]   fdtput edits of QEMU's device tree
    idle_states = ["10001 500"]  idle states of all CPUs, shallow ones first: what CPU_SUSPEND
                                 gets, in hexadecimal, and the microseconds from which on one is
                                 worth it; "stops" behind them: the local timer stops
    ram_ranges = 65              RAM comes in so many ranges: the first half, then 2 MiB each
    entry = "TEST/NAME.bin"      the first CPU starts in this, which goes on to QEMU's own loader
    firmware = "TEST/NAME.bin"   runs at EL3 in place of QEMU's PSCI and starts the kernel itself
    poweroff = false             the machine cannot power itself off (no PSCI 0.2)
    debian = true                the machine has Debian's guest, its disk and its kernel, in /guest
    guest = true                 the machine has a kernel and an initramfs for guests, in /guest
    drive = "4M"                 size of an empty virtio disk, /dev/vda
    kernel = "builtin"           boots that kind of kernel instead of the one under test
    icount = true                virtual time counts instructions, 1 ns each, whatever the load
    version = "7.3.4"            only where the kernel under test is of that version
    report = ["regex", ...]      the boot ends in a panic or a restart whose console shows these, in
                                 this order; what the kernel complains of has to be among them
    complaint = ["regex", ...]   what the kernel has to complain of, and else nothing: the test is
                                 about that
"""

import dataclasses
import itertools
import pathlib
import re
import tomllib

# A kernel with KVM would otherwise take EL2 before us, and one on a core with VHE live there.
DEFAULT_HOST = "kvm-arm.mode=none id_aa64mmfr1.vh=0"
DEFAULT_MACHINE = "virt,virtualization=on,gic-version=3"
AXES = ("cpu", "smp", "mem")
SIZE = re.compile(r"[1-9][0-9]*[MG]")
MATRICES = ("smoke", "full")
# QEMU's models without 16 KiB pages (ID_AA64MMFR0_EL1.TGran16 is 0), with or without options behind
# a comma: a kernel with such pages stops on them before it has a console.
WITHOUT_16K = ("cortex-a35", "cortex-a53", "cortex-a57", "cortex-a72")


class PlanError(Exception):
    """A test.toml that cannot be obeyed."""


@dataclasses.dataclass(frozen=True)
class Boot:
    """One machine to boot, and what to run on it."""

    test: str
    cpu: str
    smp: int
    mem: str
    programs: tuple[str, ...]
    timeout: int
    name: str = ""
    matrix: str = "full"
    append: str = ""
    host: str = DEFAULT_HOST
    machine: str = DEFAULT_MACHINE
    dtb: tuple[str, ...] = ()
    idle_states: tuple[str, ...] = ()
    ram_ranges: int = 1
    entry: str = ""
    firmware: str = ""
    poweroff: bool = True
    guest: bool = False
    icount: bool = False
    drive: str = ""
    debian: bool = False
    kernel: str = ""
    version: str = ""
    report: tuple[str, ...] = ()
    complaint: tuple[str, ...] = ()

    @property
    def config(self) -> str:
        """The configuration as reports show it."""
        name = f"{self.name}," if self.name else ""
        return f"{name}{self.cpu},smp={self.smp},{self.mem}"

    @property
    def slug(self) -> str:
        """A file name for the log."""
        return f"{self.test}-{self.config}".replace(",", "-").replace("=", "")


def _listed(value: object) -> list:
    return value if isinstance(value, list) else [value]


def _expand(test: str, top: dict, entry: dict) -> list[Boot]:
    fields = {f.name for f in dataclasses.fields(Boot)} - {"test"}
    unknown = set(entry) - fields
    if unknown:
        raise PlanError(f"{test}: unknown key {', '.join(sorted(unknown))} in [[boot]]")
    if not SIZE.fullmatch(entry.get("drive", "1M")):
        raise PlanError(f"{test}: drive is a size, such as 4M")
    if entry.get("matrix", "full") not in MATRICES:
        raise PlanError(f"{test}: matrix is one of {', '.join(MATRICES)}")
    missing = [k for k in (*AXES, "programs") if k not in entry]
    if missing:
        raise PlanError(f"{test}: [[boot]] lacks {', '.join(missing)}")
    fixed = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k not in AXES}
    fixed.setdefault("timeout", top["timeout"])
    axes = itertools.product(*(_listed(entry[axis]) for axis in AXES))
    return [Boot(test=test, **dict(zip(AXES, values, strict=True)), **fixed) for values in axes]


def load_test(directory: pathlib.Path) -> list[Boot]:
    """All boots of a test, each configuration once: the first entry that asks for it counts."""
    test = directory.name
    with open(directory / "test.toml", "rb") as f:
        top = tomllib.load(f)
    unknown = set(top) - {"about", "timeout", "boot"}
    if unknown or not {"about", "timeout", "boot"} <= set(top):
        raise PlanError(f"{test}: test.toml takes about, timeout and [[boot]]")
    boots: dict[str, Boot] = {}
    for entry in top["boot"]:
        for boot in _expand(test, top, entry):
            boots.setdefault(boot.config, boot)
    return list(boots.values())


def for_variant(boots: list[Boot], variant: str) -> tuple[list[Boot], list[Boot]]:
    """The boots that a variant of the kernel can run on, and those that it cannot."""

    def lacks_pages(boot: Boot) -> bool:
        return variant == "16k" and boot.cpu.split(",")[0] in WITHOUT_16K

    return [b for b in boots if not lacks_pages(b)], [b for b in boots if lacks_pages(b)]


def load(root: pathlib.Path, wanted: list[str], matrix: str, version: str = "") -> list[Boot]:
    """The boots of the tests `wanted` (all if empty) in a matrix, for a version of the kernel."""
    known = sorted(p.parent.name for p in root.glob("*/test.toml"))
    strangers = [t for t in wanted if t not in known]
    if strangers:
        raise PlanError(f"no test {', '.join(strangers)}; there are {', '.join(known)}")
    boots = []
    for test in wanted or known:
        mine = [b for b in load_test(root / test) if b.version in ("", version)]
        chosen = [b for b in mine if matrix == "full" or b.matrix == "smoke"]
        # A test that is only in the full matrix runs if it is asked for by its name.
        boots += chosen or (mine if wanted else [])
    return boots
