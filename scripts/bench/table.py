#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What an operation of a guest costs on each system, in instructions.

scripts/bench/operations.sh calls it with what the machines left: for each system the windows that
scripts/bench/count.c counted and the console. Prints a table and writes the rows as JSON. Exits 1
if a system could not be measured, or if a peer is not as peers have been measured before. Our own
aims stand beside our figures, and nothing depends on them: a benchmark measures.
"""

import argparse
import json
import pathlib
import re
import sys

ROUNDS = 7
ROUND = 64
FIELDS = ("el0", "el1", "el2", "eret", "msr", "mrs", "isb", "dsb", "tlbi")
# The three levels together, on a cortex-a76 and Debian's own build of each kernel: what independent
# runs of a blob of the same operations gave.
OPERATIONS = (
    "hypercall",
    "psci_version",
    "id_register",
    "sgi_to_self",
    "gicd_iidr",
    "mmio_to_user",
    "fault_4k",
)
KNOWN = {
    "7.3.4": {
        "KVM VHE": (1510, 1559, 1989, 2343, 2477, 7287, 5109),
        "KVM nVHE": (2138, 2187, 2597, 2951, 3016, 6928, 5719),
        "pKVM np": (13482, 13531, 13941, 14295, 14360, 18680, 18374),
        "pKVM pVM": (3763, 3812, 443, 4760, 4615, 8870, 9383),
    },
    "6.18.15": {
        "KVM VHE": (1157, 1206, 1633, 1953, 2113, 16917, 4664),
        "KVM nVHE": (1756, 1805, 2214, 2534, 2624, 16359, 5245),
        "pKVM np": (2917, 2966, 3375, 3695, 3785, 17750, 7706),
    },
}
TOLERANCE = 0.03
# What ours are to cost at most; and less than the peer that does the same job.
AIMS = {
    "hypercall": 200,
    "psci_version": 200,
    "id_register": 240,
    "sgi_to_self": 500,
    "gicd_iidr": 1500,
    "mmio_to_user": 6000,
    "fault_4k": 4500,
}
RIVAL = {"mvirt": "KVM nVHE", "mvirt protected": "pKVM pVM"}


class BenchError(Exception):
    """A machine that did not do what it was booted for."""


def _least(windows: list[list[int]], op: str, system: str) -> dict:
    """The cheapest of an operation's rounds, for one operation."""
    counts = min(windows, key=lambda w: sum(w[:3]))
    row = {"op": op, "system": system}
    return row | {f: round(c / ROUND, 1) for f, c in zip(FIELDS, counts, strict=True)}


def rows_of(system: str, directory: pathlib.Path) -> tuple[list[dict], str]:
    """The rows of a system, and why there are none if there are none."""
    console = (directory / "console").read_text(errors="replace")
    absent = re.search(r"bench: absent: (.*)", console)
    if absent:
        return [], absent[1].strip()
    operations = re.findall(r"bench: (\w+) done", console)
    if operations != list(OPERATIONS):
        raise BenchError(f"{system} did not finish; its console is {directory / 'console'}")
    lines = (directory / "counts").read_text().splitlines()
    windows = [[int(n) for n in line.split()] for line in lines]
    if len(windows) != ROUNDS * len(operations):
        raise BenchError(f"{system}: {len(windows)} windows were counted in {directory / 'counts'}")
    groups = (windows[i * ROUNDS : (i + 1) * ROUNDS] for i in range(len(operations)))
    return [_least(g, op, system) for op, g in zip(operations, groups, strict=True)], ""


def total(row: dict) -> float:
    """What counts: all levels together."""
    return row["el0"] + row["el1"] + row["el2"]


def known_of(row: dict, version: str) -> int | None:
    """What is known of a peer's row on that kernel, if anything is."""
    figures = KNOWN.get(version, {}).get(row["system"])
    return figures[OPERATIONS.index(row["op"])] if figures else None


def _aim(row: dict, totals: dict, version: str) -> str:
    """What is said beside a row of ours, or how a peer's compares with what is known of it."""
    op, system = row["op"], row["system"]
    if system in RIVAL:
        text = f"{'within' if total(row) <= AIMS[op] else 'above'} {AIMS[op]}"
        rival = totals.get((op, RIVAL[system]))
        if rival is None:
            return text
        return f"{text}, {total(row) / rival - 1:+.0%} of {RIVAL[system]}"
    known = known_of(row, version)
    return f"{total(row) / known - 1:+.1%} of {known}" if known else ""


def table(rows: list[dict], version: str) -> list[str]:
    """Aligned lines, by operation."""
    totals = {(r["op"], r["system"]): total(r) for r in rows}
    head = ("operation", "system", "all", *FIELDS)
    widths = (14, 16, 9, *(8,) * len(FIELDS))
    cells = [head]
    for op in OPERATIONS:
        for row in (r for r in rows if r["op"] == op):
            numbers = (f"{n:.1f}" for n in (total(row), *(row[f] for f in FIELDS)))
            cells.append((op, row["system"], *numbers, _aim(row, totals, version)))
    lines = []
    for cell in cells:
        text = "".join(f"{c:<{w}}" for c, w in zip(cell[:2], widths[:2], strict=True))
        text += "".join(f"{c:>{w}}" for c, w in zip(cell[2:12], widths[2:], strict=True))
        lines.append((text + ("   " + cell[12] if len(cell) > 12 else "")).rstrip())
    return lines


def strays(rows: list[dict], version: str) -> list[str]:
    """Peers that are not what they were: then something else is counted than was."""
    wrong = []
    for row in rows:
        known = known_of(row, version)
        if known and abs(total(row) / known - 1) > TOLERANCE:
            wrong.append(f"{row['op']} on {row['system']}: {total(row):.0f}, known as {known}")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the rows as JSON")
    parser.add_argument(
        "--known",
        default="",
        choices=("", *KNOWN),
        metavar="VERSION",
        help="the kernel that the peers ran on, if it is one that figures are known of: "
        "without it nothing is compared, and a peer may be absent",
    )
    parser.add_argument("system", nargs="+", metavar="NAME=DIRECTORY")
    options = parser.parse_args(arguments)
    rows, absent, status = [], {}, 0
    for argument in options.system:
        name, directory = argument.split("=", 1)
        try:
            mine, why = rows_of(name, pathlib.Path(directory))
        except BenchError as error:
            print(f"bench: {error}", file=sys.stderr)
            status = 1
            continue
        rows += mine
        if why:
            absent[name] = why
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(table(rows, options.known)))
    for name, why in absent.items():
        print(f"{name}: absent: {why}")
    if not options.known:
        return status
    for stray in strays(rows, options.known):
        print(f"bench: more than {TOLERANCE:.0%} off: {stray}", file=sys.stderr)
        status = 1
    return 1 if absent else status


if __name__ == "__main__":
    sys.exit(main())
