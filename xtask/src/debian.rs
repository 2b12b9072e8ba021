//! Debian packages that the tests need, installed only when missing.

use anyhow::{Context, Result, bail};

use crate::shell::{self, has_program};

/// What the tests need beyond the Rust toolchain: package, and why.
pub const PACKAGES: &[(&str, &str)] = &[
    ("bind9-dnsutils", "dig asks the DNS forwarder"),
    ("bird2", "speaks BGP in the shadow of a router"),
    ("busybox-static", "the VM's userland; ping and nc in the namespaces of tests"),
    ("cpio", "packs the VM's initrd"),
    ("curl", "asks the REST API as the README does"),
    ("frr", "tells routers its routes, peer of the interop tests"),
    ("g++", "links libFuzzer"),
    ("iperf3", "measures TCP between namespaces"),
    ("iproute2", "makes the namespaces of tests"),
    ("nftables", "Linux as a router, beside weft in the same cases"),
    ("openvswitch-switch", "peer of the interop tests"),
    ("python3-dev", "builds parts of FAUCET"),
    ("python3-venv", "holds other people's controllers"),
    ("qemu-system-x86", "runs the VMs"),
    ("tshark", "decodes what weft sends"),
    ("xz-utils", "unpacks kernel modules"),
];

/// Runs as root with the missing packages as arguments. Services must not start: a container has no init to own
/// them, and the tests start their own.
const INSTALL: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made=yes
fi
trap '[ -z "$made" ] || rm -f "$policy"' EXIT
install() { apt-get install --yes --quiet --no-install-recommends -o Dpkg::Use-Pty=0 "$@"; }
install "$@" || { apt-get update --quiet && install "$@"; }
"#;

/// Installs what is missing; does nothing, and needs no privilege, when all is there.
pub fn install_missing() -> Result<()> {
    let all: Vec<&str> = PACKAGES.iter().map(|(package, _)| *package).collect();
    install(&all)?;
    println!("all {} packages are installed", PACKAGES.len());
    Ok(())
}

/// Installs those of `packages` that are missing; silent when all are there.
pub fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !has_program("apt-get") {
        bail!("this machine has no apt-get; install by its own means what Debian calls: {list}");
    }
    let shell_args = ["sh", "-c", INSTALL, "sh"];
    let words: Vec<&str> = match as_root() {
        Some(prefix) => [prefix, &shell_args, &missing].concat(),
        None => bail!(
            "the tests need packages that are missing, and neither root nor a sudo that asks nothing is here; run: \
             sudo apt-get install --no-install-recommends {list}"
        ),
    };
    let status = shell::command(words[0], &words[1..]).status();
    if !status.with_context(|| format!("cannot start {}", words[0]))?.success() {
        bail!("apt-get could not install: {list}");
    }
    Ok(())
}

/// The words that make a command run as root: none as root, sudo where it asks for no password, else `None`.
pub fn as_root() -> Option<&'static [&'static str]> {
    if is_root() {
        return Some(&[]);
    }
    let sudo = shell::command("sudo", &["--non-interactive", "true"]).output();
    sudo.is_ok_and(|output| output.status.success()).then_some(&["sudo", "--non-interactive"])
}

/// Whether the effective user is root.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

fn is_installed(package: &str) -> bool {
    let query =
        shell::command("dpkg-query", &["--show", "--showformat=${db:Status-Status}", package]).output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_sorted_and_named_once() {
        let names: Vec<&str> = PACKAGES.iter().map(|(name, _)| *name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    }

    #[test]
    fn a_package_that_does_not_exist_is_not_installed() {
        assert!(!is_installed("weft-no-such-package"));
    }
}
