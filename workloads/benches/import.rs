//! How fast traces are read: bytes of file per second, hashing included.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nomoat_workloads::{ChatOptions, ImportOptions, chat, from_bytes, write_canonical};
use std::fmt::Write as _;
use std::hint::black_box;

/// Rows like the published conversation trace's: one shared block, then a run or two, about 24 ids a row.
fn mooncake(rows: u64) -> Vec<u8> {
    let mut text = String::new();
    for row in 0..rows {
        let ids: Vec<u64> = std::iter::once(0).chain(row * 20 + 1..row * 20 + 12).chain(row * 20 + 40..row * 20 + 52).collect();
        let input = ids.len() * 512 - 100;
        writeln!(text, "{{\"timestamp\": {}, \"input_length\": {input}, \"output_length\": 350, \"hash_ids\": {ids:?}}}", row * 290)
            .expect("a string takes all");
    }
    text.into_bytes()
}

fn azure(rows: u64) -> Vec<u8> {
    let mut text = String::from("TIMESTAMP,ContextTokens,GeneratedTokens\r\n");
    for row in 0..rows {
        let (minute, second) = (row / 1_000 % 60, row / 20 % 50);
        writeln!(text, "2023-11-16 18:{minute:02}:{second:02}.6805900,{},{}\r", 1 + row % 4_000, 1 + row % 400)
            .expect("a string takes all");
    }
    text.into_bytes()
}

fn canonical(requests: u32) -> Vec<u8> {
    let mut out = vec![];
    let trace = chat(&ChatOptions { requests, ..ChatOptions::default() }).expect("options in range");
    write_canonical(&trace, &mut out).expect("a vector takes all");
    out
}

/// A session of prompts that grow by eleven blocks a turn, as agents' do.
fn weka(turns: u64) -> Vec<u8> {
    let requests: Vec<String> = (0..turns)
        .map(|turn| {
            let ids: Vec<u64> = (1..=400 + turn * 11).collect();
            let input = ids.len() * 64 + 20;
            format!(
                "{{\"t\":{}.0,\"type\":\"n\",\"model\":\"m\",\"in\":{input},\"out\":400,\"hash_ids\":{},\"input_types\":[\"tool_result\"],\"api_time\":6.12,\"think_time\":4.0}}",
                turn * 11,
                format!("{ids:?}").replace(' ', "")
            )
        })
        .collect();
    let head = "{\"id\":\"made up\",\"block_size\":64,\"hash_id_scope\":\"local\",\"requests\":[";
    format!("{head}{}]}}", requests.join(",")).into_bytes()
}

fn import(c: &mut Criterion) {
    let mut group = c.benchmark_group("import");
    let files = [("canonical", canonical(20_000)), ("azure-csv", azure(20_000)), ("mooncake-jsonl", mooncake(12_000)), ("weka", weka(400))];
    for (name, bytes) in files {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &bytes, |b, bytes| {
            b.iter(|| from_bytes("bench", black_box(bytes), Some(name), &ImportOptions::default()).expect("a good file"));
        });
    }
    group.finish();
}

criterion_group!(benches, import);
criterion_main!(benches);
