//! The controller, switches and routers of a lab in this process. See `split` for processes of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use openflow::Dpid;
use packet::PortNo;
use topology::FailMode;

use crate::controllerd::{self, ControllerHandle, ControllerSpec};
use crate::plane::{Plane, default_workers};
use crate::switchd::{self, SwitchHandle, SwitchSpec, Target};

/// The engines of a lab.
pub struct Engines {
    dir: PathBuf,
    plane: Plane,
    controller: ControllerHandle,
    switches: BTreeMap<String, SwitchHandle>,
}

impl Engines {
    /// Starts the controller, its API on `api.sock` in `dir` and on the first of `rest` that is free.
    pub async fn start(name: &str, dir: &Path, rest: &[SocketAddr]) -> anyhow::Result<Self> {
        let spec = |rest| ControllerSpec {
            name: name.to_owned(),
            openflow: None,
            rest,
            unix: Some(dir.join("api.sock")),
            store: None,
        };
        let mut controller = None;
        for address in rest {
            if let Ok(handle) = controllerd::start(spec(Some(*address))).await {
                controller = Some(handle);
                break;
            }
        }
        let controller = match controller {
            Some(controller) => controller,
            None => controllerd::start(spec(None)).await?,
        };
        let plane = Plane::start(default_workers())?;
        Ok(Self { dir: dir.to_owned(), plane, controller, switches: BTreeMap::new() })
    }

    /// Where the REST API is served over TCP.
    pub fn rest_addr(&self) -> Option<SocketAddr> {
        self.controller.rest_addr()
    }

    /// Starts a switch that speaks to the controller over an in-memory pipe.
    pub async fn start_switch(&mut self, name: &str, dpid: u64, fail_mode: FailMode) -> anyhow::Result<()> {
        let mut spec = SwitchSpec::new(name, Dpid(dpid));
        spec.fail_mode = match fail_mode {
            FailMode::Secure => vswitch::FailMode::Secure,
            FailMode::Standalone => vswitch::FailMode::Standalone,
        };
        spec.controllers = vec![Target::Pipe(self.controller.connector())];
        spec.run_dir = Some(self.dir.clone());
        let handle = switchd::start(spec, self.plane.clone()).await?;
        self.switches.insert(name.to_owned(), handle);
        Ok(())
    }

    /// Routers of this process come with the router daemon.
    pub async fn start_router(&mut self, name: &str) -> anyhow::Result<()> {
        anyhow::bail!("router {name}: routers are not built yet")
    }

    /// Attaches a port.
    pub async fn add_port(
        &mut self,
        engine: &str,
        number: u32,
        name: &str,
        spec: &str,
    ) -> anyhow::Result<()> {
        let spec: netio::PortSpec = spec.parse()?;
        let switch = self.switches.get(engine).with_context(|| format!("no engine {engine}"))?;
        switch.add_port(Some(PortNo(number)), Some(name.to_owned()), spec).await?;
        Ok(())
    }

    /// Stops everything.
    pub async fn stop(self) {
        for (_, switch) in self.switches {
            switch.stop().await;
        }
        self.controller.stop().await;
    }
}
