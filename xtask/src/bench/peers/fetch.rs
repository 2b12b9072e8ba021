//! Open vSwitch with DPDK as Debian packs it, unpacked beside the build: the machine's own Open vSwitch, which the
//! package would replace by its alternative, stays as it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::ovs::Binary;
use crate::shell;

/// The switch, and the drivers it loads: frames from memory to nowhere.
const PACKAGES: [&str; 6] = [
    "openvswitch-switch-dpdk",
    "librte-bus-pci23",
    "librte-bus-vdev23",
    "librte-mempool-ring23",
    "librte-net-null23",
    "librte-net-pcap23",
];

/// The rival with DPDK.
#[derive(Debug, Clone)]
pub struct Dpdk {
    /// The program.
    pub binary: Binary,
    /// The folder of its drivers.
    pub drivers: PathBuf,
}

impl Dpdk {
    /// Where it lies after [`fetch`](Self::fetch) into `dir`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find(dir: &Path) -> Result<Self> {
        let libraries = dir.join("root/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let program = dir.join("root/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk");
        let drivers = libraries.join("dpdk/pmds-23.0");
        if !program.is_file() || !drivers.join("librte_net_pcap.so.23").exists() {
            bail!("{} has no Open vSwitch with DPDK", dir.display());
        }
        Ok(Self { binary: Binary { program, libraries: Some(libraries) }, drivers })
    }

    /// Downloads and unpacks what is missing.
    ///
    /// # Errors
    /// Without apt, network, or the packages of Debian 12.
    pub fn fetch(dir: &Path) -> Result<Self> {
        if let Ok(found) = Self::find(dir) {
            return Ok(found);
        }
        let (archives, root) = (dir.join("debs"), dir.join("root"));
        std::fs::create_dir_all(archives.join("partial")).context("cannot make a folder for packages")?;
        let cache = format!("Dir::Cache::archives={}", archives.display());
        let options = ["install", "--yes", "--quiet", "--download-only", "--no-install-recommends", "-o"];
        // In silence: the figures alone go to the standard output.
        let words = [&options[..], &[&cache], &PACKAGES].concat();
        let apt = || shell::run_quietly(&mut shell::command("apt-get", &words));
        if apt().is_err() {
            shell::run_quietly(&mut shell::command("apt-get", &["update", "--quiet"]))?;
            apt().context("this comparison needs the packages of Debian 12 (bookworm)")?;
        }
        for archive in std::fs::read_dir(&archives).context("cannot list packages")? {
            let archive = archive?.path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                let words = [archive.to_string_lossy(), root.to_string_lossy()];
                shell::run_quietly(&mut shell::command("dpkg", &["-x", &words[0], &words[1]]))?;
            }
        }
        Self::find(dir)
    }
}
