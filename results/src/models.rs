//! Shapes of models: published ones by name, anybody's from a `config.json`. A kind of layer nobody here knows is an error, never a guess.

mod config;
mod keys;
mod listed;
mod parameters;
mod uniform;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub use config::{Read, of_config};
pub use uniform::{layout, uniform};

use nomoat_core::footprint::{Embedding, Expanded, Experts, Indexer, Layer, Shape};
use nomoat_core::suggest::nearest;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

const PUBLISHED: &str = include_str!("../models/models.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    name: String,
    source: String,
    total: f64,
    active: f64,
    width: u32,
    embedding: Option<Rows>,
    experts: Option<Parts>,
    layers: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    parameters: f64,
    counted_active: bool,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    layers: u32,
    count: u32,
    chosen: u32,
    parameters: f64,
    rest: Option<f64>,
    source: String,
}

#[derive(Deserialize)]
struct Row {
    count: u32,
    #[serde(flatten)]
    layer: Kind,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    Attention { heads: u32, kv_heads: u32, key_dim: u32, value_dim: u32, window: Option<u32> },
    Latent { heads: u32, rank: u32, rope_dim: u32, indexer: Option<Chooser>, expanded: Option<Heads> },
    Compressed { heads: u32, dim: u32, rope_dim: u32, window: u32, ratio: u32, indexer: Option<Chooser> },
    State { heads: u32, value_dim: u32, state_dim: u32, conv_channels: u32, conv_width: u32, operations: u32 },
    Shift { width: u32, heads: u32, state_dim: u32, shift: u32 },
}

#[derive(Deserialize)]
struct Heads {
    key_dim: u32,
    value_dim: u32,
}

#[derive(Deserialize)]
struct Chooser {
    heads: u32,
    dim: u32,
    top_k: u32,
}

impl From<Chooser> for Indexer {
    fn from(Chooser { heads, dim, top_k }: Chooser) -> Self {
        Self { heads, dim, top_k }
    }
}

impl From<Kind> for Layer {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Attention { heads, kv_heads, key_dim, value_dim, window } => {
                Self::Attention { heads, kv_heads, key_dim, value_dim, window }
            }
            Kind::Latent { heads, rank, rope_dim, indexer, expanded } => Self::Latent {
                heads,
                rank,
                rope_dim,
                indexer: indexer.map(Indexer::from),
                expanded: expanded.map(|Heads { key_dim, value_dim }| Expanded { key_dim, value_dim }),
            },
            Kind::Compressed { heads, dim, rope_dim, window, ratio, indexer } => {
                Self::Compressed { heads, dim, rope_dim, window, ratio, indexer: indexer.map(Indexer::from) }
            }
            Kind::State { heads, value_dim, state_dim, conv_channels, conv_width, operations } => {
                Self::State { heads, value_dim, state_dim, conv_channels, conv_width, operations }
            }
            Kind::Shift { width, heads, state_dim, shift } => Self::Shift { width, heads, state_dim, shift },
        }
    }
}

/// A model: its name, its shape, and where that is from.
#[derive(Clone, PartialEq, Debug)]
pub struct Named {
    /// Its name, or the path of its configuration.
    pub name: String,
    /// Its layers that mix tokens, and its parameters.
    pub shape: Shape,
    /// Where the shape is from.
    pub source: String,
    /// What a reader of its figures should know: what its configuration says of types, and what is not counted.
    pub notes: Vec<String>,
}

/// All published ones.
///
/// # Panics
/// The shipped file does not read, which a test excludes.
pub fn published() -> Vec<Named> {
    let file: File = toml::from_str(PUBLISHED).expect("a test reads the shipped file");
    file.model.into_iter().map(named).collect()
}

fn named(model: Model) -> Named {
    let experts = model.experts.iter().map(|parts| format!("experts by {}", parts.source));
    let notes = experts.chain(model.embedding.iter().map(|rows| format!("input embedding by {}", rows.source))).collect();
    let embedding = model.embedding.map(|rows| Embedding {
        parameters: rows.parameters,
        row: f64::from(model.width),
        counted_active: rows.counted_active,
    });
    let experts = model.experts.map(|parts| Experts {
        layers: parts.layers,
        count: parts.count,
        chosen: parts.chosen,
        parameters: parts.parameters,
        rest: parts.rest,
    });
    Named {
        name: model.name,
        source: model.source,
        notes,
        shape: Shape {
            layers: model.layers.into_iter().map(|row| (row.count, row.layer.into())).collect(),
            active: Some(model.active),
            total: Some(model.total),
            width: Some(model.width),
            embedding,
            experts,
        },
    }
}

/// A published model by its name, or the model of a `config.json`.
///
/// # Errors
/// No model is called so, or its file lacks something, with what to give.
pub fn find(what: &str) -> Result<Named, String> {
    let path = Path::new(what);
    if path.extension().is_some_and(|ending| ending == "json") || path.exists() {
        let path = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|e| format!("reading {shown}: {e}; give a model's config.json"))?;
        let config: Value = serde_json::from_str(&text).map_err(|e| format!("reading {shown}: {e}; give a model's config.json"))?;
        let read = of_config(&config).map_err(|e| format!("{shown} {e}"))?;
        return Ok(Named { name: shown, shape: read.shape.clone(), source: "its config.json".into(), notes: read.notes() });
    }
    let mut all = published();
    match all.iter().position(|model| model.name == what.to_lowercase()) {
        Some(index) => Ok(all.swap_remove(index)),
        None => {
            let near = nearest(what, all.iter().map(|model| model.name.as_str())).unwrap_or_default().to_owned();
            Err(format!("no model is called `{what}` (`{near}` is the nearest); give a config.json, or one of `nomoat kv`"))
        }
    }
}
