#!/usr/bin/env python3
"""Makes tests/runtime/pictures: small pictures, and what they should become. Needs Pillow and NumPy; PNGSUITE names the folder of
PngSuite.

Pictures that are resized are compared with Pillow's antialiased bilinear filter. PngSuite's files are decoded by the few lines
below, which know nothing of libpng: chunks, zlib, filters, interlace, palettes, transparency.
"""
import hashlib
import os
import pathlib
import struct
import sys
import zlib

import numpy
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).resolve().parent / "pictures"
SUITE = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["PNGSUITE"])


# ---- PNG without libpng

PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def unfilter(data, at, width, height, bits):
    stride, step = (width * bits + 7) // 8, max(1, bits // 8)
    rows, above = [], bytearray(stride)
    for _ in range(height):
        kind, row = data[at], bytearray(data[at + 1:at + 1 + stride])
        for i in range(stride):
            left, up, corner = (row[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
            if kind == 4:
                p = left + up - corner
                near = [abs(p - left), abs(p - up), abs(p - corner)]
                guess = [left, up, corner][near.index(min(near))]
            else:
                guess = [0, left, up, (left + up) // 2][kind]
            row[i] = (row[i] + guess) & 255
        rows.append(row)
        above, at = row, at + 1 + stride
    return rows, at


def values(row, width, depth, samples):
    if depth == 16:
        return numpy.frombuffer(bytes(row), ">u2").astype(numpy.int64).reshape(width, samples)
    bits = numpy.unpackbits(numpy.frombuffer(bytes(row), numpy.uint8))[:width * samples * depth].reshape(-1, depth)
    return (bits @ (1 << numpy.arange(depth - 1, -1, -1))).reshape(width, samples)


def decode_png(path):
    """Red, green, blue, alpha in 8 bits: 16 bits are rounded."""
    data = path.read_bytes()
    at, chunk = 8, {}
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        chunk[kind] = chunk.get(kind, b"") + data[at + 8:at + 8 + length]
        at += length + 12
    w, h, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunk[b"IHDR"])
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    raw, at = zlib.decompress(chunk[b"IDAT"]), 0
    pixels = numpy.zeros((h, w, samples), numpy.int64)
    for x0, y0, dx, dy in PASSES if interlaced else [(0, 0, 1, 1)]:
        pw, ph = (w - x0 + dx - 1) // dx, (h - y0 + dy - 1) // dy
        if pw <= 0 or ph <= 0:
            continue
        rows, at = unfilter(raw, at, pw, ph, samples * depth)
        for k, row in enumerate(rows):
            pixels[y0 + k * dy, x0::dx] = values(row, pw, depth, samples)
    most = (1 << depth) - 1
    alpha = numpy.full((h, w), most)
    if colour == 3:
        palette = numpy.frombuffer(chunk[b"PLTE"], numpy.uint8).reshape(-1, 3).astype(numpy.int64)
        clear = numpy.full(len(palette), 255)
        clear[:len(chunk.get(b"tRNS", b""))] = list(chunk.get(b"tRNS", b""))
        return numpy.dstack([palette[pixels[:, :, 0]], clear[pixels[:, :, 0]]]).astype(numpy.uint8)
    if b"tRNS" in chunk:
        key = struct.unpack(f">{samples}H", chunk[b"tRNS"])
        alpha = numpy.where((pixels == numpy.array(key)).all(axis=2), 0, most)
    elif colour in (4, 6):
        alpha = pixels[:, :, -1]
    rgb = pixels[:, :, :3] if colour in (2, 6) else numpy.repeat(pixels[:, :, :1], 3, axis=2)
    both = numpy.dstack([rgb, alpha])
    return ((both * 255 * 2 + most) // (2 * most)).astype(numpy.uint8)


def write_suite():
    lines = []
    for path in sorted(SUITE.glob("*.png")):
        if path.name.startswith("x"):
            continue
        found = decode_png(path)
        # Pillow cuts 16 bits off, and takes a transparent gray level of 4 bits for one of 8
        if not path.stem.endswith("16") and path.stem != "tbbn0g04":
            again = numpy.asarray(Image.open(path).convert("RGBA"))
            assert (again == found).all(), path
        lines.append(f"{path.name} {found.shape[1]} {found.shape[0]} {hashlib.sha256(found.tobytes()).hexdigest()}\n")
    (OUT / "pngsuite.txt").write_text("".join(lines))


# ---- pictures of our own

def scene(width, height):
    """Waves and an edge: something that every mistake in a filter or in a turn shows in."""
    y, x = numpy.mgrid[0:height, 0:width].astype(float)
    red = 128 + 100 * numpy.sin(x / 5) * numpy.cos(y / 7)
    green = 255 * (x + y) / (width + height)
    blue = numpy.where((x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2, 230, 40)
    return Image.fromarray(numpy.dstack([red, green, blue]).clip(0, 255).astype(numpy.uint8))


def oriented(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def write_pictures():
    image = scene(60, 40)
    image.save(OUT / "plain.jpg", quality=90, subsampling=0)
    image.save(OUT / "subsampled.jpg", quality=80, subsampling=2)
    image.save(OUT / "progressive.jpg", quality=80, progressive=True)
    image.convert("L").save(OUT / "gray.jpg", quality=90)
    image.convert("CMYK").save(OUT / "cmyk.jpg", quality=90)
    scene(200, 120).save(OUT / "large.jpg", quality=75)
    scene(90, 7).save(OUT / "flat.jpg", quality=90)
    for turn in range(1, 9):
        image.save(OUT / f"turn{turn}.jpg", quality=80, exif=oriented(turn))
    image.save(OUT / "turn6.png", exif=oriented(6))
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray((numpy.mgrid[0:40, 0:60][1] * 4).astype(numpy.uint8)))
    clear.save(OUT / "alpha.png")
    image.convert("P").save(OUT / "palette.png")


def reduced(name, mode, reduce):
    image = Image.open(OUT / name)
    if reduce > 1:
        image.draft(mode, (image.width // reduce, image.height // reduce))
    return image


def upright(name, channels, reduce):
    turn = Image.open(OUT / name).getexif().get(0x0112, 1)
    image = reduced(name, "L" if channels == 1 else "RGB", reduce)
    if image.mode == "RGBA":
        pixels = numpy.asarray(image).astype(int)
        alpha = pixels[:, :, 3:]
        image = Image.fromarray(((pixels[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(numpy.uint8))
    image = image.convert("RGB")
    steps = {2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180], 4: [Image.Transpose.FLIP_TOP_BOTTOM],
             5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_270], 7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_90]}
    for step in steps.get(turn, []):
        image = image.transpose(step)
    return image


def placed(image, resize, width, height):
    w, h = image.size
    if resize == "stretch":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    if resize == "crop":
        factor = min(w / width, h / height)
        left, top = (w - factor * width) / 2, (h - factor * height) / 2
        return image.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + factor * width, top + factor * height))
    factor = max(w / width, h / height)
    size = max(1, int(w / factor + 0.5)), max(1, int(h / factor + 0.5))
    out = Image.new("RGB", (width, height), (255, 255, 255))
    out.paste(image.resize(size, Image.Resampling.BILINEAR), ((width - size[0]) // 2, (height - size[1]) // 2))
    return out


# file, channels, height, width, how, how much smaller it may be decoded; the largest difference allowed in a pixel.
# Where it is 0, a hash of the pixels is kept instead of them.
CASES = [("plain.jpg", 3, 40, 60, "crop", 1, 0), ("subsampled.jpg", 3, 40, 60, "crop", 1, 0), ("progressive.jpg", 3, 40, 60, "stretch", 1, 0),
         ("gray.jpg", 1, 40, 60, "fit", 1, 0), ("gray.jpg", 3, 40, 60, "fit", 1, 0), ("cmyk.jpg", 3, 40, 60, "crop", 1, 0),
         ("alpha.png", 3, 40, 60, "crop", 1, 0), ("palette.png", 3, 40, 60, "crop", 1, 0), ("turn6.png", 3, 60, 40, "crop", 1, 0),
         ("plain.jpg", 3, 16, 16, "crop", 2, 1), ("plain.jpg", 3, 16, 16, "fit", 2, 1), ("plain.jpg", 3, 16, 16, "stretch", 2, 1),
         ("plain.jpg", 3, 64, 48, "crop", 1, 1), ("plain.jpg", 3, 13, 100, "stretch", 1, 1), ("plain.jpg", 1, 11, 17, "crop", 2, 1), ("plain.jpg", 3, 20, 20, "crop", 1, 1), ("plain.jpg", 3, 17, 25, "stretch", 1, 1),
         ("flat.jpg", 3, 20, 20, "crop", 1, 1), ("flat.jpg", 3, 20, 20, "fit", 2, 1), ("large.jpg", 3, 24, 24, "crop", 4, 1),
         ("large.jpg", 3, 16, 16, "stretch", 4, 1), ("large.jpg", 3, 8, 8, "crop", 8, 1), ("large.jpg", 3, 40, 40, "crop", 2, 1), ("large.jpg", 3, 100, 100, "crop", 1, 1)]
CASES += [(f"turn{turn}.jpg", 3, 60 if turn >= 5 else 40, 40 if turn >= 5 else 60, "crop", 1, 0) for turn in range(1, 9)]
CASES += [("turn8.jpg", 3, 18, 30, "crop", 1, 1)]


def write_cases():
    lines = []
    for name, channels, height, width, how, reduce, most in CASES:
        image = placed(upright(name, channels, reduce), how, width, height)
        if channels == 1:
            image = image.convert("L")
        lines.append(f"{name} {channels} {height} {width} {how} {most} {hashlib.sha256(image.tobytes()).hexdigest() if most == 0 else image.tobytes().hex()}\n")
    (OUT / "cases.txt").write_text("".join(lines))


OUT.mkdir(exist_ok=True)
write_suite()
write_pictures()
write_cases()
