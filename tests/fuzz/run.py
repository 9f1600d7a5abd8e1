#!/usr/bin/env python3
"""Runs the fuzz targets: run.py BUILD SECONDS [NAME]. SECONDS 0 is the bounded smoke of the test suite (no libFuzzer).

Seeds are the sources, tests and data of the repository. An input that fails stays in BUILD/fuzz/.
"""
import gzip
import io
import json
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMOKE_SECONDS = 8


def safetensors_seeds():
    def file(header, data):
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data
    return [file({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}, bytes(range(24))),
            file({"__metadata__": {"k": "v"}, "b": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]},
                  "c": {"dtype": "U8", "shape": [0], "data_offsets": [8, 8]}}, bytes(8)), file({}, b""), b"", b"\xff" * 16]


CSV = [b"y,at,k\na,2016-01-02,\n\"b\"\"\",2020-12-31T23:59:60Z,1\n",
       b"a,b,c,class\n1,2,3,0\n4,5,6,3\n", b"\xef\xbb\xbfa,b,c,class\r\n\"1\",2e3,-.5,1\r\n", b"true;1;2\nfalse;3;4\n0;\"5\";6", b"a,b,c,class\n1,2\n",
       b"a,b,c,class\n1,2,x,9\n\n", b"\"un\"\"closed", b""]
LIST = [b"file,kind,n\na.txt,x,1\na.txt,\"y\"\"\",2\n", b"n,file,kind\r\n1,a.txt,0\r\n7,./a.txt,1\r\n", b"file,kind,n\nnone.txt,x,1\n", b"file,kind\n", b"file,kind,n\n.,x,1\n,x,2\n", b""]
TEXT = ["an e{}\n\u20ac\u00e9f\U0001f600".encode(), b"\xef\xbb\xbfanne\n\n", b"a\xe2\x82", b"\xed\xa0\x80\xff\xfe\xc0\xaf\xf4\x90\x80\x80", b""]


def idx_seeds():
    def idx(code, sizes, elements):
        return bytes([0, 0, code, len(sizes)]) + b"".join(struct.pack(">I", n) for n in sizes) + elements

    def both(images, labels):
        return bytes([len(images)]) + images + labels
    images, labels = idx(8, [3, 2, 3], bytes(range(18))), idx(8, [3], bytes([0, 3, 1]))
    reals = idx(13, [2, 4], struct.pack(">8f", *range(8)))
    return [both(images, labels), both(gzip.compress(images, mtime=0), gzip.compress(labels, mtime=0)), both(images, labels[:-1]), both(reals, b""),
            both(gzip.compress(reals, mtime=0) * 2, b""), both(idx(12, [1, 4], struct.pack(">4i", 1, -2, 127, 128)), b""),
            both(idx(8, [1 << 31, 2, 3], b""), labels), both(images, idx(8, [3], bytes([0, 4, 1]))), b""]


def tokenizer_seeds():
    folder = ROOT / "tests/tokenizers"
    vocab, merges = (folder / "small_vocab.json").read_bytes(), (folder / "small_merges.txt").read_bytes()
    pair = bytes([0]) + struct.pack("<H", len(vocab)) + vocab + merges
    return [pair, b"\1\0\0" + (folder / "small_vocab.txt").read_bytes(), b"\0\0\0", b""] + [
        b"\2\0\0" + path.read_bytes() for path in sorted(folder.glob("small_*.json")) if "vocab" not in path.name] + [
        b"\2\0\0" + json.dumps({"model": {"type": "Unigram", "vocab": [["a", -1.5], ["b", -2], ["ab", -2.5], ["\u2581", -3]], "unk_id": 0},
                                 "normalizer": {"type": "Precompiled", "precompiled_charsmap": "CAAAAAAAAAAAAAAAYQBi"},
                                 "pre_tokenizer": {"type": "Metaspace"}, "decoder": {"type": "Metaspace"}}).encode()]


JSONL = [b'{"v": [[1, 2.5, -3e2], [0, 1, 2]], "a": {"b": "a"}, "at": "2016-02-29T12:00:00+01:00"}\n{"v":[[1,2,3],[4,5,6]],"a":{"b":"c\\u00f6"}}\r\n',
         b'{"v": [[1,2,3],[4,5,6]], "a": {"b": null, "c": [true, false, {}]}, "at": null, "x": "\\ud83d\\ude00"}\n\n{"v": 1}', b'{"v": "\\x"}', b"{", b""]


def npy_seeds():
    def npy(descr, shape, elements, order=False, version=1):
        head = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(head)) + head + elements
    return [npy("<f4", (4, 3), struct.pack("<12f", *range(12))), npy(">f8", (2, 3), struct.pack(">6d", *range(6)), True, 2),
            npy("|u1", (5,), bytes([0, 1, 2, 3, 0])), npy("<i8", (2,), struct.pack("<2q", 3, 1), False, 3), npy("<f2", (1, 3), bytes(6)),
            npy("|b1", (3,), bytes([1, 0, 1])), npy("<f4", (1 << 60, 3), b""), b"\x93NUMPY\x01\x00\xff\xff", b""]


def npz_seeds():
    arrays, found = npy_seeds(), []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for x, y in ((arrays[0], arrays[2]), (arrays[0], arrays[3]), (arrays[1], arrays[3])):
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", method) as file:
                file.writestr("x.npy", x)
                file.writestr("y.npy", y)
            found.append(out.getvalue())
    return found + [found[0][:-10], b"PK\x05\x06" + bytes(18), b""]


def sound_seeds():
    def wav(form, bits, channels, data, size=None):
        head = struct.pack("<HHIIHH", form, channels, 8000, 8000 * channels * bits // 8, channels * bits // 8, bits)
        body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data) if size is None else size) + data
        return b"RIFF" + struct.pack("<I", len(body)) + body
    tone = struct.pack("<80h", *(i * 300 % 9000 for i in range(80)))
    aiff = b"AIFFCOMM" + struct.pack(">IhIh", 18, 1, 80, 16) + bytes([0x40, 0x0b, 0xfa, 0, 0, 0, 0, 0, 0, 0]) + b"SSND" + struct.pack(">III", 168, 0, 0) + tone
    return [wav(1, 16, 1, tone), wav(1, 16, 2, tone), wav(3, 32, 1, struct.pack("<40f", *(i / 40 for i in range(40)))), wav(1, 8, 1, bytes(range(80))),
            wav(1, 16, 1, tone, 0xffffffff), wav(7, 8, 1, bytes(range(80))), wav(17, 4, 1, bytes(200)), b"FORM" + struct.pack(">I", len(aiff)) + aiff,
            b"fLaC\0\0\0\x22" + bytes(34), b"OggS" + bytes(30), b""]


def study_seeds():
    def result(metrics, training=None):
        whole = {"share": 0.5, "fold": 1, "train_rows": 8, "rows": 2, "data": "00", "metrics": metrics}
        return json.dumps(whole | ({"training": training} if training else {})).encode()
    one, two = result({"loss": 0.5, "m": [[1, 2], [3, 4]]}, {"loss": 1e300}), result({"loss": None, "m": [[1], 2]})
    return [one + b"\0" + one, one + b"\0" + two, two + b"\0" + one, one, result({}) + b"\0" + one, b""]


def shard_seeds():
    def tar(members, form):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return out.getvalue()[:sum(512 + (len(c) + 511) // 512 * 512 for _, c in members) + 4096]
    picture = (ROOT / "tests/runtime/pictures/flat.jpg").read_bytes()
    plain = [("a/0.jpg", picture), ("a/0.cls", b"2"), ("a/0.json", b'{"k": 1}'), ("a/1.x.png", picture), ("a/1.cls", b"0\n")]
    long = [("d" * 150 + "/0.jpg", picture), ("d" * 150 + "/0.cls", b"1")]
    return [tar(plain, tarfile.USTAR_FORMAT), tar(long, tarfile.GNU_FORMAT), tar(long, tarfile.PAX_FORMAT), tar(plain[:1], tarfile.USTAR_FORMAT), b"\0" * 1024, b""]


def weights_seeds():
    head = b"AMLWTS\r\n" + struct.pack("<IIQ", 1, 256, 448) + b"0" * 64 + b"x86-64-v4,x86-64-v3".ljust(72, b"\0") + b"tiny".ljust(96, b"\0")
    return [head + bytes(192), head, head[:90], bytes(448), bytes(10) + b"\1", b""]


def artifact_seeds():
    """The first byte: bit 0 the program, of reals or of pictures; bit 1 the result as JSON."""
    rows = [b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n1,1,1\n2,2,2\n", b"1,2,3\n", b"a,b,c\n1,nan,3\n", b"a,b,c\n1,2\n", b'a,b,c\n"1",-2e3,.5\n', b"a,b,c\n1,inf,3\n", b""]
    rows += [b";".join([b"7"] * 108) + b"\n"] + npy_seeds()
    pictures = [p.read_bytes() for p in sorted((ROOT / "tests/runtime/pictures").iterdir()) if p.suffix in (".jpg", ".png") and p.stat().st_size < 1 << 16]
    return [bytes([which]) + data for which in range(4) for data in (pictures if which & 1 else rows)] + [bytes([1]) + rows[-1], b""]


def seeds(name):
    if name == "weights":
        return weights_seeds()
    if name == "artifact":
        return artifact_seeds()
    if name in ("npy", "npz"):
        return npy_seeds() if name == "npy" else npz_seeds()
    if name == "jsonl":
        return JSONL
    if name == "study":
        return study_seeds()
    if name == "sound":
        return sound_seeds()
    if name == "tokenizer":
        return tokenizer_seeds()
    if name == "idx":
        return idx_seeds()
    if name == "shards":
        return shard_seeds()
    if name == "picture":
        return [p.read_bytes() for p in sorted((ROOT / "tests/runtime/pictures").iterdir()) if p.suffix in (".jpg", ".png")]
    if name == "list":
        return LIST
    if name == "csv":
        return CSV + [(ROOT / "examples/digits/data/digits.csv").read_bytes()[:2000]]
    if name == "text":
        return TEXT
    if name == "safetensors":
        return safetensors_seeds()
    suffix, folders = (".ir", ["tests"]) if name == "ir" else (".aml", ["examples", "tests", "stdlib"])
    found = [p for folder in folders for p in sorted((ROOT / folder).rglob("*" + suffix))]
    return [p.read_bytes() for p in found if p.stat().st_size < 1 << 16]


def run(build, name, seconds):
    program = build / "fuzz" / f"fuzz_{name}"
    smoke = seconds == 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        paths = []
        for i, data in enumerate(seeds(name)):
            paths.append(folder / f"{i:04}")
            paths[-1].write_bytes(data)
        kept = build / "fuzz" / f"failed_{name}"
        if smoke:
            command, limit = [program, kept, str(SMOKE_SECONDS), *paths], SMOKE_SECONDS + 200
        else:
            corpus = build / "fuzz" / f"corpus_{name}"
            corpus.mkdir(exist_ok=True)
            command = [program, f"-max_total_time={seconds}", "-timeout=60", "-rss_limit_mb=4096", "-max_len=20000", "-print_final_stats=1",
                       f"-artifact_prefix={kept}_", corpus, folder]
            limit = seconds + 300
        done = subprocess.run(command, capture_output=True, timeout=limit, cwd=folder)
        text = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode != 0:
        print(f"FAIL fuzz_{name}: exit code {done.returncode}, the input is {kept}*\n{text[-4000:]}")
        return 1
    print(text.strip().splitlines()[-1] if smoke else "\n".join(line for line in text.splitlines() if "stat::" in line))
    print(f"PASS fuzz_{name}", flush=True)
    return 0


def main():
    build, seconds = pathlib.Path(sys.argv[1]).absolute(), int(sys.argv[2])
    names = sys.argv[3:] or ["parse", "front", "ir", "csv", "idx", "safetensors"]
    return 1 if sum(run(build, name, seconds) for name in names) else 0


if __name__ == "__main__":
    sys.exit(main())
