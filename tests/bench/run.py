#!/usr/bin/env python3
"""Measures AML and, in the same run, its peers.

Usage: tests/bench/run.py BUILD [NAME ...] [--peers VENV] [--json FILE] [--rounds N] [--stock] [--write] [--list]
NAME: a family (a section of docs/benchmarks.md) or one of its workloads, "FAMILY/WORKLOAD"; everything without one.
--peers (or $AML_PEERS): a virtual environment, or its python, with numpy, torch, jax, onnx and onnxruntime. --write: also
docs/benchmarks.json and docs/benchmarks.md, where what was not measured stays as it was.
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


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "system": platform.release(), "load_before": os.getloadavg()[0],
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


def write(results):
    """Puts results into docs/benchmarks.json and the sections that they belong to into docs/benchmarks.md."""
    store = ROOT / "docs/benchmarks.json"
    kept = json.loads(store.read_text()) if store.exists() else {}
    for name, entries in results.items():
        kept.setdefault(name, {}).update(entries)
    store.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    page = ROOT / "docs/benchmarks.md"
    head, *old = ("\n" + page.read_text()).split("\n## ")
    bodies = {part.split("\n", 1)[0]: part for part in old}
    for family in FAMILIES:
        if family.name in results:
            notes = bodies.get(family.title, "").partition(NOTES)[2].strip().splitlines()
            order = [name for name in family.workloads if name in kept[family.name]]
            lines = section(family, {name: kept[family.name][name] for name in order}, notes)
            bodies[family.title] = "\n".join(lines)[3:]
    rank = {family.title: i for i, family in enumerate(FAMILIES)}
    ordered = sorted(bodies, key=lambda title: rank.get(title, len(rank)))
    page.write_text((head.strip() + "".join(f"\n\n## {bodies[title].strip()}" for title in ordered)).strip() + "\n")


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
                write({family.name: {name: results[family.name][name]}})
    print(f"{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
