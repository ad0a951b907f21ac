//! The model once more, as plainly as it can be written: f64, no cache, no tiles. What the fast one is held against.

use crate::kernels::gemm::Matrix;
use crate::preset::Preset;
use crate::weights::Weights;

fn map(matrix: &Matrix, x: &[f64]) -> Vec<f64> {
    assert_eq!(x.len(), matrix.columns());
    (0..matrix.rows()).map(|row| x.iter().enumerate().map(|(column, x)| f64::from(matrix.get(row, column)) * x).sum()).collect()
}

fn norm(x: &[f64], weight: &[f32]) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| x / (mean + 1e-5).sqrt() * f64::from(*w)).collect()
}

fn turned(head: &[f64], position: usize, base: f64) -> Vec<f64> {
    let half = head.len() / 2;
    let angle = |i: usize| position as f64 / base.powf(2.0 * i as f64 / head.len() as f64);
    let low = (0..half).map(|i| head[i] * angle(i).cos() - head[i + half] * angle(i).sin());
    let high = (0..half).map(|i| head[i + half] * angle(i).cos() + head[i] * angle(i).sin());
    low.chain(high).collect()
}

fn plus(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// Logits after every token.
pub fn logits(preset: &Preset, weights: &Weights, tokens: &[u32]) -> Vec<Vec<f64>> {
    let dim = preset.head_dim;
    let row = |token: &u32| weights.embedding[*token as usize * preset.hidden..][..preset.hidden].iter().map(|x| f64::from(*x)).collect();
    let mut stream: Vec<Vec<f64>> = tokens.iter().map(row).collect();
    for layer in &weights.layers {
        let (mut queries, mut keys, mut values) = (vec![], vec![], vec![]);
        for (position, x) in stream.iter().enumerate() {
            let all = map(&layer.qkv, &norm(x, &layer.attention_norm));
            let heads: Vec<&[f64]> = all.chunks(dim).collect();
            let turn = |heads: &[&[f64]]| heads.iter().map(|head| turned(head, position, preset.rope_base)).collect::<Vec<_>>();
            queries.push(turn(&heads[..preset.heads]));
            keys.push(turn(&heads[preset.heads..preset.heads + preset.kv_heads]));
            values.push(heads[preset.heads + preset.kv_heads..].iter().map(|head| head.to_vec()).collect::<Vec<_>>());
        }
        for (position, x) in stream.iter_mut().enumerate() {
            let mut attended = vec![];
            for (head, query) in queries[position].iter().enumerate() {
                let kv = head * preset.kv_heads / preset.heads;
                let score = |past: usize| {
                    let dot: f64 = query.iter().zip(&keys[past][kv]).map(|(q, k)| q * k).sum();
                    (dot / (dim as f64).sqrt()).exp()
                };
                let scores: Vec<f64> = (0..=position).map(score).collect();
                let total: f64 = scores.iter().sum();
                attended.extend((0..dim).map(|d| (0..=position).map(|past| scores[past] / total * values[past][kv][d]).sum::<f64>()));
            }
            plus(x, &map(&layer.attention_back, &attended));
            let both = map(&layer.gate_up, &norm(x, &layer.ffn_norm));
            let (gates, ups) = both.split_at(preset.ffn);
            let gated: Vec<f64> = gates.iter().zip(ups).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect();
            plus(x, &map(&layer.ffn_back, &gated));
        }
    }
    stream.iter().map(|x| map(&weights.head, &norm(x, &weights.final_norm))).collect()
}
