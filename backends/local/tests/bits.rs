//! The whole engine, bit for bit: whatever shares a batch, however a prompt is cut, whoever was preempted, logits are the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use nomoat_local::LocalConfig;
use nomoat_local::engine::Engine;
use nomoat_local::kernels::Kernel;
use nomoat_local::scheduler::Ask;
use std::collections::{HashMap, HashSet};

fn config() -> LocalConfig {
    LocalConfig { preset: "micro".into(), seed: 3, threads: 1, pool_blocks: 64, max_batch_tokens: 256, max_running: 8 }
}

fn engine(config: &LocalConfig, kernel: Kernel) -> Engine {
    Engine::new(config, kernel, || ()).unwrap()
}

fn asks() -> Vec<Ask> {
    of_sizes(&[(1, 20), (15, 30), (16, 3), (40, 25), (70, 40), (33, 1), (90, 12)])
}

/// Requests of (prompt, answer) tokens.
fn of_sizes(sizes: &[(usize, u32)]) -> Vec<Ask> {
    let prompt = |seed: usize, n: usize| (0..n).map(|i| (16 + (i * i + seed * 29 + i * seed) % 128) as u32).collect();
    sizes.iter().enumerate().map(|(seed, (n, max_tokens))| Ask { prompt: prompt(seed, *n), max_tokens: *max_tokens, exact: true }).collect()
}

/// Tokens and logits of one answer.
type Answer = Vec<(u32, Vec<f32>)>;

/// Runs `asks` together, and gives their answers and how often one was preempted.
fn run(engine: &mut Engine, asks: &[Ask]) -> (Vec<Answer>, u32) {
    let ids: Vec<_> = asks.iter().map(|ask| engine.submit(ask.clone()).unwrap()).collect();
    let mut answers: HashMap<_, Answer> = ids.iter().map(|id| (*id, vec![])).collect();
    let mut preempted = 0;
    while !engine.is_idle() {
        preempted += engine.step().preempted;
        for (one, logits) in engine.produced().iter().zip(engine.logits()) {
            answers.get_mut(&one.id).unwrap().push((one.token, logits.to_vec()));
        }
    }
    assert_eq!(engine.pool().used_blocks, 0);
    (ids.iter().map(|id| answers.remove(id).unwrap()).collect(), preempted)
}

fn alone(kernel: Kernel, asks: &[Ask]) -> Vec<Answer> {
    let mut engine = engine(&config(), kernel);
    asks.iter().map(|ask| run(&mut engine, std::slice::from_ref(ask)).0.remove(0)).collect()
}

#[test]
fn answers_are_finite_varied_and_as_long_as_asked() {
    for kernel in Kernel::available() {
        let alone = alone(kernel, &asks());
        for (ask, answer) in asks().iter().zip(&alone) {
            assert_eq!(answer.len(), ask.max_tokens as usize);
            assert!(answer.iter().all(|(_, logits)| logits.len() == 144 && logits.iter().all(|x| x.is_finite())));
        }
        let tokens: HashSet<u32> = alone.iter().flatten().map(|(token, _)| *token).collect();
        assert!(tokens.len() > 40, "{} different tokens in 131", tokens.len());
        let longest: HashSet<u32> = alone[4].iter().map(|(token, _)| *token).collect();
        assert!(longest.len() > 10, "{} different tokens in an answer of 40", longest.len());
    }
}

#[test]
fn batched_equals_alone() {
    for kernel in Kernel::available() {
        assert_eq!(run(&mut engine(&config(), kernel), &asks()), (alone(kernel, &asks()), 0), "{}", kernel.name());
    }
}

#[test]
fn chunked_prefill_equals_whole() {
    for kernel in Kernel::available() {
        let alone = alone(kernel, &asks());
        for (max_batch_tokens, max_running) in [(1, 1), (2, 2), (3, 1), (7, 7), (16, 4), (17, 8), (100, 3)] {
            let config = LocalConfig { max_batch_tokens, max_running, ..config() };
            let answers = run(&mut engine(&config, kernel), &asks()).0;
            assert!(answers == alone, "{} with {max_batch_tokens} tokens a step", kernel.name());
        }
    }
}

#[test]
fn preempted_and_resumed_equals_uninterrupted() {
    let asks = of_sizes(&[(14, 60), (3, 50), (30, 40), (70, 9), (16, 33), (1, 70), (40, 2), (5, 5)]);
    for kernel in Kernel::available() {
        let alone = alone(kernel, &asks);
        for (pool_blocks, max_batch_tokens) in [(6, 256), (7, 8), (9, 33)] {
            let config = LocalConfig { pool_blocks, max_batch_tokens, ..config() };
            let (answers, preempted) = run(&mut engine(&config, kernel), &asks);
            assert!(preempted > 0, "{pool_blocks} blocks are too many for this test");
            assert!(answers == alone, "{} with {pool_blocks} blocks", kernel.name());
        }
    }
}

#[test]
fn a_seed_and_a_prompt_fix_an_answer_and_another_of_either_changes_it() {
    let kernel = Kernel::detect();
    let first = |seed: u64, ask: &Ask| {
        let config = LocalConfig { seed, ..config() };
        run(&mut engine(&config, kernel), std::slice::from_ref(ask)).0.remove(0).iter().map(|(token, _)| *token).collect::<Vec<_>>()
    };
    let asks = asks();
    let longer = Ask { prompt: [&asks[1].prompt[..], &[99]].concat(), ..asks[1].clone() };
    assert_eq!(first(3, &asks[1]), first(3, &asks[1]));
    assert_ne!(first(3, &asks[1]), first(4, &asks[1]));
    assert_ne!(first(3, &asks[1]), first(3, &longer));
}

/// After every step the pool's bytes are those of the formula, summed over the live sequences.
#[test]
fn pool_bytes_equal_the_formula() {
    let mut engine = engine(&LocalConfig { max_batch_tokens: 2048, ..config() }, Kernel::detect());
    let geometry = engine.preset().geometry();
    for ask in asks() {
        engine.submit(ask).unwrap();
    }
    let mut peak = 0;
    while !engine.is_idle() {
        engine.step();
        let formula: f64 = engine.scheduler().running().iter().map(|s| geometry.bytes_in_blocks(s.computed() as u64, 16)).sum();
        let pool = engine.pool();
        assert_eq!(pool.used_bytes() as f64, formula);
        assert_eq!(pool.used_bytes(), pool.used_blocks * 16 * engine.preset().kv_bytes_per_token());
        peak = peak.max(pool.used_bytes());
    }
    // Blocks of what ended in a step were in use during it.
    assert!(engine.pool().peak_bytes() >= peak && peak > 0);
    assert_eq!(engine.pool().capacity_bytes() as f64, geometry.bytes_in_blocks(64 * 16, 16));
}

#[test]
fn cancelling_frees_every_block() {
    let mut engine = engine(&LocalConfig { pool_blocks: 9, max_batch_tokens: 16, ..config() }, Kernel::detect());
    for after in 0..12 {
        let ids: Vec<_> = asks().into_iter().map(|ask| engine.submit(ask).unwrap()).collect();
        for _ in 0..after {
            engine.step();
        }
        for id in ids {
            engine.cancel(id);
        }
        assert!(engine.is_idle(), "after {after} steps");
        assert_eq!(engine.pool().used_blocks, 0, "after {after} steps");
    }
}
