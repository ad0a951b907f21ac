//! `edge-fit`: whether caches are what keeps models from nodes at the edge, or weights.

use super::{Cell, Evidence, Finding, Fixed, Inputs, Numbers, StudyError, Verdict};
use crate::models;
use nomoat_core::footprint::{Packing, Shape};

const GIB: f64 = (1_u64 << 30) as f64;

pub(super) fn judge(fixed: &Fixed, _: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let (memories, bits) = (fixed.numbers("memory")?, fixed.numbers("weight_bits")?);
    let context = fixed.whole("context_tokens")?;
    let mut findings = vec![];
    for name in fixed.names("model")? {
        let model = models::find(name).map_err(|why| fixed.value(format!("the sweep `model`: {why}")))?;
        let total = model.shape.total.ok_or_else(|| fixed.value(format!("the model `{name}` has no known number of parameters")))?;
        findings.push(one(name, &model.shape, total, memories, bits, context));
    }
    Ok(findings)
}

/// Weights of up to eight bits go with the packed cache that engines deploy, wider ones with two bytes an element.
fn packing(bits: f64) -> Packing {
    if bits <= 8.0 { Packing::Fp8 } else { Packing::Bf16 }
}

fn one(name: &str, shape: &Shape, total: f64, memories: &[f64], bits: &[f64], context: u64) -> Finding {
    let mut columns = vec![("weights".to_owned(), "plain"), ("size".to_owned(), "bytes"), (format!("cache of {context}"), "bytes")];
    for memory in memories {
        columns.push((format!("{memory:.0} GiB"), "tokens"));
        columns.push(("cache".to_owned(), "share"));
    }
    let mut numbers = Numbers::new(columns);
    let (mut fit, mut decided) = (0, 0);
    for bits in bits {
        let (weights, packing) = (total * bits / 8.0, packing(*bits));
        let mut cells: Vec<Cell> = vec![format!("{bits} bit").into(), weights.into(), (shape.held(context, packing) as f64).into()];
        for memory in memories {
            let left = memory * GIB - weights;
            let longest = longest(shape, packing, left, context);
            fit += u32::from(left >= 0.0);
            decided += u32::from(left >= 0.0 && longest < context);
            let cells_here = (left >= 0.0).then(|| (longest as f64, shape.held(longest, packing) as f64 / (memory * GIB)));
            cells.push(cells_here.map(|(longest, _)| longest).into());
            cells.push(cells_here.map(|(_, share)| share).into());
        }
        numbers.push(cells);
    }
    let cases = memories.len() * bits.len();
    let seen = format!(
        "the weights fit in {fit} of {cases} cases, and in {decided} of these the cache is what does not; under each memory the longest context that fits, {context} at most, and its cache's share of the memory"
    );
    let claim = format!("{name}: a smaller cache is what a node at the edge lacks");
    let rule = format!("in some case the weights fit and the cache of {context} tokens beside them does not");
    Finding::new(claim, rule, seen, Verdict::exact(decided > 0), Evidence::Exact).numbers(numbers)
}

/// The longest context of at most `most` tokens whose cache is not larger than `left` bytes; zero where none is. Caches grow with contexts,
/// so halving finds it.
fn longest(shape: &Shape, packing: Packing, left: f64, most: u64) -> u64 {
    let (mut fits, mut above) = (0, most + 1);
    while fits + 1 < above {
        let middle = fits.midpoint(above);
        if shape.held(middle, packing) as f64 <= left { fits = middle } else { above = middle }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::find;

    #[test]
    fn the_longest_context_is_the_last_that_fits() {
        let shape = find("llama-3.1-8b").unwrap().shape;
        // 131,072 bytes a token in bf16: at, one byte below and far above a whole number of tokens.
        let row = 131_072.0;
        for (left, expect) in [(-1.0, 0), (0.0, 0), (row - 1.0, 0), (row, 1), (8.0 * row, 8), (8.0 * row - 1.0, 7), (1e15, 4_096)] {
            assert_eq!(longest(&shape, Packing::Bf16, left, 4_096), expect, "{left}");
        }
    }

    #[test]
    fn cases_where_weights_or_cache_or_nothing_is_in_the_way() {
        let shape = find("llama-3.1-8b").unwrap().shape;
        // 8 GiB of 16-bit weights, and a cache of 128 MiB for 1,024 tokens.
        let total = 4.0 * GIB;
        let verdict = |memory: f64| one("m", &shape, total, &[memory], &[16.0], 1_024).verdict;
        for (memory, expect) in [
            (7.99, Verdict::Contradicted),
            (8.0, Verdict::Supported),
            (8.12, Verdict::Supported),
            (8.125, Verdict::Contradicted),
            (64.0, Verdict::Contradicted),
        ] {
            assert_eq!(verdict(memory), expect, "{memory} GiB");
        }
    }
}
