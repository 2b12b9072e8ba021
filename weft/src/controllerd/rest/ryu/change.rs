//! Changes in the words of Ryu. Each is answered when the switch has confirmed it by a barrier.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use controller::FlowKey;
use controller::layout::{self, Owner};
use controller_api::Problem;
use openflow::{
    Cookie, Dpid, FlowMod, FlowModCommand, FlowStats, FlowStatsRequest, GroupId, GroupMod, GroupModCommand,
    Message, MeterId, MeterMod, MeterModCommand, Reply, Request, TableId,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::node::Node;
use super::{dpid_in, known, read};
use crate::controllerd::edit::Origin;
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::{Loose, Name, Path, Refusal};
use crate::controllerd::rest::Shared;

type Done = Result<StatusCode, Refusal>;

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new()
        .routes(routes!(flow_entry))
        .routes(routes!(clear))
        .routes(routes!(group_entry))
        .routes(routes!(meter_entry))
        .routes(routes!(port_behaviour))
        .routes(routes!(experimenter))
        .routes(routes!(role))
}

/// The switch that a body names.
fn switch_of(hub: &Hub, body: &Node<'_>) -> Result<Dpid, Problem> {
    known(hub, Dpid(body.get("dpid")?.number(u64::MAX, None)?))
}

fn no_command(name: &str, known: &str) -> Problem {
    Problem::not_found(format!("command {name:?}: {known} are"))
}

/// Adds, changes or deletes flows; those of intents stay.
#[utoipa::path(
    post, path = "/stats/flowentry/{command}", tag = "ryu", operation_id = "ryu_flow_entry",
    params(("command", description = "add, modify, modify_strict, delete or delete_strict")),
    request_body = BTreeMap<String, Value>,
    responses((status = 200, description = "The switch has confirmed it"))
)]
async fn flow_entry(State(hub): Shared, Name(command): Name, origin: Origin, Loose(body): Loose) -> Done {
    let command_of = match command.as_str() {
        "add" => FlowModCommand::Add,
        "modify" => FlowModCommand::Modify,
        "modify_strict" => FlowModCommand::ModifyStrict,
        "delete" => FlowModCommand::Delete,
        "delete_strict" => FlowModCommand::DeleteStrict,
        other => return Err(no_command(other, "add, modify, modify_strict, delete and delete_strict").into()),
    };
    let body = Node::root(&body);
    let flow = read::flow_mod(&body, command_of)?;
    let dpid = switch_of(&hub, &body)?;
    let what = format!("switch {}: flow {command}: {}", dpid.0, super::super::flows::text_of(&flow));
    change_flows(&hub, dpid, flow).await?;
    hub.audit(origin, what).await;
    Ok(StatusCode::OK)
}

/// Deletes all flows of a switch but those of intents.
#[utoipa::path(
    delete, path = "/stats/flowentry/clear/{dpid}", tag = "ryu", operation_id = "ryu_clear",
    params(("dpid", description = "In decimal or hexadecimal digits")),
    responses((status = 200, description = "The switch has confirmed it"))
)]
async fn clear(State(hub): Shared, Path((dpid,)): Path<(String,)>, origin: Origin) -> Done {
    let dpid = dpid_in(&hub, &dpid)?;
    change_flows(&hub, dpid, FlowMod::delete_all()).await?;
    hub.audit(origin, format!("switch {}: all flows deleted", dpid.0)).await;
    Ok(StatusCode::OK)
}

/// Whether a flow is the controller's, which nobody else changes.
fn is_own(cookie: Cookie) -> bool {
    matches!(layout::owner(cookie), Owner::Intent | Owner::Learned)
}

/// Does what a flow mod says to the flows that serve no intent.
async fn change_flows(hub: &Hub, dpid: Dpid, flow: FlowMod) -> Result<(), Problem> {
    use FlowModCommand::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
    if flow.command == Add && is_own(flow.cookie) {
        let detail = format!("{:#x} is a cookie of the controller's own flows", flow.cookie.0);
        return Err(Problem::invalid("/cookie", detail));
    }
    let taken = hub.read(|core| {
        let blueprint = core.blueprint();
        let mut flows = blueprint.switches.get(&dpid).into_iter().flatten();
        let (_, body) = flows.find(|(key, body)| touches(&flow, key, body.cookie))?;
        Some(blueprint.label(body.cookie).unwrap_or("an intent").to_owned())
    });
    let mods = match (taken, flow.command) {
        (None, _) => vec![flow],
        (Some(label), Add | ModifyStrict | DeleteStrict) => {
            let detail = format!("{label} has a flow with this table, priority and match");
            return Err(Problem::conflict(detail));
        }
        // OpenFlow selects flows by a cookie they have, not by one they lack.
        (Some(_), Modify | Delete) => one_by_one(hub, dpid, &flow).await?,
    };
    hub.send_mods(dpid, mods).await
}

/// Whether a flow mod would change this flow.
fn touches(flow: &FlowMod, key: &FlowKey, cookie: openflow::Cookie) -> bool {
    let is_strict = matches!(
        flow.command,
        FlowModCommand::Add | FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict
    );
    let matches = if is_strict {
        key.priority == flow.priority && key.matches == flow.matches
    } else {
        flow.matches.covers(&key.matches)
    };
    (flow.table == TableId::ALL || flow.table == key.table)
        && matches
        // OpenFlow 1.3.5 §6.4: the cookie of an addition selects nothing.
        && (flow.command == FlowModCommand::Add || (cookie.0 ^ flow.cookie.0) & flow.cookie_mask == 0)
}

/// The same for each flow by itself, without those of intents.
async fn one_by_one(hub: &Hub, dpid: Dpid, flow: &FlowMod) -> Result<Vec<FlowMod>, Problem> {
    // OpenFlow 1.3.5 §6.4: only deletions look at the outputs of flows.
    let is_delete = flow.command == FlowModCommand::Delete;
    let request = FlowStatsRequest {
        table: flow.table,
        out_port: flow.out_port.filter(|_| is_delete),
        out_group: flow.out_group.filter(|_| is_delete),
        cookie: flow.cookie,
        cookie_mask: flow.cookie_mask,
        matches: flow.matches.clone(),
    };
    let flows = match hub.ask(dpid, Request::Flow(request)).await? {
        Reply::Flow(flows) => flows,
        _ => Vec::new(),
    };
    let command = if is_delete { FlowModCommand::DeleteStrict } else { FlowModCommand::ModifyStrict };
    let strict = |found: FlowStats| FlowMod {
        command,
        table: found.table,
        priority: found.priority,
        matches: found.matches,
        ..flow.clone()
    };
    let others = flows.into_iter().filter(|found| !is_own(found.cookie));
    Ok(others.map(strict).collect())
}

/// Adds, changes or deletes a group; those of intents stay.
#[utoipa::path(
    post, path = "/stats/groupentry/{command}", tag = "ryu", operation_id = "ryu_group_entry",
    params(("command", description = "add, modify or delete")), request_body = BTreeMap<String, Value>,
    responses((status = 200, description = "The switch has confirmed it"))
)]
async fn group_entry(State(hub): Shared, Name(command): Name, origin: Origin, Loose(body): Loose) -> Done {
    let command_of = match command.as_str() {
        "add" => GroupModCommand::Add,
        "modify" => GroupModCommand::Modify,
        "delete" => GroupModCommand::Delete,
        other => return Err(no_command(other, "add, modify and delete").into()),
    };
    let body = Node::root(&body);
    let group = read::group_mod(&body, command_of)?;
    let dpid = switch_of(&hub, &body)?;
    let what = format!("switch {}: group {:#x} {command}", dpid.0, group.group.0);
    change_group(&hub, dpid, group, "/group_id").await?;
    hub.audit(origin, what).await;
    Ok(StatusCode::OK)
}

/// Changes a group that is not the controller's; all of them are deleted one by one.
pub(in crate::controllerd::rest) async fn change_group(
    hub: &Hub,
    dpid: Dpid,
    group: GroupMod,
    pointer: &str,
) -> Result<(), Problem> {
    if layout::is_own_group(group.group) && group.group != GroupId::ALL {
        let detail = format!("groups {:#x} to {:#x} are the controller's own", 0x7e00_0000, 0x7eff_ffff);
        return Err(Problem::conflict(detail).with_pointer(pointer));
    }
    let groups = if group.command == GroupModCommand::Delete && group.group == GroupId::ALL {
        let known = match hub.ask(dpid, Request::GroupDesc).await? {
            Reply::GroupDesc(groups) => groups,
            _ => Vec::new(),
        };
        let others = known.into_iter().filter(|known| !layout::is_own_group(known.group));
        others.map(|known| GroupMod { group: known.group, ..group.clone() }).collect()
    } else {
        vec![group]
    };
    hub.send_changes(dpid, groups.into_iter().map(Message::GroupMod).collect()).await
}

/// Adds, changes or deletes a meter.
#[utoipa::path(
    post, path = "/stats/meterentry/{command}", tag = "ryu", operation_id = "ryu_meter_entry",
    params(("command", description = "add, modify or delete")), request_body = BTreeMap<String, Value>,
    responses((status = 200, description = "The switch has confirmed it"))
)]
async fn meter_entry(State(hub): Shared, Name(command): Name, origin: Origin, Loose(body): Loose) -> Done {
    let command_of = match command.as_str() {
        "add" => MeterModCommand::Add,
        "modify" => MeterModCommand::Modify,
        "delete" => MeterModCommand::Delete,
        other => return Err(no_command(other, "add, modify and delete").into()),
    };
    let body = Node::root(&body);
    let meter = read::meter_mod(&body, command_of)?;
    let dpid = switch_of(&hub, &body)?;
    let what = format!("switch {}: meter {} {command}", dpid.0, meter.meter);
    change_meter(&hub, dpid, meter, "/meter_id").await?;
    hub.audit(origin, what).await;
    Ok(StatusCode::OK)
}

/// Changes a meter that is not the controller's; all of them are deleted one by one.
pub(in crate::controllerd::rest) async fn change_meter(
    hub: &Hub,
    dpid: Dpid,
    meter: MeterMod,
    pointer: &str,
) -> Result<(), Problem> {
    let all = meter.command == MeterModCommand::Delete && meter.meter == MeterId::ALL;
    if layout::is_own_meter(meter.meter) && !all {
        let detail = format!("meter {} is the controller's own", meter.meter);
        return Err(Problem::conflict(detail).with_pointer(pointer));
    }
    let meters = if all {
        let known = match hub.ask(dpid, Request::MeterConfig(MeterId::ALL)).await? {
            Reply::MeterConfig(meters) => meters,
            _ => Vec::new(),
        };
        let others = known.into_iter().filter(|known| !layout::is_own_meter(known.meter));
        others.map(|known| MeterMod { meter: known.meter, ..meter.clone() }).collect()
    } else {
        vec![meter]
    };
    hub.send_changes(dpid, meters.into_iter().map(Message::MeterMod).collect()).await
}

/// Changes how a port behaves: `port_no`, `config`, `mask`, and if need be `hw_addr` and `advertise`.
#[utoipa::path(
    post, path = "/stats/portdesc/modify", tag = "ryu", operation_id = "ryu_port_behaviour",
    request_body = BTreeMap<String, Value>, responses((status = 200, description = "The switch has confirmed it"))
)]
async fn port_behaviour(State(hub): Shared, origin: Origin, Loose(body): Loose) -> Done {
    let body = Node::root(&body);
    let dpid = switch_of(&hub, &body)?;
    let ports = match hub.ask(dpid, Request::PortDesc).await? {
        Reply::PortDesc(ports) => ports,
        _ => Vec::new(),
    };
    let number = body.get("port_no")?.named(super::PORTS, 0)?;
    let port = ports.iter().find(|port| port.port.0 == number);
    let port = port.ok_or_else(|| Problem::not_found(format!("port {number}")).with_pointer("/port_no"))?;
    let change = read::port_mod(&body, (port.mac, port.advertised))?;
    let what =
        format!("switch {}: port {number}: config {:#x}/{:#x}", dpid.0, change.config.0, change.mask.0);
    hub.send_changes(dpid, vec![Message::PortMod(change)]).await?;
    hub.audit(origin, what).await;
    Ok(StatusCode::OK)
}

/// Sends a message of an experimenter: `experimenter`, `exp_type`, `data_type` (`ascii` or `base64`), `data`.
#[utoipa::path(
    post, path = "/stats/experimenter/{dpid}", tag = "ryu", operation_id = "ryu_experimenter",
    params(("dpid", description = "In decimal or hexadecimal digits")), request_body = BTreeMap<String, Value>,
    responses((status = 200, description = "The switch has confirmed it"))
)]
async fn experimenter(
    State(hub): Shared,
    Path((dpid,)): Path<(String,)>,
    origin: Origin,
    Loose(body): Loose,
) -> Done {
    let message = read::experimenter(&Node::root(&body))?;
    let dpid = dpid_in(&hub, &dpid)?;
    hub.send_changes(dpid, vec![message]).await?;
    hub.audit(origin, format!("switch {}: a message of an experimenter", dpid.0)).await;
    Ok(StatusCode::OK)
}

/// Asks for a role at a switch: `dpid`, and `role` (`EQUAL`, `MASTER` or `SLAVE`). As a slave the controller changes nothing there.
#[utoipa::path(
    post, path = "/stats/role", tag = "ryu", operation_id = "ryu_ask_role", request_body = BTreeMap<String, Value>,
    responses((status = 200, description = "The switch has confirmed it"))
)]
async fn role(State(hub): Shared, origin: Origin, Loose(body): Loose) -> Done {
    let body = Node::root(&body);
    let role = read::role(&body)?;
    let dpid = switch_of(&hub, &body)?;
    let held = hub.ask_role(dpid, role).await?;
    hub.audit(origin, format!("switch {}: role {:?}", dpid.0, held.role)).await;
    Ok(StatusCode::OK)
}
