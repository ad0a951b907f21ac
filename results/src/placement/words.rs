//! A placement in a line.

use super::{Member, Placement, Read};
use std::collections::BTreeSet;

/// A placement in a line, for reports: `placed by kai-scheduler: PodGroup decode (4 or none), …`.
pub fn line(placement: &Placement) -> String {
    let members = &placement.members;
    let gang = placement.gang.as_ref();
    let mut words = vec![];
    if let Some(gang) = gang {
        let least = gang.minimum.as_ref().map_or("the least of it unknown".into(), |n| format!("{} or none", n.value));
        words.push(format!("{} {} ({least})", gang.kind, gang.name.value));
    }
    let is_job = gang.is_some_and(|gang| gang.kind == "job");
    let nodes = distinct(members, |m| m.node.as_ref());
    if !is_job {
        words.push(counted(members.len(), "pod"));
    }
    words.push(match nodes.len() {
        0 => "on no node yet".into(),
        1..=4 => format!("on {}", joined(&nodes)),
        n => format!("on {n} nodes"),
    });
    let waiting = members.iter().filter(|m| m.node.is_none()).count();
    if waiting > 0 && !nodes.is_empty() {
        words.push(format!("{waiting} waiting"));
    }
    let gpus: u64 = members.iter().filter_map(|m| m.gpus.as_ref()).map(|n| u64::from(n.value)).sum();
    if gpus > 0 {
        let products = distinct(members, |m| m.gpu_product.as_ref());
        words.push(if products.is_empty() { format!("{gpus} GPUs") } else { format!("{gpus} GPUs ({})", joined(&products)) });
    }
    let labels: BTreeSet<&String> = members.iter().flat_map(|m| m.topology.keys()).collect();
    for label in labels {
        let values = distinct(members, |m| m.topology.get(label));
        let short = label.rsplit('/').next().unwrap_or(label);
        words.push(if values.len() > 4 { format!("{} of {short}", values.len()) } else { format!("{short} {}", joined(&values)) });
    }
    let pages: BTreeSet<&str> = reads(placement).filter_map(|read| read.split_once(": ")).map(|(page, _)| page).collect();
    let pages: Vec<&str> = pages.into_iter().collect();
    format!("placed by {}: {}; read from {}", placement.scheduler.value, words.join(", "), pages.join(", "))
}

fn distinct<'a>(members: &'a [Member], of: impl Fn(&'a Member) -> Option<&'a Read<String>>) -> BTreeSet<&'a str> {
    members.iter().filter_map(of).map(|read| read.value.as_str()).collect()
}

fn joined(values: &BTreeSet<&str>) -> String {
    values.iter().copied().collect::<Vec<_>>().join(" and ")
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Where each value was read.
fn reads(placement: &Placement) -> impl Iterator<Item = &str> {
    let gang = placement.gang.iter().flat_map(|g| [Some(&g.name.read), g.minimum.as_ref().map(|n| &n.read)]).flatten();
    let members = placement.members.iter().flat_map(|m| {
        let texts = [Some(&m.name), m.node.as_ref(), m.gpu_product.as_ref()].into_iter().flatten().map(|r| &r.read);
        texts.chain(m.gpus.as_ref().map(|r| &r.read)).chain(m.topology.values().map(|r| &r.read))
    });
    std::iter::once(&placement.scheduler.read).chain(gang).chain(members).map(String::as_str)
}
