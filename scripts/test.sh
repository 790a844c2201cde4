#!/usr/bin/env bash
# Runs the tests; arguments go to `cargo test`.
# The shader tests need a graphics adapter. On Linux, where no Vulkan driver is found, this installs Mesa's software
# one first if the system is Debian-like, and says what to install if not. macOS and Windows bring what is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

has_vulkan() {
    # The loader is told where its drivers are.
    [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && return 0
    PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -F libvulkan.so.1 >/dev/null || return 1
    has_driver 'lvp_icd*' && return 0
    # A driver for hardware is of use only where there is some: images for CUDA bring one everywhere.
    has_driver '*' && { [ -e /dev/nvidia0 ] || compgen -G '/dev/dri/renderD*' >/dev/null; }
}

# Whether a Vulkan driver of that name is installed.
has_driver() {
    local folder
    for folder in /usr/share /usr/local/share /etc; do
        compgen -G "$folder/vulkan/icd.d/$1.json" >/dev/null && return 0
    done
    return 1
}

if [ "$(uname -s)" = Linux ] && ! has_vulkan; then
    if ! command -v apt-get >/dev/null; then
        echo "scripts/test.sh: no Vulkan driver found; install Mesa's software driver" \
            "(on Fedora mesa-vulkan-drivers and vulkan-loader, on Arch vulkan-swrast and vulkan-icd-loader) and try again" >&2
        exit 1
    fi
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    echo "scripts/test.sh: no Vulkan driver found; installing Mesa's software driver" >&2
    $sudo apt-get update
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y mesa-vulkan-drivers
fi

exec cargo test --locked "$@"
