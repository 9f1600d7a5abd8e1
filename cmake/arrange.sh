#!/usr/bin/env bash
# arrange.sh BOLT MERGE BUILD SOURCE: replaces BUILD/amlc by BUILD/arranged/amlc_movable with its code arranged (cmake/arrange.cmake).
set -euo pipefail
bolt=$1 merge=$2 build=$3 source=$4
cd "$build/arranged"
rm -rf counted counts.* merged programs log
mkdir programs

quiet() {
    "$@" > log 2>&1 || { tail -40 log >&2; exit 1; }
}

echo "counting what amlc runs when it builds programs"
quiet "$bolt" amlc_movable -instrument -instrumentation-file="$PWD/counts" -instrumentation-file-append-pid -o counted
export AML_RUNTIME=$build/libaml_runtime.a
for program in examples/digits/digits tests/bench/networks/lenet tests/bench/networks/gpt; do
    quiet ./counted build --no-cache "$source/$program.aml" -o programs/out
done
quiet ./counted check "$source/tests/bench/networks/lstm.aml"
quiet "$merge" counts.*.fdata -o merged

echo "arranging its code"
quiet "$bolt" amlc_movable -o amlc -data=merged -reorder-blocks=ext-tsp -reorder-functions=cdsort -split-functions -split-all-cold -icf=1 \
    -use-gnu-stack
quiet ./amlc --version
mv amlc "$build/amlc"
rm -rf counted counts.* merged programs log
touch done      # newer than amlc: it is arranged
