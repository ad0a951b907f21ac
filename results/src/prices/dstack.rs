//! Offers as `dstack offer --json` prints them → rows of the price book.
//!
//! An offer is an instance with some devices of one kind; its price by their number is what a device costs. The rows are bands over all
//! offers of one kind, on demand and spot apart. Prices of instances include their CPUs, memory and disk. Devices of one name that come with
//! several memories are several kinds, and have it in their name: `a100-80gb`.

use crate::date;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

#[derive(Deserialize)]
struct Page {
    offers: Vec<Offer>,
}

#[derive(Deserialize)]
struct Offer {
    backend: String,
    instance: Instance,
    price: f64,
    #[serde(default = "one")]
    blocks: u32,
    #[serde(default = "one")]
    total_blocks: u32,
}

#[derive(Deserialize)]
struct Instance {
    resources: Resources,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    gpus: Vec<Gpu>,
    #[serde(default)]
    spot: bool,
}

#[derive(Deserialize, PartialEq)]
struct Gpu {
    name: String,
    /// Devices of one name come with several memories, and at several prices.
    #[serde(default)]
    memory_mib: Option<u64>,
}

fn one() -> u32 {
    1
}

/// MiB as the number in a device's name: 81,920 MiB are 80. Makers count so; drivers hold a little back, hence the nearest.
fn gigabytes(mib: u64) -> u64 {
    mib.saturating_add(512) / 1_024
}

/// Devices that are one good.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    name: String,
    memory: Option<u64>,
    owner: &'static str,
}

/// What offers became.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offers {
    /// A file of the price book.
    pub toml: String,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// Turns a page of offers, read on `day`, into rows.
///
/// # Errors
/// It is not what `dstack offer --json` prints, or has no offer with devices.
pub fn offers(text: &str, day: i64) -> Result<Offers, String> {
    let page: Page = serde_json::from_str(text)
        .map_err(|e| format!("reading offers: {e}; give what `dstack offer --gpu … --json` prints (without --group-by)"))?;
    let mut kinds: BTreeMap<Kind, Vec<(f64, String)>> = BTreeMap::new();
    let mut memories: BTreeMap<String, BTreeSet<Option<u64>>> = BTreeMap::new();
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for offer in page.offers {
        let gpus = &offer.instance.resources.gpus;
        let why = match gpus.first() {
            None => Some("without a device"),
            Some(first) if gpus.iter().any(|gpu| gpu != first) => Some("with devices of several kinds"),
            Some(_) if offer.blocks != offer.total_blocks => Some("of a part of an instance, whose share of the price is not told"),
            Some(_) if !(offer.price.is_finite() && offer.price > 0.0) => {
                Some("without a price (a fleet's own instance is paid for elsewhere)")
            }
            Some(_) => None,
        };
        if let Some(why) = why {
            *left_out.entry(why).or_default() += 1;
            continue;
        }
        let owner = if offer.instance.resources.spot { "spot" } else { "on-demand" };
        let (name, memory) = (gpus[0].name.to_lowercase(), gpus[0].memory_mib.map(gigabytes));
        memories.entry(name.clone()).or_default().insert(memory);
        kinds.entry(Kind { name, memory, owner }).or_default().push((offer.price / gpus.len() as f64, offer.backend));
    }
    if kinds.is_empty() {
        return Err("no offer has devices and a price; ask dstack for some: dstack offer --gpu H100 --json".into());
    }
    let today = date::date(day);
    let mut toml =
        format!("# From `dstack offer --json`, {today}. Prices of instances by their devices: CPUs, memory and disk are in them.\n");
    for (Kind { name, memory, owner }, mut prices) in kinds {
        let sku = match memory {
            Some(memory) if memories[&name].len() > 1 => format!("{name}-{memory}gb"),
            _ => name,
        };
        prices.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut backends: Vec<&str> = prices.iter().map(|(_, backend)| backend.as_str()).collect();
        backends.sort_unstable();
        backends.dedup();
        let (low, high) = (prices[0].0, prices[prices.len() - 1].0);
        let median = f64::midpoint(prices[(prices.len() - 1) / 2].0, prices[prices.len() / 2].0);
        // TOML's basic strings are JSON's, as far as names of devices and providers go.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let source = format!("dstack offer: {} offers of {}", prices.len(), backends.join(", "));
        let _ = write!(
            toml,
            "\n[[hour]]\nsku = {}\nowner = \"{owner}\"\nlow = {low}\nmedian = {median}\nhigh = {high}\nfrom = \"{today}\"\nsource = {}\nretrieved = \"{today}\"\n",
            quoted(&sku),
            quoted(&source)
        );
    }
    let left_out = left_out.into_iter().map(|(why, n)| format!("{n} offers {why}")).collect();
    Ok(Offers { toml, left_out })
}
