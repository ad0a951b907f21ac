//! `edge-radio`: whether a radio link can carry the cache of a context from one node to another.

use super::finding::context;
use super::{Cell, Column, Evidence, Finding, Fixed, Inputs, Numbers, StudyError, Verdict};
use crate::models;
use crate::profiles::{Link, link};
use nomoat_core::footprint::{Layer, Packing, Shape};

/// Whose cache is sent.
struct Sent {
    name: String,
    bytes: Bytes,
}

enum Bytes {
    /// By the formulas, window and state included.
    Shape(Shape, Packing),
    /// So many per token, as published, with no word of what is constant.
    PerToken(f64),
}

impl Sent {
    fn bytes(&self, tokens: u64) -> f64 {
        match &self.bytes {
            Bytes::Shape(shape, packing) => shape.held(tokens, *packing) as f64,
            Bytes::PerToken(bytes) => bytes * tokens as f64,
        }
    }

    /// The longest context that is across in time, up to 2³².
    fn longest(&self, bytes: f64) -> u64 {
        let (mut fits, mut above) = (0, (1_u64 << 32) + 1);
        while fits + 1 < above {
            let middle = fits.midpoint(above);
            if self.bytes(middle) <= bytes { fits = middle } else { above = middle }
        }
        fits
    }
}

pub(super) fn judge(fixed: &Fixed, _: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let limit_s = fixed.threshold("ttft_s")?;
    let at = fixed.whole("context_tokens")?;
    let contexts = fixed.wholes("context")?;
    let links = |sweep: &str| {
        let named = |name: &String| link(name).map_err(|why| fixed.value(format!("the sweep `{sweep}`: {why}")));
        fixed.names(sweep)?.iter().map(named).collect::<Result<Vec<Link>, StudyError>>()
    };
    let (radios, wires) = (links("radio")?, links("wire")?);
    let mut sent = vec![];
    for name in fixed.names("model")? {
        let model = models::find(name).map_err(|why| fixed.value(format!("the sweep `model`: {why}")))?;
        let packing = deployed(&model.shape);
        sent.push(Sent { name: name.clone(), bytes: Bytes::Shape(model.shape, packing) });
    }
    sent.push(Sent { name: "deepseek-v4.1-flash".into(), bytes: Bytes::PerToken(fixed.given("v4_1_flash_bytes_per_token")?) });

    let seconds = |sent: &Sent, link: &Link, tokens: u64| sent.bytes(tokens) / link.bytes_per_s();
    let rule = format!(
        "bytes of the cache of {} tokens ÷ the link's rate > {limit_s} s, the time to the first token that is allowed",
        context(at)
    );
    let mut findings = vec![];
    for radio in &radios {
        for too_slow in [true, false] {
            let rows: Vec<&Sent> = sent.iter().filter(|sent| (seconds(sent, radio, at) > limit_s) == too_slow).collect();
            if rows.is_empty() {
                continue;
            }
            let mut numbers = Numbers::new(1, [("model", "")]);
            numbers.columns.push(Column { name: format!("cache of {}", context(at)), unit: "bytes" });
            numbers.columns.extend(contexts.iter().map(|tokens| Column { name: context(*tokens), unit: "s" }));
            numbers.columns.push(Column { name: format!("in {limit_s} s"), unit: "tokens" });
            numbers.columns.extend(wires.iter().map(|wire| Column { name: wire.name.clone(), unit: "s" }));
            for sent in &rows {
                let mut cells: Vec<Cell> = vec![sent.name.as_str().into(), sent.bytes(at).into()];
                cells.extend(contexts.iter().map(|tokens| Cell::from(seconds(sent, radio, *tokens))));
                cells.push((sent.longest(limit_s * radio.bytes_per_s()) as f64).into());
                cells.extend(wires.iter().map(|wire| Cell::from(seconds(sent, wire, at))));
                numbers.push(cells);
            }
            let names: Vec<&str> = rows.iter().map(|sent| sent.name.as_str()).collect();
            let claim = format!("{} ({}) cannot carry the cache of {} from node to node", radio.name, radio.title, names.join(", "));
            findings.push(Finding::new(claim, &rule, "", Verdict::exact(too_slow), Evidence::Exact).numbers(numbers));
        }
    }
    findings.push(Finding::untested(
        "sending a cache takes longer than computing it again where it is needed",
        "time to send > time of the same prefill on the receiving node",
        &fixed.definition.needs,
    ));
    Ok(findings)
}

/// Latent and compressed caches in the rows that engines deploy, others in bf16.
fn deployed(shape: &Shape) -> Packing {
    let packed = shape.layers.iter().any(|(_, layer)| matches!(layer, Layer::Latent { .. } | Layer::Compressed { .. }));
    if packed { Packing::Fp8 } else { Packing::Bf16 }
}
