//! Decoding against a paged cache of latent rows, all of them.

use super::latent::Latent;
use super::simd::Isa;
use crate::dims::Dims;
use crate::host::Host;
use rayon::ThreadPool;

/// `decode-mla`: q\[B,H,R+ROPE\], cache\[pages,PAGE,R+ROPE\], table\[B,pages of one\], lens\[B\], two that are not used, out\[B,H,R\].
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    run(Isa::detect(), dims, operands, pool);
}

fn run(isa: Isa, dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [q, cache, table, lens, .., out] = operands else { unreachable!("seven operands") };
    let page = dims.get("PAGE");
    let latent = Latent { heads: dims.get("H"), rank: dims.get("R"), rope: dims.get("ROPE") };
    let lists = rows(table.i32(), lens.i32(), page);
    latent.attend(isa, q.bf16(), cache.bf16(), &lists, out.bf16_mut(), pool);
}

/// Rows of the cache that hold the tokens of each sequence, in order.
fn rows(table: &[i32], lens: &[i32], page: usize) -> Vec<Vec<u32>> {
    let across = table.len() / lens.len().max(1);
    let row = |sequence: usize, token: usize| table[sequence * across + token / page] as u32 * page as u32 + (token % page) as u32;
    lens.iter().enumerate().map(|(sequence, len)| (0..*len as usize).map(|token| row(sequence, token)).collect()).collect()
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
            for (heads, rank, rope, page, lens) in
                [(1, 3, 2, 4, [1, 0]), (5, 24, 9, 8, [31, 70]), (16, 64, 16, 64, [0, 0]), (70, 40, 8, 16, [500, 49])]
            {
                let sizes = [("B", 2), ("L", 500), ("H", heads), ("R", rank), ("ROPE", rope), ("PAGE", page)];
                let dims = Dims::new(Dtype::Bf16, &sizes);
                let across = 500_usize.div_ceil(page);
                // Not in order, and shared by nobody: pages from the last to the first.
                let table: Vec<i32> = (0..2 * across as i32).rev().collect();
                let row = rank + rope;
                let mut operands = [
                    halves(2 * heads * row, 1),
                    halves(2 * across * page * row, 2),
                    ints(&table),
                    ints(&lens),
                    poison(Dtype::F32, 1),
                    poison(Dtype::F32, 1),
                    poison(Dtype::Bf16, 2 * heads * rank),
                ];
                run(isa, &dims, &mut operands, pool);
                let latent = Latent { heads, rank, rope };
                let right = right(latent, &numbers(&operands[0]), &numbers(&operands[1]), &rows(&table, &lens, page));
                close(&format!("{isa:?} {dims}"), &numbers(&operands[6]), &right, 4e-3);
            }
        });
    }
}
