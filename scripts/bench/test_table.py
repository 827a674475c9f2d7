#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of what table.py makes of the windows of a machine."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import table

DONE = "".join(f"[    1.0] bench: {op} done\n" for op in table.OPERATIONS)
VERSION = "7.3.4"
NVHE = table.KNOWN[VERSION]["KVM nVHE"]


class TableTest(unittest.TestCase):
    """Rows are the least of their rounds; what is not whole is told."""

    def rows(self, console: str, counts: str, system: str = "KVM nVHE") -> tuple[list[dict], str]:
        with tempfile.TemporaryDirectory() as tmp:
            path = pathlib.Path(tmp)
            (path / "console").write_text(console)
            (path / "counts").write_text(counts)
            return table.rows_of(system, path)

    @staticmethod
    def windows(el1: dict | None = None) -> str:
        """Seven windows for each operation; the fifth is the cheapest."""
        lines = []
        for op, known in zip(table.OPERATIONS, NVHE, strict=True):
            cheapest = int((el1 or {}).get(op, known) * table.ROUND)
            lines += [f"0 {cheapest + abs(n - 4)} 0 128 1 2 3 4 5" for n in range(table.ROUNDS)]
        return "\n".join(lines)

    def test_the_cheapest_round_counts(self) -> None:
        rows, why = self.rows(DONE, self.windows())
        self.assertEqual(why, "")
        self.assertEqual([r["op"] for r in rows], list(table.OPERATIONS))
        self.assertEqual(rows[0]["el1"], NVHE[0])
        self.assertEqual(rows[0]["eret"], 2)
        self.assertEqual(table.strays(rows, VERSION), [])

    def test_a_peer_that_is_off_is_told(self) -> None:
        rows, _ = self.rows(DONE, self.windows({"hypercall": 2138 * 1.04}))
        self.assertEqual(len(table.strays(rows, VERSION)), 1)
        rows, _ = self.rows(DONE, self.windows({"hypercall": 2138 * 0.96}))
        self.assertEqual(len(table.strays(rows, VERSION)), 1)

    def test_absence_has_a_reason(self) -> None:
        rows, why = self.rows("x\nbench: absent: KVM_CREATE_VM: no\r\n", "")
        self.assertEqual((rows, why), ([], "KVM_CREATE_VM: no"))

    def test_what_did_not_finish_is_an_error(self) -> None:
        for console in ("", DONE.replace("hypercall done", "failed"), "bench: hypercall done\n"):
            with self.assertRaises(table.BenchError):
                self.rows(console, self.windows())
        with self.assertRaises(table.BenchError):
            self.rows(DONE, "\n".join(self.windows().splitlines()[:-1]))

    def test_ours_are_held_against_their_aims(self) -> None:
        peers, _ = self.rows(DONE, self.windows())
        cheap = dict.fromkeys(table.OPERATIONS, 100)
        ours, _ = self.rows(DONE, self.windows(cheap), "mvirt")
        text = "\n".join(table.table(peers + ours, VERSION))
        self.assertIn("within 200, -95% of KVM nVHE", text)
        self.assertIn("within 6000, -99% of KVM nVHE", text)
        self.assertNotIn("above", text)
        dear, _ = self.rows(DONE, self.windows(dict.fromkeys(table.OPERATIONS, 7000)), "mvirt")
        text = "\n".join(table.table(peers + dear, VERSION))
        self.assertEqual(text.count("above"), len(table.OPERATIONS))

    def status(self, systems: dict[str, tuple[str, str]], *options: str) -> int:
        """Of the command line, for systems with a console and counts."""
        with tempfile.TemporaryDirectory() as tmp, contextlib.ExitStack() as quiet:
            for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
                quiet.enter_context(redirect(io.StringIO()))
            arguments = ["--output", f"{tmp}/bench.json", *options]
            for name, (console, counts) in systems.items():
                path = pathlib.Path(tmp) / name
                path.mkdir()
                (path / "console").write_text(console)
                (path / "counts").write_text(counts)
                arguments.append(f"{name}={path}")
            return table.main(arguments)

    def test_the_status_is_of_the_measurement_alone(self) -> None:
        peer = {"KVM nVHE": (DONE, self.windows())}
        dear = {"mvirt": (DONE, self.windows(dict.fromkeys(table.OPERATIONS, 10**6)))}
        off = {"KVM nVHE": (DONE, self.windows({"hypercall": 2138 * 1.04}))}
        absent = {"mvirt": ("bench: absent: mvirt did not take EL2\n", "")}
        broken = {"mvirt": ("", "")}
        known = ("--known", VERSION)
        self.assertEqual(self.status(peer | dear, *known), 0)
        for systems in (off | dear, peer | absent, peer | broken):
            self.assertEqual(self.status(systems, *known), 1)
        for systems in (off | dear, peer | absent):
            self.assertEqual(self.status(systems), 0)
        self.assertEqual(self.status(peer | broken), 1)

    def test_each_kernel_is_held_against_its_own_figures(self) -> None:
        rows, _ = self.rows(DONE, self.windows())
        self.assertEqual(len(table.strays(rows, "6.18.15")), len(table.OPERATIONS))
        self.assertEqual(table.strays(rows, ""), [])
        self.assertNotIn("%", "\n".join(table.table(rows, "")))


if __name__ == "__main__":
    unittest.main()
