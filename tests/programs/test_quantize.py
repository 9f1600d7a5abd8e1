#!/usr/bin/env python3
"""`deploy` with quantize and prune: what is predicted, what is reported, what is refused."""
import json
import math
import shutil
import struct
import subprocess
import sys

from harness import DIGITS, ROOT, best_time, check, check_answers, check_equal, check_in, checkpoints, main, sanitized

HERE = ROOT / "tests/programs"


def trained(place, source=DIGITS / "digits.aml"):
    place.aml("build", source, "-o", "trainer")
    place.run(place.folder / "trainer", "train", "--quiet")


def source_with(place, block):
    """The digits program with a deploy block of its own."""
    shutil.copytree(DIGITS, place.folder / "source", dirs_exist_ok=True)
    return place.write("source/other.aml", f'aml 1\n\nuse "digits.aml"\n\ndeploy other {{\n  model: digits_mlp.best\n{block}\n}}\n')


def held_out(err):
    """(deployed, before), in percent."""
    line = next(line for line in err.splitlines() if "that were held out" in line)
    return float(line.split(": ", 1)[1].split("%")[0]), float(line.split("before rounding: ")[1].split("%")[0])


def digits_as_written(place):
    trained(place)
    err = place.aml("deploy", DIGITS / "digits.aml", "digits_int8").err
    after, before = held_out(err)
    check(before - after <= 0.5, f"{before}% became {after}%")         # of 180 rows, so none
    program = place.folder / "digits_int8"
    size = program.stat().st_size
    row = place.write("row.csv", "\n".join((DIGITS / "data/digits.csv").read_text().splitlines()[:2]) + "\n")
    shortest, text = best_time(lambda: subprocess.run([program, "predict", row], capture_output=True, check=True), 25)
    print(f"  {size} bytes, {after}% (f32 {before}%); start to first prediction: {text}")
    check(sanitized(place.amlc) or size <= 100_000, f"{size} bytes, expected at most 100,000")
    check(sanitized(place.amlc) or shortest < 0.003, f"{1e3 * shortest:.2f} ms to the first prediction, expected less than 3 ms")
    info = json.loads(place.run(program, "info", "--json").out)
    check_equal([(layer["name"], layer["quantized"]) for layer in info["layers"]], [("fc1", True), ("fc2", True)], "the layers")
    for layer in info["layers"]:
        check(layer["result_db"] > 15 and layer["weights_db"] > 3, f"the error of {layer} is too large")
        check(layer["bytes_after"] < 0.2 * layer["bytes_before"], f"{layer} is not smaller")
    check_in(" bits a weight", err)
    check(info["weights_bytes"] < 0.32 * 4 * 9610, f"{info['weights_bytes']} bytes of weights")
    check_in("fc1", place.run(program, "info").out)


def tensors_of(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    found = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            raw = data[8 + length + begin:8 + length + end]
            found[name] = (entry["shape"], struct.unpack(f"<{len(raw) // 4}f", raw))
    return found


def quantized_layer(x, weights, bias, low, high):
    """What a layer gives by definition: bytes of x, rounded weights, the sum of integers, scaled back."""
    (depth, width), w = weights
    scale = (max(high, 0) - min(low, 0)) / 255
    zero = round(-min(low, 0) / scale)
    q = [min(255, max(0, round(v / scale) + zero)) - zero for v in x]
    out = []
    for c in range(width):
        column = [w[k * width + c] for k in range(depth)]
        step = max(abs(v) for v in column) / 127
        out.append(scale * step * sum(a * round(v / step) for a, v in zip(q, column)) + bias[1][c])
    return out


def predicts_by_definition(place):
    """The same in Python, from the weights of the checkpoint and the ranges of the report. Only the correction of means is missing."""
    trained(place)       # weights in a file are not packed, and rounded to the nearest
    place.aml("deploy", source_with(place, "  quantize: int8(calibrate: digits.train)\n  weights: file"), "other")
    info = json.loads(place.run(place.folder / "other", "info", "--json").out)
    layers, hash_of = info["layers"], info["weights_hash"]
    folder = next(f for f in checkpoints(place.folder) if hash_of in (f / "MANIFEST.json").read_text())
    weights = tensors_of(folder / "weights.safetensors")
    rows = (DIGITS / "data/digits.csv").read_text().splitlines()[:41]
    some = place.write("some.csv", "\n".join(rows) + "\n")
    found = [line.split(",") for line in place.run(place.folder / "other", "predict", some).out.splitlines()[1:]]
    worst = 0
    for row, answer in zip(rows[1:], found):
        x = [float(v) / 16 for v in row.split(",")[:64]]
        hidden = [max(0, v) for v in quantized_layer(x, weights["fc1.weight"], weights["fc1.bias"], layers[0]["low"], layers[0]["high"])]
        scores = quantized_layer(hidden, weights["fc2.weight"], weights["fc2.bias"], layers[1]["low"], layers[1]["high"])
        largest = max(scores)
        total = sum(math.exp(s - largest) for s in scores)
        probability = [math.exp(s - largest) / total for s in scores]
        check_equal(int(answer[1]), scores.index(largest), "a prediction")
        worst = max(worst, max(abs(p - float(a)) for p, a in zip(probability, answer[2:])))
    print(f"  worst difference of a probability: {worst:.2g}")
    check(worst < 0.01, f"the worst difference of a probability is {worst}")


def same_bytes_every_time(place):
    trained(place)
    for folder in ("one", "two"):
        (place.folder / folder).mkdir()
        place.aml("deploy", DIGITS / "digits.aml", "digits_int8", "-o", f"{folder}/digits_int8")
    for name in ("digits_int8", "libdigits_int8.so"):
        check((place.folder / "one" / name).read_bytes() == (place.folder / "two" / name).read_bytes(), f"{name} differs")


def every_rule_for_ranges(place):
    trained(place)
    for rule in ("percentile", "entropy", "mse"):
        source = source_with(place, f"  quantize: int8(calibrate: digits.train, samples: 200, ranges: {rule}, weights: per_tensor)")
        after, before = held_out(place.aml("deploy", source, "other").err)
        print(f"  {rule}: {after}% (f32 {before}%)")
        check(before - after <= 1.2, f"{rule}: {before}% became {after}%")


def channels_are_equalized(place):
    trained(place)
    err = place.aml("deploy", source_with(place, "  quantize: int8(calibrate: digits.train, weights: per_tensor, equalize: true)"), "other").err
    after, before = held_out(err)
    check_in("equalized: 1 pair of layers", err)
    check(before - after <= 1.2, f"{before}% became {after}%")
    check_in("equalize", place.aml("deploy", source_with(place, "  quantize: int8(weights_only: true, equalize: true)"), "other", code=1).err)


def weights_are_as_coarse_as_answers_allow(place):
    """What is asked for is what the deployed program has, measured from outside; coarser ones are shorter."""
    trained(place)
    rows = place.write("some.csv", "\n".join((DIGITS / "data/digits.csv").read_text().splitlines()[:801]) + "\n")

    def logarithms(block):
        err = place.aml("deploy", source_with(place, block), "other").err
        lines = place.run(place.folder / "other", "predict", rows).out.splitlines()[1:]
        shares = [[math.log(max(float(v), 1e-9)) for v in line.split(",")[2:]] for line in lines]
        return [[v - sum(row) / len(row) for v in row] for row in shares], (place.folder / "other").stat().st_size, err
    exact, _, _ = logarithms("")
    means = [sum(column) / len(exact) for column in zip(*exact)]
    signal = sum((v - mean) ** 2 for row in exact for v, mean in zip(row, means))
    sizes = []
    for fidelity in (20, 26, 32):
        found, size, err = logarithms(f"  quantize: int8(calibrate: digits.train, fidelity: {fidelity}.0)")
        noise = sum((a - b) ** 2 for x, y in zip(found, exact) for a, b in zip(x, y))
        measured = 10 * math.log10(signal / noise)
        print(f"  {fidelity} dB: {measured:.1f} dB measured, {size} bytes")
        check(abs(measured - fidelity) < 2.5, f"{measured:.1f} dB, expected {fidelity}")
        check_in(" bits a weight", err)
        sizes.append(size)
    check(sanitized(place.amlc) or sizes[0] < sizes[1] < sizes[2], f"{sizes}")     # which is not packed then
    check_in("fidelity", place.aml("deploy", source_with(place, "  quantize: int8(calibrate: digits.train, fidelity: 0.5)"), "other", code=1).err)


def layers_stay_in_float(place):
    trained(place)
    source = source_with(place, "  quantize: int8(calibrate: digits.train, keep: last)")
    place.aml("deploy", source, "other")
    layers = json.loads(place.run(place.folder / "other", "info", "--json").out)["layers"]
    check_equal([layer.get("kept") for layer in layers], [None, "last layer"], "what stays in float")
    check_equal(layers[1]["bytes_before"], layers[1]["bytes_after"], "the bytes of a layer that stays")
    source = source_with(place, "  quantize: int8(calibrate: digits.train, keep_below: 90.0)")
    err = place.aml("deploy", source, "other").err
    check_in("stays f32: error above 90 dB", err)
    after, before = held_out(err)
    check_equal(after, before, "the accuracy with all layers in float")


def library_is_used_from_c(place):
    """Also under valgrind where it is installed: no error, nothing lost."""
    if sanitized(place.amlc) or not shutil.which("cc"):
        return
    trained(place)
    shutil.copytree(DIGITS, place.folder / "source")
    source = place.write("source/other.aml", 'aml 1\n\nuse "digits.aml"\n\ndeploy digits_f32 {\n  model: digits_mlp.best\n  batch: [1, 16]\n'
                         '  quantize: int8(calibrate: digits.train)\n}\n')
    place.aml("deploy", source, "digits_f32")
    rows = (DIGITS / "data/digits.csv").read_text().splitlines()[:101]
    some = place.write("some.csv", "\n".join(rows) + "\n")
    numbers = place.write("numbers.txt", "\n".join(" ".join(row.split(",")[:64]) for row in rows[1:]) + "\n")
    expected = [line.split(",", 1)[1] for line in place.run(place.folder / "digits_f32", "predict", some).out.splitlines()[1:]]
    for compiler, language, standard, count in (("cc", "c", "-std=c11", ["-DCOUNT_ALLOCATIONS"]), ("c++", "c++", "-std=c++11", [])):
        if not shutil.which(compiler):
            continue
        place.run(compiler, "-x", language, standard, "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", *count, "-I", place.folder,
                  HERE / "library_user.c", "-x", "none", place.folder / "libdigits_f32.so", f"-Wl,-rpath,{place.folder}", "-lpthread", "-o", "user")
        commands = [[place.folder / "user"]]
        if shutil.which("valgrind") and not count:
            commands.append(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", place.folder / "user"])
        for command in commands:
            check_answers(command, numbers, expected)


def too_few_samples(place):
    trained(place)
    source = source_with(place, "  quantize: int8(calibrate: digits.train, samples: 4)")
    done = place.aml("deploy", source, "other", code=1)
    check_in("error[E0722]", done.err)
    check_in("other.aml:7:", done.err)
    check_in("at least 8 samples, found 4", done.err)
    check(not (place.folder / "other").exists(), "a program was left behind")


def samples_of_one_class(place):
    """A warning: the program is made."""
    shutil.copytree(DIGITS, place.folder / "source")
    rows = (DIGITS / "data/digits.csv").read_text().splitlines()
    place.write("source/data/digits.csv", "\n".join([rows[0]] + [row for row in rows[1:] if row.endswith(",3")]) + "\n")
    trained(place, place.folder / "source/digits.aml")
    done = place.aml("deploy", place.folder / "source/digits.aml", "digits_int8")
    check_in("warning[W0723]", done.err)
    check_in("are of class 3", done.err)


def missed_requirement_shows_the_report(place):
    """A requirement that is missed fails the build at its line, with the report of the layers."""
    trained(place)
    source = source_with(place, "  quantize: int8(calibrate: digits.train)\n  require: { size: 1 KiB }")
    done = place.aml("deploy", source, "other", code=1)
    check_in("error[E0705]", done.err)
    check_in("other.aml:8:", done.err)
    check_in("fc1", done.err)       # the report of the layers
    check(not (place.folder / "other").exists(), "a program was left behind")
    if sanitized(place.amlc):       # nothing is packed then
        return
    check_in("coarser weights are not enough: with `fidelity: 24.0` it would be some", done.err)
    # what is proposed is what is needed
    place.aml("deploy", source_with(place, "  quantize: int8(calibrate: digits.train)"), "other")
    size = (place.folder / "other").stat().st_size
    limit = (size - 600) / 1024
    proposed = place.aml("deploy", source_with(place, f"  quantize: int8(calibrate: digits.train)\n  require: {{ size: {limit:.3f} KiB }}"), "other", code=1).err
    fidelity = proposed.split("`int8(..., fidelity: ")[1].split(")")[0]
    place.aml("deploy", source_with(place, f"  quantize: int8(calibrate: digits.train, fidelity: {fidelity})"), "other")
    print(f"  {size} bytes; {limit:.3f} KiB asked for, {fidelity} dB proposed, which are {(place.folder / 'other').stat().st_size / 1024:.3f} KiB")
    check(30 < float(fidelity) < 36 and (place.folder / "other").stat().st_size / 1024 < 1.01 * limit, proposed)


def samples_are_written_for_it(place):
    place.aml("build", DIGITS / "digits.aml", "-o", "trainer")
    trainer = place.folder / "trainer"
    place.run(trainer, "data", "samples", "--part", "held_out", "--samples", "50", "--output", "some.safetensors")
    found = tensors_of(place.folder / "some.safetensors")
    check_equal((found["x"][0], found["y"][0]), ([50, 64], [50]), "the shapes")
    check(all(0 <= v <= 1 for v in found["x"][1]), "x is not prepared")
    check_in("--part: expected", place.run(trainer, "data", "samples", "--part", "best", "-o", "x", code=2).err)
    check_in("--output", place.run(trainer, "data", "samples", code=2).err)


def weights_alone_of_a_prediction(place):
    """Of a program that predicts: four bits for each weight, and rounding that makes up for its errors stays closer to f32."""
    trained(place)
    rows = place.write("rows.csv", "\n".join((DIGITS / "data/digits.csv").read_text().splitlines()[:401]) + "\n")

    def probabilities(block):
        err = place.aml("deploy", source_with(place, block), "other").err
        lines = place.run(place.folder / "other", "predict", rows).out.splitlines()[1:]
        return [[float(v) for v in line.split(",")[2:]] for line in lines], err, json.loads(place.run(place.folder / "other", "info", "--json").out)
    exact, _, whole = probabilities("  batch: [1, 16]")
    off = {}
    for rounding in ("nearest", "compensated"):
        more = ", calibrate: digits.train" if rounding == "compensated" else ""
        found, err, info = probabilities(f"  batch: [1, 16]\n  quantize: int4(group: 16, rounding: {rounding}{more})\n  require: {{ accuracy_drop: 3pp }}")
        check_equal(len(found), len(exact), "the number of rows")
        off[rounding] = sum((a - b) ** 2 for x, y in zip(found, exact) for a, b in zip(x, y)) / len(exact)
        check(info["weights_bytes"] < 0.2 * whole["weights_bytes"], f"{info['weights_bytes']} of {whole['weights_bytes']} bytes")
        after, before = held_out(err)
        check(before - after <= 3, f"{rounding}: {before}% became {after}%")
    print(f"  mean square of what probabilities are off by: {off['nearest']:.3g} rounded to the nearest, {off['compensated']:.3g} compensated")
    check(off["compensated"] < 0.8 * off["nearest"], f"{off}")
    source = source_with(place, "  quantize: int4(rounding: compensated)")
    check_in("error[E07", place.aml("deploy", source, "other", code=1).err)


def channels_make_the_program_smaller(place):
    trained(place)
    source = source_with(place, "  prune: channels(50%, finetune: 2 epochs)")
    done = place.aml("deploy", source, "other")
    check_in("64 of 128 channels of fc1.weight", done.err)
    line = next(line for line in done.err.splitlines() if "that were held out" in line)
    after, before = float(line.split(": ", 1)[1].split("%")[0]), float(line.split("before pruning: ")[1].split("%")[0])
    check(before - after <= 3, f"{before}% became {after}%")
    info = json.loads(place.run(place.folder / "other", "info", "--json").out)
    check_equal(info["parameters"], 64 * 64 + 64 + 64 * 10 + 10, "the parameters that are left")
    row = place.write("row.csv", "\n".join((DIGITS / "data/digits.csv").read_text().splitlines()[:3]) + "\n")
    check_equal(len(place.run(place.folder / "other", "predict", row).out.splitlines()), 3, "lines of predictions")


if __name__ == "__main__":
    sys.exit(main([digits_as_written, predicts_by_definition, same_bytes_every_time, every_rule_for_ranges, weights_are_as_coarse_as_answers_allow, channels_are_equalized, layers_stay_in_float,
                   library_is_used_from_c, too_few_samples, samples_of_one_class, missed_requirement_shows_the_report, samples_are_written_for_it, weights_alone_of_a_prediction, channels_make_the_program_smaller]))
