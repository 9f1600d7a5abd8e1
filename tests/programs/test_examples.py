#!/usr/bin/env python3
"""The examples that need more than the digits: built as they are and trained for a short while on data made here."""
import math
import random
import shutil
import struct
import sys

from harness import ROOT, check, check_equal, check_in, main, sanitized

EXAMPLES = ROOT / "examples"


def build(place, name, *options):
    path = EXAMPLES / name
    place.aml("build", path, "-o", path.stem, *options)
    return place.folder / path.stem


def samples_of_the_generator_lie_on_the_ring(place):
    program = build(place, "custom/ring.aml")
    slow = sanitized(place.amlc)
    place.run(program, "train", "--quiet", *(["--steps", 20] if slow else []))
    done = place.run(sys.executable, EXAMPLES / "custom/check_ring.py", "runs/gan", 300, code=None)
    check_in("mean distance from the circle", done.out)
    if not slow:
        check_in(": on the ring", done.out)


def the_program_of_users_parts_trains(place):
    program = build(place, "custom/custom.aml")
    place.run(program, "train", "--steps", 50, "--quiet")
    check_in("10000 rows, 0 bad", place.run(program, "data", "check").out)


def write_clothes(place):
    """Ten kinds of stripes in place of the clothes: the files have the same form."""
    random.seed(3)

    def write(name, sizes, elements):
        (place.folder / name).write_bytes(bytes([0, 0, 8, len(sizes)]) + b"".join(struct.pack(">I", n) for n in sizes) + bytes(elements))
    for name, count in (("train", 160), ("t10k", 20)):
        labels = [i % 10 for i in range(count)]
        pixels = [128 + int(100 * math.sin((k % 28) * (1 + label) / 4)) + random.randrange(20) for label in labels for k in range(784)]
        write(f"{name}-images-idx3-ubyte.gz", [count, 28, 28], pixels)
        write(f"{name}-labels-idx1-ubyte.gz", [count], labels)


def pictures_of_clothes_are_told_apart(place):
    write_clothes(place)
    program = build(place, "fashion/fashion_report.aml")
    check_in("180 rows, 0 bad", place.run(program, "data", "check", "--dir", ".").out)
    place.run(program, "train", "--dir", ".", "--steps", 2, "--quiet", timeout=300)
    check_in("accuracy", place.run(program, "evaluate", "--dir", ".", timeout=300).out)


def a_trained_network_is_rounded_and_thinned_out(place):
    write_clothes(place)
    program = build(place, "fashion/fashion_small.aml")
    for job in ("net", "net_nibbles", "net_sparse"):
        err = place.run(program, "train", job, "--dir", ".", "--steps", 2, timeout=300).err
        check_equal("weights from" in err, job != "net", f"{job} begins with the weights of net")


def photographs_in_folders_are_trained_on(place):
    """Any pictures: the sizes and the folders are what matters."""
    for part in ("train", "test"):
        for k, name in enumerate(("daisy", "dandelion", "roses", "sunflowers", "tulips")):
            folder = place.folder / "data/images/flowers" / part / name
            folder.mkdir(parents=True)
            for turn in range(1, 9 if part == "train" else 3):
                shutil.copy(ROOT / "tests/runtime/pictures" / f"turn{1 + (turn + k) % 8}.jpg", folder / f"{turn}.jpg")
    program = build(place, "flowers/flowers.aml", "-D", "width=4", "-D", "side=32")
    check_in("50 rows, 0 bad", place.run(program, "data", "check").out)
    place.run(program, "train", "--steps", 2, "--quiet", timeout=300)
    check_in("accuracy", place.run(program, "evaluate", timeout=300).out)
    place.run(program, "data", "sheet", "-o", "sheet.html")
    check_in("sunflowers", (place.folder / "sheet.html").read_text())


def a_forecast_beats_persistence(place):
    """A series of two waves and a random walk, with the columns of ETTh1."""
    random.seed(4)
    rows, walk = [], 0.0
    for hour in range(1500):
        walk = 0.9 * walk + random.gauss(0, 0.5)
        value = 15 + 6 * math.sin(hour / 24 * 2 * math.pi) + walk
        rows.append(f"{hour}," + ",".join(f"{value / 3 + k:.4f}" for k in range(6)) + f",{value:.4f}\n")
    place.write("data/timeseries/ETTh1.csv", "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT\n" + "".join(rows))
    program = build(place, "ett/ett.aml", "-D", "width=12")
    slow = sanitized(place.amlc)
    place.run(program, "train", "--quiet", "--lr", "1e-2", "--steps", 15 if slow else 60, timeout=300)
    report = place.run(program, "evaluate", timeout=300).out
    skill = float(next(line.split()[1] for line in report.splitlines() if line.split()[:1] == ["skill"]))
    check(skill > (-1 if slow else 0.2), report)


def wines_are_cross_validated(place):
    """Made-up wines whose grade is the sum of two columns."""
    random.seed(6)
    rows = []
    for _ in range(400):
        values = [random.random() for _ in range(11)]
        rows.append(",".join(f"{v:.4f}" for v in values) + f",{3 + int(2.99 * (values[0] + values[10]))}\n")
    place.write("data/tabular/winequality-red.csv", ",".join(f"c{k}" for k in range(11)) + ",quality\n" + "".join(rows))
    program = build(place, "wine/wine.aml")
    report = place.run(program, "evaluate", "folds", "--folds", 3, timeout=300).out
    accuracy = float(next(line.split()[1] for line in report.splitlines() if line.split()[:1] == ["accuracy"]))
    check(accuracy > 0.45, report)    # the most frequent grade is a quarter
    check_in("100%", place.run(program, "evaluate", "curve", "--curve", "30%,100%", timeout=300).out)


def tones_are_told_apart(place):
    """Ten tones in place of spoken digits: files of the same form and names."""
    random.seed(5)
    for digit in range(10):
        for n in range(12):
            count = random.randrange(3000, 6000)
            wave = [int(8000 * math.sin(i * (0.2 + 0.25 * digit)) + random.gauss(0, 300)) for i in range(count)]
            data = struct.pack(f"<{count}h", *wave)
            place.write(f"data/fsdd/recordings/{digit}_anna_{n}.wav", b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " +
                              struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data" + struct.pack("<I", len(data)) + data)
    program = build(place, "spoken_digits/spoken_digits.aml")
    slow = sanitized(place.amlc)
    check_in("120 rows, 0 bad", place.run(program, "data", "check").out)
    place.run(program, "train", "--quiet", "--steps", 2 if slow else 40, timeout=300)
    report = place.run(program, "evaluate", timeout=300).out
    accuracy = float(next(line.split()[1] for line in report.splitlines() if line.split()[:1] == ["accuracy"]))
    check(accuracy > (-1 if slow else 0.5), report)


def messages_are_filtered(place):
    """Made-up messages, and the small vocabulary of the tests in place of GPT-2's."""
    random.seed(7)
    rows = []
    for i in range(300):
        words = [random.choice("see you at the old house, it's \"fine\" by me tonight mum".split()) for _ in range(random.randrange(3, 12))]
        if i % 4 == 0:
            words[random.randrange(len(words))] = random.choice(["WINNER!!", "FREE", "PRIZE"]) + f" {random.randrange(1000, 9999)}"
        rows.append(("spam" if i % 4 == 0 else "ham") + "\t" + " ".join(words) + "\n")
    place.write("data/text/sms-spam/SMSSpamCollection.tsv", "".join(rows))
    small = ROOT / "tests/tokenizers"
    place.write("data/tokenizers/gpt2/vocab.json", (small / "small_vocab.json").read_text())
    place.write("data/tokenizers/gpt2/merges.txt", (small / "small_merges.txt").read_text())
    program = build(place, "sms_spam/sms_spam.aml", "-D", "pad=1")
    slow = sanitized(place.amlc)
    place.run(program, "train", "--quiet", "--steps", 5 if slow else 120, timeout=300)
    report = place.run(program, "evaluate", timeout=300).out
    f1 = float(next(line.split()[1] for line in report.splitlines() if line.split()[:1] == ["f1"]))
    check(f1 > (-1 if slow else 0.7), report)


def every_example_is_checked_without_its_data(place):
    """Sizes that the data would give are made up; without the option their absence is a mistake."""
    missing = 0
    for path in sorted(EXAMPLES.glob("*/*.aml")):
        shutil.copy(path, place.folder)
        nowhere = {"AML_DATA": str(place.folder / "nowhere")}
        done = place.aml("check", "--without-data", path.name, env=nowhere)
        known = place.aml("check", path.name, env=nowhere, code=None)
        check_equal(known.code, 1 if "stands_in" in done.all or "W0619" in done.all else 0, f"the exit code without the option for {path.name}")
        missing += known.code
    check(missing >= 4, f"only {missing} examples have sizes that come from data")
    place.write("text.aml", (EXAMPLES / "char_gpt/char_gpt.aml").read_text().replace("class(vocab)", "class(65)"))
    check_in("W0619", place.aml("check", "--without-data", "text.aml", env=nowhere, code=1).err)
    check_in("--without-data", place.aml("build", "--without-data", "text.aml", env=nowhere, code=2).err)


if __name__ == "__main__":
    sys.exit(main([every_example_is_checked_without_its_data, samples_of_the_generator_lie_on_the_ring, the_program_of_users_parts_trains, pictures_of_clothes_are_told_apart, a_trained_network_is_rounded_and_thinned_out,
                   photographs_in_folders_are_trained_on,
                   a_forecast_beats_persistence, tones_are_told_apart, messages_are_filtered, wines_are_cross_validated]))
