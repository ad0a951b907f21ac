//! Many rows of queries against the same tokens: scores and outputs are matrix products of register tiles, and lanes lie along the
//! queries, so that softmax needs no sums across lanes.

use super::simd::Simd;
use super::split::{NOTHING, Part};
use super::tile::{Strides, tile};

/// Tokens of a stretch: a multiple of the rows of every register tile.
pub(super) const STRETCH: usize = 48;

/// Rows of queries and what they have seen so far.
pub(super) struct Queries {
    rows: usize,
    depth: usize,
    values: usize,
    /// Strips of two vectors of queries, in each the elements of the depth one after the other.
    strips: Vec<f32>,
    /// Scores of a stretch, then probabilities: a token each `width`.
    scores: Vec<f32>,
    width: usize,
    /// By what the sums so far are scaled when the maximum moves.
    decay: Vec<f32>,
    part: Part,
}

/// Keys and values of a stretch as singles.
pub(super) struct Tokens<'a> {
    /// [`STRETCH`] rows, `stride` apart, of which the first `count` are tokens.
    pub keys: &'a [f32],
    /// As `keys`; may be the same.
    pub values: &'a [f32],
    /// Elements from a row to the next; a multiple of two vectors.
    pub stride: usize,
    /// Tokens.
    pub count: usize,
}

impl Queries {
    /// `rows` rows of `depth` elements, each given by `element(row, at)` with the scale of scores in it; values have `values` elements.
    #[inline(always)]
    pub(super) fn new<S: Simd>(rows: usize, depth: usize, values: usize, element: impl Fn(usize, usize) -> f32) -> Self {
        let strip = 2 * S::LANES;
        let mut strips = vec![0.0; rows.div_ceil(strip) * depth * strip];
        for row in 0..rows {
            let to = &mut strips[row / strip * depth * strip + row % strip..];
            (0..depth).for_each(|at| to[at * strip] = element(row, at));
        }
        // Tiles go over whole strips one way and over whole groups of rows the other.
        let width = rows.next_multiple_of(strip).max(rows.next_multiple_of(S::ROWS)).next_multiple_of(S::LANES);
        Self {
            rows,
            depth,
            values,
            strips,
            scores: vec![0.0; STRETCH * width],
            width,
            decay: vec![0.0; width],
            part: Part::new(width, values.next_multiple_of(strip)),
        }
    }

    /// What the rows have seen.
    pub(super) fn finish(self) -> Part {
        self.part
    }

    /// Lets every row see a stretch of tokens; `visible(row)` is how many of its tokens the row may see, if not all of them.
    #[inline(always)]
    pub(super) fn see<S: Simd>(&mut self, tokens: &Tokens<'_>, visible: Option<&dyn Fn(usize) -> usize>) {
        match S::ROWS {
            12 => self.stretch::<S, 12>(tokens, visible),
            _ => self.stretch::<S, 6>(tokens, visible),
        }
    }

    #[inline(always)]
    fn stretch<S: Simd, const R: usize>(&mut self, tokens: &Tokens<'_>, visible: Option<&dyn Fn(usize) -> usize>) {
        self.score::<S, R>(tokens);
        if let Some(visible) = visible {
            for row in 0..self.rows {
                let hidden = visible(row).min(tokens.count);
                self.scores[row..].iter_mut().step_by(self.width).take(tokens.count).skip(hidden).for_each(|score| *score = NOTHING);
            }
        }
        self.softmax::<S>(tokens.count);
        self.add::<S, R>(tokens);
    }

    /// Scores of all rows: tokens are the rows of tiles, queries the lanes.
    #[inline(always)]
    fn score<S: Simd, const R: usize>(&mut self, tokens: &Tokens<'_>) {
        let strip = 2 * S::LANES;
        for (at, queries) in self.strips.chunks_exact(self.depth * strip).enumerate() {
            for first in (0..tokens.count).step_by(R) {
                let keys = &tokens.keys[first * tokens.stride..];
                let scores = tile::<S, R>(self.depth, keys, Strides { row: tokens.stride, step: 1 }, queries, strip);
                for (r, scores) in scores.iter().enumerate() {
                    let to = &mut self.scores[(first + r) * self.width + at * strip..][..strip];
                    S::store(scores[0], to);
                    S::store(scores[1], &mut to[S::LANES..]);
                }
            }
        }
    }

    /// Scores become probabilities beside the largest so far.
    #[inline(always)]
    fn softmax<S: Simd>(&mut self, count: usize) {
        for from in (0..self.rows).step_by(S::LANES) {
            let before = S::load(&self.part.max[from..]);
            let mut max = before;
            for token in 0..count {
                max = S::max(max, S::load(&self.scores[token * self.width + from..]));
            }
            let decay = S::exp(S::sub(before, max));
            let mut sum = S::mul(S::load(&self.part.sum[from..]), decay);
            for token in 0..count {
                let to = &mut self.scores[token * self.width + from..][..S::LANES];
                let probability = S::exp(S::sub(S::load(to), max));
                S::store(probability, to);
                sum = S::add(sum, probability);
            }
            S::store(max, &mut self.part.max[from..]);
            S::store(sum, &mut self.part.sum[from..]);
            S::store(decay, &mut self.decay[from..]);
        }
    }

    /// Values by probabilities: queries are the rows of tiles, elements of values the lanes.
    #[inline(always)]
    fn add<S: Simd, const R: usize>(&mut self, tokens: &Tokens<'_>) {
        let (strip, stride) = (2 * S::LANES, self.part.stride);
        for at in (0..self.values).step_by(strip) {
            for first in (0..self.rows).step_by(R) {
                let probabilities = &self.scores[first..];
                let sums =
                    tile::<S, R>(tokens.count, probabilities, Strides { row: 1, step: self.width }, &tokens.values[at..], tokens.stride);
                for (r, sums) in sums.iter().enumerate() {
                    let decay = S::splat(self.decay[first + r]);
                    let to = &mut self.part.out[(first + r) * stride + at..][..strip];
                    let (low, high) = to.split_at_mut(S::LANES);
                    S::store(S::fma(S::load(low), decay, sums[0]), low);
                    S::store(S::fma(S::load(high), decay, sums[1]), high);
                }
            }
        }
    }
}
