#!/usr/bin/env python3
"""Measures AML and, in the same run, its peers.

Usage: tests/bench/run.py BUILD [NAME ...] [--peers VENV] [--json FILE] [--rounds N] [--stock] [--write] [--list]
NAME: a family (a section of docs/benchmarks.md) or one of its workloads, "FAMILY/WORKLOAD"; everything without one.
--peers (or $AML_PEERS): a virtual environment, or its python, with numpy, torch, jax, onnx and onnxruntime. --write: also
the document of this processor's maker (DOCUMENTS), and its figures, where what was not measured stays as it was.
--stock: the peers as they are installed, also where their libraries do not recognise the processor (README.md).
A benchmark is never a pass/fail test; what cannot be measured is told, and the others go on. README.md says what is measured and how.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import time

import compiling
import decode
import deploy
import gemm
import bandwidth
import inference
import loader
import mlp
import networks
import starting
import step
import tables
from common import ROOT, Bench, Failed, told

FAMILIES = [step.FAMILY, mlp.FAMILY, networks.FAMILY, inference.FAMILY, bandwidth.FAMILY, gemm.FAMILY, starting.FAMILY, compiling.FAMILY, tables.FAMILY, loader.FAMILY,
            deploy.FAMILY, decode.FAMILY]
NOTES = "<!-- notes -->"         # what follows it in a section is written by hand and stays
# Processors of different makers are kept side by side, in a document each, docs/STEM.md, with its figures in docs/STEM.json.
# vendor_id of /proc/cpuinfo: who that is, STEM
DOCUMENTS = {"AuthenticAMD": ("AMD", "benchmarks"), "GenuineIntel": ("Intel", "benchmarks-intel")}


def told_by_processor(key):
    return next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith(key)), None)


def machine():
    return {"processor": told_by_processor("model name") or platform.machine(), "cores": len(os.sched_getaffinity(0)), "system": platform.release(), "load_before": os.getloadavg()[0],
            "date": datetime.date.today().isoformat()}


def chosen(names):
    """(family, name of a workload) of what was asked for, in the order of the table."""
    every = [(family, name) for family in FAMILIES for name in family.workloads]
    known = {family.name for family in FAMILIES} | {f"{family.name}/{name}" for family, name in every}
    for name in names:
        if name not in known:
            sys.exit(f"no benchmark '{name}'; there are: {' '.join(sorted(known))}")
    return [(family, name) for family, name in every if not names or family.name in names or f"{family.name}/{name}" in names]


def section(family, found, notes):
    """The lines of a family's section. found: {workload: {result, versions, machine}}"""
    last = max(found.values(), key=lambda entry: entry["machine"]["date"])
    here = last["machine"]
    versions = {name: version for entry in found.values() for name, version in entry["versions"].items()}
    text = [f"## {family.title}", "", f"{here['date']}, {here['processor']}, {here['cores']} cores, Linux {here['system']}, load before the run "
            f"{here['load_before']:.1f}." + (f" {told(versions)}." if versions else ""), ""]
    text += family.lines({name: entry["result"] for name, entry in found.items()})
    return text + (["", NOTES, "", *notes] if notes else [])


def page(stem):
    return ROOT / f"docs/{stem}.md"


def head(vendor):
    """What stands above the sections of a document."""
    maker, _ = DOCUMENTS[vendor]
    others = [f"[{name}]({stem}.md)" for other, (name, stem) in DOCUMENTS.items() if other != vendor and page(stem).exists()]
    return "\n".join([f"# Benchmarks on processors of {maker}", "",
                      "Written by `tests/bench/run.py BUILD --peers VENV --write`; how it is measured: [tests/bench/README.md](../tests/bench/README.md).",
                      *([f"Processors of other makers: {', '.join(others)}."] if others else []), "", "Each section says when and where it was measured."])


def write(results, vendor):
    """Puts results into the figures of the maker's document, and into the sections that they belong to."""
    stem = DOCUMENTS[vendor][1]
    store = ROOT / f"docs/{stem}.json"
    kept = json.loads(store.read_text()) if store.exists() else {}
    for name, entries in results.items():
        kept.setdefault(name, {}).update(entries)
    store.write_text(json.dumps(kept, indent=1) + "\n")
    old = page(stem).read_text().split("\n## ")[1:] if page(stem).exists() else []
    bodies = {part.split("\n", 1)[0]: part for part in old}
    for family in FAMILIES:
        if family.name in results:
            notes = bodies.get(family.title, "").partition(NOTES)[2].strip().splitlines()
            order = [name for name in family.workloads if name in kept[family.name]]
            lines = section(family, {name: kept[family.name][name] for name in order}, notes)
            bodies[family.title] = "\n".join(lines)[3:]
    rank = {family.title: i for i, family in enumerate(FAMILIES)}
    ordered = sorted(bodies, key=lambda title: rank.get(title, len(rank)))
    page(stem).write_text(head(vendor) + "".join(f"\n\n## {bodies[title].strip()}" for title in ordered) + "\n")
    for other, (_, stem) in DOCUMENTS.items():      # a new document is linked from the older ones
        if other != vendor and page(stem).exists():
            _, line, sections = page(stem).read_text().partition("\n## ")
            page(stem).write_text(head(other) + ("\n" if line else "") + line + (sections or "\n"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--peers", default=os.environ.get("AML_PEERS"))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, help="how often everybody is measured twice, instead of the workload's own number")
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    todo = chosen(options.names)
    vendor = told_by_processor("vendor_id")
    if options.write and vendor not in DOCUMENTS:
        sys.exit(f"--write: no document for processors of {vendor or 'an unknown maker'}")
    if options.list:
        print("\n".join(f"{family.name}/{name}" for family, name in todo))
        return
    peers = options.peers and pathlib.Path(options.peers)
    if peers and peers.is_dir():
        peers = peers / "bin/python"
    if not peers:
        print("(no peers: neither --peers nor AML_PEERS)")
    here, results, begin = machine(), {}, time.monotonic()
    for i, (family, name) in enumerate(todo):
        print(f"[{i + 1}/{len(todo)}, {time.monotonic() - begin:.0f} s] {family.name}/{name}", flush=True)
        folder = pathlib.Path(tempfile.mkdtemp())
        try:
            bench = Bench(options.build.absolute(), folder, peers, options.rounds, options.stock)
            result = family.workloads[name](bench)
        except (Failed, OSError, ValueError, KeyError) as error:
            print(f"  not measured: {error}", flush=True)
            result = None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if result is not None:
            results.setdefault(family.name, {})[name] = {"result": result, "versions": bench.versions, "machine": here}
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n")
            if options.write:
                write({family.name: {name: results[family.name][name]}}, vendor)
    print(f"{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
