//! Readings of one page over a run: what is kept of its own series, and what is noticed.
//!
//! Canonical values are kept at every reading. The page's own series, of which those may come, and the buckets of histograms are
//! kept where they changed, and all at the first and the last reading: a value holds until the next one, so nothing is lost by
//! it, and a histogram of which two buckets move costs two rows. Everything else on the page is kept at the first and the last
//! reading only: the difference over the run can be told of any series, its course only of those that mean something to the
//! report. A page of a hundred series at four readings a second would otherwise be the largest file of a run by far.
//!
//! Rows are bounded: after each [`ROWS_PER_STEP`] of them own series are kept at every second of the readings at which they were
//! until then, so that their number grows with the logarithm of time.

use super::page::{MAX_PAGE, Series, series};
use super::read::{Reader, is_reserved};
use nomoat_core::sample::{COUNTER_FELL, ENGINE_READINGS, ReadingKind, Sample, SampleSource, names};
use nomoat_core::units::Nanos;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Rows of own series after which they are kept half as often.
const ROWS_PER_STEP: u64 = 250_000;
/// Most series of one page that are kept at its first and last reading.
const MOST_SERIES: usize = 20_000;
/// Most own series that are followed over the run.
const MOST_FOLLOWED: usize = 10_000;

/// A metric became another kind.
pub const KIND_CHANGED: &str = "metric_kind_changed";
/// Own series are kept less often than before, or not all of them.
pub const THINNED: &str = "telemetry_thinned";

/// Follows one page.
#[derive(Debug)]
pub struct Tracker {
    reader: Arc<Reader>,
    /// Marks its samples where there are several pages.
    label: Option<String>,
    /// What is followed, by name and labels.
    last: HashMap<(String, String), Followed>,
    kinds: HashMap<String, String>,
    noticed: Vec<(&'static str, String)>,
    readings: u64,
    /// Own series are kept at every so many readings.
    every: u64,
    rows: u64,
    closing: bool,
    cut: bool,
}

/// A series over the run.
#[derive(Clone, Copy, Debug)]
struct Followed {
    /// Its latest value.
    seen: f64,
    /// The number of that reading, from 1.
    reading: u64,
    /// Its latest value that is among the samples.
    kept: Option<f64>,
}

impl Tracker {
    /// A tracker whose samples are labelled with the index of their page, where that is given.
    pub fn new(reader: Arc<Reader>, page: Option<usize>) -> Self {
        Self {
            reader,
            label: page.map(|index| format!("{}={index}", names::PAGE)),
            last: HashMap::new(),
            kinds: HashMap::new(),
            noticed: vec![],
            readings: 0,
            every: 1,
            rows: 0,
            closing: false,
            cut: false,
        }
    }

    /// What a page says, as samples. Stamps are the caller's.
    ///
    /// # Errors
    /// The page is too large to be read.
    pub fn read(&mut self, page: &str) -> Result<Vec<Sample>, String> {
        if page.len() > MAX_PAGE {
            return Err(format!("the page has {} bytes and at most {MAX_PAGE} are read; give one with fewer series", page.len()));
        }
        let found = self.reader.clone();
        let found = found.read(page);
        let ends = self.readings == 0 || self.closing;
        let keeps = ends || self.readings.is_multiple_of(self.every);
        let mut fell: Option<(String, usize)> = None;
        let mut samples = vec![];
        for mut sample in found.readings {
            let of_histogram = ENGINE_READINGS.iter().any(|(name, kind)| {
                *kind == ReadingKind::Histogram && sample.metric.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'))
            });
            if !of_histogram || self.keep(&sample.metric, &sample.labels, sample.value, (keeps, ends), None) {
                sample.labels = self.labelled(sample.labels);
                samples.push(sample);
            }
        }
        for (own, growing) in &found.series {
            let growing = growing.then_some(&mut fell);
            if !is_reserved(own.name) && self.keep(own.name, &own.sample_labels(), own.value, (keeps, ends), growing) {
                samples.push(self.sample(own));
            }
        }
        if let Some((which, count)) = fell {
            let others = if count > 1 { format!(", and {} others", count - 1) } else { String::new() };
            self.noticed.push((COUNTER_FELL, format!("{which}{others}: the engine was restarted, or another one answered")));
        }
        for (name, kind) in found.kinds {
            let before = self.kinds.insert(name.to_owned(), kind.to_owned());
            if let Some(before) = before.filter(|before| before != kind) {
                self.noticed.push((KIND_CHANGED, format!("{name} was a {before} and is a {kind}")));
            }
        }
        if ends {
            let followed: HashSet<&str> = found.series.iter().map(|(s, _)| s.name).collect();
            let others = || series(page).filter(|s| !followed.contains(s.name) && !is_reserved(s.name));
            samples.extend(others().take(MOST_SERIES).map(|s| self.sample(&s)));
            let left = others().count().saturating_sub(MOST_SERIES);
            if left > 0 && self.readings == 0 {
                self.noticed.push((THINNED, format!("{left} series of the page that mean nothing to the report are not kept")));
            }
        }
        self.readings += 1;
        self.closing = false;
        if self.rows >= ROWS_PER_STEP {
            (self.rows, self.every) = (0, self.every * 2);
            self.noticed.push((THINNED, format!("the page's own series are kept at one of {} readings from now on", self.every)));
        }
        Ok(samples)
    }

    /// The next reading is the last.
    pub fn closing(&mut self) {
        self.closing = true;
    }

    /// What was noticed since this was last asked.
    pub fn noticed(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.noticed)
    }

    /// Whether a value belongs in the samples: the first of its name and labels in this reading, where it changed or at the ends. Notes
    /// what fell that may not.
    fn keep(
        &mut self,
        name: &str,
        labels: &str,
        value: f64,
        (keeps, ends): (bool, bool),
        growing: Option<&mut Option<(String, usize)>>,
    ) -> bool {
        let reading = self.readings + 1;
        let key = (name.to_owned(), labels.to_owned());
        let full = self.last.len() >= MOST_FOLLOWED;
        let followed = match self.last.get_mut(&key) {
            // Some pages have a series twice.
            Some(followed) if followed.reading == reading => return false,
            Some(followed) => followed,
            None if full => {
                if !std::mem::replace(&mut self.cut, true) {
                    self.noticed.push((THINNED, format!("{MOST_FOLLOWED} series of the page are followed, and no more")));
                }
                return false;
            }
            None => self.last.entry(key).or_insert(Followed { seen: value, reading, kept: None }),
        };
        if let Some(fell) = growing
            && value < followed.seen
        {
            match fell {
                None => *fell = Some((format!("{name}{{{labels}}} went from {} to {value}", followed.seen), 1)),
                Some((_, count)) => *count += 1,
            }
        }
        let keep = ends || (keeps && followed.kept != Some(value));
        *followed = Followed { seen: value, reading, kept: if keep { Some(value) } else { followed.kept } };
        self.rows += u64::from(keep);
        keep
    }

    fn labelled(&self, labels: String) -> String {
        match &self.label {
            None => labels,
            Some(own) if labels.is_empty() => own.clone(),
            Some(own) => format!("{labels},{own}"),
        }
    }

    fn sample(&self, series: &Series<'_>) -> Sample {
        Sample {
            at: Nanos::ZERO,
            source: SampleSource::Engine,
            metric: series.name.to_owned(),
            labels: self.labelled(series.sample_labels()),
            value: series.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::MetricMap;

    const MAP: &str = "[read]\nrunning = \"run\"\nprompt_tokens_total = \"tok\"\nttft_seconds = \"t\"";

    fn tracker(page: Option<usize>) -> Tracker {
        Tracker::new(Arc::new(Reader::new([&toml::from_str::<MetricMap>(MAP).unwrap()])), page)
    }

    /// Samples as `name{labels} value`, in their order.
    fn read(tracker: &mut Tracker, page: &str) -> Vec<String> {
        tracker.read(page).unwrap().iter().map(|s| format!("{}{{{}}} {}", s.metric, s.labels, s.value)).collect()
    }

    /// `count` series of a name, all of the same value.
    fn lines(name: &str, count: usize, value: u64) -> String {
        (0..count).fold(String::new(), |page, i| page + &format!("{name}{{i=\"{i}\"}} {value}\n"))
    }

    fn check(got: &[String], expect: &[&str]) {
        assert_eq!(got, expect);
    }

    #[test]
    fn canonical_values_are_always_kept_and_own_series_where_they_changed() {
        let mut tracker = tracker(None);
        let page = "run 1\ntok_total 5\nt_bucket{le=\"1\"} 2\nother{a=\"b,c\"} 9\n";
        check(
            &read(&mut tracker, page),
            &[
                "engine.running{} 1",
                "engine.prompt_tokens_total{} 5",
                "engine.ttft_seconds_bucket{le=1} 2",
                "run{} 1",
                "tok_total{} 5",
                "t_bucket{le=1} 2",
                "other{a=b%2Cc} 9",
            ],
        );
        check(&read(&mut tracker, page), &["engine.running{} 1", "engine.prompt_tokens_total{} 5"]);
        let page = page.replace("} 2", "} 3").replace("} 9", "} 10");
        check(
            &read(&mut tracker, &page),
            &["engine.running{} 1", "engine.prompt_tokens_total{} 5", "engine.ttft_seconds_bucket{le=1} 3", "t_bucket{le=1} 3"],
        );
        tracker.closing();
        assert_eq!(read(&mut tracker, &page).len(), 7, "the last reading has all");
        check(&tracker.noticed().iter().map(|n| n.1.clone()).collect::<Vec<_>>(), &[]);
    }

    #[test]
    fn a_counter_that_falls_is_noticed_once_and_a_gauge_may() {
        let mut tracker = tracker(Some(3));
        read(&mut tracker, "run 5\ntok_total{e=\"0\"} 50\nt_bucket{le=\"1\"} 2");
        // The sum grows; one of its processes was restarted.
        let got = read(&mut tracker, "run 2\ntok_total{e=\"0\"} 4\ntok_total{e=\"1\"} 90\nt_bucket{le=\"1\"} 0");
        assert!(got.contains(&"engine.running{page=3} 2".to_owned()) && got.contains(&"tok_total{e=0,page=3} 4".to_owned()), "{got:?}");
        let noticed = tracker.noticed();
        assert!(
            matches!(&noticed[..], [(COUNTER_FELL, words)] if words.starts_with("tok_total{e=0} went from 50 to 4, and 1 others")),
            "{noticed:?}"
        );
        read(&mut tracker, "run 2\ntok_total{e=\"0\"} 4");
        assert_eq!(tracker.noticed(), []);
    }

    #[test]
    fn a_metric_that_becomes_another_kind_is_noticed() {
        let mut tracker = tracker(None);
        read(&mut tracker, "# TYPE run gauge\n# TYPE other gauge\n# TYPE run gauge\nrun 5");
        assert_eq!(tracker.noticed(), []);
        read(&mut tracker, "# TYPE run counter\n# TYPE other counter\nrun 5");
        assert_eq!(tracker.noticed(), [(KIND_CHANGED, "run was a gauge and is a counter".to_owned())]);
    }

    #[test]
    fn a_name_of_ours_on_a_page_is_not_taken_for_our_reading() {
        check(&read(&mut tracker(None), "engine.running 7\nrun 1\nhost.load1 3"), &["engine.running{} 1", "run{} 1"]);
    }

    #[test]
    fn pages_are_bounded() {
        let mut tracker = tracker(None);
        let error = tracker.read(&" ".repeat(MAX_PAGE + 1)).unwrap_err();
        assert!(error.contains("33554433 bytes"), "{error}");
        let page = lines("other", MOST_SERIES + 7, 1);
        assert_eq!(tracker.read(&page).unwrap().len(), MOST_SERIES);
        let noticed = tracker.noticed();
        assert!(matches!(&noticed[..], [(THINNED, words)] if words.starts_with("7 series")), "{noticed:?}");
        assert_eq!(tracker.read(&page).unwrap(), []);
    }

    #[test]
    fn rows_grow_with_the_logarithm_of_time() {
        let mut tracker = tracker(None);
        let mut rows = |from, to| (from..to).map(|n| tracker.read(&lines("run", 10_000, n)).unwrap().len() as u64 - 1).sum::<u64>();
        assert_eq!(rows(0, 25), ROWS_PER_STEP);
        assert_eq!(rows(25, 29), 4 * 10_000 / 2);
        let noticed = tracker.noticed();
        assert!(matches!(&noticed[..], [(THINNED, words)] if words.contains("one of 2 readings")), "{noticed:?}");
    }
}
