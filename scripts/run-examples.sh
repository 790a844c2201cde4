#!/usr/bin/env bash
# Runs every program in examples/ to its end, in a folder that is thrown away. Arguments go to `cargo run`:
# `--profile test` runs what `cargo test` has built anyway; without any, --release.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

shopt -s nullglob
for example in "$root"/examples/*.rs; do
    name=$(basename "$example" .rs)
    echo "run-examples.sh: $name" >&2
    cargo run --manifest-path "$root/Cargo.toml" --locked --quiet "${@:---release}" --example "$name"
done
