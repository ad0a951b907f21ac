#!/usr/bin/env python3
"""What PyTorch reaches on the GPU of this host: the outside yardstick of `nomoat kernels`.

Run it beside `nomoat kernels --device cuda:0` on the same machine. Matrix products and attention in bf16, copies in f32, random data, device
events around batches, the median of the batches. Operands exceed the last cache, or sets of them are gone through in turn.

    python3 results/yardsticks/torch_gpu.py > yardstick.json
"""

import json
import statistics
import sys

import torch
import torch.nn.functional as F

BATCHES = 25


def seconds(run, sets, at_least=0.002):
    """Median seconds of one run, going round the sets of operands."""
    for one in sets[:3] * 2:
        run(one)
    torch.cuda.synchronize()

    def batch(runs, first):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for index in range(runs):
            run(sets[(first + index) % len(sets)])
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / runs

    once = min(batch(1, index) for index in range(3))
    runs = max(1, round(at_least / once))
    samples = [batch(runs, index * runs) for index in range(BATCHES)]
    quartiles = statistics.quantiles(samples, n=4)
    return statistics.median(samples), (quartiles[2] - quartiles[0]) / statistics.median(samples)


def count(size, cache):
    """Sets whose bytes exceed five caches."""
    return max(1, min(64, -(-5 * cache // size) + (1 if size < 5 * cache else 0)))


def rand(*shape):
    return torch.rand(*shape, device="cuda").mul_(2).sub_(1).to(torch.bfloat16)


def main():
    if not torch.cuda.is_available():
        sys.exit("torch_gpu.py: this PyTorch sees no GPU")
    device = torch.cuda.get_device_properties(0)
    cache = device.L2_cache_size
    rows = []

    def row(kernel, shape, sets, run, size, flops):
        median, spread = seconds(run, sets)
        rows.append({
            "kernel": kernel, "shape": shape, "median_s": median, "spread": spread,
            "bytes_per_s": size / median, "flops_per_s": flops / median,
        })
        print(f"{kernel} {shape} {median * 1e6:.1f} us {size / median / 1e9:.0f} GB/s {flops / median / 1e12:.1f} TFLOP/s", file=sys.stderr)

    n = 1 << 28
    a, b = torch.rand(n, device="cuda"), torch.empty(n, device="cuda")
    row("copy", {"N": n}, [(a, b)], lambda one: one[1].copy_(one[0]), 8 * n, 0)
    row("read", {"N": n}, [(a,)], lambda one: one[0].sum(), 4 * n, 0)
    del a, b

    for m, cols, k in [(4096, 4096, 4096), (8192, 8192, 8192), (512, 14336, 4096), (2048, 14336, 4096), (2048, 4096, 14336)]:
        size = 2 * (m * k + cols * k + m * cols)
        sets = [(rand(m, k), rand(cols, k).t()) for _ in range(count(size, cache))]
        row("gemm", {"M": m, "N": cols, "K": k}, sets, lambda one: one[0] @ one[1], size, 2 * m * cols * k)

    # One token through the weights, what decode of one sequence does.
    for batch in [1, 4, 16]:
        cols, k = 28672, 8192
        sets = [(rand(batch, k), rand(cols, k).t())]
        row("gemv", {"B": batch, "N": cols, "K": k}, sets, lambda one: one[0] @ one[1], 2 * cols * k, 2 * batch * cols * k)

    for length, heads, kv in [(2048, 32, 8), (8192, 32, 8), (8192, 16, 16)]:
        shape = {"S": 1, "L": length, "HQ": heads, "HKV": kv, "D": 128}
        q, keys, values = rand(1, heads, length, 128), rand(1, kv, length, 128), rand(1, kv, length, 128)
        run = lambda one: F.scaled_dot_product_attention(*one, is_causal=True, enable_gqa=heads != kv)
        flops = 4 * heads * 128 * length * (length + 1) / 2
        row("prefill-attention", shape, [(q, keys, values)], run, 2 * 128 * length * (2 * heads + 2 * kv), flops)

    for batch, length, heads, kv in [(64, 8192, 32, 8), (16, 8192, 32, 32)]:
        shape = {"B": batch, "L": length, "HQ": heads, "HKV": kv, "D": 128}
        q, keys, values = rand(batch, heads, 1, 128), rand(batch, kv, length, 128), rand(batch, kv, length, 128)
        run = lambda one: F.scaled_dot_product_attention(*one, enable_gqa=heads != kv)
        row("decode-attention", shape, [(q, keys, values)], run, 4 * batch * kv * length * 128, 4 * batch * heads * length * 128)

    json.dump({
        "schema": "yardstick/1", "torch": torch.__version__, "cuda": torch.version.cuda, "device": device.name,
        "units": device.multi_processor_count, "cache_bytes": cache, "rows": rows,
    }, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
