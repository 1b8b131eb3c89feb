//! Call records: one line for each call that ended, for people (`key=value`) or for machines (JSON).

use crate::base::redact::User;
use crate::call::Record;
use crate::leg::{Quality, Source, Target, TrunkId};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `call id=… from=…`.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// What turns records into lines.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    /// How.
    pub format: Format,
    /// The trunks' names, by `TrunkId`.
    pub trunks: Vec<String>,
}

impl Writer {
    fn trunk(&self, trunk: TrunkId) -> String {
        let name = self.trunks.get(usize::from(trunk.0)).cloned();
        name.unwrap_or_else(|| format!("trunk{}", trunk.0))
    }

    fn fields(&self, record: &Record) -> Vec<(&'static str, Value)> {
        let text = |value: &dyn std::fmt::Display| Value::String(value.to_string());
        let id = |id: &dyn std::fmt::Debug| Value::String(format!("{id:?}"));
        let seconds = |at: Duration| json!(at.as_millis() as f64 / 1000.0);
        let source = match &record.source {
            Source::Trunk(trunk) => self.trunk(*trunk),
            Source::Account(_) => "user".to_owned(),
            Source::Phone(_) => "phone".to_owned(),
        };
        let session = |n: usize| record.sessions[n].map_or(Value::Null, |session| text(&session));
        let until = record.answered.unwrap_or(record.ended);
        let mut fields = vec![
            ("id", record.call.as_ref().map_or(Value::Null, |call| id(call))),
            ("in", id(&record.incoming)),
            ("out", record.outgoing.as_ref().map_or(Value::Null, |leg| id(leg))),
            ("key", text(&User(&record.key))),
            ("source", source.into()),
            ("from", text(&User(&record.caller.user))),
            ("to", text(&User(&record.callee.user))),
            ("started", seconds(record.started)),
            ("waited_ms", json!(until.saturating_sub(record.started).as_millis() as u64)),
            ("talked_ms", json!(record.talked().as_millis() as u64)),
            ("reason", record.cause.name().into()),
            ("code", record.code.into()),
            ("q850", record.q850.into()),
            ("session", session(0)),
            ("remote_session", session(1)),
        ];
        let target = match &record.target {
            Some(Target::Trunk(trunk)) => self.trunk(*trunk).into(),
            Some(Target::Account(_)) => "user".into(),
            Some(Target::Phone(_)) => "phone".into(),
            None => Value::Null,
        };
        fields.insert(5, ("target", target));
        for (leg, stats) in ["in", "out"].into_iter().zip(&record.quality) {
            fields.extend(stats.iter().flat_map(|stats| quality(leg, stats)));
        }
        fields
    }

    /// The line, without its end. Names and numbers are redacted.
    pub fn line(&self, record: &Record) -> String {
        let fields = self.fields(record);
        match self.format {
            Format::Json => {
                let mut object = serde_json::Map::new();
                object.insert("event".into(), "call".into());
                object.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
                Value::Object(object).to_string()
            }
            Format::Text => {
                let mut line = "call".to_owned();
                for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    // A string takes everything.
                    let _ = match value {
                        Value::String(text) => write!(line, " {name}={}", word(text)),
                        value => write!(line, " {name}={value}"),
                    };
                }
                line
            }
        }
    }
}

/// A value that keeps the line's words apart.
fn word(text: &str) -> String {
    if text.is_empty() || text.contains([' ', '"', '=']) { format!("{text:?}") } else { text.to_owned() }
}

/// One leg's media, where it had any.
fn quality(leg: &str, quality: &Quality) -> Vec<(&'static str, Value)> {
    if quality.packets_received + quality.packets_sent == 0 {
        return Vec::new();
    }
    let names = if leg == "in" { &IN } else { &OUT };
    let ms = |time: Duration| json!((time.as_secs_f64() * 10_000.0).round() / 10.0);
    let mos = |mos: u16| if mos == 0 { Value::Null } else { json!(f64::from(mos) / 100.0) };
    let values = [
        quality.codec.as_str().into(),
        quality.packets_received.into(),
        quality.lost.into(),
        ms(quality.jitter),
        mos(quality.mos_received),
        quality.packets_sent.into(),
        quality.remote_lost.into(),
        ms(quality.remote_jitter),
        mos(quality.mos_sent),
        quality.round_trip.map_or(Value::Null, ms),
    ];
    names.iter().copied().zip(values).collect()
}

/// The fields of a leg: what came from its party, what went there, and how long the way is.
const IN: [&str; 10] = [
    "in_codec",
    "in_received",
    "in_lost",
    "in_jitter_ms",
    "in_mos",
    "in_sent",
    "in_remote_lost",
    "in_remote_jitter_ms",
    "in_remote_mos",
    "in_round_trip_ms",
];
const OUT: [&str; 10] = [
    "out_codec",
    "out_received",
    "out_lost",
    "out_jitter_ms",
    "out_mos",
    "out_sent",
    "out_remote_lost",
    "out_remote_jitter_ms",
    "out_remote_mos",
    "out_round_trip_ms",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Key, Mint, ShardId, Side};
    use crate::leg::{Cause, Party};

    fn record() -> Record {
        let party = |user: &str| Party { user: user.into(), ..Party::default() };
        let mut mint = Mint::new(ShardId(0), false);
        let stats = Quality {
            codec: "opus".into(),
            packets_received: 500,
            lost: 3,
            mos_received: 421,
            jitter: Duration::from_micros(1260),
            ..Quality::default()
        };
        Record {
            call: Some(crate::base::CallId::new(ShardId(0), 1, 3)),
            incoming: mint.leg(Side::Web),
            outgoing: None,
            key: "abcdef".into(),
            source: Source::Account("alice".into()),
            caller: party("alice"),
            callee: party("+4930123456"),
            target: Some(Target::Trunk(TrunkId(0))),
            started: Duration::from_millis(1_700_000_000_250),
            answered: Some(Duration::from_millis(1_700_000_002_250)),
            ended: Duration::from_millis(1_700_000_012_250),
            cause: Cause::Hangup,
            code: 0,
            q850: 16,
            sessions: ["0af7651916cd43dd8448eb211c80319c".parse().ok(), None],
            quality: [Some(Box::new(stats)), None],
        }
    }

    #[test]
    fn a_line_has_ids_parties_times_quality_and_causes() {
        let writer = Writer { format: Format::Text, trunks: vec!["my pbx".into()] };
        assert_eq!(
            writer.line(&record()),
            "call id=call0.3.1 in=web-in0.1 key=a…ef source=user target=\"my pbx\" from=a…ce to=+…56 \
             started=1700000000.25 waited_ms=2000 talked_ms=10000 reason=hangup code=0 q850=16 \
             session=0af7651916cd43dd8448eb211c80319c in_codec=opus \
             in_received=500 in_lost=3 in_jitter_ms=1.3 in_mos=4.21 in_sent=0 in_remote_lost=0 in_remote_jitter_ms=0.0"
        );
    }

    #[test]
    fn a_json_line_is_one_object() {
        let writer = Writer { format: Format::Json, trunks: Vec::new() };
        let line = writer.line(&record());
        let value: Value = serde_json::from_str(&line).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(
            (&value["event"], &value["target"], &value["out"]),
            (&json!("call"), &json!("trunk0"), &Value::Null)
        );
        assert_eq!(
            (&value["talked_ms"], &value["q850"], &value["in_jitter_ms"]),
            (&json!(10000), &json!(16), &json!(1.3))
        );
    }
}
