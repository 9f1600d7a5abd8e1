#!/usr/bin/env python3
"""Killed, resumed, damaged: a run ends in the same bytes as one that was never interrupted."""
import random
import shutil
import sys
import time

from harness import DIGITS, check, check_equal, check_in, checkpoints, killed_and_resumed, main

KILLS = 20


def final_files(folder):
    last = checkpoints(folder)[-1]
    return {name: (last / name).read_bytes() for name in ("weights.safetensors", "optimizer.safetensors")}, last.name


def killed_at_random_moments(place):
    """kill -9 at 20 random moments, resumed each time."""
    program = place.build_digits()
    whole, killed = place.folder / "whole", place.folder / "killed"
    whole.mkdir(), killed.mkdir()
    start = time.monotonic()
    place.run(program, "train", "--quiet", cwd=whole)
    length = time.monotonic() - start

    def finished():
        check_equal(final_files(killed), final_files(whole), "the end of a run that was killed")
        shutil.rmtree(killed / "runs")

    def saved():
        return list(killed.glob("runs/digits_mlp/*/checkpoints/step-*"))

    killed_and_resumed([program, "train", "--quiet"], killed, saved, finished, length, KILLS, random.Random(20))
    check(final_files(killed) == final_files(whole), "the killed run ends in other bytes")


def finished_training_has_nothing_to_resume(place):
    program = place.build_digits()
    place.run(program, "train", "--quiet")
    before = final_files(place.folder)
    place.run(program, "train", "--resume", "--quiet")
    check(final_files(place.folder) == before, "resuming a finished run changes it")


def trained(place, *options):
    program = place.build_digits("digits", *options)
    place.run(program, "train", "--quiet", "--steps", 100)
    return program, checkpoints(place.folder)


def truncated_checkpoint_is_reported_and_the_previous_used(place):
    program, saved = trained(place)
    check(len(saved) >= 2, f"{len(saved)} checkpoints are kept")
    weights = saved[-1] / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    done = place.run(program, "train", "--resume", "--steps", 120)
    check_in(saved[-1].name, done.err)
    check_in(saved[-2].name.lstrip("step-").lstrip("0"), done.err)


def flipped_bit_is_reported_and_the_previous_used(place):
    for name in ("weights.safetensors", "optimizer.safetensors", "state.json"):
        shutil.rmtree(place.folder / "runs", ignore_errors=True)
        program, saved = trained(place)
        path = saved[-1] / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
        done = place.run(program, "train", "--resume", "--steps", 120)
        check_in(saved[-1].name, done.err)
        check_in(name, done.err)


def evaluation_reports_a_damaged_checkpoint(place):
    program, saved = trained(place)
    for folder in saved:
        (folder / "weights.safetensors").write_bytes(b"not a checkpoint")
    done = place.run(program, "evaluate", code=1)
    check_in("weights.safetensors", done.err)


def checkpoint_of_another_model_is_refused(place):
    trained(place, "-D", "hidden=16")
    other = place.build_digits("other", "-D", "hidden=32")
    for command in (("evaluate",), ("train", "--resume")):
        done = place.run(other, *command, code=1)
        check_in("fc1", done.err)
        check_in("16", done.err)
        check_in("32", done.err)


def changed_data_is_refused(place):
    shutil.copytree(DIGITS, place.folder / "copy")
    place.aml("build", "digits.aml", cwd=place.folder / "copy")
    program = place.folder / "copy/digits"
    place.run(program, "train", "--quiet", "--steps", 60)
    data = place.folder / "copy/data/digits.csv"
    data.write_text(data.read_text().replace("0,0,5,13", "0,0,6,13", 1))
    check_in("data", place.run(program, "train", "--resume", code=1).err)


def nothing_to_resume_is_told(place):
    program = place.build_digits()
    check_in("digits_mlp", place.run(program, "train", "--resume", code=1).err)
    check_in("digits_mlp", place.run(program, "evaluate", code=1).err)


if __name__ == "__main__":
    sys.exit(main([killed_at_random_moments, finished_training_has_nothing_to_resume,
                   truncated_checkpoint_is_reported_and_the_previous_used, flipped_bit_is_reported_and_the_previous_used,
                   evaluation_reports_a_damaged_checkpoint, checkpoint_of_another_model_is_refused, changed_data_is_refused,
                   nothing_to_resume_is_told]))
