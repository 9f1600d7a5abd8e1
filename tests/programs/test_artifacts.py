#!/usr/bin/env python3
"""What `deploy` makes: libraries in each form with nothing but the header, packages, several levels in one program."""
import json
import os
import shutil
import struct
import subprocess
import sys

from harness import DIGITS, ROOT, Skip, check, check_answers, check_equal, check_in, main, needs_aarch64, sanitized

HERE = ROOT / "tests/programs"
EVERY_FORM = "[executable, shared_library, static_library, object, c_header]"


def deployed(place, settings, name="digits_f32", train=True):
    """The digits program with a deploy block of its own; its standard error."""
    shutil.copytree(DIGITS, place.folder / "source", dirs_exist_ok=True)
    source = place.write("source/other.aml", f'aml 1\n\nuse "digits.aml"\n\ndeploy {name} {{\n  model: digits_mlp.best\n{settings}\n}}\n')
    if train:
        place.aml("build", DIGITS / "digits.aml", "-o", "trainer")
        place.run(place.folder / "trainer", "train", "--steps", "300", "--quiet")
    return place.aml("deploy", source, name).err


def needs_compiler(place, *names):
    if sanitized(place.amlc):
        raise Skip("a sanitized runtime cannot be linked into other programs")
    for name in names:
        if not shutil.which(name):
            raise Skip(f"{name} is not installed")


def rows_of_digits(place, count=100):
    rows = (DIGITS / "data/digits.csv").read_text().splitlines()[:count + 1]
    some = place.write("some.csv", "\n".join(rows) + "\n")
    numbers = place.write("numbers.txt", "\n".join(" ".join(row.split(",")[:64]) for row in rows[1:]) + "\n")
    return some, numbers


def each_form_from_c_and_cpp(place):
    """A C and a C++ program with the header and one file: two threads, nothing allocated, the executable's numbers."""
    needs_compiler(place, "cc", "c++")
    deployed(place, f"  emit: {EVERY_FORM}\n  batch: [1, 16]")
    some, numbers = rows_of_digits(place)
    expected = [line.split(",", 1)[1] for line in place.run(place.folder / "digits_f32", "predict", some).out.splitlines()[1:]]
    alone = place.folder / "alone"
    alone.mkdir()
    shutil.copy(place.folder / "digits_f32.h", alone)
    for form, libraries in (("libdigits_f32.so", [f"-Wl,-rpath,{alone}"]), ("libdigits_f32.a", ["-lm"]), ("digits_f32.o", ["-lm"])):
        shutil.copy(place.folder / form, alone)
        for compiler, language, standard, count in (("cc", "c", "-std=c11", ["-DCOUNT_ALLOCATIONS"]), ("c++", "c++", "-std=c++11", [])):
            place.run(compiler, "-x", language, standard, "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", *count, "-I", alone,
                      HERE / "library_user.c", "-x", "none", alone / form, *libraries, "-lpthread", "-o", "user")
            check_answers([place.folder / "user"], numbers, expected)


def wrong_calls_have_codes(place):
    """Also under valgrind, where it is installed: no error, nothing lost, and without AVX-512 another level is taken."""
    needs_compiler(place, "cc")
    deployed(place, '  emit: [static_library, object]\n  target: [cpu("x86-64-v2"), cpu("x86-64-v4")]\n  batch: [1, 16]')
    place.run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", place.folder, HERE / "library_errors.c",
              place.folder / "libdigits_f32.a", "-lm", "-o", "errors")
    place.run(place.folder / "errors")
    _, numbers = rows_of_digits(place, 40)
    place.run("cc", "-std=c11", "-D_GNU_SOURCE", "-I", place.folder, HERE / "library_user.c", place.folder / "digits_f32.o", "-lm", "-lpthread",
              "-o", "user")
    with open(numbers) as rows_in:
        plain = subprocess.run([place.folder / "user"], stdin=rows_in, capture_output=True, text=True, check=True).stdout
    if not shutil.which("valgrind"):
        raise Skip("valgrind is not installed; the rest of the case passed")
    valgrind = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full"]
    place.run(*valgrind, place.folder / "errors")
    check_answers([*valgrind, place.folder / "user"], numbers, plain.splitlines())


def names_of(place, path, *options):
    out = place.run("nm", *options, path).out
    return {line.split()[-1] for line in out.splitlines() if len(line.split()) >= 2 and line.split()[-2] in "TDBRVWC"}


def two_models_in_one_program(place):
    """Only the functions of the header are global, whatever form it is, and code of two models does not meet."""
    needs_compiler(place, "cc", "nm")
    deployed(place, f"  emit: {EVERY_FORM}")
    deployed(place, "  emit: [object]\n  quantize: int8(calibrate: digits.train)", "second", train=False)
    functions = ("context_bytes", "init", "predict", "predict_arrays", "problem", "describe", "message")
    for path, options in (("libdigits_f32.so", ["-D", "--defined-only"]), ("libdigits_f32.a", ["--defined-only"]),
                          ("digits_f32.o", ["--defined-only"])):
        check_equal(names_of(place, path, *options), {f"digits_f32_{n}" for n in functions}, f"what {path} exports")
    out = place.run("nm", "--undefined-only", "digits_f32.o").out
    needed = {line.split()[-1] for line in out.splitlines()}
    check(not needed & {"malloc", "calloc", "realloc", "printf", "snprintf", "vsnprintf", "fopen"}, f"the object needs {sorted(needed)}")
    print(f"  the object needs {', '.join(sorted(needed))}")
    writable = place.run("size", "-A", "digits_f32.o").out
    for line in writable.splitlines():
        parts = line.split()
        check(not (parts and (parts[0].startswith(".bss") or parts[0] == ".data" or parts[0].startswith(".data.") and ".rel.ro" not in parts[0])
                   and int(parts[1]) > 0), f"the library has global state: {line}")
    place.write("both.c", """
#include <stdio.h>
#include <stdlib.h>
#include "digits_f32.h"
#include "second.h"
int main(void)
{
    float x[64] = {0, 0, 5, 13};
    int32_t a, b;
    digits_f32_context *first;
    second_context *second;
    void *memory[2] = {malloc(digits_f32_context_bytes()), malloc(second_context_bytes())};
    if (digits_f32_init(memory[0], digits_f32_context_bytes(), &first) || second_init(memory[1], second_context_bytes(), &second))
        return 1;
    if (digits_f32_predict(first, 1, x, &a, NULL) || second_predict(second, 1, x, &b, NULL))
        return 2;
    free(memory[0]), free(memory[1]);
    return printf("%d %d\\n", (int)a, (int)b) < 0;
}
""")
    place.run("cc", "-std=c11", "-I.", "both.c", "digits_f32.o", "second.o", "-lm", "-o", "both")
    place.run(place.folder / "both")


def packages_are_found(place):
    """pkg-config and CMake, from the folder alone."""
    needs_compiler(place, "cc", "cmake")
    deployed(place, "  emit: [shared_library, static_library]")
    place.write("use/main.c", "#include <digits_f32.h>\nint main(void) { return digits_f32_describe()->parameters == 9610 ? 0 : 1; }\n")
    place.write("use/CMakeLists.txt", "cmake_minimum_required(VERSION 3.20)\nproject(use C)\n"
                f"find_package(digits_f32 CONFIG REQUIRED PATHS {place.folder} NO_DEFAULT_PATH)\n"
                "add_executable(any main.c)\ntarget_link_libraries(any digits_f32::digits_f32)\n"
                "add_executable(static main.c)\ntarget_link_libraries(static digits_f32::static)\n")
    place.run("cmake", "-S", "use", "-B", "use/build")
    place.run("cmake", "--build", "use/build")
    for name in ("any", "static"):
        place.run(place.folder / "use/build" / name)
    check(not "libdigits_f32" in place.run("ldd", place.folder / "use/build/static").out, "the static library is a shared one")
    if not shutil.which("pkg-config"):
        raise Skip("pkg-config is not installed; the rest of the case passed")
    flags = place.run("pkg-config", "--cflags", "--libs", "digits_f32", env={"PKG_CONFIG_PATH": str(place.folder)}).out.split()
    place.run("cc", "use/main.c", *flags, f"-Wl,-rpath,{place.folder}", "-o", "by_pc")
    place.run(place.folder / "by_pc")


def only_what_is_listed(place):
    deployed(place, "  emit: [c_header]")
    made = {path.name for path in place.folder.iterdir() if path.name.startswith(("digits_f32", "lib"))}
    check_equal(made, {"digits_f32.h"}, "what was made")


def levels_of(place, program):
    info = json.loads(place.run(place.folder / program, "info", "--json").out)
    return info["cpu_levels"], info["cpu_level"]


def several_levels_in_one_program(place):
    """The best level that the machine has is used; each level is compared with the training program, and may be asked for."""
    err = deployed(place, '  target: [cpu("x86-64-v2"), cpu("x86-64-v4"), cpu("x86-64-v3")]')
    levels, used = levels_of(place, "digits_f32")
    check_equal(levels, ["x86-64-v4", "x86-64-v3", "x86-64-v2"], "the levels, the best first")
    some, _ = rows_of_digits(place, 50)
    plain = place.run(place.folder / "digits_f32", "predict", some).out
    flags = open("/proc/cpuinfo").read()
    if "avx512vl" not in flags:
        check(used != "x86-64-v4", "a level is used that this machine lacks")
        check_in("not compared: the code for x86-64-v4", err)
        check_in("lacks avx512f", place.run(place.folder / "digits_f32", "predict", some, "--level", "x86-64-v4", code=1).err)
    for level in levels[levels.index(used):]:
        check_in(f"code for {level}: worst difference", err)
        out = place.run(place.folder / "digits_f32", "predict", some, "--level", level).out
        if level == used:
            check_equal(out, plain, "what is predicted without --level")
        for left, right in zip(out.splitlines()[1:], plain.splitlines()[1:]):
            check(all(abs(float(a) - float(b)) < 1e-5 for a, b in zip(left.split(","), right.split(","))), f"{level}: {left} is not {right}")
    check_in("did you mean x86-64-v3?", place.run(place.folder / "digits_f32", "predict", some, "--level", "x86-64-v33", code=2).err)


WITH_FILE = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "digits_f32.h"
int main(int argc, char **argv)
{
    int file = open(argv[1], O_RDONLY);
    size_t length = (size_t)lseek(file, 0, SEEK_END);
    void *weights = mmap(NULL, length, PROT_READ, MAP_PRIVATE, file, 0), *memory = malloc(digits_f32_context_bytes());
    float x[64] = {0, 0, 5, 13, 9, 1};
    int32_t digit = -1;
    digits_f32_context *context;
    int code = digits_f32_init(memory, digits_f32_context_bytes(), weights, length, &context);
    if (code == 0)
        code = digits_f32_predict(context, 1, x, &digit, NULL);
    printf("%d %s\\n", (int)digit, digits_f32_message(code));
    free(memory);
    return argc == 2 && code == DIGITS_F32_WEIGHTS ? 3 : code;
}
"""


def weights_in_a_file(place):
    """The same answers; the program is smaller; a file of another model, a damaged one and none are told."""
    deployed(place, f'  weights: file\n  emit: {EVERY_FORM}\n  batch: [1, 16]\n  target: [cpu("x86-64-v2"), cpu("x86-64-v3")]')
    some, _ = rows_of_digits(place)
    program, weights = place.folder / "digits_f32", place.folder / "digits_f32.weights"
    found = place.run(program, "predict", some).out
    check_equal(weights.stat().st_size >= 4 * 9610, True, "whether the weights are in the file")
    size = program.stat().st_size
    inside = place.folder / "inside"
    inside.mkdir()
    shutil.copytree(place.folder / "runs", inside / "runs")
    source = place.write("source/inside.aml", (place.folder / "source/other.aml").read_text().replace("weights: file", ""))
    place.aml("deploy", source, "digits_f32", "-o", "inside/digits_f32")
    check_equal(place.run(inside / "digits_f32", "predict", some).out, found, "what is predicted")
    check(sanitized(place.amlc) or size < (inside / "digits_f32").stat().st_size - 30000, f"{size} bytes with the weights beside")
    weights.rename(place.folder / "moved")
    check_in("cannot open the weights", place.run(program, "predict", some, code=1).err)
    check_equal(place.run(program, "predict", some, "--weights", "moved").out, found, "what is predicted with a named file")
    damaged = bytearray((place.folder / "moved").read_bytes())
    damaged[1000] ^= 1
    weights.write_bytes(damaged)
    check_in("the file is damaged", place.run(program, "predict", some, code=1).err)
    weights.write_bytes(damaged[:-1])
    check_in("the file was cut off", place.run(program, "predict", some, code=1).err)
    weights.write_bytes(b"")
    check_in("found 0 bytes", place.run(program, "predict", some, code=1).err)
    shutil.copy(place.folder / "moved", weights)
    header, row = some.read_text().splitlines()[:2]
    running = subprocess.Popen([program, "predict", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.stdin.write(f"{header}\n{row}\n")
    running.stdin.flush()
    check_equal([running.stdout.readline() for _ in range(2)], found.splitlines(True)[:2], "the first answer")
    os.truncate(weights, 4096)
    _, said = running.communicate(f"{row}\n", timeout=60)
    check_in("digits_f32.weights: the file was cut off while its weights were used", said)
    check_equal(running.returncode, 1, "the exit status")
    if sanitized(place.amlc) or not shutil.which("cc"):
        return
    place.write("with_file.c", WITH_FILE)
    for form in ("libdigits_f32.a", "digits_f32.o"):
        place.run("cc", "-std=gnu11", "-I.", "with_file.c", form, "-lm", "-o", "with_file")
        check_in("success", place.run(place.folder / "with_file", "moved").out)
        weights.write_bytes(damaged)
        check_in("not those that the code was made for", place.run(place.folder / "with_file", weights, code=3).out)


def below_the_lowest_level(place):
    """A processor that has none of the levels is told what it lacks."""
    if not shutil.which("qemu-x86_64"):
        raise Skip("qemu-x86_64 (qemu-user) is not installed")
    if sanitized(place.amlc):
        raise Skip("sanitizers do not run under qemu")
    deployed(place, '  target: [cpu("x86-64-v3"), cpu("x86-64-v4")]')
    some, _ = rows_of_digits(place, 3)
    done = place.run("qemu-x86_64", "-cpu", "Nehalem", place.folder / "digits_f32", "predict", some, code=1)
    check_in("compiled for the CPU level x86-64-v3", done.err)
    check_in("lacks avx2", done.err)


def libraries_for_aarch64(place):
    """f32 and int8, under qemu: the codes of wrong calls, and the answers of the program for this machine."""
    needs_compiler(place, "aarch64-linux-gnu-gcc", "qemu-aarch64")
    some, numbers = rows_of_digits(place, 40)
    for quantize in ("", "\n  quantize: int8(calibrate: digits.train)"):
        deployed(place, f"  batch: [1, 16]\n  weights: file{quantize}")      # packed ones would be rounded otherwise
        expected = [line.split(",", 1)[1] for line in place.run(place.folder / "digits_f32", "predict", some).out.splitlines()[1:]]
        deployed(place, f'  batch: [1, 16]\n  target: cpu("aarch64")\n  emit: [static_library, shared_library, object]{quantize}', train=False)
        check_in("AArch64", place.run("readelf", "-h", "digits_f32.o").out)
        for source, form in (("library_errors.c", "libdigits_f32.a"), ("library_user.c", "digits_f32.o")):
            place.run("aarch64-linux-gnu-gcc", "-static", "-D_GNU_SOURCE", "-I.", HERE / source, form, "-lm", "-lpthread", "-o", source[:-2])
        place.run("qemu-aarch64", place.folder / "library_errors")
        with open(numbers) as rows_in:
            done = subprocess.run(["qemu-aarch64", place.folder / "library_user"], stdin=rows_in, capture_output=True, text=True, timeout=300)
        check_equal(done.returncode, 0, f"the exit code under qemu ({done.stderr[-2000:]})")
        found = done.stdout.splitlines()
        check_equal(len(found), len(expected), "the number of rows")
        worst = max(abs(float(a) - float(b)) for x, y in zip(found, expected) for a, b in zip(x.split(","), y.split(",")))
        check(worst < (0.02 if quantize else 1e-5), f"the worst difference is {worst}")


def executables_for_aarch64(place):
    """Under qemu, the predictions of the program for this machine, from csv, from a pipe and from npy; a missing compiler is named."""
    needs_compiler(place, "aarch64-linux-gnu-gcc", "qemu-aarch64")
    some, numbers = rows_of_digits(place, 40)
    deployed(place, "  batch: [1, 16]")
    expected = place.run(place.folder / "digits_f32", "predict", some).out
    deployed(place, '  batch: [1, 16]\n  target: cpu("aarch64")\n  emit: [executable]', train=False)
    program = place.folder / "digits_f32"
    check_in("AArch64", place.run("readelf", "-h", program).out)
    print(f"  {program.stat().st_size} bytes")

    def compare(found):
        rows, wanted = found.splitlines(), expected.splitlines()
        check_equal((len(rows), rows[0]), (len(wanted), wanted[0]), "the rows and the header")
        worst = max(abs(float(a) - float(b)) for x, y in zip(rows[1:], wanted[1:]) for a, b in zip(x.split(","), y.split(",")))
        check(worst < 1e-5, f"the worst difference is {worst}")
    compare(place.run("qemu-aarch64", program, "predict", some).out)
    values = [float(v) for line in numbers.read_text().splitlines() for v in line.split()]
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (40, 64), }"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    (place.folder / "some.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() + struct.pack(f"<{len(values)}f", *values))
    compare(place.run("qemu-aarch64", program, "predict", "some.npy").out)
    check_in("batch", place.run("qemu-aarch64", program, "bench", "--seconds", "0.01").out)
    done = place.run("qemu-aarch64", program, "predict", place.write("bad.csv", "a,b\n1,2\n"), code=1)
    check_in("bad.csv", done.err)
    done = place.aml("deploy", place.folder / "source/other.aml", "digits_f32", code=1, env={"AML_CC_AARCH64": "no-such-compiler"})
    check_in("'no-such-compiler' could not be started", done.err)
    check_in("gcc-aarch64-linux-gnu", done.err)


def weights_in_a_file_for_aarch64(place):
    """Under qemu, the predictions of the program with the weights inside; a file of the other kind of machine is told."""
    needs_aarch64(place)
    some, _ = rows_of_digits(place, 40)
    deployed(place, "  weights: file\n  batch: [1, 16]")
    expected = place.run(place.folder / "digits_f32", "predict", some).out
    other = (place.folder / "digits_f32.weights").read_bytes()
    deployed(place, '  weights: file\n  batch: [1, 16]\n  target: cpu("aarch64")\n  emit: [executable]', train=False)
    rows, wanted = place.run("qemu-aarch64", place.folder / "digits_f32", "predict", some).out.splitlines(), expected.splitlines()
    check_equal((len(rows), rows[0]), (len(wanted), wanted[0]), "the rows and the header")
    worst = max(abs(float(a) - float(b)) for x, y in zip(rows[1:], wanted[1:]) for a, b in zip(x.split(","), y.split(",")))
    check(worst < 1e-5, f"the worst difference is {worst}")
    (place.folder / "digits_f32.weights").write_bytes(other)
    said = place.run("qemu-aarch64", place.folder / "digits_f32", "predict", some, code=1).err
    check_in("expected weights laid out for aarch64, found them laid out for x86-64-v3", said)


def bytes_choose_their_level(place):
    """int8 has code for VNNI and for x86-64-v3 unless the block says something else; f32 for x86-64-v3."""
    deployed(place, "  quantize: int8(calibrate: digits.train)")
    check_equal(levels_of(place, "digits_f32")[0], ["x86-64-v4-vnni", "x86-64-v3"], "the levels of int8")
    deployed(place, "", train=False)
    check_equal(levels_of(place, "digits_f32")[0], ["x86-64-v3"], "the levels of f32")


if __name__ == "__main__":
    sys.exit(main([each_form_from_c_and_cpp, wrong_calls_have_codes, two_models_in_one_program, packages_are_found, only_what_is_listed,
                   several_levels_in_one_program, weights_in_a_file, below_the_lowest_level, libraries_for_aarch64, executables_for_aarch64, weights_in_a_file_for_aarch64, bytes_choose_their_level]))
