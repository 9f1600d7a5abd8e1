#!/usr/bin/env python3
"""The example adult: a table with categories, missing values and classes of different size."""
import json
import os
import pathlib
import random
import sys

from harness import ROOT, Skip, check, check_equal, check_in, main

EXAMPLE = ROOT / "examples" / "adult" / "adult.aml"


def build(place, data):
    place.aml("build", EXAMPLE, "-o", "adult", env={"AML_DATA": str(data)})
    return place.folder / "adult"


def census(count, seed, dot=""):
    """Rows with the columns of the census file: `?` for what is missing, and more income with age, hours and gains."""
    random.seed(seed)
    lines = []
    for _ in range(count):
        age, years, hours = random.randrange(17, 90), random.randrange(1, 17), random.randrange(1, 99)
        gain, loss = random.choice([0, 0, 0, random.randrange(100, 99999)]), random.choice([0, 0, 0, random.randrange(100, 4000)])
        words = [random.choice(["Private", "State-gov", "?"]), random.choice(["Bachelors", "HS-grad"]), random.choice(["Divorced", "Never-married"]),
                 random.choice(["Sales", "Tech-support", "?"]), random.choice(["Husband", "Wife"]), random.choice(["White", "Black"]),
                 random.choice(["Male", "Female"]), random.choice(["United-States", "Cuba", "?"])]
        rich = age / 60 + years / 10 + hours / 60 + (gain > 20000) + random.gauss(0, 0.4) > 3.4
        lines.append(f"{age}, {words[0]}, {random.randrange(99999)}, {words[1]}, {years}, {words[2]}, {words[3]}, {words[4]}, {words[5]}, {words[6]}, "
                     f"{gain}, {loss}, {hours}, {words[7]}, {'>50K' if rich else '<=50K'}{dot}\n")
    return "".join(lines) + "\n"


def incomes_are_predicted(place):
    """Rows made here; the real files, where they are, give the published figure."""
    place.write("data/adult/adult-train.csv", census(900, 5))
    place.write("data/adult/adult-test.csv", census(300, 6, "."))
    program = build(place, place.folder)
    check_in("1200 rows, 0 bad", place.run(program, "data", "check").out)
    place.run(program, "train", "--quiet")
    auc = json.loads(place.run(program, "evaluate", "--json").out)["metrics"]["auc"]
    check(auc > 0.8, f"the area under the curve is {auc}")
    place.aml("deploy", EXAMPLE, "adult_f32", "-o", "adult_f32")
    raw = place.folder / "data/adult/adult-test.csv"
    check_equal(place.run("./adult_f32", "predict", raw).out, place.run(program, "predict", raw).out, "the deployed program's answers")


def real_incomes_are_predicted(place):
    data = pathlib.Path(os.environ.get("AML_DATA") or ROOT.parent / "shared")
    if not (data / "data/adult/adult-train.csv").exists():
        raise Skip("the census files are not here")
    program = build(place, data)
    place.run(program, "train", "--quiet", env={"AML_DATA": str(data)}, timeout=600)
    auc = json.loads(place.run(program, "evaluate", "--json", env={"AML_DATA": str(data)}).out)["metrics"]["auc"]
    check(auc >= 0.91, f"the area under the curve is {auc}")


if __name__ == "__main__":
    sys.exit(main([incomes_are_predicted, real_incomes_are_predicted]))
