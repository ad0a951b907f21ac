//! What the numbers are held against: service levels, prices, and what is known of the hardware.

use crate::args::RunArgs;
use crate::config::choose;
use crate::exit::Failure;
use nomoat_core::cost::{AMOUNTS, Pricing, TokenPrices};
use nomoat_core::slo::Slo;
use nomoat_results::placement::{self, Placement};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) fn slo(args: &RunArgs) -> Result<Slo, Failure> {
    if !args.goodput.is_empty() && args.slo.is_some() {
        return Err(Failure::usage("--slo and --goodput say the same; give one"));
    }
    if let Some(text) = &args.slo {
        return Slo::parse(text).map_err(|e| Failure::usage(format!("--slo {e}")));
    }
    let parts: Result<Vec<String>, Failure> = args
        .goodput
        .iter()
        .map(|part| match part.split_once(':') {
            Some((name, ms)) if ms.parse::<f64>().is_ok() => Ok(format!("{name}={ms}ms")),
            _ => Err(Failure::usage(format!("--goodput `{part}` is not METRIC:MILLISECONDS; write ttft:500 tpot:50"))),
        })
        .collect();
    Slo::parse(&parts?.join(",")).map_err(|e| Failure::usage(format!("--goodput {e}")))
}

pub(super) fn pricing(args: &RunArgs) -> Result<Option<Pricing>, Failure> {
    let positive = |flag: &str, value: f64| {
        if value == 0.0 || AMOUNTS.contains(&value) {
            Ok(value)
        } else {
            Err(Failure::usage(format!("{flag} must be an amount in USD of at most a billion, not {value}")))
        }
    };
    match (args.usd_per_hour, &args.price) {
        (Some(_), Some(_)) => Err(Failure::usage("--usd-per-hour prices a pool and --price prices tokens; give one")),
        (Some(usd), None) => Ok(Some(Pricing::Pool { usd_per_hour: positive("--usd-per-hour", usd)? })),
        (None, None) => Ok(None),
        (None, Some(text)) => {
            let (mut input, mut cache_read, mut cache_write, mut output, mut reasoning) = (None, None, None, None, None);
            for part in text.split(',').filter(|p| !p.trim().is_empty()) {
                let wrong = || {
                    Failure::usage(format!(
                        "--price `{part}` is not a price; write in=0.15,out=0.60,cached=0.075 (USD per million tokens); prices by name are for finished runs: nomoat cost RUN --against PROVIDER/MODEL"
                    ))
                };
                let (class, usd) = part.split_once('=').ok_or_else(wrong)?;
                let usd = Some(positive("--price", usd.trim().parse().map_err(|_| wrong())?)?);
                match choose("--price", class.trim(), &["in", "out", "cached", "write", "reasoning"])? {
                    "in" => input = usd,
                    "out" => output = usd,
                    "write" => cache_write = usd,
                    "reasoning" => reasoning = usd,
                    _ => cache_read = usd,
                }
            }
            match (input, output) {
                (Some(input), Some(output)) => {
                    Ok(Some(Pricing::PerToken(TokenPrices { input, cache_read, cache_write, output, reasoning })))
                }
                _ => Err(Failure::usage("--price needs in= and out=; a class without a price is not free")),
            }
        }
    }
}

/// Devices as `NAME:COUNT`; `None` for anything else, and for more of them than anybody has.
pub fn name_and_count(text: &str) -> Option<(String, u32)> {
    let (name, count) = text.rsplit_once(':')?;
    let (name, count) = (name.trim(), count.trim().parse::<u32>().ok()?);
    (!name.is_empty() && (1..=1_000_000).contains(&count)).then(|| (name.to_owned(), count))
}

type Declared = (Option<(String, u32)>, Map<String, Value>);

pub(super) fn system(args: &RunArgs) -> Result<Declared, Failure> {
    let mut declared = Map::new();
    if let Some(path) = &args.system {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("reading --system {shown}: {e}")))?;
        declared = toml::from_str(&text).map_err(|e| Failure::usage(format!("reading --system {shown}: {e}")))?;
    }
    let text = args.accelerators.clone().or_else(|| declared.get("accelerators").and_then(Value::as_str).map(str::to_owned));
    let accelerators = text
        .map(|text| name_and_count(&text).ok_or_else(|| Failure::usage(format!("--accelerators `{text}` is not NAME:COUNT; write h200:8"))))
        .transpose()?;
    Ok((accelerators, declared))
}

/// What the recorded pages of --placement tell together.
pub(super) fn placement(args: &RunArgs) -> Result<Vec<Placement>, Failure> {
    if args.placement.is_empty() {
        return Ok(vec![]);
    }
    if args.backend.as_deref() == Some("local") {
        return Err(Failure::usage("--placement says where what is behind an endpoint runs; the engine in this process runs here"));
    }
    let page = |path: &PathBuf| {
        let failed = |why: String| Failure::usage(format!("reading --placement {}: {why}", path.display()));
        let bytes = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
        if bytes > placement::MOST_BYTES {
            return Err(failed(format!(
                "it has {bytes} bytes, and {} are read at most; record the pods of one namespace",
                placement::MOST_BYTES
            )));
        }
        // The name alone: where it lies is nobody's business.
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok((name, std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?))
    };
    let pages = args.placement.iter().map(page).collect::<Result<Vec<_>, _>>()?;
    placement::read(&pages).map_err(|e| Failure::usage(format!("--placement: {e}")))
}
