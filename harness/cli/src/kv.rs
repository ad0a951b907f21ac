//! `nomoat kv`: what models hold in their caches, from their shapes alone.

use crate::args::KvArgs;
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use nomoat_core::footprint::Packing;
use nomoat_results::models::{Named, find, published};
use serde_json::json;
use std::fmt::Write as _;

const GIB: f64 = (1_u64 << 30) as f64;

/// Runs the subcommand.
pub fn kv(args: &KvArgs) -> Result<Exit, Failure> {
    let models: Vec<Named> = if args.models.is_empty() {
        published()
    } else {
        args.models.iter().map(|what| find(what)).collect::<Result<_, _>>().map_err(Failure::usage)?
    };
    let contexts = args.context.iter().map(|text| tokens(text)).collect::<Result<Vec<_>, _>>()?;
    let packings = args.dtype.iter().map(|word| packing(word)).collect::<Result<Vec<_>, _>>()?;
    for (flag, value) in [("--memory", args.memory), ("--link", args.link)] {
        if value.is_some_and(|value| !(value > 0.0 && value.is_finite())) {
            return Err(Failure::usage(format!("{flag} must be a positive number")));
        }
    }
    match args.format.as_str() {
        "table" => put(&table(args, &models, &contexts, &packings)),
        "json" => line(&as_json(args, &models, &contexts, &packings).to_string()),
        other => return Err(Failure::usage(format!("--format is table or json, not `{other}`"))),
    }
    Ok(Exit::Ok)
}

/// A number of tokens: 4096, 128k, 1M (in 1,024s).
fn tokens(text: &str) -> Result<u64, Failure> {
    let (digits, scale) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let value = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(scale)).filter(|n| (1..=1 << 32).contains(n));
    value.ok_or_else(|| Failure::usage(format!("--context takes numbers of tokens such as 4096, 128k or 1M, not `{text}`")))
}

fn packing(word: &str) -> Result<(&'static str, Packing), Failure> {
    match word {
        "bf16" | "fp16" => Ok(("bf16", Packing::Bf16)),
        "fp8" => Ok(("fp8", Packing::Fp8)),
        other => Err(Failure::usage(format!("--dtype is bf16 or fp8, not `{other}`"))),
    }
}

/// Weights go with the cache: two bytes a parameter, or one.
fn weight_bytes(packing: Packing) -> f64 {
    if packing == Packing::Bf16 { 2.0 } else { 1.0 }
}

fn shown(tokens: u64) -> String {
    match tokens {
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{}M", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{}k", n >> 10),
        n => n.to_string(),
    }
}

fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes >= GIB / 10.0 { format!("{:.3} GiB", bytes / GIB) } else { format!("{:.2} MiB", bytes / f64::from(1 << 20)) }
}

fn table(args: &KvArgs, models: &[Named], contexts: &[u64], packings: &[(&str, Packing)]) -> String {
    let wide = models.iter().map(|model| model.name.len()).max().unwrap_or(5).max(5);
    let mut text =
        format!("{:<wide$} {:>5} {:>9} {:>12} {:>14} {:>12}", "model", "dtype", "context", "bytes/token", "one sequence", "FLOP/byte");
    if args.memory.is_some() {
        let _ = write!(text, " {:>8}", "users");
    }
    if args.link.is_some() {
        let _ = write!(text, " {:>12}", "hand-over");
    }
    text.push('\n');
    for model in models {
        for (word, packing) in packings {
            for context in contexts {
                let held = model.shape.held(*context, *packing);
                let moved = model.shape.moved(*context, *packing).max(1);
                let _ = write!(
                    text,
                    "{:<wide$} {word:>5} {:>9} {:>12.0} {:>14} {:>12.1}",
                    model.name,
                    shown(*context),
                    model.shape.per_token(*context, *packing),
                    size(held),
                    model.shape.operations(*context) as f64 / moved as f64
                );
                if let Some(memory) = args.memory {
                    let users = model.shape.users(memory * GIB, weight_bytes(*packing), *context, *packing);
                    let _ = write!(text, " {:>8}", users.map_or_else(|| "–".into(), |n| n.to_string()));
                }
                if let Some(link) = args.link {
                    let _ = write!(text, " {:>9.1} ms", held as f64 / (link * 1e9) * 1e3);
                }
                text.push('\n');
            }
        }
    }
    text.push_str(
        "\nTheoretical, from shapes: no blocks, no engine's reserve. fp8 has the packed rows that engines deploy for latent and compressed caches;\nmatrix states are in four bytes beside bf16 and in two beside fp8. FLOP/byte is of the layers that mix tokens, for one decoded token.\n",
    );
    if args.memory.is_some() {
        text.push_str("users: sequences that fit beside the weights (two bytes a parameter with bf16, one with fp8); – where the parameters are not known.\n");
    }
    for model in models {
        let _ = writeln!(text, "{}: {}", model.name, model.source);
    }
    text
}

fn as_json(args: &KvArgs, models: &[Named], contexts: &[u64], packings: &[(&str, Packing)]) -> serde_json::Value {
    let rows: Vec<_> = models
        .iter()
        .flat_map(|model| packings.iter().flat_map(move |packing| contexts.iter().map(move |context| (model, packing, *context))))
        .map(|(model, (word, packing), context)| {
            let held = model.shape.held(context, *packing);
            json!({
                "model": model.name, "source": model.source, "dtype": word, "context_tokens": context,
                "bytes_per_token": model.shape.per_token(context, *packing), "bytes": held,
                "decode_bytes": model.shape.moved(context, *packing), "decode_flop": model.shape.operations(context),
                "users": args.memory.and_then(|memory| model.shape.users(memory * GIB, weight_bytes(*packing), context, *packing)),
                "hand_over_s": args.link.map(|link| held as f64 / (link * 1e9)),
            })
        })
        .collect();
    json!({"schema": "nomoat.kv/1", "rows": rows})
}
