//! The lines of AIPerf's files of turns, each a conversation.

use super::name;
use crate::diagnose::{Field, Shape, explain};
use crate::error::{Place, TraceError};
use crate::import::conversation::{Said, messages};
use crate::import::decimal::{millis, plain as decimal};
use crate::import::thread::plain;
use crate::import::{MAX_TIME, MAX_TOKENS};
use nomoat_core::units::Nanos;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;

const TURN: &[Field] = &[
    Field::optional("messages", Shape::Any),
    Field::optional("model", Shape::Any),
    Field::optional("max_tokens", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" }),
    Field::optional("tools", Shape::Any),
    Field::optional("extra", Shape::Any),
    Field::optional("forks", Shape::Any),
    Field::optional("spawns", Shape::Any),
    Field::optional("delay", Shape::Any),
    Field::optional("timestamp", Shape::Any),
    Field::optional("text", Shape::Text),
    Field::optional("texts", Shape::Texts),
    Field::optional("role", Shape::Text),
    Field::optional("image", Shape::Any),
    Field::optional("images", Shape::Any),
    Field::optional("audio", Shape::Any),
    Field::optional("audios", Shape::Any),
    Field::optional("video", Shape::Any),
    Field::optional("videos", Shape::Any),
];
const MEDIA: [&str; 6] = ["image", "images", "audio", "audios", "video", "videos"];

pub(super) const FIELDS: &[Field] = &[
    Field::optional("session_id", Shape::Any),
    Field::optional("turns", Shape::Objects(TURN)),
    Field::optional("pre_session_spawns", Shape::Texts),
    Field::optional("orchestrator", Shape::Any),
    Field::optional("spawns", Shape::Texts),
    Field::optional("rounds", Shape::Any),
    Field::optional("context_mode", Shape::Word(&["deltas_without_responses", "message_array_with_responses"])),
    Field::optional("think_time_ms", Shape::Any),
    Field::optional("think_time_sigma", Shape::Any),
    Field::optional("think_time_min_ms", Shape::Any),
    Field::optional("think_time_max_ms", Shape::Any),
    // A conversation of one turn may be that turn.
    Field::optional("delay", Shape::Any),
    Field::optional("timestamp", Shape::Any),
    Field::optional("text", Shape::Text),
    Field::optional("texts", Shape::Texts),
    Field::optional("role", Shape::Text),
    Field::optional("image", Shape::Any),
    Field::optional("images", Shape::Any),
    Field::optional("audio", Shape::Any),
    Field::optional("audios", Shape::Any),
    Field::optional("video", Shape::Any),
    Field::optional("videos", Shape::Any),
];

pub(super) struct Turn {
    pub said: Vec<Said>,
    pub plain: Option<String>,
    pub tools: Option<Arc<str>>,
    pub output: Option<u32>,
    pub exact: bool,
    pub delay: Nanos,
    pub delayed: bool,
    pub at: Option<Nanos>,
    pub forks: Vec<String>,
    /// Names, and the turn that waits for them.
    pub spawns: Vec<(String, Option<usize>)>,
    pub extra: bool,
    pub media: u64,
}

pub(super) struct Talk {
    pub line: u64,
    pub name: Option<String>,
    pub turns: Vec<Turn>,
    pub early: Vec<String>,
    pub rounds: Vec<(Vec<String>, Nanos)>,
    pub think: Think,
    /// Every turn is written out with all of its history.
    pub whole: bool,
}

/// How think times vary about their median.
#[derive(Clone, Copy)]
pub(super) struct Think {
    pub sigma: f64,
    pub min: Nanos,
    pub max: Nanos,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Fork {
    Name(String),
    Object(ForkObject),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForkObject {
    child: String,
    #[serde(default)]
    background: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Spawn {
    Name(String),
    Object(SpawnObject),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpawnObject {
    children: Vec<String>,
    join_at: Option<usize>,
}

/// The list under `key`, if it is there.
fn items<T: DeserializeOwned>(
    object: &Map<String, Value>,
    key: &str,
    path: &str,
    should: &str,
    place: Place<'_>,
) -> Result<Vec<T>, TraceError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(vec![]),
        Some(Value::Array(values)) => {
            let item = |item: &Value| T::deserialize(item).map_err(|_| place.field(path, format!("has {item}"), should));
            values.iter().map(item).collect()
        }
        Some(other) => Err(place.field(path, format!("is {other}"), should)),
    }
}

/// A conversation, from its line.
pub(super) fn talk(object: &Map<String, Value>, place: Place<'_>) -> Result<Talk, TraceError> {
    if let Some(complaint) = explain(object, FIELDS) {
        return Err(complaint.at(place));
    }
    let time = |key: &str| duration(object, key, key, place);
    let texts = |key: &str| {
        object.get(key).and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
    };
    let name = match object.get("session_id") {
        None | Some(Value::Null) => None,
        Some(value) => Some(name(value).ok_or_else(|| place.field("session_id", "is neither a text nor a number", "a name"))?),
    };
    let sigma = match object.get("think_time_sigma").map(|value| value.as_f64().filter(|s| (0.0..=10.0).contains(s))) {
        None => 0.0,
        Some(Some(sigma)) => sigma,
        Some(None) => return Err(place.field("think_time_sigma", "is out of range", "a number from 0 to 10")),
    };
    let (min, max) = (time("think_time_min_ms")?.unwrap_or_default(), time("think_time_max_ms")?.unwrap_or(MAX_TIME));
    if min > max {
        return Err(place.field("think_time_min_ms", "is larger than the maximum", "the smaller of the two"));
    }
    let orchestrates = match object.get("orchestrator") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => return Err(place.field("orchestrator", "is neither true nor false", "true or false")),
    };
    let early = texts("pre_session_spawns").unwrap_or_default();
    let (mut turns, mut rounds) = (vec![], vec![]);
    if orchestrates {
        if object.contains_key("turns") || !early.is_empty() {
            return Err(place.field(
                "orchestrator",
                "is true beside turns of its own",
                "left out, or the only thing beside `spawns` and `rounds`",
            ));
        }
        rounds = self::rounds(object, texts("spawns").unwrap_or_default(), time("think_time_ms")?.unwrap_or_default(), place)?;
    } else {
        if object.contains_key("spawns") || object.contains_key("rounds") {
            return Err(place.field(
                "spawns",
                "or `rounds` stands beside no orchestrator",
                "in a turn, or beside `\"orchestrator\": true`",
            ));
        }
        turns = match object.get("turns").and_then(Value::as_array) {
            Some(list) => {
                let objects = list.iter().filter_map(Value::as_object).enumerate();
                objects
                    .map(|(index, turn)| self::turn(turn, &format!("turns[{index}]."), index, list.len(), place))
                    .collect::<Result<_, _>>()?
            }
            None => vec![turn(object, "", 0, 1, place)?],
        };
        if turns.is_empty() {
            return Err(place.field("turns", "is empty", "at least one turn"));
        }
    }
    let whole = object.get("context_mode").and_then(Value::as_str) == Some("message_array_with_responses");
    Ok(Talk { line: place.line, name, turns, early, rounds, think: Think { sigma, min, max }, whole })
}

/// A duration in milliseconds, if it is there.
fn duration(object: &Map<String, Value>, key: &str, path: &str, place: Place<'_>) -> Result<Option<Nanos>, TraceError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_number().and_then(|number| millis(&decimal(number))).filter(|time| *time <= MAX_TIME) {
            Some(time) => Ok(Some(time)),
            None => Err(place.field(path, format!("is {value}"), "a number of milliseconds, 0 or more, within a century")),
        },
    }
}

type Rounds = Vec<(Vec<String>, Nanos)>;

fn rounds(object: &Map<String, Value>, spawns: Vec<String>, think: Nanos, place: Place<'_>) -> Result<Rounds, TraceError> {
    let empty = || place.field("spawns", "is missing or empty", "the conversations of a round");
    match object.get("rounds") {
        _ if object.get("rounds").is_none_or(|rounds| !rounds.is_array()) && spawns.is_empty() => Err(empty()),
        None => Ok(vec![(spawns, think)]),
        Some(Value::Array(list)) => {
            let round = |(index, round): (usize, &Value)| {
                let path = format!("rounds[{index}]");
                let Some(object) = round.as_object() else { return Err(place.field(path, "is no object", "an object with `spawns`")) };
                let fields = [Field::required("spawns", Shape::Texts), Field::optional("think_time_ms", Shape::Any)];
                if let Some(mut complaint) = explain(object, &fields) {
                    complaint.field = format!("{path}.{}", complaint.field);
                    return Err(complaint.at(place));
                }
                let names: Vec<_> =
                    object["spawns"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
                if names.is_empty() {
                    return Err(empty());
                }
                Ok((names, duration(object, "think_time_ms", &format!("{path}.think_time_ms"), place)?.unwrap_or(think)))
            };
            let rounds: Rounds = list.iter().enumerate().map(round).collect::<Result<_, _>>()?;
            if rounds.is_empty() { Err(empty()) } else { Ok(rounds) }
        }
        Some(count) => match count.as_u64().filter(|count| (1..=u64::from(u16::MAX)).contains(count)) {
            Some(count) => Ok(vec![(spawns, think); count as usize]),
            None => Err(place.field("rounds", format!("is {count}"), "a number from 1 to 65535, or a list")),
        },
    }
}

fn turn(object: &Map<String, Value>, path: &str, number: usize, turns: usize, place: Place<'_>) -> Result<Turn, TraceError> {
    let at = |key: &str| format!("{path}{key}");
    let role = object.get("role").and_then(Value::as_str).unwrap_or("user");
    let texts =
        object.get("texts").and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n\n"));
    let list = match (object.get("messages"), object.get("text").and_then(Value::as_str).map(str::to_owned).or(texts)) {
        (Some(Value::Array(list)), None) if !list.is_empty() => list.clone(),
        (None, Some(text)) => vec![serde_json::json!({"role": role, "content": text})],
        (None, None) => return Err(place.field(at("messages"), "or a text is missing", "what is said in this turn")),
        _ => return Err(place.field(at("messages"), "is no list, is empty, or stands beside a text", "a list of messages, alone")),
    };
    let said = messages(&list, &at("messages")).map_err(|complaint| complaint.at(place))?;
    let tools = match object.get("tools") {
        None | Some(Value::Null) => None,
        Some(tools @ Value::Array(_)) => Some(tools.to_string().into()),
        Some(_) => return Err(place.field(at("tools"), "is no list", "a list of tools")),
    };
    let delay = duration(object, "delay", &at("delay"), place)?;
    let output = object.get("max_tokens").and_then(Value::as_u64).map(|tokens| tokens as u32);
    let extra = match object.get("extra") {
        None | Some(Value::Null) => None,
        Some(Value::Object(extra)) => Some(extra),
        Some(_) => return Err(place.field(at("extra"), "is no object", "parameters by name")),
    };
    let said_exact = extra.is_some_and(|extra| {
        extra.get("ignore_eos") == Some(&Value::Bool(true)) || extra.get("min_tokens").and_then(Value::as_u64) == output.map(u64::from)
    });
    let mut forks = vec![];
    for fork in items::<Fork>(object, "forks", &at("forks"), "names, or objects with `child` and `background`", place)? {
        let (name, background) = match fork {
            Fork::Name(name) => (name, false),
            Fork::Object(ForkObject { child, background }) => (child, background),
        };
        if !background && number + 1 < turns {
            let problem = format!("ends the conversation in `{name}` before its last turn");
            return Err(place.field(at("forks"), problem, "in the last turn, or in the background"));
        }
        forks.push(name);
    }
    let next = Some(number + 1).filter(|next| *next < turns);
    let mut spawns = vec![];
    for spawn in items::<Spawn>(object, "spawns", &at("spawns"), "names, or objects with `children` and `join_at`", place)? {
        let (children, join) = match spawn {
            Spawn::Name(name) => (vec![name], None),
            Spawn::Object(SpawnObject { children, join_at }) => (children, join_at),
        };
        if join.is_some_and(|join| join <= number || join >= turns) {
            return Err(place.field(
                at("spawns"),
                "has a `join_at` that is no later turn",
                "the number of a later turn of the conversation",
            ));
        }
        spawns.extend(children.into_iter().map(|name| (name, join.or(next))));
    }
    let media = said.iter().filter(|said| said.media).count() + MEDIA.iter().filter(|key| object.contains_key(**key)).count();
    Ok(Turn {
        plain: plain(&list),
        said,
        tools,
        output,
        exact: said_exact && output.is_some(),
        delay: delay.unwrap_or_default(),
        delayed: delay.is_some(),
        at: duration(object, "timestamp", &at("timestamp"), place)?,
        forks,
        spawns,
        extra: extra.is_some(),
        media: media as u64,
    })
}
