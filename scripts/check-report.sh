#!/usr/bin/env bash
# Has a real browser show a report: in light and in dark, on a desk and on a phone. Nothing may be fetched, nothing may
# be wrong on the console, and nothing may stick out of the page. Arguments: a report.html, or none to make one of a
# small comparison; and the folder for the screenshots. Chromium and Python are needed.
set -euo pipefail
page=${1:+$(realpath "$1")}
shots=$(realpath -m "${2:-$(dirname "$0")/../target/report}")
cd "$(dirname "$0")/.."

chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$chromium" ]; then
    echo "scripts/check-report.sh: no Chromium found; install it (on Debian apt-get install chromium)," \
        "or set CHROMIUM" >&2
    exit 1
fi
if [ -z "$page" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cargo run --locked --quiet --release -- compare --preset notebook --arch resnet8 --device cpu \
        --batch-size 16 --eval-batch 100 --steps 80 --test-every 20 --record gradients --seeds 2 --quiet --out "$folder/runs"
    page="$folder/runs/report.html"
fi
mkdir -p "$shots"
python3 scripts/report-browser.py "$chromium" "$page" "$shots"
