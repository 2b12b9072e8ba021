//! Addresses that NORMAL has learned: which port a station was last heard at, for each VLAN.

use core::time::Duration;

use lookup::{ExactMap, Secret};
use openflow::PortNo;
use packet::Instant;

/// Most stations.
const MAX_STATIONS: usize = 16_384;
/// Silence after which a station is forgotten (IEEE 802.1Q-2022 §8.8.3: 300 s).
const AGEING: Duration = Duration::from_secs(300);
/// How often the other workers are told that a station is still there.
const REFRESH: Duration = Duration::from_secs(60);

/// A station was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// VLAN (zero for none) and address: `vlan << 48 | mac`.
    pub station: u64,
    pub port: PortNo,
    pub at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Station {
    learned: Learned,
    /// When the others were last told.
    told: Instant,
}

/// The stations of one worker.
#[derive(Debug)]
pub(crate) struct Fdb {
    by_station: ExactMap,
    stations: Vec<Station>,
    /// When the silent were last forgotten.
    swept: Instant,
}

impl Fdb {
    pub(crate) fn new(secret: Secret) -> Self {
        Self { by_station: ExactMap::new(1, secret), stations: Vec::new(), swept: Instant::ZERO }
    }

    /// Where a station was last heard.
    pub(crate) fn lookup(&self, now: Instant, station: u64) -> Option<PortNo> {
        let at = self.by_station.get_array([station])?;
        let learned = self.stations.get(at as usize)?.learned;
        if now.saturating_since(learned.at) <= AGEING { Some(learned.port) } else { None }
    }

    /// Notes a station; returns what the other workers should know.
    pub(crate) fn learn(&mut self, now: Instant, station: u64, port: PortNo) -> Option<Learned> {
        let learned = Learned { station, port, at: now };
        if let Some(at) = self.by_station.get_array([station]) {
            let known = &mut self.stations[at as usize];
            let news = known.learned.port != port || now.saturating_since(known.told) >= REFRESH;
            known.learned = learned;
            if news {
                known.told = now;
            }
            return news.then_some(learned);
        }
        self.insert(learned).then_some(learned)
    }

    /// Notes what another worker has learned.
    pub(crate) fn adopt(&mut self, learned: Learned) {
        match self.by_station.get_array([learned.station]) {
            Some(at) => {
                let known = &mut self.stations[at as usize];
                if learned.at >= known.learned.at {
                    known.learned = learned;
                }
            }
            None => drop(self.insert(learned)),
        }
    }

    fn insert(&mut self, learned: Learned) -> bool {
        if self.stations.len() >= MAX_STATIONS {
            return false;
        }
        self.by_station.insert(&[learned.station], self.stations.len() as u32);
        self.stations.push(Station { learned, told: learned.at });
        true
    }

    /// Forgets who has been silent for too long; looks every ten seconds.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if now.saturating_since(self.swept) < Duration::from_secs(10) {
            return;
        }
        self.swept = now;
        self.stations.retain(|s| now.saturating_since(s.learned.at) <= AGEING);
        self.by_station.clear();
        for (at, station) in self.stations.iter().enumerate() {
            self.by_station.insert(&[station.learned.station], at as u32);
        }
    }
}
