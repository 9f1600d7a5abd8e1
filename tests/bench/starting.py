"""How long programs and the compiler take to start and to end, and how large programs are."""
from common import ROOT, Family, call, median, seconds

DIGITS = ROOT / "examples/digits"


def start(bench):
    folder = bench.folder
    call(bench.amlc, "build", DIGITS / "digits_f32.aml", "-o", folder / "trainer")
    call(folder / "trainer", "train", "--quiet", cwd=folder)
    call(bench.amlc, "deploy", DIGITS / "digits_f32.aml", "digits_f32", cwd=folder)
    rows = (DIGITS / "data/digits.csv").read_text().splitlines()[:2]
    (folder / "one.csv").write_text("\n".join(rows) + "\n")
    result = {"ms": {}, "bytes": {}}
    for title, command in (("trainer --help", [folder / "trainer", "--help"]), ("digits_f32 predict, 1 row", [folder / "digits_f32", "predict", "one.csv"]),
                           ("amlc check digits.aml", [bench.amlc, "check", DIGITS / "digits.aml"])):
        result["ms"][title] = 1e3 * median([seconds(*command, cwd=folder) for _ in range(51)])
        print(f"  {title:<28} {result['ms'][title]:7.2f} ms")
    for name in ("trainer", "digits_f32", "libdigits_f32.so"):
        result["bytes"][name] = (folder / name).stat().st_size
        print(f"  {name:<28} {result['bytes'][name]:7d} bytes")
    print(call(folder / "digits_f32", "bench").rstrip())
    return result


def lines(results):
    text = ["| | median |", "|---|---|"]
    for found in results.values():
        text += [f"| {what} | {value:.2f} ms |" for what, value in found["ms"].items()]
        text += [f"| size of {what} | {value:,} bytes |" for what, value in found.get("bytes", {}).items()]
    return text


FAMILY = Family("start", "Starting", {"digits": start}, lines)
