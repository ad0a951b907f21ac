//! The scheduler alone: who is computed when, who waits, who gives way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use nomoat_local::pool::{Block, BlockPool, blocks_for};
use nomoat_local::scheduler::{Ask, END_OF_ANSWER, Limits, Produced, Refusal, Scheduler, SequenceId};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

const LIMITS: Limits = Limits { batch_tokens: 8, running: 4, context: 256, pool_blocks: 8, vocab: 100 };

fn ask(prompt: usize, max_tokens: u32) -> Ask {
    Ask { prompt: vec![1; prompt], max_tokens, exact: true }
}

/// A step as text: `sequence:tokens` in the order of the batch, `*` where a token comes out, `-n` preempted, `| used blocks`.
fn step(scheduler: &mut Scheduler, pool: &mut BlockPool) -> String {
    let plan = scheduler.plan(pool);
    let name = |index: usize| scheduler.running()[index].id().0;
    let mut text: Vec<String> =
        plan.slices.iter().map(|slice| format!("{}:{}{}", name(slice.index), slice.count, if slice.samples { "*" } else { "" })).collect();
    if plan.preempted > 0 {
        text.push(format!("-{}", plan.preempted));
    }
    text.push(format!("| {}", pool.used()));
    let sampled = vec![7; plan.slices.iter().filter(|slice| slice.samples).count()];
    scheduler.commit(pool, &plan, &sampled, &mut vec![]);
    text.join(" ")
}

fn check(limits: Limits, asks: &[(usize, u32)], expect: &[&str]) {
    let (mut scheduler, mut pool) = (Scheduler::new(limits), BlockPool::new(limits.pool_blocks as u32, 1));
    for (prompt, max_tokens) in asks {
        scheduler.submit(ask(*prompt, *max_tokens)).unwrap();
    }
    let steps: Vec<String> = expect.iter().map(|_| step(&mut scheduler, &mut pool)).collect();
    assert_eq!(steps, expect, "{asks:?}");
}

#[test]
fn prompts_are_chunked_to_the_budget_and_decoding_comes_first() {
    // One prompt longer than the budget.
    check(LIMITS, &[(20, 2)], &["0:8 | 2", "0:8 | 2", "0:4* | 2", "0:1* | 2", "| 0"]);
    // What is left of a step goes to the next in line; a decoding sequence takes one token before anybody's prompt.
    check(LIMITS, &[(5, 3), (10, 1)], &["0:5* 1:3 | 2", "0:1* 1:7* | 2", "0:1* | 1", "| 0"]);
    // A prompt whose last chunk is one token is no different.
    check(LIMITS, &[(9, 1), (1, 1)], &["0:8 | 1", "0:1* 1:1* | 2", "| 0"]);
}

#[test]
fn admission_is_by_seats_and_by_blocks_in_order() {
    let limits = |running, pool_blocks| Limits { batch_tokens: 64, running, pool_blocks, ..LIMITS };
    // Two seats: the third waits for one.
    check(limits(2, 8), &[(2, 1), (2, 2), (2, 1)], &["0:2* 1:2* | 2", "1:1* 2:2* | 2", "| 0"]);
    // All blocks of the prompt plus one to grow into: the second needs 2 + 1 of the 2 that are left.
    check(limits(4, 4), &[(20, 2), (20, 1), (1, 1)], &["0:20* | 2", "0:1* | 2", "1:20* 2:1* | 3", "| 0"]);
    // Alone, the last block may be taken.
    check(limits(4, 2), &[(20, 1), (20, 1)], &["0:20* | 2", "1:20* | 2", "| 0"]);
    // The first in line is not overtaken by one that would fit.
    check(limits(4, 4), &[(20, 2), (60, 1), (1, 1)], &["0:20* | 2", "0:1* | 2", "1:60* | 4", "2:1* | 1", "| 0"]);
}

#[test]
fn the_newest_gives_way_and_is_computed_again() {
    let limits = Limits { batch_tokens: 64, pool_blocks: 3, ..LIMITS };
    check(
        limits,
        &[(15, 4), (15, 3), (2, 1)],
        &[
            "0:15* 1:15* | 2", // 2 of 3 blocks; the third request needs one, and one to spare
            "0:1* 1:1* | 2",
            "0:1* -1 | 2", // 0 takes the last block, 1 has none to grow into and goes
            "0:1* | 2",    // 1 needs 2 now, and one to spare
            "1:17* | 2",   // the prompt and what it had generated in one go, before the newer
            "2:2* | 1",
            "| 0",
        ],
    );
    // An older sequence without a block takes it from the newest; the one between stays.
    let limits = Limits { batch_tokens: 64, pool_blocks: 4, ..LIMITS };
    check(limits, &[(16, 3), (3, 9), (3, 9)], &["0:16* 1:3* 2:3* | 3", "0:1* 1:1* 2:1* | 4", "0:1* 1:1* 2:1* | 4", "1:1* 2:1* | 2"]);
}

#[test]
fn what_can_never_run_is_refused() {
    let limits = Limits { context: 100, pool_blocks: 4, ..LIMITS };
    for (prompt, max_tokens, expect) in [
        (1, 1, Ok(())),
        (0, 1, Err(Refusal::NoPrompt)),
        (1, 0, Err(Refusal::NoAnswer)),
        (60, 5, Ok(())), // 65 tokens, of which the last is never computed: 4 blocks
        (60, 6, Err(Refusal::Pool { blocks: 5, pool: 4 })),
        (99, 2, Err(Refusal::Context { tokens: 101, context: 100 })),
        (1, u32::MAX, Err(Refusal::Context { tokens: 1 + u32::MAX as usize, context: 100 })),
    ] {
        assert_eq!(Scheduler::new(limits).submit(ask(prompt, max_tokens)).map(|_| ()), expect, "{prompt} {max_tokens}");
    }
    let strange = Ask { prompt: vec![99, 100], max_tokens: 1, exact: true };
    assert_eq!(Scheduler::new(limits).submit(strange), Err(Refusal::Vocabulary { id: 100, vocab: 100 }));
}

#[test]
fn a_cap_ends_at_the_end_token_and_an_exact_length_does_not() {
    use nomoat_core::record::FinishReason::{Length, Stop};
    for (exact, finishes) in [(true, vec![None, None, Some(Length)]), (false, vec![None, Some(Stop)])] {
        let (mut scheduler, mut pool) = (Scheduler::new(LIMITS), BlockPool::new(8, 1));
        scheduler.submit(Ask { exact, ..ask(3, 3) }).unwrap();
        let mut produced: Vec<Produced> = vec![];
        for token in [7, END_OF_ANSWER, 7] {
            let plan = scheduler.plan(&mut pool);
            let sampled = vec![token; plan.slices.len()];
            scheduler.commit(&mut pool, &plan, &sampled, &mut produced);
        }
        assert_eq!(produced.iter().map(|one| one.finish).collect::<Vec<_>>(), finishes);
        assert!(scheduler.is_idle() && pool.used() == 0);
    }
}

#[test]
fn prompt_tokens_are_counted_once_whatever_is_computed_again() {
    let limits = Limits { batch_tokens: 10, pool_blocks: 3, ..LIMITS };
    let (mut scheduler, mut pool) = (Scheduler::new(limits), BlockPool::new(3, 1));
    for (prompt, max_tokens) in [(15, 6), (15, 6), (15, 6)] {
        scheduler.submit(ask(prompt, max_tokens)).unwrap();
    }
    let (mut counted, mut computed, mut preempted) = (0, 0, 0);
    while !scheduler.is_idle() {
        let plan = scheduler.plan(&mut pool);
        let sampled = vec![7; plan.slices.iter().filter(|slice| slice.samples).count()];
        computed += plan.slices.iter().map(|slice| slice.count).sum::<usize>();
        preempted += plan.preempted;
        counted += scheduler.commit(&mut pool, &plan, &sampled, &mut vec![]);
    }
    assert!(preempted > 0 && computed > 3 * 20, "{preempted} preempted, {computed} computed");
    assert_eq!(counted, 45);
}

#[derive(Clone, Debug)]
enum Event {
    Submit { prompt: usize, max_tokens: u32, exact: bool },
    Cancel(usize),
    Step { token: u32 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..70_usize, 1..40_u32, any::<bool>()).prop_map(|(prompt, max_tokens, exact)| Event::Submit { prompt, max_tokens, exact }),
        (0..20_usize).prop_map(Event::Cancel),
        (0..5_u32).prop_map(|token| Event::Step { token }),
        (1..5_u32).prop_map(|token| Event::Step { token }),
    ]
}

/// What must hold between any two calls.
fn invariants(scheduler: &Scheduler, pool: &BlockPool) {
    let owned: Vec<usize> = scheduler.running().iter().flat_map(|s| s.table().iter().map(Block::index)).collect();
    assert_eq!(owned.iter().collect::<HashSet<_>>().len(), owned.len(), "no block is owned twice");
    assert_eq!(owned.len(), pool.used(), "what is out is owned by who runs");
    assert_eq!(pool.used() + pool.free(), pool.capacity());
    assert!(scheduler.running().len() <= scheduler.limits().running);
    assert!(scheduler.running().is_sorted_by_key(nomoat_local::scheduler::Sequence::id), "oldest first");
    for sequence in scheduler.running() {
        let blocks = sequence.table().len();
        assert!((blocks_for(sequence.computed())..=blocks_for(sequence.tokens().len())).contains(&blocks), "{sequence:?}");
    }
}

proptest! {
    #[test]
    fn any_history_keeps_the_account_and_ends(
        batch_tokens in 4..40_usize,
        running in 1..5_usize,
        pool_blocks in 2..12_usize,
        events in prop::collection::vec(event(), 1..120),
    ) {
        let limits = Limits { batch_tokens, running, pool_blocks, context: 100, vocab: 10 };
        let (mut scheduler, mut pool) = (Scheduler::new(limits), BlockPool::new(pool_blocks as u32, 64));
        let mut open: BTreeMap<SequenceId, (u32, u32)> = BTreeMap::new();
        // Enough steps after the last event for everything that was submitted, computed alone and token by token.
        let drain = (0..20_000).map(|_| Event::Step { token: 1 });
        for event in events.into_iter().chain(drain) {
            match event {
                Event::Submit { prompt, max_tokens, exact } => {
                    let fits = limits.check_size(prompt, max_tokens);
                    let submitted = scheduler.submit(Ask { prompt: vec![2; prompt], max_tokens, exact });
                    prop_assert_eq!(submitted.map(|_| ()), fits);
                    if let Ok(id) = submitted {
                        open.insert(id, (0, max_tokens));
                    }
                }
                Event::Cancel(nth) => {
                    if let Some(id) = open.keys().nth(nth).copied() {
                        prop_assert!(scheduler.cancel(id, &mut pool));
                        prop_assert!(!scheduler.cancel(id, &mut pool));
                        open.remove(&id);
                    }
                }
                Event::Step { token } => {
                    if scheduler.is_idle() {
                        continue;
                    }
                    let plan = scheduler.plan(&mut pool);
                    invariants(&scheduler, &pool);
                    let total: usize = plan.slices.iter().map(|slice| slice.count).sum();
                    prop_assert!(0 < total && total <= batch_tokens, "a busy step computes something within its budget");
                    for slice in &plan.slices {
                        let sequence = &scheduler.running()[slice.index];
                        prop_assert!(sequence.computed() + slice.count <= sequence.table().len() * 16);
                        prop_assert_eq!(slice.samples, sequence.computed() + slice.count == sequence.tokens().len());
                    }
                    let sampled = vec![token; plan.slices.iter().filter(|slice| slice.samples).count()];
                    let mut produced = vec![];
                    scheduler.commit(&mut pool, &plan, &sampled, &mut produced);
                    for one in produced {
                        let (got, wanted) = open.get_mut(&one.id).expect("only what is open produces");
                        *got += 1;
                        prop_assert!(one.finish.is_some() || *got < *wanted);
                        if one.finish.is_some() {
                            open.remove(&one.id);
                        }
                    }
                }
            }
            invariants(&scheduler, &pool);
        }
        prop_assert!(scheduler.is_idle() && open.is_empty(), "everything ends");
        prop_assert_eq!(pool.used(), 0);
    }
}
