#!/usr/bin/env python3
"""Pictures in tar archives: what is read of them, and what may be wrong with them."""
import io
import json
import shutil
import tarfile

import notes
from harness import check, check_equal, check_in, main
from test_images import PICTURES, PROGRAM

FILES = ["plain.jpg", "turn3.jpg", "gray.jpg", "alpha.png", "cmyk.jpg", "large.jpg", "flat.jpg", "palette.png", "turn6.png", "progressive.jpg"]


def build(place, source='shards("shards")', classes=3, code=0):
    place.write("animals.aml", PROGRAM.replace("CLASSES", str(classes)).replace("SOURCE", source).replace("ON_BAD", ""))
    return place.aml("build", "animals.aml", code=code)


def archive(place, name, members, form=tarfile.GNU_FORMAT):
    path = place.folder / "shards" / name
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", format=form) as out:
        for member, content in members:
            info = tarfile.TarInfo(member)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return path


def sample(k, key=None, label=None):
    key = key or f"part/{k:06}"
    picture = FILES[k % len(FILES)]
    return [(f"{key}.{picture.split('.')[1]}", (PICTURES / picture).read_bytes()), (f"{key}.cls", str(k % 3 if label is None else label).encode())]


def refused(place, part):
    found = place.run("./animals", "data", "check", code=None)
    check(found.code == 1, f"exit code {found.code}\n{found.all}")
    check_in(part, found.all)


def text_program(source, label):
    return notes.program("bytes(), pad: 0", 16, source, "contents()", label)


def texts_are_read(place):
    """Texts in archives give the numbers of the same texts in folders."""
    texts = [f"note {k}: " + "abc \u00e9"[k % 3:] * (k % 4) for k in range(12)]
    rows = {}
    for ending, more in (("txt", ""), ("md", ', text: "md"'), ("text", ', label: "txt"')):
        label = "txt" if ending == "text" else "cls"
        place.write("notes.aml", text_program(f'shards("shards"{more})', "label"))
        place.aml("build", "notes.aml")
        shutil.rmtree(place.folder / "shards", ignore_errors=True)
        for part in range(3):
            archive(place, f"{part}.tar", sum(([(f"p/{k:03}.{ending}", texts[k].encode()), (f"p/{k:03}.{label}", str(k % 2).encode())]
                                               for k in range(4 * part, 4 * part + 4)), []))
        check_in("12 rows, 0 bad", place.run("./notes", "data", "check").out)
        rows[ending] = sorted(place.run("./notes", "data", "rows").out.splitlines())
    place.run("./notes", "train", "--quiet", "--loaders", "2")
    place.write("folders.aml", text_program('texts("notes")', 'part("label")'))
    for k, text in enumerate(texts):
        place.write(f"notes.d/{'ab'[k % 2]}/{k:03}.txt", text)
    (place.folder / "folders.aml").write_text((place.folder / "folders.aml").read_text().replace('texts("notes")', 'texts("notes.d")'))
    place.aml("build", "folders.aml")
    rows["folders"] = sorted(place.run("./folders", "data", "rows").out.splitlines())
    check(all(found == rows["folders"] for found in rows.values()), f"the rows differ: {rows}")
    check_in("name it with --data", place.aml("deploy", "notes.aml", "small", code=1).all)
    place.write("some.csv", '"note 3: abc"\n"note 4"\n')
    place.aml("deploy", "notes.aml", "small", "--data", "some.csv")
    check_equal(len(place.run("./small", "predict", "some.csv").out.splitlines()), 3, "lines of predictions")
    # what may be wrong
    for members, part in (([("a.cls", b"1")], "expected a text (.text) in the sample 'a', found none"),
                          ([("a.text", b"x"), ("a.text", b"y"), ("a.txt", b"1")], "expected one file of a kind in a sample"),
                          ([("a.text", b"x")], "expected a label in the sample 'a'"), ([("a.jpg", b"x"), ("a.txt", b"0")], "expected a text (.text)")):
        shutil.rmtree(place.folder / "shards")
        archive(place, "a.tar", members)
        found = place.run("./notes", "data", "check", code=1)
        check_in(part, found.all)
    place.write("wrong.aml", text_program('shards("shards", text: "cls")', "label"))
    check_in("'text' should be the ending of the texts' names", place.aml("build", "wrong.aml", code=1).err)


def archives_are_read(place):
    build(place)
    archive(place, "a.tar", sum((sample(k) for k in range(6)), []))
    archive(place, "b.tar", sum((sample(k, key=f"{'long' * 60}/{k}") for k in range(6, 9)), []))       # a GNU long name
    archive(place, "c.tar", sum((sample(k, key=f"{'päx' * 60}/{k}") for k in range(9, 12)), []), form=tarfile.PAX_FORMAT)
    (place.folder / "shards" / "readme.txt").write_text("no archive")
    found = place.run("./animals", "data", "check").out
    check_in("12 rows, 0 bad", found)
    check_in("y: 4 4 4 rows of class 0..2", found)
    # the same pictures in folders give the same numbers
    rows = sorted(place.run("./animals", "data", "rows").out.splitlines())
    for k in range(12):
        folder = place.folder / "zoo" / "abc"[k % 3]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(PICTURES / FILES[k % len(FILES)], folder / f"{k:03}.{FILES[k % len(FILES)].split('.')[1]}")
    place.run("./animals", "train", "--loaders", "2")
    build(place, source="images(dir)")
    check_equal(sorted(place.run("./animals", "data", "rows").out.splitlines()), rows, "the samples in folders")


def moving_archives_changes_nothing(place):
    archive(place, "a.tar", sum((sample(k) for k in range(8)), []))
    build(place, source="shards(dir)")
    first = place.run("./animals", "data", "check", "--dir", "shards").out
    (place.folder / "shards").rename(place.folder / "elsewhere")
    second = place.run("./animals", "data", "check", "--dir", "elsewhere/a.tar").out
    check_equal(first.split("SHA-256")[1], second.split("SHA-256")[1], "the fingerprint")


def labels_of_other_kinds(place):
    names = ["cats", "dogs", "eels"]
    picture = (PICTURES / "plain.jpg").read_bytes()
    archive(place, "a.tar", [m for k in range(6) for m in ((f"{k}.jpg", picture), (f"{k}.txt", names[k % 3].encode() + b"\n"),
                                                          (f"{k}.json", json.dumps({"kind": names[k % 3], "n": 2 - k % 3}).encode()))])
    listed = ', classes: ["cats", "dogs", "eels"])'
    for label, extra, counts in (("txt", listed, "2 2 2"), ("json.kind", listed, "2 2 2"), ("json.n", ")", "2 2 2")):
        build(place, source=f'shards("shards", label: "{label}"' + extra)
        check_in(f"y: {counts} rows", place.run("./animals", "data", "check").out)
    build(place, source='shards("shards", label: "json.none")')
    refused(place, 'expected a JSON object with a number or text "none", found no such key')
    build(place)
    refused(place, "expected a label in the sample '0', found none")
    check_in('"cls", "txt" or "json.KEY"', build(place, source='shards("shards", label: "png")', code=1).err)


def broken_archives(place):
    build(place)
    refused(place, 'the data file "shards" (animals.aml:16) was not found')
    path = archive(place, "a.tar", sum((sample(k) for k in range(4)), []))
    whole = path.read_bytes()
    place.run("./animals", "data", "check")
    for length in (0, 100, 511, 512, 900, len(whole) // 2, len(whole) // 2 // 512 * 512):
        path.write_bytes(whole[:length])
        refused(place, "expected")
    with tarfile.open(path, "w") as out:
        pass
    refused(place, "shards: expected archives (.tar) with pictures, found none")
    path.write_bytes(whole[:0] + b"\x1f\x8b" + whole[2:])
    refused(place, "byte 0: expected the header of a file in a tar archive, found packed data")
    for at, byte, message in ((0, b"!", "found other bytes"), (124, b"9", "found other bytes"), (150, b"x", "found other bytes")):
        path.write_bytes(whole[:at] + byte + whole[at + 1:])
        refused(place, message)
    head = bytearray(whole[:512])      # a size that is larger than the archive, with the right checksum
    head[124:136] = b"77777777777\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    path.write_bytes(bytes(head) + whole[512:])
    refused(place, "byte 512: expected a file of 8589934591 bytes, found ")
    head[124:136] = b"hello world\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    path.write_bytes(bytes(head) + whole[512:])
    refused(place, "byte 124: expected the size of a file, found no number")
    archive(place, "a.tar", sample(0) + sample(1)[:1])
    refused(place, "expected a label in the sample 'part/000001', found none")
    archive(place, "a.tar", sample(0) + sample(1)[1:])
    refused(place, "expected a picture (.jpg, .jpeg, .png) in the sample 'part/000001', found none")
    archive(place, "a.tar", sample(0) + sample(0))
    refused(place, "expected one file of a kind in a sample, found part/000000.jpg as well")
    archive(place, "a.tar", sample(0, label=3))
    refused(place, 'part/000000.cls: expected a class in 0..2, found "3"')
    archive(place, "a.tar", [("0.jpg", b"no picture"), ("0.cls", b"1")])
    refused(place, "a.tar: byte 512: expected a JPEG or PNG file, found other bytes at its beginning")


if __name__ == "__main__":
    raise SystemExit(main([archives_are_read, texts_are_read, moving_archives_changes_nothing, labels_of_other_kinds, broken_archives]))
