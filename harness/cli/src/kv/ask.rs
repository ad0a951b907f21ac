//! What is asked for: flags made into nouns.

use crate::args::KvArgs;
use crate::config::choose;
use crate::exit::Failure;
use nomoat_core::footprint::{Chip, Packing, Precision};
use nomoat_results::models::{Named, find, published};
use nomoat_results::profiles::{Device, Link, device, link};

pub const GIB: f64 = (1_u64 << 30) as f64;

/// The nouns of a call.
pub struct Ask {
    pub models: Vec<Named>,
    pub contexts: Vec<u64>,
    /// How a cache is kept, and what weights go with it.
    pub kept: Vec<Kept>,
    /// Bytes that weights and caches share.
    pub memory: Option<f64>,
    pub device: Option<Device>,
    /// Sequences of a step, where steps are asked for.
    pub batch: Option<u64>,
    pub link: Option<Way>,
    pub against: Option<Named>,
}

/// One kind of cache with its weights.
#[derive(Clone, Copy)]
pub struct Kept {
    pub word: &'static str,
    pub packing: Packing,
    pub weights: Precision,
}

/// What a cache goes over.
pub enum Way {
    /// A profile.
    Link(Link),
    /// A rate in GB/s.
    Rate(f64),
}

impl Way {
    /// Seconds that `bytes` take.
    pub fn seconds(&self, bytes: f64) -> f64 {
        match self {
            Self::Link(link) => link.seconds(bytes),
            Self::Rate(rate) => bytes / (rate * 1e9),
        }
    }
}

/// Reads the flags.
pub fn ask(args: &KvArgs) -> Result<Ask, Failure> {
    let models: Vec<Named> = if args.models.is_empty() {
        published()
    } else {
        args.models.iter().map(|what| find(what)).collect::<Result<_, _>>().map_err(Failure::usage)?
    };
    let weights = args.weights.as_deref().map(precision).transpose()?;
    let device = args.device.as_deref().map(device).transpose().map_err(Failure::usage)?;
    let memory = match (args.memory, device.as_ref().and_then(|device| device.memory_gib)) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage("--memory and a --device that states its memory say two things; give one of them"));
        }
        (given, stated) => given.or(stated).map(|gib| positive("--memory", gib)).transpose()?.map(|gib| gib * GIB),
    };
    if args.batch.is_some_and(|batch| !(1..=1 << 20).contains(&batch)) {
        return Err(Failure::usage("--batch takes 1 to 1048576 sequences"));
    }
    Ok(Ask {
        models,
        contexts: args.context.iter().map(|text| tokens(text)).collect::<Result<_, _>>()?,
        kept: args.dtype.iter().map(|word| kept(word, weights)).collect::<Result<_, _>>()?,
        memory,
        batch: args.batch.or(device.as_ref().map(|_| 1)),
        device,
        link: args.link.as_deref().map(way).transpose()?,
        against: args.against.as_deref().map(find).transpose().map_err(Failure::usage)?,
    })
}

impl Ask {
    /// What the device can do, as far as it says.
    pub fn chip(&self) -> Chip {
        let times = |value: Option<f64>, unit: f64| value.map(|value| value * unit);
        self.device.as_ref().map_or_else(Chip::default, |device| Chip {
            bandwidth: times(device.bandwidth_gb_s, 1e9),
            bf16: times(device.bf16_tflops, 1e12),
            fp8: times(device.fp8_tflops, 1e12),
            fp4: times(device.fp4_tflops, 1e12),
        })
    }
}

fn positive(flag: &str, value: f64) -> Result<f64, Failure> {
    if value > 0.0 && value.is_finite() { Ok(value) } else { Err(Failure::usage(format!("{flag} must be a positive number"))) }
}

fn way(text: &str) -> Result<Way, Failure> {
    match text.parse::<f64>() {
        Ok(rate) => Ok(Way::Rate(positive("--link", rate)?)),
        Err(_) => link(text).map(Way::Link).map_err(|e| Failure::usage(format!("{e}, or a rate in GB/s"))),
    }
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

/// Weights go with the cache, unless they are told.
fn kept(word: &str, weights: Option<Precision>) -> Result<Kept, Failure> {
    let (word, packing, own) = match choose("--dtype", word, &["bf16", "fp16", "fp8"])? {
        "fp8" => ("fp8", Packing::Fp8, Precision::Fp8),
        _ => ("bf16", Packing::Bf16, Precision::Bf16),
    };
    Ok(Kept { word, packing, weights: weights.unwrap_or(own) })
}

fn precision(word: &str) -> Result<Precision, Failure> {
    Ok(match choose("--weights", word, &["bf16", "fp8", "fp4"])? {
        "bf16" => Precision::Bf16,
        "fp8" => Precision::Fp8,
        _ => Precision::Fp4,
    })
}

/// A number of tokens as it is given.
pub fn shown(tokens: u64) -> String {
    match tokens {
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{}M", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{}k", n >> 10),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_and_links() {
        for (text, expect) in [("4096", Some(4_096)), ("128k", Some(131_072)), ("1M", Some(1 << 20)), ("0", None), ("5G", None), ("", None)]
        {
            assert_eq!(tokens(text).ok(), expect, "{text}");
        }
        for (text, expect) in
            [("50", Some(2.0)), ("400g", Some(2.0)), ("5g-up", Some(16_000.0)), ("-1", None), ("nan", None), ("40g", None)]
        {
            let seconds = way(text).ok().map(|way| way.seconds(100e9));
            assert_eq!(seconds.map(f64::round), expect, "{text}");
        }
    }
}
