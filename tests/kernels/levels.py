#!/usr/bin/env python3
"""A program compiled for a processor level has no instruction beyond it. Usage: levels.py AMLC"""
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What must not occur: any AVX instruction or register, then AVX-512 registers.
BEYOND = {"x86-64-v2": re.compile(r"%[xyz]mm(1[6-9]|2\d|3[01])|%ymm|%zmm|\tv[a-z]"), "x86-64-v3": re.compile(r"%[xy]mm(1[6-9]|2\d|3[01])|%zmm|\{%k")}
EXPECTED = {"x86-64-v2": "%xmm", "x86-64-v3": "%ymm", "x86-64-v4": "%zmm"}


def main():
    amlc = pathlib.Path(sys.argv[1]).absolute()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for level, register in EXPECTED.items():
            program = pathlib.Path(folder) / level
            done = subprocess.run([amlc, "build", ROOT / "examples/digits/digits.aml", f"--target={level}", "-o", program], capture_output=True, text=True)
            why = None
            if done.returncode != 0:
                why = f"amlc build: {done.stderr.strip()}"
            else:
                code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], capture_output=True, text=True, check=True).stdout
                beyond = level in BEYOND and BEYOND[level].search(code)
                if beyond:
                    line = code[code.rfind("\n", 0, beyond.start()) + 1:code.find("\n", beyond.end())]
                    why = f"'{line.strip()}' is beyond the level"
                elif register not in code:
                    why = f"no instruction uses {register}: the level is not used"
            print(f"FAIL {level}: {why}" if why else f"PASS {level}")
            failed |= why is not None
    return failed


sys.exit(main())
