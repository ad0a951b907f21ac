//! `edge-fit`: whether caches are what keeps models from nodes at the edge, or weights.

use super::finding::context as words;
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
    let mut columns = vec![("bits".to_owned(), ""), ("weights".to_owned(), "bytes"), ("cache".to_owned(), "bytes")];
    for memory in memories {
        columns.push((format!("{memory:.0} GiB"), "tokens"));
        columns.push((format!("of {memory:.0}"), "share"));
    }
    let mut numbers = Numbers::new(1, columns);
    let (mut fit, mut decided) = (0, 0);
    for bits in bits {
        let (weights, packing) = (total * bits / 8.0, packing(*bits));
        let mut cells: Vec<Cell> = vec![bits.to_string().into(), weights.into(), (shape.held(context, packing) as f64).into()];
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
    let seen = match (fit, decided) {
        (0, _) => format!("the weights alone fit in none of {cases} cases"),
        (fit, 0) => format!("the weights fit in {fit} of {cases} cases, and so does the cache beside them"),
        (fit, decided) => format!("the weights fit in {fit} of {cases} cases; in {decided} of these the cache beside them does not"),
    };
    let claim = format!("{name}: the cache is what keeps it from nodes at the edge");
    let rule = format!("in some case the weights fit and the cache of {} tokens beside them does not", words(context));
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
