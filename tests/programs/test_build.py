#!/usr/bin/env python3
"""What `amlc build` makes: a small executable of its own, the same bytes everywhere, quickly."""
import os
import shutil
import subprocess
import sys

from harness import DIGITS, ROOT, best_time, check, check_equal, check_in, main, sanitized


def needs_only_libc_and_libm(place):
    program = place.build_digits()
    if sanitized(place.amlc):
        return
    names = {line.split()[0].split("/")[-1] for line in place.run("ldd", program).out.splitlines() if line.strip()}
    allowed = {"linux-vdso.so.1", "libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}
    check(names <= allowed, f"the executable needs {sorted(names - allowed)}")


def executable_is_small(place):
    size = place.build_digits().stat().st_size
    print(f"  executable: {size} bytes")
    check(sanitized(place.amlc) or size < 2_000_000, f"{size} bytes, expected less than 2 MB")


def same_bytes_in_different_folders(place):
    """Copies built in two folders, one source built from two places, and to two places."""
    for name in ("a", "b/deeper"):
        shutil.copytree(DIGITS, place.folder / name)
        place.aml("build", "digits.aml", cwd=place.folder / name)
    first = (place.folder / "a/digits").read_bytes()
    check(first == (place.folder / "b/deeper/digits").read_bytes(), "two copies of the source give different bytes")
    place.aml("build", place.folder / "b/deeper/digits.aml", "-o", place.folder / "b/deeper/again")
    check(first == (place.folder / "b/deeper/again").read_bytes(), "the absolute path of the source shows in the executable")
    for name in ("c", "d/deeper"):
        (place.folder / name).mkdir(parents=True)
        place.aml("build", DIGITS / "digits.aml", "-o", "digits", cwd=place.folder / name)
    check((place.folder / "c/digits").read_bytes() == (place.folder / "d/deeper/digits").read_bytes(),
          "the folder in which amlc ran shows in the executable")


def data_is_found_from_anywhere(place):
    """Beside the source, wherever the program is started and wherever both were moved together."""
    shutil.copytree(DIGITS, place.folder / "here")
    place.aml("build", "digits.aml", cwd=place.folder / "here")
    check_in("1797", place.run(place.folder / "here/digits", "data", "check", cwd="/").all)
    os.rename(place.folder / "here", place.folder / "moved")
    check_in("1797", place.run(place.folder / "moved/digits", "data", "check", cwd="/").all)
    place.build_digits("elsewhere")
    check_in("1797", place.run(place.folder / "elsewhere", "data", "check", cwd="/").all)


def start_is_quick(place):
    program = place.build_digits()
    shortest, text = best_time(lambda: subprocess.run([program, "--help"], capture_output=True, check=True), 15)
    print(f"  --help: {text}")
    check(sanitized(place.amlc) or shortest < 0.010, f"--help takes {1e3 * shortest:.1f} ms, expected less than 10 ms")


def check_is_quick(place):
    shortest, text = best_time(lambda: place.aml("check", DIGITS / "digits.aml"), 9)
    print(f"  amlc check: {text}")
    check(sanitized(place.amlc) or shortest < 0.050, f"amlc check takes {1e3 * shortest:.1f} ms, expected less than 50 ms")


def build_is_quick(place):
    shortest, text = best_time(lambda: place.build_digits(), 9)
    print(f"  amlc build: {text}")
    check(sanitized(place.amlc) or shortest < 2, f"amlc build takes {shortest:.2f} s, expected less than 2 s")


def missing_compiler_is_told(place):
    done = place.aml("build", DIGITS / "digits.aml", env={"AML_CC": "no-such-compiler"}, code=1)
    check_in("no-such-compiler", done.err)
    check_in("AML_CC", done.err)
    check(not (place.folder / "digits").exists(), "a program was left behind")


def failing_compiler_is_told(place):
    cc = place.write("cc", "#!/bin/sh\necho 'disk of the moon is full' >&2\nexit 3\n")
    cc.chmod(0o755)
    done = place.aml("build", DIGITS / "digits.aml", env={"AML_CC": str(cc)}, code=1)
    check_in("failed with code 3", done.err)
    check_in("disk of the moon is full", done.err)


def missing_runtime_is_told(place):
    done = place.aml("build", DIGITS / "digits.aml", env={"AML_RUNTIME": "/nowhere/libaml_runtime.a"}, code=1)
    check_in("/nowhere/libaml_runtime.a", done.err)
    check_in("amlc doctor", done.err)


def output_that_is_a_folder(place):
    (place.folder / "digits").mkdir()
    check_in("is a folder", place.aml("build", DIGITS / "digits.aml", code=1).err)


def temporary_files_are_removed(place):
    (place.folder / "tmp").mkdir()
    place.aml("build", DIGITS / "digits.aml", env={"TMPDIR": str(place.folder / "tmp")})
    check_equal(list((place.folder / "tmp").iterdir()), [], "the temporary folder's content")


def installation_works(place):
    build = place.amlc.parent
    place.run("cmake", "--install", build, "--prefix", place.folder / "prefix")
    amlc = place.folder / "prefix/bin/amlc"
    place.run(amlc, "doctor")
    place.run(amlc, "build", DIGITS / "digits.aml", "-o", "digits")
    place.run(place.folder / "digits", "--help")
    check((place.folder / "prefix/include/aml/program.h").is_file(), "no header was installed")


def const_and_option_on_the_command_line(place):
    program = place.build_digits("digits", "-D", "hidden=16")
    done = place.run(program, "train", "--hidden", "8", code=2)
    check_in("digits.aml:", done.err)
    check_in("amlc build", done.err)
    check_in("-D hidden=8", done.err)
    check_in("did you mean", place.run(program, "train", "--ler", "1", code=2).err)
    check_in("--lr", place.run(program, "train", "--lr", "much", code=2).err)


def metric_says_what_is_better(place):
    """The tables tell the runtime of which metric less is better."""
    source = (DIGITS / "digits.aml").read_text()
    source = source.replace("metrics:    { accuracy: accuracy(), f1: f1(average: macro) }",
                            "metrics:    { accuracy: accuracy(), miss: missed() }")
    source += """
metric missed() {
  lower_is_better = true
  state wrong: i64 = 0

  fn update(scores: float[n, k], y: class(k)[n]) {
    wrong <- wrong + count(argmax(scores, axis: 1) != y)
  }
  fn value() = f64(wrong)
}
"""
    (place.folder / "missed.aml").write_text(source)
    tables = place.aml("build", place.folder / "missed.aml", "--emit=program").out
    for name, lower in (("accuracy", 0), ("miss", 1)):
        line = next(line for line in tables.splitlines() if f'.name = "{name}", .finish' in line)
        check_in(f".lower_is_better = {lower}", line)


def const_is_a_shape(place):
    small, large = place.build_digits("small", "-D", "hidden=16"), place.build_digits("large")
    check_in("hidden", place.run(small, "--help").out)
    check(small.read_bytes() != large.read_bytes(), "-D hidden=16 changes nothing")


def built_by_both_compilers(place):
    """gcc and clang both link a program."""
    for compiler in ("gcc", "clang-22", "clang-19"):
        if shutil.which(compiler) and not sanitized(place.amlc):
            place.aml("build", DIGITS / "digits.aml", "-o", compiler, env={"AML_CC": compiler})
            place.run(place.folder / compiler, "--help")


if __name__ == "__main__":
    sys.exit(main([needs_only_libc_and_libm, executable_is_small, same_bytes_in_different_folders, data_is_found_from_anywhere,
                   start_is_quick, check_is_quick, build_is_quick, missing_compiler_is_told, failing_compiler_is_told,
                   missing_runtime_is_told, output_that_is_a_folder, temporary_files_are_removed, installation_works,
                   const_and_option_on_the_command_line, metric_says_what_is_better, const_is_a_shape,
                   built_by_both_compilers]))
