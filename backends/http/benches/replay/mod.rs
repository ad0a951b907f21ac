//! Recorded streams of every engine in `fixtures/`, replayed at the decoder: what an event costs by engine, with the learnt
//! skeletons and without, and how many events still need the full parser.
//!
//! A recording is a few tokens long. It is made into answers of a usual length by repeating the events between its first text and
//! its end; every answer carries another id and another time of day, as the answers on one connection do. Chunk framing is put
//! back, one chunk to an event, as uvicorn sends them. Figures are medians of many passes; they hold for the machine at hand.

use crate::Receiver;
use nomoat_http::protocol::{PROTOCOLS, Protocol, by_name};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Events between the first text of an answer and its end.
const LENGTH: usize = 128;
/// Answers that follow each other on the decoder.
const ANSWERS: usize = 16;
/// Timed passes over them; the median counts.
const PASSES: usize = 31;

/// A recorded stream.
struct Recording {
    name: String,
    protocol: &'static dyn Protocol,
    events: Vec<String>,
    /// What repeats: the events behind the first text and before the end.
    middle: std::ops::Range<usize>,
}

impl Recording {
    /// Reads a recording; nothing if it is no stream, or too short to have a middle.
    fn read(path: &Path) -> Option<Self> {
        let folder = path.parent()?.file_name()?.to_str()?;
        let file = path.file_stem()?.to_str()?;
        let begins = |p: &&'static dyn Protocol| file.strip_prefix(p.name()).is_some_and(|rest| rest.starts_with('-'));
        let protocol = PROTOCOLS.iter().copied().find(begins).or_else(|| by_name("completions").filter(|_| file.starts_with("prefix-")))?;
        let text = std::fs::read_to_string(path).ok()?;
        let (_, body) = text.split_once("\r\n\r\n")?;
        let events: Vec<String> = body.split_inclusive("\n\n").map(str::to_owned).collect();
        let json: Vec<Value> = events.iter().map(|e| event_json(e)).collect();
        let has_text = |v: &Value| {
            let choice = &v["choices"][0];
            [&choice["delta"]["content"], &choice["text"], &v["delta"], &v["delta"]["text"], &v["content"], &v["text"]]
                .into_iter()
                .any(|t| t.as_str().is_some_and(|t| !t.is_empty()))
        };
        let ends = |v: &Value| {
            let kind = v["type"].as_str().unwrap_or_default();
            v["choices"][0]["finish_reason"].is_string()
                || (v["stop"] == true || v["meta_info"]["finish_reason"].is_object())
                || ["response.output_text.done", "content_block_stop"].contains(&kind)
        };
        let first = json.iter().position(has_text)? + 1;
        let end = json.iter().position(ends)?;
        (first < end).then(|| Self { name: format!("{folder}/{file}"), protocol, events, middle: first..end })
    }

    /// The events of answer `n`.
    fn answer(&self, n: usize) -> Vec<String> {
        let middle = self.events[self.middle.clone()].iter().cycle().take(LENGTH);
        let all = self.events[..self.middle.start].iter().chain(middle).chain(&self.events[self.middle.end..]);
        all.map(|event| renumber(renumber(renumber(event.clone(), "\"id\":\"", '"', n), "\"item_id\":\"", '"', n), "\"created\":", ',', n))
            .collect()
    }
}

fn event_json(event: &str) -> Value {
    event.trim().split_once("data:").and_then(|(_, d)| serde_json::from_str(d).ok()).unwrap_or_default()
}

/// An event in a chunk of its own.
fn chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

/// Writes a number over the last three characters of a value, so that its length stays.
fn renumber(mut event: String, key: &str, end: char, n: usize) -> String {
    if let Some(start) = event.find(key).map(|at| at + key.len())
        && let Some(length) = event[start..].find(end)
        && length > 3
    {
        event.replace_range(start + length - 3..start + length, &format!("{:03}", n % 1000));
    }
    event
}

/// Every recorded stream, in order of its name.
fn recordings() -> Vec<Recording> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"));
    let folders = std::fs::read_dir(root).expect("the recordings are part of the repository").flatten();
    let files = folders.filter_map(|f| std::fs::read_dir(f.path()).ok()).flat_map(Iterator::flatten);
    let mut recordings: Vec<Recording> = files.filter_map(|f| Recording::read(&f.path())).collect();
    recordings.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    recordings
}

/// Answers as they are read: every read of every answer.
struct Reads(Vec<Vec<Vec<u8>>>);

impl Reads {
    /// One event to a read, or everything in one.
    fn of(recording: &Recording, whole: bool) -> Self {
        let answers = (0..ANSWERS).map(|n| {
            let mut reads: Vec<Vec<u8>> = recording.answer(n).iter().map(|e| chunk(e)).collect();
            reads.push(b"0\r\n\r\n".to_vec());
            if whole { vec![reads.concat()] } else { reads }
        });
        Self(answers.collect())
    }

    /// Decodes all of them; gives the events that needed the full parser.
    fn replay(&self, receiver: &mut Receiver) -> u64 {
        self.0
            .iter()
            .map(|answer| {
                receiver.framed(answer);
                receiver.fallbacks()
            })
            .sum()
    }

    /// Median time of a pass, in nanoseconds.
    fn time(&self, receiver: &mut Receiver) -> f64 {
        self.replay(receiver);
        let mut passes: Vec<u128> = (0..PASSES)
            .map(|_| {
                let start = Instant::now();
                self.replay(receiver);
                start.elapsed().as_nanos()
            })
            .collect();
        passes.sort_unstable();
        passes[PASSES / 2] as f64
    }
}

/// Prints the table.
pub fn table() {
    println!("recorded streams: {ANSWERS} answers of {LENGTH} repeated events; ns per event, MiB/s of payload");
    println!("alone: events of the recording itself that the full parser reads, with nothing learnt before; replay: share in the replay");
    println!(
        "{:<68} {:>5} {:>8} {:>7} | {:>21} {:>7} | {:>21} {:>7}",
        "recording", "B/ev", "alone", "replay", "one event to a read", "parser", "all in one read", "parser"
    );
    for recording in recordings() {
        let payload: usize = (0..ANSWERS).flat_map(|n| recording.answer(n)).map(|e| e.len()).sum();
        let events: usize = (0..ANSWERS).map(|n| recording.answer(n).iter().filter(|e| !e.contains("[DONE]")).count()).sum();
        let alone = recording.events.iter().filter(|e| !e.contains("[DONE]")).count();
        let fresh = || Receiver::new(recording.protocol, true);
        let mut receiver = fresh();
        receiver.framed(&[recording.events.iter().flat_map(|e| chunk(e)).collect()]);
        let parsed_alone = receiver.fallbacks();
        let parsed = Reads::of(&recording, false).replay(&mut fresh());
        let timed = |whole: bool, skeleton: bool| {
            let time = Reads::of(&recording, whole).time(&mut Receiver::new(recording.protocol, skeleton));
            (time / events as f64, payload as f64 / (1 << 20) as f64 / (time / 1e9))
        };
        let ((one, one_rate), (one_parser, _)) = (timed(false, true), timed(false, false));
        let ((all, all_rate), (all_parser, _)) = (timed(true, true), timed(true, false));
        println!(
            "{:<68} {:>5} {:>8} {:>6.2}% | {one:>7.1} ns {one_rate:>5.0} MiB/s {one_parser:>4.0} ns | {all:>7.1} ns {all_rate:>5.0} MiB/s {all_parser:>4.0} ns",
            recording.name,
            payload / events,
            format!("{parsed_alone}/{alone}"),
            parsed as f64 * 100.0 / events as f64,
        );
    }
    println!();
}
