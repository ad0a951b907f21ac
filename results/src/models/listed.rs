//! Lists with an entry for each layer: how long they are, and whose entries beyond the model's own layers are.
//!
//! transformers refuses a list of another length than `num_hidden_layers`, but some published ones are longer: those of DeepSeek-V4 and
//! Step-3.5 go on with the layers for speculative decoding. Nothing else explains a difference, and whichever of the two numbers were
//! taken would be a wrong figure.

use super::config::count;
use super::keys::Keys;

/// Keys that say how many layers there are for speculative decoding, and the number; the first is what a model's own are called.
pub(super) fn speculative(keys: Keys<'_>) -> Result<Vec<(&'static str, u32)>, String> {
    let mut found = vec![];
    for key in ["num_nextn_predict_layers", "mtp_num_hidden_layers"] {
        found.extend(keys.get(key)?.filter(|n| *n > 0).map(|n| (key, n)));
    }
    // The drafting module of DeepSeek-V4-Flash-0731 has a layer for each layer of the model that it listens to.
    let listens = keys.list("dspark_target_layer_ids")?.map_or(0, |ids| u32::try_from(ids.len()).unwrap_or(u32::MAX));
    found.extend((listens > 0).then_some(("dspark_target_layer_ids", listens)));
    Ok(found)
}

/// The entries of the model's own layers: all of `list`, or without those of its layers for speculative decoding. Where nobody says how many
/// layers there are, the list does.
///
/// # Errors
/// It is longer or shorter than that.
pub(super) fn own<'a, T>(keys: Keys<'_>, key: &str, list: &'a [T]) -> Result<&'a [T], String> {
    let Some(layers) = layers(keys)? else { return Ok(list) };
    let more = speculative(keys)?;
    match list.len().checked_sub(layers) {
        Some(0) => Ok(list),
        Some(beyond) if more.iter().any(|(_, n)| *n as usize == beyond) => Ok(&list[..layers]),
        _ => Err(wrong(key, list.len(), layers, &more)),
    }
}

/// That a pattern of `entries` has one for each of the model's own layers: those for speculative decoding have a pattern of their own.
///
/// # Errors
/// It has not.
pub(super) fn exactly(keys: Keys<'_>, key: &str, entries: usize) -> Result<(), String> {
    match layers(keys)? {
        Some(layers) if layers != entries => Err(wrong(key, entries, layers, &[])),
        _ => Ok(()),
    }
}

fn layers(keys: Keys<'_>) -> Result<Option<usize>, String> {
    let key = "num_hidden_layers";
    Ok(if keys.has(key) { Some(count(keys, key)? as usize) } else { None })
}

fn wrong(key: &str, entries: usize, layers: usize, more: &[(&str, u32)]) -> String {
    let and: String = more
        .iter()
        .map(|(key, n)| match *key {
            "dspark_target_layer_ids" => format!(" and {n} `{key}`"),
            key => format!(" and `{key}` = {n}"),
        })
        .collect();
    format!(
        "has {entries} entries in `{key}`, but `num_hidden_layers` = {layers}{and}: each layer needs one; give the config.json as its model \
         was published, or correct the one that was changed"
    )
}
