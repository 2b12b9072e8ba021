//! Rates and queues of switch ports.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::Rate;

/// How frames leave a port of a switch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortQueues {
    /// Most bits a second that leave it; absent: as many as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Its queues. What chooses none of them, or one that is not there, waits in queue 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<Queue>,
}

impl PortQueues {
    /// Neither a rate nor queues.
    pub fn is_empty(&self) -> bool {
        self.rate.is_none() && self.queues.is_empty()
    }
}

/// A queue of a port; flows choose it by `set_queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Its number.
    #[schemars(range(min = 0, max = 65534))]
    #[schema(maximum = 65534)]
    pub id: u16,
    /// Bits a second it gets whatever the other queues want; needs a rate of the port. Absent: no guarantee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Rate>,
    /// Most bits a second. Absent: as many as the port sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Rate>,
    /// Its share of what the guarantees leave, beside the weights of the others; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    #[schema(minimum = 1, maximum = 1000)]
    pub weight: Option<u16>,
}

/// A queue of a port with what it has counted, in frames as they are on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueState {
    /// How it is configured.
    pub queue: Queue,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames dropped because it was full.
    pub tx_errors: u64,
}

/// A text that does not describe a queue: what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; a queue is written ID[,min=RATE][,max=RATE][,weight=N], such as 1,max=10M or 2,min=5M,weight=3"
)]
pub struct QueueTextError(String);

fn wrong(what: impl Into<String>) -> QueueTextError {
    QueueTextError(what.into())
}

impl FromStr for Queue {
    type Err = QueueTextError;

    /// `1,min=5M,max=10M,weight=2`, as on the command line.
    fn from_str(text: &str) -> Result<Self, QueueTextError> {
        let mut parts = text.split(',');
        let id = parts.next().unwrap_or_default();
        let id =
            id.parse().map_err(|_| wrong(format!("\"{id}\" is not the number of a queue, 0 to 65534")))?;
        let mut queue = Self { id, min: None, max: None, weight: None };
        for part in parts {
            let (name, value) =
                part.split_once('=').ok_or_else(|| wrong(format!("\"{part}\" has no value")))?;
            let rate =
                || value.parse().map_err(|_| wrong(format!("{name}: \"{value}\" is not a rate such as 5M")));
            let weight = || value.parse().map_err(|_| wrong(format!("weight: \"{value}\" is not 1 to 1000")));
            let again = match name {
                "min" => queue.min.replace(rate()?).is_some(),
                "max" => queue.max.replace(rate()?).is_some(),
                "weight" => queue.weight.replace(weight()?).is_some(),
                _ => return Err(wrong(format!("a queue has no \"{name}\""))),
            };
            if again {
                return Err(wrong(format!("{name} is there twice")));
            }
        }
        Ok(queue)
    }
}

impl std::fmt::Display for Queue {
    /// As it is read.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.id)?;
        for (name, rate) in [("min", self.min), ("max", self.max)] {
            if let Some(rate) = rate {
                write!(f, ",{name}={rate}")?;
            }
        }
        self.weight.map_or(Ok(()), |weight| write!(f, ",weight={weight}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_read_and_written_as_on_the_command_line() {
        for text in ["1", "0,min=5M", "7,min=1500k,max=2G,weight=3"] {
            assert_eq!(text.parse::<Queue>().expect("a queue").to_string(), text);
        }
        for (text, says) in [
            ("", "\"\" is not the number of a queue"),
            ("x", "\"x\" is not the number of a queue"),
            ("70000", "0 to 65534"),
            ("1,min", "\"min\" has no value"),
            ("1,min=fast", "min: \"fast\" is not a rate"),
            ("1,min=1M,min=2M", "min is there twice"),
            ("1,avg=1M", "a queue has no \"avg\""),
            ("1,weight=-1", "weight: \"-1\" is not 1 to 1000"),
        ] {
            let error = text.parse::<Queue>().expect_err(text).to_string();
            assert!(error.contains(says) && error.contains("ID[,min=RATE]"), "{text}: {error}");
        }
    }

    #[test]
    fn rates_are_written_as_short_as_they_can_be() {
        for (text, rate, written) in [
            ("20M", 20_000_000, "20M"),
            ("2.5G", 2_500_000_000, "2500M"),
            ("1001", 1001, "1001"),
            ("8000", 8000, "8k"),
        ] {
            let read: Rate = text.parse().expect("a rate");
            assert_eq!((read.0, read.to_string().as_str()), (rate, written));
        }
        for wrong in ["", "M", "-1M", "1X", "1.2.3M", "1e3", "99999999999G", ".", "inf"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
