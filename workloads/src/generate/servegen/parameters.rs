//! ServeGen's files of parameters. The laws of lengths stand in them as texts of Python dictionaries, which are parsed as data.

use crate::error::{Place, TraceError, file_error};
use nomoat_core::digest::{Digest, Digester};
use nomoat_core::rng::Stream;
use std::collections::BTreeMap;
use std::path::Path;

/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Most clients.
const MAX_CLIENTS: usize = 10_000;

/// A folder's parameters.
pub(super) struct Parameters {
    pub clients: Vec<Client>,
    /// Of the files' names and contents.
    pub digest: Digest,
    /// Whether there is more in the prompts than text.
    pub media: bool,
    pub losses: Vec<String>,
}

/// Who sends requests.
pub(super) struct Client {
    pub number: u32,
    pub windows: Vec<Window>,
    /// By the second from which they hold.
    laws: Vec<(u64, Laws)>,
}

/// A time of one rate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Window {
    /// From here, in seconds.
    pub start: f64,
    /// To here.
    pub end: f64,
    /// Requests per second; 0 in a silence.
    pub rate: f64,
    pub gaps: Gaps,
}

/// A law of gaps with mean 1: the published scale is that of a fit, and the rate is what was counted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Gaps {
    Gamma { shape: f64 },
    Weibull { shape: f64 },
}

impl Gaps {
    pub fn draw(self, stream: &mut Stream) -> f64 {
        match self {
            Self::Gamma { shape } => stream.gamma(shape) / shape,
            Self::Weibull { shape } => libm::pow(stream.exponential(), 1.0 / shape) / libm::tgamma(1.0 + 1.0 / shape),
        }
    }

    /// Variance over the squared mean.
    pub fn cv_squared(self) -> f64 {
        match self {
            Self::Gamma { shape } => 1.0 / shape,
            Self::Weibull { shape } => {
                let mean = libm::tgamma(1.0 + 1.0 / shape);
                libm::tgamma(1.0 + 2.0 / shape) / (mean * mean) - 1.0
            }
        }
    }
}

/// The laws of six hours.
pub(super) struct Laws {
    pub input: Law,
    pub output: Law,
    /// Mean share of the answer that is reasoning, where it is told.
    pub reasoning: Option<f64>,
}

/// Values with the probability that a draw is at most this.
#[derive(Debug, PartialEq)]
pub(super) struct Law {
    values: Vec<(f64, f64)>,
}

impl Law {
    /// The smallest value whose probability reaches `uniform`.
    pub fn draw(&self, uniform: f64) -> f64 {
        let index = self.values.partition_point(|(_, reached)| *reached < uniform);
        self.values[index.min(self.values.len() - 1)].0
    }

    pub fn mean(&self) -> f64 {
        let mut before = 0.0;
        let mut mean = 0.0;
        for (value, reached) in &self.values {
            mean += value * (reached - before);
            before = *reached;
        }
        mean
    }

    /// From the text of a dictionary `{value: probability, …}`; `None` for an empty one.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or("it does not stand in braces")?;
        let mut values: Vec<(f64, f64)> = vec![];
        let mut total = 0.0;
        for pair in inner.split(',') {
            if pair.trim().is_empty() && (values.is_empty() || inner.trim_end().ends_with(',')) {
                continue;
            }
            let number = |text: &str| {
                let text = text.trim();
                let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
                text.parse::<f64>().ok().filter(|value| plain && value.is_finite() && *value >= 0.0)
            };
            let parsed = pair.split_once(':').and_then(|(value, weight)| Some((number(value)?, number(weight)?)));
            let shown = || pair.trim().chars().take(40).collect::<String>();
            let (value, weight) = parsed.ok_or_else(|| format!("`{}` is no pair of numbers from 0 on", shown()))?;
            total += weight;
            values.push((value, weight));
        }
        if values.is_empty() {
            return Ok(None);
        }
        if total <= 0.0 {
            return Err("all its probabilities are 0".into());
        }
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut reached = 0.0;
        for (_, weight) in &mut values {
            reached += *weight / total;
            *weight = reached;
        }
        Ok(Some(Self { values }))
    }
}

impl Client {
    /// The laws at a time in seconds: those that hold since the last border before it.
    pub fn laws(&self, at: f64) -> Option<&Laws> {
        let index = self.laws.partition_point(|(from, _)| *from as f64 <= at);
        self.laws.get(index.saturating_sub(1)).map(|(_, laws)| laws)
    }
}

/// Reads the parameters in `folder`, of the clients with these numbers, or of all.
pub(super) fn read(folder: &Path, wanted: &[u32]) -> Result<Parameters, TraceError> {
    let name = folder.display().to_string();
    let wrong = |source| TraceError::Read { file: name.clone(), source };
    let mut numbers = vec![];
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let file = entry.map_err(wrong)?.file_name().to_string_lossy().into_owned();
        let number = file.strip_prefix("chunk-").and_then(|rest| rest.strip_suffix("-trace.csv"));
        numbers.extend(number.and_then(|number| number.parse::<u32>().ok()).filter(|number| file == format!("chunk-{number}-trace.csv")));
    }
    numbers.sort_unstable();
    if let Some(missing) = wanted.iter().find(|number| !numbers.contains(number)) {
        return Err(file_error(&name, format!("there is no client {missing} in it"), "ask for clients that have a `chunk-N-trace.csv`"));
    }
    numbers.retain(|number| wanted.is_empty() || wanted.contains(number));
    if numbers.is_empty() || numbers.len() > MAX_CLIENTS {
        let remedy = format!("give a folder with 1 to {MAX_CLIENTS} files named `chunk-N-trace.csv`");
        return Err(file_error(&name, format!("there are parameters of {} clients in it", numbers.len()), remedy));
    }
    let mut parameters = Parameters { clients: vec![], digest: Digest([0; 32]), media: false, losses: vec![] };
    let (mut digest, mut lawless) = (Digester::new("servegen/parameters/1"), vec![]);
    for number in numbers {
        let (trace, dataset) = (format!("chunk-{number}-trace.csv"), format!("chunk-{number}-dataset.json"));
        let (path, text) = file(folder, &trace)?;
        digest.text(&trace).text(&Digest::of(text.as_bytes()).to_string());
        let windows = windows(&path, &text)?;
        if !folder.join(&dataset).is_file() {
            lawless.push(number.to_string());
            continue;
        }
        let (path, text) = file(folder, &dataset)?;
        digest.text(&dataset).text(&Digest::of(text.as_bytes()).to_string());
        let (laws, media) = laws(&path, &text)?;
        parameters.media |= media;
        parameters.clients.push(Client { number, windows, laws });
    }
    parameters.digest = digest.finish();
    if parameters.clients.is_empty() {
        return Err(file_error(&name, "no client has lengths in it", "fetch the files `chunk-N-dataset.json` as well"));
    }
    if !lawless.is_empty() {
        parameters.losses.push(format!("clients without lengths were left out: {}", lawless.join(", ")));
    }
    Ok(parameters)
}

fn file(folder: &Path, name: &str) -> Result<(String, String), TraceError> {
    let path = folder.join(name);
    let shown = path.display().to_string();
    let wrong = |source| TraceError::Read { file: shown.clone(), source };
    if std::fs::metadata(&path).map_err(wrong)?.len() > MAX_FILE_BYTES {
        return Err(file_error(&shown, format!("it is longer than {MAX_FILE_BYTES} bytes"), "check that it is a file of parameters"));
    }
    let text = std::fs::read_to_string(&path).map_err(wrong)?;
    Ok((shown, text))
}

const COLUMNS: [&str; 6] = ["window start", "rate", "CV", "pattern", "parameter 1", "parameter 2"];

/// Rows without a header: start, requests per second, coefficient of variation, law, its two parameters.
pub(super) fn windows(path: &str, text: &str) -> Result<Vec<Window>, TraceError> {
    let mut windows: Vec<Window> = vec![];
    for (index, row) in text.lines().enumerate() {
        let place = Place { file: path, line: index as u64 + 1 };
        let values: Vec<&str> = row.split(',').collect();
        if values.len() != COLUMNS.len() {
            return Err(place.line(format!("the line has {} values", values.len()), format!("write six: {}", COLUMNS.join(", "))));
        }
        let number = |column: usize| {
            let value = values[column].parse::<f64>().ok().filter(|value| (0.0..=1e9).contains(value));
            value.ok_or_else(|| place.field(COLUMNS[column], format!("is `{}`", values[column]), "a number from 0 to 1000000000"))
        };
        let (start, rate) = (number(0)?, number(1)?);
        // Below, the moments of the laws overflow.
        let shape = |min: f64| {
            let shape = number(4)?;
            let should = || format!("a shape from {min} to 1000000");
            if (min..=1e6).contains(&shape) { Ok(shape) } else { Err(place.field(COLUMNS[4], format!("is {shape}"), should())) }
        };
        let (rate, gaps) = match values[3] {
            "" if rate > 0.0 => return Err(place.field(COLUMNS[3], "is empty beside a rate", "`Gamma` or `Weibull`")),
            "" => (0.0, Gaps::Gamma { shape: 1.0 }),
            "Gamma" => (rate, Gaps::Gamma { shape: shape(0.001)? }),
            "Weibull" => (rate, Gaps::Weibull { shape: shape(0.05)? }),
            other => return Err(place.field(COLUMNS[3], format!("is `{other}`"), "`Gamma`, `Weibull` or nothing")),
        };
        if let Some(last) = windows.last_mut() {
            if start <= last.start {
                return Err(place.field(COLUMNS[0], format!("is {start}, not after the line before"), "in order of time"));
            }
            last.end = start;
        }
        windows.push(Window { start, end: start + 600.0, rate, gaps });
    }
    if windows.is_empty() {
        return Err(file_error(path, "it is empty", "fetch it again"));
    }
    // The last window is as long as the one before it.
    if let [.., before, last] = &mut windows[..] {
        last.end = last.start + (last.start - before.start);
    }
    Ok(windows)
}

/// Laws by the second from which they hold, and whether there are some of more than text. Windows without laws take those before them.
pub(super) fn laws(path: &str, text: &str) -> Result<(Vec<(u64, Laws)>, bool), TraceError> {
    let wrong = |problem: String| file_error(path, problem, "compare it with a published `chunk-N-dataset.json`");
    let outer: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(text).map_err(|error| wrong(format!("it is no object of objects of texts: {error}")))?;
    let (mut laws, mut media) = (vec![], false);
    for (start, fields) in &outer {
        let from = start.parse::<u64>().map_err(|_| wrong(format!("`{start}` is no number of seconds")))?;
        let law = |names: &[&str]| {
            let Some((name, text)) = names.iter().find_map(|name| fields.get(*name).map(|text| (name, text))) else { return Ok(None) };
            Law::parse(text).map_err(|problem| wrong(format!("`{name}` from second {start} on is wrong: {problem}")))
        };
        media |= ["image_count", "audio_count", "video_count"].iter().any(|name| fields.get(*name).is_some_and(|text| text.trim() != "{}"));
        let (input, output) = (law(&["input_tokens", "text_tokens"])?, law(&["output_tokens"])?);
        let reasoning = law(&["reason_ratio"])?.map(|law| law.mean());
        if let (Some(input), Some(output)) = (input, output) {
            laws.push((from, Laws { input, output, reasoning }));
        }
    }
    if laws.is_empty() {
        return Err(wrong("it has no lengths of prompts and answers".into()));
    }
    laws.sort_by_key(|(from, _)| *from);
    Ok((laws, media))
}
