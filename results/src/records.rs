//! `records.parquet`: one row per intended request, failures included. Prompts and outputs are never in it.
//!
//! Moments are INT64 ns on the run's clock and null where they never came; lists are three-level LISTs; names are UTF-8 with a
//! dictionary. The columns are one slice below. Three of them can be derived (`host`, `uncached`, `visible`); they are there for
//! people who open the file with other tools and are not read back.

use crate::columnar::{Column, Field, Row, TableReader, TableWriter, Width};
use crate::error::StoreError;
use crate::words::Word;
use nomoat_core::digest::OutputHash;
use nomoat_core::record::{RequestRecord, Tokens};
use nomoat_core::request::{LaneId, RequestId, SessionId, ShardId};
use nomoat_core::units::Nanos;
use std::path::Path;

/// The schema this crate writes and reads.
pub const SCHEMA: &str = "request-record/2";

/// Writes records in the order given, in row groups of at most 16 384.
pub struct RecordsWriter(TableWriter<RequestRecord>);

impl RecordsWriter {
    /// Creates the file; one that is there is replaced.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path, run_id: &str) -> Result<Self, StoreError> {
        TableWriter::create(path, run_id).map(Self)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// A row group became full and cannot be written.
    pub fn push(&mut self, record: RequestRecord) -> Result<(), StoreError> {
        self.0.push(record)
    }

    /// Completes the file and says how many records it has. A writer that is dropped instead leaves a file without a footer.
    ///
    /// # Errors
    /// The rest cannot be written.
    pub fn finish(self) -> Result<u64, StoreError> {
        self.0.finish()
    }
}

/// Reads records in file order, a few hundred at a time.
pub struct RecordsReader(TableReader<RequestRecord>);

impl RecordsReader {
    /// Opens a file and checks its schema.
    ///
    /// # Errors
    /// It is not there, not Parquet, of a newer schema, or has other columns.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        TableReader::open(path).map(Self)
    }

    /// Opens a file of which only what a bill needs is read: phase, due, sent, status and error, and the counts of tokens with their
    /// sources. Everything else in the records is as if it were absent.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_billed(path: &Path) -> Result<Self, StoreError> {
        const COLUMNS: [&str; 12] = [
            "phase",
            "due",
            "sent",
            "status",
            "error",
            "input",
            "cache_read",
            "cache_write",
            "input_source",
            "output",
            "reasoning",
            "output_source",
        ];
        TableReader::open_columns(path, |name| COLUMNS.contains(&name)).map(Self)
    }

    /// Whose records they are.
    pub fn run_id(&self) -> &str {
        self.0.run_id()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Iterator for RecordsReader {
    /// The first error ends the iteration.
    type Item = Result<RequestRecord, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// The column of a moment that may not have come.
macro_rules! moment {
    ($name:literal, $field:ident) => {
        Column::new(
            $name,
            Field::OptInt(
                Width::I64,
                |r| r.at.$field.map(|t| t.0),
                |r, v| {
                    r.at.$field = Some(Nanos(v));
                    Some(())
                },
            ),
        )
    };
}

/// The column of a token count that may be unknown.
macro_rules! count {
    ($name:literal, $field:ident) => {
        Column::new(
            $name,
            Field::OptInt(
                Width::U32,
                |r| r.tokens.$field.map(i64::from),
                |r, v| {
                    r.tokens.$field = Some(u32::try_from(v).ok()?);
                    Some(())
                },
            ),
        )
    };
}

/// The column of an integer that is always there.
macro_rules! int {
    ($name:literal, $width:ident, $($field:ident).+) => {
        Column::new($name, Field::Int(Width::$width, |r| i64::from(r.$($field).+), |r, v| {
            r.$($field).+ = v.try_into().ok()?;
            Some(())
        }))
    };
}

/// The column of a name from a closed list.
macro_rules! word {
    ($name:literal, $($field:ident).+) => {
        Column::new($name, Field::Text(|r| r.$($field).+.word(), |r, v| {
            r.$($field).+ = Word::of_word(v)?;
            Some(())
        }))
    };
}

/// The column of a name from a closed list that may be absent.
macro_rules! optional_word {
    ($name:literal, $field:ident) => {
        Column::new(
            $name,
            Field::OptText(
                |r| r.$field.map(Word::word),
                |r, v| {
                    r.$field = Some(Word::of_word(v)?);
                    Some(())
                },
            ),
        )
    };
}

/// Prompt tokens that were neither read from a cache nor written to a billed one; unknown where the cached ones are.
fn uncached(tokens: &Tokens) -> Option<i64> {
    Some(i64::from(tokens.input?) - i64::from(tokens.cache_read?) - i64::from(tokens.cache_write.unwrap_or(0)))
}

/// Generated tokens that are not reasoning; unknown where those are.
fn visible(tokens: &Tokens) -> Option<i64> {
    Some(i64::from(tokens.output?) - i64::from(tokens.reasoning?))
}

impl Row for RequestRecord {
    const SCHEMA: &'static str = SCHEMA;
    /// Characters were not counted at first.
    const ADDED: &'static [&'static str] = &["output_chars"];

    #[rustfmt::skip]
    const COLUMNS: &'static [Column<Self>] = &[
        // Identity.
        Column::new("request", Field::Int(Width::U32, |r| r.request.0.into(), |r, v| { r.request = RequestId(v.try_into().ok()?); Some(()) })),
        Column::new("session", Field::OptInt(Width::U32, |r| r.session.map(|s| s.0.into()), |r, v| { r.session = Some(SessionId(v.try_into().ok()?)); Some(()) })),
        int!("turn", U16, turn),
        Column::new("lane", Field::OptInt(Width::U32, |r| r.lane.map(|l| l.0.into()), |r, v| { r.lane = Some(LaneId(v.try_into().ok()?)); Some(()) })),
        Column::new("shard", Field::Int(Width::U16, |r| r.shard.0.into(), |r, v| { r.shard = ShardId(v.try_into().ok()?); Some(()) })),
        // One host generates all load so far; a file that says otherwise is refused instead of flattened.
        Column::new("host", Field::Int(Width::U16, |_| 0, |_, v| (v == 0).then_some(()))),
        word!("phase", phase),
        int!("class", U16, class),
        int!("priority", I32, priority),
        int!("endpoint", U16, endpoint),
        int!("attempts", U16, attempts),
        // Moments, ns on the run's clock.
        Column::new("due", Field::Int(Width::I64, |r| r.at.due.0, |r, v| { r.at.due = Nanos(v); Some(()) })),
        moment!("start", start),
        moment!("conn_ready", conn_ready),
        moment!("sent", sent),
        moment!("headers", headers),
        moment!("first_byte", first_byte),
        moment!("first_choice", first_choice),
        moment!("first_token", first_token),
        moment!("first_visible", first_visible),
        moment!("last_token", last_token),
        moment!("last_choice", last_choice),
        moment!("last_event", last_event),
        moment!("terminator", terminator),
        moment!("end", end),
        // Chunks that bear tokens: gaps in ns, the first one 0 at first_token; and tokens in each.
        Column::new("chunk_at", Field::Longs(|r| &r.chunk_gaps, |r, v| r.chunk_gaps = v)),
        Column::new("chunk_tok", Field::Counts(|r| &r.chunk_tokens, |r, v| r.chunk_tokens = v)),
        word!("chunk_source", tokens.chunk_source),
        int!("empty_choices", U32, empty_choices),
        // Tokens.
        count!("input", input),
        Column::new("uncached", Field::OptInt(Width::I64, |r| uncached(&r.tokens), |_, _| Some(()))),
        count!("cache_read", cache_read),
        count!("cache_write", cache_write),
        word!("input_source", tokens.input_source),
        count!("output", output),
        Column::new("visible", Field::OptInt(Width::I64, |r| visible(&r.tokens), |_, _| Some(()))),
        count!("reasoning", reasoning),
        word!("output_source", tokens.output_source),
        int!("wanted", U32, tokens.wanted),
        int!("wanted_input", U32, tokens.wanted_input),
        // The line.
        word!("connection", connection),
        word!("stamp", stamp),
        Column::new("first_coalesced", Field::Bool(|r| r.first_coalesced, |r, v| r.first_coalesced = v)),
        int!("coalesced", U32, coalesced),
        // What became of it.
        word!("status", status),
        Column::new("http_status", Field::OptInt(Width::U16, |r| r.http_status.map(i64::from), |r, v| { r.http_status = Some(v.try_into().ok()?); Some(()) })),
        optional_word!("error", error),
        optional_word!("finish", finish),
        Column::new("bytes_up", Field::Int(Width::U64, |r| r.bytes_up as i64, |r, v| { r.bytes_up = v as u64; Some(()) })),
        Column::new("bytes_down", Field::Int(Width::U64, |r| r.bytes_down as i64, |r, v| { r.bytes_down = v as u64; Some(()) })),
        Column::new("output_hash", Field::OptHash(|r| r.output_hash.map(|h| h.0), |r, v| r.output_hash = Some(OutputHash(v)))),
        Column::new("output_chars", Field::OptInt(Width::U32, |r| r.output_chars.map(i64::from), |r, v| { r.output_chars = Some(v.try_into().ok()?); Some(()) })),
        Column::new("vendor", Field::OptText(|r| r.vendor.as_deref(), |r, v| { r.vendor = Some(v.to_owned()); Some(()) })),
    ];

    fn blank() -> Self {
        Self::default()
    }

    fn entries(&self) -> usize {
        self.chunk_gaps.len() + self.chunk_tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::{arbitrary_record, record};
    use proptest::prelude::*;

    fn round_trip(records: &[RequestRecord]) -> Vec<RequestRecord> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.parquet");
        let mut writer = RecordsWriter::create(&path, "run-1").unwrap();
        for record in records {
            writer.push(record.clone()).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), records.len() as u64);
        let reader = RecordsReader::open(&path).unwrap();
        assert_eq!((reader.run_id(), reader.len()), ("run-1", records.len() as u64));
        reader.map(Result::unwrap).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_records_come_back_equal(records in prop::collection::vec(arbitrary_record(), 0..40)) {
            prop_assert_eq!(round_trip(&records), records);
        }
    }

    #[test]
    fn row_groups_and_batches_keep_order() {
        // More rows than two row groups, with list lengths that cross every batch boundary at another place.
        let records: Vec<RequestRecord> = (0..40_000).map(|i| record(i, i as usize % 7)).collect();
        assert!(round_trip(&records) == records);
    }

    #[test]
    fn long_answers_make_smaller_row_groups() {
        let records: Vec<RequestRecord> = (0..12).map(|i| record(i, 100_000)).collect();
        assert!(round_trip(&records) == records);
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.parquet");
        assert!(RecordsReader::open(&path).err().unwrap().to_string().contains("opening"));
        std::fs::write(&path, b"not parquet at all").unwrap();
        assert!(matches!(RecordsReader::open(&path).err(), Some(StoreError::Parquet { .. })));
        crate::samples::write(&path, "run-1", &[]).unwrap();
        let error = RecordsReader::open(&path).err().unwrap().to_string();
        assert!(error.contains("run-sample/1") && error.contains("request-record/2"), "{error}");
    }

    #[test]
    fn a_truncated_file_is_an_error_and_not_a_shorter_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.parquet");
        let mut writer = RecordsWriter::create(&path, "r").unwrap();
        for i in 0..200 {
            writer.push(record(i, 3)).unwrap();
        }
        writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for cut in [0, 4, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(RecordsReader::open(&path).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn derived_columns_are_unknown_where_their_parts_are() {
        let tokens = |input, cache_read, cache_write| Tokens { input, cache_read, cache_write, ..Tokens::default() };
        for (t, expect) in [
            (tokens(Some(100), Some(60), None), Some(40)),
            (tokens(Some(100), Some(60), Some(10)), Some(30)),
            (tokens(Some(100), None, None), None),
            (tokens(None, Some(60), None), None),
        ] {
            assert_eq!(uncached(&t), expect);
        }
        assert_eq!(visible(&Tokens { output: Some(9), reasoning: Some(4), ..Tokens::default() }), Some(5));
        assert_eq!(visible(&Tokens { output: Some(9), ..Tokens::default() }), None);
    }
}
