//! The K largest of many scores, as a set: a sample guesses a bound, one pass takes what reaches it, and of that the largest are chosen.

use super::simd::{Isa, Simd, Work};
use crate::dims::Dims;
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Scores of a task.
const TASK: usize = 1 << 14;
/// Scores that the bound is guessed from.
const SAMPLE: usize = 4096;
/// Scores that are looked at together.
const GROUP: usize = 32;

/// `top-k`: scores\[B,L\] (no NaN), scratch that is not used, picks\[B,K\]; −1 where there are fewer scores than K.
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    run(Isa::detect(), dims, operands, pool);
}

fn run(isa: Isa, dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [scores, .., picks] = operands else { unreachable!("three operands") };
    let (len, most) = (dims.get("L"), dims.get("K"));
    let rows = picks.i32_mut().par_chunks_mut(most).zip(scores.f32().par_chunks(len));
    pool.install(|| rows.for_each(|(picks, scores)| largest(isa, scores, picks)));
}

/// A score and its place, in the order of scores.
type Candidate = (u32, u32);

/// Integers in the order of the singles.
#[inline(always)]
fn key(score: f32) -> u32 {
    let bits = score.to_bits();
    bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000)
}

fn largest(isa: Isa, scores: &[f32], picks: &mut [i32]) {
    let wanted = picks.len();
    if scores.len() <= wanted {
        picks.iter_mut().enumerate().for_each(|(at, pick)| *pick = if at < scores.len() { at as i32 } else { -1 });
        return;
    }
    let reaching = |bound: f32| -> Vec<Candidate> {
        let tasks = scores.par_chunks(TASK).enumerate();
        tasks.map(|(task, scores)| isa.run(Take { scores, bound, first: (task * TASK) as u32 })).collect::<Vec<_>>().concat()
    };
    let mut candidates = reaching(guess(scores, wanted));
    if candidates.len() < wanted {
        // The sample was not like the rest: no harm but to the time.
        candidates = reaching(f32::NEG_INFINITY);
    }
    if candidates.len() > wanted {
        candidates.select_nth_unstable_by(wanted, |a, b| b.cmp(a));
    }
    picks.iter_mut().zip(candidates).for_each(|(pick, (_, at))| *pick = at as i32);
}

/// A bound that most likely a few more than `wanted` scores reach.
fn guess(scores: &[f32], wanted: usize) -> f32 {
    let stride = scores.len().div_ceil(SAMPLE);
    let mut sample: Vec<f32> = scores.iter().step_by(stride).copied().collect();
    let expected = (wanted * sample.len()) as f64 / scores.len() as f64;
    // Four standard deviations of the number of a sample that are among the wanted.
    let rank = (expected + 4.0 * expected.sqrt() + 4.0) as usize;
    if rank >= sample.len() {
        return f32::NEG_INFINITY;
    }
    *sample.select_nth_unstable_by(rank, |a, b| b.total_cmp(a)).1
}

/// What of some scores reaches the bound.
struct Take<'a> {
    scores: &'a [f32],
    bound: f32,
    /// The place of the first.
    first: u32,
}

impl Work for Take<'_> {
    type Out = Vec<Candidate>;

    #[inline(always)]
    fn run<S: Simd>(self) -> Vec<Candidate> {
        let Self { scores, bound, first } = self;
        let mut taken = vec![];
        let mut at = 0;
        while at < scores.len() {
            let group = &scores[at..scores.len().min(at + GROUP)];
            if group.len() < GROUP || any::<S>(group, bound) {
                // Every score is written and only those that reach the bound are kept: no branch to guess.
                let (mut room, mut count) = ([(0, 0); GROUP + 1], 0);
                for (lane, score) in group.iter().enumerate() {
                    room[count] = (key(*score), first + (at + lane) as u32);
                    count += usize::from(*score >= bound);
                }
                taken.extend_from_slice(&room[..count]);
            }
            at += GROUP;
        }
        taken
    }
}

/// Whether any of a whole group reaches the bound.
#[inline(always)]
fn any<S: Simd>(group: &[f32], bound: f32) -> bool {
    let mut most = S::load(group);
    let mut at = S::LANES;
    while at < GROUP {
        most = S::max(most, S::load(&group[at..at + S::LANES]));
        at += S::LANES;
    }
    S::reaches(most, bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::testing::*;

    fn check(scores: Host, b: usize, k: usize) {
        let len = scores.f32().len() / b;
        let dims = Dims::new(Dtype::F32, &[("B", b), ("L", len), ("K", k)]);
        let operands = [scores, poison(Dtype::I32, 1), poison(Dtype::I32, b * k)];
        let operands = std::cell::RefCell::new(operands);
        everywhere(|isa, pool| {
            let mut operands = operands.borrow_mut();
            run(isa, &dims, &mut *operands, pool);
            for (scores, picks) in operands[0].f32().chunks(len).zip(operands[2].i32().chunks(k)) {
                let mut all = scores.to_vec();
                all.sort_by(|a, b| b.total_cmp(a));
                all.truncate(k);
                let mut places: Vec<i32> = picks.iter().copied().filter(|pick| *pick >= 0).collect();
                let mut got: Vec<f32> = places.iter().map(|place| scores[*place as usize]).collect();
                got.sort_by(|a, b| b.total_cmp(a));
                assert_eq!(got, all, "{dims}");
                places.sort_unstable();
                places.dedup();
                assert_eq!(places.len(), k.min(len), "{dims}");
            }
        });
    }

    #[test]
    fn the_largest_are_found_with_ties_and_without() {
        for (b, len, k) in [(1, 1, 1), (3, 40, 7), (2, 1000, 999), (2, 30, 40), (1, 100_000, 2048), (1, 20, 20)] {
            check(singles(b * len, 5), b, k);
        }
        let mut equal = singles(5000, 1);
        equal.f32_mut().fill(-0.25);
        check(equal, 1, 100);
        // The sample sees only the least: the guess is far too low, or far too high.
        let mut striped = singles(50_000, 1);
        striped.f32_mut().iter_mut().enumerate().for_each(|(at, score)| *score += if at % 13 == 0 { 5.0 } else { 0.0 });
        check(striped, 1, 4000);
        let mut edges = singles(64, 1);
        edges.f32_mut()[3] = f32::INFINITY;
        edges.f32_mut()[9] = f32::NEG_INFINITY;
        edges.f32_mut()[10] = -0.0;
        check(edges, 2, 31);
    }
}
