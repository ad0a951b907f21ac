//! Decoding against the rows of a latent cache that were picked (the core of DSA after its top-k).

use super::latent::Latent;
use super::simd::Isa;
use crate::dims::Dims;
use crate::host::Host;
use rayon::ThreadPool;

/// `sparse-attention`: q\[B,H,R+ROPE\], cache rows of R+ROPE, picks\[B,K\] (−1: none), two that are not used, out\[B,H,R\].
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    run(Isa::detect(), dims, operands, pool);
}

fn run(isa: Isa, dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [q, cache, picks, .., out] = operands else { unreachable!("six operands") };
    let latent = Latent { heads: dims.get("H"), rank: dims.get("R"), rope: dims.get("ROPE") };
    latent.attend(isa, q.bf16(), cache.bf16(), &rows(picks.i32(), dims.get("K")), out.bf16_mut(), pool);
}

/// Rows picked by each sequence.
fn rows(picks: &[i32], most: usize) -> Vec<Vec<u32>> {
    picks.chunks(most).map(|picks| picks.iter().filter_map(|pick| u32::try_from(*pick).ok()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::latent::right;
    use crate::native::testing::*;

    #[test]
    fn agrees_with_attention_in_f64() {
        everywhere(|isa, pool| {
            for (heads, rank, rope, most) in [(1, 3, 2, 1), (6, 32, 8, 50), (65, 40, 7, 300)] {
                let dims = Dims::new(Dtype::Bf16, &[("B", 3), ("L", 400), ("K", most), ("H", heads), ("R", rank), ("ROPE", rope)]);
                // Strewn over the sequence's own rows; every fifth is none, and the last sequence has none at all.
                let pick = |at: usize| if at % 5 == 4 || at / most == 2 { -1 } else { (at / most * 400 + at % most * 171 % 400) as i32 };
                let picks: Vec<i32> = (0..3 * most).map(pick).collect();
                let row = rank + rope;
                let mut operands = [
                    halves(3 * heads * row, 1),
                    halves(3 * 400 * row, 2),
                    ints(&picks),
                    poison(Dtype::F32, 1),
                    poison(Dtype::F32, 1),
                    poison(Dtype::Bf16, 3 * heads * rank),
                ];
                run(isa, &dims, &mut operands, pool);
                let latent = Latent { heads, rank, rope };
                let right = right(latent, &numbers(&operands[0]), &numbers(&operands[1]), &rows(&picks, most));
                close(&format!("{isa:?} {dims}"), &numbers(&operands[5]), &right, 4e-3);
            }
        });
    }
}
