//! The controller, switches and routers of a lab in this process. See `split` for processes of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use controller_api::Stats;
use openflow::Dpid;
use packet::PortNo;
use topology::{FailMode, Switch};

use crate::controllerd::{
    self, ControllerHandle, ControllerSpec, RouterChange, RouterSink, RouterTracer, StatsSource,
};
use crate::plane::{Plane, default_workers};
use crate::routerd::{self, RouterHandle, RouterSpec};
use crate::switchd::{self, SwitchHandle, SwitchSpec, Target};

/// The routers of this process by name.
type Routers = Arc<RwLock<BTreeMap<String, RouterHandle>>>;

type Asked = Pin<Box<dyn Future<Output = anyhow::Result<Stats>> + Send>>;

/// Whom to ask what each switch counts.
type Counted = Arc<RwLock<Vec<Box<dyn Fn() -> Asked + Send + Sync>>>>;

/// The engines of a lab.
pub struct Engines {
    dir: PathBuf,
    plane: Plane,
    controller: ControllerHandle,
    switches: BTreeMap<String, SwitchHandle>,
    routers: Routers,
    /// Whom to ask what the switches count.
    counted: Counted,
}

impl Engines {
    /// Starts the controller, its API on `api.sock` in `dir` and on the first of `rest` that is free.
    pub async fn start(name: &str, dir: &Path, rest: &[SocketAddr]) -> anyhow::Result<Self> {
        let spec = |rest| ControllerSpec {
            name: name.to_owned(),
            rest,
            unix: Some(dir.join("api.sock")),
            ..ControllerSpec::default()
        };
        let mut controller = None;
        for (i, address) in rest.iter().enumerate() {
            match controllerd::start(spec(Some(*address))).await {
                Ok(handle) => {
                    controller = Some(handle);
                    break;
                }
                // There is another one to try.
                Err(_) if i + 1 < rest.len() => {}
                Err(error) => return Err(error),
            }
        }
        let controller = match controller {
            Some(controller) => controller,
            None => controllerd::start(spec(None)).await?,
        };
        let routers = Routers::default();
        controller.hub().set_router_sink(router_sink(routers.clone()));
        controller.hub().routers(|all| all.tracer = Some(router_tracer(routers.clone())));
        let counted = Counted::default();
        controller.hub().set_stats_source(stats_source(counted.clone(), routers.clone()));
        let plane = Plane::start(default_workers())?;
        Ok(Self { dir: dir.to_owned(), plane, controller, switches: BTreeMap::new(), routers, counted })
    }

    /// Where the REST API is served over TCP.
    pub fn rest_addr(&self) -> Option<SocketAddr> {
        self.controller.rest_addr()
    }

    /// Starts a switch that speaks to the controller over an in-memory pipe.
    pub async fn start_switch(&mut self, name: &str, switch: &Switch) -> anyhow::Result<()> {
        let mut spec = SwitchSpec::new(name, Dpid(switch.dpid));
        spec.protocols =
            switch.protocols.iter().map(|protocol| protocol.name().parse()).collect::<Result<_, _>>()?;
        spec.fail_mode = match switch.fail_mode {
            FailMode::Secure => vswitch::FailMode::Secure,
            FailMode::Standalone => vswitch::FailMode::Standalone,
        };
        spec.controllers = vec![Target::Pipe(self.controller.connector())];
        spec.run_dir = Some(self.dir.clone());
        let handle = switchd::start(spec, self.plane.clone()).await?;
        let mut counted = self.counted.write().unwrap_or_else(PoisonError::into_inner);
        counted.push(Box::new(handle.stats_client()));
        drop(counted);
        self.switches.insert(name.to_owned(), handle);
        Ok(())
    }

    /// Starts a router without configuration; that comes from the controller.
    pub async fn start_router(&mut self, name: &str) -> anyhow::Result<()> {
        let spec =
            RouterSpec { name: name.to_owned(), run_dir: Some(self.dir.clone()), ..RouterSpec::default() };
        let handle = routerd::start(spec, self.plane.clone()).await?;
        let mut routers = self.routers.write().unwrap_or_else(PoisonError::into_inner);
        routers.insert(name.to_owned(), handle);
        Ok(())
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
        if let Some(switch) = self.switches.get(engine) {
            switch.add_port(Some(PortNo(number)), Some(name.to_owned()), spec).await?;
            return Ok(());
        }
        let router = find(&self.routers, engine).with_context(|| format!("no engine {engine}"))?;
        router.add_port(name, spec).await?;
        Ok(())
    }

    /// Stops everything.
    pub async fn stop(self) {
        // They hold the controller, which holds them.
        self.counted.write().unwrap_or_else(PoisonError::into_inner).clear();
        for (_, switch) in self.switches {
            switch.stop().await;
        }
        let routers = std::mem::take(&mut *self.routers.write().unwrap_or_else(PoisonError::into_inner));
        for (_, router) in routers {
            router.stop().await;
        }
        self.controller.stop().await;
    }
}

fn find(routers: &Routers, name: &str) -> Option<RouterHandle> {
    routers.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
}

/// What all engines count, for `/metrics`.
fn stats_source(counted: Counted, routers: Routers) -> StatsSource {
    Arc::new(move || {
        let switches: Vec<Asked> =
            counted.read().unwrap_or_else(PoisonError::into_inner).iter().map(|ask| ask()).collect();
        let routers: Vec<RouterHandle> =
            routers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        Box::pin(async move {
            let mut all = Vec::new();
            for asked in switches {
                // One that has stopped counts no more.
                all.extend(asked.await);
            }
            for router in routers {
                all.extend(router.stats().await);
            }
            all
        })
    })
}

/// The controller follows frames through the routers of this process by this.
fn router_tracer(routers: Routers) -> RouterTracer {
    Arc::new(move |request| {
        let routers = routers.clone();
        Box::pin(async move {
            let name = &request.port.node;
            let router = find(&routers, name).ok_or_else(|| format!("there is no router {name}"))?;
            let frame = controllerd::frame_of_request(&request).map_err(|problem| problem.to_string())?;
            let traced =
                router.trace(&request.port.port, frame).await.map_err(|error| format!("{error:#}"))?;
            traced.ok_or_else(|| format!("there is no port {}", request.port))
        })
    })
}

/// The controller configures the routers of this process through this.
fn router_sink(routers: Routers) -> RouterSink {
    Arc::new(move |change| {
        let routers = routers.clone();
        Box::pin(async move {
            let RouterChange::Put(config) = change else { return Ok(()) };
            let router =
                find(&routers, &config.name).ok_or_else(|| format!("there is no router {}", config.name))?;
            router.set_config(&config).await.map_err(|error| format!("{error:#}"))
        })
    })
}
