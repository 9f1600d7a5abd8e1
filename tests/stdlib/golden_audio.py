#!/usr/bin/env python3
"""Writes golden_audio.json: spectrograms with NumPy's Fourier transform and SciPy's windows and cosine transform, mel filters from
their definition; and what must hold of random changes whatever is drawn.

Needs numpy and scipy; the tests only read the file that this makes.
Usage: golden_audio.py > golden_audio.json
"""
import json

import numpy
import scipy.fft
import scipy.signal

random = numpy.random.default_rng(4)


def single(array):
    return numpy.round(numpy.asarray(array) * 256) / 256


def tensor(array):
    array = numpy.asarray(array)
    values = [float(f"{v:.13g}") for v in array.reshape(-1)]
    return {"shape": list(array.shape), "values": [int(v) if v == int(v) else v for v in values]}


def spectrogram(x, frame, hop):
    count = (x.shape[-1] - frame) // hop + 1
    window = scipy.signal.get_window("hann", frame)
    frames = numpy.stack([x[..., i * hop:i * hop + frame] for i in range(count)], axis=-2)
    return numpy.abs(numpy.fft.rfft(frames * window)) ** 2


def mel(hertz):
    return 2595 * numpy.log10(1 + hertz / 700)


def hertz(mels):
    return 700 * (10 ** (mels / 2595) - 1)


def filters(rate, frame, bands, low, high):
    edges = hertz(numpy.linspace(mel(low), mel(high), bands + 2))
    out = numpy.zeros((frame // 2 + 1, bands))
    for k in range(frame // 2 + 1):
        f = k * rate / frame
        for b in range(bands):
            left, middle, right = edges[b:b + 3]
            if left < f < right:
                out[k, b] = (f - left) / (middle - left) if f <= middle else (right - f) / (right - middle)
    return out


def log_mel(x, rate, frame, hop, bands, low, high):
    return numpy.log(numpy.maximum(spectrogram(x, frame, hop) @ filters(rate, frame, bands, low, high), 1e-6))


cases = []


def case(name, expected, *inputs):
    cases.append({"name": name, "inputs": [tensor(i) for i in inputs], "output": tensor(expected)})


x = single(random.normal(size=(2, 400)) * 0.3 + numpy.sin(numpy.arange(400) * 0.4))
case("hann_of", scipy.signal.get_window("hann", 12), 0)
case("spectrogram_of", spectrogram(x, 64, 24), x)
case("spectrogram_odd", spectrogram(x, 25, 10), x)
case("mel_filters_of", filters(8000, 64, 12, 100.0, 3500.0), 0)
case("log_mel_of", log_mel(x, 8000, 64, 32, 12, 0.0, 4000.0), x)
case("mfcc_of", scipy.fft.dct(log_mel(x, 16000, 128, 64, 14, 50.0, 8000.0), norm="ortho")[..., :7], x)
# the slope of a weighted sum of powers, through the transform's definition
w = single(random.normal(size=spectrogram(x, 64, 24).shape))
slope = numpy.zeros_like(x)
window = scipy.signal.get_window("hann", 64)
for i in range(w.shape[1]):
    part = slice(i * 24, i * 24 + 64)
    spectrum = numpy.fft.rfft(x[:, part] * window)
    angles = 2 * numpy.pi * numpy.outer(numpy.arange(64), numpy.arange(33)) / 64
    real, imaginary = numpy.cos(angles), -numpy.sin(angles)
    slope[:, part] += 2 * window * ((w[:, i] * spectrum.real) @ real.T + (w[:, i] * spectrum.imag) @ imaginary.T)
case("spectrogram_slope", slope, x, w)
for name in ("gain_kept", "hiss_power", "shift_kept", "part_of", "speed_kept", "spec_rows", "spec_columns"):
    case(name, 1, x[0] if name == "hiss_power" else single(random.normal(size=(30, 40))) if name.startswith("spec") else x)
case("moved_of", numpy.concatenate([numpy.pad(x, ((0, 0), (3, 0)))[:, :20], numpy.pad(x[:, 390:], ((0, 0), (0, 10)))], axis=1), x)
case("speed_twice", numpy.pad(x[:, ::2], ((0, 0), (0, 200))), x)
half = numpy.stack([numpy.interp(numpy.arange(400) / 2, numpy.arange(400), row) for row in x])
case("speed_half", half, x)

tokens = random.integers(1, 50, size=400)
tokens[300:] = 0
for name in ("replace_none", "replace_share", "delete_none", "delete_all", "delete_share", "insert_none", "insert_share", "insert_order", "swap_none",
             "swap_same_tokens", "mask_share", "masked_language_of"):
    case(name, 1, tokens)
kept = [t for t in tokens if t % 3]
case("compact_of", kept + [7] * (400 - len(kept)), tokens)
print('{"program": "audio.aml",\n "functions": [\n  ' + ",\n  ".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}")
