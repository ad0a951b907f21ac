//! The K largest of many scores, as a set: a histogram of the leading bits finds the bound, a second pass takes what lies above it.

use crate::dims::Dims;
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Scores of a task.
const TASK: usize = 1 << 15;
/// Leading bits of the first histogram: sign, exponent and three bits of the fraction.
const BITS: u32 = 12;

/// `top-k`: scores\[B,L\], scratch that is not used, picks\[B,K\]; −1 where there are fewer scores than K.
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [scores, .., picks] = operands else { unreachable!("three operands") };
    let (len, most) = (dims.get("L"), dims.get("K"));
    let rows = picks.i32_mut().par_chunks_mut(most).zip(scores.f32().par_chunks(len));
    pool.install(|| rows.for_each(|(picks, scores)| largest(scores, picks)));
}

/// Integers in the order of the singles.
#[inline(always)]
fn key(score: f32) -> u32 {
    let bits = score.to_bits();
    bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000)
}

fn largest(scores: &[f32], picks: &mut [i32]) {
    let wanted = picks.len();
    if scores.len() <= wanted {
        picks.iter_mut().enumerate().for_each(|(at, pick)| *pick = if at < scores.len() { at as i32 } else { -1 });
        return;
    }
    let counts = scores.par_chunks(TASK).map(count).reduce_with(|mut sum, counts| {
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        sum
    });
    let Some(counts) = counts else { return };
    // The bin in which the last of the wanted lies, and how many lie above it.
    let (mut bin, mut above) = (counts.len() - 1, 0);
    while above + (counts[bin] as usize) < wanted {
        above += counts[bin] as usize;
        bin -= 1;
    }
    let bound = (bin as u32) << (32 - BITS);
    let taken: Vec<Vec<(u32, u32)>> =
        scores.par_chunks(TASK).enumerate().map(|(task, scores)| take(scores, bound, (task * TASK) as u32)).collect();
    let mut candidates: Vec<(u32, u32)> = taken.concat();
    // What is left is little more than what is wanted.
    if candidates.len() > wanted {
        candidates.select_nth_unstable_by(wanted, |a, b| b.cmp(a));
    }
    picks.iter_mut().zip(candidates).for_each(|(pick, (_, at))| *pick = at as i32);
}

/// How many scores have each value of the leading bits.
fn count(scores: &[f32]) -> Vec<u32> {
    // Four tables: equal neighbours would wait for each other's sum.
    let mut tables = vec![[0_u32; 4]; 1 << BITS];
    let (fours, rest) = scores.as_chunks::<4>();
    for four in fours {
        for (table, score) in four.iter().enumerate() {
            tables[(key(*score) >> (32 - BITS)) as usize][table] += 1;
        }
    }
    rest.iter().for_each(|score| tables[(key(*score) >> (32 - BITS)) as usize][0] += 1);
    tables.into_iter().map(|counts| counts.iter().sum()).collect()
}

/// Keys from the bound on, with their places.
fn take(scores: &[f32], bound: u32, first: u32) -> Vec<(u32, u32)> {
    let mut taken = vec![];
    for (at, sixteen) in scores.chunks(16).enumerate() {
        // Mostly none of them is: that is decided for all at once.
        if sixteen.iter().fold(0, |most, score| most.max(key(*score))) >= bound {
            let place = first + at as u32 * 16;
            let keys = sixteen.iter().enumerate().map(|(lane, score)| (key(*score), place + lane as u32));
            taken.extend(keys.filter(|(key, _)| *key >= bound));
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::testing::*;

    fn check(scores: Host, b: usize, k: usize) {
        let len = scores.f32().len() / b;
        let dims = Dims::new(Dtype::F32, &[("B", b), ("L", len), ("K", k)]);
        let mut operands = [scores, poison(Dtype::I32, 1), poison(Dtype::I32, b * k)];
        for threads in 1..=3 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            native(&dims, &mut operands, &pool);
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
        }
    }

    #[test]
    fn the_largest_are_found_with_ties_and_without() {
        for (b, len, k) in [(1, 1, 1), (3, 40, 7), (2, 1000, 999), (2, 30, 40), (1, 100_000, 2048), (1, 20, 20)] {
            check(singles(b * len, 5), b, k);
        }
        let mut equal = singles(5000, 1);
        equal.f32_mut().fill(-0.25);
        check(equal, 1, 100);
        let mut edges = singles(64, 1);
        edges.f32_mut()[3] = f32::INFINITY;
        edges.f32_mut()[9] = f32::NEG_INFINITY;
        edges.f32_mut()[10] = -0.0;
        check(edges, 2, 31);
    }
}
