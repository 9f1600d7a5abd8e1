#!/usr/bin/env python3
"""The command line of amlc: verbs, options, exit codes, what goes to stdout and what to stderr."""
import json
import os
import subprocess
import sys

from harness import DIGITS, ROOT, check, check_equal, check_in, main, open_terminal

DIGITS_AML = DIGITS / "digits.aml"
VERBS = ["check", "build", "deploy", "run", "report", "expand", "explain", "doctor", "version"]


def help_lists_every_verb(place):
    done = place.aml("--help")
    for verb in VERBS:
        check_in(f"\n  {verb} ", done.out)
    check_equal(done.err, "", "stderr")


def every_verb_has_help(place):
    for verb in VERBS:
        done = place.aml(verb, "--help")
        check_in(f"Usage: amlc {verb}", done.out)
        check_in("Options:", done.out)
        check_equal(done.err, "", "stderr")


def no_verb_is_a_wrong_command_line(place):
    check_in("no verb", place.aml(code=2).err)


def unknown_verb_has_a_suggestion(place):
    done = place.aml("biuld", DIGITS_AML, code=2)
    check_in("unknown verb 'biuld'; did you mean 'build'?", done.err)
    check_equal(done.out, "", "stdout")


def unknown_option_has_a_suggestion(place):
    check_in("unknown option --mesage-format; did you mean --message-format?", place.aml("check", "--mesage-format=json", DIGITS_AML, code=2).err)


def option_of_another_verb_is_refused(place):
    check_in("`amlc check` has no option --output", place.aml("check", "-o", "x", DIGITS_AML, code=2).err)
    check_in("`amlc check` has no option --output", place.aml("-o", "x", "check", DIGITS_AML, code=2).err)


def option_without_its_value(place):
    check_in("--output needs a value: PATH", place.aml("build", DIGITS_AML, "-o", code=2).err)


def value_of_a_flag_is_refused(place):
    check_in("--help takes no value", place.aml("build", "--help=yes", code=2).err)


def wrong_choice_is_answered_with_the_choices(place):
    done = place.aml("check", "--message-format=jsn", DIGITS_AML, code=2)
    check_in("human, short, json, sarif, github", done.err)
    check_in("did you mean 'json'?", done.err)
    check_in("native, x86-64-v2, x86-64-v3, x86-64-v4", place.aml("build", "--target=x86-64-v9", DIGITS_AML, code=2).err)
    check_in("auto, always, never", place.aml("check", "--color=blue", DIGITS_AML, code=2).err)


def wrong_number_of_arguments(place):
    check_in("`amlc build` needs FILE, found 0 arguments", place.aml("build", code=2).err)
    check_in("`amlc deploy` needs FILE NAME, found 1 argument", place.aml("deploy", DIGITS_AML, code=2).err)


def missing_file_is_an_input_error(place):
    check_in("nowhere.aml", place.aml("check", "nowhere.aml", code=1).all)


def check_accepts_the_digits_program(place):
    done = place.aml("check", DIGITS_AML)
    check_equal(done.out, "", "stdout")


def check_takes_several_files(place):
    bad = place.write("bad.aml", "aml 1\n\nconst width: int = nothing_of_that_name\n")
    done = place.aml("check", DIGITS_AML, bad, code=1)
    check_in("bad.aml", done.err)


def missing_data_is_a_note(place):
    text = DIGITS_AML.read_text()
    place.write("alone.aml", text)
    done = place.aml("check", "alone.aml")
    check_in("note", done.err)
    check_in("data/digits.csv", done.err)


def formats_are_what_they_say(place):
    bad = place.write("bad.aml", "aml 1\n\nconst width: int = nothing_of_that_name\n")
    json.loads(place.aml("check", "--message-format=json", bad, code=1).out)
    sarif = json.loads(place.aml("check", "--message-format=sarif", bad, code=1).out)
    check_equal(sarif["version"], "2.1.0", "the SARIF version")
    check_equal(len(sarif["runs"][0]["results"]), 1, "the number of SARIF results")
    check_in("::error ", place.aml("check", "--message-format=github", bad, code=1).out)
    check_in("bad.aml:3:", place.aml("check", "--message-format=short", bad, code=1).err)


def color_is_for_terminals_and_can_be_asked_for(place):
    bad = place.write("bad.aml", "aml 1\n\nconst width: int = nothing_of_that_name\n")
    check("\033[" not in place.aml("check", bad, code=1).err, "color without a terminal")
    check("\033[" in place.aml("check", "--color=always", bad, code=1).err, "no color with --color=always")
    check("\033[" not in place.aml("check", "--color=never", bad, code=1).err, "color with --color=never")


def no_color_is_respected_on_a_terminal(place):
    bad = place.write("bad.aml", "aml 1\n\nconst width: int = nothing_of_that_name\n")
    for environment, expected in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        read_end, write_end = open_terminal()
        base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
        done = subprocess.run([place.amlc, "check", bad], env={**base, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write_end)
        os.close(write_end)
        shown = os.read(read_end, 65536)
        os.close(read_end)
        check_equal(done.returncode, 1, "the exit code")
        check_equal(b"\033[" in shown, expected, f"color with {environment}")


def every_stage_can_be_shown(place):
    for stage, part in (("tokens", "model"), ("ast", "Model"), ("ir", "dot"), ("ir:dce", "dot"), ("llvm", "define"), ("asm", ".text"),
                        ("program", "static const aml_program program")):
        check_in(part, place.aml("build", f"--emit={stage}", DIGITS_AML).out, f"--emit={stage}")


def unknown_stage_or_pass(place):
    check_in("did you mean 'llvm'?", place.aml("build", "--emit=lvm", DIGITS_AML, code=2).err)
    check_in("there is no pass 'dec'", place.aml("build", "--emit=ir:dec", DIGITS_AML, code=2).err)


def printed_ir_is_parsed_back(place):
    place.aml("build", "--emit=ir", "-o", "digits.ir", DIGITS_AML)
    check((place.folder / "digits.ir").stat().st_size > 1000, "the IR text is too short")


def define_sets_a_const(place):
    check_in("hidden = 32", place.aml("expand", "-D", "hidden=32", DIGITS_AML).out)


def define_of_nothing_is_refused(place):
    done = place.aml("check", "-Dhiden=32", DIGITS_AML, code=1)
    check_in("no const of that name", done.err)
    check_in("-D hidden=32", done.err)
    check_in("lr", place.aml("check", "-Dlr=1", DIGITS_AML, code=1).err)
    check_in("-D needs NAME=VALUE", place.aml("check", "-Dhidden", DIGITS_AML, code=2).err)


def expand_tells_where_values_come_from(place):
    out = place.aml("expand", DIGITS_AML).out
    check_in("train digits_mlp {", out)
    check_in("digits.aml:", out)
    check_in("default", out)


def report_in_text_and_json(place):
    out = place.aml("report", DIGITS_AML).out
    check_in("9,610" if "9,610" in out else "9610", out)
    json.loads(place.aml("report", "--json", DIGITS_AML).out)


def explain_knows_codes_and_settings(place):
    check_in("shape", place.aml("explain", "train.clip").out + place.aml("explain", "E0301", code=None).out)
    place.aml("explain", "E9999", code=1)


def list_ops_has_every_row(place):
    rows = [line for line in (ROOT / "kernels/ops.def").read_text().splitlines() if line.startswith("OP(")]
    check_equal(len(place.aml("--list-ops").out.splitlines()), len(rows), "the number of ops")


def doctor_finds_what_is_missing(place):
    check_in("everything that amlc needs is here", place.aml("doctor").out)
    done = place.aml("doctor", env={"AML_CC": "/nowhere/cc"}, code=1)
    check_in("MISSING C compiler", done.out)
    check_in("MISSING libaml_runtime.a", place.aml("doctor", env={"AML_RUNTIME": "/nowhere/runtime.a"}, code=1).out)


def version_is_one_line(place):
    done = place.aml("version")
    check_equal(done.out.count("\n"), 1, "the number of lines")
    check_equal(place.aml("--version").out, done.out, "--version")


if __name__ == "__main__":
    sys.exit(main([help_lists_every_verb, every_verb_has_help, no_verb_is_a_wrong_command_line, unknown_verb_has_a_suggestion,
                   unknown_option_has_a_suggestion, option_of_another_verb_is_refused, option_without_its_value,
                   value_of_a_flag_is_refused, wrong_choice_is_answered_with_the_choices, wrong_number_of_arguments,
                   missing_file_is_an_input_error, check_accepts_the_digits_program, check_takes_several_files, 
                   missing_data_is_a_note, formats_are_what_they_say, color_is_for_terminals_and_can_be_asked_for, no_color_is_respected_on_a_terminal,
                   every_stage_can_be_shown, unknown_stage_or_pass, printed_ir_is_parsed_back, define_sets_a_const,
                   define_of_nothing_is_refused, expand_tells_where_values_come_from, report_in_text_and_json,
                   explain_knows_codes_and_settings, list_ops_has_every_row, doctor_finds_what_is_missing, version_is_one_line]))
