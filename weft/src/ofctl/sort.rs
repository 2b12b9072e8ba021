//! The order in which dump-flows shows flows.

use std::cmp::Ordering;

use anyhow::Context;
use clap::{Arg, ArgMatches, Command};
use openflow::{Field, FlowStats, text};

/// `--sort` and `--rsort` in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub struct SortOptions(Vec<(String, bool)>);

/// What to sort by; true for the highest first.
pub type Key = (Option<Field>, bool);

const HELP: &str = "dump-flows: sort by a match field, by priority without one; again for a second field";
const REVERSE_HELP: &str = "As --sort, highest first";

impl clap::Args for SortOptions {
    fn augment_args(command: Command) -> Command {
        let arg = |name: &'static str, help| {
            Arg::new(name)
                .long(name)
                .value_name("FIELD")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("priority")
                .action(clap::ArgAction::Append)
                .global(true)
                .help(help)
        };
        command.arg(arg("sort", HELP)).arg(arg("rsort", REVERSE_HELP))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SortOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut all = Vec::new();
        for (name, reverse) in [("sort", false), ("rsort", true)] {
            let values = matches.get_many::<String>(name).into_iter().flatten().cloned();
            let places = matches.indices_of(name).into_iter().flatten();
            all.extend(places.zip(values).map(|(place, value)| (place, (value, reverse))));
        }
        all.sort_by_key(|(place, _)| *place);
        Ok(Self(all.into_iter().map(|(_, key)| key).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl SortOptions {
    /// The fields that were named.
    ///
    /// # Errors
    /// There is no such field.
    pub fn keys(&self) -> anyhow::Result<Vec<Key>> {
        self.0.iter().map(|(name, reverse)| Ok((field(name)?, *reverse))).collect()
    }
}

fn field(name: &str) -> anyhow::Result<Option<Field>> {
    if name == "priority" {
        return Ok(None);
    }
    let field = text::field_by_name(name).map(Some);
    field.with_context(|| {
        let known = Field::ALL.iter().map(|field| field.name());
        match text::closest(name, known) {
            Some(meant) => format!("no field \"{name}\" to sort by; did you mean \"{meant}\"?"),
            None => format!("no field \"{name}\" to sort by"),
        }
    })
}

/// Sorts by the first key, then by the second, and so on. Flows that do not match a field come last, whatever the
/// order; flows that are equal stay as they are.
pub fn sort(flows: &mut [FlowStats], keys: &[Key]) {
    flows.sort_by(|a, b| {
        let each = keys.iter().map(|(field, reverse)| {
            let order = match field {
                None => a.priority.cmp(&b.priority),
                Some(field) => {
                    let value = |flow: &FlowStats| flow.matches.get(*field).map(|oxm| oxm.value);
                    match (value(a), value(b)) {
                        (Some(a), Some(b)) => a.cmp(&b),
                        (a, b) => return b.is_some().cmp(&a.is_some()),
                    }
                }
            };
            if *reverse { order.reverse() } else { order }
        });
        each.fold(Ordering::Equal, Ordering::then)
    });
}
