//! True counters of what the server does, and the Prometheus page that shows them under vLLM's names.

use crate::script::Script;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the whole server. Relaxed: a scrape is a snapshot of independent numbers.
#[derive(Debug, Default)]
pub struct Gauges {
    prompt_tokens: AtomicU64,
    generation_tokens: AtomicU64,
    running: AtomicU64,
    blocks: AtomicU64,
}

impl Gauges {
    /// The page of `GET /metrics`.
    pub fn page(&self, script: &Script) -> String {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Labels escape backslash, quote and line feed, which is also what JSON does to them.
        let model = serde_json::to_string(&script.model).expect("a text always serialises");
        let used = (load(&self.blocks) as f64 / f64::from(script.kv_blocks)).min(1.0);
        let rows = [
            (
                "prompt_tokens_total",
                "counter",
                "Prompt tokens of requests whose first token was written.",
                load(&self.prompt_tokens) as f64,
            ),
            ("generation_tokens_total", "counter", "Generated tokens written.", load(&self.generation_tokens) as f64),
            ("num_requests_running", "gauge", "Requests being answered.", load(&self.running) as f64),
            ("num_requests_waiting", "gauge", "Requests waiting: there is no queue here.", 0.0),
            ("kv_cache_usage_perc", "gauge", "Share of KV blocks held by running requests, 1 means all.", used),
        ];
        let mut page = String::new();
        for (name, kind, help, value) in rows {
            let _ = write!(
                page,
                "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}\nvllm:{name}{{engine=\"0\",model_name={model}}} {value:?}\n"
            );
        }
        let _ = write!(
            page,
            "# HELP vllm:cache_config_info Shape of the KV cache.\n# TYPE vllm:cache_config_info gauge\n\
             vllm:cache_config_info{{block_size=\"{}\",cache_dtype=\"auto\",engine=\"0\",num_gpu_blocks=\"{}\"}} 1.0\n",
            script.block_size, script.kv_blocks
        );
        page
    }
}

/// What one running request adds to the gauges; given back when it is dropped.
pub struct Running {
    gauges: Arc<Gauges>,
    block_size: u64,
    prompt: u64,
    generated: u64,
    blocks: u64,
}

impl Running {
    /// A request with so many prompt tokens begins: it counts as running, and its prompt holds blocks from now on.
    pub fn new(gauges: Arc<Gauges>, block_size: u32, prompt_tokens: u32) -> Self {
        gauges.running.fetch_add(1, Ordering::Relaxed);
        let mut running = Self { gauges, block_size: block_size.into(), prompt: prompt_tokens.into(), generated: 0, blocks: 0 };
        running.hold();
        running
    }

    /// So many more tokens were written.
    pub fn generated(&mut self, tokens: u32) {
        if self.generated == 0 {
            self.gauges.prompt_tokens.fetch_add(self.prompt, Ordering::Relaxed);
        }
        self.generated += u64::from(tokens);
        self.gauges.generation_tokens.fetch_add(tokens.into(), Ordering::Relaxed);
        self.hold();
    }

    fn hold(&mut self) {
        let blocks = (self.prompt + self.generated).div_ceil(self.block_size);
        self.gauges.blocks.fetch_add(blocks - self.blocks, Ordering::Relaxed);
        self.blocks = blocks;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gauges.running.fetch_sub(1, Ordering::Relaxed);
        self.gauges.blocks.fetch_sub(self.blocks, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_follows_the_requests() {
        let gauges = Arc::new(Gauges::default());
        let script = Script { block_size: 16, kv_blocks: 10, ..Script::default() };
        let check = |needles: [&str; 4]| {
            let page = gauges.page(&script);
            for needle in needles {
                assert!(page.lines().any(|line| line == needle), "{needle} in\n{page}");
            }
        };
        let label = |name: &str, value: &str| format!("vllm:{name}{{engine=\"0\",model_name=\"truth\"}} {value}");
        let rows = |p: &str, g: &str, r: &str, u: &str| {
            [
                label("prompt_tokens_total", p),
                label("generation_tokens_total", g),
                label("num_requests_running", r),
                label("kv_cache_usage_perc", u),
            ]
        };
        let all = |p, g, r, u| {
            let rows = rows(p, g, r, u);
            check([&rows[0], &rows[1], &rows[2], &rows[3]]);
        };
        all("0.0", "0.0", "0.0", "0.0");
        let mut running = Running::new(gauges.clone(), 16, 17);
        all("0.0", "0.0", "1.0", "0.2");
        running.generated(15);
        all("17.0", "15.0", "1.0", "0.2");
        running.generated(1);
        all("17.0", "16.0", "1.0", "0.3");
        let big = Running::new(gauges.clone(), 16, 10_000);
        all("17.0", "16.0", "2.0", "1.0");
        drop((running, big));
        all("17.0", "16.0", "0.0", "0.0");
        assert!(
            gauges
                .page(&script)
                .contains("cache_config_info{block_size=\"16\",cache_dtype=\"auto\",engine=\"0\",num_gpu_blocks=\"10\"} 1.0")
        );
    }
}
