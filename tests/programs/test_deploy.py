#!/usr/bin/env python3
"""`amlc deploy`: the f32 program, the library with its header, what is refused, what is required."""
import json
import re
import shutil
import subprocess
import sys

from harness import DIGITS, ROOT, best_time, check, check_equal, check_in, checkpoints, main, sanitized

HERE = ROOT / "tests/programs"


def trained(place, source=DIGITS / "digits_f32.aml", *options):
    """The f32 program, trained in the test's folder."""
    place.aml("build", source, "-o", "trainer", *options)
    place.run(place.folder / "trainer", "train", "--quiet")
    return place.folder / "trainer"


def some_rows(place, count=200):
    rows = (DIGITS / "data/digits.csv").read_text().splitlines()[:count + 1]
    return place.write("some.csv", "\n".join(rows) + "\n"), rows


def predicts_what_the_training_program_predicts(place):
    trainer = trained(place)
    done = place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32")
    check_in("worst difference", done.err)
    print("  " + next(line.strip() for line in done.err.splitlines() if "worst difference" in line))
    some, _ = some_rows(place)
    expected = [line.split(",") for line in place.run(trainer, "predict", some).out.splitlines()]
    found = [line.split(",") for line in place.run(place.folder / "digits_f32", "predict", some).out.splitlines()]
    check_equal(found[0], expected[0], "the header")
    check_equal(found[0][:2], ["row", "prediction"], "the first columns")
    check_equal([r[:2] for r in found], [r[:2] for r in expected], "the predictions")
    worst = max(abs(float(a) - float(b)) for x, y in zip(found[1:], expected[1:]) for a, b in zip(x, y))
    check(worst < 1e-5, f"the worst difference is {worst}")


CALLS = """aml 1

use "digits.aml"

model Sorted() {
  head = Dense(10)
  fn forward(x: float[n, 64]) -> float[n, 10] {
    let wide = concat([x, x, x, x], axis: 1)
    return concat([wide, float(argsort(wide, axis: 1))], axis: 1) |> head
  }
}

train sorted { model: Sorted() data: digits loss: cross_entropy optimizer: sgd(lr: 0.01) length: 5 steps batch: 16 }
deploy sorted_f32 { model: sorted.last }
"""


def calls_of_the_c_library_are_bound(place):
    """Kernels call functions through a table, whose list moves when constants are packed."""
    source = place.write("sorted.aml", CALLS)
    shutil.copy(DIGITS / "digits.aml", place.folder)
    shutil.copytree(DIGITS / "data", place.folder / "data", dirs_exist_ok=True)
    place.aml("build", source, "-o", "trainer")
    place.run(place.folder / "trainer", "train", "sorted", "--quiet")
    err = place.aml("deploy", source, "sorted_f32").err
    check("worst difference" in err, err)
    if not sanitized(place.amlc):
        headers = place.run("readelf", "--dynamic", place.folder / "sorted_f32").out
        check("JMPREL" in headers, headers)


def is_small_and_quick(place):
    trained(place)
    place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32")
    program = place.folder / "digits_f32"
    size = program.stat().st_size
    some, _ = some_rows(place, 1)
    shortest, text = best_time(lambda: subprocess.run([program, "predict", some], capture_output=True, check=True), 25)
    print(f"  {size} bytes; start to first prediction: {text}")
    check(sanitized(place.amlc) or size < 150_000, f"{size} bytes, expected less than 150 KB")
    check(sanitized(place.amlc) or shortest < 0.003, f"{1e3 * shortest:.2f} ms to the first prediction, expected less than 3 ms")


def needs_only_libc_and_libm(place):
    trained(place)
    place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32")
    if sanitized(place.amlc):
        return
    for name in ("digits_f32", "libdigits_f32.so"):
        names = {line.split()[0].split("/")[-1] for line in place.run("ldd", place.folder / name).out.splitlines() if line.strip()}
        extra = names - {"linux-vdso.so.1", "libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}
        check(not extra, f"{name} needs {sorted(extra)}")


PICTURES = """aml 1
use std.nn
use std.optim
use std.data

model Part {
  dense = Dense(128)
  fn forward(x: float[n, 128]) -> float[n, 128] { return x + tanh(dense(x)) }
}

model Net {
  conv = Conv2d(16, kernel: 5, stride: 4, padding: same, bias: false)
  norm = BatchNorm()
  some = Dense(128)
  deep = repeat(3, Part())
  wide = Dense(2304, activation: relu)
  long = Dense(32)
  head = Dense(2)

  fn forward(x: float[n, 3, 160, 160]) -> float[n, 2] {
    return x |> conv |> norm |> relu |> mean(axes: [2, 3]) |> some |> deep |> wide |> long |> head
  }
}

dataset pictures {
  source: synthetic(24, fn(i) = { x: random.uniform([3, 160, 160]) * (0.5 + 0.1 * float(i)), y: i64(2.0 * random.uniform([])) })
  field x: f32[3, 160, 160]
  field y: class(2)
  split: { train: 50%, valid: 25%, test: 25% }

  fn prepare(s) { return { x: s.x, y: s.y } }
}

train net {
  model:     Net()
  data:      pictures
  loss:      cross_entropy
  optimizer: sgd(lr: 1e-2)
  length:    6 steps
  batch:     4
  seed:      1
}

deploy small { model: net.last }
"""


def norms_are_in_the_weights(place):
    """A convolution's weights are multiplied by the norm behind it, so none is in the program as it was trained. Its rows
    have 76,801 columns; sums over 2,304 elements are made in blocks; a loop over weights is written out."""
    trained(place, place.write("pictures.aml", PICTURES))
    done = place.aml("deploy", "pictures.aml", "small")
    worst = float(done.err.split("worst difference ")[1].split()[0])
    check(worst < 1e-5, f"the worst difference is {worst}")
    file = next((place.folder / "runs/net").glob("*/checkpoints/*/weights.safetensors")).read_bytes()
    length = int.from_bytes(file[:8], "little")
    begin, end = json.loads(file[8:8 + length])["conv.weight"]["data_offsets"]
    program = (place.folder / "small").read_bytes()
    values = [file[8 + length + i:8 + length + i + 4] for i in range(begin, end, 4)]
    kept = sum(value in program for value in values)
    check(len(values) == 1200 and kept < 10, f"{kept} of {len(values)} weights are as they were")


def same_bytes_every_time(place):
    trained(place)
    place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32")
    (place.folder / "again").mkdir()
    place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32", "-o", "again/digits_f32")
    for name in ("digits_f32", "libdigits_f32.so", "digits_f32.h"):
        check((place.folder / name).read_bytes() == (place.folder / "again" / name).read_bytes(), f"{name} differs")


def info_and_bench(place):
    trained(place)
    place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32")
    out = place.run(place.folder / "digits_f32", "info").out
    check_in("9610", out.replace(",", ""))
    check_in("weights", out)
    check_in("16", place.run(place.folder / "digits_f32", "bench").out)
    check_in("predict", place.run(place.folder / "digits_f32", "--help").out)


def library_is_used_from_c_and_cpp(place):
    """Any alignment, several threads, no allocation, the same numbers as the executable."""
    trained(place)
    place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32")
    some, rows = some_rows(place)
    numbers = place.write("numbers.txt", "\n".join(" ".join(row.split(",")[:64]) for row in rows[1:]) + "\n")
    expected = place.run(place.folder / "digits_f32", "predict", some).out.splitlines()[1:]
    compilers = [("cc", "c", "-std=c11"), ("c++", "c++", "-std=c++11")]
    for compiler, language, standard in compilers:
        if not shutil.which(compiler) or sanitized(place.amlc):
            continue
        count = ["-DCOUNT_ALLOCATIONS"] if language == "c" else []
        place.run(compiler, "-x", language, standard, "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", *count, "-I", place.folder,
                  HERE / "library_user.c", "-x", "none", place.folder / "libdigits_f32.so", f"-Wl,-rpath,{place.folder}", "-lpthread", "-o", "user")
        with open(numbers) as rows_in:
            done = subprocess.run([place.folder / "user"], stdin=rows_in, capture_output=True, text=True, timeout=60)
        check_equal(done.returncode, 0, f"the exit code of the {language} program ({done.stderr})")
        check_in("digits_f32 9610", done.stderr)
        found = done.stdout.splitlines()
        check_equal(len(found), len(expected), "the number of rows")
        for left, right in zip(found, expected):
            a, b = left.split(","), right.split(",")[1:]        # without the row
            check_equal(a[0], b[0], "a prediction")
            check(all(abs(float(x) - float(y)) < 1e-6 for x, y in zip(a[1:], b[1:])), f"{left} is not {right}")


def library_exports_its_functions_only(place):
    trained(place)
    place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32")
    out = place.run("nm", "-D", "--defined-only", place.folder / "libdigits_f32.so").out
    names = {line.split()[-1] for line in out.splitlines() if line.split()[-2] in "TDBR"}
    expected = {f"digits_f32_{n}" for n in ("context_bytes", "init", "predict", "predict_arrays", "problem", "describe", "message")}
    check(sanitized(place.amlc) or names == expected, f"exported are {sorted(names)}")


def unknown_block_has_a_suggestion(place):
    check_in("did you mean 'digits_int8'?", place.aml("deploy", DIGITS / "digits.aml", "digits_int", code=2).err)


def untrained_model_is_told(place):
    done = place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32", code=1)
    check_in("digits_mlp", done.err)
    check_in("train", done.err)


def checkpoint_of_another_shape_is_refused(place):
    trained(place, DIGITS / "digits_f32.aml", "-D", "hidden=16")
    done = place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32", code=1)
    check_in("fc1.weight", done.err)
    check_in("f32[64, 128]", done.err)
    check_in("f32[64, 16]", done.err)


def damaged_checkpoint_is_told(place):
    trained(place)
    for folder in checkpoints(place.folder):
        (folder / "weights.safetensors").write_bytes(b"\0" * 100)
    check_in("weights.safetensors", place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32", code=1).err)


def with_requirement(place, requirement):
    shutil.copytree(DIGITS, place.folder / "source")
    return place.write("source/strict.aml", f"""aml 1

use "digits.aml"

deploy strict {{
  model:   digits_mlp.best
  require: {{ {requirement} }}
}}
""")


def weights_for_winograd_are_made_at_the_start(place):
    trained(place, HERE / "patches.aml")
    done = place.aml("deploy", HERE / "patches.aml", "small")
    worst = float(re.search(r"worst difference ([0-9.e-]+)", done.err)[1])
    check(worst < 1e-5, f"the worst difference is {worst}")
    weights = next(place.folder.glob("runs/patches/*/checkpoints/step*/weights.safetensors")).stat().st_size
    size = (place.folder / "small").stat().st_size
    print(f"  {size} bytes, of which {weights} are weights")
    # Transformed they would take 4 times as much.
    check(sanitized(place.amlc) or size < weights + 150_000, f"{size} bytes, expected less than {weights + 150_000}")


def missed_requirement_fails(place):
    source = with_requirement(place, "size: 1 KiB")
    trained(place, source)
    done = place.aml("deploy", source, "strict", code=1)
    check_in("strict.aml:7:", done.err)
    check_in("1.0 KiB", done.err)
    check(not (place.folder / "strict").exists(), "the program was left behind")


def met_requirements_pass(place):
    source = with_requirement(place, "size: 64 MiB, memory: 64 MiB, latency: 10 s, accuracy_drop: 1pp")
    trained(place, source)
    done = place.aml("deploy", source, "strict")
    check_in("accuracy", done.err)
    check_in("us for a batch", done.err)


def missing_rows_for_the_comparison(place):
    trained(place)
    check_in("no_rows.csv", place.aml("deploy", DIGITS / "digits_f32.aml", "digits_f32", "--data", "no_rows.csv", code=1).err)


if __name__ == "__main__":
    sys.exit(main([predicts_what_the_training_program_predicts, calls_of_the_c_library_are_bound, is_small_and_quick, needs_only_libc_and_libm,
                   norms_are_in_the_weights, same_bytes_every_time,
                   info_and_bench, library_is_used_from_c_and_cpp, library_exports_its_functions_only,
                   unknown_block_has_a_suggestion, untrained_model_is_told,
                   checkpoint_of_another_shape_is_refused, damaged_checkpoint_is_told, missed_requirement_fails, met_requirements_pass, weights_for_winograd_are_made_at_the_start,
                   missing_rows_for_the_comparison]))
