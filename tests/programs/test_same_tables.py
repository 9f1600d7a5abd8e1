#!/usr/bin/env python3
"""The object that amlc makes of a program's tables has the bytes and the addresses that a C compiler makes of their text."""
import struct
import subprocess
import sys

import test_tables
from harness import ROOT, Skip, check, check_equal, main, sanitized

SYMBOLS, RELOCATIONS, OBJECT = 2, 4, 1

# Keeps the tables where the compiler links them.
COMPILER = """#!/bin/sh
[ -f tables.o ] && cp tables.o "$KEPT"
exec cc "$@"
"""


class Elf:
    """An object of ELF for 64 bits: its sections, symbols (name, kind, section, value, size) and addresses."""

    def __init__(self, path):
        self.data = path.read_bytes()
        (start,), (count,) = struct.unpack_from("<Q", self.data, 40), struct.unpack_from("<H", self.data, 60)
        self.section = [struct.unpack_from("<IIQQQQIIQQ", self.data, start + 64 * i) for i in range(count)]
        self.symbol, self.address = [], {}
        for kind, offset, size, link, info in ((s[1], s[4], s[5], s[6], s[7]) for s in self.section):
            for at in range(offset, offset + size, 24):
                if kind == SYMBOLS:
                    name, flags, _, section, value, length = struct.unpack_from("<IBBHQQ", self.data, at)
                    self.symbol.append((self.text(link, name), flags & 15, section, value, length))
                elif kind == RELOCATIONS:
                    place, what, plus = struct.unpack_from("<QQq", self.data, at)
                    self.address.setdefault(info, {})[place] = (what >> 32, plus)

    def bytes(self, section, offset, count):
        return self.data[self.section[section][4] + offset:][:count]

    def text(self, section, offset):
        start = self.section[section][4] + offset
        return self.data[start:self.data.index(b"\0", start)].decode()

    def named(self, name):
        return next(s for s in self.symbol if s[0] == name and s[2])

    def points_to(self, section, offset):
        """None where there is no address, else the name of another object's symbol, or a place in this one."""
        found = self.address.get(section, {}).get(offset)
        if not found:
            return None
        name, _, where, value, _ = self.symbol[found[0]]
        return (where, value + found[1]) if where else name

    def table_at(self, place):
        return next((s for s in self.symbol if s[1] == OBJECT and s[2:4] == place), None)


def compare(c, own, table, place, seen):
    """The C compiler's `table` and what they point to with the tables at `place` of amlc's object."""
    name, _, section, start, size = table
    if name in seen:
        check_equal(place, seen[name], f"the place of {name}")
        return
    seen[name] = place
    at = 0
    while at < size:
        there, here = c.points_to(section, start + at), own.points_to(place[0], place[1] + at)
        what = f"byte {at} of {name}"
        if there is None or isinstance(there, str):
            check_equal(here, there, f"the address at {what}")
        else:
            check(isinstance(here, tuple), f"no address in the object itself at {what}")
        if there is None:
            check_equal(own.bytes(place[0], place[1] + at, 1), c.bytes(section, start + at, 1), what)
        elif not isinstance(there, str):
            inner = c.table_at(there)
            if inner:
                compare(c, own, inner, here, seen)
            else:
                check_equal(own.text(*here), c.text(*there), f"the text at {what}")
        at += 1 if there is None else 8


def same(place, source, tables):
    if sanitized(place.amlc):
        raise Skip("the compiler of a sanitizer is a certain one")
    compiler, kept, text, made = (place.folder / name for name in ("compiler", "kept.o", "tables.c", "tables.o"))
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    place.aml("build", source, "-o", "program", env={"AML_CC": str(compiler), "KEPT": str(kept)})
    text.write_text(place.aml("build", source, "--emit=program").out)
    subprocess.run(["cc", "-c", "-w", "-O0", "-fPIC", "-fdata-sections", f"-I{ROOT}/runtime/include", text, "-o", made], check=True)
    c, own, seen = Elf(made), Elf(kept), {}
    whole, mine = c.named("program"), own.named("amli_program")
    check_equal(mine[4], whole[4], "the size of the program's table")
    compare(c, own, whole, mine[2:4], seen)
    check(len(seen) >= tables, f"only {len(seen)} tables were compared")


def of_a_training(place):
    same(place, ROOT / "examples/digits/digits.aml", 30)


def of_data_with_categories(place):
    place.write("people.csv", test_tables.PEOPLE)
    place.write("program.aml", (test_tables.HEAD + test_tables.FIELDS + test_tables.TAIL).replace("CLASSES", "2").replace("SIZE", "20"))
    same(place, place.folder / "program.aml", 40)


def of_options_and_a_synthetic_source(place):
    same(place, ROOT / "examples/custom/custom.aml", 10)


if __name__ == "__main__":
    sys.exit(main([of_a_training, of_data_with_categories, of_options_and_a_synthetic_source]))
