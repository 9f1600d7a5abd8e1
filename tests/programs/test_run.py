#!/usr/bin/env python3
"""`amlc run`: all stages in order, and only those whose inputs changed."""
import shutil
import sys

from harness import DIGITS, check, check_equal, check_in, main

STAGES = ("build digits", "train digits_mlp", "evaluate digits_report", "deploy digits_int8")


def skipped(done):
    return [line.split(":")[0] for line in done.err.splitlines() if "nothing changed" in line]


def runs_everything_then_nothing(place):
    done = place.aml("run", DIGITS / "digits.aml")
    check_in("accuracy", done.all)
    check_in("deployed digits_int8", done.err)
    check_in("expected", done.out)
    check_equal(skipped(done), [], "the stages that were skipped")
    again = place.aml("run", DIGITS / "digits.aml")
    check_equal(skipped(again), list(STAGES), "the stages that were skipped")
    check_equal(again.out, done.out, "what is printed the second time")
    check(again.seconds < done.seconds, "skipping everything takes longer")


def deploys_what_can_be_deployed(place):
    done = place.aml("run", DIGITS / "digits_f32.aml")
    check_in("worst difference", done.err)
    check((place.folder / "digits_f32").is_file() and (place.folder / "libdigits_f32.so").is_file(), "nothing was deployed")
    again = place.aml("run", DIGITS / "digits_f32.aml")
    check_in("deploy digits_f32: nothing changed", again.err)


def changed_data_trains_again_but_does_not_build(place):
    shutil.copytree(DIGITS, place.folder / "copy")
    source = place.folder / "copy/digits.aml"
    place.aml("run", source)
    data = place.folder / "copy/data/digits.csv"
    data.write_text("\n".join(data.read_text().splitlines()[:-1]) + "\n")
    done = place.aml("run", source)
    check_equal(skipped(done), ["build digits"], "the stages that were skipped")


def changed_source_does_everything_again(place):
    shutil.copytree(DIGITS, place.folder / "copy")
    source = place.folder / "copy/digits.aml"
    place.aml("run", source)
    source.write_text(source.read_text().replace("40 epochs", "20 epochs"))
    check_equal(skipped(place.aml("run", source)), [], "the stages that were skipped")


def lost_result_is_made_again(place):
    place.aml("run", DIGITS / "digits.aml")
    (place.folder / "digits").unlink()
    done = place.aml("run", DIGITS / "digits.aml")
    check_equal(skipped(done), list(STAGES[1:]), "the stages that were skipped")
    shutil.rmtree(place.folder / "runs/digits_mlp")
    check("train digits_mlp" not in skipped(place.aml("run", DIGITS / "digits.aml")), "a training whose run is gone was skipped")


def options_go_to_the_training(place):
    place.aml("run", DIGITS / "digits.aml")
    done = place.aml("run", DIGITS / "digits.aml", "--", "--lr", "1e-3")
    check("train digits_mlp" not in skipped(done), "another learning rate does not train again")
    check_in("did you mean", place.aml("run", DIGITS / "digits.aml", "--", "--ler", "1", code=2).err)


def results_go_to_another_folder(place):
    place.aml("run", DIGITS / "digits.aml", "--out", "results")
    check((place.folder / "results/digits").is_file() and (place.folder / "results/runs").is_dir(), "the results are elsewhere")
    check_equal(sorted(p.name for p in place.folder.iterdir()), ["results"], "the current folder's content")


def own_step_has_no_predictions(place):
    """A training of several models ends the run: no model is the one that predicts."""
    (place.folder / "rows.csv").write_text("".join(f"{i},{i % 3}\n" for i in range(40)))
    (place.folder / "pair.aml").write_text("""aml 1
use std.nn
use std.optim
use std.data
model Part {
  fc = Dense(1)
  fn forward(x: float[n, 2]) = fc(x)
}
dataset rows {
  source: csv("rows.csv")
  field x: f32[2] = columns(0..1)
}
train pair {
  models:     { a: Part(), b: Part() }
  optimizers: { a: sgd(), b: sgd() }
  data:       rows
  length:     3 steps
  fn step(batch) {
    let (first, up) = value_and_grad(fn(m) = mean(tanh(m(batch.x))), a)
    a <- optimizers.a.update(a, up)
    let (second, down) = value_and_grad(fn(m) = mean(tanh(m(batch.x))), b)
    b <- optimizers.b.update(b, down)
    return { first: first, second: second }
  }
}
""")
    done = place.aml("run", "pair.aml", cwd=place.folder)
    check("predict" not in done.err, "there is nothing to predict with")


def mistakes_stop_at_once(place):
    bad = place.write("bad.aml", "aml 1\n\nconst width: int = nothing_of_that_name\n")
    place.aml("run", bad, code=1)
    check_equal(sorted(p.name for p in place.folder.iterdir()), ["bad.aml"], "the current folder's content")


if __name__ == "__main__":
    sys.exit(main([runs_everything_then_nothing, deploys_what_can_be_deployed, changed_data_trains_again_but_does_not_build,
                   changed_source_does_everything_again, lost_result_is_made_again, options_go_to_the_training,
                   results_go_to_another_folder, own_step_has_no_predictions,
                   mistakes_stop_at_once]))
