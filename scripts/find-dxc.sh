#!/usr/bin/env bash
# Prints the folder of the newest dxcompiler.dll in the Windows SDK (Git's bash on Windows).
set -euo pipefail

kits="/c/Program Files (x86)/Windows Kits/10/bin"
newest=$(find "$kits" -path '*/x64/dxcompiler.dll' 2>/dev/null | sort -V | tail -1)
if [ -z "$newest" ]; then
    echo "scripts/find-dxc.sh: no dxcompiler.dll in $kits; the Windows SDK brings it" >&2
    exit 1
fi
cygpath -w "$(dirname "$newest")"
