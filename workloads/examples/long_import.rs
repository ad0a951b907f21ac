//! How much memory a long import takes: writes a made-up file of as many rows as asked for (5 million unless said) in the format asked for
//! (`burstgpt` unless said, or `sharegpt`) and imports it into a sink that only counts. Run it under `/usr/bin/time -v`, whose "Maximum
//! resident set size" is the answer:
//!
//! ```text
//! /usr/bin/time -v cargo run --release -p nomoat-workloads --example long_import -- 5000000 burstgpt
//! ```

use nomoat_core::trace::TraceRequest;
use nomoat_workloads::{ImportOptions, Sink, TraceError, read};
use std::io::{BufWriter, Write};

#[derive(Default)]
struct Count {
    requests: u64,
    edges: u64,
    tokens: u64,
}

impl Sink for Count {
    fn request(&mut self, request: TraceRequest) -> Result<(), TraceError> {
        self.requests += 1;
        self.edges += request.after.len() as u64;
        self.tokens += u64::from(request.input_tokens) + u64::from(request.output_tokens);
        Ok(())
    }
}

fn burstgpt(rows: u64, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type")?;
    for row in 0..rows {
        let (at, input, output) = (19_440_110 + row / 3, 1 + row * 7 % 4_000, row * 13 % 500);
        // As in the third file: one row of 23 is of a conversation, about three turns each.
        let (session, log) = match row % 23 {
            0 => (format!("{:08x}-0000-4000-8000-{:012x}", row / 23 % 100_000, row / 23 / 300_000), "Conversation log"),
            _ => (String::new(), "API log"),
        };
        writeln!(out, "{at}.0,{session},{},ChatGPT,{input},{output},{},{log}", row % 40, input + output)?;
    }
    Ok(())
}

/// One list of conversations, as the published file is: here of four messages and about 7 kB each.
fn sharegpt(rows: u64, out: &mut impl Write) -> std::io::Result<()> {
    let said = "a sentence that says nothing in particular; ".repeat(40);
    write!(out, "[")?;
    for row in 0..rows {
        let turn = |from: &str| format!("{{\"from\": \"{from}\", \"value\": \"{said}{row}\"}}");
        let turns = [turn("human"), turn("gpt"), turn("human"), turn("gpt")].join(", ");
        write!(out, "{}{{\"id\": \"{row}\", \"conversations\": [{turns}]}}", if row > 0 { ", " } else { "" })?;
    }
    write!(out, "]")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows: u64 = std::env::args().nth(1).map_or(Ok(5_000_000), |text| text.parse())?;
    let format = std::env::args().nth(2).unwrap_or_else(|| "burstgpt".into());
    let path = std::env::temp_dir().join(format!("nomoat-long-import-{}", std::process::id()));
    let mut out = BufWriter::new(std::fs::File::create(&path)?);
    if format == "sharegpt" {
        sharegpt(rows, &mut out)?;
    } else {
        burstgpt(rows, &mut out)?;
    }
    out.into_inner()?.sync_all()?;
    let bytes = std::fs::metadata(&path)?.len();
    let mut count = Count::default();
    let started = std::time::Instant::now();
    let head = read(&path, Some(&format), &ImportOptions::default(), &mut count);
    let took = started.elapsed();
    std::fs::remove_file(&path)?;
    let losses = head?.losses;
    println!("{bytes} bytes, {rows} rows: {} requests, {} edges, {} tokens in {took:.1?}", count.requests, count.edges, count.tokens);
    losses.iter().for_each(|loss| println!("{loss}"));
    Ok(())
}
