//! Against published and derived figures.

use super::*;

const GIB: f64 = (1_u64 << 30) as f64;

fn attention(heads: u32, kv_heads: u32, dim: u32) -> Layer {
    Layer::Attention { heads, kv_heads, key_dim: dim, value_dim: dim, window: None }
}

fn latent(indexer: Option<Indexer>) -> Layer {
    Layer::Latent { heads: 128, rank: 512, rope_dim: 64, indexer, expanded: Some(Expanded { key_dim: 192, value_dim: 128 }) }
}

fn v4(heads: u32, ratio: u32, top_k: u32) -> Layer {
    let indexer = (ratio == 4).then_some(Indexer { heads: 64, dim: 128, top_k });
    Layer::Compressed { heads, dim: 512, rope_dim: 64, window: 128, ratio, indexer }
}

fn state(heads: u32, value_dim: u32, state_dim: u32, conv_channels: u32) -> Layer {
    Layer::State { heads, value_dim, state_dim, conv_channels, conv_width: 4, operations: 5 }
}

fn shape(layers: &[(u32, Layer)]) -> Shape {
    Shape { layers: layers.to_vec(), ..Shape::default() }
}

#[test]
fn published_and_derived_models() {
    let dsa = Some(Indexer { heads: 64, dim: 128, top_k: 2_048 });
    let half_window = Layer::Attention { heads: 64, kv_heads: 8, key_dim: 64, value_dim: 64, window: Some(128) };
    let wide = Layer::Attention { heads: 128, kv_heads: 128, key_dim: 192, value_dim: 128, window: None };
    // Bytes a token in bf16 and fp8 at 1 Mi tokens, then GiB: 4 Ki, 128 Ki and 1 Mi in bf16, 128 Ki and 1 Mi in fp8.
    let table: [(&str, Shape, [f64; 2], [f64; 5]); 16] = [
        ("Llama-3.1-8B", shape(&[(32, attention(32, 8, 128))]), [131_072.0, 65_536.0], [0.5, 16.0, 128.0, 8.0, 64.0]),
        ("Llama-3.1-70B", shape(&[(80, attention(64, 8, 128))]), [327_680.0, 163_840.0], [1.25, 40.0, 320.0, 20.0, 160.0]),
        ("Llama-3.1-405B", shape(&[(126, attention(128, 8, 128))]), [516_096.0, 258_048.0], [1.969, 63.0, 504.0, 31.5, 252.0]),
        ("405B as MHA", shape(&[(126, attention(128, 128, 128))]), [8_257_536.0, 4_128_768.0], [31.5, 1_008.0, 8_064.0, 504.0, 4_032.0]),
        ("Qwen3-32B", shape(&[(64, attention(64, 8, 128))]), [262_144.0, 131_072.0], [1.0, 32.0, 256.0, 16.0, 128.0]),
        ("Qwen3-235B-A22B", shape(&[(94, attention(64, 4, 128))]), [192_512.0, 96_256.0], [0.734, 23.5, 188.0, 11.75, 94.0]),
        (
            "gpt-oss-120b",
            shape(&[(18, attention(64, 8, 64)), (18, half_window)]),
            [36_864.0, 18_432.0],
            [0.145, 4.504, 36.004, 2.252, 18.002],
        ),
        ("DeepSeek-V3", shape(&[(61, latent(None))]), [70_272.0, 40_016.0], [0.268, 8.578, 68.625, 4.885, 39.078]),
        ("V3 as MHA", shape(&[(61, wide)]), [4_997_120.0, 2_498_560.0], [19.062, 610.0, 4_880.0, 305.0, 2_440.0]),
        ("DeepSeek-V3.2", shape(&[(61, latent(dsa))]), [85_888.0, 48_068.0], [0.328, 10.484, 83.875, 5.868, 46.941]),
        (
            "DeepSeek-V4-Pro",
            shape(&[(31, v4(128, 128, 0)), (30, v4(128, 4, 1_024))]),
            [9_848.0, 5_031.0],
            [46.09 / 1024.0, 1.21, 9.625, 0.618, 4.918],
        ),
        (
            "DeepSeek-V4-Flash",
            shape(&[(2, v4(64, 0, 0)), (21, v4(64, 4, 512)), (20, v4(64, 128, 0))]),
            [6_880.0, 3_514.0],
            [32.25 / 1024.0, 0.845, 6.724, 0.432, 3.435],
        ),
        ("Mamba2-2.7B", shape(&[(64, state(80, 64, 128, 5_376))]), [0.0, 0.0], [0.158, 0.158, 0.158, 81.97 / 1024.0, 81.97 / 1024.0]),
        (
            "Qwen3-Next-80B-A3B",
            shape(&[(36, state(32, 128, 128, 8_192)), (12, attention(16, 2, 256))]),
            [24_576.0, 12_288.0],
            [0.166, 3.072, 24.072, 1.537, 12.037],
        ),
        (
            "Nemotron-3-Nano-30B",
            shape(&[(23, state(64, 64, 128, 6_144)), (6, attention(32, 2, 128))]),
            [6_144.0, 3_072.0],
            [70.81 / 1024.0, 0.796, 6.046, 0.398, 3.023],
        ),
        (
            "Jamba-1.5-Large",
            shape(&[(63, state(16_384, 1, 16, 16_384)), (9, attention(64, 8, 128))]),
            [36_864.0, 18_432.0],
            [0.208, 4.567, 36.067, 2.287, 18.037],
        ),
    ];
    let near = |value: f64, expect: f64| (value - expect).abs() <= 0.004 * expect + 1e-9;
    for (name, shape, slopes, sizes) in &table {
        for (packing, slope) in [Packing::Bf16, Packing::Fp8].into_iter().zip(slopes) {
            assert!((shape.per_token(1 << 20, packing) - slope).abs() <= 0.5, "{name}: {}", shape.per_token(1 << 20, packing));
        }
        let cases =
            [(4_096, Packing::Bf16), (131_072, Packing::Bf16), (1 << 20, Packing::Bf16), (131_072, Packing::Fp8), (1 << 20, Packing::Fp8)];
        for ((tokens, packing), size) in cases.into_iter().zip(sizes) {
            let held = shape.held(tokens, packing) as f64 / GIB;
            assert!(near(held, *size), "{name} at {tokens}: {held} GiB, not {size}");
        }
    }
    // The claim of a tenth of the memory holds for long contexts only.
    let of = |name: &str| table.iter().find(|row| row.0 == name).map(|row| row.1.clone()).unwrap();
    let share = |tokens| of("DeepSeek-V4-Pro").held(tokens, Packing::Fp8) as f64 / of("DeepSeek-V3.2").held(tokens, Packing::Fp8) as f64;
    assert!((share(1 << 20) - 0.105).abs() < 0.0005, "{}", share(1 << 20));
    assert!((share(1 << 10) - 0.197).abs() < 0.0005, "{}", share(1 << 10));
    assert_eq!(of("Llama-3.1-8B").held(1, Packing::Bf16), 131_072);
}

#[test]
fn what_a_decoded_token_moves_and_computes() {
    // Absorbed latent attention: about 2h operations for each byte of a bf16 cache.
    let mla = latent(None);
    let intensity = mla.work(4_096).total() as f64 / mla.moved(4_096, Packing::Bf16) as f64;
    assert!((intensity / 256.0 - 1.0).abs() < 0.06, "{intensity}");
    // Sparse attention by loops: five of nine tokens are read, all nine are indexed.
    let small = Layer::Latent { heads: 4, rank: 8, rope_dim: 4, indexer: Some(Indexer { heads: 2, dim: 3, top_k: 5 }), expanded: None };
    let read: u64 = (0..5).map(|_| 4 * (2 * (8 + 4) + 2 * 8)).sum();
    let indexed: u64 = (0..9).map(|_| 2 * 2 * 3).sum();
    assert_eq!(small.work(9).total(), read + indexed);
    assert_eq!(latent(None).held(1, Packing::Fp8), 656);
    assert_eq!(v4(64, 0, 0).held(1, Packing::Fp8), 584);
    // A state is read and written, and does not grow.
    let ssm = state(80, 64, 128, 5_376);
    assert_eq!(ssm.held(1, Packing::Bf16), ssm.held(1 << 20, Packing::Bf16));
    assert_eq!(ssm.moved(9, Packing::Bf16), 2 * ssm.held(9, Packing::Bf16));
    let llama = Shape { total: Some(8e9), ..shape(&[(32, attention(32, 8, 128))]) };
    assert_eq!(llama.users(80e9, 2.0, 8_192, Packing::Bf16), Some(59));
    assert_eq!(llama.users(8e9, 2.0, 8_192, Packing::Bf16), Some(0));
}

#[test]
fn states_of_h3_and_linear_attention() {
    // A layer of 2,560 with 320 heads of 8: 1.32 million reals with a shift of 4, four bytes each beside bf16.
    let h3 = |shift| Layer::Shift { width: 2_560, heads: 320, state_dim: 64, shift };
    let reals = |shift: u64| 2_560 * shift + 320 * 8 * 8 * 64;
    for (layer, shift) in [(h3(4), 4), (h3(64), 64)] {
        for (packing, bytes) in [(Packing::Bf16, 4), (Packing::Fp8, 2)] {
            assert_eq!(layer.held(7, packing), bytes * reals(shift));
            assert_eq!(layer.moved(7, packing), 2 * layer.held(1 << 20, packing));
        }
        assert_eq!(layer.tail(), 0);
    }
    assert_eq!(reals(4), 1_320_960);
    // Operations of a step, by loops over a small layer: one head of two dimensions, a state of four reals, a shift of three.
    let mut operations = 2 * 2 * 3;
    for _pair in 0..2 * 2 {
        operations += 1 + 2 + 2;
        operations += (0..4 / 2).map(|_complex| 6 + 4 + 4).sum::<u64>();
    }
    assert_eq!(Layer::Shift { width: 2, heads: 1, state_dim: 4, shift: 3 }.work(9).total(), operations);
    // Linear attention has a matrix a head and no convolution.
    let linear = Layer::State { heads: 8, value_dim: 64, state_dim: 64, conv_channels: 0, conv_width: 0, operations: 5 };
    assert_eq!(linear.held(1, Packing::Bf16), 8 * 64 * 64 * 4);
    assert_eq!(linear.work(1).total(), 5 * 8 * 64 * 64);
}

#[test]
fn tails_of_compressors() {
    let pro = shape(&[(31, v4(128, 128, 0)), (30, v4(128, 4, 1_024))]);
    assert!((pro.tail() as f64 / f64::from(1 << 20) - 17.84).abs() < 0.005, "{}", pro.tail());
    assert_eq!(v4(64, 0, 0).tail(), 0);
    assert_eq!(latent(None).tail(), 0);
}

#[test]
fn weights_that_a_step_reads() {
    let experts = Experts { layers: 2, count: 8, chosen: 2, parameters: 10.0, rest: None };
    let sparse = Shape { active: Some(140.0), total: Some(260.0), experts: Some(experts), ..Shape::default() };
    // One token touches what it chooses; many touch all.
    assert!((sparse.read(1.0).unwrap() - 140.0).abs() < 1e-9);
    assert!((sparse.read(1e6).unwrap() - 260.0).abs() < 1e-9);
    // Two tokens of eight experts, two each: 8·(1 − (6/8)²) = 3.5 of a layer.
    assert!((sparse.read(2.0).unwrap() - 170.0).abs() < 1e-9);
    let rounded = Shape { total: Some(300.0), experts: Some(Experts { rest: Some(100.0), ..experts }), ..sparse };
    assert!((rounded.read(1.0).unwrap() - 140.0).abs() < 1e-9);
    let dense = Shape { active: Some(100.0), total: Some(100.0), ..Shape::default() };
    assert_eq!(dense.read(7.0), Some(100.0));
    // A part of the model is used, and nobody says which: unknown, not all.
    // An input embedding of 40 in 4 rows: a row a token is read, never more than there are, and none is multiplied.
    let embedding = |counted_active| Some(Embedding { parameters: 40.0, row: 10.0, counted_active });
    let untied = Shape { embedding: embedding(true), ..dense.clone() };
    assert_eq!([1.0, 3.0, 9.0].map(|batch| untied.read(batch)), [70.0, 90.0, 100.0].map(Some));
    assert_eq!(untied.matrices(), Some(120.0));
    assert_eq!(Shape { embedding: embedding(false), ..dense.clone() }.matrices(), Some(200.0));
    assert_eq!(Shape { active: Some(1.0), ..dense }.read(7.0), None);
}

#[test]
fn a_step_names_only_what_is_known() {
    let llama = Shape { active: Some(8e9), total: Some(8e9), ..shape(&[(32, attention(32, 8, 128))]) };
    let chip = Chip { bandwidth: Some(4e12), bf16: Some(800e12), fp8: None, fp4: None };
    let step = Step::new(&llama, 32, 4_096, Packing::Bf16, Precision::Bf16, &chip);
    assert_eq!(step.limit(), Some(Limit::Memory));
    assert_eq!(step.floor_s(), step.memory_s);
    assert_eq!(step.memory_s, Some((16e9 + 32.0 * 131_072.0 * 4_096.0) / 4e12));
    assert_eq!(chip.ridge(Precision::Bf16), Some(200.0));
    // Without a peak for the weights there is a floor by bytes, and no limit.
    let step = Step::new(&llama, 32, 4_096, Packing::Fp8, Precision::Fp8, &chip);
    assert_eq!((step.compute_s, step.limit()), (None, None));
    assert_eq!(step.floor_s(), Some((8e9 + 32.0 * 65_536.0 * 4_096.0) / 4e12));
    // Without parameters there is none.
    let step = Step::new(&Shape { active: None, total: None, ..llama.clone() }, 1, 1, Packing::Bf16, Precision::Bf16, &chip);
    assert_eq!((step.floor_s(), step.intensity()), (None, None));
    // A large batch of short contexts computes.
    let step = Step::new(&llama, 4_096, 1, Packing::Bf16, Precision::Bf16, &chip);
    assert_eq!(step.limit(), Some(Limit::Compute));
}

#[test]
fn a_prompt_is_the_sum_of_its_tokens() {
    let window = |window| Layer::Attention { heads: 6, kv_heads: 2, key_dim: 8, value_dim: 4, window };
    let small = |indexer| Layer::Latent { heads: 4, rank: 8, rope_dim: 4, indexer, expanded: Some(Expanded { key_dim: 5, value_dim: 3 }) };
    let chooser = |top_k| Some(Indexer { heads: 2, dim: 3, top_k });
    let packed = |ratio, indexer| Layer::Compressed { heads: 4, dim: 16, rope_dim: 4, window: 7, ratio, indexer };
    let channel = Layer::State { heads: 32, value_dim: 1, state_dim: 16, conv_channels: 32, conv_width: 4, operations: 5 };
    let shift = Layer::Shift { width: 4, heads: 2, state_dim: 4, shift: 3 };
    let layers = [
        window(None),
        window(Some(1)),
        window(Some(50)),
        small(chooser(5)),
        small(chooser(1_000)),
        packed(0, None),
        packed(4, chooser(3)),
        packed(4, chooser(1_000)),
        packed(128, None),
        packed(5, None),
        channel,
        shift,
    ];
    for layer in layers {
        let mut sum = Work::default();
        for tokens in 1..=400 {
            sum = sum.plus(layer.work(tokens), 1);
            let prompt = layer.prompt(tokens).unwrap();
            let index = sum.index_fp8 + sum.index_fp4;
            assert_eq!((prompt.bf16, prompt.index), ((sum.total() - index) as f64, index as f64), "{layer:?} {tokens}");
        }
    }
    // Latent attention is expanded: fewer operations for each of the pairs, and unknown where its heads are.
    assert_eq!(small(None).prompt(10).map(|mixing| mixing.total()), Some(2.0 * 4.0 * (5.0 + 3.0) * 55.0));
    assert_eq!(Layer::Latent { heads: 4, rank: 8, rope_dim: 4, indexer: None, expanded: None }.prompt(10), None);
    let pair = |layer: Layer| layer.prompt(1).map(|mixing| mixing.total());
    assert_eq!((pair(latent(None)), latent(None).work(1).total()), (Some(81_920.0), 278_528));
    // A state in chunks of 256, or of the whole prompt, with one group: 2Q·N + H·(2Q·P + 4N·P) and the convolution.
    let token = |chunk: f64| 2.0 * chunk * 128.0 + 80.0 * (2.0 * chunk * 64.0 + 4.0 * 128.0 * 64.0) + 2.0 * 5_376.0 * 4.0;
    for (tokens, chunk) in [(1_u32, 1.0), (256, 256.0), (4_096, 256.0)] {
        let prompt = state(80, 64, 128, 5_376).prompt(tokens.into()).unwrap();
        assert_eq!(prompt.total(), f64::from(tokens) * token(chunk));
    }
    // No number of tokens or of heads overflows.
    let wide = Layer::Attention { heads: u32::MAX, kv_heads: 1, key_dim: u32::MAX, value_dim: u32::MAX, window: None };
    assert!(wide.prompt(1 << 32).unwrap().total().is_finite());
}

#[test]
fn a_prompt_asks_for_one_token() {
    // 100 parameters of which 30 are the output's matrix and 30, in another one, the input's.
    let embedding = |counted_active| Some(Embedding { parameters: 30.0, row: 3.0, counted_active });
    let untied = Shape { active: Some(100.0), total: Some(100.0), embedding: embedding(true), ..shape(&[(1, attention(1, 1, 1))]) };
    let chip = Chip { bandwidth: None, bf16: Some(100.0), fp8: Some(200.0), fp4: None };
    let of = |shape: &Shape, tokens| Prompt::new(shape, tokens, Precision::Fp8, &chip);
    assert_eq!(of(&untied, 10).matrices, Some(2.0 * (10.0 * 40.0 + 30.0)));
    assert_eq!(of(&Shape { active: Some(70.0), embedding: embedding(false), ..untied.clone() }, 10).matrices, Some(860.0));
    // Of one that is the input's too, or of unknown size, it is multiplied for every token.
    let tied = Shape { embedding: None, ..untied.clone() };
    let prompt = of(&tied, 10);
    assert_eq!((prompt.matrices, prompt.total()), (Some(2_000.0), Some(2_000.0 + 4.0 * 55.0)));
    assert_eq!((prompt.compute_s, prompt.mixing_share()), (Some(10.0 + 2.2), Some(220.0 / 2_220.0)));
    let unknown = of(&Shape { active: None, ..tied }, 10);
    assert_eq!((unknown.total(), unknown.compute_s, unknown.mixing.map(|mixing| mixing.total())), (None, None, Some(220.0)));
}

#[test]
fn where_caches_are_as_much_as_weights() {
    let near = |value: Option<f64>, expect: f64| assert!((value.unwrap() / expect - 1.0).abs() < 1e-6, "{value:?}, not {expect}");
    // 131,072 bytes a token.
    let dense = Shape { active: Some(8e9), total: Some(8e9), ..shape(&[(32, attention(32, 8, 128))]) };
    near(dense.even_batch(4_096, Packing::Bf16, 2.0), 16e9 / (131_072.0 * 4_096.0));
    near(dense.even_batch(1 << 20, Packing::Bf16, 2.0), 16e9 / (131_072.0 * f64::from(1 << 20)));
    for batch in [1.0_f64, 32.0] {
        let tokens = dense.even_context(batch, Packing::Bf16, 2.0).unwrap();
        assert_eq!(tokens as f64, (16e9 / (131_072.0 * batch)).ceil());
    }
    // Experts that more sequences touch: the crossing is later than that of what one sequence reads.
    let experts = Experts { layers: 32, count: 128, chosen: 8, parameters: 1e6, rest: None };
    let sparse = Shape { total: Some(8e9), active: Some(4e9), experts: Some(experts), ..dense.clone() };
    let batch = sparse.even_batch(4_096, Packing::Bf16, 2.0).unwrap();
    assert!((batch * 131_072.0 * 4_096.0 / (sparse.read(batch).unwrap() * 2.0) - 1.0).abs() < 1e-6);
    assert!(batch > sparse.read(1.0).unwrap() * 2.0 / (131_072.0 * 4_096.0));
    // A state grows with sequences and not with tokens.
    let state = Shape { active: Some(2.7e9), total: Some(2.7e9), ..shape(&[(64, state(80, 64, 128, 5_376))]) };
    assert!((15.0..17.0).contains(&state.even_batch(9, Packing::Bf16, 2.0).unwrap()));
    assert_eq!((state.even_context(1.0, Packing::Bf16, 2.0), state.even_context(99.0, Packing::Bf16, 2.0)), (None, Some(1)));
    let unknown = Shape { total: None, ..dense };
    assert_eq!((unknown.even_batch(9, Packing::Bf16, 2.0), unknown.even_context(9.0, Packing::Bf16, 2.0)), (None, None));
}
