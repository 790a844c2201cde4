#!/usr/bin/env bash
# Makes the runs that docs/experiments/README.md speaks of: all, or those of the experiments named. What has ended is
# not repeated, and what was stopped goes on, so that it can be called again and again. Some hours on two cores.
#
#     scripts/experiments.sh FOLDER FASHION [NAME...]       FASHION: a folder with the four IDX files of Fashion-MNIST
#     scripts/experiments.sh --pack FOLDER [NAME...]        packs what has ended into docs/experiments
#     scripts/experiments.sh --unpack FOLDER [NAME...]      the other way round, so that another machine can go on
#
# sdgpu is taken from target/release, or from SDGPU; flags for all runs from SDGPU_FLAGS (default: --device cpu).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
sdgpu=$(realpath -m "${SDGPU:-$root/target/release/sdgpu}")
flags=${SDGPU_FLAGS:---device cpu}
all="depth trace thresholds statistics gates mnist fashion longer sweep notebook"

# A run in the folder $1, with the flags that follow.
train() {
    local out=$1
    shift
    if [ -e "$out/summary.json" ]; then return; fi
    if [ -e "$out/config.toml" ]; then
        "$sdgpu" train --resume "$out" --quiet --no-report
    else
        # shellcheck disable=SC2086 # flags are words
        "$sdgpu" train "$@" $flags --quiet --no-report --out "$out"
    fi
}

# Runs of both nets, each in a folder of its own below $1.
pair() {
    local out=$1
    shift
    train "$out-resnet" "$@" --model resnet
    train "$out-stochastic" "$@" --model stochastic
}

depth() {
    for arch in resnet56 resnet110; do
        pair "depth/$arch" --arch "$arch" --data fashion-mnist --steps 400 --record gradients
    done
}

# The notebook's first steps, for scripts/replay-pytorch.py.
trace() {
    for model in resnet stochastic; do
        train "trace/$model" --preset seed --steps 20 --record trace --model "$model"
    done
}

# The notebook's net and steps with other survival probabilities, at a sixth of its batch.
thresholds() {
    local run="--preset seed --batch-size 64 --eval-batch 64 --test-every 250"
    for last in .2 .4 .6 .8; do
        # shellcheck disable=SC2086
        train "thresholds/stochastic-$last" $run --model stochastic --survival-last "$last"
    done
    # shellcheck disable=SC2086
    train thresholds/resnet $run --model resnet
}

# Gates or none, batch norm's statistics as they are or estimated anew for each test.
statistics() {
    for seed in 0 1 2 3 4; do
        for batches in 0 10; do
            for model in resnet stochastic; do
                train "statistics/recalibrate$batches-$model-seed$seed" --preset seed --arch resnet14 --batch-size 128 \
                    --eval-batch 400 --eval-every 5 --test-every 50 --bn-recalibrate "$batches" --model "$model" \
                    --seed "$seed"
            done
        done
    done
}

gates() {
    for seed in 0 1 2 3 4; do
        for rule in independent systematic; do
            train "gates/$rule-seed$seed" --arch resnet20 --data fashion-mnist --epochs 2 --eval-every 40 \
                --test-every 200 --model stochastic --survival-last .5 --gate-sampling "$rule" --seed "$seed"
        done
    done
}

# Five seeds of both nets.
# shellcheck disable=SC2086
mnist() {
    "$sdgpu" compare --arch resnet8 --epochs 10 --seeds 5 --evaluate-on validation --eval-every 120 --test-every 860 \
        $flags --quiet --no-report --out mnist
}

# shellcheck disable=SC2086
fashion() {
    "$sdgpu" compare --arch resnet8 --data fashion-mnist --epochs 10 --seeds 5 --evaluate-on validation \
        --eval-every 120 --test-every 860 $flags --quiet --no-report --out fashion
}

longer() {
    pair longer/resnet20 --arch resnet20 --data fashion-mnist --epochs 10 --test-every 860
}

# shellcheck disable=SC2086
sweep() {
    "$sdgpu" sweep --arch resnet14 --data fashion-mnist --epochs 3 --survival linear,uniform \
        --survival-last .2,.4,.6,.8,1 --seeds 2 $flags --quiet --no-report --out sweep
}

# The notebook at full size; minutes on a large GPU, an hour for each seed on two cores.
notebook() {
    for seed in 0 1 2 3 4; do
        for model in resnet stochastic; do
            train "notebook/$model-seed$seed" --preset seed --test-every 25 --record gradients --model "$model" \
                --seed "$seed"
        done
    done
}

# Copies those runs of the experiment $1 that have ended, without their weights, writes a report about them, and packs
# what is long.
pack() {
    local run copy shown to=$root/docs/experiments/$1
    for run in "$1"/*; do
        if [ ! -e "$run/summary.json" ]; then continue; fi
        copy=$to/${run##*/}
        rm -rf "$copy"
        mkdir -p "$copy"
        cp "$run"/{summary.json,metrics.jsonl} "$copy"
        # Digits that say nothing fill most of a packed file: times to 10 microseconds, probabilities to 4 digits.
        sed -E 's/("seconds":[0-9]+\.[0-9]{5})[0-9]*/\1/; s/("images_per_second":[0-9]+)\.[0-9]*/\1/' \
            "$run/timing.jsonl" >"$copy/timing.jsonl"
        sed -E 's/(,[0-9]+\.[0-9]{4})[0-9]*$/\1/' "$run/predictions.csv" >"$copy/predictions.csv"
        # Where the data lies on this machine is nobody's business.
        sed "s#^data = \"$PWD/#data = \"#" "$run/config.toml" >"$copy/config.toml"
    done
    if [ ! -e "$to" ]; then return; fi
    # Runs that were packed before and are not in this folder stay.
    find "$to" -name '*.xz' -exec xz -d {} +
    "$sdgpu" report "$to"
    # Of the figures, which the page holds as well, only those that the README shows stay.
    case $1 in
        fashion) shown=accuracy ;;
        statistics) shown=variance ;;
        sweep) shown=survival ;;
        *) shown= ;;
    esac
    if [ -n "$shown" ]; then
        mkdir -p "$root/docs/experiments/figures"
        cp "$to/figures/$shown.svg" "$root/docs/experiments/figures/$1-$shown.svg"
    fi
    rm -rf "$to/figures"
    find "$to" \( -name '*.jsonl' -o -name predictions.csv \) -exec xz {} +
}

# Puts those runs of the experiment $1 that docs/experiments has where they would have been made.
unpack() {
    local run to from=$root/docs/experiments/$1
    for run in "$from"/*/; do
        to=$1/$(basename "$run")
        if [ ! -e "$run/summary.json" ] || [ -e "$to" ]; then continue; fi
        mkdir -p "$1"
        cp -r "$run" "$to"
        xz -d "$to"/*.xz
        # Series hold the settings of runs that have ended against their own, which name the data from the root.
        sed -i "s#^data = \"fashion-mnist\"#data = \"$PWD/fashion-mnist\"#" "$to/config.toml"
    done
}

job=make
case "${1:-}" in
    --pack | --unpack)
        job=${1#--}
        shift
        ;;
esac
folder=${1:?a folder for the runs is needed}
shift
mkdir -p "$folder"
if [ $job = make ]; then
    fashion_mnist=$(realpath "${1:?the folder of Fashion-MNIST is needed}")
    shift
    # A name without a path, as it is kept in each run's settings.
    ln -sfn "$fashion_mnist" "$folder/fashion-mnist"
fi
cd "$folder"
for name in "${@:-}"; do
    case " $all " in
        *" ${name:-$all} "*) ;;
        *) echo "experiments: no experiment is called $name; there are: $all" >&2; exit 2 ;;
    esac
done
# shellcheck disable=SC2086
for name in ${@:-$all}; do
    if [ $job = make ]; then "$name"; else $job "$name"; fi
done
