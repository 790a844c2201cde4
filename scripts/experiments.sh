#!/usr/bin/env bash
# Makes the runs that docs/experiments/README.md speaks of: all, or those of the experiments named. What has ended is
# not repeated, and what was stopped goes on, so that it can be called again and again. Some hours on two cores.
#
#     scripts/experiments.sh FOLDER FASHION [NAME...]    FASHION: a folder with Fashion-MNIST's four IDX files
#     scripts/experiments.sh --unpack [--from PACKED] FOLDER [NAME...]
#                                                        puts the runs of docs/experiments where they were made
#     scripts/experiments.sh --pack FOLDER [NAME...]     packs what is new into FOLDER/packed and docs/experiments
#
# docs/experiments holds the settings and the summary of each run, and the SHA-256 sums of its raw files: metrics,
# times, predictions. The raw files themselves come from a folder that --pack has made, where --from names one, else
# from the history of this repository; each is checked against its sum.
#
# sdgpu is taken from target/release, or from SDGPU; flags for all runs from SDGPU_FLAGS (default: --device cpu).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
sdgpu=$(realpath -m "${SDGPU:-$root/target/release/sdgpu}")
flags=${SDGPU_FLAGS:---device cpu}
all="depth trace thresholds statistics gates mnist fashion longer sweep notebook"
kept=$root/docs/experiments
sums=$kept/SHA256SUMS
raw="metrics.jsonl timing.jsonl predictions.csv"
# Its docs/experiments holds the raw files of the runs of November 2026, each as FILE.xz.
archive=36ff1b04489e4438a432c865f82efd0cf9c15a61

fail() {
    echo "experiments.sh: $*" >&2
    exit "${status:-1}"
}

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
        train "trace/$model" --preset notebook --steps 20 --record trace --model "$model"
    done
}

# The notebook's net and steps with other survival probabilities, at a sixth of its batch.
thresholds() {
    local run="--preset notebook --batch-size 64 --eval-batch 64 --test-every 250"
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
                train "statistics/recalibrate$batches-$model-seed$seed" --preset notebook --arch resnet14 --batch-size 128 \
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
            train "notebook/$model-seed$seed" --preset notebook --test-every 25 --record gradients --model "$model" \
                --seed "$seed"
        done
    done
}

# Prints the line that docs/experiments/SHA256SUMS has for the raw file $1, or nothing.
listed() {
    awk -v path="$1" '$2 == path' "$sums"
}

# Packs the runs of the experiment $1 that have ended and are not in docs/experiments as they are.
pack() {
    local run name file new shown=
    for run in "$1"/*/; do
        name=$1/$(basename "$run")
        if [ ! -e "$name/summary.json" ]; then continue; fi
        rm -rf "packed/$name"
        mkdir -p "packed/$name"
        cp "$name/metrics.jsonl" "packed/$name"
        # Digits that say nothing fill most of a packed file: times to 10 microseconds, probabilities to 4 digits.
        sed -E 's/("seconds":[0-9]+\.[0-9]{5})[0-9]*/\1/; s/("images_per_second":[0-9]+)\.[0-9]*/\1/' \
            "$name/timing.jsonl" >"packed/$name/timing.jsonl"
        sed -E 's/(,[0-9]+\.[0-9]{4})[0-9]*$/\1/' "$name/predictions.csv" >"packed/$name/predictions.csv"
        new=no
        for file in $raw; do
            if [ "$(cd packed && sha256sum "$name/$file")" != "$(listed "$name/$file")" ]; then new=yes; fi
        done
        if [ $new = no ]; then
            rm -r "packed/$name"
            continue
        fi
        mkdir -p "$kept/$name"
        cp "$name/summary.json" "$kept/$name"
        # Where the data lies on this machine is nobody's business.
        sed "s#^data = \"$PWD/#data = \"#" "$name/config.toml" >"$kept/$name/config.toml"
        {
            awk -v folder="$name/" 'index($2, folder) != 1' "$sums"
            for file in $raw; do (cd packed && sha256sum "$name/$file"); done
        } | LC_ALL=C sort -k 2 >packed/SHA256SUMS
        mv packed/SHA256SUMS "$sums"
        for file in $raw; do xz "packed/$name/$file"; done
        echo "packed $name"
    done
    rmdir "packed/$1" packed 2>/dev/null || true
    # The figures that the README shows.
    case $1 in
        fashion) shown=accuracy ;;
        statistics) shown=variance ;;
        sweep) shown=survival ;;
    esac
    if [ -n "$shown" ] && [ -d "$1" ]; then
        "$sdgpu" report "$1" >/dev/null
        cp "$1/figures/$shown.svg" "$kept/figures/$1-$shown.svg"
    fi
}

# Prints the raw file $1 of a run.
read_raw() {
    if [ -n "$from" ] && [ -e "$from/$1.xz" ]; then
        xz -dc "$from/$1.xz"
    else
        git -C "$root" show "$archive:docs/experiments/$1.xz" 2>/dev/null | xz -dc 2>/dev/null
    fi
}

# Puts those runs of the experiment $1 that docs/experiments has where they would have been made.
unpack() {
    local run name file part
    for run in "$kept/$1"/*/; do
        name=$1/$(basename "$run")
        if [ ! -e "$run/summary.json" ] || [ -e "$name" ]; then continue; fi
        # A run that is not complete must not look like one.
        part=$1/.unpacking
        rm -rf "$part"
        mkdir -p "$part"
        cp "$run"/{config.toml,summary.json} "$part"
        for file in $raw; do
            if ! read_raw "$name/$file" >"$part/$file"; then
                fail "there is no $name/$file, neither in commit $archive nor in ${from:-a folder given by --from}"
            fi
            if [ "$(sha256sum <"$part/$file" | cut -d' ' -f1)" != "$(listed "$name/$file" | cut -d' ' -f1)" ]; then
                fail "$name/$file is not what docs/experiments/SHA256SUMS says"
            fi
        done
        # Series hold the settings of runs that have ended against their own, which name the data from the root.
        sed -i "s#^data = \"fashion-mnist\"#data = \"$PWD/fashion-mnist\"#" "$part/config.toml"
        mv "$part" "$name"
    done
}

# Ends the script where neither the history nor a folder can give the raw files.
need_archive() {
    if [ -n "$from" ] || git -C "$root" cat-file -e "$archive^{commit}" 2>/dev/null; then return; fi
    if [ "$(git -C "$root" rev-parse --is-shallow-repository 2>/dev/null)" = true ]; then
        fail "this clone is shallow and lacks the raw runs, which are in its history: git fetch --unshallow"
    fi
    fail "the raw runs are in commit $archive, which is not here; use a clone of the repository with its history"
}

job=make
case "${1:-}" in
    --pack | --unpack)
        job=${1#--}
        shift
        ;;
esac
from=
if [ $job = unpack ] && [ "${1:-}" = --from ]; then
    from=$(realpath -e "${2:?--from needs a folder}")
    shift 2
fi
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
        *) status=2 fail "no experiment is called $name; there are: $all" ;;
    esac
done
if [ $job = unpack ]; then need_archive; fi
# shellcheck disable=SC2086
for name in ${@:-$all}; do
    if [ $job = make ]; then "$name"; else $job "$name"; fi
done
