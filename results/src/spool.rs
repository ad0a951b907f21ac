//! The record spool: what a run has measured so far, appended as it completes, so that a killed process loses almost nothing.
//!
//! A file of frames `[u32 length][u32 crc32][postcard bytes]`, little-endian, after an eight-byte magic; the first frame states
//! schema and run. Writing is buffered: what was flushed survives the death of the process (not of the machine, which would cost
//! a disk wait per flush). Reading stops at the first frame that is not whole and says how many bytes it left behind; it never
//! guesses where the next frame might begin.

use crate::error::{StoreError, check_schema};
use crate::wire::EntryWire;
use nomoat_core::record::RequestRecord;
use nomoat_core::sample::{RunEvent, Sample};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The schema this crate writes and reads.
pub const SCHEMA: &str = "run-spool/3";
const MAGIC: &[u8; 8] = b"nmspool\n";
/// Length and checksum before each message.
const FRAME_HEAD: usize = 8;
/// Longest message in bytes: an answer of more than ten million chunks.
const MESSAGE_MAX: usize = 64 << 20;
/// A few hundred records between writes to the system, if nobody flushes.
const BUFFER: usize = 256 << 10;

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    schema: &'a str,
    run_id: &'a str,
}

/// Appends to a spool.
pub struct SpoolWriter {
    path: PathBuf,
    file: BufWriter<File>,
    message: Vec<u8>,
    records: u64,
}

impl SpoolWriter {
    /// Creates the file.
    ///
    /// # Errors
    /// It is there already (the spool of another run is never overwritten) or cannot be created.
    pub fn create(path: &Path, run_id: &str) -> Result<Self, StoreError> {
        let file = File::create_new(path).map_err(StoreError::io("creating", path))?;
        let mut spool = Self { path: path.to_owned(), file: BufWriter::with_capacity(BUFFER, file), message: vec![], records: 0 };
        spool.file.write_all(MAGIC).map_err(StoreError::io("writing", path))?;
        spool.append(&Head { schema: SCHEMA, run_id })?;
        spool.flush()?;
        Ok(spool)
    }

    /// Appends a record.
    ///
    /// # Errors
    /// The file cannot be written, or the record is larger than 64 MiB.
    pub fn push(&mut self, record: &RequestRecord) -> Result<(), StoreError> {
        self.append(&EntryWire::Record(Box::new(record.into())))?;
        self.records += 1;
        Ok(())
    }

    /// Appends a reading, so that a recovered run has it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push_sample(&mut self, sample: &Sample) -> Result<(), StoreError> {
        self.append(&EntryWire::Sample(sample.into()))
    }

    /// Appends an event, so that a recovered run has it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push_event(&mut self, event: &RunEvent) -> Result<(), StoreError> {
        self.append(&EntryWire::Event(event.into()))
    }

    /// Records appended so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Hands what is buffered to the system. To be called at least every 500 ms while the run goes on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.file.flush().map_err(StoreError::io("writing", &self.path))
    }

    fn append(&mut self, message: &impl Serialize) -> Result<(), StoreError> {
        self.message.clear();
        let buffer = std::mem::take(&mut self.message);
        self.message = postcard::to_extend(message, buffer)
            .map_err(|e| StoreError::value(self.path.display().to_string(), format!("a record cannot be encoded: {e}")))?;
        if self.message.len() > MESSAGE_MAX {
            let why = format!("a record of {} bytes is larger than the bound of {MESSAGE_MAX}", self.message.len());
            return Err(StoreError::value(self.path.display().to_string(), why));
        }
        let length = (self.message.len() as u32).to_le_bytes();
        let sum = crc32fast::hash(&self.message).to_le_bytes();
        let mut write = || {
            self.file.write_all(&length)?;
            self.file.write_all(&sum)?;
            self.file.write_all(&self.message)
        };
        write().map_err(StoreError::io("writing", &self.path))
    }
}

/// One thing from a spool.
#[derive(Clone, PartialEq, Debug)]
pub enum Entry {
    /// A record.
    Record(Box<RequestRecord>),
    /// A reading.
    Sample(Sample),
    /// An event.
    Event(RunEvent),
}

/// The end of a spool that was not whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Torn {
    /// Bytes of whole frames before it.
    pub kept_bytes: u64,
    /// Bytes from there to the end of the file.
    pub dropped_bytes: u64,
    /// What was wrong with the frame there.
    pub why: &'static str,
}

/// Reads a spool from its beginning.
pub struct SpoolReader {
    path: PathBuf,
    file: BufReader<File>,
    length: u64,
    position: u64,
    run_id: String,
    message: Vec<u8>,
    torn: Option<Torn>,
}

/// What stands at a place of the file.
enum Frame {
    Whole,
    End,
    Bad(&'static str),
}

impl SpoolReader {
    /// Opens a spool and reads its head.
    ///
    /// # Errors
    /// It is not there, not a spool, its head is damaged, or it is of a newer schema.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("opening", path))?;
        let length = file.metadata().map_err(StoreError::io("opening", path))?.len();
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(BUFFER, file),
            length,
            position: 0,
            run_id: String::new(),
            message: vec![],
            torn: None,
        };
        let mut magic = [0; MAGIC.len()];
        let read = reader.file.read_exact(&mut magic);
        if read.is_err_and(|e| e.kind() != ErrorKind::UnexpectedEof) || magic != *MAGIC {
            return Err(StoreError::value(path.display().to_string(), "it is not a spool of nomoat"));
        }
        reader.position = MAGIC.len() as u64;
        let damaged = || StoreError::value(path.display().to_string(), "the head of this spool is damaged; nothing can be read from it");
        let Frame::Whole = reader.read_frame().map_err(StoreError::io("reading", path))? else { return Err(damaged()) };
        let head: Head = postcard::from_bytes(&reader.message).map_err(|_| damaged())?;
        check_schema(&path.display().to_string(), Some(head.schema), SCHEMA)?;
        reader.run_id = head.run_id.to_owned();
        Ok(reader)
    }

    /// Whose records they are.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The damaged end, once it was met. `None` after the last entry means that the spool was whole.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// Where the next entry begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Goes to an entry whose place was noted before. Cheap when it is near: the buffer is kept.
    pub(crate) fn go_to(&mut self, position: u64) -> Result<(), StoreError> {
        let step = position as i64 - self.position as i64;
        self.file.seek_relative(step).map_err(StoreError::io("reading", &self.path))?;
        self.position = position;
        Ok(())
    }

    /// The next entry; `None` at the end, whole or torn.
    ///
    /// # Errors
    /// The file cannot be read. Damage is not an error: see [`SpoolReader::torn`].
    pub fn read(&mut self) -> Result<Option<Entry>, StoreError> {
        if self.torn.is_some() {
            return Ok(None);
        }
        let begin = self.position;
        let why = match self.read_frame().map_err(StoreError::io("reading", &self.path))? {
            Frame::End => return Ok(None),
            Frame::Bad(why) => why,
            Frame::Whole => match decode(&self.message) {
                Some(entry) => return Ok(Some(entry)),
                None => "its bytes are no record",
            },
        };
        self.torn = Some(Torn { kept_bytes: begin, dropped_bytes: self.length.saturating_sub(begin), why });
        Ok(None)
    }

    /// Reads one frame into `message`.
    fn read_frame(&mut self) -> io::Result<Frame> {
        let left = self.length.saturating_sub(self.position);
        if left == 0 {
            return Ok(Frame::End);
        }
        if left < FRAME_HEAD as u64 {
            return Ok(Frame::Bad("it ends inside a frame's head"));
        }
        let mut head = [0; FRAME_HEAD];
        self.file.read_exact(&mut head)?;
        let [a, b, c, d, e, f, g, h] = head;
        let (length, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if length == 0 || length as usize > MESSAGE_MAX {
            return Ok(Frame::Bad("a frame has an impossible length"));
        }
        if u64::from(length) > left - FRAME_HEAD as u64 {
            return Ok(Frame::Bad("it ends inside a frame"));
        }
        self.message.resize(length as usize, 0);
        self.file.read_exact(&mut self.message)?;
        if crc32fast::hash(&self.message) != sum {
            return Ok(Frame::Bad("a frame's checksum does not fit"));
        }
        self.position += FRAME_HEAD as u64 + u64::from(length);
        Ok(Frame::Whole)
    }
}

impl Iterator for SpoolReader {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn decode(message: &[u8]) -> Option<Entry> {
    let (entry, rest) = postcard::take_from_bytes::<EntryWire>(message).ok()?;
    if !rest.is_empty() {
        return None;
    }
    match entry {
        EntryWire::Record(record) => RequestRecord::try_from(*record).ok().map(|r| Entry::Record(Box::new(r))),
        EntryWire::Sample(sample) => Sample::try_from(sample).ok().map(Entry::Sample),
        EntryWire::Event(event) => RunEvent::try_from(event).ok().map(Entry::Event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::{arbitrary_record, record};
    use nomoat_core::sample::SampleSource;
    use nomoat_core::units::Nanos;
    use proptest::prelude::*;

    /// The bytes of a spool of `records`, and where each of its frames ends.
    fn spool(records: &[RequestRecord]) -> (Vec<u8>, Vec<usize>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.bin");
        let mut writer = SpoolWriter::create(&path, "run-1").unwrap();
        let mut ends = vec![std::fs::metadata(&path).unwrap().len() as usize];
        for record in records {
            writer.push(record).unwrap();
            writer.flush().unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len() as usize);
        }
        assert_eq!(writer.records(), records.len() as u64);
        (std::fs::read(&path).unwrap(), ends)
    }

    fn read(bytes: &[u8]) -> Result<(Vec<RequestRecord>, Option<Torn>), StoreError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.bin");
        std::fs::write(&path, bytes).unwrap();
        let mut reader = SpoolReader::open(&path)?;
        let mut records = vec![];
        while let Some(entry) = reader.read()? {
            let Entry::Record(record) = entry else { panic!("only records were written") };
            records.push(*record);
        }
        Ok((records, reader.torn().cloned()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_records_come_back_equal(records in prop::collection::vec(arbitrary_record(), 0..20)) {
            let (bytes, _) = spool(&records);
            prop_assert_eq!(read(&bytes).unwrap(), (records, None));
        }

        #[test]
        fn cut_anywhere_it_loses_no_whole_record(
            records in prop::collection::vec(arbitrary_record(), 1..8),
            at in any::<prop::sample::Index>(),
        ) {
            let (bytes, ends) = spool(&records);
            let cut = at.index(bytes.len() + 1);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            match read(&bytes[..cut]) {
                Err(_) => prop_assert_eq!(whole, 0, "only a damaged head is an error"),
                Ok((back, torn)) => {
                    prop_assert_eq!(&back[..], &records[..whole - 1]);
                    let kept = ends[whole - 1];
                    prop_assert_eq!(torn.map_or(0, |t| t.dropped_bytes), (cut - kept) as u64);
                }
            }
        }

        #[test]
        fn a_flipped_bit_is_noticed(
            records in prop::collection::vec(arbitrary_record(), 1..8),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let (mut bytes, ends) = spool(&records);
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let whole = ends.iter().filter(|end| **end <= place).count();
            match read(&bytes) {
                Err(_) => prop_assert_eq!(whole, 0, "only a damaged head is an error"),
                Ok((back, torn)) => {
                    prop_assert!(torn.is_some());
                    prop_assert_eq!(&back[..], &records[..whole - 1]);
                }
            }
        }
    }

    #[test]
    fn every_cut_of_one_spool() {
        let records: Vec<RequestRecord> = (0..4).map(|i| record(i, 3)).collect();
        let (bytes, ends) = spool(&records);
        for cut in ends[0]..=bytes.len() {
            let (back, torn) = read(&bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(back, records[..whole], "cut at {cut}");
            assert_eq!(torn.is_some(), !ends.contains(&cut), "cut at {cut}");
        }
        for cut in 0..ends[0] {
            assert!(read(&bytes[..cut]).is_err(), "cut at {cut}, inside the head");
        }
    }

    #[test]
    fn zeros_after_the_end_are_no_records() {
        let records = vec![record(0, 2)];
        let (mut bytes, _) = spool(&records);
        bytes.extend([0; 64]);
        let (back, torn) = read(&bytes).unwrap();
        assert_eq!(back, records);
        assert_eq!(torn.unwrap(), Torn { kept_bytes: bytes.len() as u64 - 64, dropped_bytes: 64, why: "a frame has an impossible length" });
    }

    #[test]
    fn readings_and_events_are_kept_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.bin");
        let mut writer = SpoolWriter::create(&path, "run-1").unwrap();
        let sample = Sample { at: Nanos(5), source: SampleSource::Engine, metric: "m".into(), labels: "a=b".into(), value: 0.25 };
        let event = RunEvent { at: Nanos(6), code: "start", detail: "go".into() };
        writer.push_sample(&sample).unwrap();
        writer.push(&record(3, 0)).unwrap();
        writer.push_event(&event).unwrap();
        writer.flush().unwrap();
        let entries: Vec<Entry> = SpoolReader::open(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries, [Entry::Sample(sample), Entry::Record(Box::new(record(3, 0))), Entry::Event(event)]);
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.bin");
        SpoolWriter::create(&path, "run-1").unwrap();
        assert!(SpoolWriter::create(&path, "run-1").is_err());
        std::fs::write(&path, b"something else entirely").unwrap();
        assert!(SpoolReader::open(&path).err().unwrap().to_string().contains("not a spool"));
    }
}
