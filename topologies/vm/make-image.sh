#!/bin/bash
# Makes kernel and initrd of a small VM from Debian packages: build/vm/vmlinuz and build/vm/initrd.gz.
# Needs apt-get, dpkg-deb, cpio, gzip (and xz where Debian compresses modules); no root. Does nothing when nothing
# has changed; --force makes it anew, which also takes a newer kernel.
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")" && pwd)
out=${WEFT_VM_DIR:-$here/../../build/vm}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# What the guest needs beyond the kernel itself; what these depend on comes with them.
modules="virtio_pci virtio_net"

stamp=$(cat "$here/make-image.sh" "$here/init" | sha256sum | cut -d' ' -f1)
if [ "${1:-}" != --force ] && [ -s "$out/vmlinuz" ] && [ -s "$out/initrd.gz" ] &&
    [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
    echo "VM image is up to date: $out"
    exit 0
fi

fail() {
    echo "make-image.sh: $*" >&2
    exit 1
}
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || fail "needs Debian on amd64"
for tool in apt-get apt-cache dpkg-deb cpio gzip; do
    command -v "$tool" >/dev/null || fail "needs $tool (cargo xtask ci installs it)"
done

work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# apt's own lists where there are some, else lists of our own, which need no root.
apt_options=()
kernel_package() {
    { apt-cache "${apt_options[@]}" depends linux-image-cloud-amd64 2>/dev/null || true; } |
        sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\).*/\1/p' | head -n 1
}
own_lists() {
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    apt_options=(-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache")
    apt-get "${apt_options[@]}" --quiet update >&2
}
download() {
    apt-get "${apt_options[@]}" --quiet -o APT::Sandbox::User=root download "$@"
}
kernel=$(kernel_package)
if [ -z "$kernel" ]; then
    own_lists
    kernel=$(kernel_package)
fi
[ -n "$kernel" ] || fail "apt knows no linux-image-cloud-amd64: is a Debian mirror in its sources?"
download "$kernel" busybox-static || {
    # The lists are older than the mirror.
    own_lists
    kernel=$(kernel_package)
    download "$kernel" busybox-static
}

for package in ./*.deb; do
    dpkg-deb --extract "$package" root
done
cp root/boot/vmlinuz-* vmlinuz

mkdir -p initrd/bin initrd/lib/modules initrd/proc initrd/sys initrd/dev initrd/tmp initrd/run initrd/www
cp "$(find root -type f -path '*/bin/busybox' | head -n 1)" initrd/bin/busybox
cp "$here/init" initrd/init
chmod 755 initrd/init initrd/bin/busybox
builtin=$(find root -name modules.builtin | head -n 1)
n=0
# Adds a module after all that it depends on, numbered in the order in which they must be loaded.
add_module() {
    local name=${1//-/_} file dependency
    ! compgen -G "initrd/lib/modules/*-$name.ko" >/dev/null || return 0
    file=$(find root -name '*.ko*' | grep -E "/${name//_/[-_]}\.ko(\.xz)?\$" | head -n 1 || true)
    if [ -z "$file" ]; then
        grep -Eq "/${name//_/[-_]}\.ko\$" "$builtin" || fail "$kernel has no module $name"
        return 0
    fi
    case $file in
    *.xz) xz -dc "$file" >"$name.ko" ;;
    *) cp "$file" "$name.ko" ;;
    esac
    for dependency in $(tr '\0' '\n' <"$name.ko" | sed -n 's/^depends=//p' | tr , ' '); do
        add_module "$dependency"
    done
    n=$((n + 1))
    mv "$name.ko" "$(printf 'initrd/lib/modules/%02d-%s.ko' "$n" "$name")"
}
for module in $modules; do
    add_module "$module"
done
(cd initrd && find . | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible) |
    gzip -n -9 >initrd.gz

mv vmlinuz initrd.gz "$out/"
echo "$stamp" >"$out/stamp"
echo "$kernel" >"$out/kernel"
echo "made $out/vmlinuz ($kernel) and $out/initrd.gz"
