#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The runner itself must see what went wrong: consoles that it has to fail, and plans."""

import contextlib
import dataclasses
import io
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import machine
import plan
import run
from console import Console

HEALTHY = [
    "begin prog",
    "TAP version 13",
    "1..2",
    "ok 1 first",
    "ok 2 second # SKIP not here",
    "end 0",
    "finished",
]


def read(
    lines: list[str], raw: tuple[str, ...] = (), programs: tuple[str, ...] = ("prog",)
) -> Console:
    """A console with these TAP lines, and kernel lines before the last of them."""
    console = Console(programs)
    texts = [f"TAP: {line}" for line in lines]
    texts[-1:-1] = raw
    for i, text in enumerate(texts):
        console.feed(f"[{i:5d}.500000] {text}\r\n", float(i))
    return console


def results(console: Console, powered_off: bool = True, report: tuple[str, ...] = ()) -> list[str]:
    """The results of all cases, the boot's own among them."""
    return [c.result for c in console.cases + console.verdict(powered_off, "status", report)]


class ConsoleTest(unittest.TestCase):
    """Each way in which a boot can go wrong is a failure."""

    def test_healthy(self) -> None:
        console = read(HEALTHY)
        self.assertEqual(results(console), ["pass", "skip"])
        self.assertEqual(console.cases[1].why, "not here")
        self.assertEqual(console.cases[0].virtual, 3.0)

    def test_not_ok_carries_its_diagnosis(self) -> None:
        lines = ["begin prog", "1..1", "# x was 2", "not ok 1 first", "end 1", "finished"]
        console = read(lines)
        self.assertEqual(results(console), ["fail"])
        self.assertIn("x was 2", console.cases[0].why)

    def test_fewer_results_than_planned(self) -> None:
        self.assertIn("fail", results(read([*HEALTHY[:4], "end 0", "finished"])))

    def test_no_plan(self) -> None:
        self.assertIn("fail", results(read(["begin prog", "end 0", "finished"])))

    def test_exit_status_that_disagrees(self) -> None:
        self.assertIn("fail", results(read([*HEALTHY[:5], "end 139", "finished"])))

    def test_result_out_of_order(self) -> None:
        lines = ["begin prog", "1..2", "ok 2 second", "ok 1 first", "end 0", "finished"]
        self.assertEqual(results(read(lines)), ["fail", "fail"])

    def test_machine_that_dies_in_a_test(self) -> None:
        self.assertIn("fail", results(read(HEALTHY[:4])))

    def test_machine_that_never_starts_a_test(self) -> None:
        self.assertEqual(results(read(["boot"])), ["fail"])

    def test_machine_that_does_not_power_off(self) -> None:
        self.assertIn("fail", results(read(HEALTHY), powered_off=False))

    def test_kernel_complaints(self) -> None:
        for complaint in (
            "Unable to handle kernel paging request at virtual address 0",
            "Internal error: Oops: 0000000096000004 [#1]  SMP",
            "WARNING: CPU: 0 PID: 1 at kernel/x.c:1 x+0x0/0x1",
            "BUG: scheduling while atomic: x/1/0x2",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "INFO: task x:1 blocked for more than 120 seconds.",
            "CPU1: failed to come online",
        ):
            self.assertIn("fail", results(read(HEALTHY, (complaint,))), complaint)

    def test_a_complaint_that_the_test_is_about(self) -> None:
        killed = "Out of memory: Killed process 7 (x) total-vm:1kB"
        wanted = ("^Out of memory: Killed process",)
        self.assertIn("fail", results(read(HEALTHY, (killed,))))
        verdict = read(HEALTHY, (killed,)).verdict(True, "status", (), wanted)
        self.assertEqual([c.result for c in verdict], [])
        # Another one beside it, and none at all.
        other = read(HEALTHY, (killed, "BUG: x")).verdict(True, "status", (), wanted)
        self.assertEqual([c.result for c in other], ["fail"])
        silent = read(HEALTHY).verdict(True, "status", (), wanted)
        self.assertEqual([c.result for c in silent], ["fail"])

    def test_a_complaint_inside_a_test_line_is_the_tests(self) -> None:
        lines = ["begin prog", "1..1", "# WARNING: quoted", "ok 1 first", "end 0", "finished"]
        self.assertEqual(results(read(lines)), ["pass"])

    def test_report_in_order(self) -> None:
        raw = ("mvirt: EL2 data abort", "Kernel panic - not syncing")
        wanted = ("EL2.*abort", "Kernel panic")
        console = read([*HEALTHY[:1], "x"], raw)
        self.assertEqual(results(console, report=wanted), ["pass"] * 3)
        self.assertIn("fail", results(console, report=wanted[::-1]))
        self.assertIn("fail", results(console, report=wanted, powered_off=False))
        survived = read([*HEALTHY[:1], "finished"], raw)
        self.assertIn("fail", results(survived, report=wanted))

    def test_a_complaint_that_is_not_of_the_report(self) -> None:
        wanted = ("EL2.*abort", "Kernel panic")
        raw = (
            "mvirt: EL2 data abort",
            "WARNING: CPU: 0 PID: 1 at x.c:1",
            "Kernel panic - not syncing",
        )
        console = read([*HEALTHY[:1], "x"], raw)
        *cases, last = console.verdict(True, "status", wanted)
        self.assertEqual([c.result for c in cases], ["pass"] * 3)
        self.assertEqual((last.name, last.result), ("console", "fail"))
        self.assertIn("WARNING", last.why)
        allowed = (*wanted[:1], "WARNING: CPU", *wanted[1:])
        self.assertEqual(results(console, report=allowed), ["pass"] * 4)

    def test_programs_that_were_not_run(self) -> None:
        for programs in (("prog", "other"), ("other",), ("prog", "prog"), ()):
            console = read(HEALTHY, programs=programs)
            self.assertEqual(results(console), ["pass", "skip", "fail"], programs)
        self.assertEqual(results(read(["finished"])), ["fail"])

    def test_a_machine_that_stops_before_its_last_program(self) -> None:
        wanted = ("Kernel panic",)
        console = read([*HEALTHY[:1], "x"], wanted, programs=("prog", "crash"))
        self.assertEqual(results(console, report=wanted), ["pass", "pass", "fail"])


class StatusTest(unittest.TestCase):
    """What scripts see of a run."""

    def test_only_a_run_that_passed_something_and_failed_nothing_is_good(self) -> None:
        self.assertEqual(run.status(1, 0, 0), 0)
        self.assertEqual(run.status(1, 0, 5), 0)
        for bad in ((0, 0, 0), (0, 0, 5), (0, 1, 0), (3, 1, 0)):
            self.assertEqual(run.status(*bad), 1, bad)


class ChoiceTest(unittest.TestCase):
    """A choice of no boot is an error that says so, not a run without results."""

    def test_a_text_that_no_boot_has_is_named(self) -> None:
        tests = pathlib.Path(__file__).resolve().parents[2] / "selftests"
        for listed in ([], ["--list"]):
            argv = ["run.py", "--tests", str(tests), *listed, "--only", "no such", "memory"]
            said = io.StringIO()
            with mock.patch.object(sys, "argv", argv), contextlib.redirect_stderr(said):
                self.assertEqual(run.main(), 2)
            self.assertIn('memory with "no such"', said.getvalue())


class PlanTest(unittest.TestCase):
    """test.toml is obeyed or refused."""

    TOP = 'about = "x"\ntimeout = 5\n'
    BOOT = '[[boot]]\ncpu = ["a", "b"]\nsmp = [1, 2]\nmem = "1G"\nprograms = ["p"]\n'

    def load(self, text: str) -> list[plan.Boot]:
        with tempfile.TemporaryDirectory() as tmp:
            path = pathlib.Path(tmp)
            (path / "test.toml").write_text(text)
            return plan.load_test(path)

    def test_axes_are_crossed_and_the_first_counts(self) -> None:
        boots = self.load(self.TOP + self.BOOT + 'matrix = "smoke"\n' + self.BOOT)
        self.assertEqual(len(boots), 4)
        self.assertEqual({b.matrix for b in boots}, {"smoke"})

    def test_a_boot_for_one_version(self) -> None:
        with tempfile.TemporaryDirectory() as tmp:
            directory = pathlib.Path(tmp) / "t"
            directory.mkdir()
            one = self.BOOT + 'version = "7.3.4"\nname = "new"\n'
            (directory / "test.toml").write_text(self.TOP + self.BOOT + one)
            for version, boots in (("7.3.4", 8), ("7.3.40", 4), ("6.18.15", 4), ("", 4)):
                found = plan.load(pathlib.Path(tmp), ["t"], "full", version)
                self.assertEqual(len(found), boots)

    def test_a_16k_kernel_is_booted_where_it_can_run(self) -> None:
        cpus = 'cpu = ["cortex-a72", "cortex-a72,pmu=off", "cortex-a76", "max"]'
        boots = self.load(self.TOP + self.BOOT.replace('cpu = ["a", "b"]', cpus))
        kept, without = plan.for_variant(boots, "16k")
        self.assertEqual({b.cpu for b in kept}, {"cortex-a76", "max"})
        self.assertEqual({b.cpu for b in without}, {"cortex-a72", "cortex-a72,pmu=off"})
        self.assertIn("4 boots on cortex-a72, cortex-a72,pmu=off", run.left_out(without, "16k"))
        for variant in ("4k", "no-kvm", "hardened", "debug"):
            self.assertEqual(plan.for_variant(boots, variant), (boots, []))

    def test_debians_guest_comes_with_its_disk(self) -> None:
        path = pathlib.Path
        images = machine.Images(
            {"": path("I")}, path("i"), path("b"), path("g"), path("d"), path("D")
        )
        for line, initrd, disk in (
            ("", "i", False),
            ("guest = true\n", "g", False),
            ("debian = true\n", "d", True),
        ):
            argv = machine.command(self.load(self.TOP + self.BOOT + line)[0], images, path("t"))
            self.assertEqual(argv[argv.index("-initrd") + 1], initrd)
            self.assertEqual(
                any(a.startswith("file=D,") and "snapshot=on" in a for a in argv), disk
            )

    def test_a_firmware_gets_the_initramfs_that_the_boot_asks_for(self) -> None:
        path = pathlib.Path
        images = machine.Images({"": path("I")}, path("i"), path("b"), path("g"))
        for line, initrd in (("", "i"), ("guest = true\n", "g")):
            boot = self.load(self.TOP + self.BOOT + 'firmware = "f.bin"\n' + line)[0]
            with mock.patch.object(machine.subprocess, "run") as ran:
                ran.return_value.stdout = "0 48000000"
                argv = machine.command(boot, images, path("t"))
            self.assertIn(f"loader,file={initrd},addr=0x48000000,force-raw=on", argv)

    def test_mistakes_are_refused(self) -> None:
        for wrong in ('cpus = "a"\n', 'matrix = "some"\n', 'drive = "4"\n'):
            with self.assertRaises(plan.PlanError):
                self.load(self.TOP + self.BOOT + wrong)
        with self.assertRaises(plan.PlanError):
            self.load(self.TOP + self.BOOT.replace('mem = "1G"\n', ""))

    def test_a_drive_is_an_empty_file_of_its_size(self) -> None:
        boot = self.load(self.TOP + self.BOOT + 'drive = "3M"\n')[0]
        kernels = {"": pathlib.Path("Image")}
        images = machine.Images(kernels, pathlib.Path("initrd"), pathlib.Path("blobs"))
        with tempfile.TemporaryDirectory() as tmp:
            argv = machine.command(boot, images, pathlib.Path(tmp))
            self.assertIn("virtio-blk-device,drive=disk", argv)
            self.assertEqual((pathlib.Path(tmp) / "disk").stat().st_size, 3 << 20)
            without = machine.command(
                dataclasses.replace(boot, drive=""), images, pathlib.Path(tmp)
            )
            self.assertNotIn("-drive", without)

    def test_ram_is_cut_into_ranges_that_do_not_touch(self) -> None:
        def ram(count: int) -> list[tuple[int, int]]:
            boots = self.load(self.TOP + self.BOOT + f"ram_ranges = {count}\n")
            return machine.ram(boots[0])

        for count in (2, 64, 65):
            ranges = ram(count)
            self.assertEqual(len(ranges), count)
            ends = [base + size for base, size in ranges]
            self.assertTrue(all(e < b for e, (b, _) in zip(ends, ranges[1:], strict=False)))
            self.assertLessEqual(ends[-1], machine.RAM + (1 << 30))
        with self.assertRaises(plan.PlanError):
            ram(130)

    def test_all_cpus_get_all_idle_states(self) -> None:
        def edits(states: str) -> tuple[int, list[str]]:
            boot = self.load(self.TOP + self.BOOT + f"idle_states = {states}\n")[-1]
            return boot.smp, machine.idle_edits(boot)

        self.assertEqual(edits("[]")[1], [])
        cpus, made = edits('["10001 500", "10002 1000 stops"]')
        given = [e.split() for e in made if "cpu-idle-states" in e]
        self.assertEqual([e[1] for e in given], [f"/cpus/cpu@{n:x}" for n in range(cpus)])
        handles = [e.split()[-1] for e in made if " phandle " in e]
        self.assertEqual({tuple(e[3:]) for e in given}, {tuple(handles)})
        self.assertEqual(len(set(handles)), 2)
        stopped = [e for e in made if "local-timer-stop" in e]
        self.assertEqual(stopped, ["/cpus/idle-states/cpu-10002 local-timer-stop"])
        with self.assertRaises(plan.PlanError):
            edits('["10001 500 often"]')


if __name__ == "__main__":
    unittest.main()
