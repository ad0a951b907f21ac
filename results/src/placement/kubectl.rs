//! What `kubectl get -o json` prints: a list of pods, nodes, and the groups of KAI and Grove.

use super::{Gang, Member, Placement, PlacementError, Read, seen};
use serde_json::Value;
use std::collections::BTreeMap;

/// The scheduler of a pod that names none.
const DEFAULT: &str = "default-scheduler";
/// On a pod of KAI: the name of its PodGroup.
const KAI_GROUP: &str = "pod-group-name";
/// On a pod of Grove: the name of its PodGang.
const GROVE_GANG: &str = "grove.io/podgang";
/// On a pod of Grove: the name of its PodCliqueSet.
const GROVE_SET: &str = "app.kubernetes.io/part-of";

/// The labels that tell what a node's GPUs are.
const PRODUCTS: [&str; 2] = ["nvidia.com/gpu.product", "amd.com/gpu.product-name"];
/// What a container asks for GPUs by.
const GPUS: [&str; 3] = ["nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915"];
/// Names of labels that tell a place, whatever stands before their slash.
const PLACES: [&str; 8] = ["zone", "region", "rack", "block", "spine", "datacenter", "nvl-rack", "gpu.clique"];

/// Namespace and name.
type Key = (String, String);
/// The kind of a gang and its name.
type Named = (&'static str, Key);

/// All that pages tell of a cluster.
#[derive(Default)]
pub struct Cluster {
    pods: Vec<Pod>,
    nodes: BTreeMap<String, Node>,
    /// The least number of members by kind and name; `None` where the group does not say.
    groups: BTreeMap<Named, Option<Read<u32>>>,
    /// The same of Grove's sets, which have it from their cliques.
    sets: BTreeMap<Key, Option<Read<u32>>>,
    /// The gangs that name their pods, by pod.
    listed: BTreeMap<Key, String>,
}

struct Pod {
    key: Key,
    page: String,
    scheduler: String,
    node: Option<String>,
    gpus: Option<u32>,
    kai_group: Option<String>,
    grove_gang: Option<String>,
    grove_set: Option<String>,
}

#[derive(Default)]
struct Node {
    product: Option<Read<String>>,
    topology: BTreeMap<String, Read<String>>,
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn number(value: &Value, pointer: &str) -> Option<u32> {
    value.pointer(pointer).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok())
}

fn mapped<'a>(value: &'a Value, part: &str, key: &str) -> Option<&'a str> {
    value.pointer(part)?.get(key)?.as_str().filter(|text| !text.is_empty())
}

fn key(object: &Value) -> Key {
    (text(object, "/metadata/namespace").unwrap_or("default").to_owned(), text(object, "/metadata/name").unwrap_or_default().to_owned())
}

impl Cluster {
    /// Takes what a page tells.
    ///
    /// # Errors
    /// Nothing of it is known here.
    pub fn take(&mut self, page: &str, value: &Value) -> Result<(), PlacementError> {
        let unknown = |what: String| PlacementError::Unknown { page: page.to_owned(), what };
        let items: Vec<&Value> = match value.get("items").and_then(Value::as_array) {
            Some(items) => items.iter().collect(),
            None if value.get("kind").is_some() => vec![value],
            None => return Err(unknown("JSON without `items`, `kind` or `jobs`".into())),
        };
        let (mut known, mut others) = (0, vec![]);
        for item in items {
            let kind = text(item, "/kind").unwrap_or("no kind");
            let group = text(item, "/apiVersion").and_then(|version| version.split_once('/')).map_or("", |(group, _)| group);
            match (group, kind) {
                ("", "Pod") => self.pods.extend(pod(page, item)),
                ("", "Node") => {
                    self.nodes.insert(key(item).1, node(page, item));
                }
                ("scheduling.run.ai", "PodGroup") => {
                    let minimum = kai_minimum(item).map(|n| seen(page, &format!("PodGroup {}", key(item).1), n));
                    self.groups.insert(("PodGroup", key(item)), minimum);
                }
                ("scheduler.grove.io", "PodGang") => self.gang(page, item),
                ("grove.io", "PodCliqueSet" | "PodGangSet") => {
                    let minimum = set_minimum(item).map(|n| seen(page, &format!("{kind} {}", key(item).1), n));
                    self.sets.insert(key(item), minimum);
                }
                // Parts of the above, which tell nothing more.
                ("grove.io", "PodClique" | "PodCliqueScalingGroup") => {}
                _ => {
                    others.push(if group.is_empty() { kind.to_owned() } else { format!("{kind} of {group}") });
                    continue;
                }
            }
            known += 1;
        }
        others.sort();
        others.dedup();
        match (known, others.is_empty()) {
            (0, true) => Err(unknown("an empty list".into())),
            (0, false) => Err(unknown(format!("nothing but {}", others.join(", ")))),
            _ => Ok(()),
        }
    }

    fn gang(&mut self, page: &str, item: &Value) {
        let name = key(item);
        let groups = list(item, "/spec/podgroups");
        let minimum: Option<u32> = groups.iter().map(|group| number(group, "/minReplicas")).sum();
        let minimum = minimum.filter(|_| !groups.is_empty()).map(|n| seen(page, &format!("PodGang {}", name.1), n));
        for pod in groups.iter().flat_map(|group| list(group, "/podReferences")) {
            let of = text(pod, "/namespace").unwrap_or(&name.0).to_owned();
            self.listed.insert((of, text(pod, "/name").unwrap_or_default().to_owned()), name.1.clone());
        }
        self.groups.insert(("PodGang", name), minimum);
    }

    /// The pods, by what placed them together.
    pub fn placements(mut self) -> Vec<Placement> {
        let mut placed: BTreeMap<(String, Option<Named>), Placement> = BTreeMap::new();
        self.pods.sort_by(|a, b| a.key.cmp(&b.key));
        // A page may be given twice, or two that overlap.
        self.pods.dedup_by(|a, b| a.key == b.key);
        for pod in &self.pods {
            let object = format!("Pod {}", pod.key.1);
            // A PodGang is the whole; KAI's PodGroup is how that scheduler hears of it.
            let gang = (pod.grove_gang.as_ref().or(self.listed.get(&pod.key)).map(|name| ("PodGang", name)))
                .or(pod.kai_group.as_ref().map(|name| ("PodGroup", name)))
                .map(|(kind, name)| (kind, (pod.key.0.clone(), name.clone())));
            let place = placed.entry((pod.scheduler.clone(), gang.clone())).or_insert_with(|| Placement {
                scheduler: seen(&pod.page, &object, pod.scheduler.clone()),
                gang: gang.map(|(kind, name)| {
                    let said = self.groups.get(&(kind, name.clone())).cloned();
                    let set = || pod.grove_set.as_ref().and_then(|set| self.sets.get(&(pod.key.0.clone(), set.clone())).cloned());
                    Gang {
                        kind: kind.into(),
                        name: seen(&pod.page, &object, name.1.clone()),
                        minimum: said.or_else(|| (kind == "PodGang").then(set).flatten()).flatten(),
                    }
                }),
                members: vec![],
            });
            let node = pod.node.as_ref().and_then(|name| self.nodes.get(name));
            place.members.push(Member {
                name: seen(&pod.page, &object, pod.key.1.clone()),
                node: pod.node.clone().map(|name| seen(&pod.page, &object, name)),
                gpus: pod.gpus.map(|n| seen(&pod.page, &object, n)),
                gpu_product: node.filter(|_| pod.gpus.is_some()).and_then(|node| node.product.clone()),
                topology: node.map(|node| node.topology.clone()).unwrap_or_default(),
            });
        }
        placed.into_values().collect()
    }
}

/// A pod, unless it has ended.
fn pod(page: &str, item: &Value) -> Option<Pod> {
    if matches!(text(item, "/status/phase"), Some("Succeeded" | "Failed")) {
        return None;
    }
    let containers = list(item, "/spec/containers");
    let asked = containers.iter().filter_map(|container| {
        // Kubernetes holds the two equal for devices, where both are given.
        let of = |what: &str| container.pointer(what).and_then(|map| GPUS.iter().find_map(|name| quantity(map.get(*name)?)));
        of("/resources/limits").or_else(|| of("/resources/requests"))
    });
    let gpus: u32 = asked.sum();
    Some(Pod {
        key: key(item),
        page: page.to_owned(),
        scheduler: text(item, "/spec/schedulerName").unwrap_or(DEFAULT).to_owned(),
        node: text(item, "/spec/nodeName").map(str::to_owned),
        gpus: (gpus > 0).then_some(gpus),
        kai_group: mapped(item, "/metadata/annotations", KAI_GROUP).map(str::to_owned),
        grove_gang: mapped(item, "/metadata/labels", GROVE_GANG).map(str::to_owned),
        grove_set: mapped(item, "/metadata/labels", GROVE_SET).map(str::to_owned),
    })
}

/// A number of devices, which is written as a text.
fn quantity(value: &Value) -> Option<u32> {
    value.as_str().map_or_else(|| value.as_u64().and_then(|n| u32::try_from(n).ok()), |text| text.parse().ok())
}

fn node(page: &str, item: &Value) -> Node {
    let labels = item.pointer("/metadata/labels").and_then(Value::as_object);
    let object = format!("Node {}", key(item).1);
    let told = |(name, value): (&String, &Value)| Some((name.clone(), seen(page, &object, value.as_str()?.to_owned())));
    let is_place = |name: &str| {
        let (prefix, last) = name.rsplit_once('/').unwrap_or(("", name));
        prefix.split('.').any(|part| part == "topology") || last.contains("topology") || PLACES.contains(&last)
    };
    Node {
        product: PRODUCTS.iter().find_map(|name| Some(seen(page, &object, labels?.get(*name)?.as_str()?.to_owned()))),
        topology: labels.into_iter().flatten().filter(|(name, _)| is_place(name)).filter_map(told).collect(),
    }
}

/// The least members of a PodGroup of KAI. With subgroups it is the sum of those that hold pods; where a part of the subgroups is enough
/// (`minSubGroup`) the pods of the least part are not known from it.
fn kai_minimum(item: &Value) -> Option<u32> {
    let groups = list(item, "/spec/subGroups");
    if groups.is_empty() {
        return number(item, "/spec/minMember");
    }
    if item.pointer("/spec/minSubGroup").is_some() || groups.iter().any(|group| group.get("minSubGroup").is_some()) {
        return None;
    }
    let is_parent =
        |group: &&Value| groups.iter().any(|other| text(other, "/parent").is_some() && text(other, "/parent") == text(group, "/name"));
    groups.iter().filter(|group| !is_parent(group)).map(|group| number(group, "/minMember")).sum()
}

/// The least members of one replica of a set of cliques, where none of them scale together.
fn set_minimum(item: &Value) -> Option<u32> {
    let cliques = list(item, "/spec/template/cliques");
    if cliques.is_empty() || !list(item, "/spec/template/podCliqueScalingGroups").is_empty() {
        return None;
    }
    cliques.iter().map(|clique| number(clique, "/spec/minAvailable").or_else(|| number(clique, "/spec/replicas"))).sum()
}
