#!/usr/bin/env python3
"""Writes golden.ir: for every op, operands and the result that NumPy gives. Run with any NumPy: make_golden.py > golden.ir

A case is a function: constants (the operands), one instruction, the expected constant, and both as results. Float results
are computed in f64 from the operands as stored and rounded once, as the reference kernels do.
"""
import itertools
import math
import struct
import warnings

import numpy as np

warnings.filterwarnings("ignore")
FLOATS = ["f32", "f64", "f16", "bf16"]
INTS = ["i8", "u8", "i32", "i64"]
BITS = {"i8": (8, True), "u8": (8, False), "i32": (32, True), "i64": (64, True)}
generator = np.random.default_rng(20250101)


def round_float(dtype, value):
    """A Python float rounded to what dtype holds, halves to even."""
    value = float(value)
    if dtype == "f64" or math.isnan(value) or math.isinf(value) or value == 0:
        return value
    if dtype == "f32":
        return float(np.float32(value))
    if dtype == "f16":
        return float(np.float16(value))
    if abs(value) > 1e39:
        return math.copysign(math.inf, value)
    _, exponent = math.frexp(value)                     # bf16: 8 bits, the exponents of f32
    step = max(exponent - 8, -133)
    rounded = math.ldexp(float(np.rint(math.ldexp(value, -step))), step)
    return math.copysign(math.inf, value) if abs(rounded) > 3.3895313892515355e38 else rounded


def wrap(dtype, value):
    bits, signed = BITS[dtype]
    value = int(value) & ((1 << bits) - 1)
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def limits(dtype):
    bits, signed = BITS[dtype]
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def store(dtype, value):
    if dtype in FLOATS:
        return round_float(dtype, value)
    return bool(value) if dtype == "bool" else wrap(dtype, value)


def shortest(dtype, value):
    """The fewest digits that dtype reads back as this value; read as a double first, as the IR's reader does."""
    for digits in range(1, 18):
        text = f"{value:.{digits}g}"
        if round_float(dtype, float(text)) == value:
            return text if "." in text or "e" in text else text + ".0"
    return repr(value)


class Tensor:
    """Python numbers in row-major order, so that no type of NumPy rounds where it should not."""

    def __init__(self, dtype, shape, values):
        self.dtype, self.shape = dtype, tuple(shape)
        self.values = [store(dtype, v) for v in values]
        assert len(self.values) == int(np.prod(self.shape, dtype=int)), (shape, len(self.values))

    def array(self):
        made = np.empty(len(self.values), dtype=object)
        made[:] = self.values
        return made.reshape(self.shape)

    def real(self):
        return np.array(self.values, dtype=np.float64).reshape(self.shape)

    def type(self):
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    def text(self):
        return f"constant value=dense({', '.join(self.element(v) for v in self.values)}) : {self.type()}"

    def element(self, value):
        if self.dtype == "bool":
            return "true" if value else "false"
        if self.dtype not in FLOATS:
            return str(value)
        if math.isnan(value):
            return "nan"
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return shortest(self.dtype, value)


def from_array(dtype, array):
    array = np.asarray(array)
    return Tensor(dtype, array.shape, list(array.reshape(-1)))


cases = {}


def case(op, inputs, attributes, expected, suffix=""):
    name = f"{op}.{inputs[0].dtype if inputs else expected.dtype}{suffix}"
    count = cases[name] = cases.get(name, 0) + 1
    print(f"function @{name}.{count} {{")
    for i, tensor in enumerate(inputs):
        print(f"  %{i} = {tensor.text()}")
    n = len(inputs)
    operands = ", ".join(f"%{i}" for i in range(n))
    print(f"  %{n} = {op} {operands}{attributes} : {expected.type()}")
    print(f"  %{n + 1} = {expected.text()}\n  result %{n}\n  result %{n + 1}\n}}")


def spread(dtype, shape):
    """Ordinary values."""
    count = int(np.prod(shape, dtype=int))
    if dtype in FLOATS:
        return Tensor(dtype, shape, np.round(generator.normal(0, 2, count), 2))
    if dtype == "bool":
        return Tensor(dtype, shape, generator.integers(0, 2, count))
    low, high = limits(dtype)
    return Tensor(dtype, shape, [int(v) for v in generator.integers(max(low, -20), min(high, 20) + 1, count)])


def edges(dtype):
    if dtype == "bool":
        return [False, True]
    if dtype not in FLOATS:
        low, high = limits(dtype)
        return sorted({low, low + 1, 0, 1, 2, 3, 7, high - 1, high} | ({-1, -2, -7} if low < 0 else set()))
    largest = {"f32": 3.4028234663852886e38, "f64": 1.7976931348623157e308, "f16": 65504.0, "bf16": 3.3895313892515355e38}[dtype]
    tiny = {"f32": 1e-45, "f64": 5e-324, "f16": 6e-8, "bf16": 9.2e-41}[dtype]
    values = [0.0, 1.0, 0.5, 2.5, 88.5, tiny, largest, math.inf] if dtype in ("f32", "f64") else [0.0, 1.5, 3.5, largest, math.inf]
    return values + [-v for v in values] + [math.nan]


SHAPES = [(), (1,), (7,), (3, 5), (2, 1, 3)]

# ---- element by element


def sign(a):
    return a if math.isnan(a) else (a > 0) - (a < 0)


def sigmoid(a):
    return 1 / (1 + math.exp(-a)) if a > -700 else (math.exp(a) if a > -800 else 0.0) if not math.isnan(a) else a


def numpy1(function):
    return lambda a: float(function(np.float64(a)))


UNARY_REAL = {"neg": lambda a: -a, "abs": abs, "sign": sign, "exp": numpy1(np.exp), "log": numpy1(np.log), "sqrt": numpy1(np.sqrt),
              "sin": numpy1(np.sin), "cos": numpy1(np.cos), "tanh": numpy1(np.tanh), "erf": math.erf, "sigmoid": sigmoid,
              "floor": numpy1(np.floor), "round": numpy1(np.rint)}
UNARY_WHOLE = {"neg": lambda a: -a, "abs": abs, "sign": lambda a: (a > 0) - (a < 0)}


def larger(a, b):
    if math.isnan(a) or math.isnan(b):
        return math.nan
    return (b if math.copysign(1, a) < 0 else a) if a == b else max(a, b)


def numpy2(function):
    return lambda a, b: float(function(np.float64(a), np.float64(b)))


def truncated(a, b):
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def power(a, b):
    if b == 0.5:                        # NumPy takes the square root, which differs for -0 and -infinity
        return math.inf if math.isinf(a) else float(np.sqrt(np.float64(a))) + 0.0
    return float(np.power(np.float64(a), np.float64(b)))


BINARY_REAL = {"add": numpy2(np.add), "sub": numpy2(np.subtract), "mul": numpy2(np.multiply), "div": numpy2(np.divide),
               "mod": numpy2(np.mod), "pow": power, "max": larger, "min": lambda a, b: -larger(-a, -b)}
BINARY_WHOLE = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": truncated,
                "mod": lambda a, b: a % b if b else 0, "max": max, "min": min}
COMPARE = {"eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b}
LOGIC = {"and": lambda a, b: a and b, "or": lambda a, b: a or b}


def element_wise():
    for op, function in UNARY_REAL.items():
        for dtype in FLOATS:
            for a in [Tensor(dtype, (len(edges(dtype)),), edges(dtype))] + [spread(dtype, s) for s in SHAPES]:
                case(op, [a], "", Tensor(dtype, a.shape, [function(v) for v in a.values]))
    for op, function in UNARY_WHOLE.items():
        for dtype in INTS:
            for a in [Tensor(dtype, (len(edges(dtype)),), edges(dtype)), spread(dtype, (3, 5))]:
                case(op, [a], "", Tensor(dtype, a.shape, [function(v) for v in a.values]))
    case("not", [Tensor("bool", (2,), [True, False])], "", Tensor("bool", (2,), [False, True]))
    for table, dtypes in ((BINARY_REAL, FLOATS), (BINARY_WHOLE, INTS), (COMPARE, FLOATS + INTS + ["bool"]), (LOGIC, ["bool"])):
        for op, function in table.items():
            for dtype in dtypes:
                left, right = zip(*itertools.product(edges(dtype), edges(dtype)))
                pairs = [(Tensor(dtype, (len(left),), left), Tensor(dtype, (len(right),), right))]
                pairs += [(spread(dtype, s), spread(dtype, s)) for s in SHAPES]
                for a, b in pairs:
                    values = [function(x, y) for x, y in zip(a.values, b.values)]
                    case(op, [a, b], "", Tensor("bool" if table is COMPARE else dtype, a.shape, values))
    for dtype in FLOATS + INTS + ["bool"]:
        condition, a, b = spread("bool", (3, 5)), spread(dtype, (3, 5)), spread(dtype, (3, 5))
        chosen = [x if c else y for c, x, y in zip(condition.values, a.values, b.values)]
        case("select", [condition, a, b], "", Tensor(dtype, (3, 5), chosen), f".{dtype}")


def convert(source, target, value):
    if target == "bool":
        return value != 0
    if target in FLOATS or source not in FLOATS:
        return int(value) if source == "bool" else value
    if math.isnan(value):
        return 0
    low, high = limits(target)
    return low if value <= low else high if value >= high else int(value)


def casts():
    for source in FLOATS + INTS + ["bool"]:
        a = Tensor(source, (len(edges(source)),), edges(source))
        for target in FLOATS + INTS + ["bool"]:
            values = [convert(source, target, v) for v in a.values]
            if target == "f32" and source == "i64":        # one rounding, not two
                values = [float(np.int64(v).astype(np.float32)) for v in a.values]
            case("cast", [a], "", Tensor(target, a.shape, values), f".{target}")


# ---- moving data


def moving():
    for dtype in ["f32", "f64", "f16", "i64", "u8", "bool"]:
        a = spread(dtype, (2, 3, 4))
        x = a.array()
        for shape, axes in (((5, 2, 3, 4), (1, 2, 3)), ((2, 3, 4, 1), (0, 1, 2)), ((2, 6, 3, 4), (0, 2, 3))):
            index = [1] * len(shape)
            for k, axis in enumerate(axes):
                index[axis] = a.shape[k]
            case("broadcast", [a], f" axes={list(axes)}", from_array(dtype, np.broadcast_to(x.reshape(index), shape)))
        b = spread(dtype, (3, 1))
        case("broadcast", [b], " axes=[0, 1]", from_array(dtype, np.broadcast_to(b.array(), (3, 4))))
        c = spread(dtype, ())
        case("broadcast", [c], " axes=[]", from_array(dtype, np.full((2, 3), c.values[0], dtype=object)))
        for shape in ((24,), (4, 6), (1, 2, 3, 2, 2), (6, 4, 1)):
            case("reshape", [a], "", from_array(dtype, x.reshape(shape)))
        for order in itertools.permutations(range(3)):
            case("transpose", [a], f" permutation={list(order)}", from_array(dtype, x.transpose(order)))
        for start, stop, step in (((0, 0, 0), (2, 3, 4), (1, 1, 1)), ((1, 0, 1), (2, 3, 4), (1, 2, 1)), ((0, 2, 0), (1, 3, 3), (1, 1, 2))):
            cut = x[tuple(slice(*s) for s in zip(start, stop, step))]
            case("slice", [a], f" start={list(start)} stop={list(stop)} step={list(step)}", from_array(dtype, cut))
        for low, high in (((0, 0, 0), (0, 0, 0)), ((1, 0, 2), (0, 3, 1))):
            around = spread(dtype, ())
            padded = np.full([n + l + h for n, l, h in zip(a.shape, low, high)], around.values[0], dtype=object)
            padded[tuple(slice(l, l + n) for n, l in zip(a.shape, low))] = x
            case("pad", [a, around], f" low={list(low)} high={list(high)}", from_array(dtype, padded))
        for axis in range(3):
            others = [spread(dtype, tuple(n if k != axis else m for k, n in enumerate(a.shape))) for m in (1, 5)]
            joined = np.concatenate([x] + [o.array() for o in others], axis)
            case("concat", [a] + others, f" axis={axis}", from_array(dtype, joined))
            for rows_dtype, rows_shape in (("i32", (5,)), ("i64", ()), ("i32", (2, 2))):
                count = int(np.prod(rows_shape, dtype=int))
                rows = Tensor(rows_dtype, rows_shape, [int(v) for v in generator.integers(-2, 6, count)])
                clamped = np.clip(np.array(rows.values, dtype=int).reshape(rows_shape), 0, a.shape[axis] - 1)
                case("gather", [a, rows], f" axis={axis}", from_array(dtype, np.take(x, clamped, axis)))
                if dtype == "bool":
                    continue
                added = spread(dtype, a.shape[:axis] + rows_shape + a.shape[axis + 1:])
                summed = scatter(dtype, x.copy(), np.array(rows.values, dtype=int), added, axis, rows_shape)
                case("scatter_add", [a, rows, added], f" axis={axis}", from_array(dtype, summed))


def along():
    for dtype in FLOATS + INTS + ["bool"]:
        for shape, axis, count in (((5,), 0, 3), ((2, 3, 4), 1, 5), ((2, 3, 4), 2, 4), ((4, 1), 0, 2)):
            a = spread(dtype, shape)
            places = shape[:axis] + (count,) + shape[axis + 1:]
            rows = Tensor("i32", places, [int(v) for v in generator.integers(-1, shape[axis] + 1, int(np.prod(places)))])
            number = np.array(rows.values, dtype=int).reshape(places)
            taken = np.take_along_axis(a.array(), np.clip(number, 0, shape[axis] - 1), axis)
            case("take_along", [a, rows], f" axis={axis}", from_array(dtype, taken))
            if dtype == "bool":
                continue
            added, out = spread(dtype, places), a.array().copy()
            for place in np.ndindex(*places):
                to = place[:axis] + (number[place],) + place[axis + 1:]
                if 0 <= number[place] < shape[axis]:
                    out[to] = store(dtype, out[to] + added.array()[place])
            case("add_along", [a, rows, added], f" axis={axis}", from_array(dtype, out))


# ---- what follows the order of an axis


def ordering():
    running = {"sum": np.cumsum, "prod": np.cumprod, "max": np.maximum.accumulate, "min": np.minimum.accumulate}
    for dtype in FLOATS + INTS:
        for shape in ((1,), (2, 19), (2, 3, 4)):
            a = spread(dtype, shape)
            if dtype in FLOATS:
                a = Tensor(dtype, shape, [round(v * 2) / 2 for v in a.values])      # with equals
            x = a.real() if dtype in FLOATS else a.array().astype(np.int64)
            for descending in (0, 1):
                order = np.argsort(-x if descending else x, axis=-1, kind="stable")
                case("argsort", [a], f" descending={descending}", from_array("i32", order))
            for with_, function in running.items():
                for axis in range(min(len(shape), 2)):
                    for reverse in (0, 1):
                        way = np.flip(x, axis) if reverse else x
                        found = function(way, axis=axis)
                        found = np.flip(found, axis) if reverse else found
                        case("cumulate", [a], f" with={with_} axis={axis} reverse={reverse}", from_array(dtype, found))
    for dtype in FLOATS:
        a = Tensor(dtype, (7,), [2, math.nan, -math.inf, 2, math.inf, math.nan, -1])
        case("argsort", [a], " descending=0", Tensor("i32", (7,), [2, 6, 0, 3, 4, 1, 5]))
        case("argsort", [a], " descending=1", Tensor("i32", (7,), [4, 0, 3, 6, 2, 1, 5]))


def scatter(dtype, out, rows, added, axis, rows_shape):
    before, after = out.shape[:axis], out.shape[axis + 1:]
    table = added.array().reshape(before + (len(rows),) + after)
    for i in np.ndindex(*before):
        for k, row in enumerate(rows):
            if 0 <= row < out.shape[axis]:
                for j in np.ndindex(*after):
                    out[i + (row,) + j] = store(dtype, out[i + (row,) + j] + table[i + (k,) + j])
    return out


# ---- folding and contracting


def folding():
    real = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}
    for dtype in FLOATS + INTS + ["bool"]:
        for shape in ((2, 3, 4), (1, 5), (37,)):
            a = spread(dtype, shape)
            reducers = {"any": np.any, "all": np.all} if dtype == "bool" else real
            for with_, function in reducers.items():
                for count in range(len(shape) + 1):
                    for axes in itertools.combinations(range(len(shape)), count):
                        source = a.real() if dtype in FLOATS else a.array()
                        folded = function(source, axis=axes) if axes else source
                        case("reduce", [a], f" with={with_} axes={list(axes)}", from_array(dtype, folded))
            if dtype != "bool":
                for axis in range(len(shape)):
                    found = np.argmax(a.real() if dtype in FLOATS else a.array().astype(np.int64), axis)
                    case("argmax", [a], f" axis={axis}", from_array("i32", found))
    for dtype in FLOATS:
        for values in ([1, math.nan, 3], [math.inf, -math.inf, 1], [-math.inf, -math.inf, -3], [2, 2, 1], [math.nan, math.nan, 0]):
            a = Tensor(dtype, (3,), values)
            for with_, function in real.items():
                case("reduce", [a], f" with={with_} axes=[0]", Tensor(dtype, (), [float(function(a.real()))]))
            case("argmax", [a], " axis=0", Tensor("i32", (), [int(np.argmax(a.real()))]))
    patterns = [((3, 4), (4, 5), "ab,bc->ac", (1,), (0,), (), ()), ((4, 3), (4, 5), "ba,bc->ac", (0,), (0,), (), ()),
                ((3, 4), (5, 4), "ab,cb->ac", (1,), (1,), (), ()), ((2, 3, 4), (2, 4, 5), "nab,nbc->nac", (2,), (1,), (0,), (0,)),
                ((3, 2, 4), (4, 5, 2), "anb,bcn->nac", (2,), (0,), (1,), (2,)), ((7,), (7,), "a,a->", (0,), (0,), (), ()),
                ((3,), (4,), "a,b->ab", (), (), (), ()), ((2, 3, 4), (4, 3), "abc,cb->a", (1, 2), (1, 0), (), ()),
                ((1, 1), (1, 6), "ab,bc->ac", (1,), (0,), (), ()), ((2, 3), (2, 3), "nb,nb->n", (1,), (1,), (0,), (0,)),
                ((9, 17), (17, 11), "ab,bc->ac", (1,), (0,), (), ())]
    for dtype in FLOATS + INTS:
        for shape_a, shape_b, pattern, contract_a, contract_b, batch_a, batch_b in patterns:
            a, b = spread(dtype, shape_a), spread(dtype, shape_b)
            if dtype in FLOATS:
                product = np.einsum(pattern, a.real(), b.real())
            else:
                product = np.einsum(pattern, a.array().astype(np.int64), b.array().astype(np.int64))
            case("dot", [a, b], f" contract_a={list(contract_a)} contract_b={list(contract_b)} batch_a={list(batch_a)} "
                 f"batch_b={list(batch_b)}", from_array(dtype, product))


# ---- windows and convolutions


def places(kernel, positions, stride, dilation):
    """For each place of the window: it, and where it meets the padded input."""
    for place in itertools.product(*[range(k) for k in kernel]):
        yield place, tuple(slice(k * d, k * d + (o - 1) * s + 1, s) for k, d, o, s in zip(place, dilation, positions, stride))


def short(dtype, shape):
    """Numbers that are short to write: quarters, or integers."""
    numbers = generator.integers(-9, 10, int(np.prod(shape, dtype=int)))
    return Tensor(dtype, shape, [int(v) / (4 if dtype in FLOATS else 1) for v in numbers])


def window_cases():
    waiting = []
    for name, shape, kernel, stride, low, high, dilation in (("line", (2, 7), (3,), (2,), (1,), (1,), (1,)), ("plane", (3, 4, 5), (2, 3), (1, 2), (1, 0), (0, 2), (2, 1)),
                                                       ("halves", (6, 5), (2, 2), (2, 2), (0, 0), (0, 0), (1, 1)), ("volume", (2, 3, 3, 4), (1, 2, 2), (1, 1, 3), (0, 1, 0), (0, 1, 0), (1, 1, 2)),
                                                       ("long", (2, 33), (3,), (1,), (1,), (1,), (1,)), ("thirds", (1, 40), (3,), (3,), (0,), (2,), (1,))):
        attributes = f" stride={list(stride)} low={list(low)} high={list(high)} dilation={list(dilation)}"
        rest = len(shape) - len(kernel)
        padding = [(0, 0)] * rest + list(zip(low, high))
        size = [n + l + h for n, l, h in zip(shape[rest:], low, high)]
        positions = [(n - d * (k - 1) - 1) // s + 1 for n, k, d, s in zip(size, kernel, dilation, stride)]
        for dtype in ("f32", "i32"):
            x, value = short(dtype, shape), short(dtype, ())
            padded = np.pad(x.array(), padding, constant_values=value.values[0])
            out = np.empty(tuple(kernel) + shape[:rest] + tuple(positions), dtype=object)
            for place, cut in places(kernel, positions, stride, dilation):
                out[place] = padded[(slice(None),) * rest + cut]
            waiting.append(("window", [x, value], f" kernel={list(kernel)}" + attributes, from_array(dtype, out), f".{name}"))
            back = np.zeros(tuple(kernel) + padded.shape, dtype=object)
            v = short(dtype, out.shape)
            for place, cut in places(kernel, positions, stride, dilation):
                back[place][(slice(None),) * rest + cut] = v.array()[place]
            inside = tuple(slice(l, l + n) for l, n in zip(low, shape[rest:]))
            waiting.append(("unwindow", [v], attributes, from_array(dtype, back[(slice(None),) * (len(kernel) + rest) + inside]), f".{name}"))

    for each in sorted(waiting, key=lambda c: c[0]):
        case(*each)


def conv_cases():
    waiting = []
    patterns = [  # name, x, w, stride, low, high, dilation, groups
        ("same", (2, 2, 6, 5), (4, 2, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1), ("strided", (2, 2, 7, 8), (3, 2, 3, 2), (2, 3), (0, 1), (1, 0), (1, 2), 1),
        ("grouped", (1, 4, 5, 5), (6, 2, 2, 3), (2, 1), (1, 0), (0, 1), (2, 1), 2), ("depthwise", (2, 3, 5, 6), (3, 1, 3, 3), (2, 2), (1, 1), (0, 1), (1, 1), 3),
        ("line", (3, 2, 9), (2, 2, 4), (3,), (2,), (1,), (1,), 1), ("volume", (1, 2, 3, 4, 3), (2, 2, 2, 2, 1), (1, 2, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1), 1),
        ("small", (4, 2, 2, 2), (17, 2, 1, 1), (1, 1), (0, 0), (0, 0), (1, 1), 1), ("wide", (1, 1, 5, 19), (2, 1, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1)]
    for dtype in ("f32", "f64", "i32", "bf16"):
        for name, x_shape, w_shape, stride, low, high, dilation, groups in patterns if dtype == "f32" else patterns[1:4]:
            attributes = f" stride={list(stride)} low={list(low)} high={list(high)} dilation={list(dilation)} groups={groups}"
            x, w = short(dtype, x_shape), short(dtype, w_shape)
            kernel = w_shape[2:]
            padding = [(0, 0), (0, 0)] + list(zip(low, high))
            size = [n + l + h for n, l, h in zip(x_shape[2:], low, high)]
            positions = tuple((n - d * (k - 1) - 1) // s + 1 for n, k, d, s in zip(size, kernel, dilation, stride))
            y = short(dtype, (x_shape[0], w_shape[0]) + positions)
            number = np.float64 if dtype in FLOATS else np.int64

            def split(tensor, axis):
                a = np.array(tensor.values).astype(number).reshape(tensor.shape)
                return a.reshape(a.shape[:axis] + (groups, a.shape[axis] // groups) + a.shape[axis + 1:])

            xs, ws, ys = split(x, 1), split(w, 0), split(y, 1)
            xs = np.pad(xs, [(0, 0)] + padding)
            out, dx = np.zeros(ys.shape, number), np.zeros(xs.shape, number)
            dw, parts = np.zeros(ws.shape, number), np.zeros((x_shape[0],) + ws.shape, number)
            for place, cut in places(kernel, positions, stride, dilation):
                there, of = (slice(None),) * 3 + cut, (slice(None),) * 3 + place
                out += np.einsum("ngc...,goc->ngo...", xs[there], ws[of])
                dx[there] += np.einsum("ngo...,goc->ngc...", ys, ws[of])
                each = [np.einsum("gcp,gop->goc", a.reshape(a.shape[:2] + (-1,)), b.reshape(b.shape[:2] + (-1,))) for a, b in zip(xs[there], ys)]
                dw[of] = sum(each)
                parts[(slice(None),) + of] = each
            inside = (slice(None),) * 3 + tuple(slice(l, l + n) for l, n in zip(low, x_shape[2:]))
            waiting.append(("conv", [x, w], attributes, from_array(dtype, out.reshape(y.shape)), f".{name}"))
            waiting.append(("conv_input", [y, w], attributes, from_array(dtype, dx[inside].reshape(x_shape)), f".{name}"))
            waiting.append(("conv_weight", [x, y], attributes + " split=0", from_array(dtype, dw.reshape(w_shape)), f".{name}"))
            waiting.append(("conv_weight", [x, y], attributes + f" split={x_shape[0]}", from_array(dtype, parts.reshape((x_shape[0],) + w_shape)), f".{name}.parts"))
    for each in sorted(waiting, key=lambda c: c[0]):
        case(*each)


# ---- leaves and structure


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k[0], second & 0xFFFFFFFF, first >> 32 ^ c[3] ^ k[1], first & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def leaves():
    for dtype in ("f32", "f64"):
        for seed, step, site in ((0, 0, 0), (42, 17, 3), (-1, 1 << 40, 0xFFFFFFFF), (1 << 62, -5, 77)):
            for shape in ((), (130,), (3, 41)):
                values = []
                for e in range(int(np.prod(shape, dtype=int))):
                    at = e // 64 * 16 + e % 16
                    low, high = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
                    word = philox([at & 0xFFFFFFFF, at >> 32, step & 0xFFFFFFFF, site], [low, high ^ (step >> 32 & 0xFFFFFFFF)])[e % 64 // 16]
                    values.append((word >> 8) * 2.0 ** -24 if dtype == "f32" else word * 2.0 ** -32)
                inputs = [Tensor("i64", (), [seed]), Tensor("i64", (), [step])]
                case("random", inputs, f" site={site}", Tensor(dtype, shape, values), f".{dtype}")
    for dtype in ("i32", "i64", "f32", "f64"):
        for shape, axis in (((5,), 0), ((2, 3, 4), 1), ((2, 3), 0)):
            case("iota", [], f" axis={axis}", from_array(dtype, np.broadcast_to(np.arange(shape[axis]).reshape(
                [-1 if k == axis else 1 for k in range(len(shape))]), shape)))
    for dtype in ("f32", "i64", "bool"):
        a = spread(dtype, (2, 3))
        case("stop_gradient", [a], "", a)


BODIES = """
function @running_sum.1 {{
  %0 = {start}
  %1 = {rows}
  %2 = loop %0, %1 count=5 carried=1 sliced=1 body={{
    %3 = parameter : i64[]
    %4 = parameter : f64[3]
    %5 = parameter : f64[3]
    %6 = add %4, %5 : f64[3]
    result %6
    result %6
  }} : f64[3], f64[5, 3]
  %7 = get %2 index=1 : f64[5, 3]
  %8 = {expected}
  result %7
  result %8
}}
function @turn_numbers.1 {{
  %0 = constant value=dense(100) : i64[1]
  %1 = reshape %0 : i64[]
  %2 = loop %1 count=4 carried=0 sliced=0 body={{
    %3 = parameter : i64[]
    %4 = parameter : i64[]
    %5 = add %3, %4 : i64[]
    result %5
  }} : i64[4]
  %6 = constant value=dense(100, 101, 102, 103) : i64[4]
  result %2
  result %6
}}
function @backwards_behind_a_guard.1 {{
  %0 = constant value=dense(true, false, true, true) : bool[4]
  %1 = constant value=dense(1, 10, 100, 1000) : i64[4]
  %2 = constant value=dense(5) : i64[1]
  %3 = loop %2, %0, %1 count=4 carried=1 sliced=2 body={{
    %4 = parameter : i64[]
    %5 = parameter : i64[1]
    %6 = parameter : bool[]
    %7 = parameter : i64[]
    %8 = broadcast %7 axes=[] : i64[1]
    %9 = add %5, %8 : i64[1]
    result %9
    result %9
    result %4
  }} reverse=1 guard=2 : i64[1], i64[4, 1], i64[4]
  %10 = get %3 index=0 : i64[1]
  %11 = get %3 index=1 : i64[4, 1]
  %12 = get %3 index=2 : i64[4]
  %13 = reshape %11 : i64[4]
  %14 = concat %10, %13, %12 axis=0 : i64[9]
  %15 = constant value=dense(1106, 1106, 0, 1105, 1005, 0, 0, 2, 3) : i64[9]
  result %14
  result %15
}}
function @until_the_guard_ends_it.1 {{
  %0 = constant value=dense(true) : bool[1]
  %1 = constant value=dense(3, 7) : i64[2]
  %2 = reshape %0 : bool[]
  %3 = loop %2, %1 count=1099511627776 carried=2 sliced=0 body={{
    %4 = parameter : i64[]
    %5 = parameter : bool[]
    %6 = parameter : i64[2]
    %7 = add %6, %6 : i64[2]
    %8 = reduce %7 with=sum axes=[0] : i64[]
    %9 = constant value=splat(100) : i64[]
    %10 = lt %8, %9 : bool[]
    result %10
    result %7
  }} guard=1 : bool[], i64[2]
  %11 = get %3 index=1 : i64[2]
  %12 = constant value=dense(48, 112) : i64[2]
  result %11
  result %12
}}
function @two_change_places.1 {{
  %0 = constant value=dense(1, 2) : i64[2]
  %1 = constant value=dense(30, 40) : i64[2]
  %2 = loop %0, %1 count=3 carried=2 sliced=0 body={{
    %3 = parameter : i64[]
    %4 = parameter : i64[2]
    %5 = parameter : i64[2]
    %6 = add %4, %5 : i64[2]
    result %5
    result %4
    result %6
  }} : i64[2], i64[2], i64[3, 2]
  %7 = get %2 index=0 : i64[2]
  %8 = get %2 index=1 : i64[2]
  %9 = concat %7, %8 axis=0 : i64[4]
  %10 = constant value=dense(30, 40, 1, 2) : i64[4]
  result %9
  result %10
}}
function @square {{
  %0 = parameter : i32[3]
  %1 = mul %0, %0 : i32[3]
  result %1
}}
function @call_and_fused.1 {{
  %0 = constant value=dense(1, -2, 3) : i32[3]
  %1 = call %0 callee=@square : i32[3]
  %2 = fused %1, %0 body={{
    %3 = parameter : i32[3]
    %4 = parameter : i32[3]
    %5 = add %3, %4 : i32[3]
    result %5
  }} : i32[3]
  %6 = constant value=dense(2, 2, 12) : i32[3]
  result %2
  result %6
}}"""


def structure():
    start, rows = spread("f64", (3,)), spread("f64", (5, 3))
    total = np.cumsum(np.concatenate([start.real()[None], rows.real()]), axis=0)[1:]
    print(BODIES.format(start=start.text(), rows=rows.text(), expected=from_array("f64", total).text()))


def bytes_cases():
    """u8 times i8, summed as i32: quantized products. Operands take the whole range."""
    def whole(dtype, shape):
        low, high = limits(dtype)
        return Tensor(dtype, shape, [int(v) for v in generator.integers(low, high + 1, int(np.prod(shape)))])

    def number(tensor):
        return tensor.array().astype(np.int64)

    for m, k, n in ((1, 8, 5), (3, 12, 17), (4, 7, 1), (2, 260, 3)):
        a, b = whole("u8", (m, k)), whole("i8", (k, n))
        case("dot", [a, b], " contract_a=[1] contract_b=[0] batch_a=[] batch_b=[]", from_array("i32", number(a) @ number(b)), ".i8")
    for x_shape, w_shape, stride, groups in (((2, 3, 6, 7), (5, 3, 3, 3), 1, 1), ((1, 8, 5, 6), (6, 4, 2, 2), 2, 2), ((1, 4, 4, 4), (4, 1, 3, 3), 1, 4)):
        x, w = whole("u8", x_shape), whole("i8", w_shape)
        wide, weights = np.pad(number(x), ((0, 0), (0, 0), (1, 1), (1, 1))), number(w)
        height, width = ((wide.shape[2 + i] - w_shape[2 + i]) // stride + 1 for i in range(2))
        out = np.zeros((x_shape[0], w_shape[0], height, width), np.int64)
        for o in range(w_shape[0]):
            first = o // (w_shape[0] // groups) * w_shape[1]
            for i, j in itertools.product(range(height), range(width)):
                part = wide[:, first:first + w_shape[1], i * stride:i * stride + w_shape[2], j * stride:j * stride + w_shape[3]]
                out[:, o, i, j] = (part * weights[o]).sum((1, 2, 3))
        case("conv", [x, w], f" stride=[{stride}, {stride}] low=[1, 1] high=[1, 1] dilation=[1, 1] groups={groups}", from_array("i32", out), ".i8")


def attention(q, k, v, mask, causal, factor):
    """y and the logarithms of the sums; rows without a key are zeros."""
    queries, keys, each = q.shape[1], k.shape[1], q.shape[2] // k.shape[2]
    wide_k, wide_v = (np.repeat(x, each, axis=2) for x in (k, v))
    scores = np.einsum("bihd,bjhd->bhij", q, wide_k) * factor
    seen = np.ones(scores.shape, bool) if mask is None else np.broadcast_to(mask if mask.ndim != 3 else mask[:, None], scores.shape)
    if causal:
        seen = seen & (np.arange(keys) <= np.arange(queries)[:, None] + keys - queries)
    scores = np.where(seen, scores, -np.inf)
    most = np.where(seen.any(-1), scores.max(-1), 0)
    weights = np.exp(scores - most[..., None])
    total = np.maximum(weights.sum(-1), 1e-300)
    return np.einsum("bhij,bjhd->bihd", weights / total[..., None], wide_v), np.where(seen.any(-1), most + np.log(total), 0)


def attention_cases():
    """attend, and attend_back: the compiled kernels have blocks of 32 queries and 128 keys."""
    def one(op, inputs, index, expected, attributes, suffix):
        name = f"{op}.{inputs[0].dtype}{suffix}"
        cases[name] = cases.get(name, 0) + 1
        print(f"function @{name}.{cases[name]} {{")
        for i, tensor in enumerate(inputs):
            print(f"  %{i} = {tensor.text()}")
        n = len(inputs)
        print(f"  %{n} = {op} {', '.join(f'%{i}' for i in range(n))}{attributes} : {', '.join(t.type() for t in expected)}")
        print(f"  %{n + 1} = get %{n} index={index} : {expected[index].type()}")
        print(f"  %{n + 2} = {expected[index].text()}\n  result %{n + 1}\n  result %{n + 2}\n}}")

    def small(dtype, shape):
        return Tensor(dtype, shape, np.round(generator.normal(0, 1, int(np.prod(shape))), 2))

    for dtype, b, t, h, d, s, g, w, causal, mask_axes in (
            ("f32", 2, 5, 4, 3, 7, 2, 5, 1, 0), ("f32", 1, 4, 2, 17, 4, 2, 16, 0, 2), ("f32", 2, 3, 2, 2, 33, 1, 4, 1, 3),
            ("f32", 1, 3, 4, 5, 6, 2, 3, 0, 4), ("f32", 1, 35, 1, 4, 135, 1, 2, 1, 0), ("f32", 1, 34, 1, 2, 130, 1, 3, 0, 2),
            ("bf16", 1, 9, 2, 4, 9, 1, 6, 1, 0), ("f16", 2, 3, 2, 5, 4, 2, 4, 0, 3)):
        q, k, v = small(dtype, (b, t, h, d)), small(dtype, (b, s, g, d)), small(dtype, (b, s, g, w))
        shape = {0: (), 2: (t, s), 3: (b, t, s), 4: (b, h, t, s)}[mask_axes]
        mask = Tensor("bool", shape, generator.random(int(np.prod(shape))) < 0.6) if mask_axes else None
        if mask:
            mask.values[:s] = [False] * s if not causal else mask.values[:s]    # a query that sees nothing
        seen = None if mask is None else np.array(mask.values, bool).reshape(shape)
        factor = float(np.float32(1 / math.sqrt(d)))
        attributes, more = f" factor={factor!r} causal={causal}", [mask] if mask else []
        parts = [x.real() for x in (q, k, v)]
        out = [from_array("f32", x) for x in attention(*parts, seen, causal, factor)]
        for position in (0, s - t, s - 1, -2, 1 << 40) if s < 40 else ():
            held = np.arange(s) <= np.arange(t)[:, None] + position
            cached = [Tensor("f32", q.shape, q.values), k, v]
            y = from_array("f32", attention(*[x.real() for x in cached], held, 0, factor)[0])
            case("attend_cached", cached + [Tensor("i64", (), [position])], f" factor={factor!r}", y, f".{dtype}")
        for index in range(2):
            one("attend", [q, k, v] + more, index, out, attributes, f".{index}")
        dy, shift = small(dtype, (b, t, h, w)), small("f32", (b, h, t))
        y, sums = attention(*parts, seen, causal, factor)
        delta = from_array("f32", np.einsum("bihd,bihd->bhi", dy.real(), y) - shift.real())
        sums = from_array("f32", sums)
        slopes = attention_slopes(*parts, seen, causal, factor, sums.real(), delta.real(), dy.real())
        for index in range(3):
            one("attend_back", [q, k, v, sums, delta, dy] + more, index, [from_array("f32", x) for x in slopes], attributes, f".{index}")


def attention_slopes(q, k, v, mask, causal, factor, sums, delta, dy):
    """The gradients from sums and delta as they are stored, one pair of a query and a key after the other."""
    out = [np.zeros(x.shape) for x in (q, k, v)]
    each = q.shape[2] // k.shape[2]
    for b, i, h, j in itertools.product(range(q.shape[0]), range(q.shape[1]), range(q.shape[2]), range(k.shape[1])):
        if causal and j > i + k.shape[1] - q.shape[1]:
            continue
        if mask is not None and not (mask[i, j] if mask.ndim == 2 else mask[b, i, j] if mask.ndim == 3 else mask[b, h, i, j]):
            continue
        g = h // each
        weight = math.exp(float(q[b, i, h] @ k[b, j, g]) * factor - sums[b, h, i])
        change = weight * (float(dy[b, i, h] @ v[b, j, g]) - delta[b, h, i]) * factor
        out[0][b, i, h] += change * k[b, j, g]
        out[1][b, j, g] += change * q[b, i, h]
        out[2][b, j, g] += weight * dy[b, i, h]
    return out


def stored_cases():
    """Weights as deployed programs store them: (q - zero) * scale in groups, and halves; the row is rounded to 8 bits by groups."""
    def panels(values, k, n, width):
        """[k, n] to [panels, k / width, 16 * width], `width` neighbours of a column together."""
        out = np.zeros((-(-n // 16), k // width, 16, width), dtype=int)
        for p, c in itertools.product(range(k), range(n)):
            out[c // 16, p // width, c % 16, p % width] = values[p, c]
        return in_blocks(out)

    def in_blocks(out):
        """The rows of four panels take turns."""
        blocks = [np.swapaxes(out[i:i + 4], 0, 1).reshape(-1) for i in range(0, len(out), 4)]
        return np.concatenate(blocks).reshape(out.shape)

    for form, k, n, group, zeros, rows in ((0, 12, 5, 8, False, 1), (0, 16, 18, 16, True, 2), (1, 20, 3, 8, False, 1), (1, 16, 17, 16, True, 2), (0, 40, 90, 16, True, 5),
                                           (1, 32, 83, 16, False, 9), (1, 64, 150, 32, True, 3)):
        groups, top, middle = -(-k // group), (256, 16)[form], (128, 8)[form]
        padded = groups * group
        q = generator.integers(0, top, (padded, n))
        zero = generator.integers(0, top, (groups, n)) if zeros else np.full((groups, n), middle)
        scale = np.float16(generator.uniform(0.01, 0.1, (groups, n)))
        q[k:] = zero[-1]
        weights = (q - np.repeat(zero, group, 0)) * np.repeat(scale.astype(float), group, 0)
        if form == 0:
            b = panels(q, padded, n, 4)
        else:
            b = panels(q[np.arange(padded) % 8 < 4], padded // 2, n, 4) + 16 * panels(q[np.arange(padded) % 8 > 3], padded // 2, n, 4)
        b = Tensor("u8", (b.shape[0], b.shape[1], 64), b.reshape(-1))
        stored = [b, Tensor("f16", (b.shape[0], groups, 16), panels(scale.view(np.uint16), groups, n, 1).reshape(-1).astype(np.uint16).view(np.float16))]
        if zeros:
            stored.append(Tensor("u8", (b.shape[0], groups, 16), panels(zero, groups, n, 1).reshape(-1)))
        a = Tensor("f32", (rows, k), np.round(generator.normal(0, 1, rows * k), 2))
        x = np.zeros((rows, groups, group), np.float32)
        x.reshape(rows, padded)[:, :k] = a.real()
        most = np.abs(x).max(2, keepdims=True)
        step = (most / np.float32(127)).astype(float)
        byte = np.rint(x * (np.float32(127) / most)).astype(float)
        whole = np.einsum("rgi,gin->rgn", byte, (q - np.repeat(zero, group, 0)).reshape(groups, group, n).astype(float))
        out = (whole * step * scale.astype(float)[None]).sum(1)
        case("dot_stored", [a] + stored, f" form={form} group={group} columns={n}", from_array("f32", out), ".integers")
        places = Tensor("i32", (3,), [n - 1, 0, -4])
        case("take_stored", [places] + stored, f" form={form} group={group} depth={k}", from_array("f32", weights[:k].T[[n - 1, 0, 0]]), ".integers")
    for form, dtype in ((2, "bf16"), (3, "f16")):
        w, k, n = spread(dtype, (6, 18)), 6, 18
        b = np.zeros((2, k, 16))
        for p, c in itertools.product(range(k), range(n)):
            b[c // 16, p, c % 16] = w.real()[p, c]
        b = Tensor(dtype, (2, k, 16), in_blocks(b).reshape(-1))
        a = spread("f32", (2, k))
        case("dot_stored", [a, b], f" form={form} group=8 columns={n}", from_array("f32", a.real() @ w.real()), f".{dtype}")
        case("take_stored", [Tensor("i64", (2, 1), [17, 3]), b], f" form={form} group=8 depth={k}", from_array("f32", w.real().T[[17, 3]][:, None]), f".{dtype}")
    for form in (0, 1):         # rows that are not finite: seen in every column of theirs, and in no other row
        b = Tensor("u8", (1, 8 // (4, 8)[form], 64), np.full(64 * (8 // (4, 8)[form]), (129, 153)[form]))
        scale = Tensor("f16", (1, 1, 16), np.ones(16))
        a = Tensor("f32", (5, 8), [1.0] * 8 + [np.nan] + [1.0] * 15 + [np.inf] + [1.0] * 7 + [-np.inf] + [1.0] * 7)
        out = np.repeat([8.0, np.nan, 8.0, np.nan, np.nan], 3).reshape(5, 3)
        case("dot_stored", [a, b, scale], f" form={form} group=8 columns=3", from_array("f32", out), ".not_finite")


print("// Operands and results by make_golden.py: do not edit, run it again.")
element_wise()
casts()
moving()
folding()
leaves()
structure()
along()
ordering()
window_cases()
conv_cases()
bytes_cases()
attention_cases()
stored_cases()
