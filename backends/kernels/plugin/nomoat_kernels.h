/* A plug-in of `nomoat kernels --plugin libX.so`: one entry per family of kernels that it has.
 *
 * An entry is called nomoat_ and the family's name with underscores: nomoat_gemm, nomoat_decode_attention. Its result is held against the same
 * reference in f64 as our own, on poisoned outputs, before it is timed, and printed in the same table under nomoat_plugin_name.
 * Families, sizes and the order of operands are in backends/kernels/README.md. */
#ifndef NOMOAT_KERNELS_H
#define NOMOAT_KERNELS_H
#include <stdint.h>
#include <string.h>
#ifdef __cplusplus
extern "C" {
#endif

struct nomoat_problem {
  const char *kernel;          /* family */
  const char *dtype;           /* element type of the large operands: "bf16", "f32" */
  const char *device;          /* "cpu", "cuda:0", "hip:0" */
  int sizes;                   /* number of names and values */
  int operands;                /* number of pointers and bytes */
  const char *const *names;    /* "M", "N", "K", ... */
  const int64_t *values;
  void *const *pointers;       /* in the order of the family's operands: device memory on a GPU, else host memory */
  const int64_t *bytes;
  void *stream;                /* CUstream or hipStream_t to enqueue on, in the current context; null on the CPU */
  int threads;                 /* threads to use on the CPU; 0 on a GPU */
};

enum { NOMOAT_DONE = 0, NOMOAT_UNFIT = 1 }; /* anything else is a failure, printed as a number */

/* The size of a name, or -1. */
static inline int64_t nomoat_size(const struct nomoat_problem *p, const char *name) {
  for (int i = 0; i < p->sizes; i++)
    if (strcmp(p->names[i], name) == 0) return p->values[i];
  return -1;
}

/* Optional: the variant's name in tables (default: the file's). */
const char *nomoat_plugin_name(void);

#ifdef __cplusplus
}
#endif
#endif
