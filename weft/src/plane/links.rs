//! Ends of `link:` ports that look for each other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::bail;
use dataplane::EngineId;
use netio::{Offload, PortInfo};
use packet::{MacAddr, PortNo};

use super::PortRequest;

/// An engine's name and what its port is called.
type Label = (String, String);

#[derive(Debug)]
struct End {
    port: (EngineId, PortNo),
    far: Label,
    joined: bool,
}

/// All ends of links in the process, by their own labels.
#[derive(Debug, Default)]
pub struct Links(Mutex<HashMap<Label, End>>);

fn owned(label: (&str, &str)) -> Label {
    (label.0.to_owned(), label.1.to_owned())
}

impl Links {
    /// Adds an end; returns the other one if it waits for this one.
    pub fn add(
        &self,
        port: (EngineId, PortNo),
        near: (&str, &str),
        far: (&str, &str),
    ) -> anyhow::Result<Option<(EngineId, PortNo)>> {
        let mut ends = self.lock();
        let (near, far) = (owned(near), owned(far));
        if near == far {
            bail!("link:{}/{}: a port cannot be linked to itself", far.0, far.1);
        }
        if ends.contains_key(&near) || ends.values().any(|end| end.port == port) {
            bail!("port {} of {} is linked already", near.1, near.0);
        }
        let mut joined = None;
        if let Some(other) = ends.get_mut(&far) {
            if other.far != near {
                bail!(
                    "link:{}/{}: that port is linked to {}/{}, not to {}/{}",
                    far.0,
                    far.1,
                    other.far.0,
                    other.far.1,
                    near.0,
                    near.1
                );
            }
            other.joined = true;
            joined = Some(other.port);
        }
        ends.insert(near, End { port, far, joined: joined.is_some() });
        Ok(joined)
    }

    /// The other end of this one went: it waits again.
    pub fn part(&self, engine: EngineId, port: PortNo) {
        if let Some(end) = self.lock().values_mut().find(|end| end.port == (engine, port)) {
            end.joined = false;
        }
    }

    /// Whether the port is an end of a link.
    pub fn knows(&self, engine: EngineId, port: PortNo) -> bool {
        self.lock().values().any(|end| end.port == (engine, port))
    }

    /// Forgets an end; true if it was still waiting, so that the workers know nothing of it.
    pub fn forget(&self, engine: EngineId, port: PortNo) -> bool {
        let mut ends = self.lock();
        let label = ends.iter().find(|(_, end)| end.port == (engine, port)).map(|(label, _)| label.clone());
        label.and_then(|label| ends.remove(&label)).is_some_and(|end| !end.joined)
    }

    /// Forgets all ends of an engine.
    pub fn forget_engine(&self, engine: EngineId) {
        self.lock().retain(|_, end| end.port.0 != engine);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Label, End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a link's end says about itself.
pub fn info(engine: &str, request: &PortRequest) -> PortInfo {
    // FNV-1a: the same engine and port have the same address each time.
    let sum = engine.bytes().chain([0]).chain(request.label.bytes());
    let sum = sum
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    PortInfo {
        name: format!("{engine}-{}", request.label),
        spec: request.spec.to_string(),
        // Locally administered unicast.
        mac: MacAddr::from_u64(0x02_6c_00_00_00_00 | (sum & 0xffff_ffff)),
        mtu: 65_535,
        offload: Offload::ALL,
        note: None,
    }
}
