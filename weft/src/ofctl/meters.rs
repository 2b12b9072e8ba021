//! Meters.

use openflow::text::{parse_meter_id, parse_meter_mod};
use openflow::{Message, MeterModCommand, Request};

use super::Ofctl;
use super::changes::Changes;
use super::input::Source;
use super::verbs::{Given, Selected, Switch};

/// Verbs about meters.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show the meters.
    #[command(alias = "dump-meter")]
    DumpMeters(Selected),
    /// Show the counters of the meters.
    MeterStats(Selected),
    /// Show what meters can do.
    MeterFeatures(Switch),
    /// Add a meter.
    AddMeter(Given),
    /// Change a meter.
    ModMeter(Given),
    /// Delete a meter, or all.
    #[command(alias = "del-meter")]
    DelMeters(Selected),
}

pub async fn run(ofctl: &mut Ofctl, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::DumpMeters(of) => {
            let meter = parse_meter_id(&of.what)?;
            ofctl.dump_of(&of.switch, Request::MeterConfig(meter)).await
        }
        Verb::MeterStats(of) => {
            let meter = parse_meter_id(&of.what)?;
            ofctl.dump_of(&of.switch, Request::Meter(meter)).await
        }
        Verb::MeterFeatures(of) => ofctl.dump_of(&of.switch, Request::MeterFeatures).await,
        Verb::AddMeter(of) => change(ofctl, &of.switch, MeterModCommand::Add, &of.what).await,
        Verb::ModMeter(of) => change(ofctl, &of.switch, MeterModCommand::Modify, &of.what).await,
        Verb::DelMeters(of) => change(ofctl, &of.switch, MeterModCommand::Delete, &of.what).await,
    }
}

async fn change(ofctl: &mut Ofctl, switch: &str, command: MeterModCommand, what: &str) -> anyhow::Result<()> {
    let source = Source::one(what)?;
    let items = source.read(|line| {
        let meter = parse_meter_mod(command, line.text()).map_err(|error| line.mistake(error))?;
        Ok(Message::MeterMod(meter))
    })?;
    let mut link = ofctl.connect(switch).await?;
    Changes::new(&source, items).send(&mut link, ofctl.options.bundle).await
}
