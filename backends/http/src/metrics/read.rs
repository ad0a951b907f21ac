//! One page read with the maps of all known engines.

use super::formula::{Formula, Selector};
use super::map::{MetricMap, PREFIX, Rule};
use super::page::{Line, MAX_PAGE, Series};
use nomoat_core::sample::{Layer, ReadingKind, Sample, SampleSource, names};
use nomoat_core::units::Nanos;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Reads pages.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// Those of the innermost layer first.
    maps: Vec<MetricMap>,
    /// Every name of a series that a map may need.
    wanted: HashMap<String, Wanted>,
}

/// How a series is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    /// As a value that may fall.
    Value,
    /// As one that only grows.
    Growing,
}

/// What a page says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Found<'a> {
    /// Under canonical names, processes added up, in the order of [`nomoat_core::sample::ENGINE_READINGS`]. Stamps are zero: they
    /// are the caller's.
    pub readings: Vec<Sample>,
    /// The engine's own series that these may come from, in the page's order, and whether each may only grow.
    pub series: Vec<(Series<'a>, bool)>,
    /// The declared kinds of the metrics among them.
    pub kinds: BTreeMap<&'a str, &'a str>,
}

impl Reader {
    /// A reader of these maps; the same map twice counts once. Where two of one layer know the same reading, the first gives it.
    pub fn new<'m>(maps: impl IntoIterator<Item = &'m MetricMap>) -> Self {
        let mut reader = Self::default();
        for map in maps {
            if !reader.maps.contains(map) {
                reader.maps.push(map.clone());
            }
        }
        reader.maps.sort_by_key(|map| map.layer);
        for rule in reader.maps.iter().flat_map(|map| &map.rules) {
            for selector in rule.selectors() {
                let name = &selector.name;
                match rule.kind {
                    ReadingKind::Histogram => {
                        reader.wanted.insert(format!("{name}{}", names::BUCKET), Wanted::Growing);
                        reader.wanted.insert(format!("{name}{}", names::COUNT), Wanted::Growing);
                        reader.wanted.insert(format!("{name}{}", names::SUM), Wanted::Value);
                    }
                    ReadingKind::Counter => {
                        for name in spellings(name) {
                            reader.wanted.insert(name.into_owned(), Wanted::Growing);
                        }
                    }
                    _ => {
                        reader.wanted.entry(name.clone()).or_insert(Wanted::Value);
                    }
                }
            }
        }
        reader
    }

    /// Reads a page; one over [`MAX_PAGE`] says nothing.
    pub fn read<'a>(&self, page: &'a str) -> Found<'a> {
        let mut found = Found::default();
        if page.len() > MAX_PAGE {
            return found;
        }
        let mut families: HashMap<&str, Vec<Series<'_>>> = HashMap::new();
        for line in page.lines() {
            match Line::of(line) {
                Line::Type(name, kind) => {
                    if self.is_wanted(name) {
                        found.kinds.entry(name).or_insert(kind);
                    }
                }
                Line::Series(name) => {
                    if let Some(wanted) = self.wanted.get(name)
                        && let Some(series) = Series::of(line)
                    {
                        families.entry(series.name).or_default().push(series);
                        found.series.push((series, *wanted == Wanted::Growing));
                    }
                }
                Line::Other => {}
            }
        }
        let mut told = BTreeMap::new();
        for map in &self.maps {
            let page = Page { map, families: &families, kinds: &found.kinds };
            let pool = page.pool();
            for rule in &map.rules {
                if !told.contains_key(rule.name)
                    && let Some(samples) = page.rule(rule, &pool)
                {
                    told.insert(rule.name, samples);
                }
            }
        }
        for (name, _) in nomoat_core::sample::ENGINE_READINGS {
            found.readings.extend(told.remove(name).unwrap_or_default());
        }
        found
    }

    /// Whether a `# TYPE` line of this name is about a series that is wanted: it leaves out what follows the name of a histogram or,
    /// in one of the two text formats, of a counter.
    fn is_wanted(&self, name: &str) -> bool {
        self.wanted.contains_key(name)
            || [names::BUCKET, "_total"].iter().any(|suffix| self.wanted.contains_key(format!("{name}{suffix}").as_str()))
    }
}

/// How a counter may be spelled: text pages write `_total` where the engine's code may not.
fn spellings(name: &str) -> Vec<Cow<'_, str>> {
    let mut spellings = vec![Cow::Borrowed(name)];
    if !name.ends_with("_total") {
        spellings.insert(0, format!("{name}_total").into());
    }
    spellings
}

/// A process, told by the values of its map's labels.
type Process = Vec<String>;

struct Page<'p, 'a> {
    map: &'p MetricMap,
    families: &'p HashMap<&'a str, Vec<Series<'a>>>,
    kinds: &'p BTreeMap<&'a str, &'a str>,
}

impl<'a> Page<'_, 'a> {
    /// The series of one operand.
    fn select(&self, selector: &Selector, counter: bool) -> impl Iterator<Item = Series<'a>> {
        let spelled = if counter { spellings(&selector.name) } else { vec![Cow::Borrowed(selector.name.as_str())] };
        // What a page declares to be no counter is none, whatever it is called: gauges of the last step look like it.
        let fits = |name: &str| !counter || self.kinds.get(name).is_none_or(|kind| *kind != "gauge");
        let family = spelled.iter().filter(|name| fits(name)).find_map(|name| self.families.get(name.as_ref()));
        family.into_iter().flatten().copied().filter(|s| selector.filter.iter().all(|(k, v)| s.label(k).is_some_and(|l| l == v.as_str())))
    }

    fn process(&self, series: &Series<'_>) -> Process {
        self.map.process.iter().map(|label| series.label(label).unwrap_or_default().into_owned()).collect()
    }

    /// What tells a series from others of its process and name. Ranks do not: they hold shards of the same requests and tokens.
    fn rest(&self, series: &Series<'a>) -> Vec<(&'a str, Cow<'a, str>)> {
        let told = |name: &str| self.map.ranks.iter().chain(&self.map.process).any(|l| l == name) || name == names::BOUND;
        let mut rest: Vec<_> = series.labels().filter(|(name, _)| !told(name)).collect();
        rest.sort();
        rest
    }

    /// An operand's value in each process: the sum over label sets, or the first label value.
    fn by_process(&self, selector: &Selector, counter: bool) -> BTreeMap<Process, Option<f64>> {
        let mut seen = BTreeSet::new();
        let mut values: BTreeMap<Process, Option<f64>> = BTreeMap::new();
        for series in self.select(selector, counter) {
            let process = self.process(&series);
            if !seen.insert((process.clone(), self.rest(&series))) {
                continue;
            }
            match &selector.label {
                Some(label) => {
                    values.entry(process).or_insert_with(|| series.number(label));
                }
                None => {
                    let sum = values.entry(process).or_insert(Some(0.0));
                    *sum = sum.map(|sum| sum + series.value);
                }
            }
        }
        values
    }

    /// The processes that the KV pool's series know.
    fn pool(&self) -> Vec<Process> {
        let rules = self.map.rules.iter().filter(|rule| rule.of_pool());
        let known: BTreeSet<Process> =
            rules.flat_map(Rule::selectors).flat_map(|s| self.select(s, false)).map(|s| self.process(&s)).collect();
        known.into_iter().collect()
    }

    /// The value of a rule in each of its processes.
    fn values(&self, rule: &Rule, pool: &[Process]) -> Vec<Option<f64>> {
        let counter = rule.kind == ReadingKind::Counter;
        let operands: Vec<(&Selector, BTreeMap<Process, Option<f64>>)> =
            rule.selectors().map(|s| (s, self.by_process(s, counter))).collect();
        let own: BTreeSet<&Process> = operands.iter().flat_map(|(_, values)| values.keys()).collect();
        let processes: Vec<&Process> = if rule.of_pool() { pool.iter().collect() } else { own.into_iter().collect() };
        let value = |process: &Process| {
            let mut of = |selector: &Selector| operands.iter().find(|(s, _)| *s == selector)?.1.get(process).copied().flatten();
            rule.formulas.iter().find_map(|formula| formula.value(&mut of))
        };
        processes.into_iter().map(value).collect()
    }

    /// The samples of a rule, where the page tells it. What one process does not tell is not known of all.
    fn rule(&self, rule: &Rule, pool: &[Process]) -> Option<Vec<Sample>> {
        if rule.kind == ReadingKind::Histogram {
            let mut scaled = rule.formulas.iter().filter_map(Formula::scaled);
            return scaled.find_map(|(selector, scale)| self.histogram(rule.name, selector, scale));
        }
        let values = self.values(rule, pool);
        if values.is_empty() {
            return None;
        }
        let value = match rule.kind {
            ReadingKind::Share => self.share(&values, pool),
            ReadingKind::Capacity => values.iter().map(|v| v.filter(|v| *v > 0.0)).sum(),
            _ => values.iter().copied().sum(),
        };
        Some(vec![self.sample(rule.name.to_owned(), None, value?)])
    }

    /// By tokens or blocks where they are known of all, else every process counts the same.
    fn share(&self, shares: &[Option<f64>], pool: &[Process]) -> Option<f64> {
        let capacity = |name: &str| -> Option<Vec<f64>> {
            let rule = self.map.rules.iter().find(|rule| rule.name == name)?;
            self.values(rule, pool).into_iter().map(|v| v.filter(|v| *v > 0.0)).collect()
        };
        let shares: Vec<f64> = shares.iter().copied().collect::<Option<_>>()?;
        let weights = capacity(names::KV_CAPACITY_TOKENS).or_else(|| capacity(names::KV_CAPACITY_BLOCKS));
        let weights = weights.filter(|w| w.len() == shares.len()).unwrap_or_else(|| vec![1.0; shares.len()]);
        let weighted = shares.iter().zip(&weights).map(|(share, weight)| share * weight).sum::<f64>();
        // Of one process its own word, to the last bit.
        if let [share] = shares[..] { Some(share) } else { Some(weighted / weights.iter().sum::<f64>()) }
    }

    /// The buckets of all processes and label sets together; none where their bounds differ, because then they cannot be added.
    fn histogram(&self, name: &'static str, selector: &Selector, scale: f64) -> Option<Vec<Sample>> {
        let of = |suffix: &str| Selector { name: format!("{}{suffix}", selector.name), ..selector.clone() };
        let mut sets: BTreeMap<_, Vec<(String, f64)>> = BTreeMap::new();
        for series in self.select(&of(names::BUCKET), false) {
            let Some(bound) = series.label(names::BOUND).and_then(|le| scaled(&le, scale)) else { continue };
            let set = sets.entry((self.process(&series), self.rest(&series))).or_default();
            if set.iter().all(|(b, _)| *b != bound) {
                set.push((bound, series.value));
            }
        }
        let mut sets = sets.into_values();
        let mut sum = sets.next()?;
        for set in sets {
            if set.len() != sum.len() || set.iter().zip(&sum).any(|(a, b)| a.0 != b.0) {
                return None;
            }
            sum.iter_mut().zip(set).for_each(|(sum, (_, count))| sum.1 += count);
        }
        let mut samples: Vec<Sample> =
            sum.into_iter().map(|(bound, count)| self.sample(format!("{name}{}", names::BUCKET), Some(bound), count)).collect();
        for (suffix, scale) in [(names::COUNT, 1.0), (names::SUM, scale)] {
            let totals: Vec<f64> = self.by_process(&of(suffix), false).into_values().flatten().collect();
            if !totals.is_empty() {
                samples.push(self.sample(format!("{name}{suffix}"), None, totals.iter().sum::<f64>() * scale));
            }
        }
        Some(samples)
    }

    fn sample(&self, metric: String, bound: Option<String>, value: f64) -> Sample {
        let bound = bound.map(|bound| format!("{}={bound}", names::BOUND));
        let layer = (self.map.layer != Layer::default()).then(|| format!("{}={}", names::LAYER, self.map.layer.name()));
        let labels = [bound, layer].into_iter().flatten().collect::<Vec<_>>().join(",");
        Sample { at: Nanos::ZERO, source: SampleSource::Engine, metric, labels, value }
    }
}

/// A bucket's bound in seconds.
fn scaled(bound: &str, scale: f64) -> Option<String> {
    if bound == "+Inf" {
        return Some(bound.into());
    }
    // Through text with fifteen digits: 1.49 ms shall read 0.00149 and not 0.0014900000000000002.
    let scaled = bound.parse::<f64>().ok().filter(|b| b.is_finite())? * scale;
    let rounded: f64 = format!("{scaled:.14e}").parse().ok()?;
    Some(rounded.to_string())
}

/// Whether a series of an engine could be taken for a canonical reading.
pub(super) fn is_reserved(name: &str) -> bool {
    [PREFIX, "host.", "harness."].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    const VLLM: &str = include_str!("../../engines/vllm.toml");
    const SGLANG: &str = include_str!("../../engines/sglang.toml");

    fn map(text: &str) -> MetricMap {
        #[derive(serde::Deserialize)]
        struct Spec {
            metrics: MetricMap,
        }
        toml::from_str::<Spec>(text).unwrap_or_else(|e| panic!("{e}")).metrics
    }

    fn own(read: &str) -> MetricMap {
        toml::from_str(read).unwrap_or_else(|e| panic!("{read}: {e}"))
    }

    fn with(maps: &[MetricMap], page: &str, expect: &[(&str, f64)]) {
        let found = Reader::new(maps).read(page);
        let key = |s: &Sample| if s.labels.is_empty() { s.metric.clone() } else { format!("{},{}", s.metric, s.labels) };
        let got: Vec<_> = found.readings.iter().map(|s| (key(s), s.value)).collect();
        let expect: Vec<_> = expect.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        assert_eq!(got, expect, "{page}");
    }

    fn check(page: &str, expect: &[(&str, f64)]) {
        with(&[map(VLLM), map(SGLANG)], page, expect);
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
        check("vllm:num_preemptions_created 2", &[]);
    }

    /// SGLang has a gauge of the last step and a counter, and they differ by what follows their name.
    #[test]
    fn a_gauge_that_looks_like_a_counter_is_none() {
        check("sglang:num_retracted_reqs 2", &[]);
        check("sglang:num_retracted_reqs_total 2", &[(names::PREEMPTIONS, 2.0)]);
        let loose = own("[read]\npreemptions_total = \"retracted\"");
        with(std::slice::from_ref(&loose), "retracted 2", &[(names::PREEMPTIONS, 2.0)]);
        with(std::slice::from_ref(&loose), "# TYPE retracted gauge\nretracted 2", &[]);
        with(
            &[loose],
            "# TYPE retracted gauge\nretracted 2\n# TYPE retracted_total counter\nretracted_total 9",
            &[(names::PREEMPTIONS, 9.0)],
        );
    }

    #[test]
    fn ranks_of_one_process_count_once() {
        let page = "sglang:num_running_reqs{tp_rank=\"0\"} 3\nsglang:num_running_reqs{tp_rank=\"1\"} 3\n\
            sglang:max_total_num_tokens{tp_rank=\"0\"} 100\nsglang:max_total_num_tokens{tp_rank=\"1\"} 100\n\
            sglang:num_used_tokens{tp_rank=\"0\"} 25\n";
        let one =
            [(names::RUNNING, 3.0), (names::KV_CAPACITY_TOKENS, 100.0), (names::KV_USED_FRACTION, 0.25), (names::KV_USED_TOKENS, 25.0)];
        check(page, &one);
        let page = page.replace("tp_rank", "dp_rank") + "sglang:num_used_tokens{dp_rank=\"1\"} 75\n";
        let two =
            [(names::RUNNING, 6.0), (names::KV_CAPACITY_TOKENS, 200.0), (names::KV_USED_FRACTION, 0.5), (names::KV_USED_TOKENS, 100.0)];
        check(&page, &two);
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
                (names::KV_CAPACITY_TOKENS, 256.0),
                (names::KV_CAPACITY_BLOCKS, 16.0),
                (names::KV_CAPACITY_BYTES, 2000.0),
                (names::KV_USED_FRACTION, (0.5 * 176.0 + 0.25 * 80.0) / 256.0),
                (names::KV_USED_TOKENS, 96.0),
                (names::KV_USED_BLOCKS, 6.0),
                (names::KV_USED_BYTES, 5.0 * (1000.0 / 11.0) + 200.0),
            ],
        );
        // One that does not know its blocks: no capacity in tokens, and nobody's share weighs more.
        check(&(engine(0, "11", 0.5) + &engine(1, "None", 0.25)), &[(names::KV_CAPACITY_BYTES, 2000.0), (names::KV_USED_FRACTION, 0.375)]);
        // One that tells its use alone: nothing of both is known but how full they are.
        check(&(engine(0, "11", 0.5) + "vllm:kv_cache_usage_perc{engine=\"1\"} 0.25"), &[(names::KV_USED_FRACTION, 0.375)]);
        check("vllm:gpu_cache_usage_perc 0.5", &[(names::KV_USED_FRACTION, 0.5)]);
        check("vllm:gpu_cache_usage_perc 0.5\nvllm:kv_cache_usage_perc 0.25", &[(names::KV_USED_FRACTION, 0.25)]);
        check("sglang:token_usage 0.5", &[(names::KV_USED_FRACTION, 0.5)]);
        check("sglang:max_total_num_tokens 0", &[]);
    }

    #[test]
    fn units_filters_and_sums() {
        let of = |formula: &str| own(&format!("[read]\nkv_transfer_seconds_total = {formula}"));
        for (formula, page, expect) in [
            ("\"x_us * us\"", "x_us 2500000", Some(2.5)),
            ("\"x_ms * ms\"", "x_ms_total 2500", Some(2.5)),
            ("\"a + b\"", "a 1\nb_total 2", Some(3.0)),
            ("\"a + b\"", "a 1", None),
            ("[\"a + b\", \"a\"]", "a 1", Some(1.0)),
            ("'a{way=\"in\"}'", "a 9\na{way=\"in\"} 1\na{way=\"in\",dev=\"1\"} 2\na{way=\"out\"} 4", Some(3.0)),
            ("'a{way=\"in\"}'", "a{way=\"out\"} 4", None),
        ] {
            let expect: Vec<_> = expect.map(|value| (names::KV_TRANSFER_SECONDS, value)).into_iter().collect();
            with(&[of(formula)], page, &expect);
        }
        let mib = own("[read]\nkv_used_bytes = \"DCGM_FI_DEV_FB_USED * MiB\"");
        with(&[mib], "DCGM_FI_DEV_FB_USED 3", &[(names::KV_USED_BYTES, 3.0 * 1_048_576.0)]);
    }

    #[test]
    fn histograms_are_added_up_where_their_bounds_agree() {
        let ms = own("process = [\"engine\"]\n[read]\nttft_seconds = \"t * ms\"");
        let set = |engine: u32, bounds: &[(&str, u32)]| {
            let mut page = String::new();
            for (bound, count) in bounds {
                let _ = writeln!(page, "t_bucket{{engine=\"{engine}\",le=\"{bound}\"}} {count}");
            }
            page + &format!("t_count{{engine=\"{engine}\"}} 4\nt_sum{{engine=\"{engine}\"}} 2500\n")
        };
        let one = set(0, &[("1.49", 1), ("2000.0", 3), ("+Inf", 4)]);
        let sum = |n: f64| {
            [
                ("engine.ttft_seconds_bucket,le=0.00149".to_owned(), n),
                ("engine.ttft_seconds_bucket,le=2".to_owned(), 3.0 * n),
                ("engine.ttft_seconds_bucket,le=+Inf".to_owned(), 4.0 * n),
                ("engine.ttft_seconds_count".to_owned(), 4.0 * n),
                ("engine.ttft_seconds_sum".to_owned(), 2.5 * n),
            ]
        };
        let expect = |n: f64| sum(n).map(|(name, value)| (Box::leak(name.into_boxed_str()) as &str, value));
        with(std::slice::from_ref(&ms), &one, &expect(1.0));
        with(std::slice::from_ref(&ms), &(one.clone() + &one), &expect(1.0)); // the same series twice
        with(std::slice::from_ref(&ms), &(one.clone() + &set(1, &[("1.49", 1), ("2000.0", 3), ("+Inf", 4)])), &expect(2.0));
        with(std::slice::from_ref(&ms), &(one + &set(1, &[("1.49", 1), ("3000.0", 3), ("+Inf", 4)])), &[]);
        with(&[ms], "t_count 4\nt_sum 2", &[]); // a summary is no histogram
    }

    /// A gateway's word and an engine's on one page are about the same requests.
    #[test]
    fn layers_are_never_added() {
        let gateway = own("layer = \"gateway\"\n[read]\nrunning = \"g_running\"\nwaiting = \"g_waiting\"");
        let engine = own("[read]\nrunning = \"e_running\"");
        let sidecar = own("layer = \"sidecar\"\n[read]\nwaiting = \"s_waiting\"");
        let maps = [sidecar, gateway, engine];
        with(&maps, "g_running 5\ne_running 4\ng_waiting 2\ns_waiting 1", &[(names::RUNNING, 4.0), ("engine.waiting,layer=gateway", 2.0)]);
        with(&maps, "g_running 5\ns_waiting 1", &[("engine.running,layer=gateway", 5.0), ("engine.waiting,layer=sidecar", 1.0)]);
    }

    /// A variant of an engine inherits its map, and must not double what it says.
    #[test]
    fn a_map_twice_counts_once() {
        with(&[map(VLLM), map(VLLM)], "vllm:num_requests_running 3", &[(names::RUNNING, 3.0)]);
    }

    #[test]
    fn what_is_needed_is_told_with_its_kind_and_whether_it_only_grows() {
        let page = "# TYPE vllm:num_requests_running gauge\n# TYPE vllm:prompt_tokens counter\n# TYPE vllm:time_to_first_token_seconds histogram\n\
            # TYPE other gauge\nother 1\nvllm:num_requests_running 1\nvllm:prompt_tokens_total 5\n\
            vllm:time_to_first_token_seconds_bucket{le=\"1\"} 2\nvllm:time_to_first_token_seconds_sum 0.5\n";
        let reader = Reader::new([&map(VLLM)]);
        let found = reader.read(page);
        let series: Vec<_> = found.series.iter().map(|(s, growing)| (s.name, *growing)).collect();
        assert_eq!(
            series,
            [
                ("vllm:num_requests_running", false),
                ("vllm:prompt_tokens_total", true),
                ("vllm:time_to_first_token_seconds_bucket", true),
                ("vllm:time_to_first_token_seconds_sum", false)
            ]
        );
        assert_eq!(found.kinds.len(), 3, "{:?}", found.kinds);
    }

    #[test]
    fn a_page_over_the_bound_has_no_readings_and_a_large_one_has() {
        let page = "vllm:num_requests_running 1\n".to_owned() + &" ".repeat(MAX_PAGE);
        check(&page, &[]);
        check(page.trim_end(), &[(names::RUNNING, 1.0)]);
        // Twenty MB of another application's series, and ours at the end.
        let mut page = String::with_capacity(21 << 20);
        for i in 0.. {
            let _ = writeln!(page, "fleet_requests_total{{pod=\"pod-{i}\",code=\"200\",path=\"/v1/completions\"}} {i}");
            if page.len() > 20 << 20 {
                break;
            }
        }
        page.push_str("vllm:num_requests_running 7\n");
        check(&page, &[(names::RUNNING, 7.0)]);
    }
}
