//! All descriptions: those of this crate, then a user's folder, whose files replace by name.

use super::cold::ColdStartSpec;
use super::launch::LaunchSpec;
use super::look::{Look, Pages};
use super::spec::{EngineSpec, Kind};
use crate::metrics::Reader;
use crate::protocol;
use nomoat_core::suggest::nearest;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

include!(concat!(env!("OUT_DIR"), "/engines.rs"));

/// The description of an endpoint that shows no sign.
const GENERIC: &str = "openai-compatible";
/// The largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Why descriptions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A folder or a file of it cannot be read.
    #[error("reading {path}: {reason}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file is no description.
    #[error("{path}: {reason}")]
    Wrong {
        /// Which.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is none of this name.
    #[error("no engine is called `{name}`{hint}; `nomoat engine list` names all of them")]
    Unknown {
        /// The name.
        name: String,
        /// A name that is near.
        hint: String,
    },
}

/// Descriptions by name.
#[derive(Clone, Debug)]
pub struct Catalog {
    specs: Vec<Arc<EngineSpec>>,
}

impl Catalog {
    /// The descriptions of this crate, and over them those of `folder`.
    ///
    /// # Errors
    /// A file that cannot be read or is no description; it is named.
    pub fn load(folder: Option<&Path>) -> Result<Self, CatalogError> {
        let mut tables = BTreeMap::new();
        for (name, text) in EMBEDDED {
            tables.insert((*name).to_owned(), (format!("{name}.toml of this program"), table(&format!("{name}.toml"), text)?));
        }
        if let Some(folder) = folder {
            for path in files(folder)? {
                let shown = path.display().to_string();
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).map_err(|e| CatalogError::Read { path: shown.clone(), reason: e.to_string() })?;
                tables.insert(name, (shown.clone(), table(&shown, &text)?));
            }
        }
        let mut specs = vec![];
        for (name, (path, table)) in &tables {
            let wrong = |reason: String| CatalogError::Wrong { path: path.clone(), reason };
            let whole = extended(table, &tables).map_err(wrong)?;
            let spec: EngineSpec = whole.try_into().map_err(|e: toml::de::Error| wrong(e.message().to_owned()))?;
            check(name, &spec).map_err(wrong)?;
            specs.push(Arc::new(spec));
        }
        // The order in which they are asked.
        specs.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Ok(Self { specs })
    }

    /// All of them, the order in which an endpoint is asked for their signs.
    pub fn specs(&self) -> &[Arc<EngineSpec>] {
        &self.specs
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none; a name that is near is suggested.
    pub fn get(&self, name: &str) -> Result<Arc<EngineSpec>, CatalogError> {
        self.specs.iter().find(|s| s.name == name).cloned().ok_or_else(|| {
            let hint =
                nearest(name, self.specs.iter().map(|s| s.name.as_str())).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            CatalogError::Unknown { name: name.to_owned(), hint }
        })
    }

    /// Reads pages of metrics as any of them means it.
    pub fn reader(&self) -> Arc<Reader> {
        Arc::new(Reader::new(self.specs.iter().filter_map(|spec| spec.metrics.as_ref())))
    }

    /// The one whose sign is in the address itself: a hosted API's name, a proxy's path.
    pub fn by_address(&self, seen: &Pages) -> Option<Arc<EngineSpec>> {
        let in_address = |look: &Look| (look.host.is_some() || look.path.is_some()) && look.find(seen).is_some();
        self.specs.iter().find(|spec| spec.detect.iter().any(in_address)).cloned()
    }

    /// The one of endpoints that show no sign.
    pub fn generic(&self) -> Arc<EngineSpec> {
        self.get(GENERIC).expect("a file of this crate has this name, and a folder can replace but not remove it")
    }
}

fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>, CatalogError> {
    let read = |e: std::io::Error| CatalogError::Read { path: folder.display().to_string(), reason: e.to_string() };
    let mut files = vec![];
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let size = path.metadata().map_err(read)?.len();
            if size > MAX_FILE {
                let reason = format!("{size} bytes are no description of an engine; at most {MAX_FILE}");
                return Err(CatalogError::Wrong { path: path.display().to_string(), reason });
            }
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn table(path: &str, text: &str) -> Result<toml::Table, CatalogError> {
    text.parse().map_err(|e: toml::de::Error| CatalogError::Wrong { path: path.to_owned(), reason: e.to_string() })
}

/// A table with what it extends under it: a key that it has replaces the whole value.
fn extended(table: &toml::Table, all: &BTreeMap<String, (String, toml::Table)>) -> Result<toml::Table, String> {
    let mut chain = vec![table];
    while let Some(base) = chain[chain.len() - 1].get("extends") {
        let name = base.as_str().ok_or("`extends` is not a name")?;
        let (_, base) = all.get(name).ok_or_else(|| format!("it extends `{name}`, and there is no such description"))?;
        if chain.iter().any(|seen| std::ptr::eq(*seen, base)) {
            return Err(format!("it extends `{name}`, which extends it"));
        }
        chain.push(base);
    }
    let mut whole = toml::Table::new();
    for part in chain.iter().rev() {
        // The signs of what it is built on are not its own: it would be found wherever that is.
        whole.remove("detect");
        whole.extend((*part).clone());
    }
    Ok(whole)
}

fn check(name: &str, spec: &EngineSpec) -> Result<(), String> {
    LaunchSpec::read(&spec.launch)?;
    ColdStartSpec::read(&spec.cold_start)?;
    if spec.name != name {
        return Err(format!("`name` is `{}` and the file's name says `{name}`", spec.name));
    }
    if let Some(unknown) = spec.protocols.iter().find(|p| protocol::by_name(p).is_none()) {
        let known: Vec<_> = protocol::PROTOCOLS.iter().map(|p| p.name()).collect();
        return Err(format!("protocol `{unknown}` is none of {}", known.join(", ")));
    }
    if let Some(unknown) = spec.fields.keys().find(|p| !spec.protocols.contains(p)) {
        return Err(format!("it has fields of the dialect `{unknown}`, which is not among its protocols"));
    }
    if spec.protocols.is_empty() && spec.kind != Kind::Sidecar {
        return Err("it speaks no protocol".into());
    }
    let looks = spec.detect.iter().chain(&spec.version).chain(&spec.ready).chain(spec.fact.iter().map(|f| &f.look));
    if looks.into_iter().any(|look| !look.is_somewhere()) {
        return Err("a place to look at names none of host, path, metric, get".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn every_description_of_this_crate_is_whole() {
        let catalog = Catalog::load(None).unwrap();
        assert_eq!(catalog.specs().len(), EMBEDDED.len());
        for spec in catalog.specs() {
            assert!(!spec.title.is_empty(), "{}", spec.name);
            // What nobody can recognise must say that it is to be declared, or be a variant of what is recognised.
            let told = spec.extends.is_some() || spec.kind == Kind::Generic || spec.notes.iter().any(|n| n.contains("--engine"));
            assert!(!spec.detect.is_empty() || told, "{}", spec.name);
            // A version can only be told where there is a place for it; a hosted API has none.
            assert!(
                !spec.version.is_empty() || spec.kind == Kind::Hosted || spec.notes.iter().any(|n| n.contains("no version")),
                "{}",
                spec.name
            );
        }
        let kinds: Vec<Kind> = catalog.specs().iter().map(|s| s.kind).collect();
        assert!(kinds.is_sorted(), "the outward ones are asked first");
    }

    #[test]
    fn a_variant_has_what_it_does_not_replace_and_no_sign() {
        let catalog = Catalog::load(None).unwrap();
        let (base, variant) = (catalog.get("vllm").unwrap(), catalog.get("vllm-tpu").unwrap());
        assert_eq!((&variant.ready, &variant.version, variant.kind), (&base.ready, &base.version, base.kind));
        assert!(variant.detect.is_empty() && variant.notes != base.notes);
    }

    #[test]
    fn a_folder_adds_and_replaces() {
        let mine = "name = \"mine\"\ntitle = \"Mine\"\nextends = \"vllm\"\n[[detect]]\nmetric = \"mine_\"\n";
        let vllm = "name = \"vllm\"\ntitle = \"Ours\"\nkind = \"engine\"\nprotocols = [\"chat\"]\n";
        let folder = folder(&[("mine.toml", mine), ("vllm.toml", vllm), ("readme.md", "not a description")]);
        let catalog = Catalog::load(Some(folder.path())).unwrap();
        assert_eq!(catalog.get("vllm").unwrap().title, "Ours");
        assert_eq!(catalog.get("mine").unwrap().protocols, ["chat"]);
        assert_eq!(catalog.get("vllm-tpu").unwrap().protocols, ["chat"]);
        assert_eq!(catalog.specs().len(), EMBEDDED.len() + 1);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file() {
        let check = |text: &str, words: &[&str]| {
            let folder = folder(&[("x.toml", text)]);
            let error = Catalog::load(Some(folder.path())).unwrap_err().to_string();
            for word in words.iter().chain(&["x.toml"]) {
                assert!(error.contains(word), "`{word}` is not in: {error}");
            }
        };
        let head = "name = \"x\"\ntitle = \"X\"\nkind = \"engine\"\nprotocols = [\"chat\"]\n";
        check("name = ", &["1"]);
        check("name = \"x\"", &["title"]);
        check(&head.replace("\"x\"", "\"y\""), &["`y`", "says `x`"]);
        check(&head.replace("chat", "telepathy"), &["telepathy", "completions"]);
        check(&head.replace("[\"chat\"]", "[]"), &["no protocol"]);
        check(&head.replace("engine", "oracle"), &["oracle"]);
        check(&format!("{head}extends = \"nobody\"\n"), &["nobody"]);
        check(&format!("{head}extends = \"x\"\n"), &["extends it"]);
        check(&format!("{head}[fields.responses.length]\nleast = []\n"), &["responses"]);
        check(&format!("{head}colour = \"red\"\n"), &["colour"]);
        check(&format!("{head}[[detect]]\njson = \"/a\"\n"), &["host, path, metric, get"]);
        check(&format!("{head}[auth]\nheader = \"X\"\n"), &["scheme"]);
        check(&format!("{head}[launch]\nready = []\n"), &["[launch]", "`command` is missing"]);
        check(&format!("{head}[cold_start.nap]\nwarm = []\n"), &["[cold_start]", "cool"]);
        let missing = Catalog::load(Some(Path::new("/nonexistent/engines"))).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/engines"), "{missing}");
    }

    #[test]
    fn an_unknown_name_is_answered_by_a_near_one() {
        let error = Catalog::load(None).unwrap().get("vlm").unwrap_err().to_string();
        assert!(error.contains("`vlm`") && error.contains("`vllm`") && error.contains("engine list"), "{error}");
    }
}
