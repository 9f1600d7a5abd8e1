#!/usr/bin/env python3
"""Pictures as data: folders and lists, what may be wrong with them, the same bits for any number of loader threads and after a resume,
predictions for a picture."""
import base64
import io
import json
import os
import pathlib
import re
import shutil
import struct
import tarfile
import zlib

from harness import ROOT, check, check_equal, check_in, main

PICTURES = ROOT / "tests" / "runtime" / "pictures"
CLASSES = {"cats": ["plain.jpg", "turn3.jpg", "gray.jpg", "alpha.png"], "dogs": ["cmyk.jpg", "large.jpg", "turn6.jpg"],
           "eels": ["flat.jpg", "palette.png", "progressive.jpg"]}

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics
use std.image

option dir: string = "zoo"

model Net {
  fc = Dense(CLASSES)
  fn forward(x: float[n, 12, 10, 3]) -> float[n, CLASSES] { return fc(flatten(x)) }
}

dataset animals {
  source: SOURCE
  field x: u8[12, 10, 3] = image
  field y: class(CLASSES)      = label
  split: { train: 80%, valid: 20%, seed: 1 }
  ON_BAD
  fn prepare(s) { return { x: float(s.x) / 255, y: s.y } }
  fn augment(s) { return { x: s.x |> random_brightness(0.3) |> random_erase([3, 3]), y: s.y } }
}

train net {
  model:     Net()
  data:      animals
  loss:      cross_entropy
  optimizer: sgd(lr: 0.1)
  length:    12 steps
  batch:     3
  validate:  { every: 4 steps }
  checkpoint: { every: 4 steps, keep: last(3) }
}
"""


def zoo(place, classes=None):
    for name, files in (classes or CLASSES).items():
        (place.folder / "zoo" / name).mkdir(parents=True)
        for file in files:
            shutil.copy(PICTURES / file, place.folder / "zoo" / name / file)


def build(place, source='images(dir)', classes=3, on_bad="", name="animals", code=0):
    place.write(f"{name}.aml", PROGRAM.replace("CLASSES", str(classes)).replace("SOURCE", source).replace("ON_BAD", on_bad))
    return place.aml("build", f"{name}.aml", code=code)


def shard(path):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for label, (_, names) in enumerate(CLASSES.items()):
            for i, name in enumerate(names):
                tar.add(PICTURES / name, arcname=f"{label}{i}{pathlib.Path(name).suffix}")
                text = str(label).encode()
                member = tarfile.TarInfo(f"{label}{i}.cls")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))


def refused(place, part, verb=("data", "check")):
    found = place.run("./animals", *verb, code=None)
    check(found.code == 1, f"exit code {found.code}\n{found.all}")
    check_in(part, found.all)


def folders_are_classes(place):
    zoo(place)
    (place.folder / "zoo" / "readme.txt").write_text("no folder, no class")
    (place.folder / "zoo" / "eels" / "deep").mkdir()
    shutil.copy(PICTURES / "turn5.jpg", place.folder / "zoo" / "eels" / "deep" / "LAST.JPG")
    (place.folder / "zoo" / "eels" / "notes.txt").write_text("passed over")
    build(place)
    found = place.run("./animals", "data", "check").out
    check_in("11 rows, 0 bad", found)
    check_in("y: 4 3 4 rows of class 0..2", found)
    place.run("./animals", "train")


def bits_do_not_depend_on_threads(place):
    zoo(place)
    sums = set()
    for cache in ("0 KiB", "256 MiB"):
        build(place, source=f"images(dir, cache: {cache})")
        for run in ([], ["--threads", "1"], ["--loaders", "0"], ["--loaders", "3", "--threads", "2"]):
            shutil.rmtree(place.folder / "runs", ignore_errors=True)
            place.run("./animals", "train", *run)
            sums.add((place.folder / "runs").glob("net/*/checkpoints/step-000012/weights.safetensors").__next__().read_bytes())
        shutil.rmtree(place.folder / "runs")
        place.run("./animals", "train", "--steps", "5", "--loaders", "2")
        place.run("./animals", "train", "--resume", "--loaders", "1")
        sums.add((place.folder / "runs").glob("net/*/checkpoints/step-000012/weights.safetensors").__next__().read_bytes())
    check_equal(len(sums), 1, "the number of different results")


def the_summary_tells_who_waited(place):
    zoo(place)
    build(place)
    check_in("% of the time for batches, which 2 loader threads made", place.run("./animals", "train", "--loaders", "2").err)
    found = json.loads(place.run("./animals", "train", "--loaders", "0", "--json").out)
    check_equal(found["data"]["loaders"], 0, "loaders")
    alone = found["data"]["waited_seconds"]
    check(alone > 0, "nothing was waited for")
    # without loaders the step's thread makes batches itself; with them it waits for less than that in any case
    found = json.loads(place.run("./animals", "train", "--loaders", "2", "--json").out)
    check_equal(found["data"]["loaders"], 2, "loaders")
    check(0 <= found["data"]["waited_seconds"] < found["seconds"], f"the training of {found['seconds']} s waited {found['data']['waited_seconds']} s")


def compiled_classes_are_compared(place):
    zoo(place)
    found = build(place, classes=4, code=1)
    check_in("E0642", found.err)
    check_in("cats, dogs, eels", found.err)
    build(place)
    os.rename(place.folder / "zoo" / "dogs", place.folder / "zoo" / "doge")
    refused(place, "found the folder 'doge' where 'dogs' should be")
    shutil.rmtree(place.folder / "zoo" / "doge")
    refused(place, "found the folder 'eels' where 'dogs' should be")
    zoo(place, {"dogs": ["flat.jpg"], "fish": ["flat.jpg"]})
    refused(place, "expected 3 folders, one for each class of the field 'y' (animals.aml:18), found 4")


def the_folder_may_come_later(place):
    build(place)
    refused(place, 'the data file "zoo" (animals.aml:16) was not found')
    zoo(place, {"a": ["flat.jpg"], "b": ["flat.jpg"]})
    refused(place, "expected 3 folders, one for each class")
    zoo(place, {"c": ["flat.jpg"]})
    place.run("./animals", "data", "check")
    (place.folder / "file").write_text("")
    refused(place, "file: expected a folder of pictures, found a file", ("data", "check", "--dir", "file"))


def broken_folders(place):
    zoo(place)
    build(place)
    (place.folder / "zoo" / "dogs" / "round").symlink_to(place.folder / "zoo")
    refused(place, "zoo/dogs/round: expected a folder of its own, found a link to a folder that holds it")
    (place.folder / "zoo" / "dogs" / "round").unlink()
    (place.folder / "zoo" / "dogs" / "gone.png").symlink_to("nowhere")
    refused(place, "zoo/dogs/gone.png: No such file")
    (place.folder / "zoo" / "dogs" / "gone.png").unlink()
    (place.folder / "zoo" / "dogs" / "again").symlink_to("../eels")      # a link that does end
    check_in("13 rows, 0 bad", place.run("./animals", "data", "check").out)
    (place.folder / "zoo" / "dogs" / "again").unlink()
    for file in (place.folder / "zoo" / "dogs").iterdir():
        file.unlink()
    refused(place, "zoo/dogs: expected pictures (.jpg, .jpeg, .png), found none")
    (place.folder / "zoo" / "dogs" / "a.gif").write_text("GIF89a")
    refused(place, "zoo/dogs: expected pictures (.jpg, .jpeg, .png), found 1 other file, such as a.gif")


def broken_pictures(place):
    zoo(place)
    build(place)
    cut = place.folder / "zoo" / "dogs" / "cut.jpg"
    cut.write_bytes((PICTURES / "plain.jpg").read_bytes()[:900])
    (place.folder / "zoo" / "cats" / "text.png").write_text("no picture")
    (place.folder / "zoo" / "eels" / "empty.jpg").write_text("")
    found = place.run("./animals", "data", "check", code=1)
    check_in("zoo/dogs/cut.jpg: expected a sound JPEG file, found: ", found.all)
    check_in("zoo/cats/text.png: expected a JPEG or PNG file, found other bytes at its beginning", found.all)
    check_in("zoo/eels/empty.jpg: expected a JPEG or PNG file, found an empty file", found.all)
    check_in("3 rows are bad", found.all)
    check_in("expected", place.run("./animals", "train", code=1).err)      # whichever is needed first
    build(place, on_bad="on_bad: skip(limit: 30%)")
    check_in("warning: skipped a row: ", place.run("./animals", "train").err)
    build(place, source="images(dir, pixels: 1000)")
    refused(place, "large.jpg: expected at most 1000 pixels, found a picture of 200 x 120")


def lists(place):
    zoo(place)
    rows = [f"{name},{folder}/{name}" for folder, names in CLASSES.items() for name in names]
    rows = [f"zoo/{row.split(',')[1]},{row.split(',')[1].split('/')[0]}" for row in rows]
    place.write("list.csv", "file,kind\n" + "\n".join(rows) + "\n")
    source = 'image_list("list.csv", image: "file", label: "kind", classes: ["cats", "dogs", "eels"])'
    build(place, source=source)
    found = place.run("./animals", "data", "check").out
    check_in("10 rows, 0 bad", found)
    check_in("y: 4 3 3 rows of class 0..2", found)
    place.run("./animals", "train")
    for text, message in (("file,kind\nzoo/cats/plain.jpg,cow\n", "list.csv:2:20: expected one of the 3 classes (cats, dogs, ...), found \"cow\""),
                          ("file,class\n", 'list.csv:1:1: expected a column "kind" in the first row, found "file", "class"'),
                          ("file,kind\n", "expected rows with paths of pictures behind the header, found none"),
                          ("file,kind\nnothing.jpg,cats\n", "list.csv:2: cannot open"), ("file,kind\n,cats\n", "expected the path of a picture, found nothing"),
                          ("file,kind\nzoo/cats,cats\n", "expected a file with a picture, found a folder"),
                          ("file,kind\nzoo/cats/plain.jpg\n", "list.csv:2:1: expected 2 cells, found 1"), ("", "expected rows with paths")):
        place.write("list.csv", text)
        refused(place, message)
    place.write("list.csv", "path,label\nzoo/cats/plain.jpg,2\nzoo/dogs/cmyk.jpg,0\n")
    build(place, source='image_list("list.csv", image: "path")')
    check_in("y: 1 0 1 rows of class 0..2", place.run("./animals", "data", "check").out)
    place.write("list.csv", "path,label\nzoo/cats/plain.jpg,3\n")
    refused(place, "expected a class in 0..2, found \"3\"")


def a_picture_is_predicted(place):
    zoo(place)
    build(place)
    place.run("./animals", "train")
    one = place.run("./animals", "predict", PICTURES / "plain.jpg").out.splitlines()
    check_equal(len(one), 2, "lines")
    rows = place.run("./animals", "data", "rows").out.splitlines()
    place.write("first.csv", ",".join(rows[2].split(",")[:360]) + "\n")      # sorted: alpha.png, gray.jpg, plain.jpg, turn3.jpg
    check_equal(place.run("./animals", "predict", "first.csv").out.splitlines()[1], one[1], "the same picture as numbers")
    check_equal(len(place.run("./animals", "predict", "zoo").out.splitlines()), 11, "lines of a folder")
    place.write("bad.png", "\x89PNG")
    (place.folder / "bad.png").write_bytes(b"\x89PNG\r\n")
    check_in("bad.png: expected a sound PNG file, found", place.run("./animals", "predict", "bad.png", code=1).err)


def classes_have_names(place):
    zoo(place)
    rows = [f"zoo/{folder}/{name},{folder}" for folder, names in CLASSES.items() for name in names]
    place.write("list.csv", "file,kind\n" + "\n".join(rows) + "\n")
    (place.folder / "shards").mkdir()
    shard(place.folder / "shards" / "part-0.tar")
    report = ("\nevaluate report {\n  model:   net.last\n  data:    animals.valid\n  metrics: { confusion: confusion_matrix() }\n}\n"
              "\ndeploy small {\n  model: net.last\n  require: { accuracy_drop: 1pp }\n}\n")
    names = 'classes: ["cats", "dogs", "eels"]'
    for source in ("images(dir)", f'image_list("list.csv", image: "file", label: "kind", {names})', f'shards("shards", {names})'):
        place.write("animals.aml", PROGRAM.replace("CLASSES", "3").replace("SOURCE", source).replace("ON_BAD", "") + report)
        place.aml("build", "animals.aml", "-o", "animals")
        shutil.rmtree(place.folder / "runs", ignore_errors=True)
        place.run("./animals", "train", "--quiet")
        one = place.run("./animals", "predict", PICTURES / "plain.jpg").out.splitlines()[1].split(",")
        check(one[1] in CLASSES, f"{source}: {one} names no class")
        evaluated = place.run("./animals", "evaluate", "report").out
        for name in CLASSES:
            check_in(f"  {name}\n", evaluated)
        check_equal([row.split(",")[-1] for row in place.run("./animals", "data", "rows").out.splitlines()],
                    list("0000111222"), f"{source}: labels as numbers, as csv has them")
        check_in("accuracy on these rows: ", place.aml("deploy", "animals.aml", "small").err)
        check_equal(place.run("./small", "predict", PICTURES / "plain.jpg").out.splitlines()[1].split(",")[1], one[1], f"{source}: deployed")


def linking_is_by_need(place):
    zoo(place)
    build(place)
    place.write("list.csv", "0,0,0\n")
    place.write("plain.aml", (pathlib.Path(ROOT) / "examples/digits/digits.aml").read_text().replace("data/digits.csv", "x.csv"))
    place.aml("build", "plain.aml", code=0)
    check(b"libpng" not in (place.folder / "plain").read_bytes(), "a program without pictures carries a decoder")
    check(b"libpng" in (place.folder / "animals").read_bytes(), "a program with pictures carries none")


def pixels_of(png):
    """Of an 8-bit PNG file without filters."""
    check_equal(png[:8], b"\x89PNG\r\n\x1a\n", "the beginning")
    at, chunks = 8, {}
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        check_equal(zlib.crc32(png[at + 4:at + 8 + length]), struct.unpack(">I", png[at + 8 + length:at + 12 + length])[0], "a checksum")
        chunks[kind] = png[at + 8:at + 8 + length]
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    check_equal((depth, colour), (8, 2), "depth and colour")
    lines = zlib.decompress(chunks[b"IDAT"])
    check_equal(len(lines), height * (1 + 3 * width), "bytes")
    return width, height, b"".join(lines[r * (1 + 3 * width) + 1:(r + 1) * (1 + 3 * width)] for r in range(height))


def a_sheet_shows_what_is_trained_on(place):
    zoo(place)
    build(place)
    place.run("./animals", "data", "sheet", "-o", "one.html")
    place.run("./animals", "data", "sheet")
    sheet = (place.folder / "animals-sheet.html").read_text()
    check_equal((place.folder / "one.html").read_text(), sheet, "a second sheet")
    check_in("dogs", sheet)
    shown = [pixels_of(base64.b64decode(text)) for text in re.findall('base64,([^"]*)"', sheet)]
    check_equal(len(shown), 8 * 7, "pictures of the 8 training samples")
    check(all(p[:2] == (10, 12) for p in shown), "sizes")
    check_equal(len(set(shown)), 8 * 7, "different pictures")
    # as they are prepared, samples are those of the file, which are divided by 255
    least, most = map(float, re.search("Values from (.*) to (.*)[.]</p>", sheet).groups())
    rows = [list(map(int, row.split(",")[:360])) for row in place.run("./animals", "data", "rows").out.splitlines()]
    found = [255 * least + (most - least) * level for level in shown[0][2]]
    check(any(max(abs(a - b) for a, b in zip(found, row)) <= 1 for row in rows), "the first picture is none of the samples")
    digits = place.write("digits.aml", (ROOT / "examples/digits/digits.aml").read_text())
    place.aml("build", digits)
    shutil.copytree(ROOT / "examples/digits/data", place.folder / "data")
    check_in("a sheet shows pictures, and no field of 'digits'", place.run("./digits", "data", "sheet", code=1).err)


def the_loader_is_measured(place):
    zoo(place)
    build(place)
    found = json.loads(place.run("./animals", "data", "speed", "--json", "--loaders", "1").out)
    check(found["first_epoch"] > 0 and found["later"] > 0 and found["loaders"] == 1, str(found))
    check_in("by 2 computing threads", place.run("./animals", "data", "speed", "--loaders", "0", "--threads", "2").out)
    check_in("expected `data check`, `head`", place.run("./animals", "data", "fast", code=2).err)


def a_deployed_program_reads_pictures(place):
    zoo(place)
    place.write("animals.aml", PROGRAM.replace("CLASSES", "3").replace("SOURCE", "images(dir, resize: fit)").replace("ON_BAD", "") +
                "\ndeploy net_f32 {\n  model: net.last\n  emit: [executable, shared_library]\n}\n")
    place.aml("run", "animals.aml", timeout=300)
    program = next(p for p in place.folder.rglob("net_f32*") if p.is_file() and os.access(p, os.X_OK) and ".so" not in p.name)
    for picture in ("plain.jpg", "turn6.jpg", "alpha.png", "gray.jpg"):
        trained = place.run("./animals", "predict", PICTURES / picture).out.splitlines()
        deployed = place.run(program, "predict", PICTURES / picture).out.splitlines()
        check_equal(deployed[0], trained[0], "the header")
        check_equal(deployed[1].split(",")[:2], trained[1].split(",")[:2], f"row and class of {picture}")
        check(deployed[1].split(",")[1] in CLASSES, f"{deployed[1]} names no class")
        worst = max(abs(float(a) - float(b)) for a, b in zip(deployed[1].split(",")[2:], trained[1].split(",")[2:]))
        check(worst < 1e-5, f"{picture}: answers differ by {worst}")
    (place.folder / "cut.png").write_bytes((PICTURES / "alpha.png").read_bytes()[:300])
    check_in("cut.png: expected a sound PNG file, found: the end of the file", place.run(program, "predict", "cut.png", code=1).err)
    place.write("rows.csv", place.run("./animals", "data", "rows").out.splitlines()[0] + "\n")
    check_equal(len(place.run(program, "predict", "rows.csv").out.splitlines()), 2, "lines for csv")


if __name__ == "__main__":
    raise SystemExit(main([folders_are_classes, bits_do_not_depend_on_threads, the_summary_tells_who_waited, compiled_classes_are_compared,
                           the_folder_may_come_later, broken_folders, broken_pictures, lists, a_picture_is_predicted, classes_have_names, linking_is_by_need,
                           a_sheet_shows_what_is_trained_on, the_loader_is_measured, a_deployed_program_reads_pictures]))
