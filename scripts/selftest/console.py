# SPDX-License-Identifier: GPL-2.0
"""Reads a guest's console: test results out of the kernel log, and what the kernel complains of.

The guest's init writes each line of a test's TAP into /dev/kmsg, so results and kernel messages
come as whole lines, in the order in which they happened, with the kernel's own time on each.
"""

import dataclasses
import re

STAMPED = re.compile(r"^\[\s*(\d+\.\d+)\](?:\[\s*[TC]\d+\])? (.*)$")
RESULT = re.compile(r"^(not )?ok (\d+)(?: -)? *(.*?)(?:\s*# ?(SKIP|XFAIL|TODO)\b *(.*))?$")
PLAN = re.compile(r"^1\.\.(\d+)(?: # SKIP *(.*))?$")
BEGIN = re.compile(r"^begin (.+)$")
END = re.compile(r"^end (\d+)$")
# What the kernel's test harness says around the diagnosis.
CHATTER = re.compile(
    r"^TAP version|^#\s+(RUN|OK|FAIL) |: Test (failed|terminated)|^# (Starting|Totals)"
)
# What a healthy kernel never prints, whatever the test does to it.
COMPLAINT = re.compile(
    r"Unable to handle kernel|Internal error|Kernel panic|kernel BUG at|\bBUG:|\bWARNING:"
    r"|\bOops\b|INFO: task .* blocked|detected stalls?|soft lockup|hard LOCKUP|SError Interrupt"
    r"|Bad mode in|CPU\d+: failed to|CPU\d+: died|unable to boot|\bOut of memory: Killed"
)
# Lines of the console that are shown with a failure.
CONTEXT = 20


@dataclasses.dataclass
class Case:
    """One result."""

    name: str
    result: str  # pass, fail, skip
    why: str = ""
    virtual: float = 0.0
    real: float = 0.0
    console: tuple[str, ...] = ()  # its last lines when the case failed


class Console:
    """Takes the console line by line; `cases` and `complaints` grow as it goes."""

    def __init__(self, programs: tuple[str, ...]) -> None:
        self._programs = list(programs)
        self._begun: list[str] = []
        self.lines: list[str] = []
        self.cases: list[Case] = []
        self.complaints: list[str] = []
        self.done = False
        self._program = ""
        self._planned: int | None = None
        self._seen = 0
        self._notes: list[str] = []
        self._last = (0.0, 0.0)

    def feed(self, raw: str, real: float) -> None:
        """Takes one line, seen `real` seconds after power-on."""
        line = raw.rstrip("\r\n")
        self.lines.append(line)
        stamped = STAMPED.match(line)
        text = stamped[2] if stamped else line
        if stamped and text.startswith("TAP: "):
            self._tap(text[5:], (float(stamped[1]), real))
        elif COMPLAINT.search(text):
            self.complaints.append(text)

    def _tap(self, text: str, now: tuple[float, float]) -> None:
        if text == "finished":
            self.done = True
        elif begin := BEGIN.match(text):
            self._program, self._planned, self._seen = begin[1], None, 0
            self._begun.append(begin[1])
            self._notes, self._last = [], now
        elif end := END.match(text):
            self._close(int(end[1]), now)
        elif plan := PLAN.match(text):
            self._planned = int(plan[1])
            if self._planned == 0:
                self._add(self._program, "skip", plan[2] or "no reason given", now)
        elif result := RESULT.match(text):
            self._result(result, now)
        elif not CHATTER.search(text):
            self._notes.append(text.removeprefix("# "))

    def _result(self, found: re.Match, now: tuple[float, float]) -> None:
        self._seen += 1
        failed, name = bool(found[1]), f"{self._program.split()[0]}: {found[3]}"
        number = int(found[2])
        if number != self._seen:
            self._add(name, "fail", f"result {number} where {self._seen} was due", now)
        elif failed:
            self._add(name, "fail", "; ".join(self._notes[-4:]) or "no diagnosis", now)
        elif found[4]:
            self._add(name, "skip", found[5] or "no reason given", now)
        else:
            self._add(name, "pass", "", now)

    def _add(self, name: str, result: str, why: str, now: tuple[float, float]) -> None:
        times = (now[0] - self._last[0], now[1] - self._last[1])
        shown = tuple(self.lines[-CONTEXT:]) if result == "fail" else ()
        self.cases.append(Case(name, result, why, *times, shown))
        self._notes, self._last = [], now

    def _close(self, status: int, now: tuple[float, float]) -> None:
        """A program ended: its plan must be kept, and its exit status must agree."""
        mine = self.cases[-self._seen :] if self._seen else []
        failed = any(c.result == "fail" for c in mine)
        if self._planned is None or (self._planned != self._seen and self._planned != 0):
            why = f"{self._seen} results of {self._planned} planned, exit status {status}"
            self._add(f"{self._program}: plan", "fail", why, now)
        elif status not in (0, 4) and not failed:
            self._add(f"{self._program}: exit status", "fail", f"{status}", now)
        self._program = ""

    def verdict(
        self,
        powered_off: bool,
        status: str,
        report: tuple[str, ...],
        complaint: tuple[str, ...] = (),
    ) -> list[Case]:
        """What the boot as a whole adds: nothing if all went as it should."""
        if report:
            stopped = powered_off and not self.done
            ended = Case("the machine stops", "pass" if stopped else "fail", status)
            others = [c for c in self.complaints if not any(re.search(r, c) for r in report)]
            strange = [*self._not_as_planned(), *self._complained(others)]
            return [*self._report(report), ended, *strange]
        extra = []
        if self._program:
            extra.append(Case(f"{self._program}: unfinished", "fail", status))
        elif not self.done:
            extra.append(Case("boot", "fail", f"the tests did not finish: {status}"))
        elif not powered_off:
            extra.append(Case("power-off", "fail", status))
        others = [c for c in self.complaints if not any(re.search(r, c) for r in complaint)]
        extra += self._complained(others)
        missing = [r for r in complaint if not any(re.search(r, c) for c in self.complaints)]
        extra += [Case(f"complaint: {r}", "fail", "not on the console") for r in missing]
        if not extra:
            extra = self._not_as_planned()
        for case in extra:
            case.console = tuple(self.lines[-CONTEXT:])
        return extra

    @staticmethod
    def _complained(complaints: list[str]) -> list[Case]:
        """A failure if the kernel said what it should not."""
        return [Case("console", "fail", "; ".join(complaints[:3]))] if complaints else []

    def _not_as_planned(self) -> list[Case]:
        """A failure if other programs began than were to run: each, once, in their order."""
        if self._begun == self._programs:
            return []
        why = f"began {', '.join(self._begun) or 'nothing'}; planned {', '.join(self._programs)}"
        return [Case("programs", "fail", why)]

    def _report(self, report: tuple[str, ...]) -> list[Case]:
        at, cases = 0, []
        for wanted in report:
            found = (i for i in range(at, len(self.lines)) if re.search(wanted, self.lines[i]))
            hit = next(found, None)
            if hit is None:
                why = f"not on the console after line {at}"
                shown = tuple(self.lines[-2 * CONTEXT :])
                cases.append(Case(f"report: {wanted}", "fail", why, console=shown))
            else:
                at = hit + 1
                cases.append(Case(f"report: {wanted}", "pass"))
        return cases
