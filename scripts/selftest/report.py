# SPDX-License-Identifier: GPL-2.0
"""Prints outcomes as they come, and keeps them for selftest.json."""

import json
import pathlib
import sys
import threading

from machine import Outcome

WORDS = {"pass": ("ok", "32"), "fail": ("not ok", "31"), "skip": ("skip", "33")}


class Report:
    """Collects outcomes from several threads; one lock around everything."""

    def __init__(self, about: dict[str, str]) -> None:
        self._about = about
        self._cases: list[dict] = []
        self._lock = threading.Lock()
        self._colour = sys.stdout.isatty()

    def _word(self, result: str) -> str:
        word, colour = WORDS[result]
        return f"\033[{colour}m{word:6}\033[0m" if self._colour else f"{word:6}"

    def add(self, outcome: Outcome) -> None:
        """One line for each case; the end of the console if one failed."""
        boot = outcome.boot
        with self._lock:
            for case in outcome.cases:
                times = f"{case.virtual:8.2f}s {case.real:7.2f}s"
                why = f"  # {case.why}" if case.why else ""
                line = f"{self._word(case.result)} {times}  {boot.test} [{boot.config}] {case.name}"
                print(line + why, flush=True)
                print("".join(f"    | {shown}\n" for shown in case.console), end="")
                self._cases.append(
                    {
                        "test": boot.test,
                        "config": boot.config,
                        "case": case.name,
                        "result": case.result,
                        "why": case.why,
                        "virtual_seconds": round(case.virtual, 3),
                        "real_seconds": round(case.real, 3),
                        "log": str(outcome.log),
                    }
                )
            if any(c.result == "fail" for c in outcome.cases):
                print(f"    whole console: {outcome.log}", flush=True)

    def count(self, result: str) -> int:
        """How many cases ended so."""
        return sum(c["result"] == result for c in self._cases)

    def write(self, path: pathlib.Path, wall: float) -> None:
        """The whole as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        counts = {f"{r}ed" if r != "skip" else "skipped": self.count(r) for r in WORDS}
        whole = {**self._about, **counts, "wall_seconds": round(wall, 1), "cases": self._cases}
        path.write_text(json.dumps(whole, indent=1) + "\n")
