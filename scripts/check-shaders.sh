#!/usr/bin/env bash
# Checks every variant of every shader with the compilers and drivers of machines that are not here, and prints a table.
# docs/portability.md says what each checker proves.
#
#     scripts/check-shaders.sh [--install] [CHECKER...]
#
# Without names, the checkers run that this machine has; the others are listed with what they lack. A checker that is
# named must run. --install gets what is missing: Debian's packages system-wide (asking sudo), the rest below target/.
#
# Every checker is first given a seeded fault, and counts as broken if it lets that pass. The exit code is 1 if a
# checker refuses a shader, lets a seeded fault pass, or does not come to its end; 2 if one that was named cannot run.
set -euo pipefail
cd "$(dirname "$0")/.."

all="naga spirv-val tint dxc fxc metal lavapipe swiftshader dawn"
here=$PWD/scripts/shader-checks
work=$PWD/target/shader-checks
texts=$work/texts
rows=$work/rows
results=$work/results
webgpu=0.6.2 # of npm: Dawn, with Tint, DXC and FXC

say() {
    echo "check-shaders: $*" >&2
}

# --- What each checker needs: prints what is missing, and nothing if it can run.

missing_naga() { :; }

missing_spirv_val() { missing_program spirv-val spirv-as; }

missing_tint() {
    missing_program node
    missing_webgpu
}

missing_dxc() {
    missing_program x86_64-w64-mingw32-gcc
    wine >/dev/null || echo wine64
    missing_webgpu
}

missing_fxc() { missing_dxc; }

missing_metal() {
    xcrun -sdk macosx -f metal >/dev/null 2>&1 || echo "Xcode's Metal compiler (macOS only)"
}

missing_lavapipe() {
    lavapipe >/dev/null || echo "Mesa's lavapipe"
}

missing_swiftshader() {
    [ -e "$(swiftshader)" ] || echo SwiftShader
}

missing_dawn() {
    missing_tint
    missing_swiftshader
}

missing_program() {
    local program
    for program; do command -v "$program" >/dev/null || echo "$program"; done
}

missing_webgpu() {
    [ -e "$work/node_modules/webgpu/package.json" ] || echo "npm's webgpu"
}

# --- Where things are.

wine() {
    command -v wine64 || { [ -x /usr/lib/wine/wine64 ] && echo /usr/lib/wine/wine64; }
}

lavapipe() {
    local folder
    for folder in /usr/share /usr/local/share /etc; do
        compgen -G "$folder/vulkan/icd.d/lvp_icd*.json" && return 0
    done
    return 1
}

swiftshader() {
    echo "$work/swiftshader/usr/lib/chromium/vk_swiftshader_icd.json"
}

# --- How to get it.

install_for() {
    case $1 in
        spirv-val) packages spirv-tools ;;
        tint)
            [ -z "$(missing_program node npm)" ] || packages nodejs npm
            get_webgpu
            ;;
        dxc | fxc)
            packages wine64 gcc-mingw-w64-x86-64
            [ -z "$(missing_program npm)" ] || packages npm
            get_webgpu
            ;;
        lavapipe) packages mesa-vulkan-drivers ;;
        swiftshader) packages libvulkan1; get_swiftshader ;;
        dawn)
            [ -z "$(missing_tint)" ] || install_for tint
            [ -z "$(missing_swiftshader)" ] || install_for swiftshader
            ;;
    esac
}

# Installs packages of Debian; returns without a word where there is no apt-get.
packages() {
    command -v apt-get >/dev/null || return 0
    local sudo
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    say "installing $*"
    $sudo apt-get update -qq >&2
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2
}

get_webgpu() {
    say "getting npm's webgpu $webgpu"
    npm install --prefix "$work" --no-save --no-package-lock --no-audit --no-fund --ignore-scripts "webgpu@$webgpu" >&2
}

# Debian ships SwiftShader in chromium-common, which is unpacked, not installed.
get_swiftshader() {
    command -v apt-get >/dev/null || return 0
    say "getting SwiftShader"
    local folder
    folder=$(mktemp -d)
    # Downloaded by a user of apt's own, who has to be able to write there.
    chmod 777 "$folder"
    (cd "$folder" && apt-get download -qq chromium-common >&2)
    rm -rf "$work/swiftshader"
    mkdir -p "$work/swiftshader"
    dpkg-deb --fsys-tarfile "$folder"/chromium-common*.deb |
        tar -x -C "$work/swiftshader" --wildcards '*/libvk_swiftshader.so' '*/vk_swiftshader_icd.json'
    rm -rf "$folder"
}

# --- The checkers. Each gets a folder, of shader texts (`dawn`: of rows of the tables) or of seeded faults, and prints
# `# ` and its version, then for each file that it looks at `ok FILE` or `bad FILE MESSAGE`. Those that run shaders
# print for each `run KERNEL ERROR`, the largest error as a share of what is allowed, or `bad KERNEL MESSAGE`.

check_naga() {
    echo "# naga $(sed -n '/^name = "naga"$/{n;s/version = "\(.*\)"/\1/p;}' Cargo.lock | head -1)"
    # The test that wrote the texts has validated and translated each module; its seeded faults are tests too.
    (cd "$1" && ls -- *.wgsl) | sed 's/^/ok /'
}

check_spirv_val() {
    echo "# $(spirv-val --version | head -1 | cut -d' ' -f1-2)"
    local file target message
    for file in "$1"/*.spv; do
        target=vulkan1.3
        case $file in *.vulkan1.0.spv) target=vulkan1.0 ;; esac
        if message=$(spirv-val --target-env "$target" "$file" 2>&1); then
            echo "ok ${file##*/}"
        else
            echo "bad ${file##*/} $(echo "$message" | tr '\n' ' ')"
        fi
    done
}

check_tint() {
    node "$here/tint.mjs" "$1" "$work"
}

check_dxc() {
    check_hlsl dxc dxcompiler.dll "$1"
}

# What release builds hand to it: it takes too long to be asked about the others, too.
check_fxc() {
    check_hlsl fxc d3dcompiler_47.dll "$1" '*.checked.hlsl'
}

# Of the texts in the folder $3, without those called $4. Ones that have passed before are not compiled again.
check_hlsl() {
    local library=$work/node_modules/webgpu/dist/win32-x64/$2 passed
    x86_64-w64-mingw32-gcc -O1 -o "$work/hlsl.exe" "$here/hlsl.c" >&2
    passed=$work/passed/$1-$(cat "$library" "$here/hlsl.c" | sha256sum | cut -c1-16)
    mkdir -p "$work/passed"
    touch "$passed"
    (
        cd "$3"
        find . -name '*.hlsl' ! -name "${4:-}" -printf '%P\n' | sort | xargs sha256sum -- >"$work/hlsl.sums"
        grep -F -f "$passed" "$work/hlsl.sums" | sed 's/.*  \(.*\)/ok \1/' || true
        grep -v -F -f "$passed" "$work/hlsl.sums" | sed 's/.*  //' |
            WINEDEBUG=-all WINEPREFIX=$work/wine "$(wine)" "$work/hlsl.exe" "$1" "$library" 2>/dev/null |
            sed -u 's/\r$//' |
            while read -r verdict file rest; do
                [ "$verdict" != ok ] || sha256sum "$file" | cut -d' ' -f1 >>"$passed"
                echo "$verdict $file $rest"
            done
    )
}

check_metal() {
    echo "# $(xcrun -sdk macosx metal --version | head -1)"
    local file message
    for file in "$1"/*.metal; do
        if message=$(xcrun -sdk macosx metal -x metal -std=macos-metal2.0 -c "$file" -o /dev/null 2>&1); then
            echo "ok ${file##*/}"
        else
            echo "bad ${file##*/} $(echo "$message" | tr '\n' ' ')"
        fi
    done
}

check_lavapipe() {
    check_driver "$(lavapipe | head -1)"
}

# Without the convolutions: SwiftShader's compiler needs more than ten minutes and 20 GB for one of their pipelines.
check_swiftshader() {
    check_driver "$(swiftshader)" --skip agrees_with_the_formula::conv
}

check_dawn() {
    with_driver "$(swiftshader)" node "$here/dawn.mjs" "$1" "$work"
}

# Runs the tables of shader tests. A driver, and more arguments for the test binary.
check_driver() {
    local driver=$1 log=$work/driver.log
    shift
    with_driver "$driver" cargo test --locked --test suite agrees_with_the_formula:: -- --nocapture "$@" \
        >"$log" 2>&1 || true
    awk '/^shaders run on/ { sub(/^shaders run on /, "# "); print }
        / shader  worst error / { print "run", $1, $5 }
        /^test shaders::agrees_with_the_formula::.* FAILED$/ { sub(/.*::/, "", $2); print "bad", $2, "see", file }
        /^test result: ok/ { ended = 1 }
        END { if (!ended) print "bad", "tests", "see", file }
        ' file="$log" "$log"
}

# A driver, and a command to run with no other.
with_driver() {
    # Old loaders know the second variable only.
    VK_DRIVER_FILES=$1 VK_ICD_FILENAMES=$1 "${@:2}"
}

# --- What a checker must refuse: a folder of such files, if it reads files.

seeded() {
    local folder=$work/seeded
    rm -rf "$folder"
    mkdir -p "$folder"
    case $1 in
        spirv-val)
            spirv-as --target-env vulkan1.0 "$here/seeded/store.spvasm" -o "$folder/store.vulkan1.0.spv"
            # A real module that stops in the middle.
            head -c 1024 "$texts/relu.00.checked.vulkan1.0.spv" >"$folder/truncated.vulkan1.0.spv"
            ;;
        tint) cp "$here"/seeded/*.wgsl "$here"/seeded/index.json "$folder" ;;
        dxc | fxc) cp "$here"/seeded/*.hlsl "$folder" ;;
        metal) cp "$here"/seeded/*.metal "$folder" ;;
        dawn) folder=$rows/seeded ;;
        *) return ;;
    esac
    echo "$folder"
}

# --- One checker, start to end: its lines in results/CHECKER, 1 if anything is wrong.

run_checker() {
    local checker=$1 run=check_${1//-/_} lines=$results/$1 start=$SECONDS folder passes given=$texts expected
    folder=$(seeded "$checker")
    if [ -n "$folder" ]; then
        passes=$($run "$folder" | grep -v '^#' | grep -v '^bad ' || true)
        if [ -n "$passes" ]; then
            say "$checker is broken: of the seeded faults, it lets pass: $passes"
            return 1
        fi
    fi
    # A line for each of these.
    case $checker in
        naga | tint) expected=("$texts"/*.wgsl) ;;
        spirv-val) expected=("$texts"/*.spv) ;;
        dxc) expected=("$texts"/*.hlsl) ;;
        fxc) expected=("$texts"/*.trusted.hlsl) ;;
        metal) expected=("$texts"/*.metal) ;;
        dawn) given=$rows/tables expected=(shaders/*.wgsl) ;;
        *) expected=() ;;
    esac
    $run "$given" >"$lines" || {
        say "$checker came to no end"
        return 1
    }
    if [ ${#expected[@]} != 0 ] && [ "$(grep -c -v '^#' "$lines")" != ${#expected[@]} ]; then
        say "$checker did not look at every file"
        return 1
    fi
    if ! grep -q -v '^#' "$lines"; then
        say "$checker looked at nothing"
        return 1
    fi
    say "$checker: $((SECONDS - start)) s"
    if grep '^bad ' "$lines" >&2; then return 1; fi
}

# The table: a row for each shader, a column for each checker; how many texts passed, or the error of what ran.
print_table() {
    awk '
        FNR == 1 { checker = FILENAME; sub(/.*\//, "", checker); checkers[++columns] = checker }
        /^# / { versions[checker] = substr($0, 3); next }
        { shader = $2; sub(/\..*/, "", shader) }
        $1 == "run" { cell[shader, checker] = $3 }
        $1 == "ok" { passed[shader, checker]++; total[shader, checker]++ }
        $1 == "bad" { total[shader, checker]++ }
        !(shader in seen) { seen[shader]; shaders[++rows] = shader }
        END {
            for (c = 1; c <= columns; c++) print checkers[c] ": " versions[checkers[c]]
            printf "\n| shader |"
            for (c = 1; c <= columns; c++) printf " %s |", checkers[c]
            printf "\n|---|"
            for (c = 1; c <= columns; c++) printf "---|"
            for (r = 1; r <= rows; r++) {
                printf "\n| %s |", shaders[r]
                for (c = 1; c <= columns; c++) {
                    key = shaders[r] SUBSEP checkers[c]
                    if (total[key] > passed[key]) printf " **%d of %d** |", passed[key], total[key]
                    else if (total[key]) printf " %d |", total[key]
                    else printf " %s |", cell[key]
                }
            }
            print ""
        }' "$@"
}

# --- The command.

install=no
named=
for argument; do
    case $argument in
        --install) install=yes ;;
        -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0"; exit 0 ;;
        *)
            case " $all " in
                *" $argument "*) named="$named $argument" ;;
                *) say "no checker is called \`$argument\`; there are: $all"; exit 2 ;;
            esac
            ;;
    esac
done

mkdir -p "$work"
checkers=
for checker in ${named:-$all}; do
    missing=missing_${checker//-/_}
    if [ $install = yes ] && [ -n "$($missing)" ]; then install_for "$checker"; fi
    lacks=$($missing | paste -s -d, - | sed 's/,/, /g')
    if [ -z "$lacks" ]; then
        checkers="$checkers $checker"
    else
        say "$checker lacks $lacks"
        # Not every machine can have every checker: Metal's compiler runs on macOS only.
        if [ -n "$named" ]; then exit 2; fi
    fi
done

rm -rf "$results"
mkdir -p "$results"
say "writing the texts of every variant (naga validates and translates them)"
SDGPU_SHADER_TEXTS=$texts cargo test --locked --quiet --test suite lints:: >"$work/naga.log" 2>&1 || {
    cat "$work/naga.log" >&2
    exit 1
}

case " $checkers " in
    *" dawn "*)
        say "writing the rows of every table"
        SDGPU_SHADER_ROWS=$rows cargo test --locked --quiet --test suite shaders::export -- --ignored \
            >"$work/rows.log" 2>&1 || {
            cat "$work/rows.log" >&2
            exit 1
        }
        ;;
esac

status=0
finished=
for checker in $checkers; do
    run_checker "$checker" || status=1
    if [ -s "$results/$checker" ]; then finished="$finished $results/$checker"; fi
done
# shellcheck disable=SC2086 # names without spaces
print_table $finished
exit $status
