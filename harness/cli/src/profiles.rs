//! `nomoat profiles`: what is known of devices, links and nodes, by whose word; the check of a file of one's own; fits of α and β.

mod link_fit;

use crate::args::{CheckArgs, ProfilesArgs, ProfilesCommand};
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use crate::setup;
use nomoat_results::profiles::{Device, Evidence, Link, Node, check, device, devices, link, links, node, nodes};
use nomoat_results::table::{Cell, Figure, Figures, Format, note};
use serde_json::json;

/// Runs the subcommand.
pub fn profiles(args: &ProfilesArgs) -> Result<Exit, Failure> {
    let format = setup::format(&args.format)?;
    let of = |name: Option<&String>, kind: Kind| kind.list(name.map(String::as_str));
    match &args.command {
        None => everything(format)?,
        Some(ProfilesCommand::Devices(args)) => print(&of(args.name.as_ref(), Kind::Devices)?, format),
        Some(ProfilesCommand::Links(args)) => print(&of(args.name.as_ref(), Kind::Links)?, format),
        Some(ProfilesCommand::Nodes(args)) => print(&of(args.name.as_ref(), Kind::Nodes)?, format),
        Some(ProfilesCommand::Check(args)) => return checked(args),
        Some(ProfilesCommand::LinkFit(args)) => link_fit::link_fit(args, format)?,
    }
    Ok(Exit::Ok)
}

#[derive(Clone, Copy)]
enum Kind {
    Devices,
    Links,
    Nodes,
}

impl Kind {
    /// The row of that name, or all rows.
    fn list(self, name: Option<&str>) -> Result<List, Failure> {
        Ok(match self {
            Self::Devices => of_devices(&one_or_all(name, device, devices)?),
            Self::Links => of_links(&one_or_all(name, link, links)?),
            Self::Nodes => of_nodes(&one_or_all(name, node, nodes)?),
        })
    }
}

fn one_or_all<T>(name: Option<&str>, one: fn(&str) -> Result<T, String>, all: fn() -> Vec<T>) -> Result<Vec<T>, Failure> {
    name.map_or_else(|| Ok(all()), |name| one(name).map(|row| vec![row]).map_err(Failure::usage))
}

/// Rows, and what no column of a terminal has room for.
struct List {
    figures: Figures,
    /// Of each row its name, its title and its source.
    said: Vec<[String; 3]>,
}

fn print(list: &List, format: Format) {
    match format {
        Format::Table | Format::Markdown => {
            put(&short(list).render(format));
            put("\n");
            for [name, title, source] in &list.said {
                put(&note(&format!("{name}: {title} ({source})")));
                if format == Format::Markdown {
                    put("\n");
                }
            }
        }
        Format::Csv | Format::Json => put(&list.figures.render(format)),
    }
}

/// Without the columns of long texts.
fn short(list: &List) -> Figures {
    let kept: Vec<usize> =
        (0..list.figures.columns.len()).filter(|index| !["title", "source"].contains(&list.figures.columns[*index].key)).collect();
    Figures {
        columns: kept.iter().map(|index| list.figures.columns[*index]).collect(),
        rows: list.figures.rows.iter().map(|row| kept.iter().map(|index| row[*index].clone()).collect()).collect(),
    }
}

fn everything(format: Format) -> Result<(), Failure> {
    let lists = [("devices", Kind::Devices), ("links", Kind::Links), ("nodes", Kind::Nodes)];
    match format {
        Format::Json => {
            let of = |kind: Kind| Ok::<_, Failure>(kind.list(None)?.figures.objects());
            let page =
                json!({"schema": "nomoat.profiles/1", "devices": of(Kind::Devices)?, "links": of(Kind::Links)?, "nodes": of(Kind::Nodes)?});
            line(&page.to_string());
        }
        Format::Table => {
            for (index, (name, kind)) in lists.into_iter().enumerate() {
                put(if index == 0 { "" } else { "\n" });
                put(&format!("{name}:\n\n{}", short(&kind.list(None)?).render(format)));
            }
            put("\n");
            put(&note(
                "Peaks are dense. – is a figure that nobody states. datasheet: read in its maker's pages; second_hand: read in another's that \
                 repeats them; measured: by the measurement that its source names; recalled: from memory, not checked. `nomoat profiles \
                 devices`, `links` and `nodes` print titles and sources too; a file of your own works wherever a name does.",
            ));
        }
        Format::Markdown | Format::Csv => {
            return Err(Failure::usage("--format csv and markdown hold one kind: `nomoat profiles devices`, `links` or `nodes`"));
        }
    }
    Ok(())
}

const fn number(key: &'static str, header: &'static str) -> Figure {
    Figure { key, header, number: true }
}

const fn words(key: &'static str, header: &'static str) -> Figure {
    Figure { key, header, number: false }
}

/// A figure as somebody wrote it: with the digits it has.
fn written(value: Option<f64>) -> Cell {
    Cell::number(value, |value| value.to_string())
}

const WHOSE: [Figure; 4] = [words("evidence", "by"), words("date", "date"), words("title", "title"), words("source", "source")];

fn whose(evidence: Evidence, date: &str, title: &str, source: &str) -> [Cell; 4] {
    [Cell::word(evidence.word()), Cell::word(date), Cell::word(title), Cell::word(source)]
}

fn of_devices(all: &[Device]) -> List {
    let own = [
        words("name", "device"),
        number("memory_gib", "GiB"),
        number("bandwidth_gb_s", "GB/s"),
        number("bf16_tflops", "bf16 TFLOP/s"),
        number("fp8_tflops", "fp8 TFLOP/s"),
        number("fp4_tflops", "fp4 TFLOP/s"),
        number("power_w", "W"),
    ];
    let row = |device: &Device| {
        let figures = [device.memory_gib, device.bandwidth_gb_s, device.bf16_tflops, device.fp8_tflops, device.fp4_tflops, device.power_w];
        let cells = std::iter::once(Cell::word(device.name.as_str())).chain(figures.map(written));
        cells.chain(whose(device.evidence, &device.date, &device.title, &device.source)).collect()
    };
    List {
        figures: Figures { columns: [&own[..], &WHOSE].concat(), rows: all.iter().map(row).collect() },
        said: all.iter().map(|of| [of.name.clone(), of.title.clone(), of.source.clone()]).collect(),
    }
}

fn of_links(all: &[Link]) -> List {
    let own = [words("name", "link"), number("gbit_s", "Gbit/s"), number("gb_s", "GB/s"), number("latency_us", "latency µs")];
    let row = |link: &Link| {
        let bytes = Cell::number(Some(link.bytes_per_s() / 1e9), |n| match n {
            n if n < 1.0 => format!("{n:.5}"),
            n if n < 100.0 => format!("{n:.2}"),
            n => format!("{n:.1}"),
        });
        let cells = [Cell::word(link.name.as_str()), written(Some(link.gbit_s)), bytes, written(link.latency_us)];
        cells.into_iter().chain(whose(link.evidence, &link.date, &link.title, &link.source)).collect()
    };
    List {
        figures: Figures { columns: [&own[..], &WHOSE].concat(), rows: all.iter().map(row).collect() },
        said: all.iter().map(|of| [of.name.clone(), of.title.clone(), of.source.clone()]).collect(),
    }
}

fn of_nodes(all: &[Node]) -> List {
    let own = [words("name", "node"), number("memory_gib", "GiB"), number("bandwidth_gb_s", "GB/s"), number("power_w", "W")];
    let row = |node: &Node| {
        let cells = [Cell::word(node.name.as_str()), written(Some(node.memory_gib)), written(node.bandwidth_gb_s), written(node.power_w)];
        cells.into_iter().chain(whose(node.evidence, &node.date, &node.title, &node.source)).collect()
    };
    List {
        figures: Figures { columns: [&own[..], &WHOSE].concat(), rows: all.iter().map(row).collect() },
        said: all.iter().map(|of| [of.name.clone(), of.title.clone(), of.source.clone()]).collect(),
    }
}

fn checked(args: &CheckArgs) -> Result<Exit, Failure> {
    let mut faults = 0;
    for path in &args.files {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("reading {shown}: {e}; give a file of profiles")))?;
        let checked = check(&text);
        let [devices, links, nodes] = checked.right;
        line(&format!("{shown}: {devices} device(s), {links} link(s), {nodes} node(s) are right"));
        for fault in &checked.faults {
            line(&format!("{shown}: {fault}"));
        }
        faults += checked.faults.len();
    }
    match faults {
        0 => Ok(Exit::Ok),
        n => Err(Failure::usage(format!("{n} fault(s) in profiles; each is named above"))),
    }
}
