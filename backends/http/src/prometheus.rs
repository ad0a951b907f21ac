//! Pages of metrics in the Prometheus text format, and what the known engines' series mean.
//!
//! The reader is lenient: engines repeat `# TYPE` lines, mix two applications on a page, and write lines no grammar allows. What
//! cannot be read is passed over; what is not a number is no reading. Absence is never zero: a value that a page does not tell
//! has no sample. Histograms are left alone: a server's latencies are not comparable across engines (reference tables of names:
//! the engines' own `/metrics` pages, recorded in `fixtures/`).

use nomoat_core::sample::{Sample, SampleSource, names};
use nomoat_core::units::Nanos;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The largest page that is read; a larger one gives no readings.
pub const MAX_PAGE: usize = 32 << 20;

/// One line of a page that holds a finite number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Series<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// What stands between the braces.
    labels: &'a str,
    /// The value.
    pub value: f64,
}

/// The series of a page, in its order.
pub fn series(page: &str) -> impl Iterator<Item = Series<'_>> {
    page.lines().filter_map(Series::of)
}

impl<'a> Series<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
        let (name, rest) = line.split_at(end);
        if name.is_empty() || name.starts_with('#') {
            return None;
        }
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => {
                let end = closing_brace(rest)?;
                (&rest[..end], &rest[end + 1..])
            }
            None => ("", rest),
        };
        // A timestamp or an exemplar may follow the value.
        let value: f64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
        value.is_finite().then_some(Self { name, labels, value })
    }

    /// Its labels, in the page's order. Reading stops at the first that is none.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let (name, after) = rest.trim_start_matches([',', ' ', '\t']).split_once('=')?;
            let quoted = after.trim_start().strip_prefix('"')?;
            let end = closing_quote(quoted)?;
            rest = &quoted[end + 1..];
            Some((name.trim(), unescape(&quoted[..end])))
        })
    }

    /// The value of one label.
    pub fn label(&self, name: &str) -> Option<Cow<'a, str>> {
        self.labels().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The value of a label that is a whole number. Engines write `None` for what they do not know.
    fn number(&self, name: &str) -> Option<f64> {
        self.label(name)?.parse::<u64>().ok().map(|n| n as f64)
    }
}

/// Where a label list ends: at the first `}` outside quotes.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return true,
            _ => {}
        }
        false
    })
}

/// Where a quoted value ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(other)) => out.push(other),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A canonical metric that is the sum of one series over its label sets.
struct Sum {
    canonical: &'static str,
    /// Names of the series, each a different engine's or version's; a page has at most one of them.
    series: &'static [&'static str],
    /// Whether it is a counter, which text pages write with `_total` even where the engine's code does not.
    counter: bool,
}

const SUMS: &[Sum] = &[
    Sum { canonical: names::RUNNING, series: &["vllm:num_requests_running", "sglang:num_running_reqs"], counter: false },
    Sum { canonical: names::WAITING, series: &["vllm:num_requests_waiting", "sglang:num_queue_reqs"], counter: false },
    Sum { canonical: names::PROMPT_TOKENS, series: &["vllm:prompt_tokens", "sglang:prompt_tokens"], counter: true },
    Sum { canonical: names::GENERATION_TOKENS, series: &["vllm:generation_tokens", "sglang:generation_tokens"], counter: true },
    // Not SGLang's `num_retracted_reqs`: that is a gauge of the last step.
    Sum { canonical: names::PREEMPTIONS, series: &["vllm:num_preemptions"], counter: true },
    Sum { canonical: names::PREFIX_HITS, series: &["vllm:prefix_cache_hits", "sglang:cached_tokens"], counter: true },
    Sum { canonical: names::PREFIX_QUERIES, series: &["vllm:prefix_cache_queries"], counter: true },
];

/// The readings of a page under canonical names, engine processes summed. Their stamps are zero: they are the caller's. A page
/// of another engine, or over [`MAX_PAGE`], has none.
pub fn canonical(page: &str) -> Vec<Sample> {
    let page = if page.len() > MAX_PAGE { "" } else { page };
    let known: Vec<Series<'_>> = series(page).filter(|s| s.name.starts_with("vllm:") || s.name.starts_with("sglang:")).collect();
    let page = Page(&known);
    let mut readings: Vec<(&str, f64)> = SUMS.iter().filter_map(|sum| Some((sum.canonical, page.sum(sum)?))).collect();
    let kv = Kv::total(&vllm_pools(page)).or_else(|| Kv::total(&sglang_pools(page))).unwrap_or_default();
    let kv = [
        (names::KV_USED_FRACTION, kv.fraction),
        (names::KV_USED_BYTES, kv.used_bytes),
        (names::KV_CAPACITY_TOKENS, kv.tokens),
        (names::KV_CAPACITY_BYTES, kv.bytes),
    ];
    readings.extend(kv.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let sample = |(metric, value): (&str, f64)| Sample {
        at: Nanos::ZERO,
        source: SampleSource::Engine,
        metric: metric.to_owned(),
        labels: String::new(),
        value,
    };
    readings.into_iter().map(sample).collect()
}

/// Ranks of one engine process: they hold shards of the same requests and the same tokens, and are counted once.
const RANKS: [&str; 4] = ["tp_rank", "pp_rank", "moe_ep_rank", "pid"];

#[derive(Clone, Copy)]
struct Page<'a>(&'a [Series<'a>]);

impl<'a> Page<'a> {
    fn sum(self, sum: &Sum) -> Option<f64> {
        let matches = |name: &str| {
            let base = if sum.counter { name.strip_suffix("_total").unwrap_or(name) } else { name };
            sum.series.contains(&base)
        };
        let mut parts = BTreeMap::new();
        for series in self.0.iter().filter(|s| matches(s.name)) {
            let mut labels: Vec<_> = series.labels().filter(|(name, _)| !RANKS.contains(name)).collect();
            labels.sort();
            parts.entry(labels).or_insert(series.value);
        }
        (!parts.is_empty()).then(|| parts.values().sum())
    }

    /// The series of this name by engine process, the first rank of each. A process is told by one label; where it is absent there is
    /// one process.
    fn by_process(self, name: &str, label: &str) -> BTreeMap<String, Series<'a>> {
        let mut map = BTreeMap::new();
        for series in self.0.iter().filter(|s| s.name == name) {
            map.entry(series.label(label).unwrap_or_default().into_owned()).or_insert(*series);
        }
        map
    }
}

/// The processes that any of these families knows.
fn processes<'m>(families: &[&'m BTreeMap<String, Series<'_>>]) -> Vec<&'m String> {
    let mut all: Vec<_> = families.iter().flat_map(|f| f.keys()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The KV cache of one engine process, or of all.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Kv {
    /// Tokens it can hold.
    tokens: Option<f64>,
    /// Bytes it takes.
    bytes: Option<f64>,
    /// Share in use, 0–1.
    fraction: Option<f64>,
    /// Bytes in use.
    used_bytes: Option<f64>,
}

impl Kv {
    /// All processes together; a part that one of them does not tell is not known of all. Nothing without a process.
    fn total(pools: &[Self]) -> Option<Self> {
        let sum = |part: fn(&Self) -> Option<f64>| pools.iter().map(part).sum::<Option<f64>>();
        if pools.is_empty() {
            return None;
        }
        let tokens = sum(|p| p.tokens);
        // By tokens where known, else every process counts the same.
        let fraction = match tokens.filter(|t| *t > 0.0) {
            Some(tokens) => sum(|p| Some(p.fraction? * p.tokens?)).map(|used| used / tokens),
            None => sum(|p| p.fraction).map(|fractions| fractions / pools.len() as f64),
        };
        Some(Self { tokens, bytes: sum(|p| p.bytes), fraction, used_bytes: sum(|p| p.used_bytes) })
    }
}

/// vLLM: capacity from the labels of `vllm:cache_config_info`, use from `vllm:kv_cache_usage_perc`, a fraction of all blocks but
/// one (the null block, which is never used).
fn vllm_pools(page: Page<'_>) -> Vec<Kv> {
    let [config, used, used_old] =
        ["vllm:cache_config_info", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"].map(|name| page.by_process(name, "engine"));
    let pool = |process: &String| {
        let config = config.get(process);
        let number = |label| config.and_then(|c| c.number(label));
        let blocks = number("num_gpu_blocks").filter(|b| *b > 0.0);
        let tokens = number("block_size").zip(blocks).map(|(size, blocks)| size * blocks);
        // With an overridden number of blocks this label still tells the budget, not what was allocated.
        let bytes = number("kv_cache_memory_bytes").filter(|_| number("num_gpu_blocks_override").is_none());
        let fraction = used.get(process).or_else(|| used_old.get(process)).map(|s| s.value);
        let used_bytes = || Some(fraction? * (blocks? - 1.0) * (bytes? / blocks?));
        Kv { tokens, bytes, fraction, used_bytes: used_bytes() }
    };
    processes(&[&config, &used, &used_old]).into_iter().map(pool).collect()
}

/// SGLang: capacity in `sglang:max_total_num_tokens` and `sglang:kv_cache_memory_usage_gb` (GiB, in spite of its name, for those
/// tokens and one spare page), use in `sglang:num_used_tokens`. Its `token_usage` is rounded to two digits: the last resort.
fn sglang_pools(page: Page<'_>) -> Vec<Kv> {
    const GIB: f64 = (1_u64 << 30) as f64;
    let [capacity, memory, page_size, used, usage] = [
        "sglang:max_total_num_tokens",
        "sglang:kv_cache_memory_usage_gb",
        "sglang:page_size",
        "sglang:num_used_tokens",
        "sglang:token_usage",
    ]
    .map(|name| page.by_process(name, "dp_rank"));
    let pool = |process: &String| {
        let value = |family: &BTreeMap<String, Series<'_>>| family.get(process).map(|s| s.value);
        let tokens = value(&capacity).filter(|t| *t > 0.0);
        let bytes = value(&memory).map(|gib| (gib * GIB).round());
        let used = value(&used);
        let fraction = used.zip(tokens).map(|(used, tokens)| used / tokens).or_else(|| value(&usage));
        let used_bytes = || Some(used? * (bytes? / (tokens? + value(&page_size)?)));
        Kv { tokens, bytes, fraction, used_bytes: used_bytes() }
    };
    processes(&[&capacity, &used, &usage]).into_iter().map(pool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let read = |line: &str| {
            series(line).next().map(|s| {
                let labels: Vec<String> = s.labels().map(|(n, v)| format!("{n}={v}")).collect();
                (s.name.to_owned(), labels.join(";"), s.value)
            })
        };
        let some = |name: &str, labels: &str, value: f64| Some((name.to_owned(), labels.to_owned(), value));
        for (line, expect) in [
            ("a 1", some("a", "", 1.0)),
            ("a:b_c  1.5e3 1700000000", some("a:b_c", "", 1500.0)),
            ("a{} 1", some("a", "", 1.0)),
            ("a{x=\"1\"} 2", some("a", "x=1", 2.0)),
            ("a{x=\"1\",y=\"\",} 2", some("a", "x=1;y=", 2.0)),
            ("a{ x = \"1\" , y=\"2\" } 2 # {t=\"1\"} 3", some("a", "x=1;y=2", 2.0)),
            (r#"a{x="q\"}\\n\n,",y="é"} 2"#, some("a", "x=q\"}\\n\n,;y=é", 2.0)),
            ("a{x=1,y=\"2\"} 2", some("a", "", 2.0)),
            ("\ta -0.5\r", some("a", "", -0.5)),
            ("a NaN", None),
            ("a +Inf", None),
            ("a -inf", None),
            ("a x", None),
            ("a", None),
            ("a{x=\"1 2", None),
            ("# TYPE a counter", None),
            ("#a 1", None),
            ("{x=\"1\"} 2", None),
            ("", None),
        ] {
            assert_eq!(read(line), expect, "{line}");
        }
    }

    fn readings(page: &str) -> Vec<(String, f64)> {
        canonical(page).into_iter().map(|s| (s.metric, s.value)).collect()
    }

    fn check(page: &str, expect: &[(&str, f64)]) {
        let expect: Vec<_> = expect.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        assert_eq!(readings(page), expect, "{page}");
    }

    #[test]
    fn engines_are_summed_and_absence_is_no_zero() {
        check("", &[]);
        check("other:num_requests_running 3", &[]);
        check("vllm:num_requests_running NaN", &[]);
        check(
            "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\"} 3\n# TYPE vllm:num_requests_running gauge\n\
             vllm:num_requests_running{engine=\"1\"} 4\n",
            &[(names::RUNNING, 7.0)],
        );
        check("vllm:num_preemptions 2", &[(names::PREEMPTIONS, 2.0)]);
        check("vllm:num_preemptions_total 2", &[(names::PREEMPTIONS, 2.0)]);
        check("sglang:num_retracted_reqs 2", &[]);
        check("vllm:num_preemptions_created 2", &[]);
    }

    #[test]
    fn ranks_of_one_process_count_once() {
        let page = "sglang:num_running_reqs{tp_rank=\"0\"} 3\nsglang:num_running_reqs{tp_rank=\"1\"} 3\n\
            sglang:max_total_num_tokens{tp_rank=\"0\"} 100\nsglang:max_total_num_tokens{tp_rank=\"1\"} 100\n\
            sglang:num_used_tokens{tp_rank=\"0\"} 25\n";
        check(page, &[(names::RUNNING, 3.0), (names::KV_USED_FRACTION, 0.25), (names::KV_CAPACITY_TOKENS, 100.0)]);
        let page = page.replace("tp_rank", "dp_rank") + "sglang:num_used_tokens{dp_rank=\"1\"} 75\n";
        check(&page, &[(names::RUNNING, 6.0), (names::KV_USED_FRACTION, 0.5), (names::KV_CAPACITY_TOKENS, 200.0)]);
    }

    #[test]
    fn pools_of_several_engines() {
        let engine = |n: u32, blocks: &str, fraction: f64| {
            format!(
                "vllm:cache_config_info{{engine=\"{n}\",block_size=\"16\",num_gpu_blocks=\"{blocks}\",kv_cache_memory_bytes=\"1000\"}} 1\n\
                 vllm:kv_cache_usage_perc{{engine=\"{n}\"}} {fraction}\n"
            )
        };
        check(
            &(engine(0, "11", 0.5) + &engine(1, "5", 0.25)),
            &[
                (names::KV_USED_FRACTION, (0.5 * 176.0 + 0.25 * 80.0) / 256.0),
                (names::KV_USED_BYTES, 5.0 * (1000.0 / 11.0) + 200.0),
                (names::KV_CAPACITY_TOKENS, 256.0),
                (names::KV_CAPACITY_BYTES, 2000.0),
            ],
        );
        // One that does not know its blocks: no capacity in tokens, and nobody's share weighs more.
        check(&(engine(0, "11", 0.5) + &engine(1, "None", 0.25)), &[(names::KV_USED_FRACTION, 0.375), (names::KV_CAPACITY_BYTES, 2000.0)]);
        check("vllm:gpu_cache_usage_perc 0.5", &[(names::KV_USED_FRACTION, 0.5)]);
        check("sglang:token_usage 0.5", &[(names::KV_USED_FRACTION, 0.5)]);
    }

    #[test]
    fn a_page_over_the_bound_has_no_readings() {
        let page = "vllm:num_requests_running 1\n".to_owned() + &" ".repeat(MAX_PAGE);
        check(&page, &[]);
        check(page.trim_end(), &[(names::RUNNING, 1.0)]);
    }
}
