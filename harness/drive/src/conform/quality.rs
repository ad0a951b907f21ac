//! Quality beside speed: the same twenty prompts alone, alone again, and under load. A fast wrong answer is not a result.
//!
//! It tells whether answers repeat, not whether they are good: for that an evaluation of the model is needed.

use super::{Heard, Session, word};
use nomoat_core::backend::{Backend, BackendError, Capabilities};
use nomoat_core::clock::Clock;
use nomoat_core::prompt::Prompt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The prompts: everyday tasks with short answers, one per line.
const PROMPTS: &str = include_str!("prompts.txt");
/// Longest answer, in tokens.
const ANSWER: u32 = 48;
/// From this share of all runs of four words on that are one and the same, a text counts as degenerate.
const REPEATS: f64 = 0.3;
/// Shortest text, in words, that can be judged for repetition.
const SHORTEST: usize = 12;

/// How it is asked.
#[derive(Clone, Copy, Debug)]
pub struct QualityOptions {
    /// Requests at the same time, in the third pass.
    pub load: usize,
    /// Longest time for one answer.
    pub patience: Duration,
    /// Seed of the requests' identity.
    pub seed: u64,
}

/// What the three passes showed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Quality {
    /// Prompts that were asked.
    pub prompts: usize,
    /// Answers that were the same the second time, alone.
    pub same_alone: usize,
    /// Answers that were the same under load as the first time.
    pub same_under_load: usize,
    /// Mean share of an answer under load that is the same from its start, in characters, 0–1.
    pub common_under_load: f64,
    /// Answers of the first pass that repeat themselves.
    pub degenerate: usize,
    /// Empty answers of the first pass.
    pub empty: usize,
    /// Why the answers of the first pass ended.
    pub finishes: BTreeMap<String, usize>,
    /// Requests at the same time, in the third pass.
    pub load: usize,
}

impl Quality {
    /// Share of the answers that were the same under load as alone.
    pub fn agreement(&self) -> f64 {
        self.same_under_load as f64 / self.prompts.max(1) as f64
    }
}

/// Asks the prompts three times, greedily if the endpoint was told so.
///
/// # Errors
/// No channel can be had, or a prompt has no complete answer: which, and what became of it.
pub async fn quality(
    backend: &dyn Backend,
    can: &Capabilities,
    clock: Arc<dyn Clock>,
    options: QualityOptions,
) -> Result<Quality, BackendError> {
    let capped = Capabilities { exact_length: false, ..can.clone() };
    let mut session = Session::open(backend, &capped, clock, options.seed, options.patience).await?;
    let prompts: Vec<&str> = PROMPTS.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = alone(&mut session, &prompts).await?;
    let second = alone(&mut session, &prompts).await?;
    let mut under_load = vec![];
    for some in prompts.chunks(options.load.max(1)) {
        let asked = some.iter().map(|text| (Prompt::Text((*text).into()), words(text))).collect();
        let heard = session.ask_together(asked, ANSWER).await.map_err(BackendError::Unreachable)?;
        for (text, heard) in some.iter().zip(heard) {
            under_load.push(whole(text, heard)?);
        }
    }
    let texts = |heard: &[Heard]| -> Vec<String> { heard.iter().map(|h| h.text.clone()).collect() };
    let mut finishes = BTreeMap::new();
    for heard in &first {
        let finish = heard.record.finish.map_or("not told".into(), word);
        *finishes.entry(finish).or_insert(0) += 1;
    }
    Ok(Quality { finishes, load: options.load, ..judge(&texts(&first), &texts(&second), &texts(&under_load)) })
}

async fn alone(session: &mut Session<'_>, prompts: &[&str]) -> Result<Vec<Heard>, BackendError> {
    let mut all = vec![];
    for text in prompts {
        let heard = session.ask(Prompt::Text((*text).into()), words(text), ANSWER).await.map_err(BackendError::Unreachable)?;
        all.push(whole(text, heard)?);
    }
    Ok(all)
}

fn whole(prompt: &str, heard: Heard) -> Result<Heard, BackendError> {
    match heard.failure() {
        None => Ok(heard),
        Some(why) => Err(BackendError::Unreachable(format!("asking `{prompt}` for its answer's quality: {why}"))),
    }
}

fn words(text: &str) -> u32 {
    text.split_whitespace().count() as u32
}

/// Compares the three passes. Pure.
fn judge(first: &[String], second: &[String], under_load: &[String]) -> Quality {
    let same = |other: &[String]| first.iter().zip(other).filter(|(a, b)| a == b).count();
    let common: f64 = first.iter().zip(under_load).map(|(a, b)| common(a, b)).sum();
    Quality {
        prompts: first.len(),
        same_alone: same(second),
        same_under_load: same(under_load),
        common_under_load: common / first.len().max(1) as f64,
        degenerate: first.iter().filter(|text| is_degenerate(text)).count(),
        empty: first.iter().filter(|text| text.trim().is_empty()).count(),
        ..Quality::default()
    }
}

/// The share of the longer text that both begin with.
fn common(a: &str, b: &str) -> f64 {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let longer = a.chars().count().max(b.chars().count());
    if longer == 0 { 1.0 } else { same as f64 / longer as f64 }
}

/// Whether one run of four words fills much of a text.
fn is_degenerate(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() < SHORTEST {
        return false;
    }
    let mut counts: BTreeMap<&[&str], usize> = BTreeMap::new();
    words.windows(4).for_each(|four| *counts.entry(four).or_insert(0) += 1);
    let most = counts.values().max().copied().unwrap_or(0);
    most > 1 && most as f64 >= REPEATS * (words.len() - 3) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twenty_different_prompts() {
        let mut prompts: Vec<&str> = PROMPTS.lines().collect();
        assert_eq!(prompts.len(), 20);
        prompts.sort_unstable();
        prompts.dedup();
        assert_eq!(prompts.len(), 20);
    }

    #[test]
    fn repetition() {
        let check = |text: &str, expect: bool| assert_eq!(is_degenerate(text), expect, "{text}");
        check(&"the same four words ".repeat(6), false);
        check(&"again ".repeat(20), true);
        check(&"a b ".repeat(20), true);
        check("one two three four five six seven eight nine ten eleven twelve thirteen fourteen", false);
        check("again again again", false);
        check("", false);
    }

    #[test]
    fn agreement_of_passes() {
        let texts = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let quality = judge(&texts(&["abcd", "x", ""]), &texts(&["abcd", "y", ""]), &texts(&["abzz", "x", ""]));
        assert_eq!((quality.prompts, quality.same_alone, quality.same_under_load, quality.empty), (3, 2, 2, 1));
        assert!((quality.common_under_load - (0.5 + 1.0 + 1.0) / 3.0).abs() < 1e-12);
        assert!((quality.agreement() - 2.0 / 3.0).abs() < 1e-12);
    }
}
