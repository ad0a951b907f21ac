//! What Slurm prints of jobs: `scontrol show job --json`, `squeue --json`, and the plain text of `scontrol show job`.

use super::{Gang, Member, Placement, PlacementError, seen};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most nodes that a list may name; Slurm's own bound.
const MOST_NODES: usize = 64 << 10;

/// A job, as either language tells it.
#[derive(Default)]
struct Job {
    id: String,
    state: String,
    /// The list of nodes as it is written; empty while the job waits.
    nodes: String,
    count: Option<u32>,
    /// What it has on each node, in the order of the list.
    per_node: Vec<String>,
    /// What it asked for on each.
    asked_per_node: String,
    /// What it has in all.
    in_all: String,
}

/// The jobs of a JSON page.
///
/// # Errors
/// A list of nodes that is not understood.
pub fn of_json(page: &str, value: &Value) -> Result<Vec<Placement>, PlacementError> {
    let jobs = value.get("jobs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let jobs = jobs.iter().map(|job| {
        let text = |name: &str| job.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        // Numbers are bare in older versions; newer ones say whether they are set.
        let number = |name: &str| {
            let found = job.get(name)?;
            let set = found.get("set").is_none_or(|set| set.as_bool() == Some(true));
            found.as_u64().or_else(|| found.get("number").filter(|_| set)?.as_u64())
        };
        let state = job.get("job_state").map_or(String::new(), |state| match state {
            Value::Array(states) => states.iter().find_map(Value::as_str).unwrap_or_default().to_owned(),
            other => other.as_str().unwrap_or_default().to_owned(),
        });
        let detail = job.get("gres_detail").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Job {
            id: number("job_id").map_or(String::new(), |id| id.to_string()),
            state,
            nodes: text("nodes"),
            count: number("node_count").and_then(|n| u32::try_from(n).ok()),
            per_node: detail.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            asked_per_node: text("tres_per_node"),
            in_all: text("tres_alloc_str"),
        }
    });
    jobs.filter(Job::is_there).map(|job| job.placement(page)).collect()
}

/// The jobs of a text, one after the other, in lines or in one line each.
///
/// # Errors
/// A job whose text ends too early, or a list of nodes that is not understood.
pub fn of_text(page: &str, text: &str) -> Result<Vec<Placement>, PlacementError> {
    let starts: Vec<usize> = text.match_indices("JobId=").map(|(at, _)| at).collect();
    let mut placements = vec![];
    for (i, from) in starts.iter().enumerate() {
        let part = &text[*from..starts.get(i + 1).copied().unwrap_or(text.len())];
        let (mut fields, mut per_node) = (BTreeMap::new(), vec![]);
        for line in part.lines() {
            let mut on = 0;
            for word in line.split_whitespace() {
                match word.split_once('=') {
                    // One line for all nodes that have the same.
                    Some(("Nodes", list)) => on = nodes(list).map_or(0, |list| list.len()),
                    Some(("GRES", gres)) => per_node.extend(std::iter::repeat_n(gres.to_owned(), on)),
                    Some((name, value)) => {
                        // A name may hold anything, so the first of a key counts.
                        fields.entry(name).or_insert(value);
                    }
                    None => {}
                }
            }
        }
        let field = |name: &str| fields.get(name).copied().filter(|value| !matches!(*value, "(null)" | "N/A")).unwrap_or_default();
        let id = field("JobId").to_owned();
        let Some((count, nodes)) = fields.get("NumNodes").zip(fields.get("NodeList")) else {
            return Err(PlacementError::CutOff { page: page.to_owned(), what: format!("job {id} has no NumNodes= or no NodeList=") });
        };
        let job = Job {
            state: field("JobState").to_owned(),
            nodes: if matches!(*nodes, "(null)" | "N/A") { String::new() } else { (*nodes).to_owned() },
            // While it waits it may be a range; its lower end is what must be there.
            count: count.split('-').next().and_then(|n| n.parse().ok()),
            per_node,
            asked_per_node: field("TresPerNode").to_owned(),
            in_all: [field("AllocTRES"), field("TRES")].into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned(),
            id,
        };
        if job.is_there() {
            placements.push(job.placement(page)?);
        }
    }
    Ok(placements)
}

impl Job {
    /// Whether it runs or waits.
    fn is_there(&self) -> bool {
        ["PENDING", "RUNNING", "CONFIGURING", "SUSPENDED", "RESIZING", "STOPPED"].iter().any(|state| self.state.starts_with(state))
    }

    fn placement(self, page: &str) -> Result<Placement, PlacementError> {
        let object = format!("job {}", self.id);
        let wrong = || PlacementError::Nodes { page: page.to_owned(), list: self.nodes.clone(), job: self.id.clone() };
        let nodes = nodes(&self.nodes).ok_or_else(wrong)?;
        let fits = self.per_node.len() == nodes.len();
        let alone = nodes.len() == 1;
        let member = |(i, node): (usize, &String)| {
            // What it has on this very node, else what it asked for on each, else, on a single one, what it has in all.
            let found = (self.per_node.get(i).filter(|_| fits).and_then(|text| gpus(text)))
                .or_else(|| gpus(&self.asked_per_node))
                .or_else(|| gpus(&self.in_all).filter(|_| alone));
            Member {
                name: seen(page, &object, format!("{}/{i}", self.id)),
                node: Some(seen(page, &object, node.clone())),
                gpus: found.as_ref().map(|(count, _)| seen(page, &object, *count)),
                gpu_product: found.and_then(|(_, kind)| kind).map(|kind| seen(page, &object, kind)),
                topology: BTreeMap::new(),
            }
        };
        Ok(Placement {
            scheduler: seen(page, &object, "slurm".into()),
            members: nodes.iter().enumerate().map(member).collect(),
            gang: Some(Gang {
                kind: "job".into(),
                name: seen(page, &object, self.id.clone()),
                minimum: self.count.filter(|n| *n > 0).map(|n| seen(page, &object, n)),
            }),
        })
    }
}

/// The GPUs in a list of resources, with their type where it has one: `gpu:h100:4(IDX:0-3)`, `gres/gpu:8`, `gres/gpu=8`,
/// `gres/gpu:h100=8`. Several types are several counts; no one name fits them.
fn gpus(text: &str) -> Option<(u32, Option<String>)> {
    let (mut plain, mut typed, mut kinds) = (None, 0, vec![]);
    for part in parts(text) {
        let part = part.split('(').next().unwrap_or_default().trim_start_matches("gres/").trim_start_matches("gres:");
        let Some(rest) = part.strip_prefix("gpu").filter(|rest| rest.is_empty() || rest.starts_with([':', '='])) else { continue };
        let words: Vec<&str> = rest.split([':', '=']).filter(|word| !word.is_empty()).collect();
        match words[..] {
            [] => plain = Some(1),
            [one] => match one.parse() {
                Ok(count) => plain = Some(count),
                // A type alone is one of it.
                Err(_) => (typed, kinds) = (typed + 1, [kinds, vec![one.to_owned()]].concat()),
            },
            [kind, count, ..] => {
                typed += count.parse().unwrap_or(0);
                kinds.push(kind.to_owned());
            }
        }
    }
    let count = plain.unwrap_or(0).max(typed);
    (count > 0).then(|| (count, if kinds.len() == 1 { kinds.pop() } else { None }))
}

/// The parts between commas that stand in no bracket.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut out) = (0_i32, 0, vec![]);
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    out.push(&text[from..]);
    out.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The nodes of a list such as `gpu[01-03,07],n1`; `None` where it is no such list.
fn nodes(list: &str) -> Option<Vec<String>> {
    let mut out = vec![];
    for part in parts(list) {
        let Some((before, rest)) = part.split_once('[') else {
            (!part.contains(']')).then(|| out.push(part.to_owned()))?;
            continue;
        };
        let (ranges, after) = rest.split_once(']')?;
        // Several brackets in one name are rare, and taken apart elsewhere.
        (!after.contains(['[', ']'])).then_some(())?;
        for range in ranges.split(',') {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
            (first <= last && last - first < MOST_NODES && out.len() + last - first < MOST_NODES).then_some(())?;
            out.extend((first..=last).map(|n| format!("{before}{n:0width$}{after}", width = from.len())));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_nodes() {
        let check = |list: &str, expect: Option<&[&str]>| {
            let expect = expect.map(|names| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
            assert_eq!(nodes(list), expect, "{list}");
        };
        check("", Some(&[]));
        check("n1", Some(&["n1"]));
        check("gpu[01-03,07],n1", Some(&["gpu01", "gpu02", "gpu03", "gpu07", "n1"]));
        check("r[9-11]-a", Some(&["r9-a", "r10-a", "r11-a"]));
        for list in ["n[1-", "n[1", "n]1", "n[a-b]", "n[3-1]", "n[1-2]x[1-2]", "n[0-99999999999]", "n[1,,2]", "n[]"] {
            check(list, None);
        }
    }

    #[test]
    fn resources() {
        let check = |text: &str, expect: Option<(u32, Option<&str>)>| {
            assert_eq!(gpus(text), expect.map(|(n, kind)| (n, kind.map(str::to_owned))), "{text}");
        };
        check("gpu:8(IDX:0-7)", Some((8, None)));
        check("gpu:h100:4(IDX:0,2-4)", Some((4, Some("h100"))));
        check("gres/gpu:h100:8", Some((8, Some("h100"))));
        check("gres:gpu:2", Some((2, None)));
        check("gres/gpu", Some((1, None)));
        check("gres/gpu:h100", Some((1, Some("h100"))));
        check("cpu=64,mem=1T,node=2,billing=64,gres/gpu=16,gres/gpu:h100=16", Some((16, Some("h100"))));
        check("gpu:a100:2(IDX:0-1),gpu:h100:1(IDX:2)", Some((3, None)));
        for text in ["", "cpu=64,mem=1T", "gpumem:4", "shard:2", "gpu:0"] {
            check(text, None);
        }
    }
}
