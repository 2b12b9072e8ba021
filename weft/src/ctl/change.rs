//! `apply`, `diff`, `delete` and `rollback`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use controller_api::client::Client;
use controller_api::{
    Batch, Declaration, Forecast, Label, Operation, PairList, Resource, ResourceKind, Written,
};

use super::difference::lines;
use super::output::yaml;
use super::{How, read};

/// Pairs that are named for people.
const PAIRS_SHOWN: usize = 20;

/// Declares what is in files.
pub async fn apply(client: &Client, files: &[PathBuf], prune: bool, how: How) -> anyhow::Result<()> {
    let wanted = read(files)?;
    let before = resources(client.declared().await?);
    let labels: Vec<Label> = wanted.clone().into_resources().map(|resource| resource.label()).collect();
    if how.dry_run {
        foretell(&forecast(client, wanted, prune).await?);
        return Ok(());
    }
    let query = how.query();
    let written: Written = match prune {
        true => client.put(&format!("/api/v1/intents{query}"), &wanted).await?,
        false => client.post(&format!("/api/v1/batch{query}"), &batch(wanted)).await?,
    };
    for label in &labels {
        let outcome = match (written.changed.contains(label), before.contains_key(label)) {
            (false, _) => "unchanged",
            (true, false) => "created",
            (true, true) => "changed",
        };
        println!("{label} {outcome}");
    }
    let gone = written.changed.iter().filter(|label| !labels.contains(label));
    gone.for_each(|label| println!("{label} deleted"));
    Ok(())
}

async fn forecast(client: &Client, wanted: Declaration, prune: bool) -> anyhow::Result<Forecast> {
    Ok(match prune {
        true => client.put("/api/v1/intents?dry_run=true", &wanted).await?,
        false => client.forecast_batch(&batch(wanted)).await?,
    })
}

fn batch(wanted: Declaration) -> Batch {
    Batch { operations: wanted.into_resources().map(Operation::put).collect() }
}

fn resources(declared: Declaration) -> BTreeMap<Label, Resource> {
    declared.into_resources().map(|resource| (resource.label(), resource)).collect()
}

/// Compares what is in files with what is declared.
pub async fn diff(client: &Client, files: &[PathBuf], prune: bool) -> anyhow::Result<ExitCode> {
    let wanted = read(files)?;
    let before = resources(client.declared().await?);
    let after = resources(wanted.clone());
    let gone = before.keys().filter(|label| prune && !after.contains_key(label));
    let mut differs = false;
    for label in after.keys().chain(gone) {
        let [old, new] = [before.get(label), after.get(label)];
        if old == new {
            continue;
        }
        differs = true;
        println!("{label}");
        let text = |resource: Option<&Resource>| resource.map(spec).transpose();
        print!("{}", lines(&text(old)?.unwrap_or_default(), &text(new)?.unwrap_or_default()));
    }
    if !differs {
        return Ok(ExitCode::SUCCESS);
    }
    foretell(&forecast(client, wanted, prune).await?);
    Ok(ExitCode::from(1))
}

fn spec(resource: &Resource) -> anyhow::Result<String> {
    match resource {
        Resource::Network(network) => yaml(network),
        Resource::Router(router) => yaml(router),
        Resource::Function(function) => yaml(function),
        Resource::Chain(chain) => yaml(chain),
        Resource::Policy(policy) => yaml(policy),
        Resource::Qos(qos) => yaml(qos),
        Resource::Path(path) => yaml(path),
        Resource::Mirror(mirror) => yaml(mirror),
        Resource::Balancer(balancer) => yaml(balancer),
        Resource::Tenant(tenant) => yaml(tenant),
    }
}

/// Deletes intents. Those that refer to others go with them, in one batch.
pub async fn delete(
    client: &Client,
    mut intents: Vec<Label>,
    files: &[PathBuf],
    how: How,
) -> anyhow::Result<()> {
    intents.extend(read(files)?.into_resources().map(|resource| resource.label()));
    let order = |kind: ResourceKind| ResourceKind::ALL.iter().position(|known| *known == kind);
    intents.sort_by_key(|label| std::cmp::Reverse(order(label.kind)));
    intents.dedup();
    let operations = intents.iter().cloned().map(Operation::delete).collect();
    let path = format!("/api/v1/batch{}", how.query());
    if how.dry_run {
        foretell(&client.post(&path, &Batch { operations }).await?);
        return Ok(());
    }
    client.post::<_, Written>(&path, &Batch { operations }).await?;
    intents.iter().for_each(|label| println!("{label} deleted"));
    Ok(())
}

/// Declares again what was declared as of a revision.
pub async fn rollback(client: &Client, revision: u64, how: How) -> anyhow::Result<()> {
    if how.dry_run {
        foretell(&client.forecast_rollback(revision).await?);
        return Ok(());
    }
    let path = format!("/api/v1/revisions/{revision}/rollback{}", how.query());
    let written: Written = client.post(&path, &()).await?;
    if written.changed.is_empty() {
        println!("nothing has changed since revision {revision}");
        return Ok(());
    }
    println!("revision {} is what revision {revision} was; it changed:", written.revision);
    written.changed.iter().for_each(|label| println!("  {label}"));
    Ok(())
}

/// A forecast for people.
fn foretell(forecast: &Forecast) {
    if forecast.is_empty() {
        println!("no flow would change, nobody would gain or lose reachability");
    }
    for switch in &forecast.switches {
        let later = if switch.connected { "" } else { ", once it connects" };
        println!(
            "{}: {} flows added, {} modified, {} deleted{later}",
            switch.switch,
            switch.adds.len(),
            switch.modifies.len(),
            switch.deletes.len()
        );
        for (sign, flows) in [('+', &switch.adds), ('~', &switch.modifies), ('-', &switch.deletes)] {
            flows.iter().for_each(|flow| println!("  {sign} {flow}"));
        }
    }
    pairs("gain", &forecast.gained);
    pairs("lose", &forecast.lost);
    forecast.issues.iter().for_each(|issue| println!("still missing: {issue}"));
}

fn pairs(verb: &str, list: &PairList) {
    match list.n_pairs {
        0 => return,
        1 => println!("1 pair of endpoints would {verb} reachability:"),
        n => println!("{n} pairs of endpoints would {verb} reachability:"),
    }
    list.pairs.iter().take(PAIRS_SHOWN).for_each(|pair| println!("  {} - {}", pair.a, pair.b));
    if list.n_pairs > PAIRS_SHOWN as u64 {
        println!("  and {} more", list.n_pairs - PAIRS_SHOWN as u64);
    }
}
