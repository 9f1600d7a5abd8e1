#!/usr/bin/env python3
"""Sounds as data: test_audio.py BUILD AMLC."""
import json
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BUILD, AMLC = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
TOOL = BUILD / "tests/sound_tool"
failures = 0


def verdict(name, good, text=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else "\n" + str(text)[-3000:]), flush=True)


def wav(samples, rate=8000, channels=1, bits=16, form=1, data_size=None, extra=b""):
    """Samples are numbers between -1 and 1; with several channels one after the other."""
    if form == 3:
        data = struct.pack(f"<{len(samples)}{'f' if bits == 32 else 'd'}", *samples)
    elif bits == 8:
        data = bytes(min(255, max(0, round(s * 128) + 128)) for s in samples)
    elif bits == 24:
        data = b"".join(struct.pack("<i", round(s * 8388607) * 256)[1:] for s in samples)
    else:
        data = struct.pack(f"<{len(samples)}h", *(max(-32768, min(32767, round(s * 32768))) for s in samples))
    head = struct.pack("<HHIIHH", form, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    size = len(data) if data_size is None else data_size
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(head)) + head + extra + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body) & 0xffffffff) + body


def read(path, rate, samples, *more):
    done = subprocess.run([str(TOOL), str(path), str(rate), str(samples), *more], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def near(found, expected, most):
    return len(found) == len(expected) and all(abs(a - b) <= most for a, b in zip(found, expected))


tone = [0.5 * math.sin(i * 0.3) for i in range(100)]
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)

    def sound(name, content, rate=8000, samples=100, *more):
        path = folder / name
        path.write_bytes(content)
        code, out, err = read(path, rate, samples, *more)
        if code != 0:
            return None, out + err
        lines = out.split()
        return int(lines[0]), [float(v) for v in lines[1:]]

    # ---- sizes of samples, channels, lengths
    for name, bits, form, most in (("bits8", 8, 1, 1 / 100), ("bits16", 16, 1, 1e-4), ("bits24", 24, 1, 1e-6), ("float32", 32, 3, 1e-7), ("float64", 64, 3, 1e-7)):
        used, found = sound(name, wav(tone, bits=bits, form=form))
        verdict(name, used == 100 and near(found, tone, most), found)
    both = [v for a in tone for v in (a, -a / 2)]
    used, found = sound("stereo", wav(both, channels=2))
    verdict("channels_are_mixed", used == 100 and near(found, [a / 4 for a in tone], 1e-4), found)
    used, found = sound("short", wav(tone), 8000, 130)
    verdict("silence_behind_a_short_sound", used == 100 and near(found, tone + [0] * 30, 1e-4), found)
    used, found = sound("long", wav(tone), 8000, 30)
    verdict("beginning_of_a_long_sound", used == 30 and near(found, tone[:30], 1e-4), found)
    used, found = sound("middle", wav(tone), 8000, 30, "middle")
    verdict("middle_of_a_long_sound", used == 30 and near(found, tone[35:65], 1e-4), found)
    used, found = sound("chunks", wav(tone, extra=b"LIST" + struct.pack("<I", 5) + b"hello\0"))
    verdict("other_chunks_are_passed_over", used == 100 and near(found, tone, 1e-4), found)

    # ---- other rates
    for case in json.loads((HERE / "golden.json").read_text()):
        old, new, expected = case["from"], case["to"], case["expected"]
        used, found = sound("rate", wav([v / 32768 for v in case["samples"]], rate=old), new, len(expected))
        verdict(f"rate_{old}_to_{new}", used == len(expected) and near(found, expected, 2e-6), (used, len(expected), list(zip(found, expected))[:5]))
        used, found = sound("rate", wav([v / 32768 for v in case["samples"]], rate=old), new, 10, "middle")
        first = (len(expected) - 10) // 2
        verdict(f"middle_of_rate_{old}_to_{new}", near(found, expected[first:first + 10], 2e-6), found)

    # ---- broken files
    def refused(name, expected, content, *more):
        used, text = sound(name, content, *more)
        verdict(f"refused_{name}", used is None and expected in text, f"expected {expected!r}, found {text!r}")

    whole = wav(tone)
    refused("empty", "found an empty file", b"")
    refused("magic", "expected a sound (wav, flac, aiff or ogg), found something else", b"RIFX" + whole[4:])
    refused("cut_head", "expected 16 bytes of data behind offset 20, found 10: the file is cut off", whole[:30])
    refused("cut_samples", "expected 200 bytes of samples behind offset 44, found 56: the file is cut off", whole[:100])
    refused("huge_size", "expected 4294967295 bytes of samples", wav(tone, data_size=0xffffffff))
    refused("no_channels", "expected 1 to 64 channels at offset 22, found 0", whole[:22] + b"\0\0" + whole[24:])
    refused("many_channels", "expected 1 to 64 channels at offset 22, found 65535", whole[:22] + b"\xff\xff" + whole[24:])
    refused("no_rate", "expected a rate of 100 to 1000000 Hz, found", whole[:24] + struct.pack("<I", 7) + whole[28:])
    refused("no_samples", "expected 1 to", wav([]))
    refused("no_format", "expected a description of the sound", b"RIFF" + struct.pack("<I", 16) + b"WAVEdata" + struct.pack("<I", 4) + b"\0\0\0\0")
    refused("short_format", "expected 16 bytes that describe the sound", whole[:16] + struct.pack("<I", 4) + whole[20:])
    refused("not_finite", "sample 3 is not a finite number", wav([0, 0, math.nan, 0], bits=32, form=3))
    refused("unknown_coding", "the sound cannot be decoded", whole[:20] + b"\x77\x77" + whole[22:])
    refused("foreign_rates", "too little in common", wav(tone, rate=999983), 999979)
    refused("flac_header_only", "the sound cannot be decoded", b"fLaC\x80\0\0\x22" + bytes(34))
    generator = random.Random(3)
    for i in range(60):     # any damage: a sound or a reason, never a crash
        damaged = bytearray(whole)
        for _ in range(generator.randrange(1, 6)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        (folder / "damaged").write_bytes(damaged)
        code, out, err = read(folder / "damaged", 8000, 50)
        if code not in (0, 1) or (code == 1 and not out.strip()):
            verdict(f"damaged_{i}", False, (code, out, err))
    verdict("damaged", True)

    # ---- folders as sources
    PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
model Net {
  fc = Dense(CLASSES)
  fn forward(x: float[b, 40]) -> float[b, CLASSES] { return fc(x) }
}
dataset sounds {
  source: audio("sounds", rate: 8000, SETTINGS)
  field x: f32[40] = samples
  field n: i32 = length
  field y: class(CLASSES) = part("PART")
  split: { train: 50%, valid: 50% }
}
train net {
  model: Net()
  data: sounds
  loss: cross_entropy
  optimizer: adamw(lr: 1e-3)
  length: 3 steps
  batch: 2
}
"""
    work = folder / "work"
    (work / "sounds").mkdir(parents=True)

    def build(settings, part, classes, expect=None):
        (work / "p.aml").write_text(PROGRAM.replace("SETTINGS", settings).replace("PART", part).replace("CLASSES", str(classes)))
        done = subprocess.run([AMLC, "build", "p.aml", "-o", "p"], cwd=work, capture_output=True, text=True, timeout=120)
        if expect:
            return done.returncode == 1 and expect in done.stderr, done.stderr
        return done.returncode == 0, done.stderr

    def program(*words, code=0):
        done = subprocess.run(["./p", *words], cwd=work, capture_output=True, text=True, timeout=60)
        return done.returncode == code, done.stdout + done.stderr

    def expect(name, part, outcome):
        verdict(name, outcome[0] and part in outcome[1], outcome[1])

    for digit in range(3):
        for speaker in ("ada", "bob"):
            for n in range(4):
                (work / "sounds" / f"{digit}_{speaker}_{n}.wav").write_bytes(wav(tone[:30 + n * 10]))
    (work / "sounds" / "notes.txt").write_text("not a sound")
    by_name = 'name: "{digit}_{who}_{n}.wav"'
    verdict("builds", *build(by_name + ", keep: { n: 1..3 }", "digit", 3))
    expect("names_and_keep", "18 rows, 0 bad", program("data", "check"))
    expect("trains", "done after step 3", program("train"))
    rows = program("data", "rows")
    verdict("rows", rows[0] and {line.split(",")[40] for line in rows[1].splitlines()[1:] if line[:1] in "-0123456789"} >= {"40"}, rows[1])
    expect("predicts_a_file", "row,", program("predict", "sounds/0_ada_0.wav"))
    expect("predicts_a_folder", "row,", program("predict", "sounds"))
    verdict("names_are_classes", *build(by_name, "who", 2))
    expect("names_are_counted", "y: 12 12 rows of class 0..1", program("data", "check"))
    verdict("builds_for_three", *build(by_name, "who", 3))
    expect("wrong_number_of_names", "expected 3 different names for {who}, one for each class of the field 'y' (p.aml:13), found 2: ada, bob", program("data", "check", code=1))
    verdict("builds_for_two", *build(by_name, "digit", 2))
    expect("number_too_large", "field 'y': expected a number in 0..1, found '2'", program("data", "check", code=1))
    (work / "sounds" / "odd.wav").write_bytes(wav(tone))
    verdict("builds_again", *build(by_name, "digit", 3))
    expect("name_does_not_fit", "sounds/odd.wav: expected a name like \"{digit}_{who}_{n}.wav\" (p.aml:10)", program("data", "check", code=1))
    (work / "sounds" / "odd.wav").unlink()
    (work / "sounds" / "1_ada_9.wav").write_bytes(wav(tone)[:70])
    expect("bad_file_has_a_name", "sounds/1_ada_9.wav: expected 200 bytes of samples", program("data", "check", code=1))
    (work / "sounds" / "1_ada_9.wav").unlink()
    (work / "sounds" / "loop").symlink_to(work / "sounds", target_is_directory=True)
    expect("cyclic_link", "found a link to a folder that holds it", program("data", "check", code=1))
    (work / "sounds" / "loop").unlink()
    verdict("builds_for_none", *build(by_name + ", keep: { n: 77 }", "digit", 3))
    expect("nothing_kept", "that `keep` keeps, found 1 other file, such as notes.txt", program("data", "check", code=1))
    for digit in range(2):
        (work / "sounds" / f"class{digit}").mkdir()
        for path in list((work / "sounds").glob(f"{digit}_*.wav")):
            path.rename(work / "sounds" / f"class{digit}" / path.name)
    for path in (work / "sounds").glob("2_*.wav"):
        path.unlink()
    verdict("builds_for_folders", *build('take: middle, cache: 0 KiB', "label", 2))
    expect("folders_are_classes", "y: 8 8 rows of class 0..1", program("data", "check"))
    expect("trains_without_cache", "done after step 3", program("train"))

    # ---- a list of files
    whole = PROGRAM.replace('audio("sounds", rate: 8000, SETTINGS)', 'audio_list("sounds/meta.csv", rate: 8000, SETTINGS)')
    rows = [(f"class{d}/{d}_{s}_{n}.wav", f'"say ""{d}"""', f"{5 + n}", s) for n in range(4) for d in range(2) for s in ("bob", "ada")]
    meta = "path,spoken,fold,who\n" + "".join(",".join(r) + "\n" for r in rows)
    (work / "sounds" / "meta.csv").write_text(meta)

    def build_list(settings, part, classes, expect=None):
        (work / "p.aml").write_text(whole.replace("SETTINGS", settings).replace("PART", part).replace("CLASSES", str(classes)))
        done = subprocess.run([AMLC, "build", "p.aml", "-o", "p"], cwd=work, capture_output=True, text=True, timeout=120)
        if expect:
            return done.returncode == 1 and expect in done.stderr, done.stderr
        return done.returncode == 0, done.stderr

    verdict("builds_for_a_list", *build_list('file: "path", keep: { fold: 6..8 }', "who", 2))
    expect("list_and_keep", "12 rows, 0 bad", program("data", "check"))
    expect("list_has_classes", "y: 6 6 rows of class 0..1", program("data", "check"))
    found = program("data", "rows")[1]
    labels = [line.split(",")[41] for line in found.splitlines() if line[:1] in "-0123456789"]
    verdict("list_in_its_order", labels == ["1", "0", "1", "0"] * 3, found)       # ada is 0, bob 1
    lengths = [int(line.split(",")[40]) for line in found.splitlines() if line[:1] in "-0123456789"]
    verdict("list_reads_the_files", lengths == [40] * 12, found)
    expect("list_trains", "done after step 3", program("train"))
    expect("list_predicts_a_file", "row,", program("predict", "sounds/class0/0_ada_0.wav"))
    expect("list_predicts_a_folder", "row,", program("predict", "sounds"))
    verdict("builds_for_quoted_names", *build_list('file: "path"', "spoken", 2))
    expect("quoted_names_are_classes", "y: 8 8 rows of class 0..1", program("data", "check"))
    before = program("data", "check")[1].split("SHA-256 ")[1][:16]
    (work / "sounds" / "meta.csv").write_text(meta.replace('"say ""0"""', "none", 1).replace("none", '"say ""1"""'))
    verdict("labels_are_in_the_fingerprint", program("data", "check")[1].split("SHA-256 ")[1][:16] != before)
    for name, text, part in (("no_column", meta.replace("path,", "file,"), "meta.csv:1:1: expected a column \"path\" in the first row, found \"file\", \"spoken\""),
                             ("no_part", meta.replace("spoken,", "said,"), "meta.csv:1:1: expected a column \"spoken\" in the first row"),
                             ("no_file", meta.replace("class1/1_bob_0.wav", "class1/none.wav"), "meta.csv:4:1: expected the path of one of the sounds"),
                             ("folder", meta.replace("class1/1_bob_0.wav", "class1"), "found a folder"),
                             ("empty_path", meta.replace("class1/1_bob_0.wav", ""), "meta.csv:4:1: expected the path of one of the sounds (.wav, .flac, .aiff, .ogg), found nothing"),
                             ("ragged", meta.replace(",5,ada", ",5", 1), "expected 4 cells, found 3"),
                             ("no_rows", "path,spoken,fold,who\n", "expected rows with paths"),
                             ("nul", meta.replace("class1/1_bob_0", "class1\0"), "meta.csv"),
                             ("open_quote", meta + '"class0', "a quote that is never closed")):
        (work / "sounds" / "meta.csv").write_text(text)
        expect("list_" + name, part, program("data", "check", code=1))
    (work / "sounds" / "meta.csv").unlink()
    expect("list_is_a_folder", "sounds/meta.csv", program("data", "check", code=1))
    (work / "sounds" / "meta.csv").mkdir()
    expect("list_is_not_a_folder", "is a folder", program("data", "check", code=1))
    expect("list_keep_number", "E0663", build_list('file: "path", keep: { fold: 8..6 }', "who", 2, "E0663"))
    expect("list_file_is_a_name", "E0503", build_list('file: ""', "who", 2, "E0503"))

    expect("pattern_without_part", "it has no part", build('name: "x.wav"', "digit", 3, "E0662"))
    expect("pattern_without_border", "expected something between two parts", build('name: "{a}{b}.wav"', "a", 3, "E0662"))
    expect("pattern_open", "expected {name}", build('name: "{a.wav"', "a", 3, "E0662"))
    expect("part_unknown", "did you mean `part(\"digit\")`?", build(by_name, "digits", 3, "E0506"))
    expect("keep_unknown", "part of the name", build(by_name + ", keep: { m: 1 }", "digit", 3, "E0506"))
    expect("keep_backwards", "found", build(by_name + ", keep: { n: 3..1 }", "digit", 3, "E0663"))

print("every comparison was made" if not failures else f"{failures} failed")
sys.exit(failures != 0)
