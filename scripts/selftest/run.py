#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Boots the machines that the selftests ask for and reports what happened in them.

Called by scripts/selftest.sh, which builds what is needed first. Exits 0 if nothing failed and
something passed, 1 if a case failed or all were skipped, 2 if it could not start.
"""

import argparse
import concurrent.futures
import pathlib
import sys
import time

import machine
import plan
from report import Report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", type=pathlib.Path, required=True, help="directory of the tests")
    parser.add_argument("--matrix", choices=plan.MATRICES, default="smoke")
    parser.add_argument("--variant", default="4k", help="of the kernel under test")
    parser.add_argument("--list", action="store_true", help="show the boots, boot nothing")
    parser.add_argument("--kernel", action="append", default=[], metavar="[KIND=]IMAGE")
    parser.add_argument("--initrd", type=pathlib.Path)
    parser.add_argument("--guest", type=pathlib.Path, help="an initramfs with a guest in it")
    parser.add_argument(
        "--debian", type=pathlib.Path, help="an initramfs with Debian's guests in it"
    )
    parser.add_argument("--disk", type=pathlib.Path, help="the disk of Debian's guest")
    parser.add_argument("--blobs", type=pathlib.Path, help="directory of the entries of boots")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--jobs", type=int, default=2, help="machines at a time")
    parser.add_argument("--label", default="", help="the kernel's name in the report")
    parser.add_argument("--version", default="", help="of the kernel under test")
    parser.add_argument("--only", default="", metavar="TEXT", help="boots whose name contains it")
    parser.add_argument("test", nargs="*")
    return parser.parse_args()


def _kernels(given: list[str]) -> dict[str, pathlib.Path]:
    pairs = (k.split("=", 1) if "=" in k else ("", k) for k in given)
    return {kind: pathlib.Path(image) for kind, image in pairs}


def _boot_all(boots: list[plan.Boot], options: argparse.Namespace, report: Report) -> None:
    kernels = _kernels(options.kernel)
    given = (options.initrd, options.blobs, options.guest, options.debian, options.disk)
    images = machine.Images(kernels, *given)
    logs = options.build / "logs"
    logs.mkdir(parents=True, exist_ok=True)

    def one(boot: plan.Boot) -> None:
        report.add(machine.run(boot, images, logs))

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for future in [pool.submit(one, b) for b in boots]:
            future.result()


def status(passed: int, failed: int, _skipped: int) -> int:
    """The exit status: a run that only skipped has shown nothing."""
    return 0 if passed and not failed else 1


def left_out(boots: list[plan.Boot], variant: str) -> str:
    """The line that says which boots a variant does without, and why. They are not counted: what
    cannot be is nothing that was skipped."""
    models = ", ".join(sorted({b.cpu for b in boots}))
    return f"left out: {len(boots)} boots on {models}, which cannot run a {variant} kernel"


def _nothing(options: argparse.Namespace) -> str:
    """Why no boot is left."""
    what = f"{options.variant or 'the default variant'}, {options.version or 'any version'}"
    chosen = f' with "{options.only}" in its name' if options.only else ""
    tests = ", ".join(options.test) or "any test"
    return f"no boot of {tests}{chosen} for {what}: --list names them"


def main() -> int:
    """Runs the command line."""
    options = _arguments()
    try:
        boots = plan.load(options.tests, options.test, options.matrix, options.version)
    except plan.PlanError as error:
        print(f"selftest: {error}", file=sys.stderr)
        return 2
    boots = [b for b in boots if options.only in f"{b.test} {b.config}"]
    boots, without = plan.for_variant(boots, options.variant)
    if without:
        print(left_out(without, options.variant), flush=True)
    if not boots:
        print(f"selftest: {_nothing(options)}", file=sys.stderr)
        return 2
    if options.list:
        for boot in boots:
            print(f"{boot.test:16} {boot.config:40} {'; '.join(boot.programs)}")
        return 0
    missing = {b.kernel for b in boots} - set(_kernels(options.kernel))
    if missing:
        kinds = ", ".join(k or "the kernel under test" for k in sorted(missing))
        print(f"selftest: no image was given for: {kinds}", file=sys.stderr)
        return 2
    if not options.guest and any(b.guest for b in boots):
        print("selftest: no --guest was given", file=sys.stderr)
        return 2
    if not (options.debian and options.disk) and any(b.debian for b in boots):
        print("selftest: no --debian and --disk were given", file=sys.stderr)
        return 2
    start = time.monotonic()
    report = Report({"kernel": options.label, "matrix": options.matrix})
    _boot_all(boots, options, report)
    wall = time.monotonic() - start
    report.write(options.build / "results" / "selftest.json", wall)
    print(f"{len(boots)} boots in {wall:.0f} s")
    counts = [report.count(r) for r in ("pass", "fail", "skip")]
    print("{} passed, {} failed, {} skipped".format(*counts))
    return status(*counts)


if __name__ == "__main__":
    sys.exit(main())
