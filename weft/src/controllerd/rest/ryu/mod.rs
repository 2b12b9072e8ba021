//! The requests of Ryu's `ofctl_rest`, so that what was written for it runs unchanged: the same paths, keys and types.
//!
//! Where Ryu writes a line into its log (an unknown field, a change that the switch refuses), the answer here is a problem.
//! What serves intents can be looked at, not changed.

mod base64;
mod change;
mod names;
mod node;
mod read;
mod show;

pub(super) use change::{change_group, change_meter};

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use controller_api::Problem;
use openflow::{Dpid, GroupId, Message, MeterId, PortNo, QueueId, Reply, Request, Role};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Answer, Shared};
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::{Loose, Path};
use names::{GROUPS, METERS, Names, PORTS, QUEUES};
use node::{Node, number_in};

/// What a switch answers, under its dpid in decimal digits.
type Lists = BTreeMap<String, Vec<Value>>;

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new()
        .routes(routes!(switches))
        .routes(routes!(desc))
        .routes(routes!(flow, flow_filtered))
        .routes(routes!(aggregate, aggregate_filtered))
        .routes(routes!(table))
        .routes(routes!(table_features))
        .routes(routes!(ports))
        .routes(routes!(port))
        .routes(routes!(port_descs))
        .routes(routes!(port_desc))
        .routes(routes!(queues))
        .routes(routes!(queues_of_port))
        .routes(routes!(queue))
        .routes(routes!(queue_configs))
        .routes(routes!(queue_config))
        .routes(routes!(queue_descs))
        .routes(routes!(queue_descs_of_port))
        .routes(routes!(queue_desc))
        .routes(routes!(groups))
        .routes(routes!(group))
        .routes(routes!(group_descs))
        .routes(routes!(group_desc))
        .routes(routes!(group_features))
        .routes(routes!(meters))
        .routes(routes!(meter))
        .routes(routes!(meter_configs))
        .routes(routes!(meter_config))
        .routes(routes!(meter_features))
        .routes(routes!(role))
        .merge(change::router())
}

/// The dpids of all switches that are connected.
#[utoipa::path(get, path = "/stats/switches", tag = "ryu", operation_id = "ryu_switches", responses((status = 200, body = Vec<u64>)))]
async fn switches(State(hub): Shared) -> Json<Vec<u64>> {
    let connected = |core: &controller::Controller| {
        let dpids = core.view().switches().keys().filter(|dpid| core.connection(**dpid).is_some());
        dpids.map(|dpid| dpid.0).collect()
    };
    Json(hub.read(connected))
}

/// What a switch says of itself.
#[utoipa::path(
    get, path = "/stats/desc/{dpid}", tag = "ryu", operation_id = "ryu_desc", params(("dpid", description = "In decimal or hexadecimal digits")),
    responses((status = 200, body = BTreeMap<String, Value>))
)]
async fn desc(State(hub): Shared, Path((dpid,)): Path<(String,)>) -> Answer<BTreeMap<String, Value>> {
    let dpid = dpid_in(&hub, &dpid)?;
    let shown = match asked(&hub, dpid, Request::Desc).await? {
        Some(Reply::Desc(desc)) => show::desc(&desc),
        _ => json!({}),
    };
    Ok(Json(BTreeMap::from([(dpid.0.to_string(), shown)])))
}

/// A request that is all in its path.
macro_rules! shown {
    ($(#[$doc:meta])* $name:ident, $path:tt, [$($param:tt),*], $types:tt,
        |$dpid:ident $(, $arg:ident)*| $request:expr, $show:expr) => {
        $(#[$doc])*
        #[utoipa::path(
            get, path = $path, tag = "ryu", operation_id = concat!("ryu_", stringify!($name)),
            params(("dpid", description = "In decimal or hexadecimal digits") $(, $param)*),
            responses((status = 200, body = BTreeMap<String, Vec<Value>>))
        )]
        async fn $name(
            State(hub): Shared,
            Path(($dpid, $($arg,)*)): Path<$types>,
        ) -> Answer<Lists> {
            let $dpid = dpid_in(&hub, &$dpid)?;
            let reply = asked(&hub, $dpid, $request).await?;
            let show: fn(Reply) -> Vec<Value> = $show;
            Ok(listed($dpid, reply.map(show).unwrap_or_default()))
        }
    };
}

/// The function that shows each item of a reply of one kind.
macro_rules! each {
    ($kind:ident, $show:path) => {
        |reply| match reply {
            Reply::$kind(items) => items.iter().map($show).collect(),
            _ => Vec::new(),
        }
    };
}

shown!(
    /// The counters of all tables.
    table, "/stats/table/{dpid}", [], (String,), |dpid| Request::Table, each!(Table, show::table)
);
shown!(
    /// What tables can do.
    table_features, "/stats/tablefeatures/{dpid}", [], (String,), |dpid| Request::TableFeatures(Vec::new()),
    each!(TableFeatures, show::table_features)
);
shown!(
    /// The counters of all ports.
    ports, "/stats/port/{dpid}", [], (String,), |dpid| Request::PortStats(None), each!(PortStats, show::port)
);
shown!(
    /// The counters of a port.
    port, "/stats/port/{dpid}/{port}", [("port", description = "Number or name such as LOCAL")], (String, String),
    |dpid, port| Request::PortStats(port_in(&port)?), each!(PortStats, show::port)
);
shown!(
    /// The counters of all queues.
    queues, "/stats/queue/{dpid}", [], (String,), |dpid| Request::Queue { port: None, queue: None }, each!(Queue, show::queue)
);
shown!(
    /// The counters of the queues of a port.
    queues_of_port, "/stats/queue/{dpid}/{port}", [("port", description = "Number or ALL")], (String, String),
    |dpid, port| Request::Queue { port: port_in(&port)?, queue: None }, each!(Queue, show::queue)
);
shown!(
    /// The counters of a queue.
    queue, "/stats/queue/{dpid}/{port}/{queue}",
    [("port", description = "Number or ALL"), ("queue", description = "Number or ALL")], (String, String, String),
    |dpid, port, queue| Request::Queue { port: port_in(&port)?, queue: queue_in(&queue)? }, each!(Queue, show::queue)
);
shown!(
    /// The counters of all groups.
    groups, "/stats/group/{dpid}", [], (String,), |dpid| Request::Group(GroupId::ALL), each!(Group, show::group)
);
shown!(
    /// The counters of a group.
    group, "/stats/group/{dpid}/{group}", [("group", description = "Number or ALL")], (String, String),
    |dpid, group| Request::Group(GroupId(number(&group, GROUPS)?)), each!(Group, show::group)
);
shown!(
    /// All groups.
    group_descs, "/stats/groupdesc/{dpid}", [], (String,), |dpid| Request::GroupDesc, each!(GroupDesc, show::group_desc)
);
shown!(
    /// What groups can do.
    group_features, "/stats/groupfeatures/{dpid}", [], (String,), |dpid| Request::GroupFeatures,
    |reply| match reply {
        Reply::GroupFeatures(features) => vec![show::group_features(&features)],
        _ => Vec::new(),
    }
);
shown!(
    /// The counters of all meters.
    meters, "/stats/meter/{dpid}", [], (String,), |dpid| Request::Meter(MeterId::ALL), each!(Meter, show::meter)
);
shown!(
    /// The counters of a meter.
    meter, "/stats/meter/{dpid}/{meter}", [("meter", description = "Number or name such as ALL")], (String, String),
    |dpid, meter| Request::Meter(MeterId(number(&meter, METERS)?)), each!(Meter, show::meter)
);
shown!(
    /// All meters.
    meter_configs, "/stats/meterconfig/{dpid}", [], (String,), |dpid| Request::MeterConfig(MeterId::ALL),
    each!(MeterConfig, show::meter_config)
);
shown!(
    /// A meter.
    meter_config, "/stats/meterconfig/{dpid}/{meter}", [("meter", description = "Number or name such as ALL")], (String, String),
    |dpid, meter| Request::MeterConfig(MeterId(number(&meter, METERS)?)), each!(MeterConfig, show::meter_config)
);
shown!(
    /// What meters can do.
    meter_features, "/stats/meterfeatures/{dpid}", [], (String,), |dpid| Request::MeterFeatures,
    |reply| match reply {
        Reply::MeterFeatures(features) => vec![show::meter_features(&features)],
        _ => Vec::new(),
    }
);
shown!(
    /// All ports.
    port_descs, "/stats/portdesc/{dpid}", [], (String,), |dpid| Request::PortDesc, each!(PortDesc, show::port_desc)
);

/// A port.
#[utoipa::path(
    get, path = "/stats/portdesc/{dpid}/{port}", tag = "ryu", operation_id = "ryu_port_desc",
    params(
        ("dpid", description = "In decimal or hexadecimal digits"),
        ("port", description = "Number or name such as LOCAL")
    ),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn port_desc(State(hub): Shared, Path((dpid, port)): Path<(String, String)>) -> Answer<Lists> {
    let (dpid, port) = (dpid_in(&hub, &dpid)?, port_in(&port)?);
    let ports = match asked(&hub, dpid, Request::PortDesc).await? {
        Some(Reply::PortDesc(ports)) => ports,
        _ => Vec::new(),
    };
    let wanted = ports.iter().filter(|desc| port.is_none_or(|port| port == desc.port));
    Ok(listed(dpid, wanted.map(show::port_desc).collect()))
}

/// A group.
#[utoipa::path(
    get, path = "/stats/groupdesc/{dpid}/{group}", tag = "ryu", operation_id = "ryu_group_desc",
    params(
        ("dpid", description = "In decimal or hexadecimal digits"), ("group", description = "Number or ALL")
    ),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn group_desc(State(hub): Shared, Path((dpid, group)): Path<(String, String)>) -> Answer<Lists> {
    let (dpid, group) = (dpid_in(&hub, &dpid)?, GroupId(number(&group, GROUPS)?));
    let groups = match asked(&hub, dpid, Request::GroupDesc).await? {
        Some(Reply::GroupDesc(groups)) => groups,
        _ => Vec::new(),
    };
    let wanted = groups.iter().filter(|desc| group == GroupId::ALL || group == desc.group);
    Ok(listed(dpid, wanted.map(show::group_desc).collect()))
}

/// All flows.
#[utoipa::path(
    get, path = "/stats/flow/{dpid}", tag = "ryu", operation_id = "ryu_flow", params(("dpid", description = "In decimal or hexadecimal digits")),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn flow(State(hub): Shared, Path((dpid,)): Path<(String,)>) -> Answer<Lists> {
    flows(&hub, &dpid, &json!({})).await
}

/// The flows that a filter selects: `table_id`, `out_port`, `out_group`, `cookie`, `cookie_mask`, `match`, `priority`.
#[utoipa::path(
    post, path = "/stats/flow/{dpid}", tag = "ryu", operation_id = "ryu_flow_filtered", params(("dpid", description = "In decimal or hexadecimal digits")),
    request_body = BTreeMap<String, Value>, responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn flow_filtered(
    State(hub): Shared,
    Path((dpid,)): Path<(String,)>,
    Loose(filter): Loose,
) -> Answer<Lists> {
    flows(&hub, &dpid, &filter).await
}

async fn flows(hub: &Hub, dpid: &str, filter: &Value) -> Answer<Lists> {
    let (dpid, filter) = (dpid_in(hub, dpid)?, Node::root(filter));
    let (selection, priority) = (read::selection(&filter)?, read::priority(&filter)?);
    let flows = match asked(hub, dpid, Request::Flow(selection)).await? {
        Some(Reply::Flow(flows)) => flows,
        _ => Vec::new(),
    };
    let wanted = flows.iter().filter(|flow| priority.is_none_or(|priority| priority == flow.priority.0));
    Ok(listed(dpid, wanted.map(show::flow).collect()))
}

/// Sums over all flows.
#[utoipa::path(
    get, path = "/stats/aggregateflow/{dpid}", tag = "ryu", operation_id = "ryu_aggregate",
    params(("dpid", description = "In decimal or hexadecimal digits")),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn aggregate(State(hub): Shared, Path((dpid,)): Path<(String,)>) -> Answer<Lists> {
    sums(&hub, &dpid, &json!({})).await
}

/// Sums over the flows that a filter selects: `table_id`, `out_port`, `out_group`, `cookie`, `cookie_mask`, `match`.
#[utoipa::path(
    post, path = "/stats/aggregateflow/{dpid}", tag = "ryu", operation_id = "ryu_aggregate_filtered",
    params(("dpid", description = "In decimal or hexadecimal digits")),
    request_body = BTreeMap<String, Value>, responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn aggregate_filtered(
    State(hub): Shared,
    Path((dpid,)): Path<(String,)>,
    Loose(filter): Loose,
) -> Answer<Lists> {
    sums(&hub, &dpid, &filter).await
}

async fn sums(hub: &Hub, dpid: &str, filter: &Value) -> Answer<Lists> {
    let dpid = dpid_in(hub, dpid)?;
    let selection = read::selection(&Node::root(filter))?;
    let sums = match asked(hub, dpid, Request::Aggregate(selection)).await? {
        Some(Reply::Aggregate(sums)) => vec![show::aggregate(&sums)],
        _ => Vec::new(),
    };
    Ok(listed(dpid, sums))
}

/// The queues of all ports.
#[utoipa::path(
    get, path = "/stats/queueconfig/{dpid}", tag = "ryu", operation_id = "ryu_queue_configs",
    params(("dpid", description = "In decimal or hexadecimal digits")),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn queue_configs(State(hub): Shared, Path((dpid,)): Path<(String,)>) -> Answer<Lists> {
    let dpid = dpid_in(&hub, &dpid)?;
    let config = queues_at(&hub, dpid, None).await?;
    Ok(listed(dpid, config.iter().map(show::queue_config).collect()))
}

/// The queues of a port.
#[utoipa::path(
    get, path = "/stats/queueconfig/{dpid}/{port}", tag = "ryu", operation_id = "ryu_queue_config",
    params(("dpid", description = "In decimal or hexadecimal digits"), ("port", description = "Number or ANY")),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn queue_config(State(hub): Shared, Path((dpid, port)): Path<(String, String)>) -> Answer<Lists> {
    let (dpid, port) = (dpid_in(&hub, &dpid)?, port_in(&port)?);
    let config = queues_at(&hub, dpid, port).await?;
    Ok(listed(dpid, config.iter().map(show::queue_config).collect()))
}

/// All queues, as OpenFlow 1.4 describes them.
#[utoipa::path(
    get, path = "/stats/queuedesc/{dpid}", tag = "ryu", operation_id = "ryu_queue_descs",
    params(("dpid", description = "In decimal or hexadecimal digits")),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn queue_descs(State(hub): Shared, Path((dpid,)): Path<(String,)>) -> Answer<Lists> {
    described_queues(&hub, &dpid, None, None).await
}

/// The queues of a port, as OpenFlow 1.4 describes them.
#[utoipa::path(
    get, path = "/stats/queuedesc/{dpid}/{port}", tag = "ryu", operation_id = "ryu_queue_descs_of_port",
    params(("dpid", description = "In decimal or hexadecimal digits"), ("port", description = "Number or ANY")),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn queue_descs_of_port(
    State(hub): Shared,
    Path((dpid, port)): Path<(String, String)>,
) -> Answer<Lists> {
    described_queues(&hub, &dpid, port_in(&port)?, None).await
}

/// A queue, as OpenFlow 1.4 describes it.
#[utoipa::path(
    get, path = "/stats/queuedesc/{dpid}/{port}/{queue}", tag = "ryu", operation_id = "ryu_queue_desc",
    params(
        ("dpid", description = "In decimal or hexadecimal digits"), ("port", description = "Number or ANY"),
        ("queue", description = "Number or ALL")
    ),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn queue_desc(
    State(hub): Shared,
    Path((dpid, port, queue)): Path<(String, String, String)>,
) -> Answer<Lists> {
    described_queues(&hub, &dpid, port_in(&port)?, queue_in(&queue)?).await
}

async fn described_queues(
    hub: &Hub,
    dpid: &str,
    port: Option<PortNo>,
    queue: Option<QueueId>,
) -> Answer<Lists> {
    let dpid = dpid_in(hub, dpid)?;
    let config = queues_at(hub, dpid, port).await?;
    let queues = config.iter().flat_map(|config| &config.queues);
    let wanted = queues.filter(|desc| queue.is_none_or(|queue| queue == desc.queue));
    Ok(listed(dpid, wanted.map(show::queue_desc).collect()))
}

/// The queues of a port or of all; none if the switch will not say.
async fn queues_at(
    hub: &Hub,
    dpid: Dpid,
    port: Option<PortNo>,
) -> Result<Option<openflow::QueueConfig>, Problem> {
    match unless_refused(hub.exchange(dpid, Message::QueueGetConfigRequest(port)).await)? {
        Some(Message::QueueGetConfigReply(config)) => Ok(Some(config)),
        _ => Ok(None),
    }
}

/// The role of the controller at a switch.
#[utoipa::path(
    get, path = "/stats/role/{dpid}", tag = "ryu", operation_id = "ryu_role", params(("dpid", description = "In decimal or hexadecimal digits")),
    responses((status = 200, body = BTreeMap<String, Vec<Value>>))
)]
async fn role(State(hub): Shared, Path((dpid,)): Path<(String,)>) -> Answer<Lists> {
    let dpid = dpid_in(&hub, &dpid)?;
    let role = unless_refused(hub.ask_role(dpid, Role::NoChange).await)?;
    Ok(listed(dpid, role.iter().map(show::role).collect()))
}

fn listed(dpid: Dpid, items: Vec<Value>) -> Json<Lists> {
    Json(BTreeMap::from([(dpid.0.to_string(), items)]))
}

/// Asks a switch. `None`: it refuses to answer, which for Ryu is an empty answer.
async fn asked(hub: &Hub, dpid: Dpid, request: Request) -> Result<Option<Reply>, Problem> {
    unless_refused(hub.ask(dpid, request).await)
}

fn unless_refused<T>(answer: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(problem) if problem.status == 422 => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// The switch with this dpid.
fn dpid_in(hub: &Hub, text: &str) -> Result<Dpid, Problem> {
    let number = number_in(text).and_then(|number| u64::try_from(number).ok());
    let number = number.ok_or_else(|| {
        Problem::bad_request(format!("{text:?} is no dpid: decimal digits, or 0x and hexadecimal"))
    })?;
    known(hub, Dpid(number))
}

/// A switch that was heard of.
fn known(hub: &Hub, dpid: Dpid) -> Result<Dpid, Problem> {
    let is_known = hub.read(|core| core.view().switches().contains_key(&dpid));
    if is_known { Ok(dpid) } else { Err(Problem::not_found(format!("switch {}", dpid.0))) }
}

/// A number that may go by a name.
fn number(text: &str, names: Names) -> Result<u32, Problem> {
    let number = names.find(text).or_else(|| number_in(text).and_then(|number| u32::try_from(number).ok()));
    number.ok_or_else(|| {
        Problem::bad_request(format!("{text:?} is neither a number nor one of {}", names.all()))
    })
}

/// A port; `None` for all of them.
fn port_in(text: &str) -> Result<Option<PortNo>, Problem> {
    // Ryu has both words for it.
    if text == "ALL" {
        return Ok(None);
    }
    number(text, PORTS).map(|port| (port != PORTS.find("ANY").unwrap_or(u32::MAX)).then_some(PortNo(port)))
}

/// A queue; `None` for all of them.
fn queue_in(text: &str) -> Result<Option<QueueId>, Problem> {
    number(text, QUEUES).map(|queue| (queue != u32::MAX).then_some(QueueId(queue)))
}
