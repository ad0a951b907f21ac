//! Requests as the clients of a platform send them, from ServeGen's published parameters: for each client a rate and a law of gaps for every
//! ten minutes, and laws of lengths for every six hours.
//!
//! Unlike ServeGen's own generator, which draws one number per request and turns it into every field, the fields are drawn independently of
//! each other: that longer prompts have longer answers is not in the data. A client's arrivals are one renewal process in operational time,
//! which runs as fast as the rate says, so that windows change the rate without an edge, and bursts go across them.

mod parameters;

use super::settings::option;
use super::{Generator, OptionDef, Settings};
use crate::error::TraceError;
use crate::import::MAX_TOKENS;
use nomoat_core::digest::Digester;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Origin, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use parameters::{Client, Law, Window, read};
use std::path::Path;

/// The generator.
pub(crate) struct ServeGen;

impl Generator for ServeGen {
    fn name(&self) -> &'static str {
        "servegen"
    }

    fn about(&self) -> &'static str {
        "the clients of a platform, from a folder of ServeGen's published parameters"
    }

    fn options(&self) -> &'static [OptionDef] {
        const OPTIONS: &[OptionDef] = &[
            option("folder", "folder", "", "where chunk-N-trace.csv and chunk-N-dataset.json lie; must be given"),
            option("clients", "numbers", "", "those that take part, such as 0+3+7; all without it"),
            option("start", "time", "0s", "from where in the recorded time"),
            option("span", "time", "1h", "how much of it"),
            option("rate-scale", "factor", "1", "multiplies every rate"),
        ];
        OPTIONS
    }

    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError> {
        let folder = settings.text("folder").ok_or_else(|| settings.wrong("folder", "a folder of parameters"))?;
        let numbers = settings.text("clients").map(|text| text.split('+').map(|number| number.trim().parse()).collect());
        let clients = numbers.unwrap_or(Ok(vec![])).map_err(|_| settings.wrong("clients", "numbers with + between them"))?;
        let (start, span) = (settings.time("start")?, settings.time("span")?);
        servegen(Path::new(folder), &ServeGenOptions { seed, clients, start, span, rate_scale: settings.number("rate-scale", 1e-6..=1e6)? })
    }
}

/// What a trace is made from, besides the folder of parameters.
#[derive(Clone, PartialEq, Debug)]
pub struct ServeGenOptions {
    /// Seed of all its streams.
    pub seed: u64,
    /// Numbers of the clients that take part; all of them where there is none.
    pub clients: Vec<u32>,
    /// From where in the recorded time.
    pub start: Nanos,
    /// How much of it.
    pub span: Nanos,
    /// What every rate is multiplied by. How bursty a client is stays the same.
    pub rate_scale: f64,
}

impl Default for ServeGenOptions {
    /// The first hour, as it was.
    fn default() -> Self {
        Self { seed: 42, clients: vec![], start: Nanos::ZERO, span: Nanos::from_secs(3_600), rate_scale: 1.0 }
    }
}

/// SHA-256 over the names and contents of the complete sets deepseek-r1 and mm-image as they were published, in the order of names; both are
/// Apache-2.0, which the files themselves cannot tell.
const PUBLISHED: [&str; 2] = [
    "19067196faa4e4081078bd8c67cb7907f90de8810c1fac45b0f468140dc5d415",
    "1930277333d88b39eff7708bac464bdcc42a985b765276922a91ffb3423a6552",
];

/// How far before its start a client's process begins, in gaps for each squared coefficient of variation: far enough that the start of the
/// trace is a moment like any other, and not one right after an arrival.
const RUN_UP: f64 = 20.0;

/// Most requests: they are held in memory, in order of time.
const MAX_MADE: usize = 100_000_000;

/// Makes a trace from the parameters in `folder`: files `chunk-N-trace.csv` and `chunk-N-dataset.json`.
///
/// # Errors
/// A folder without parameters, what is wrong in which of its files, or an option that no trace can have.
pub fn servegen(folder: &Path, options: &ServeGenOptions) -> Result<Trace, TraceError> {
    let refuse =
        |problem: String, remedy: &str| Err(TraceError::File { file: folder.display().to_string(), problem, remedy: remedy.into() });
    if !(1e-6..=1e6).contains(&options.rate_scale) {
        return refuse(format!("a rate scale of {} was asked for", options.rate_scale), "ask for one between 0.000001 and 1000000");
    }
    if options.start < Nanos::ZERO || options.span <= Nanos::ZERO {
        return refuse(format!("{} from {} on were asked for", options.span, options.start), "ask for a time from 0 on and some of it");
    }
    let parameters = read(folder, &options.clients)?;
    let (begin, end) = (options.start.as_secs_f64(), (options.start + options.span).as_secs_f64());
    let mut arrivals: Vec<(Nanos, u32)> = vec![];
    for (index, client) in parameters.clients.iter().enumerate() {
        let mut stream = Stream::new(options.seed, &format!("servegen/{}/arrivals", client.number));
        for at in times(&client.windows, begin, end, options.rate_scale, &mut stream) {
            // Whole microseconds, the unit of the canonical format.
            arrivals.push((Nanos::from_micros(((at - begin) * 1e6) as i64), index as u32));
            if arrivals.len() > MAX_MADE {
                return refuse(
                    format!("more than {MAX_MADE} requests would be made"),
                    "ask for less time, fewer clients or a smaller rate",
                );
            }
        }
    }
    if arrivals.is_empty() {
        return refuse("no client sends anything in the time asked for".into(), "ask for another time, more of it or other clients");
    }
    arrivals.sort_unstable();
    let stream = |client: &Client, what: &str| Stream::new(options.seed, &format!("servegen/{}/{what}", client.number));
    let mut draws: Vec<[Stream; 2]> = parameters.clients.iter().map(|c| [stream(c, "input"), stream(c, "output")]).collect();
    let (mut raised, mut reasoned) = (0_u64, Reasoned::default());
    let mut requests = Vec::with_capacity(arrivals.len());
    for (number, (at, index)) in arrivals.iter().enumerate() {
        let (client, [inputs, outputs]) = (&parameters.clients[*index as usize], &mut draws[*index as usize]);
        let Some(laws) = client.laws(begin + at.as_secs_f64()) else { continue };
        let mut length = |law: &Law, stream: &mut Stream| {
            let tokens = law.draw(stream.uniform());
            raised += u64::from(tokens < 1.0);
            tokens.clamp(1.0, MAX_TOKENS as f64) as u32
        };
        let (input, output) = (length(&laws.input, inputs), length(&laws.output, outputs));
        reasoned.note(laws.reasoning, output);
        let prompt = Prompt::Blocks(BlockPrompt::unique(0, number as u64, input));
        requests.push(TraceRequest { at: Some(*at), class: *index as u16, ..TraceRequest::new(prompt, input, output) });
    }
    let mut d = Digester::new("generator/servegen/1");
    d.text(&parameters.digest.to_string()).int(options.seed as i64).int(options.start.0).int(options.span.0).float(options.rate_scale);
    parameters.clients.iter().for_each(|client| {
        d.int(client.number.into());
    });
    let known = PUBLISHED.contains(&parameters.digest.to_string().as_str());
    let mut losses = vec![
        "made from laws: input and output lengths are drawn independently of each other".to_owned(),
        "prefix reuse and sessions are not described: every prompt is unique".to_owned(),
    ];
    losses.extend(reasoned.loss());
    if parameters.media {
        losses.push("pictures, sounds and videos are not sent: prompts have the length of their text".to_owned());
    }
    if raised > 0 {
        losses.push(format!("{raised} lengths below one token were raised to one"));
    }
    losses.extend(parameters.losses);
    let name = folder.file_name().map_or_else(|| "servegen".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(Trace {
        name,
        source: d.finish(),
        origin: Origin {
            licence: known.then(|| "Apache-2.0".to_owned()),
            attribution: known.then(|| "ServeGen, Xiang et al., arXiv 2505.09999".to_owned()),
            repository: known.then(|| "alibaba/ServeGen".to_owned()),
            commit: known.then(|| "f891d1189eb32b3868dfc443800c4150548c282a".to_owned()),
            ..Origin::default()
        },
        classes: parameters.clients.iter().map(|client| format!("client {}", client.number)).collect(),
        losses,
        requests,
        ..Trace::default()
    })
}

/// The share of answers that is reasoning, which a length cannot keep.
#[derive(Default)]
struct Reasoned {
    tokens: f64,
    of: f64,
}

impl Reasoned {
    fn note(&mut self, share: Option<f64>, output: u32) {
        if let Some(share) = share {
            self.tokens += share * f64::from(output);
            self.of += f64::from(output);
        }
    }

    fn loss(&self) -> Option<String> {
        let share = 100.0 * self.tokens / self.of;
        (self.of > 0.0).then(|| format!("answers are reasoning for {share:.0} % of their tokens on average, which is not told apart"))
    }
}

/// Arrivals of a client from `begin` to `end`, in seconds of the recorded time.
fn times(windows: &[Window], begin: f64, end: f64, scale: f64, stream: &mut Stream) -> Vec<f64> {
    let mut times = vec![];
    let active = |window: &&Window| window.rate > 0.0 && window.end > begin && window.start < end;
    let Some(first) = windows.iter().find(active) else { return times };
    // What is left of the gap that goes on, in units of mean gaps.
    let mut left = -RUN_UP * first.gaps.cv_squared().max(1.0);
    while left < 0.0 {
        left += first.gaps.draw(stream);
    }
    for window in windows.iter().filter(active) {
        let (mut at, until) = (window.start.max(begin), window.end.min(end));
        let rate = window.rate * scale;
        while at + left / rate < until && times.len() <= MAX_MADE {
            at += left / rate;
            times.push(at);
            left = window.gaps.draw(stream);
        }
        left -= (until - at) * rate;
    }
    times
}

#[cfg(test)]
mod tests;
