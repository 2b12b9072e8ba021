//! What a lab needs to be allowed, checked before anything is made; and the namespaces an ordinary user may enter.

use anyhow::{Context, bail};
use caps::{CapSet, Capability};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const NEEDED: [Capability; 3] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_SYS_ADMIN, Capability::CAP_NET_RAW];

/// The needed capabilities this process does not have.
pub fn missing() -> Vec<String> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    NEEDED
        .into_iter()
        .filter(|capability| !has(*capability))
        .map(|capability| capability.to_string())
        .collect()
}

/// Refuses with one sentence that says what is missing and how to get it.
pub fn check(what: &str) -> anyhow::Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "{what} needs {}, which this process does not have: run it as root (`sudo weft ...`), or in a user namespace of its own (`weft up FILE --userns`), or try `weft demo`",
        list(&missing)
    )
}

fn list(words: &[String]) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Moves this process into network and mount namespaces of its own, and into a user namespace where privilege is
/// missing. `/run` is empty there, so nothing outside can be met or left behind. To be called before any thread starts.
pub fn enter_private() -> anyhow::Result<()> {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if missing().is_empty() {
        unshare(spaces).context("cannot enter a network namespace")?;
    } else {
        unshare(spaces | CloneFlags::CLONE_NEWUSER).context(
            "neither privileged nor allowed to enter a user namespace: run as root, or allow user namespaces \
             (`sysctl kernel.unprivileged_userns_clone=1`, `sysctl user.max_user_namespaces=1000`)",
        )?;
        // user_namespaces(7): a group map needs setgroups to be denied first.
        std::fs::write("/proc/self/setgroups", "deny").context("cannot deny setgroups")?;
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context("cannot map the user")?;
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("cannot map the group")?;
    }
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("cannot make mounts private")?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none)
        .context("cannot mount a tmpfs on /run")?;
    // /sys shows the network namespace of whoever mounted it. Without it only `ls /sys/class/net` is wrong.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none);
    netio::link::blocking(None, async |netlink| netlink.set_up("lo").await)
        .context("cannot bring loopback up")?;
    Ok(())
}
