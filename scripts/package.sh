#!/usr/bin/env bash
# Builds sdgpu for a target and packs it with its documents: target/packages/sdgpu-VERSION-TARGET.tar.gz, with the
# SHA-256 sum beside it. Without an argument, for the machine at hand.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
name=sdgpu-$version-$target
binary=target/$target/release/sdgpu
case $target in *windows*) binary=$binary.exe ;; esac

if command -v rustup >/dev/null; then rustup target add "$target"; fi
cargo build --release --locked --target "$target"

folder=target/packages/$name
rm -rf "$folder"
mkdir -p "$folder"
cp "$binary" README.md CHANGELOG.md SECURITY.md LICENSE-APACHE LICENSE-MIT "$folder"
case $target in
    *windows*)
        # wgpu finds DXC beside the binary; without it, it takes FXC, which spends seconds on each convolution.
        dxc=$(scripts/find-dxc.sh)
        cp "$dxc/dxcompiler.dll" "$folder"
        ;;
esac
cd target/packages
tar -czf "$name.tar.gz" "$name"
rm -rf "$name"
# macOS has the other of the two.
{ sha256sum "$name.tar.gz" 2>/dev/null || shasum -a 256 "$name.tar.gz"; } >"$name.tar.gz.sha256"
echo "target/packages/$name.tar.gz"
