//! How much memory a long import takes: writes a made-up BurstGPT file of as many rows as asked for (5 million unless said) and imports it
//! into a sink that only counts. Run it under `/usr/bin/time -v`, whose "Maximum resident set size" is the answer.

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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows: u64 = std::env::args().nth(1).map_or(Ok(5_000_000), |text| text.parse())?;
    let path = std::env::temp_dir().join(format!("nomoat-long-burstgpt-{}.csv", std::process::id()));
    let mut out = BufWriter::new(std::fs::File::create(&path)?);
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
    out.into_inner()?.sync_all()?;
    let mut count = Count::default();
    let started = std::time::Instant::now();
    let head = read(&path, Some("burstgpt"), &ImportOptions::default(), &mut count);
    let took = started.elapsed();
    std::fs::remove_file(&path)?;
    let losses = head?.losses;
    println!("{rows} rows: {} requests, {} edges, {} tokens in {took:.1?}", count.requests, count.edges, count.tokens);
    losses.iter().for_each(|loss| println!("{loss}"));
    Ok(())
}
