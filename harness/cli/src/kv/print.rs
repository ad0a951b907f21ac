//! Tables for people, and all figures as data.

use super::ask::{Ask, GIB, Way, shown};
use super::rows::{Against, Row};
use nomoat_core::footprint::{Limit, Precision, Step};
use nomoat_results::profiles::MemoryBy;
use nomoat_results::table::{Cell, Figure, Figures, Format, note};
use serde_json::{Value, json};
use std::path::Path;

/// A column: where it stands, and what is in it.
struct Column {
    figure: Figure,
    place: Place,
    cell: fn(&Row<'_>) -> Cell,
}

/// The tables that a column is in; data have all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Every table.
    All,
    /// What a sequence holds.
    Sequence,
    /// The same, where a memory is known.
    Users,
    /// The same, where a link is given.
    Link,
    /// The same, where another model is given.
    Against,
    /// A whole prompt, and when caches outweigh weights.
    Prompt,
    /// More of both, where they have a table of their own.
    PromptAlone,
    /// How long a prompt takes, where a device is given.
    PromptTime,
    /// What a step moves and computes.
    Step,
    /// How long it takes, where a device is given.
    Time,
    /// None: data alone.
    Data,
}

const fn figure(key: &'static str, header: &'static str) -> Figure {
    Figure { key, header, number: true }
}

const fn word(key: &'static str, header: &'static str) -> Figure {
    Figure { key, header, number: false }
}

const COLUMNS: [Column; 34] = [
    Column {
        figure: word("model", "model"),
        place: Place::All,
        cell: |row| Cell { shown: short(&row.model.name).to_owned(), value: Value::from(row.model.name.as_str()) },
    },
    Column { figure: word("dtype", "dtype"), place: Place::All, cell: |row| Cell::word(row.kept.word) },
    Column {
        figure: figure("context_tokens", "context"),
        place: Place::All,
        cell: |row| Cell::number(Some(row.context as f64), |_| shown(row.context)),
    },
    Column {
        figure: figure("bytes_per_token", "bytes/token"),
        place: Place::Sequence,
        cell: |row| Cell::number(Some(row.per_token), |n| format!("{n:.0}")),
    },
    Column { figure: figure("bytes", "one sequence"), place: Place::Sequence, cell: |row| Cell::number(Some(row.held), size) },
    Column {
        figure: figure("tail_bytes", "tail"),
        place: Place::Data,
        cell: |row| Cell::number(Some(row.model.shape.tail() as f64), size),
    },
    Column { figure: figure("decode_bytes", "moved"), place: Place::Data, cell: |row| Cell::number(Some(row.moved), size) },
    Column {
        figure: figure("decode_flop", "mixing GFLOP/token"),
        place: Place::Sequence,
        cell: |row| Cell::number(Some(row.work.total() as f64), |n| digits(n / 1e9)),
    },
    Column {
        figure: figure("decode_flop_per_byte", "mixing FLOP/byte"),
        place: Place::Sequence,
        cell: |row| Cell::number(Some(row.work.total() as f64 / row.moved.max(1.0)), |n| format!("{n:.1}")),
    },
    Column {
        figure: figure("matrices_flop", "in matrices"),
        place: Place::Data,
        cell: |row| Cell::number(row.model.shape.matrices(), |n| digits(n / 1e9)),
    },
    Column {
        figure: figure("users", "users"),
        place: Place::Users,
        cell: |row| Cell::number(row.users.map(|n| n as f64), |n| format!("{n}")),
    },
    Column { figure: figure("hand_over_s", "hand-over"), place: Place::Link, cell: |row| Cell::number(row.hand_over_s, time) },
    Column { figure: figure("bytes_against", "cache %"), place: Place::Against, cell: |row| share(row, |against| Some(against.held)) },
    Column {
        figure: figure("flop_against_fp8_equivalent", "FLOP %"),
        place: Place::Against,
        cell: |row| share(row, |against| against.weighted),
    },
    Column { figure: figure("flop_against_plain", "plain %"), place: Place::Against, cell: |row| share(row, |against| against.plain) },
    Column {
        figure: figure("prompt_flop", "prompt PFLOP"),
        place: Place::Prompt,
        cell: |row| Cell::number(row.prompt.total(), |n| digits(n / 1e15)),
    },
    Column {
        figure: figure("prompt_mixing_flop", "mixing PFLOP"),
        place: Place::Data,
        cell: |row| Cell::number(row.prompt.mixing.map(|mixing| mixing.total()), |n| digits(n / 1e15)),
    },
    Column {
        figure: figure("prompt_mixing_share", "mixing %"),
        place: Place::PromptAlone,
        cell: |row| Cell::number(row.prompt.mixing_share(), |share| format!("{:.1}", share * 100.0)),
    },
    Column {
        figure: figure("prompt_compute_s", "compute"),
        place: Place::PromptTime,
        cell: |row| Cell::number(row.prompt.compute_s, time),
    },
    Column { figure: figure("even_batch", "even batch"), place: Place::Prompt, cell: |row| Cell::number(row.even_batch, sequences) },
    Column {
        figure: figure("even_context_tokens", "even context"),
        place: Place::PromptAlone,
        cell: |row| Cell::number(row.even_context.map(|n| n as f64), tokens),
    },
    Column { figure: word("weights", "weights in"), place: Place::Data, cell: |row| Cell::word(precision(row.kept.weights)) },
    Column {
        figure: figure("step_matrices_flop", "GFLOP matrices"),
        place: Place::Step,
        cell: |row| step(row, |step| step.matrices, |n| digits(n / 1e9)),
    },
    Column {
        figure: figure("step_mixing_flop", "GFLOP mixing"),
        place: Place::Step,
        cell: |row| step(row, |step| Some(step.mixing), |n| digits(n / 1e9)),
    },
    Column {
        figure: figure("step_weight_bytes", "GB weights"),
        place: Place::Step,
        cell: |row| step(row, |step| step.weights, |n| digits(n / 1e9)),
    },
    Column {
        figure: figure("step_cache_bytes", "GB cache"),
        place: Place::Step,
        cell: |row| step(row, |step| Some(step.cache), |n| digits(n / 1e9)),
    },
    Column {
        figure: figure("step_flop_per_byte", "FLOP /byte"),
        place: Place::Step,
        cell: |row| step(row, Step::intensity, |n| format!("{n:.1}")),
    },
    Column {
        figure: figure("step_compute_s", "compute ms"),
        place: Place::Time,
        cell: |row| step(row, |step| step.compute_s, |n| digits(n * 1e3)),
    },
    Column {
        figure: figure("step_memory_s", "memory ms"),
        place: Place::Time,
        cell: |row| step(row, |step| step.memory_s, |n| digits(n * 1e3)),
    },
    Column { figure: figure("step_floor_s", "floor ms"), place: Place::Data, cell: |row| step(row, Step::floor_s, |n| digits(n * 1e3)) },
    Column { figure: word("step_limit", "limit"), place: Place::Time, cell: limit },
    Column { figure: word("active_parameters", "active"), place: Place::Data, cell: |row| Cell::number(row.model.shape.active, digits) },
    Column { figure: word("total_parameters", "total"), place: Place::Data, cell: |row| Cell::number(row.model.shape.total, digits) },
    Column { figure: word("source", "source"), place: Place::Data, cell: |row| Cell::word(row.model.source.as_str()) },
];

fn share(row: &Row<'_>, of: fn(&Against) -> Option<f64>) -> Cell {
    Cell::number(row.against.as_ref().and_then(of), |share| format!("{:.1}", share * 100.0))
}

fn step(row: &Row<'_>, of: fn(&Step) -> Option<f64>, show: fn(f64) -> String) -> Cell {
    Cell::number(row.step.as_ref().and_then(of), show)
}

fn limit(row: &Row<'_>) -> Cell {
    let word = match row.step.as_ref().and_then(Step::limit) {
        Some(Limit::Compute) => "compute",
        Some(Limit::Memory) => "memory",
        None => return Cell { shown: "–".into(), value: Value::Null },
    };
    Cell::word(word)
}

/// A model's name; of the path of a configuration its folder, or its own name where it has one: the notes have the whole path.
fn short(name: &str) -> &str {
    let path = Path::new(name);
    let own =
        if path.file_name().is_some_and(|file| file == "config.json") { path.parent().and_then(Path::file_name) } else { path.file_name() };
    own.and_then(|own| own.to_str()).unwrap_or(name)
}

fn precision(of: Precision) -> &'static str {
    match of {
        Precision::Bf16 => "bf16",
        Precision::Fp8 => "fp8",
        Precision::Fp4 => "fp4",
    }
}

/// Four digits at least.
fn digits(value: f64) -> String {
    match value.abs() {
        n if n >= 1_000.0 => format!("{value:.0}"),
        n if n >= 100.0 => format!("{value:.1}"),
        n if n >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn size(bytes: f64) -> String {
    if bytes >= GIB / 10.0 { format!("{:.3} GiB", bytes / GIB) } else { format!("{:.2} MiB", bytes / f64::from(1 << 20)) }
}

/// Sequences, of which there may be less than one.
fn sequences(number: f64) -> String {
    match number {
        n if n < 0.01 => "<0.01".into(),
        n if n < 1.0 => format!("{n:.2}"),
        n if n < 100.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// Tokens in round numbers, as contexts are given.
fn tokens(number: f64) -> String {
    let (k, m) = (f64::from(1 << 10), f64::from(1 << 20));
    match number {
        n if n >= 10.0 * m => format!("{:.0}M", n / m),
        n if n >= m => format!("{:.1}M", n / m),
        n if n >= 10.0 * k => format!("{:.0}k", n / k),
        n if n >= k => format!("{:.1}k", n / k),
        n => format!("{n:.0}"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s >= 1e-3 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

/// The columns of the given places, over all rows.
fn figures(rows: &[Row<'_>], places: &[Place]) -> Figures {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| places.contains(&column.place)).collect();
    Figures {
        columns: columns.iter().map(|column| column.figure).collect(),
        rows: rows.iter().map(|row| columns.iter().map(|column| (column.cell)(row)).collect()).collect(),
    }
}

/// Every figure.
pub fn data(rows: &[Row<'_>]) -> Figures {
    use Place::{Against, All, Data, Link, Prompt, PromptAlone, PromptTime, Sequence, Step, Time, Users};
    figures(rows, &[All, Sequence, Users, Link, Against, Prompt, PromptAlone, PromptTime, Step, Time, Data])
}

/// Every figure, with what they were computed for.
pub fn json(ask: &Ask, rows: &[Row<'_>]) -> Value {
    let link = ask.link.as_ref().map(|way| match way {
        Way::Link(link) => {
            json!({"name": link.name, "gbit_s": link.gbit_s, "latency_us": link.latency_us, "source": link.source, "date": link.date})
        }
        Way::Rate(rate) => json!({"gbit_s": rate * 8.0}),
    });
    let device = ask.device.as_ref().map(|device| {
        json!({
            "name": device.name, "memory_gib": device.memory_gib,
            "memory_by": device.memory_by.map(MemoryBy::word), "bandwidth_gb_s": device.bandwidth_gb_s,
            "bf16_tflops": device.bf16_tflops, "fp8_tflops": device.fp8_tflops, "fp4_tflops": device.fp4_tflops,
            "evidence": device.evidence.word(), "source": device.source, "date": device.date,
        })
    });
    let notes: serde_json::Map<String, Value> =
        ask.models.iter().filter(|model| !model.notes.is_empty()).map(|model| (model.name.clone(), json!(model.notes))).collect();
    json!({
        "schema": "nomoat.kv/1", "device": device, "link": link, "batch": ask.batch,
        "against": ask.against.as_ref().map(|model| &model.name), "notes": notes, "rows": data(rows).objects(),
    })
}

/// Whether prompts fit beside sequences: where nothing else was asked for that stands there. Else they have a table of their own.
fn has_room(ask: &Ask) -> bool {
    ask.memory.is_none() && ask.link.is_none() && ask.against.is_none() && ask.batch.is_none()
}

/// What a person reads: a table of sequences, with their prompts where there is room, one of steps where they are asked for, and notes.
pub fn tables(ask: &Ask, rows: &[Row<'_>], format: Format) -> String {
    let mut places = vec![Place::All, Place::Sequence];
    places.extend(ask.memory.map(|_| Place::Users));
    places.extend(ask.link.as_ref().map(|_| Place::Link));
    // All at once would not fit into a line.
    let apart = ask.memory.is_some() && ask.link.is_some();
    places.extend(ask.against.as_ref().filter(|_| !apart).map(|_| Place::Against));
    let room = has_room(ask);
    places.extend(room.then_some(Place::Prompt));
    let mut text = figures(rows, &places).render(format);
    if let Some(other) = ask.against.as_ref().filter(|_| apart) {
        let shares = figures(rows, &[Place::All, Place::Against]).render(format);
        text = format!("{text}\nAgainst {}:\n\n{shares}", short(&other.name));
    }
    if let Some(batch) = ask.batch {
        let mut places = vec![Place::All, Place::Step];
        places.extend(ask.device.as_ref().map(|_| Place::Time));
        let on = ask.device.as_ref().map_or_else(String::new, |device| format!(" on {}", device.title));
        let many = if batch == 1 { "1 sequence".into() } else { format!("{batch} sequences") };
        let steps = figures(rows, &places).render(format);
        text = format!("{text}\nOne decode step of {many}{on}:\n\n{steps}");
    }
    if !room {
        let mut places = vec![Place::All, Place::Prompt, Place::PromptAlone];
        places.extend(ask.device.as_ref().map(|_| Place::PromptTime));
        let prompts = figures(rows, &places).render(format);
        text = format!("{text}\nOne prompt of that length, and where caches are as much as weights:\n\n{prompts}");
    }
    text.push('\n');
    for paragraph in notes(ask, rows) {
        text += &note(&paragraph);
        if format == Format::Markdown {
            text.push('\n');
        }
    }
    text
}

fn notes(ask: &Ask, rows: &[Row<'_>]) -> Vec<String> {
    let mut notes = vec![
        "Theoretical, from shapes: no blocks, no engine's reserve. fp8 has the packed rows that engines deploy for latent and compressed \
         caches (a latent of 512 with 64 rotary: 656 bytes, where a plain fp8 cache, which `nomoat run --kv-dtype fp8` counts, has 576); \
         states are in four bytes beside bf16 and in two beside fp8. Mixing is of the layers that mix tokens, for one decoded token and the \
         cache that it moves; the matrices' operations come on top."
            .to_owned(),
    ];
    notes.push(of_prompt(ask));
    let tails: Vec<String> = ask
        .models
        .iter()
        .filter(|model| model.shape.tail() > 0)
        .map(|model| format!("{} {}", model.name, size(model.shape.tail() as f64)))
        .collect();
    if !tails.is_empty() {
        notes.push(format!(
            "Not in them: what compressors keep in f32 of unfinished entries, the same at every context: {}.",
            tails.join(", ")
        ));
    }
    if let Some(memory) = ask.memory {
        let whose = ask.device.as_ref().filter(|device| device.memory_gib.is_some()).map_or_else(String::new, |device| {
            format!(" of {} ({})", device.name, device.memory_by.map_or("nobody says whose figure that is", MemoryBy::said))
        });
        notes.push(format!(
            "users: sequences that fit beside the weights into {} GiB{whose}: one device, {}. 0 where the weights alone do not fit, – where the \
             parameters are not known. An engine needs some of it for itself and for the activations of its batches.",
            (memory / GIB * 1e3).round() / 1e3,
            weights(ask)
        ));
    }
    if let Some(other) = &ask.against {
        notes.push(format!(
            "cache % and FLOP %: of {}'s own at the same context, for one decoded token with its matrices. FLOP % counts in operations of an \
             fp8 unit: matrices and fp8 indexers once, attention and states in bf16 twice, FP4 indexers half; plain % counts each once. \
             That weighting is inferred: with it DeepSeek-V4 has the 27 % and 10 % of V3.2 at 1M that its card states without saying how.",
            other.name
        ));
    }
    notes.extend(of_link(ask));
    notes.extend(of_step(ask, rows));
    for model in &ask.models {
        let said: Vec<&str> = std::iter::once(model.source.as_str()).chain(model.notes.iter().map(String::as_str)).collect();
        notes.push(format!("{}: {}", model.name, said.join("; ")));
    }
    notes
}

fn of_prompt(ask: &Ask) -> String {
    let apart: Vec<&str> = ask.models.iter().filter(|model| model.shape.embedding.is_none()).map(|model| model.name.as_str()).collect();
    let output = match apart[..] {
        [] => String::new(),
        _ => format!(" (those of {} for every token: nobody says their size)", apart.join(", ")),
    };
    let step = ask.batch.unwrap_or(1);
    let time = ask.device.as_ref().map_or("", |_| " compute: at the device's peaks, a floor of the time to the first token.");
    let context = if has_room(ask) { String::new() } else { format!(", even context: how many tokens of each of {step} sequence(s),") };
    format!(
        "prompt: all operations of a whole prompt with nothing of it cached, matrices included, the output's for the last token{output}.{time} \
         even batch: how many sequences of that context{context} it takes until a decode step moves as many bytes of caches as of weights; \
         beyond it caches are most of what it moves. – where that is not known or never."
    )
}

fn weights(ask: &Ask) -> String {
    let kinds: Vec<String> =
        ask.kept.iter().map(|kept| format!("{} byte(s) a parameter with {}", kept.weights.bytes(), kept.word)).collect();
    kinds.join(", ")
}

fn of_link(ask: &Ask) -> Option<String> {
    Some(match ask.link.as_ref()? {
        Way::Link(link) => {
            let late = link.latency_us.map_or_else(String::new, |us| format!(" and {us} µs before the first byte"));
            format!(
                "hand-over: one sequence over {} at {} Gbit/s{late} ({}, {}, {}); no protocol, nobody else on it.",
                link.title,
                link.gbit_s,
                link.evidence.word(),
                link.source,
                link.date
            )
        }
        Way::Rate(rate) => format!("hand-over: one sequence at {rate} GB/s; no protocol, nobody else on the link."),
    })
}

fn of_step(ask: &Ask, rows: &[Row<'_>]) -> Vec<String> {
    let Some(batch) = ask.batch else { return vec![] };
    let mut notes = vec![format!(
        "A step reads all weights of a dense model, {}; of one with experts the rest and those that {batch} token(s) touch if each chooses \
         evenly; – where that is not known.",
        weights(ask)
    )];
    let apart: Vec<&str> = ask.models.iter().filter(|model| model.shape.embedding.is_none()).map(|model| model.name.as_str()).collect();
    notes.push(match apart[..] {
        [] => "Of input embeddings a step reads one row a token and multiplies nothing.".to_owned(),
        _ => format!(
            "Of input embeddings a step reads one row a token and multiplies nothing; but those of {} are counted as read and multiplied \
             whole: they are the output's matrix too, or nobody says their size. Then the figures may be above a true floor.",
            apart.join(", ")
        ),
    });
    let Some(device) = &ask.device else { return notes };
    let chip = ask.chip();
    let mut precisions: Vec<Precision> = vec![];
    for kept in &ask.kept {
        if !precisions.contains(&kept.weights) {
            precisions.push(kept.weights);
        }
    }
    let ridges: Vec<String> = precisions
        .iter()
        .map(|of| match chip.ridge(*of) {
            Some(ridge) => format!("{ridge:.0} FLOP/byte in {}", precision(*of)),
            None => format!("unknown in {}, for which it states no peak or no bandwidth", precision(*of)),
        })
        .collect();
    notes.push(format!(
        "{}: ridge at {}; far below it memory is the limit, far above it compute. The longer of the two times is a floor: no launch, no collective, \
         no engine. Matrices at the peak of the weights' type, attention and states at that of bf16, indexers at that of fp8. ({}, {}, {})",
        device.name,
        ridges.join(", "),
        device.evidence.word(),
        device.source,
        device.date
    ));
    let full = rows.iter().filter(|row| row.users.is_some_and(|users| users < batch)).count();
    if full > 0 {
        notes.push(format!("In {full} of {} rows {batch} sequence(s) do not fit beside the weights: see users.", rows.len()));
    }
    notes
}
