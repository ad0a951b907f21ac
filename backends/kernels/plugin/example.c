/* A plug-in in C: a plain matrix product on the CPU.
 *   cc -O3 -march=native -shared -fPIC -o libexample.so example.c
 *   nomoat kernels gemm --device cpu --quick --plugin ./libexample.so */
#include "nomoat_kernels.h"

const char *nomoat_plugin_name(void) { return "example"; }

/* gemm: C = A·Bᵀ; operands a[M,K], b[N,K], c[M,N]. */
int nomoat_gemm(const struct nomoat_problem *p) {
  if (strcmp(p->device, "cpu") != 0 || strcmp(p->dtype, "f32") != 0) return NOMOAT_UNFIT;
  const int64_t m = nomoat_size(p, "M"), n = nomoat_size(p, "N"), k = nomoat_size(p, "K");
  if (m < 0 || n < 0 || k < 0 || p->operands != 3) return 2;
  const float *a = p->pointers[0], *b = p->pointers[1];
  float *c = p->pointers[2];
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      /* Sixteen sums, so that the compiler may keep them in vectors without changing the order of any one. */
      float lane[16] = {0};
      int64_t at = 0;
      for (; at + 16 <= k; at += 16)
        for (int l = 0; l < 16; l++) lane[l] += a[i * k + at + l] * b[j * k + at + l];
      float sum = 0;
      for (int l = 0; l < 16; l++) sum += lane[l];
      for (; at < k; at++) sum += a[i * k + at] * b[j * k + at];
      c[i * n + j] = sum;
    }
  return NOMOAT_DONE;
}
