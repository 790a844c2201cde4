#!/usr/bin/env bash
# Has the real TensorBoard read what `--tensorboard` writes, and compares every scalar with the run's metrics.jsonl.
# Python and pip are needed; TensorBoard goes into an environment that is thrown away.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet install tensorboard
for model in resnet stochastic; do
    cargo run --locked --quiet -- train --model "$model" --arch resnet8 --device cpu --batch-size 16 --steps 20 \
        --eval-every 5 --test-every 10 --validation 100 --record gradients --tensorboard --quiet --out "$folder/runs/$model"
done
"$folder/venv/bin/python" scripts/tensorboard-reader.py "$folder/runs/resnet" "$folder/runs/stochastic"
