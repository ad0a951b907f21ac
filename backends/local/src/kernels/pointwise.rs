//! What happens to each token alone between the matrix products: norms, rotary positions, the gated activation, the choice
//! of the next token.

use super::lanes::{LANES, Lanes};
use super::{Arith, Work};

/// Keeps the norm of a zero vector finite.
const EPSILON: f32 = 1e-5;

/// RMSNorm (Zhang and Sennrich, arXiv 1910.07467): x · weight / √(mean(x²) + ε), per token.
pub struct RmsNorm<'a> {
    /// Inputs, token by token, `weight.len()` each.
    pub x: &'a [f32],
    /// One factor per dimension.
    pub weight: &'a [f32],
    /// Outputs, shaped as `x`.
    pub out: &'a mut [f32],
}

impl Work for RmsNorm<'_> {
    #[inline(always)]
    fn run<A: Arith>(self) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let mut squares = Lanes::ZERO;
            for part in x.chunks_exact(LANES) {
                let part = Lanes::load(part);
                squares = part.fma::<A>(part, squares);
            }
            let scale = Lanes::splat(1.0 / (squares.sum() / width as f32 + EPSILON).sqrt());
            for ((x, weight), out) in x.chunks_exact(LANES).zip(self.weight.chunks_exact(LANES)).zip(out.chunks_exact_mut(LANES)) {
                Lanes::load(x).times(scale).times(Lanes::load(weight)).store(out);
            }
        }
    }
}

/// SwiGLU (Shazeer, arXiv 2002.05202): gate · sigmoid(gate) · up, per token.
pub struct SwiGlu<'a> {
    /// Inputs, token by token: `width` gates, then `width` ups.
    pub gate_up: &'a [f32],
    /// Width of the feed-forward part.
    pub width: usize,
    /// Outputs, token by token, `width` each.
    pub out: &'a mut [f32],
}

impl Work for SwiGlu<'_> {
    #[inline(always)]
    fn run<A: Arith>(self) {
        for (both, out) in self.gate_up.chunks_exact(2 * self.width).zip(self.out.chunks_exact_mut(self.width)) {
            let (gate, up) = both.split_at(self.width);
            for ((gate, up), out) in gate.chunks_exact(LANES).zip(up.chunks_exact(LANES)).zip(out.chunks_exact_mut(LANES)) {
                let gate = Lanes::load(gate);
                let mut sigmoid = gate.times(Lanes::splat(-1.0)).exp::<A>();
                let mut lane = 0;
                while lane < LANES {
                    sigmoid.0[lane] = 1.0 / (1.0 + sigmoid.0[lane]);
                    lane += 1;
                }
                gate.times(sigmoid).times(Lanes::load(up)).store(out);
            }
        }
    }
}

/// x += y, over any number of tokens.
pub struct Add<'a> {
    /// Changed in place.
    pub x: &'a mut [f32],
    /// What is added.
    pub y: &'a [f32],
}

impl Work for Add<'_> {
    #[inline(always)]
    fn run<A: Arith>(self) {
        for (x, y) in self.x.iter_mut().zip(self.y) {
            *x += y;
        }
    }
}

/// Sines and cosines of rotary positions (Su et al., arXiv 2104.09864), for every position of a context.
#[derive(Clone, Debug)]
pub struct Rotary {
    half: usize,
    /// Per position: `half` cosines, then `half` sines.
    table: Vec<f32>,
}

impl Rotary {
    /// The table for heads of `head_dim` dimensions: pair i of a head turns by position · base^(−2i / head_dim).
    pub fn new(head_dim: usize, context: usize, base: f64) -> Self {
        let half = head_dim / 2;
        let frequencies: Vec<f64> = (0..half).map(|pair| libm::pow(base, -2.0 * pair as f64 / head_dim as f64)).collect();
        let mut table = Vec::with_capacity(context * head_dim);
        for position in 0..context {
            let angles = frequencies.iter().map(|frequency| position as f64 * frequency);
            table.extend(angles.clone().map(|angle| libm::cos(angle) as f32));
            table.extend(angles.map(|angle| libm::sin(angle) as f32));
        }
        Self { half, table }
    }

    /// Turns every head of `heads` (whole heads, one after the other) to `position`. Dimension i is paired with i + half, as in
    /// the published Llama weights.
    pub fn turn(&self, heads: &mut [f32], position: usize) {
        let (cosines, sines) = self.table[position * 2 * self.half..][..2 * self.half].split_at(self.half);
        for head in heads.chunks_exact_mut(2 * self.half) {
            let (low, high) = head.split_at_mut(self.half);
            for (((a, b), cos), sin) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

/// The token with the largest logit; of equals the lowest id. Greedy sampling, so that an answer is a function of its prompt.
pub fn greedy(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::super::Kernel;
    use super::*;

    #[test]
    fn norms_and_gates_agree_with_f64() {
        let width = 48;
        let x: Vec<f32> = (0..2 * 2 * width).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
        let weight: Vec<f32> = (0..width).map(|i| 0.5 + i as f32 / 48.0).collect();
        for kernel in Kernel::available() {
            let mut out = vec![0.0; x.len()];
            kernel.run(RmsNorm { x: &x, weight: &weight, out: &mut out });
            for (x, out) in x.chunks(width).zip(out.chunks(width)) {
                let mean = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / width as f64;
                for ((x, w), y) in x.iter().zip(&weight).zip(out) {
                    let want = f64::from(*x) * f64::from(*w) / (mean + 1e-5).sqrt();
                    assert!((f64::from(*y) - want).abs() < 1e-6 * want.abs().max(0.1), "{}: {y} is not {want}", kernel.name());
                }
            }
            let mut out = vec![0.0; 2 * width];
            kernel.run(SwiGlu { gate_up: &x, width, out: &mut out });
            for (both, out) in x.chunks(2 * width).zip(out.chunks(width)) {
                for ((gate, up), y) in both[..width].iter().zip(&both[width..]).zip(out) {
                    let want = f64::from(*gate) / (1.0 + (-f64::from(*gate)).exp()) * f64::from(*up);
                    assert!((f64::from(*y) - want).abs() < 2e-6, "{}: {y} is not {want}", kernel.name());
                }
            }
        }
    }

    #[test]
    fn turning_keeps_lengths_and_depends_on_distance_only() {
        let rotary = Rotary::new(16, 64, 10_000.0);
        let (mut a, mut b) = ([0.0_f32; 16], [0.0_f32; 16]);
        for i in 0..16 {
            (a[i], b[i]) = ((i as f32).cos(), (i as f32 * 1.7).sin());
        }
        let dot = |p: usize, q: usize| {
            let (mut a, mut b) = (a, b);
            rotary.turn(&mut a, p);
            rotary.turn(&mut b, q);
            a.iter().zip(&b).map(|(x, y)| x * y).sum::<f32>()
        };
        assert!((dot(0, 0) - a.iter().zip(&b).map(|(x, y)| x * y).sum::<f32>()).abs() < 1e-6);
        assert!((dot(3, 10) - dot(40, 47)).abs() < 1e-4);
        assert!((dot(3, 10) - dot(3, 11)).abs() > 1e-3);
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        for (logits, id) in [(&[1.0, 3.0, 3.0][..], 1), (&[-1.0], 0), (&[f32::MIN, -5.0, -7.0], 1)] {
            assert_eq!(greedy(logits), id);
        }
    }
}
