//! What the tests of the receive path share: decoding a payload into a record under a clock that counts reads.

use nomoat_core::clock::ManualClock;
use nomoat_core::event::{EventSink, Finish, RequestError};
use nomoat_core::record::RequestRecord;
use nomoat_core::units::Nanos;
use nomoat_http::protocol::{PROTOCOLS, Protocol, by_name};
use nomoat_http::stream::{Flow, StreamDecoder};
use std::sync::Arc;

/// How to decode.
#[derive(Clone, Copy)]
pub struct How {
    /// Whether the learnt skeleton is used.
    pub skeleton: bool,
    /// Whether all pieces count as one read, so that records do not depend on the split.
    pub one_read: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    pub record: RequestRecord,
    pub text: String,
    pub result: Result<Finish, RequestError>,
    pub done: bool,
    pub comments: u64,
}

/// Decodes payload that arrives in `pieces`; read *n* is stamped *n* ns, the end one later. Also gives the fallbacks.
pub fn decode(protocol: &'static dyn Protocol, pieces: &[&[u8]], how: How) -> (Outcome, u64) {
    let decoder = StreamDecoder::new(protocol);
    decode_on(&mut if how.skeleton { decoder } else { decoder.without_skeleton() }, pieces, how)
}

/// The same on a decoder that may have read answers before.
pub fn decode_on(decoder: &mut StreamDecoder, pieces: &[&[u8]], how: How) -> (Outcome, u64) {
    decoder.reset();
    let clock = Arc::new(ManualClock::default());
    let mut sink = EventSink::new(clock.clone(), Arc::default());
    sink.begin(RequestRecord::default(), true);
    let total = pieces.iter().map(|p| p.len()).sum();
    let mut stamp = None;
    let mut done = false;
    let mut fed = Ok(());
    for piece in pieces {
        if !how.one_read || stamp.is_none() {
            clock.advance(Nanos(1));
            stamp = Some(sink.arrived(if how.one_read { total } else { piece.len() }, None));
        }
        let Some(stamp) = stamp else { continue };
        match decoder.feed(piece, stamp, &mut sink) {
            Ok(flow) => done = flow == Flow::Done,
            Err(error) => {
                fed = Err(error);
                break;
            }
        }
    }
    let result = decoder.end(&mut sink);
    if let Err(error) = fed {
        assert_eq!(result, Err(error), "the end repeats what broke the stream");
    }
    clock.advance(Nanos(1));
    let (record, text) = sink.finish(result, false);
    (Outcome { record, text: text.unwrap_or_default(), result, done, comments: decoder.comments() }, decoder.fallbacks())
}

/// Cuts bytes at these places.
pub fn split<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

/// A recorded response: head and body, as a file of `fixtures/` holds them. The recordings have the chunked framing taken off.
#[derive(Clone)]
pub struct Recording {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

/// Reads `fixtures/NAME.txt`.
pub fn recording(name: &str) -> Recording {
    let path = format!("{}/fixtures/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("reading {path}: {e}"));
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head and a body") + 4;
    Recording { head: bytes[..at].to_vec(), body: bytes[at..].to_vec() }
}

/// The dialect of a recording: its name begins with it. Prompts sent twice were completions.
pub fn dialect(name: &str) -> Option<&'static dyn Protocol> {
    let file = name.rsplit('/').next()?;
    let begins = |p: &&'static dyn Protocol| file.strip_prefix(p.name()).is_some_and(|rest| rest.starts_with('-'));
    PROTOCOLS.iter().copied().find(begins).or_else(|| by_name("completions").filter(|_| file.starts_with("prefix-")))
}

/// Every recorded stream of events: its name and its dialect.
pub fn streams() -> Vec<(String, &'static dyn Protocol)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let folders = std::fs::read_dir(root).expect("fixtures").flatten().filter(|f| f.path().is_dir());
    let names = folders.flat_map(|folder| {
        let files = std::fs::read_dir(folder.path()).expect("a folder").flatten();
        files.map(move |file| format!("{}/{}", folder.file_name().to_string_lossy(), file.file_name().to_string_lossy()))
    });
    let mut streams: Vec<_> = names
        .filter_map(|name| {
            let name = name.strip_suffix(".txt")?.to_owned();
            let dialect = dialect(&name)?;
            let body = recording(&name).body;
            (body.starts_with(b"data:") || body.starts_with(b"event:")).then_some((name, dialect))
        })
        .collect();
    streams.sort_by(|a, b| a.0.cmp(&b.0));
    streams
}
