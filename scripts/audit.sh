#!/usr/bin/env bash
# Checks the dependencies: known vulnerabilities, licences, duplicates and sources, by the rules in deny.toml.
# Arguments are the checks to run (advisories, licenses, bans, sources); without any, all four. The advisories need the
# network: their database is fetched from GitHub. Installs cargo-deny where it is missing, which takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
exec cargo deny check "$@"
