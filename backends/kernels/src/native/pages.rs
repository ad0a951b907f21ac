//! Pages of a pool brought side by side, and put back.

use super::memory::Copy;
use super::simd::Isa;
use crate::dims::Dims;
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;

/// `page-gather`: pool, table, packed. Page i of `packed` becomes page `table[i]` of the pool; a page has ROW bytes of f32.
pub fn gather(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    gather_on(Isa::detect(), dims, operands, pool);
}

fn gather_on(isa: Isa, dims: &Dims, operands: &mut [Host], threads: &ThreadPool) {
    let [pool, table, packed] = operands else { unreachable!("three operands") };
    let row = dims.get("ROW") / 4;
    let pool = pool.f32();
    let pages = packed.f32_mut().par_chunks_mut(row).zip(table.i32());
    threads.install(|| pages.for_each(|(to, page)| isa.run(Copy { from: &pool[*page as usize * row..][..row], to })));
}

/// `page-scatter`: pool, table, packed. Page `table[i]` of the pool becomes page i of `packed`; of a page named twice the last wins.
pub fn scatter(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    scatter_on(Isa::detect(), dims, operands, pool);
}

fn scatter_on(isa: Isa, dims: &Dims, operands: &mut [Host], threads: &ThreadPool) {
    let [pool, table, packed] = operands else { unreachable!("three operands") };
    let row = dims.get("ROW") / 4;
    let (pool, packed) = (pool.f32_mut(), packed.f32());
    // By page of the pool, so that no two threads write the same one.
    let mut sources = vec![None; pool.len() / row];
    table.i32().iter().enumerate().for_each(|(from, page)| sources[*page as usize] = Some(from));
    let pages = pool.par_chunks_mut(row).zip(sources).filter_map(|(to, source)| source.map(|from| (to, from)));
    threads.install(|| pages.for_each(|(to, from)| isa.run(Copy { from: &packed[from * row..][..row], to })));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::testing::*;

    #[test]
    fn pages_come_and_go() {
        everywhere(|isa, threads| {
            for row in [4, 12, 20, 1024] {
                let dims = Dims::new(Dtype::F32, &[("PAGES", 5), ("ROW", row * 4)]);
                let table = [6, 0, 3, 1, 5];
                let mut operands = [singles(7 * row, 1), ints(&table), poison(Dtype::F32, 5 * row)];
                gather_on(isa, &dims, &mut operands, threads);
                for (i, page) in table.iter().enumerate() {
                    assert_eq!(operands[2].f32()[i * row..][..row], operands[0].f32()[*page as usize * row..][..row]);
                }
                let [pool, table, packed] = operands;
                let mut operands = [singles(7 * row, 9), table, packed];
                scatter_on(isa, &dims, &mut operands, threads);
                let (before, after) = (singles(7 * row, 9), pool);
                for page in 0..7 {
                    let right = if [2, 4].contains(&page) { &before } else { &after };
                    assert_eq!(operands[0].f32()[page * row..][..row], right.f32()[page * row..][..row], "page {page}");
                }
            }
        });
    }
}
