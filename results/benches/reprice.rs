//! Re-pricing a finished run of a million records: reading what a bill needs and billing it under three tariffs, and the billing alone.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nomoat_core::record::{CountSource, Moments, RequestRecord, Tokens};
use nomoat_core::request::RequestId;
use nomoat_core::units::Nanos;
use nomoat_results::cost::{Anchor, Biller};
use nomoat_results::prices::Book;
use nomoat_results::records::{RecordsReader, RecordsWriter};
use std::hint::black_box;

const RECORDS: u32 = 1_000_000;
/// Chunks of an answer: they are what a file of records is large by.
const CHUNKS: usize = 64;

fn record(i: u32) -> RequestRecord {
    let due = Nanos(i64::from(i) * 10_000_000);
    let source = CountSource::Usage;
    RequestRecord {
        request: RequestId(i),
        at: Moments { due, sent: Some(due), first_token: Some(due), last_token: Some(due), ..Moments::default() },
        chunk_gaps: (0..CHUNKS as i64).map(|n| if n == 0 { 0 } else { 10_000_000 + (n * i64::from(i)) % 1_000_003 }).collect(),
        chunk_tokens: vec![1; CHUNKS],
        tokens: Tokens {
            input: Some(1_000 + i % 977),
            cache_read: Some(i % 900),
            output: Some(CHUNKS as u32),
            reasoning: Some(i % 60),
            input_source: source,
            output_source: source,
            ..Tokens::default()
        },
        ..RequestRecord::default()
    }
}

fn reprice(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("records.parquet");
    let mut writer = RecordsWriter::create(&path, "bench").expect("created");
    for i in 0..RECORDS {
        writer.push(record(i)).expect("written");
    }
    writer.finish().expect("finished");
    let book = Book::shipped();
    let apis = ["deepseek/deepseek-v4-pro", "groq/gpt-oss-120b", "cerebras/gpt-oss-120b"].map(|id| book.api(id).expect("it ships"));
    // 2026-10-27, 00:00 UTC: the records are spread over three hours, peak and not.
    let anchor = Anchor { mono_ns: 0, unix_ns: 1_793_059_200_000_000_000 };
    let mut group = c.benchmark_group("a million records");
    group.throughput(Throughput::Elements(RECORDS.into())).sample_size(10);
    group.bench_function("read and billed", |b| {
        b.iter(|| {
            let mut biller = Biller::new(apis.iter().map(|api| &api.tariff), anchor);
            RecordsReader::open_billed(&path).expect("opened").for_each(|record| biller.add(&record.expect("read")));
            black_box(biller.finish().iter().map(|meter| meter.usd().expect("priced")).sum::<f64>())
        });
    });
    let records: Vec<RequestRecord> =
        (0..RECORDS).map(|i| RequestRecord { chunk_gaps: vec![], chunk_tokens: vec![], ..record(i) }).collect();
    group.bench_function("billed", |b| {
        b.iter(|| {
            let mut biller = Biller::new(apis.iter().map(|api| &api.tariff), anchor);
            records.iter().for_each(|record| biller.add(record));
            black_box(biller.finish().iter().map(|meter| meter.usd().expect("priced")).sum::<f64>())
        });
    });
    group.finish();
}

criterion_group!(benches, reprice);
criterion_main!(benches);
