#!/usr/bin/env python3
"""Measures the kernels of kernels/cpu alone: products of many shapes, math functions, random numbers.

Usage: tests/kernels/bench/run.py [--width 16|8|4] [--llvm FOLDER] [MxNxK[A][B][P][H] ...]
A, B: that operand is transposed, P: B is packed beforehand, H: operands are bf16. FOLDER holds clang and opt (default /usr/lib/llvm-22/bin).
"""
import argparse
import pathlib
import re
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KERNELS = HERE.parents[2] / "kernels" / "cpu"
LEVELS = {16: "x86-64-v4", 8: "x86-64-v3", 4: "x86-64-v2"}
FLAGS = ["-std=gnu11", "-O2", "-fno-strict-aliasing", "-fwrapv", "-ffp-contract=on", "-fno-math-errno", f"-I{KERNELS}"]
SHAPES = ("64x128x64 64x10x128 64x128x64A 64x128x10B 128x10x64A 64x128x784 64x128x784P 784x128x64A 32x10x128 128x512x512 128x512x512B "
          "256x256x256 512x512x512 512x512x512AB 512x768x3072 512x3072x768B 1x128x64P 1x4096x4096 1x4096x4096B 1x4096x4096P").split()


def specialised(text):
    """The templates (hidden functions) are inlined where they are called, as amlc does it; other functions stay."""
    groups = dict(re.findall(r"^attributes #(\d+) = \{ (.*) \}$", text, re.M))
    text = re.sub(r"^(define hidden .*?)#(\d+)(.*)$", lambda m: f"{m[1]}#{int(m[2]) + 1000}{m[3]}", text, flags=re.M)
    inlined = [f"attributes #{int(n) + 1000} = {{ {a.replace('noinline', 'alwaysinline')} }}" for n, a in groups.items()]
    return text + "\n" + "\n".join(inlined) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=16, choices=LEVELS)
    parser.add_argument("--llvm", type=pathlib.Path, default=pathlib.Path("/usr/lib/llvm-22/bin"))
    parser.add_argument("shapes", nargs="*", default=SHAPES)
    options = parser.parse_args()
    flags = FLAGS + [f"-march={LEVELS[options.width]}", "-mtune=native", f"-DAML_WIDTH={options.width}"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for shape in options.shapes:
            m, n, k, marks = re.fullmatch(r"(\d+)x(\d+)x(\d+)([ABPH]*)", shape).groups()
            sizes = [f"-DM={m}", f"-DN={n}", f"-DK={k}"] + [f"-D{name}={int(mark in marks)}" for name, mark in (("TA", "A"), ("TB", "B"), ("PACKED", "P"), ("HALF", "H"))]
            ir = folder / "dot.ll"
            subprocess.run([options.llvm / "clang", *flags, *sizes, "-DAML_KERNEL_BITCODE", "-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops",
                            "-emit-llvm", "-S", HERE / "dot.c", "-o", ir], check=True)
            ir.write_text(specialised(ir.read_text()))
            subprocess.run([options.llvm / "opt", "-passes=internalize,globaldce,always-inline,globaldce,default<O3>", "--internalize-public-api-list=main",
                            ir, "-o", folder / "dot.bc"], check=True)
            subprocess.run([options.llvm / "clang", "-Wno-override-module", "-O3", *flags[-3:-1], folder / "dot.bc", "-o", folder / "dot", "-lm"], check=True)
            subprocess.run([folder / "dot"], check=True)
        if options.shapes is SHAPES:
            subprocess.run([options.llvm / "clang", *flags, "-O3", HERE / "functions.c", "-o", folder / "functions", "-lm"], check=True)
            subprocess.run([folder / "functions"], check=True)


main()
