//! How an engine is brought to a cold state and back, as data: the `[cold_start]` table of its description.

use super::sign::Sign;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The actions an engine knows, by name: `sleep:1`, `lora`, `load`. A name with a colon is that action alone; one without takes what
/// follows a colon as its argument.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct ColdStartSpec {
    actions: BTreeMap<String, ActionSpec>,
}

/// One way to a cold state and back. Texts may hold `{model}`, `{arg}` (what follows the colon) and `{path}` (what follows a `=` in
/// that, else the same as `{arg}`).
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionSpec {
    /// Calls that bring it to the cold state.
    pub cool: Vec<CallSpec>,
    /// What shows that it is there. Without it the state is believed, and reports say so.
    #[serde(default)]
    pub cold: Option<Sign>,
    /// Calls that bring it back; none where the first request does.
    #[serde(default)]
    pub warm: Vec<CallSpec>,
    /// What shows that it is back.
    #[serde(default)]
    pub warmed: Option<Sign>,
    /// The model that requests ask for, where it is not the run's own.
    #[serde(default)]
    pub model: Option<String>,
    /// What the engine must have been started with.
    #[serde(default)]
    pub needs: Option<String>,
}

/// One control call.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallSpec {
    /// The route, from the server's root.
    pub post: String,
    /// The JSON body.
    #[serde(default)]
    pub body: Option<Value>,
    /// Whether an answer that is an error stops everything. Where it does not, the state alone decides.
    #[serde(default = "yes")]
    pub must: bool,
}

fn yes() -> bool {
    true
}

impl ColdStartSpec {
    /// Reads a `[cold_start]` table; an empty one knows no action.
    ///
    /// # Errors
    /// Which key is wrong.
    pub fn read(table: &toml::Table) -> Result<Self, String> {
        table.clone().try_into().map_err(|e: toml::de::Error| format!("[cold_start]: {}", e.message()))
    }

    /// The names of its actions, as they are given on the command line.
    pub fn names(&self) -> Vec<String> {
        self.actions.iter().map(|(name, spec)| if spec.takes_argument() { format!("{name}:NAME") } else { name.clone() }).collect()
    }

    /// The action that `asked` names, with its texts filled in for `model`.
    ///
    /// # Errors
    /// Whether it has no such action, or the action lacks its argument.
    pub fn action(&self, asked: &str, model: &str) -> Result<ActionSpec, NoAction> {
        if let Some(spec) = self.actions.get(asked) {
            return if spec.takes_argument() { Err(NoAction::Argument(asked.to_owned())) } else { spec.filled("", model) };
        }
        let (name, argument) = asked.split_once(':').ok_or(NoAction::Unknown)?;
        match self.actions.get(name) {
            Some(spec) if spec.takes_argument() && !argument.is_empty() => spec.filled(argument, model),
            Some(spec) if spec.takes_argument() => Err(NoAction::Argument(name.to_owned())),
            _ => Err(NoAction::Unknown),
        }
    }
}

/// Why there is no such action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoAction {
    /// The engine has none of this name.
    Unknown,
    /// The action of this name needs an argument.
    Argument(String),
    /// A text of the description cannot be filled in.
    Text(String),
}

impl ActionSpec {
    fn takes_argument(&self) -> bool {
        let text = format!("{self:?}");
        text.contains("{arg}") || text.contains("{path}")
    }

    fn filled(&self, argument: &str, model: &str) -> Result<Self, NoAction> {
        let (name, path) = argument.split_once('=').unwrap_or((argument, argument));
        let fill =
            |text: &str| -> Result<String, String> { Ok(text.replace("{model}", model).replace("{arg}", name).replace("{path}", path)) };
        let calls = |calls: &[CallSpec]| calls.iter().map(|call| call.filled(&fill)).collect::<Result<Vec<_>, _>>();
        let sign = |sign: &Option<Sign>| sign.as_ref().map(|s| s.filled(fill)).transpose();
        let all = || -> Result<Self, String> {
            Ok(Self {
                cool: calls(&self.cool)?,
                cold: sign(&self.cold)?,
                warm: calls(&self.warm)?,
                warmed: sign(&self.warmed)?,
                model: self.model.as_deref().map(fill).transpose()?,
                needs: self.needs.clone(),
            })
        };
        all().map_err(NoAction::Text)
    }
}

impl CallSpec {
    fn filled(&self, fill: &impl Fn(&str) -> Result<String, String>) -> Result<Self, String> {
        Ok(Self { post: fill(&self.post)?, body: self.body.as_ref().map(|b| filled(b, fill)).transpose()?, must: self.must })
    }
}

/// A JSON value with its texts filled in: values, not its spelling, so that a name with a quote in it stays a name.
fn filled(value: &Value, fill: &impl Fn(&str) -> Result<String, String>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(fill(text)?),
        Value::Array(list) => Value::Array(list.iter().map(|v| filled(v, fill)).collect::<Result<_, _>>()?),
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| Ok((k.clone(), filled(v, fill)?))).collect::<Result<_, String>>()?),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        ["sleep:1"]
        cool = [{ post = "/sleep?level=1" }]
        cold = { get = "/is_sleeping", json = "/is_sleeping", is = "true" }
        warm = [{ post = "/wake_up" }]
        [lora]
        cool = [{ post = "/v1/unload_lora_adapter", body = { lora_name = "{arg}" }, must = false }]
        cold = { get = "/v1/models", json = "/data/*/id", lacks = "{arg}" }
        warm = [{ post = "/v1/load_lora_adapter", body = { lora_name = "{arg}", lora_path = "{path}" } }]
        model = "{arg}"
        [load]
        cool = [{ post = "/models/unload", body = { model = "{model}" } }]
    "#;

    fn spec() -> ColdStartSpec {
        ColdStartSpec::read(&TABLE.parse().unwrap()).unwrap()
    }

    #[test]
    fn actions_are_found_by_name() {
        assert_eq!(spec().names(), ["load", "lora:NAME", "sleep:1"]);
        assert_eq!(spec().action("sleep:1", "m").unwrap().warm[0].post, "/wake_up");
        let lora = spec().action("lora:a\"b=/adapters/a", "m").unwrap();
        assert_eq!(lora.warm[0].body, Some(serde_json::json!({"lora_name": "a\"b", "lora_path": "/adapters/a"})));
        assert_eq!(lora.model.as_deref(), Some("a\"b"));
        assert_eq!(lora.cold.unwrap().lacks.as_deref(), Some("a\"b"));
        assert!(!lora.cool[0].must && lora.warm[0].must);
        let load = spec().action("load", "m").unwrap();
        assert_eq!((load.cool[0].body.clone(), load.warm.len()), (Some(serde_json::json!({"model": "m"})), 0));
    }

    #[test]
    fn and_others_are_not() {
        for asked in ["sleep:2", "sleep", "load:x", "nap", ""] {
            assert_eq!(spec().action(asked, "m"), Err(NoAction::Unknown), "{asked}");
        }
        for asked in ["lora", "lora:"] {
            assert_eq!(spec().action(asked, "m"), Err(NoAction::Argument("lora".into())), "{asked}");
        }
        assert_eq!(ColdStartSpec::read(&toml::Table::new()).unwrap().names(), Vec::<String>::new());
        let error = ColdStartSpec::read(&"[load]\ncool = []\nhot = 1".parse().unwrap()).unwrap_err();
        assert!(error.contains("[cold_start]") && error.contains("hot"), "{error}");
    }
}
