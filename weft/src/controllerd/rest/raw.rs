//! Groups, meters, port configuration and statistics of a switch, as the switch itself has them.

mod shape;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use controller_api::{
    Forecast, Group, GroupSpec, Meter, MeterSpec, PortConfig, Problem, SwitchForecast, SwitchStatistics,
};
use openflow::{
    Dpid, FlowStats, FlowStatsRequest, GroupDesc, GroupId, GroupMod, GroupModCommand, Message, MeterConfig,
    MeterId, MeterMod, MeterModCommand, PortDesc, PortMod, Reply, Request,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::flows::{How, foretell, without_stats};
use super::page::{Page, Paging, Part};
use super::ryu::{change_group, change_meter};
use super::{Answer, Shared, switch_named};
use crate::controllerd::edit::Origin;
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::{Body, Name, Path, Query, Refusal};

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new()
        .routes(routes!(groups))
        .routes(routes!(group, put_group, delete_group))
        .routes(routes!(meters))
        .routes(routes!(meter, put_meter, delete_meter))
        .routes(routes!(port_config, put_port_config))
        .routes(routes!(statistics))
}

/// All groups of a switch, by number.
#[utoipa::path(
    get, path = "/api/v1/switches/{switch}/groups", tag = "raw",
    params(("switch", description = "Name or dpid"), Paging), responses((status = 200, body = Vec<Group>))
)]
async fn groups(
    State(hub): Shared,
    Name(name): Name,
    uri: Uri,
    Query(paging): Query<Paging>,
) -> Result<Page<Group>, Refusal> {
    let part = Part::new(&uri, paging.limit, paging.cursor.as_deref(), usize::MAX)?;
    let dpid = switch_named(&hub, &name)?;
    let groups = groups_of(&hub, dpid, GroupId::ALL).await?;
    Ok(part.of(groups.into_iter().map(|group| (format!("{:010}", group.id), group))))
}

/// A group.
#[utoipa::path(
    get, path = "/api/v1/switches/{switch}/groups/{group}", tag = "raw",
    params(("switch", description = "Name or dpid"), ("group" = u32, description = "Number")),
    responses((status = 200, body = Group))
)]
async fn group(State(hub): Shared, Path((switch, group)): Path<(String, String)>) -> Answer<Group> {
    let (dpid, group) = (switch_named(&hub, &switch)?, group_in(&group)?);
    let found = groups_of(&hub, dpid, group).await?.into_iter().next();
    Ok(Json(found.ok_or_else(|| Problem::not_found(format!("group {group} at {switch}")))?))
}

/// Creates or replaces a group. It is answered when the switch has confirmed it.
#[utoipa::path(
    put, path = "/api/v1/switches/{switch}/groups/{group}", tag = "raw",
    params(("switch", description = "Name or dpid"), ("group" = u32, description = "Number"), How),
    request_body = GroupSpec,
    responses(
        (status = 200, content((Group = "application/json"), (Forecast = "application/vnd.weft.forecast+json"))),
        (status = 201, body = Group)
    )
)]
async fn put_group(
    State(hub): Shared,
    Path((switch, number)): Path<(String, String)>,
    Query(how): Query<How>,
    origin: Origin,
    Body(spec): Body<GroupSpec>,
) -> Result<Response, Refusal> {
    let (dpid, group) = (switch_named(&hub, &switch)?, group_in(&number)?);
    let is_there = group_descs(&hub, dpid).await?.iter().any(|known| known.group == group);
    let command = if is_there { GroupModCommand::Modify } else { GroupModCommand::Add };
    let change = shape::group_mod(group, &spec, command)?;
    if how.dry_run {
        return Ok(foretell(&hub, dpid, SwitchForecast::default()));
    }
    change_group(&hub, dpid, change, "").await?;
    hub.audit(origin, format!("{switch}: group {group} {}", if is_there { "changed" } else { "added" }))
        .await;
    let found = groups_of(&hub, dpid, group).await?.into_iter().next();
    let found = found.ok_or_else(|| Problem::conflict("somebody else deleted the group at once"))?;
    let status = if is_there { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(found)).into_response())
}

/// Deletes a group, and with it the flows that lead to it (OpenFlow 1.3.5 §6.7).
#[utoipa::path(
    delete, path = "/api/v1/switches/{switch}/groups/{group}", tag = "raw",
    params(("switch", description = "Name or dpid"), ("group" = u32, description = "Number"), How),
    responses(
        (status = 200, body = Forecast, content_type = "application/vnd.weft.forecast+json"),
        (status = 204, description = "It is gone")
    )
)]
async fn delete_group(
    State(hub): Shared,
    Path((switch, number)): Path<(String, String)>,
    Query(how): Query<How>,
    origin: Origin,
) -> Result<Response, Refusal> {
    let (dpid, group) = (switch_named(&hub, &switch)?, group_in(&number)?);
    let known = group_descs(&hub, dpid).await?.into_iter().find(|known| known.group == group);
    let GroupDesc { group_type, group, .. } =
        known.ok_or_else(|| Problem::not_found(format!("group {group} at {switch}")))?;
    if how.dry_run {
        let request = FlowStatsRequest { out_group: Some(group), ..FlowStatsRequest::default() };
        let deletes = flows(&hub, dpid, request).await?.iter().map(without_stats).collect();
        return Ok(foretell(&hub, dpid, SwitchForecast { deletes, ..SwitchForecast::default() }));
    }
    let delete = GroupMod { command: GroupModCommand::Delete, group_type, group, buckets: Vec::new() };
    change_group(&hub, dpid, delete, "").await?;
    hub.audit(origin, format!("{switch}: group {group} deleted")).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn flows(hub: &Hub, dpid: Dpid, request: FlowStatsRequest) -> Result<Vec<FlowStats>, Problem> {
    match hub.ask(dpid, Request::Flow(request)).await? {
        Reply::Flow(flows) => Ok(flows),
        _ => Ok(Vec::new()),
    }
}

async fn group_descs(hub: &Hub, dpid: Dpid) -> Result<Vec<GroupDesc>, Problem> {
    match hub.ask(dpid, Request::GroupDesc).await? {
        Reply::GroupDesc(groups) => Ok(groups),
        _ => Ok(Vec::new()),
    }
}

/// Groups with what they counted, by number.
async fn groups_of(hub: &Hub, dpid: Dpid, group: GroupId) -> Result<Vec<Group>, Problem> {
    let mut descs = group_descs(hub, dpid).await?;
    descs.retain(|desc| group == GroupId::ALL || desc.group == group);
    descs.sort_by_key(|desc| desc.group);
    let stats = match hub.ask(dpid, Request::Group(group)).await {
        Ok(Reply::Group(stats)) => stats,
        _ => Vec::new(),
    };
    let stats_of = |desc: &GroupDesc| stats.iter().find(|stats| stats.group == desc.group);
    Ok(descs.iter().map(|desc| shape::group(desc, stats_of(desc))).collect())
}

fn group_in(text: &str) -> Result<GroupId, Problem> {
    let number = text.parse().ok().map(GroupId).filter(|group| *group <= GroupId::MAX);
    number.ok_or_else(|| Problem::not_found(format!("group {text:?}: groups are 0 to {}", GroupId::MAX)))
}

/// All meters of a switch, by number.
#[utoipa::path(
    get, path = "/api/v1/switches/{switch}/meters", tag = "raw",
    params(("switch", description = "Name or dpid"), Paging), responses((status = 200, body = Vec<Meter>))
)]
async fn meters(
    State(hub): Shared,
    Name(name): Name,
    uri: Uri,
    Query(paging): Query<Paging>,
) -> Result<Page<Meter>, Refusal> {
    let part = Part::new(&uri, paging.limit, paging.cursor.as_deref(), usize::MAX)?;
    let dpid = switch_named(&hub, &name)?;
    let meters = meters_of(&hub, dpid).await?;
    Ok(part.of(meters.into_iter().map(|meter| (format!("{:010}", meter.id), meter))))
}

/// A meter.
#[utoipa::path(
    get, path = "/api/v1/switches/{switch}/meters/{meter}", tag = "raw",
    params(("switch", description = "Name or dpid"), ("meter" = u32, description = "Number")),
    responses((status = 200, body = Meter))
)]
async fn meter(State(hub): Shared, Path((switch, number)): Path<(String, String)>) -> Answer<Meter> {
    let (dpid, meter) = (switch_named(&hub, &switch)?, meter_in(&number)?);
    Ok(Json(meter_of(&hub, dpid, meter).await?.ok_or_else(|| no_meter(meter, &switch))?))
}

/// Creates or replaces a meter. It is answered when the switch has confirmed it.
#[utoipa::path(
    put, path = "/api/v1/switches/{switch}/meters/{meter}", tag = "raw",
    params(("switch", description = "Name or dpid"), ("meter" = u32, description = "Number"), How),
    request_body = MeterSpec,
    responses(
        (status = 200, content((Meter = "application/json"), (Forecast = "application/vnd.weft.forecast+json"))),
        (status = 201, body = Meter)
    )
)]
async fn put_meter(
    State(hub): Shared,
    Path((switch, number)): Path<(String, String)>,
    Query(how): Query<How>,
    origin: Origin,
    Body(spec): Body<MeterSpec>,
) -> Result<Response, Refusal> {
    let (dpid, meter) = (switch_named(&hub, &switch)?, meter_in(&number)?);
    let is_there = meter_of(&hub, dpid, meter).await?.is_some();
    let command = if is_there { MeterModCommand::Modify } else { MeterModCommand::Add };
    let change = shape::meter_mod(meter, &spec, command);
    if how.dry_run {
        return Ok(foretell(&hub, dpid, SwitchForecast::default()));
    }
    change_meter(&hub, dpid, change, "").await?;
    hub.audit(origin, format!("{switch}: meter {meter} {}", if is_there { "changed" } else { "added" }))
        .await;
    let found = meter_of(&hub, dpid, meter).await?;
    let found = found.ok_or_else(|| Problem::conflict("somebody else deleted the meter at once"))?;
    let status = if is_there { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(found)).into_response())
}

/// Deletes a meter, and with it the flows that use it (OpenFlow 1.3.5 §6.8).
#[utoipa::path(
    delete, path = "/api/v1/switches/{switch}/meters/{meter}", tag = "raw",
    params(("switch", description = "Name or dpid"), ("meter" = u32, description = "Number"), How),
    responses(
        (status = 200, body = Forecast, content_type = "application/vnd.weft.forecast+json"),
        (status = 204, description = "It is gone")
    )
)]
async fn delete_meter(
    State(hub): Shared,
    Path((switch, number)): Path<(String, String)>,
    Query(how): Query<How>,
    origin: Origin,
) -> Result<Response, Refusal> {
    let (dpid, meter) = (switch_named(&hub, &switch)?, meter_in(&number)?);
    meter_of(&hub, dpid, meter).await?.ok_or_else(|| no_meter(meter, &switch))?;
    if how.dry_run {
        let flows = flows(&hub, dpid, FlowStatsRequest::default()).await?;
        let uses = |flow: &&FlowStats| flow.instructions.contains(&openflow::Instruction::Meter(meter));
        let deletes = flows.iter().filter(uses).map(without_stats).collect();
        return Ok(foretell(&hub, dpid, SwitchForecast { deletes, ..SwitchForecast::default() }));
    }
    let delete = MeterMod {
        command: MeterModCommand::Delete,
        flags: openflow::MeterFlags::NONE,
        meter,
        bands: Vec::new(),
    };
    change_meter(&hub, dpid, delete, "").await?;
    hub.audit(origin, format!("{switch}: meter {meter} deleted")).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Meters with what they counted, by number.
async fn meters_of(hub: &Hub, dpid: Dpid) -> Result<Vec<Meter>, Problem> {
    let mut configs: Vec<MeterConfig> = match hub.ask(dpid, Request::MeterConfig(MeterId::ALL)).await? {
        Reply::MeterConfig(configs) => configs,
        _ => Vec::new(),
    };
    configs.sort_by_key(|config| config.meter);
    let stats = match hub.ask(dpid, Request::Meter(MeterId::ALL)).await {
        Ok(Reply::Meter(stats)) => stats,
        _ => Vec::new(),
    };
    let stats_of = |config: &MeterConfig| stats.iter().find(|stats| stats.meter == config.meter);
    Ok(configs.iter().map(|config| shape::meter(config, stats_of(config))).collect())
}

/// Open vSwitch refuses to answer for a meter that is not there, so all of them are asked for.
async fn meter_of(hub: &Hub, dpid: Dpid, meter: MeterId) -> Result<Option<Meter>, Problem> {
    Ok(meters_of(hub, dpid).await?.into_iter().find(|found| found.id == meter.0))
}

fn no_meter(meter: MeterId, switch: &str) -> Problem {
    Problem::not_found(format!("meter {meter} at {switch}"))
}

fn meter_in(text: &str) -> Result<MeterId, Problem> {
    let number = text.parse().ok().map(MeterId).filter(|meter| (MeterId(1)..=MeterId::MAX).contains(meter));
    number.ok_or_else(|| Problem::not_found(format!("meter {text:?}: meters are 1 to {}", MeterId::MAX)))
}

/// How a port behaves.
#[utoipa::path(
    get, path = "/api/v1/switches/{switch}/ports/{port}/config", tag = "raw",
    params(("switch", description = "Name or dpid"), ("port", description = "Number or name")),
    responses((status = 200, body = PortConfig))
)]
async fn port_config(State(hub): Shared, Path((switch, port)): Path<(String, String)>) -> Answer<PortConfig> {
    let dpid = switch_named(&hub, &switch)?;
    Ok(Json(shape::port_config(&port_of(&hub, dpid, &port).await?)))
}

/// Changes how a port behaves. It is answered when the switch has confirmed it.
#[utoipa::path(
    put, path = "/api/v1/switches/{switch}/ports/{port}/config", tag = "raw",
    params(("switch", description = "Name or dpid"), ("port", description = "Number or name"), How),
    request_body = PortConfig,
    responses((status = 200, content(
        (PortConfig = "application/json"), (Forecast = "application/vnd.weft.forecast+json")
    )))
)]
async fn put_port_config(
    State(hub): Shared,
    Path((switch, name)): Path<(String, String)>,
    Query(how): Query<How>,
    origin: Origin,
    Body(wanted): Body<PortConfig>,
) -> Result<Response, Refusal> {
    let dpid = switch_named(&hub, &switch)?;
    let port = port_of(&hub, dpid, &name).await?;
    if how.dry_run {
        return Ok(foretell(&hub, dpid, SwitchForecast::default()));
    }
    let (config, mask) = shape::port_mod(wanted);
    let change = PortMod { port: port.port, mac: port.mac, config, mask, advertise: port.advertised };
    hub.send_changes(dpid, vec![Message::PortMod(change)]).await?;
    hub.audit(origin, format!("{switch}: port {}: config {config:?}", port.port)).await;
    Ok(Json(shape::port_config(&port_of(&hub, dpid, &name).await?)).into_response())
}

/// A port as the switch describes it at this moment.
async fn port_of(hub: &Hub, dpid: Dpid, name: &str) -> Result<PortDesc, Problem> {
    let ports = match hub.ask(dpid, Request::PortDesc).await? {
        Reply::PortDesc(ports) => ports,
        _ => Vec::new(),
    };
    let number = name.parse::<u32>().ok();
    let is_it = |port: &PortDesc| number.map_or_else(|| port.name == *name, |n| n == port.port.0);
    ports.into_iter().find(is_it).ok_or_else(|| Problem::not_found(format!("port {name:?}")))
}

/// All that a switch counts.
#[utoipa::path(
    get, path = "/api/v1/switches/{switch}/statistics", tag = "raw",
    params(("switch", description = "Name or dpid")), responses((status = 200, body = SwitchStatistics))
)]
async fn statistics(State(hub): Shared, Name(name): Name) -> Answer<SwitchStatistics> {
    let dpid = switch_named(&hub, &name)?;
    let mut statistics = SwitchStatistics::default();
    let requests = [
        Request::Aggregate(FlowStatsRequest::default()),
        Request::Table,
        Request::PortStats(None),
        Request::Queue { port: None, queue: None },
    ];
    for request in requests {
        match hub.ask(dpid, request).await {
            Ok(reply) => shape::add(&mut statistics, reply),
            // What a switch does not count it refuses to tell.
            Err(problem) if problem.status == 422 => {}
            Err(problem) => return Err(problem.into()),
        }
    }
    Ok(Json(statistics))
}
