#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes the contract between EL1 and EL2 as a C header, for the tests that call EL2 directly.

Reads module/abi/contract/{calls,stats,error}.rs. Each list there numbers its entries from 0 on;
a list that does not read so is an error, so a change of its form cannot pass unseen.
"""

import pathlib
import re
import sys

CALL = re.compile(r"^    (?:Setup|Run|Any) (\d+) \w+ as (\w+)\(", re.M)
STAT = re.compile(r'^    \w+ = (\d+), "(\w+)";', re.M)
ERROR = re.compile(r"^    (\w+) = (\d+),", re.M)
BASE = re.compile(r"pub const CALL_BASE: u64 = (0x[0-9a-f_]+);")


def _numbered(what: str, found: list[tuple[str, str]]) -> list[tuple[int, str]]:
    entries = [(int(number), name) for number, name in found]
    if not entries or [n for n, _ in entries] != list(range(len(entries))):
        sys.exit(f"abi_header: the list of {what} does not read as expected")
    return entries


def header(contract: pathlib.Path) -> str:
    """The header's text."""
    calls_rs = (contract / "calls.rs").read_text()
    base = BASE.search(calls_rs)
    if not base:
        sys.exit("abi_header: no CALL_BASE in calls.rs")
    calls = _numbered("hypercalls", CALL.findall(calls_rs))
    stats = _numbered("counters", STAT.findall((contract / "stats.rs").read_text()))
    errors = ERROR.findall((contract / "error.rs").read_text())
    if not errors:
        sys.exit("abi_header: no errors in error.rs")
    lines = ["/* SPDX-License-Identifier: GPL-2.0 */", "/* Generated from module/abi/contract. */"]
    lines += ["#ifndef MVIRT_EL2_ABI_H", "#define MVIRT_EL2_ABI_H", ""]
    lines.append(f"#define EL2_CALL_BASE {base[1].replace('_', '')}ULL")
    lines.append(f"#define EL2_CALL_COUNT {len(calls)}")
    lines += [f"#define EL2_CALL_{n.upper()} (EL2_CALL_BASE + {i})" for i, n in calls]
    lines.append(f"#define EL2_STAT_COUNT {len(stats)}")
    lines += [f"#define EL2_STAT_{n.upper()} {i}" for i, n in stats]
    lines += [f"#define EL2_ERROR_{name.upper()} (-{value}LL)" for name, value in errors]
    return "\n".join([*lines, "", "#endif /* MVIRT_EL2_ABI_H */", ""])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: abi_header.py CONTRACT_DIRECTORY HEADER")
    pathlib.Path(sys.argv[2]).write_text(header(pathlib.Path(sys.argv[1])))
