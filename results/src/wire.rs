//! Binary stored forms for the spool: a record, a reading or an event as one postcard message.
//!
//! Enumerations are their codes (see [`crate::words`]). The layout is positional, so any change of it needs a new spool schema.

use crate::error::StoreError;
use crate::words::Word;
use nomoat_core::digest::OutputHash;
use nomoat_core::record::{Moments, RequestRecord, Tokens};
use nomoat_core::request::{LaneId, RequestId, SessionId, ShardId};
use nomoat_core::sample::{RunEvent, Sample};
use nomoat_core::units::Nanos;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// One message of a spool.
#[derive(Serialize, Deserialize)]
pub(crate) enum EntryWire<'a> {
    Record(#[serde(borrow)] Box<RecordWire<'a>>),
    Sample(#[serde(borrow)] SampleWire<'a>),
    Event(#[serde(borrow)] EventWire<'a>),
}

/// Stored form of a [`RequestRecord`].
#[derive(Serialize, Deserialize)]
pub(crate) struct RecordWire<'a> {
    request: u32,
    session: Option<u32>,
    turn: u16,
    lane: Option<u32>,
    shard: u16,
    phase: u8,
    class: u16,
    priority: i32,
    endpoint: u16,
    attempts: u16,
    due: i64,
    /// In the order of [`Moments`], without `due`.
    moments: [Option<i64>; 13],
    chunk_gaps: Cow<'a, [i64]>,
    chunk_tokens: Cow<'a, [u32]>,
    empty_choices: u32,
    /// input, cache_read, cache_write, output, reasoning.
    counted: [Option<u32>; 5],
    wanted: u32,
    wanted_input: u32,
    /// Sources of input, output and chunks.
    sources: [u8; 3],
    connection: u8,
    stamp: u8,
    first_coalesced: bool,
    coalesced: u32,
    status: u8,
    http_status: Option<u16>,
    error: Option<u8>,
    finish: Option<u8>,
    bytes_up: u64,
    bytes_down: u64,
    output_hash: Option<u64>,
    output_chars: Option<u32>,
    #[serde(borrow)]
    vendor: Option<Cow<'a, str>>,
}

impl<'a> From<&'a RequestRecord> for RecordWire<'a> {
    fn from(record: &'a RequestRecord) -> Self {
        // Taken apart field by field: a new field that is not stored does not compile.
        let RequestRecord {
            request: RequestId(request),
            session,
            turn,
            lane,
            shard: ShardId(shard),
            phase,
            class,
            priority,
            endpoint,
            attempts,
            at:
                Moments {
                    due,
                    start,
                    conn_ready,
                    sent,
                    headers,
                    first_byte,
                    first_choice,
                    first_token,
                    first_visible,
                    last_token,
                    last_choice,
                    last_event,
                    terminator,
                    end,
                },
            chunk_gaps,
            chunk_tokens,
            empty_choices,
            tokens:
                Tokens { input, cache_read, cache_write, output, reasoning, wanted, wanted_input, input_source, output_source, chunk_source },
            connection,
            stamp,
            first_coalesced,
            coalesced,
            status,
            http_status,
            error,
            finish,
            bytes_up,
            bytes_down,
            output_hash,
            output_chars,
            vendor,
        } = record;
        Self {
            request: *request,
            session: session.map(|SessionId(s)| s),
            turn: *turn,
            lane: lane.map(|LaneId(l)| l),
            shard: *shard,
            phase: phase.code(),
            class: *class,
            priority: *priority,
            endpoint: *endpoint,
            attempts: *attempts,
            due: due.0,
            moments: [
                start,
                conn_ready,
                sent,
                headers,
                first_byte,
                first_choice,
                first_token,
                first_visible,
                last_token,
                last_choice,
                last_event,
                terminator,
                end,
            ]
            .map(|m| m.map(|m| m.0)),
            chunk_gaps: Cow::Borrowed(chunk_gaps),
            chunk_tokens: Cow::Borrowed(chunk_tokens),
            empty_choices: *empty_choices,
            counted: [*input, *cache_read, *cache_write, *output, *reasoning],
            wanted: *wanted,
            wanted_input: *wanted_input,
            sources: [input_source.code(), output_source.code(), chunk_source.code()],
            connection: connection.code(),
            stamp: stamp.code(),
            first_coalesced: *first_coalesced,
            coalesced: *coalesced,
            status: status.code(),
            http_status: *http_status,
            error: error.map(Word::code),
            finish: finish.map(Word::code),
            bytes_up: *bytes_up,
            bytes_down: *bytes_down,
            output_hash: output_hash.map(|OutputHash(h)| h),
            output_chars: *output_chars,
            vendor: vendor.as_deref().map(Cow::Borrowed),
        }
    }
}

/// The member of a closed list with a code, or a message that names the list.
fn member<W: Word>(code: u8) -> Result<W, StoreError> {
    W::of_code(code).ok_or_else(|| StoreError::value(W::WHAT, format!("code {code} is unknown")))
}

impl TryFrom<RecordWire<'_>> for RequestRecord {
    type Error = StoreError;

    fn try_from(wire: RecordWire<'_>) -> Result<Self, StoreError> {
        let [
            start,
            conn_ready,
            sent,
            headers,
            first_byte,
            first_choice,
            first_token,
            first_visible,
            last_token,
            last_choice,
            last_event,
            terminator,
            end,
        ] = wire.moments.map(|m| m.map(Nanos));
        let [input, cache_read, cache_write, output, reasoning] = wire.counted;
        let [input_source, output_source, chunk_source] = wire.sources;
        Ok(Self {
            request: RequestId(wire.request),
            session: wire.session.map(SessionId),
            turn: wire.turn,
            lane: wire.lane.map(LaneId),
            shard: ShardId(wire.shard),
            phase: member(wire.phase)?,
            class: wire.class,
            priority: wire.priority,
            endpoint: wire.endpoint,
            attempts: wire.attempts,
            at: Moments {
                due: Nanos(wire.due),
                start,
                conn_ready,
                sent,
                headers,
                first_byte,
                first_choice,
                first_token,
                first_visible,
                last_token,
                last_choice,
                last_event,
                terminator,
                end,
            },
            chunk_gaps: wire.chunk_gaps.into_owned(),
            chunk_tokens: wire.chunk_tokens.into_owned(),
            empty_choices: wire.empty_choices,
            tokens: Tokens {
                input,
                cache_read,
                cache_write,
                output,
                reasoning,
                wanted: wire.wanted,
                wanted_input: wire.wanted_input,
                input_source: member(input_source)?,
                output_source: member(output_source)?,
                chunk_source: member(chunk_source)?,
            },
            connection: member(wire.connection)?,
            stamp: member(wire.stamp)?,
            first_coalesced: wire.first_coalesced,
            coalesced: wire.coalesced,
            status: member(wire.status)?,
            http_status: wire.http_status,
            error: wire.error.map(member).transpose()?,
            finish: wire.finish.map(member).transpose()?,
            bytes_up: wire.bytes_up,
            bytes_down: wire.bytes_down,
            output_hash: wire.output_hash.map(OutputHash),
            output_chars: wire.output_chars,
            vendor: wire.vendor.map(Cow::into_owned),
        })
    }
}

/// Stored form of a [`Sample`].
#[derive(Serialize, Deserialize)]
pub(crate) struct SampleWire<'a> {
    at: i64,
    source: u8,
    metric: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> From<&'a Sample> for SampleWire<'a> {
    fn from(sample: &'a Sample) -> Self {
        let Sample { at, source, metric, labels, value } = sample;
        Self { at: at.0, source: source.code(), metric, labels, value: *value }
    }
}

impl TryFrom<SampleWire<'_>> for Sample {
    type Error = StoreError;

    fn try_from(wire: SampleWire<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            at: Nanos(wire.at),
            source: member(wire.source)?,
            metric: wire.metric.to_owned(),
            labels: wire.labels.to_owned(),
            value: wire.value,
        })
    }
}

/// Stored form of a [`RunEvent`], here and as a line of `events.jsonl`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventWire<'a> {
    at_ns: i64,
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    detail: Cow<'a, str>,
}

impl<'a> From<&'a RunEvent> for EventWire<'a> {
    fn from(event: &'a RunEvent) -> Self {
        let RunEvent { at, code, detail } = event;
        Self { at_ns: at.0, code: Cow::Borrowed(code), detail: Cow::Borrowed(detail) }
    }
}

impl TryFrom<EventWire<'_>> for RunEvent {
    type Error = StoreError;

    fn try_from(wire: EventWire<'_>) -> Result<Self, StoreError> {
        Ok(Self { at: Nanos(wire.at_ns), code: intern(&wire.code)?, detail: wire.detail.into_owned() })
    }
}

/// Distinct event codes one process reads at most; nomoat writes a handful.
const CODES_MAX: usize = 256;
/// Longest event code in bytes.
const CODE_BYTES_MAX: usize = 64;

/// The `'static` text of an event code. Codes are constants of the program that writes them, which need not be this version of it,
/// so a reader keeps each one it meets once and for good; both bounds keep a strange file from growing this process.
fn intern(code: &str) -> Result<&'static str, StoreError> {
    static CODES: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut codes = CODES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = codes.get(code) {
        return Ok(known);
    }
    if code.len() > CODE_BYTES_MAX || codes.len() >= CODES_MAX {
        let shown: String = code.chars().take(CODE_BYTES_MAX).collect();
        return Err(StoreError::value("event code", format!("`{shown}` is too long or one of too many; this is not a file of nomoat")));
    }
    let kept: &'static str = Box::leak(code.to_owned().into_boxed_str());
    codes.insert(kept);
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kept_once_and_bounded() {
        let (a, b) = (intern("clock_step").unwrap(), intern("clock_step").unwrap());
        assert!(std::ptr::eq(a, b));
        assert!(intern(&"x".repeat(65)).unwrap_err().to_string().contains("event code"));
    }
}
