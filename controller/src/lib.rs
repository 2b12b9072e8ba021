//! Intent to plan to diff to flow mods: the core of the controller. No I/O, no clock.
//!
//! [`plan()`] turns an [`Intent`] and a [`View`] into a [`Blueprint`], [`diff`] a blueprint and what a switch holds
//! into the few changes that are needed. [`Controller`] keeps the view from what switches report, and the switches
//! at the blueprint.

mod blueprint;
mod config;
mod discovery;
mod effect;
mod engine;
mod floods;
mod forecast;
mod graph;
mod groups;
mod intent;
pub mod interpret;
mod lanes;
pub mod layout;
mod lldp;
mod meters;
mod plan;
mod reach;
mod siphash;
mod switch;
#[cfg(test)]
mod testnet;
#[cfg(test)]
mod tests;
mod view;

pub use blueprint::{Blueprint, Change, FlowBody, FlowKey, Flows, Issue, Issues, diff, owned};
pub use config::Config;
pub use effect::{Answer, CloseReason, ConnId, Counters, Effect, Event, Outgoing, RequestError, Token};
pub use engine::{Controller, IntentState, IntentStatus, SwitchState};
pub use forecast::{FlowChange, Forecast, Verb};
pub use graph::Graph;
pub use groups::{GroupBody, GroupChange, Groups, Support, diff_groups, owned_groups};
pub use intent::{
    Attachment, Balancer, Chain, Declared, Edit, Fault, Function, Intent, Judgement, Kind, Label, Member,
    Mirror, Network, Policy, PortName, Qos, Reservation, Route, Service, Tenant, Traffic,
};
pub use lanes::{
    Balance, Copies, Course, Ends, Guard, Hold, Lane, Lanes, Limit, Path, Placed, Rule, Serving, resolve,
};
pub use meters::{MeterBody, MeterChange, Meters, diff_meters, owned_meters};
pub use plan::plan;
pub use reach::{Endpoint, Pairs};
pub use siphash::Key;
pub use view::{At, Changes, Host, HostKey, Port, Role, Switch, View};
