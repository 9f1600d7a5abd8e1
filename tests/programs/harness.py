"""What the scripted tests share: cases that print PASS or FAIL, and running commands.

A test is a function whose first argument is a Place, a temporary folder of its own; it fails by raising. main() runs the
functions named in its list, in order.
"""
import atexit
import os
import pathlib
import pty
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]


def sanitized(amlc):
    """Whether amlc was built with a sanitizer: times and sizes mean nothing then."""
    return "-fsanitize" in (pathlib.Path(amlc).parent / "link.conf").read_text()     # LLVM, which is in amlc, has their names as well


def digits_example():
    """The folder of the example; a copy of it that allows a larger deployed program where a sanitizer makes programs large."""
    folder = ROOT / "examples" / "digits"
    if len(sys.argv) < 2 or not pathlib.Path(sys.argv[1]).is_file() or not sanitized(sys.argv[1]):
        return folder
    base = pathlib.Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    shutil.copytree(folder, base / "digits")
    source = base / "digits/digits.aml"
    text = source.read_text()
    assert ", size: 256 KiB" in text
    source.write_text(text.replace(", size: 256 KiB", ", size: 16 MiB"))
    return base / "digits"


DIGITS = digits_example()


class Failure(Exception):
    pass


class Skip(Exception):
    """This machine cannot show what the case is about."""


def open_terminal():
    """A pseudo terminal: (the end that reads, the end that programs write to)."""
    try:
        return pty.openpty()
    except OSError as error:
        raise Skip(f"no pseudo terminal: {error}") from error


def check(condition, text):
    if not condition:
        raise Failure(text)


def check_equal(found, expected, what):
    check(found == expected, f"{what} is {found!r}, expected {expected!r}")


def check_in(part, text, what="output"):
    check(part in text, f"{what} lacks {part!r}; it is:\n{text}")


def check_answers(command, numbers, expected):
    """A program that reads rows of numbers answers with these lines: the same class, and scores to a millionth."""
    with open(numbers) as rows_in:
        done = subprocess.run(command, stdin=rows_in, capture_output=True, text=True, timeout=300)
    check_equal(done.returncode, 0, f"the exit code of {command[0]} ({done.stderr[-2000:]})")
    found = done.stdout.splitlines()
    check_equal(len(found), len(expected), "the number of rows")
    for left, right in zip(found, expected):
        a, b = left.split(","), right.split(",")
        check_equal(a[0], b[0], "a prediction")
        check(all(abs(float(x) - float(y)) < 1e-6 for x, y in zip(a[1:], b[1:])), f"{left} is not {right}")


class Done:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds
        self.all = out + err


class Place:
    """A temporary folder and the amlc under test."""

    def __init__(self, amlc, folder):
        self.amlc, self.folder = pathlib.Path(amlc), pathlib.Path(folder)

    def run(self, *command, code=0, cwd=None, env=None, timeout=120):
        """Runs a command; `code` None accepts any."""
        environment = {k: v for k, v in os.environ.items() if k not in ("AML_CC", "AML_RUNTIME", "AML_DATA", "NO_COLOR")}
        environment.update(env or {})
        start = time.monotonic()
        done = subprocess.run([str(c) for c in command], cwd=cwd or self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=timeout)
        result = Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), time.monotonic() - start)
        if code is not None and result.code != code:
            raise Failure(f"{' '.join(map(str, command))}: exit code {result.code}, expected {code}\n{result.all[-3000:]}")
        return result

    def aml(self, *arguments, **options):
        return self.run(self.amlc, *arguments, **options)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)
        return path

    def build_digits(self, output="digits", *options):
        self.aml("build", DIGITS / "digits.aml", "-o", output, *options)
        return self.folder / output


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def best_time(run, times=7):
    """The shortest time of `times` calls, and a text about it.

    The machine may be busy with other things, but no program can be too fast: the shortest is the smaller of wall and
    processor time, where the processor time is that of the processes started.
    """
    def processor():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
    walls, processors = [], []
    for _ in range(times):
        start, before = time.monotonic(), processor()
        run()
        walls.append(time.monotonic() - start)
        processors.append(max(processor() - before, 1e-4))
    text = f"wall best {1e3 * min(walls):.2f} ms, median {1e3 * median(walls):.2f} ms; processor best {1e3 * min(processors):.2f} ms"
    return min(walls + processors), text


def killed_and_resumed(command, cwd, saved, finished, length, kills, chance, load=0, env=None, limit=600):
    """Runs a training to its end, killed `kills` times at random moments and resumed each time.

    `length` is about what a whole run takes, in seconds, beside the `load` seconds before its first step; `saved()` tells whether there is something to resume. A run that
    ends before its kill is given to `finished()`, which checks and removes it; the next kills come sooner, so that the
    number of kills does not depend on the speed of the machine.
    """
    def start():
        line = [str(c) for c in command] + (["--resume"] if saved() else [])
        return subprocess.Popen(line, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)

    done = 0
    while done < kills:
        process = start()
        try:
            errors = process.communicate(timeout=load * chance.uniform(0.5, 1) + length * chance.uniform(0.02, 0.25))[1]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            done += 1
            continue
        check_equal(process.returncode, 0, f"the exit code ({errors.decode(errors='replace')})")
        finished()
        length *= 0.7
        check(length > 1e-4, "every run ends before it can be killed")
    process = start()
    errors = process.communicate(timeout=limit)[1]
    check_equal(process.returncode, 0, f"the exit code ({errors.decode(errors='replace')})")


def checkpoints(folder, job="digits_mlp"):
    """The checkpoint folders of the newest run of a job, oldest first."""
    runs = sorted((p for p in (pathlib.Path(folder) / "runs" / job).iterdir() if p.is_dir() and not p.is_symlink()),
                  key=lambda p: p.name)
    return sorted(p for p in (runs[-1] / "checkpoints").iterdir() if p.is_dir() and not p.is_symlink())


def needs_aarch64(place):
    """Skips what needs the whole runtime for aarch64 and an emulator of it."""
    if sanitized(place.amlc):
        raise Skip("a sanitized runtime cannot be linked into other programs")
    for name in ("aarch64-linux-gnu-gcc", "qemu-aarch64"):
        if not shutil.which(name):
            raise Skip(f"{name} is not installed")
    if '#define AML_CROSS_LIBRARIES ""' in (pathlib.Path(place.amlc).parent / "generated/aml_link.h").read_text():
        raise Skip("amlc was built without libraries for aarch64")


def main(cases):
    amlc = os.path.abspath(sys.argv[1])
    chosen = sys.argv[2:] or [case.__name__ for case in cases]
    failures = 0
    for case in cases:
        if case.__name__ not in chosen:
            continue
        folder = tempfile.mkdtemp(prefix="aml-test-")
        try:
            case(Place(amlc, folder))
            print(f"PASS {case.__name__}", flush=True)
        except Skip as reason:
            print(f"SKIP {case.__name__}: {reason}", flush=True)
        except (Failure, subprocess.TimeoutExpired, AssertionError, OSError, ValueError, KeyError, IndexError) as error:
            failures += 1
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            print(f"FAIL {case.__name__}: {text}", flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"({children.ru_utime + children.ru_stime:.1f} s of processor time)")
    return 1 if failures else 0
