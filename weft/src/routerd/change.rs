//! Another configuration for a running router: `weft router set`, and what it changes.

use std::path::PathBuf;
use std::process::ExitCode;

use controller_api as api;
use controller_api::{FieldChange, RouterChanges};
use json_patch::PatchOperation;
use serde_json::Value;

use super::which::Which;

#[derive(Debug, clap::Args)]
pub struct SetArgs {
    #[command(flatten)]
    which: Which,
    /// The whole configuration, in YAML or JSON: what it does not have, the router has no more.
    #[arg(value_name = "FILE")]
    config: PathBuf,
    /// Only tell what would change.
    #[arg(long)]
    dry_run: bool,
}

/// Puts the configuration and prints what it changes.
pub async fn run(args: SetArgs) -> anyhow::Result<ExitCode> {
    let client = args.which.client().await?;
    let router = super::read_config(&args.config, Some(&client.health().await?.name))?;
    let path = if args.dry_run { "/api/v1/config?dry_run=true" } else { "/api/v1/config" };
    let answer: RouterChanges = client.put(path, &router).await?;
    if args.which.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    for change in &answer.changes {
        match (&change.old, &change.new) {
            (Some(old), Some(new)) => println!("~ {}: {old} becomes {new}", change.path),
            (Some(old), None) => println!("- {}: {old}", change.path),
            (None, new) => println!("+ {}: {}", change.path, new.as_ref().unwrap_or(&Value::Null)),
        }
    }
    match (args.dry_run, answer.changes.is_empty()) {
        (true, _) => println!("generation {} is in force: nothing was changed", answer.generation),
        (false, true) => println!("generation {}: as it was", answer.generation),
        (false, false) => println!("generation {} is in force", answer.generation),
    }
    Ok(ExitCode::SUCCESS)
}

/// What lies between two configurations.
///
/// # Errors
/// When one of them cannot be written as JSON.
pub fn between(old: &api::Router, new: &api::Router) -> anyhow::Result<Vec<FieldChange>> {
    let mut now = serde_json::to_value(old)?;
    let patch = json_patch::diff(&now, &serde_json::to_value(new)?);
    let mut changes = Vec::new();
    for operation in patch.0 {
        let path = operation.path().to_string();
        let before = now.pointer(&path).cloned();
        json_patch::patch(&mut now, std::slice::from_ref(&operation))?;
        let (old, new) = match operation {
            PatchOperation::Add(add) => (None, Some(add.value)),
            PatchOperation::Replace(replace) => (before, Some(replace.value)),
            // A difference has no moves and copies.
            _ => (before, None),
        };
        changes.push(FieldChange { path, old, new });
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_tells_before_and_after() {
        let read = |yaml: &str| serde_saphyr::from_str::<api::Router>(yaml).expect("the shape is right");
        let old = read(
            "{name: r1, interfaces: [{name: lan, address: 10.1.0.1/24, mtu: 1400}, {name: dmz}], nat: {masquerade: [{out: wan}]}}",
        );
        let new = read(
            "{name: r1, interfaces: [{name: lan, address: 10.1.0.1/24, mtu: 1300}], vrfs: [{name: red, table: 7}]}",
        );
        let changes = between(&old, &new).expect("JSON");
        let find = |path: &str| changes.iter().find(|change| change.path == path);
        let mtu = find("/interfaces/0/mtu").expect("it changes");
        assert_eq!((&mtu.old, &mtu.new), (&Some(1400.into()), &Some(1300.into())));
        let dmz = find("/interfaces/1").expect("it goes");
        assert_eq!((dmz.old.as_ref().map(|old| old["name"].clone()), &dmz.new), (Some("dmz".into()), &None));
        let vrf = changes.iter().find(|change| change.path.starts_with("/vrfs")).expect("it comes");
        assert!(vrf.old.is_none() && vrf.new.as_ref().is_some_and(|new| new.to_string().contains("red")));
        assert_eq!(changes.len(), 4, "{changes:?}");
        assert_eq!(between(&old, &old).expect("JSON"), []);
    }
}
