//! An endpoint's list of models, and which of them to ask for.

use crate::control::Answer;
use crate::said::said;
use nomoat_core::backend::BackendError;
use serde_json::Value;

/// The model to ask for.
pub(crate) struct Chosen {
    pub name: String,
    /// Longest prompt plus answer, where the list tells.
    pub context_tokens: Option<u32>,
    pub notes: Vec<String>,
}

/// Whether an answer is a list of models with none in it: a server whose workers have not come yet.
pub(crate) fn lists_nothing(answer: &Answer) -> bool {
    let list = serde_json::from_slice::<Value>(&answer.body).ok();
    list.and_then(|v| v.get("data")?.as_array().map(Vec::is_empty)).unwrap_or(false)
}

/// Which model to ask for: the one that is `wanted`, else the only one in the list. `shown` is the endpoint, `keyed` whether it was
/// shown a key.
///
/// # Errors
/// The answer is no list, the model is not in it, or several are and none is wanted.
pub(crate) fn choose(answer: &Answer, wanted: Option<&str>, shown: &str, keyed: bool) -> Result<Chosen, BackendError> {
    let said = said(&answer.body);
    match answer.status {
        401 | 403 => {
            let hint = if keyed { "the key was not accepted; check --api-key-env" } else { "give --api-key-env NAME" };
            return Err(BackendError::Unreachable(format!("asking {shown} for its models: HTTP {}{said}; {hint}", answer.status)));
        }
        300..=399 => {
            let to = answer.head.location.as_deref().unwrap_or("somewhere else");
            return Err(BackendError::Unreachable(format!(
                "asking {shown} for its models: it redirects to {to}; give that address as --url"
            )));
        }
        _ => {}
    }
    let list: Option<Vec<Value>> = serde_json::from_slice::<Value>(&answer.body)
        .ok()
        .filter(|_| answer.status == 200)
        .and_then(|v| v.get("data")?.as_array().cloned());
    let Some(list) = list else {
        return match wanted {
            Some(model) => Ok(Chosen {
                name: model.to_owned(),
                context_tokens: None,
                notes: vec!["the endpoint does not list its models; --model was believed".into()],
            }),
            None => Err(BackendError::Unreachable(format!(
                "asking {shown} for its models: HTTP {}{said}, which is no list of models; is it an OpenAI-compatible endpoint? if it is, give --model NAME",
                answer.status
            ))),
        };
    };
    let id = |m: &Value| m.get("id").and_then(Value::as_str).map(str::to_owned);
    let names: Vec<String> = list.iter().filter_map(id).collect();
    let context = |m: &Value| {
        let n = m.get("max_model_len").or_else(|| m.pointer("/meta/n_ctx")).or_else(|| m.pointer("/meta/n_ctx_train"))?.as_u64()?;
        u32::try_from(n).ok()
    };
    let chosen = |name: &str, entry: &Value| Chosen { name: name.to_owned(), context_tokens: context(entry), notes: vec![] };
    let shown_names = || if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    match wanted {
        Some(model) => match list.iter().find(|m| id(m).as_deref() == Some(model)) {
            Some(entry) => Ok(chosen(model, entry)),
            None => Err(BackendError::Unreachable(format!("{shown} does not serve model `{model}`; it lists: {}", shown_names()))),
        },
        None => match (&list[..], &names[..]) {
            ([entry], [name]) => Ok(chosen(name, entry)),
            ([], _) => Err(BackendError::Unreachable(format!(
                "{shown} lists no model: nothing is served there yet; --wait-ready 600s waits for it"
            ))),
            _ => Err(BackendError::Config(format!("{shown} lists {} models; choose one with --model: {}", names.len(), shown_names()))),
        },
    }
}
