//! Speed of the receive path on one core: bytes of event streams per second, from payload to the sink's record.
//!
//! The events are vLLM's (about 250 bytes each). `one` feeds one event at a time, as a server that writes each event by itself is
//! read; `sixteen` feeds sixteen at a time. `parser` is the same without the learnt skeleton, `scan` cuts events and looks no
//! further, `framed` also takes off the HTTP chunks. Before them comes a table of recorded streams of every engine: see [`replay`].

mod replay;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use nomoat_core::clock::ManualClock;
use nomoat_core::event::EventSink;
use nomoat_core::event::RequestError;
use nomoat_core::record::{RequestRecord, Tokens};
use nomoat_http::body::{BodyDecoder, Framing};
use nomoat_http::protocol::{Chat, Protocol};
use nomoat_http::sse::{SseDecoder, SseError};
use nomoat_http::stream::StreamDecoder;
use std::hint::black_box;
use std::sync::Arc;

const EVENTS: usize = 512;

/// One event, as vLLM writes it with and without running usage.
fn event(i: usize, usage: bool) -> String {
    let text = [" the", " quick", "er", " brown", ",", " foxes"][i % 6];
    let usage = if usage {
        format!(
            ",\"usage\":{{\"prompt_tokens\":44,\"total_tokens\":{},\"completion_tokens\":{},\"completion_tokens_details\":null}}",
            45 + i,
            1 + i
        )
    } else {
        String::new()
    };
    format!(
        "data: {{\"id\":\"chatcmpl-8f0e3b7e54f64b0c9d1f0a7d6d1c2b3a\",\"object\":\"chat.completion.chunk\",\"created\":1795438428,\
         \"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":null,\
         \"finish_reason\":null,\"token_ids\":null}}]{usage}}}\n\n"
    )
}

struct Receiver {
    decoder: StreamDecoder,
    sink: EventSink,
}

impl Receiver {
    fn new(protocol: &'static dyn Protocol, skeleton: bool) -> Self {
        let decoder = StreamDecoder::new(protocol);
        let decoder = if skeleton { decoder } else { decoder.without_skeleton() };
        Self { decoder, sink: EventSink::new(Arc::new(ManualClock::default()), Arc::default()) }
    }

    fn begin(&mut self) {
        self.decoder.reset();
        let tokens = Tokens { wanted: EVENTS as u32, ..Tokens::default() };
        self.sink.begin(RequestRecord { tokens, ..RequestRecord::default() }, false);
    }

    fn answer(&mut self, reads: &[Vec<u8>]) -> usize {
        self.begin();
        for read in reads {
            let stamp = self.sink.arrived(read.len(), None);
            self.decoder.feed(black_box(read), stamp, &mut self.sink).expect("the stream is whole");
        }
        self.end()
    }

    fn framed(&mut self, reads: &[Vec<u8>]) -> usize {
        self.begin();
        let mut body = BodyDecoder::new(Framing::Chunked);
        let Self { decoder, sink } = self;
        for read in reads {
            let stamp = sink.arrived(read.len(), None);
            body.feed(black_box(read), &mut |piece| decoder.feed(piece, stamp, sink).map(|_| ()) as Result<(), RequestError>)
                .expect("the stream is whole");
        }
        self.end()
    }

    fn end(&mut self) -> usize {
        let result = self.decoder.end(&mut self.sink);
        let (record, _) = self.sink.finish(result, false);
        record.chunk_tokens.len()
    }

    /// Events of the last answer that the full parser read.
    fn fallbacks(&self) -> u64 {
        self.decoder.fallbacks()
    }
}

fn decoding(c: &mut Criterion) {
    for usage in [false, true] {
        let events: Vec<Vec<u8>> = (0..EVENTS).map(|i| event(i, usage).into_bytes()).collect();
        let bytes: usize = events.iter().map(Vec::len).sum();
        let mut group = c.benchmark_group(format!("sse/{}B{}", bytes / EVENTS, if usage { "+usage" } else { "" }));
        group.throughput(Throughput::Bytes(bytes as u64));
        for (name, per_read) in [("one", 1), ("sixteen", 16)] {
            let reads: Vec<Vec<u8>> = events.chunks(per_read).map(<[Vec<u8>]>::concat).collect();
            group.bench_function(BenchmarkId::new("skeleton", name), |b| {
                let mut receiver = Receiver::new(&Chat, true);
                b.iter(|| assert_eq!(receiver.answer(&reads), EVENTS));
            });
            group.bench_function(BenchmarkId::new("parser", name), |b| {
                let mut receiver = Receiver::new(&Chat, false);
                b.iter(|| assert_eq!(receiver.answer(&reads), EVENTS));
            });
            let chunked: Vec<Vec<u8>> = events
                .chunks(per_read)
                .map(|events| {
                    events.iter().flat_map(|e| [format!("{:x}\r\n", e.len()).into_bytes(), e.clone(), b"\r\n".to_vec()].concat()).collect()
                })
                .collect();
            group.bench_function(BenchmarkId::new("framed", name), |b| {
                let mut receiver = Receiver::new(&Chat, true);
                b.iter(|| assert_eq!(receiver.framed(&chunked), EVENTS));
            });
            group.bench_function(BenchmarkId::new("scan", name), |b| {
                let mut decoder = SseDecoder::default();
                b.iter(|| {
                    let mut n = 0;
                    for read in &reads {
                        let fed = decoder.feed(black_box(read), &mut |item| {
                            black_box(item);
                            n += 1;
                            Ok::<(), SseError>(())
                        });
                        assert!(fed.is_ok());
                    }
                    n
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decoding);

/// The table first: criterion's own figures follow. With a filter, and in `cargo test`, only what was asked for.
fn main() {
    let mut words = std::env::args().skip(1).filter(|a| a != "--bench" && a != "--quick");
    if words.next().is_none_or(|w| w == "replay") && !cfg!(debug_assertions) {
        replay::table();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
