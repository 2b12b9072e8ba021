//! Flows as switches hold them, and raw flows beside those of the intents.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use controller::layout::{self, Owner};
use controller_api::{Flow, FlowAdd, FlowOwner, Forecast, Problem, SwitchForecast};
use openflow::text::{Named, Names, WithoutStats};
use openflow::{FlowMod, FlowModCommand, FlowStats, FlowStatsRequest, Reply, Request};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::intents::Foretold;
use super::page::{Page, Part};
use super::{Shared, switch_named};
use crate::controllerd::edit::Origin;
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::{Body, Name, Query, Refusal};
use crate::controllerd::trace::flows_of;

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new().routes(routes!(list, add, delete))
}

/// Which flows are wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct FlowsOf {
    /// Only those of this table.
    #[serde(default)]
    table: Option<u8>,
    /// Only those of this owner.
    #[serde(default)]
    #[param(inline)]
    owner: Option<FlowOwner>,
    /// Only those that serve this intent (`network/blue`).
    #[serde(default)]
    intent: Option<String>,
    /// Most items of an answer; what follows is behind its `Link` header.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Where to go on, from the `Link` header of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

impl FlowsOf {
    fn takes(&self, flow: &Flow) -> bool {
        self.table.is_none_or(|table| flow.table == table)
            && self.owner.is_none_or(|owner| flow.owner == owner)
            && self.intent.as_ref().is_none_or(|intent| flow.intent.as_ref() == Some(intent))
    }
}

/// Every flow of a switch, as the switch itself reports it, by table and priority.
#[utoipa::path(
    get, path = "/api/v1/switches/{switch}/flows", tag = "flows",
    params(("switch", description = "Name or dpid"), FlowsOf),
    responses((status = 200, body = Vec<Flow>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
async fn list(
    State(hub): Shared,
    Name(name): Name,
    uri: Uri,
    Query(wanted): Query<FlowsOf>,
) -> Result<Page<Flow>, Refusal> {
    let part = Part::new(&uri, wanted.limit, wanted.cursor.as_deref(), usize::MAX)?;
    let dpid = switch_named(&hub, &name)?;
    let flows = flows_of(&hub, dpid).await?;
    let key =
        |flow: &FlowStats| format!("{:03}/{:05}/{}", flow.table.0, u16::MAX - flow.priority.0, flow.matches);
    let mut keyed: Vec<(String, FlowStats)> = flows.into_iter().map(|flow| (key(&flow), flow)).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(hub.read(|core| {
        let shaped = keyed.into_iter().map(|(key, flow)| (key, shape_of(core, &flow)));
        part.of(shaped.filter(|(_, flow)| wanted.takes(flow)))
    }))
}

/// How something is written past the intents.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct How {
    /// Change nothing: answer what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// Adds a raw flow. It is answered when the switch has confirmed it. Flows of intents cannot be overwritten.
#[utoipa::path(
    post, path = "/api/v1/switches/{switch}/flows", tag = "flows", request_body = FlowAdd,
    params(("switch", description = "Name or dpid"), How),
    responses(
        (status = 200, body = Forecast, content_type = "application/vnd.weft.forecast+json"),
        (status = 201, body = Flow),
        (status = 409, description = "An intent has a flow with this match and priority", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")
    )
)]
async fn add(
    State(hub): Shared,
    Name(name): Name,
    Query(how): Query<How>,
    origin: Origin,
    Body(request): Body<FlowAdd>,
) -> Result<Response, Refusal> {
    let dpid = switch_named(&hub, &name)?;
    let flow = flow_mod_of(&request)?;
    let key = controller::FlowKey::new(flow.table, flow.priority, flow.matches.clone());
    let taken = hub.read(|core| {
        let body = core.blueprint().switches.get(&dpid)?.get(&key)?;
        Some(core.blueprint().label(body.cookie).unwrap_or("an intent").to_owned())
    });
    if let Some(label) = taken {
        let detail = format!("{label} has a flow with this table, priority and match");
        return Err(Problem::conflict(detail).into());
    }
    if how.dry_run {
        let held = installed(&hub, dpid, &flow, (openflow::Cookie(0), 0)).await?;
        let text = vec![text_of(&flow)];
        let (adds, modifies) = if held.is_some() { (vec![], text) } else { (text, vec![]) };
        let forecast = SwitchForecast { adds, modifies, ..SwitchForecast::default() };
        return Ok(foretell(&hub, dpid, forecast));
    }
    hub.send_mods(dpid, vec![flow.clone()]).await?;
    hub.audit(origin, format!("{name}: {} added", text_of(&flow))).await;
    let installed = installed(&hub, dpid, &flow, (flow.cookie, u64::MAX)).await?;
    let gone =
        || Problem::new(409, "gone", "The flow is gone already").with_detail("its time was over at once");
    let installed = installed.ok_or_else(gone)?;
    Ok((StatusCode::CREATED, Json(hub.read(|core| shape_of(core, &installed)))).into_response())
}

/// The flow with the table, priority and match of `flow` that a switch holds.
async fn installed(
    hub: &Hub,
    dpid: openflow::Dpid,
    flow: &FlowMod,
    (cookie, cookie_mask): (openflow::Cookie, u64),
) -> Result<Option<FlowStats>, Problem> {
    let request = FlowStatsRequest {
        table: flow.table,
        cookie,
        cookie_mask,
        matches: flow.matches.clone(),
        ..FlowStatsRequest::default()
    };
    Ok(match hub.ask(dpid, Request::Flow(request)).await? {
        Reply::Flow(flows) => {
            flows.into_iter().find(|f| f.priority == flow.priority && f.matches == flow.matches)
        }
        _ => None,
    })
}

/// As `ovs-ofctl add-flow` takes it.
pub(super) fn text_of(flow: &FlowMod) -> String {
    let flow = FlowStats {
        table: flow.table,
        duration: std::time::Duration::ZERO,
        priority: flow.priority,
        idle_timeout: flow.idle_timeout,
        hard_timeout: flow.hard_timeout,
        flags: flow.flags,
        importance: flow.importance,
        cookie: flow.cookie,
        packets: 0,
        bytes: 0,
        matches: flow.matches.clone(),
        instructions: flow.instructions.clone(),
    };
    without_stats(&flow)
}

pub(super) fn without_stats(flow: &FlowStats) -> String {
    Named(&WithoutStats(flow), &Names::default()).to_string()
}

/// What raw flows come to: nobody says who reaches whom by them.
pub(super) fn foretell(hub: &Hub, dpid: openflow::Dpid, forecast: SwitchForecast) -> Response {
    let switch = hub.read(|core| core.view().name(dpid));
    let forecast = SwitchForecast { switch, connected: true, ..forecast };
    Foretold(Forecast { switches: vec![forecast], ..Forecast::default() }).into_response()
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Selection {
    /// Which raw flows, as `ovs-ofctl del-flows` takes it (`table=0,in_port=1`). Empty: all of them.
    #[serde(default, rename = "match")]
    matches: String,
    /// Change nothing: answer what would happen.
    #[serde(default)]
    dry_run: bool,
}

/// Deletes the raw flows that a match covers; the answer is their number. Flows of intents and of others stay.
#[utoipa::path(
    delete, path = "/api/v1/switches/{switch}/flows", tag = "flows",
    params(("switch", description = "Name or dpid"), Selection),
    responses(
        (status = 200, content((u64 = "application/json"), (Forecast = "application/vnd.weft.forecast+json"))),
        (status = 422, body = Problem, content_type = "application/problem+json")
    )
)]
async fn delete(
    State(hub): Shared,
    Name(name): Name,
    Query(selection): Query<Selection>,
    origin: Origin,
) -> Result<Response, Refusal> {
    let dpid = switch_named(&hub, &name)?;
    let wrong = |error| Problem::invalid("", format!("match: {error}"));
    let mut delete =
        openflow::text::parse_flow_mod(FlowModCommand::Delete, &selection.matches).map_err(wrong)?;
    (delete.cookie, delete.cookie_mask) = layout::any_raw();
    let request = FlowStatsRequest {
        table: delete.table,
        out_port: delete.out_port,
        out_group: delete.out_group,
        cookie: delete.cookie,
        cookie_mask: delete.cookie_mask,
        matches: delete.matches.clone(),
    };
    let before = match hub.ask(dpid, Request::Flow(request)).await? {
        Reply::Flow(flows) => flows,
        _ => Vec::new(),
    };
    if selection.dry_run {
        let deletes = before.iter().map(without_stats).collect();
        return Ok(foretell(&hub, dpid, SwitchForecast { deletes, ..SwitchForecast::default() }));
    }
    hub.send_mods(dpid, vec![delete]).await?;
    hub.audit(origin, format!("{name}: {} raw flows deleted", before.len())).await;
    Ok(Json(before.len() as u64).into_response())
}

/// The flow that a request to add one means.
pub(crate) fn flow_of_request(request: &FlowAdd) -> Result<FlowMod, Problem> {
    match &request.text {
        Some(text) => {
            if *request != (FlowAdd { text: Some(text.clone()), ..FlowAdd::default() }) {
                return Err(Problem::invalid("/text", "`text` excludes all other fields"));
            }
            openflow::text::parse_flow(text).map_err(|error| Problem::invalid("/text", error))
        }
        None => structured(request),
    }
}

/// The same with the cookie of raw flows.
fn flow_mod_of(request: &FlowAdd) -> Result<FlowMod, Problem> {
    let mut flow = flow_of_request(request)?;
    let text = format!("{}/{}/{}", flow.table, flow.priority, flow.matches);
    let id =
        text.bytes().fold(u64::from(flow.priority.0), |id, b| id.wrapping_mul(31).wrapping_add(b.into()));
    flow.cookie = layout::raw_cookie(id);
    Ok(flow)
}

fn structured(request: &FlowAdd) -> Result<FlowMod, Problem> {
    let mut fields = Vec::new();
    // Words such as `tcp` have no value.
    for (name, value) in &request.matches {
        fields.push(if value.is_empty() { name.clone() } else { format!("{name}={value}") });
    }
    let numbers = [
        ("table", request.table.map(u16::from)),
        ("priority", request.priority),
        ("idle_timeout", request.idle_timeout),
        ("hard_timeout", request.hard_timeout),
    ];
    fields.extend(numbers.into_iter().filter_map(|(name, number)| Some(format!("{name}={}", number?))));
    let actions = if request.actions.is_empty() { "drop".to_owned() } else { request.actions.join(",") };
    fields.push(format!("actions={actions}"));
    let text = fields.join(",");
    openflow::text::parse_flow(&text).map_err(|error| {
        let pointer =
            if error.position >= text.find("actions=").unwrap_or(0) { "/actions" } else { "/match" };
        Problem::invalid(pointer, format!("{error} of {text}"))
    })
}

fn shape_of(core: &controller::Controller, flow: &FlowStats) -> Flow {
    flow_shape(flow, core.blueprint().label(flow.cookie).map(str::to_owned))
}

/// A flow as the API writes it, with the intent it serves.
pub(crate) fn flow_shape(flow: &FlowStats, intent: Option<String>) -> Flow {
    let owner = match layout::owner(flow.cookie) {
        Owner::Intent | Owner::Learned => FlowOwner::Intent,
        Owner::Raw => FlowOwner::Raw,
        Owner::Foreign => FlowOwner::Foreign,
    };
    let counted = |n: u64| if n == u64::MAX { 0 } else { n };
    let actions = openflow::text::Instructions(&flow.instructions).to_string();
    Flow {
        text: flow.to_string(),
        table: flow.table.0,
        priority: flow.priority.0,
        cookie: format!("{:#x}", flow.cookie.0),
        matches: fields_of(&flow.matches.to_string()),
        actions: split(&actions).filter(|action| *action != "drop").map(str::to_owned).collect(),
        frames: counted(flow.packets),
        bytes: counted(flow.bytes),
        duration: flow.duration.as_secs_f64(),
        idle_timeout: flow.idle_timeout,
        hard_timeout: flow.hard_timeout,
        owner,
        intent,
    }
}

/// `tcp,tp_dst=80` as names and values.
fn fields_of(text: &str) -> BTreeMap<String, String> {
    let field = |part: &str| match part.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (part.to_owned(), String::new()),
    };
    split(text).map(field).collect()
}

/// Splits at commas outside of parentheses.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0i32;
    text.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
    .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_fields_say_the_same() {
        let text = FlowAdd {
            text: Some("table=1,priority=7,tcp,tp_dst=80,idle_timeout=5,actions=output:2".into()),
            ..FlowAdd::default()
        };
        let fields = FlowAdd {
            table: Some(1),
            priority: Some(7),
            idle_timeout: Some(5),
            matches: [("tcp".into(), String::new()), ("tp_dst".into(), "80".into())].into(),
            actions: vec!["output:2".into()],
            ..FlowAdd::default()
        };
        let flow = flow_mod_of(&text).unwrap();
        assert_eq!(flow, flow_mod_of(&fields).unwrap());
        assert_eq!(layout::owner(flow.cookie), Owner::Raw);
        assert_eq!(fields_of(&flow.matches.to_string()), fields.matches);
    }

    #[test]
    fn mistakes_are_pointed_at() {
        let add = |matches: &str, action: &str| FlowAdd {
            matches: [(matches.to_owned(), "1".to_owned())].into(),
            actions: vec![action.to_owned()],
            ..FlowAdd::default()
        };
        let pointer = |request: &FlowAdd| flow_mod_of(request).unwrap_err().pointer.unwrap();
        assert_eq!(pointer(&add("colour", "output:1")), "/match");
        assert_eq!(pointer(&add("in_port", "paint")), "/actions");
        let both = FlowAdd { text: Some("actions=drop".into()), table: Some(1), ..FlowAdd::default() };
        assert_eq!(pointer(&both), "/text");
    }
}
