//! Files of turns: `single_turn`, `multi_turn` and `dag_jsonl`, whose conversations may branch.
//!
//! A conversation that no other names is the root of a tree, and a tree is one session here. A turn is written before the conversations it
//! starts, and those before the turn that waits for them, so that everything refers backwards. A `fork` inherits the conversation so far, a
//! `spawn` starts afresh and, unless it says otherwise, is waited for by its parent's next turn. An orchestrator sends nothing itself: its
//! rounds follow each other, with its think time in between.

use super::{Counts, name};
use crate::diagnose::{Field, Shape, explain, parse};
use crate::error::{Place, TraceError, file_error};
use crate::import::conversation::{Said, messages, prompt, tokens};
use crate::import::decimal::{millis, plain as decimal};
use crate::import::thread::{Thread, UNSAID_OUTPUT, plain};
use crate::import::{ImportOptions, MAX_TIME, MAX_TOKENS};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::request::{OutputLength, RequestId, SessionId};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Cause, Edge, Moment, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Most requests that a file may unfold into: conversations that several others spawn are made each time.
const MAX_MADE: u32 = 1 << 20;
/// How deep conversations may start each other.
const MAX_DEPTH: usize = 64;

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

const CLASSES: [&str; 3] = ["root", "fork", "spawn"];
const ROOT: u16 = 0;
const FORK: u16 = 1;
const SPAWN: u16 = 2;

struct Turn {
    said: Vec<Said>,
    plain: Option<String>,
    tools: Option<Arc<str>>,
    output: Option<u32>,
    exact: bool,
    delay: Nanos,
    delayed: bool,
    at: Option<Nanos>,
    forks: Vec<String>,
    /// Names, and the turn that waits for them.
    spawns: Vec<(String, Option<usize>)>,
    extra: bool,
    media: u64,
}

struct Talk {
    line: u64,
    name: Option<String>,
    turns: Vec<Turn>,
    early: Vec<String>,
    rounds: Vec<(Vec<String>, Nanos)>,
    think: Think,
    /// Every turn is written out with all of its history.
    whole: bool,
}

/// How think times vary about their median.
#[derive(Clone, Copy)]
struct Think {
    sigma: f64,
    min: Nanos,
    max: Nanos,
}

pub(super) fn import(source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
    let file = source.name().to_owned();
    let mut rows = Rows::new(source, options);
    let (mut talks, mut names) = (vec![], HashMap::new());
    while let Some(line) = rows.next()? {
        let place = line.place;
        let talk = parse(line.bytes, place).and_then(|object| talk(&object, place)).and_then(|talk| match &talk.name {
            Some(name) if names.contains_key(name) => {
                Err(place.field("session_id", format!("is `{name}`, which an earlier line has"), "another name"))
            }
            _ => Ok(talk),
        });
        let Some(talk) = rows.take(talk)? else { continue };
        if let Some(name) = &talk.name {
            names.insert(name.clone(), talks.len());
        }
        talks.push(talk);
    }
    let (source, skipped) = rows.finish();
    let mut counts = Counts::default();
    let roots = roots(&file, &talks, &names)?;
    let first = roots.iter().find_map(|root| arrival(&talks[*root])).unwrap_or_default();
    let mut made = 0;
    for (session, root) in roots.iter().enumerate() {
        let think = Stream::new(options.seed, &format!("import/aiperf/think/{session}"));
        let counts = &mut counts;
        let mut tree = Tree {
            file: &file,
            talks: &talks,
            names: &names,
            session: session as u32,
            turns: 0,
            first,
            think,
            stack: vec![],
            made,
            counts,
            sink,
        };
        tree.grow(*root, ROOT, &Start::default(), Thread::default())?;
        made = tree.made;
    }
    let timed = roots.iter().any(|root| arrival(&talks[*root]).is_some());
    let untimed = (!timed).then(|| "arrivals are not recorded: choose an arrival law or lanes".to_owned());
    let losses = counts.losses().into_iter().chain(untimed).chain(skipped).collect();
    let classes = CLASSES.map(str::to_owned).to_vec();
    Ok(Trace { source, tokenizer: counts.tokenizer(), classes, losses, ..Trace::default() })
}

fn arrival(talk: &Talk) -> Option<Nanos> {
    talk.turns.first().and_then(|turn| turn.at)
}

/// Conversations that no other starts, in order of arrival.
fn roots(file: &str, talks: &[Talk], names: &HashMap<String, usize>) -> Result<Vec<usize>, TraceError> {
    let (mut started, mut forked) = (HashSet::new(), HashSet::new());
    for talk in talks {
        let place = Place { file, line: talk.line };
        let spawns = talk.turns.iter().flat_map(|turn| turn.spawns.iter().map(|(name, _)| name));
        let spawned = talk.early.iter().chain(talk.rounds.iter().flat_map(|(names, _)| names)).chain(spawns);
        for name in spawned {
            started.insert(*names.get(name).ok_or_else(|| nobody(name, place))?);
        }
        for name in talk.turns.iter().flat_map(|turn| &turn.forks) {
            let target = *names.get(name).ok_or_else(|| nobody(name, place))?;
            started.insert(target);
            if !forked.insert(target) {
                return Err(place.line(format!("`{name}` is forked a second time"), "fork it once: it inherits one history"));
            }
        }
    }
    let mut roots: Vec<usize> = (0..talks.len()).filter(|index| !started.contains(index)).collect();
    if roots.is_empty() && !talks.is_empty() {
        return Err(file_error(file, "every conversation is started by another", "leave at least one to start with"));
    }
    let timed = roots.iter().filter(|root| arrival(&talks[**root]).is_some()).count();
    if let Some(root) = roots.iter().find(|root| timed > 0 && arrival(&talks[**root]).is_none()) {
        let place = Place { file, line: talks[*root].line };
        return Err(place.field("timestamp", "is missing, while other conversations have one", "there for all of them or for none"));
    }
    roots.sort_by_key(|root| arrival(&talks[*root]));
    Ok(roots)
}

fn nobody(name: &str, place: Place<'_>) -> TraceError {
    place.line(format!("it starts `{name}`, which is no `session_id` of this file"), "name a conversation of this file")
}

/// Requests that a conversation starts after, and how long after.
#[derive(Default)]
struct Start {
    after: Vec<u32>,
    gap: Nanos,
}

/// A root and all it starts.
struct Tree<'a> {
    file: &'a str,
    talks: &'a [Talk],
    names: &'a HashMap<String, usize>,
    session: u32,
    turns: u32,
    first: Nanos,
    think: Stream,
    stack: Vec<usize>,
    made: u32,
    counts: &'a mut Counts,
    sink: &'a mut dyn Sink,
}

impl Tree<'_> {
    /// Makes the requests of a conversation and of all it starts. Returns those it ends with.
    fn grow(&mut self, index: usize, class: u16, start: &Start, mut thread: Thread) -> Result<Vec<u32>, TraceError> {
        let talk = &self.talks[index];
        let place = Place { file: self.file, line: talk.line };
        if self.stack.contains(&index) {
            return Err(place.line("it is started by what it starts itself", "break the cycle"));
        }
        if self.stack.len() == MAX_DEPTH {
            return Err(place.line(format!("conversations start each other more than {MAX_DEPTH} deep"), "nest them less"));
        }
        self.stack.push(index);
        for name in &talk.early {
            self.grow(self.names[name], SPAWN, start, Thread::default())?;
        }
        let ends = if talk.rounds.is_empty() { self.turns(talk, class, start, &mut thread)? } else { self.rounds(talk, start)? };
        self.stack.pop();
        Ok(ends)
    }

    fn turns(&mut self, talk: &Talk, class: u16, start: &Start, thread: &mut Thread) -> Result<Vec<u32>, TraceError> {
        let place = Place { file: self.file, line: talk.line };
        let mut joins: HashMap<usize, Vec<u32>> = HashMap::new();
        let mut previous: Option<(u32, Option<Nanos>)> = None;
        for (number, turn) in talk.turns.iter().enumerate() {
            let (mut after, mut gap) = match previous {
                None => (start.after.clone(), start.gap),
                Some((id, _)) => (vec![id], Nanos::ZERO),
            };
            after.extend(joins.remove(&number).unwrap_or_default());
            gap += turn.delay;
            self.counts.early += u64::from(after.is_empty() && turn.delayed);
            let mut edges: Vec<Edge> = after.iter().map(|id| Edge::after_end(RequestId(*id), gap, Cause::Think)).collect();
            if let (false, Some((id, Some(before))), Some(at)) = (turn.delayed, previous, turn.at) {
                // Not before its recorded time since the turn before either.
                let gap = (at - before).max(Nanos::ZERO);
                edges.insert(0, Edge { on: Moment::Start, ..Edge::after_end(RequestId(id), gap, Cause::Think) });
            }
            let id = self.send(talk, turn, class, edges, thread, place)?;
            for (name, join) in &turn.spawns {
                let ends = self.grow(self.names[name], SPAWN, &Start { after: vec![id], gap: Nanos::ZERO }, Thread::default())?;
                if let Some(join) = join {
                    joins.entry(*join).or_default().extend(ends);
                }
            }
            for name in &turn.forks {
                self.grow(self.names[name], FORK, &Start { after: vec![id], gap: Nanos::ZERO }, thread.clone())?;
            }
            previous = Some((id, turn.at));
        }
        Ok(previous.map(|(id, _)| id).into_iter().collect())
    }

    /// Each round waits for all of the one before and for the think time of that.
    fn rounds(&mut self, talk: &Talk, start: &Start) -> Result<Vec<u32>, TraceError> {
        let mut start = Start { after: start.after.clone(), gap: start.gap };
        for (names, median) in &talk.rounds {
            let mut ends = vec![];
            for name in names {
                ends.extend(self.grow(self.names[name], SPAWN, &start, Thread::default())?);
            }
            let drawn = if talk.think.sigma > 0.0 { median.scale(libm::exp(talk.think.sigma * self.think.normal())) } else { *median };
            start = Start { after: ends, gap: drawn.clamp(talk.think.min, talk.think.max) };
        }
        Ok(start.after)
    }

    fn send(
        &mut self,
        talk: &Talk,
        turn: &Turn,
        class: u16,
        after: Vec<Edge>,
        thread: &mut Thread,
        place: Place<'_>,
    ) -> Result<u32, TraceError> {
        if self.made == MAX_MADE || self.turns > u32::from(u16::MAX) {
            return Err(place.line("the file unfolds into too many requests", "start fewer conversations from one, or from each other"));
        }
        let output = turn.output.unwrap_or(UNSAID_OUTPUT);
        let (prompt, input, gappy) = if talk.whole {
            let bytes: u64 = turn.said.iter().map(|said| said.bytes).sum();
            (prompt(&turn.said, turn.tools.as_ref()), tokens(bytes).into(), false)
        } else {
            let next = thread.say(turn.said.clone(), turn.plain.clone(), turn.tools.as_ref());
            let next = next.ok_or_else(|| place.line("its conversation has too many messages", "split it"))?;
            (next.prompt, next.input, next.gappy)
        };
        if input > MAX_TOKENS {
            return Err(place.line(format!("a prompt has {input} tokens with its history"), "split the conversation"));
        }
        let (id, input) = (self.made, input as u32);
        thread.sent(id, input, output);
        self.counts.estimated += 1;
        self.counts.unsaid += u64::from(turn.output.is_none());
        self.counts.gappy += u64::from(gappy);
        self.counts.extra += u64::from(turn.extra);
        self.counts.media += turn.media;
        let request = TraceRequest {
            at: turn.at.map(|at| at - self.first).filter(|at| *at >= Nanos::ZERO),
            after,
            session: Some(SessionId(self.session)),
            turn: self.turns as u16,
            class,
            length: if turn.exact { OutputLength::Exact } else { OutputLength::Cap },
            ..TraceRequest::new(prompt, input, output)
        };
        self.sink.request(request)?;
        (self.made, self.turns) = (self.made + 1, self.turns + 1);
        Ok(id)
    }
}

fn talk(object: &Map<String, Value>, place: Place<'_>) -> Result<Talk, TraceError> {
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
    let extra = object.get("extra").and_then(Value::as_object);
    let said_exact = extra.is_some_and(|extra| {
        extra.get("ignore_eos") == Some(&Value::Bool(true)) || extra.get("min_tokens").and_then(Value::as_u64) == output.map(u64::from)
    });
    let mut forks = vec![];
    for fork in object.get("forks").and_then(Value::as_array).into_iter().flatten() {
        let (name, background) = match fork {
            Value::String(name) => (Some(name.as_str()), false),
            other => (other.get("child").and_then(Value::as_str), other.get("background") == Some(&Value::Bool(true))),
        };
        let Some(name) = name else {
            return Err(place.field(at("forks"), format!("has {fork}"), "names, or `{\"child\", \"background\"}`"));
        };
        if !background && number + 1 < turns {
            return Err(place.field(
                at("forks"),
                format!("ends the conversation in `{name}` before its last turn"),
                "in the last turn, or in the background",
            ));
        }
        forks.push(name.to_owned());
    }
    let next = Some(number + 1).filter(|next| *next < turns);
    let mut spawns = vec![];
    for spawn in object.get("spawns").and_then(Value::as_array).into_iter().flatten() {
        let children: Option<Vec<&str>> = match spawn {
            Value::String(name) => Some(vec![name]),
            other => other.get("children").and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_str).collect()),
        };
        let Some(children) = children.filter(|children| !children.is_empty()) else {
            return Err(place.field(at("spawns"), format!("has {spawn}"), "names, or `{\"children\", \"join_at\"}`"));
        };
        let join = match spawn.get("join_at").map(Value::as_u64) {
            None => next,
            Some(Some(join)) if join > number as u64 && join < turns as u64 => Some(join as usize),
            Some(_) => {
                return Err(place.field(
                    at("spawns"),
                    "has a `join_at` that is no later turn",
                    format!("a turn from {} to {}", number + 1, turns.saturating_sub(1)),
                ));
            }
        };
        spawns.extend(children.into_iter().map(|name| (name.to_owned(), join)));
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

#[cfg(test)]
mod tests;
