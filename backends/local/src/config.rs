//! What a user may choose about the engine, and what of it cannot work.

use crate::pool::BLOCK_TOKENS;
use crate::preset::Preset;
use nomoat_core::backend::BackendError;

/// Settings of the built-in engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalConfig {
    /// Name of the model's shape, one of [`crate::preset::PRESETS`].
    pub preset: String,
    /// Seed of the weights and of the prompts that are made from block identities.
    pub seed: u64,
    /// Engine threads; 1 to 64. More than one splits the rows of large matrix products and changes no bit of any result.
    pub threads: usize,
    /// Size of the KV pool in blocks of [`BLOCK_TOKENS`] tokens.
    pub pool_blocks: u32,
    /// Most tokens computed in one step, over all requests.
    pub max_batch_tokens: u32,
    /// Most requests that run at once; at most `max_batch_tokens`, so that each gets its next token in every step.
    pub max_running: u32,
}

impl Default for LocalConfig {
    /// The preset `tiny`, a pool of 32,768 tokens, and one thread unless there are more than two cores: the harness measures on
    /// the same host and must keep a core.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            preset: "tiny".into(),
            seed: 0,
            threads: if cores <= 2 { 1 } else { (cores / 2).min(4) },
            pool_blocks: 2048,
            max_batch_tokens: 256,
            max_running: 64,
        }
    }
}

impl LocalConfig {
    /// The preset, after a check of everything.
    ///
    /// # Errors
    /// [`BackendError::Config`] naming the setting that cannot work and the values that can.
    pub fn checked(&self) -> Result<&'static Preset, BackendError> {
        let preset = Preset::find(&self.preset).map_err(BackendError::Config)?;
        let range = |name: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(BackendError::Config(format!("{name} of the built-in engine is {value}; give {low} to {high}")))
        };
        // The upper bounds keep a slip of the keyboard from asking for more memory than a host has: 2²⁰ blocks of `tiny` are 64 GiB
        // of address space, of which only blocks in use are ever touched.
        range("threads", self.threads as u64, 1, 64)?;
        range("pool_blocks", self.pool_blocks.into(), 2, 1 << 20)?;
        range("max_batch_tokens", self.max_batch_tokens.into(), 1, 8192)?;
        range("max_running", self.max_running.into(), 1, self.max_batch_tokens.into())?;
        Ok(preset)
    }

    /// Most tokens that the pool can hold.
    pub fn pool_tokens(&self) -> u64 {
        u64::from(self.pool_blocks) * BLOCK_TOKENS as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        let base = LocalConfig::default();
        assert!(base.checked().is_ok());
        for (config, names) in [
            (LocalConfig { preset: "large".into(), ..base.clone() }, "`large`"),
            (LocalConfig { threads: 0, ..base.clone() }, "threads"),
            (LocalConfig { pool_blocks: 1, ..base.clone() }, "pool_blocks"),
            (LocalConfig { max_batch_tokens: 0, ..base.clone() }, "max_batch_tokens"),
            (LocalConfig { max_running: 257, ..base.clone() }, "max_running"),
            (LocalConfig { max_running: 0, ..base.clone() }, "max_running"),
        ] {
            let Err(BackendError::Config(message)) = config.checked() else { panic!("{config:?} was accepted") };
            assert!(message.contains(names), "{message}");
        }
    }
}
