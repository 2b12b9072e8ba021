//! What a switch is, and its tables and configuration.

use anyhow::{bail, ensure};
use openflow::text::{Printed, closest, frag_mode};
use openflow::{
    Config, FragMode, Message, Reply, Request, TABLE_EVICTION, TABLE_VACANCY_EVENTS, TableDesc, TableId,
    TableMod, Vacancy, Version,
};

use super::Ofctl;
use super::link::{Link, version_name};
use super::verbs::Switch;

/// Verbs about the switch as a whole.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show what the switch is, its ports and its configuration.
    Show(Switch),
    /// Show who made the switch.
    DumpDesc(Switch),
    /// Show the counters of the tables.
    DumpTables(Switch),
    /// Show what the tables can do.
    DumpTableFeatures(Switch),
    /// Show how the tables are configured (OpenFlow 1.4).
    DumpTableDesc(Switch),
    /// Configure a table: evict, noevict, vacancy:DOWN,UP or novacancy (OpenFlow 1.4).
    ModTable {
        /// The switch.
        switch: String,
        /// Its number, or all.
        table: String,
        /// What to change.
        setting: String,
    },
    /// Show what happens to fragments.
    GetFrags(Switch),
    /// Say what happens to fragments: normal, drop or reassemble.
    SetFrags {
        /// The switch.
        switch: String,
        /// normal, drop or reassemble.
        mode: String,
    },
}

pub async fn run(ofctl: &mut Ofctl, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Show(of) => show(ofctl, &of.switch).await,
        Verb::DumpDesc(of) => ofctl.dump_of(&of.switch, Request::Desc).await,
        Verb::DumpTables(of) => ofctl.dump_of(&of.switch, Request::Table).await,
        Verb::DumpTableFeatures(of) => ofctl.dump_of(&of.switch, Request::TableFeatures(Vec::new())).await,
        Verb::DumpTableDesc(of) => {
            let mut link = ofctl.connect(&of.switch).await?;
            needs_14(&link, "dump-table-desc")?;
            ofctl.dump(&mut link, Request::TableDesc).await
        }
        Verb::ModTable { switch, table, setting } => mod_table(ofctl, &switch, &table, &setting).await,
        Verb::GetFrags(of) => {
            let mut link = ofctl.connect(&of.switch).await?;
            let config = config_of(&mut link).await?;
            ofctl.print(format_args!("{}\n", frag_mode(config.frag)))
        }
        Verb::SetFrags { switch, mode } => set_frags(ofctl, &switch, &mode).await,
    }
}

/// The verb needs OpenFlow 1.4.
fn needs_14(link: &Link, verb: &str) -> anyhow::Result<()> {
    let spoken = version_name(link.version());
    ensure!(
        link.version() >= Version::V14,
        "{verb} needs OpenFlow 1.4; {spoken} was agreed on with {} (-O OpenFlow14 insists)",
        link.target()
    );
    Ok(())
}

async fn show(ofctl: &mut Ofctl, switch: &str) -> anyhow::Result<()> {
    let mut link = ofctl.connect(switch).await?;
    let version = link.version();
    let (xid, features) = link.ask(&Message::FeaturesRequest).await?;
    ofctl.print(Printed::new(version, xid, &features))?;
    // 1.0 says them with the features.
    if version != Version::V10 {
        let (xid, ports) = link.multipart(Request::PortDesc).await?;
        ofctl.print_reply(&link, xid, ports, &openflow::text::Names::default())?;
    }
    let (xid, config) = link.ask(&Message::GetConfigRequest).await?;
    ofctl.print(Printed::new(version, xid, &config))
}

/// How the switch is configured.
pub async fn config_of(link: &mut Link) -> anyhow::Result<Config> {
    match link.ask(&Message::GetConfigRequest).await? {
        (_, Message::GetConfigReply(config)) => Ok(config),
        (_, other) => bail!("{}: an answer of the wrong kind: {other:?}", link.target()),
    }
}

async fn set_frags(ofctl: &mut Ofctl, switch: &str, mode: &str) -> anyhow::Result<()> {
    let wanted = FragMode::ALL.iter().copied().find(|known| frag_mode(*known) == mode);
    let Some(frag) = wanted else { bail!("\"{mode}\" is no mode: normal, drop or reassemble is expected") };
    let mut link = ofctl.connect(switch).await?;
    let config = Config { frag, ..config_of(&mut link).await? };
    link.send(&Message::SetConfig(config))?;
    if let Some((_, refusal)) = link.barrier().await?.pop_first() {
        return Err(refusal.into());
    }
    // A switch need not say that it did not obey.
    let now = config_of(&mut link).await?.frag;
    ensure!(now == frag, "{switch}: the switch keeps to \"{}\": it may not have \"{mode}\"", frag_mode(now));
    Ok(())
}

async fn mod_table(ofctl: &mut Ofctl, switch: &str, table: &str, setting: &str) -> anyhow::Result<()> {
    let change = Setting::read(setting)?;
    let table = match table {
        "all" | "ALL" => TableId::ALL,
        number => match number.parse() {
            Ok(number) => TableId(number),
            Err(_) => bail!("\"{table}\" is no table: a number up to 254 or all is expected"),
        },
    };
    let mut link = ofctl.connect(switch).await?;
    needs_14(&link, "mod-table")?;
    // What is not to be changed stays as it is; of all tables, that would have to be the same.
    let present = match link.multipart(Request::TableDesc).await? {
        (_, Reply::TableDesc(all)) => all.into_iter().find(|desc| desc.table == table),
        (_, other) => bail!("{switch}: an answer of the wrong kind: {other:?}"),
    };
    link.send(&Message::TableMod(change.apply(table, present.as_ref())))?;
    match link.barrier().await?.pop_first() {
        Some((_, refusal)) => Err(refusal.into()),
        None => Ok(()),
    }
}

/// What mod-table can change.
#[derive(Clone, Copy)]
enum Setting {
    Evict(bool),
    Vacancy(Option<(u8, u8)>),
}

impl Setting {
    fn read(text: &str) -> anyhow::Result<Self> {
        if let Some(limits) = text.strip_prefix("vacancy:") {
            let percent = |text: &str| text.trim_end_matches('%').parse().ok().filter(|n: &u8| *n <= 100);
            let pair = limits.split_once(',').and_then(|(down, up)| Some((percent(down)?, percent(up)?)));
            let Some((down, up)) = pair.filter(|(down, up)| down <= up) else {
                bail!("\"{text}\": vacancy:DOWN,UP in percent is expected, DOWN at most UP");
            };
            return Ok(Self::Vacancy(Some((down, up))));
        }
        match text {
            "evict" => Ok(Self::Evict(true)),
            "noevict" => Ok(Self::Evict(false)),
            "novacancy" => Ok(Self::Vacancy(None)),
            "drop" | "continue" | "controller" => {
                bail!(
                    "{text}: OpenFlow 1.3 and later have a table-miss flow for that: priority=0 actions=..."
                )
            }
            _ if text.starts_with("name:") => bail!("{text}: tables have fixed names"),
            _ => {
                let known = ["evict", "noevict", "vacancy:DOWN,UP", "novacancy"];
                match closest(text, known) {
                    Some(meant) => bail!("no setting \"{text}\"; did you mean \"{meant}\"?"),
                    None => bail!("no setting \"{text}\": one of {} is expected", known.join(", ")),
                }
            }
        }
    }

    fn apply(self, table: TableId, present: Option<&TableDesc>) -> TableMod {
        let config = present.map_or(0, |desc| desc.config);
        let with = |bit: u32, on: bool| if on { config | bit } else { config & !bit };
        // The thresholds must be said again, or they would be lost.
        let vacancy = present.and_then(|desc| desc.vacancy).filter(|_| config & TABLE_VACANCY_EVENTS != 0);
        let vacancy = vacancy.map(|vacancy| Vacancy { current: 0, ..vacancy });
        match self {
            Self::Evict(on) => TableMod { table, config: with(TABLE_EVICTION, on), eviction: None, vacancy },
            Self::Vacancy(limits) => TableMod {
                table,
                config: with(TABLE_VACANCY_EVENTS, limits.is_some()),
                eviction: None,
                vacancy: limits.map(|(down, up)| Vacancy { down, up, current: 0 }),
            },
        }
    }
}
