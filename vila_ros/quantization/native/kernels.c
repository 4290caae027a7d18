/* Copyright 2026 The vila_ros authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of the .inc files for AVX-512, for AVX2 and for any machine; the best that this machine has
 * is chosen when it is first asked for.
 */
#include <math.h>
#include <string.h>

#include "int4.h"

/* Bytes by which memory is asked for ahead of its use, farther than a processor does by itself: while
 * it multiplies it would else have too little under way. */
#define AHEAD 8192

static inline float bf16_number(uint16_t bits) {
  union { uint32_t i; float f; } value = {.i = (uint32_t)bits << 16};
  return value.f;
}

static inline uint16_t to_bf16(float number) {
  union { float f; uint32_t i; } value = {.f = number};
  uint32_t rounded = (value.i + 0x7fff + ((value.i >> 16) & 1)) >> 16;
  return (uint16_t)(number != number ? 0x7fc0 : rounded); /* rounding could hide an invalid one */
}

static inline float f16_number(uint16_t bits) {
  uint32_t sign = (uint32_t)(bits & 0x8000) << 16, rest = bits & 0x7fff;
  union { uint32_t i; float f; } value;
  if (rest >= 0x7c00) {
    value.i = sign | 0x7f800000 | (rest & 0x3ff) << 13;
  } else {
    /* Subnormal numbers become normal ones by the multiplication. */
    value.i = rest << 13;
    value.f *= 0x1p112f;
    value.i |= sign;
  }
  return value.f;
}

static inline float restored_number(const void *data, int64_t kind, int64_t index) {
  if (kind == KIND_F16) return f16_number(((const uint16_t *)data)[index]);
  if (kind == KIND_BF16) return bf16_number(((const uint16_t *)data)[index]);
  return ((const float *)data)[index];
}

void vila_row(const DenseMatrix *m, int64_t row, float *out) {
  for (int64_t k = 0; k < m->columns; k++)
    out[k] = restored_number(m->weight, m->kind, row * m->columns + k);
}

/* As floats: within 128 columns x[8t + i] stands at 16i + t; behind all of them sums of eight,
 * x[8t] + … + x[8t + 7]. */
static void prepare_floats(const Int4Matrix *m, const float *x, float *prepared) {
  const float *by = m->input_scale;
  int64_t padded = vila_padded(m->columns);
  float *sums = prepared + padded;
  for (int64_t block = 0; block < padded; block += 128) {
    for (int t = 0; t < 16; t++) {
      float sum = 0.0f;
      for (int i = 0; i < 8; i++) {
        int64_t k = block + 8 * t + i;
        float value = k < m->columns ? x[k] * (by ? by[k] : 1.0f) : 0.0f;
        prepared[block + 16 * i + t] = value;
        sum += value;
      }
      sums[block / 8 + t] = sum;
    }
  }
}

/* Any machine: vectors of four floats by the compiler's own extension. */
typedef float Float4 __attribute__((vector_size(16)));
typedef uint32_t Word4 __attribute__((vector_size(16)));
typedef int32_t Int4x4 __attribute__((vector_size(16)));
#define TARGET
#define NAME(name) name##_generic
#define SET_NAME "generic"
#define V Float4
#define WORDS Word4
#define LANES 4
static inline Float4 load4(const float *from) {
  Float4 value;
  memcpy(&value, from, sizeof value);
  return value;
}
static inline Word4 load_words4(const uint32_t *from) {
  Word4 value;
  memcpy(&value, from, sizeof value);
  return value;
}
static inline Word4 load_part_generic(const uint32_t *from, int64_t count) {
  Word4 value = {0, 0, 0, 0};
  memcpy(&value, from, (size_t)count * 4);
  return value;
}
static inline Float4 load_kind4(const char *w, int kind, int64_t k) {
  if (kind == KIND_F32) return load4((const float *)w + k);
  const uint16_t *h = (const uint16_t *)w + k;
  if (kind == KIND_BF16)
    return (Float4){bf16_number(h[0]), bf16_number(h[1]), bf16_number(h[2]), bf16_number(h[3])};
  return (Float4){f16_number(h[0]), f16_number(h[1]), f16_number(h[2]), f16_number(h[3])};
}
#define SET1(a) ((Float4){(a), (a), (a), (a)})
#define LOAD(p) load4(p)
#define STORE(p, a) memcpy((p), &(Float4){(a)[0], (a)[1], (a)[2], (a)[3]}, 16)
#define LOAD_WORDS(p) load_words4(p)
#define LOAD_KIND(w, kind, k) load_kind4(w, kind, k)
#define ADD(a, b) ((a) + (b))
#define FMA(a, b, c) ((a) * (b) + (c))
#define FNMA(a, b, c) ((c) - (a) * (b))
static inline float sum4(Float4 a) { return (a[0] + a[1]) + (a[2] + a[3]); }
#define SUM(a) sum4(a)
#define F16_NUMBER(h) f16_number(h)
static inline Float4 nibble4(Word4 words, int shift) {
  return __builtin_convertvector((Int4x4)((words >> shift) & 15), Float4);
}
#define NIBBLE_0(w) nibble4(w, 0)
#define NIBBLE_1(w) nibble4(w, 4)
#define NIBBLE_2(w) nibble4(w, 8)
#define NIBBLE_3(w) nibble4(w, 12)
#define NIBBLE_4(w) nibble4(w, 16)
#define NIBBLE_5(w) nibble4(w, 20)
#define NIBBLE_6(w) nibble4(w, 24)
#define NIBBLE_7(w) nibble4(w, 28)
#include "prompt.inc"
#include "attention.inc"
#include "rows.inc"
#include "undefine.inc"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define NAME(name) name##_avx2
#define SET_NAME "avx2"
#define V __m256
#define WORDS __m256i
#define LANES 8
TARGET static inline __m256i load_part_avx2(const uint32_t *from, int64_t count) {
  __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_epi32((const int *)from,
                               _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), places));
}
TARGET static inline __m256 load_kind_avx2(const char *w, int kind, int64_t k) {
  if (kind == KIND_F32) return _mm256_loadu_ps((const float *)w + k);
  __m128i half = _mm_loadu_si128((const __m128i *)((const uint16_t *)w + k));
  if (kind == KIND_F16) return _mm256_cvtph_ps(half);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
TARGET static inline float sum_avx2(__m256 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
#define SET1(a) _mm256_set1_ps(a)
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, a) _mm256_storeu_ps(p, a)
#define LOAD_WORDS(p) _mm256_loadu_si256((const __m256i *)(p))
#define LOAD_KIND(w, kind, k) load_kind_avx2(w, kind, k)
#define ADD(a, b) _mm256_add_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define FNMA(a, b, c) _mm256_fnmadd_ps(a, b, c)
#define SUM(a) sum_avx2(a)
#define F16_NUMBER(h) _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)))
#define MUL(a, b) _mm256_mul_ps(a, b)
#define LOAD_BYTES(p) \
  _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p))))
/* A group's 64 bytes in two halves. Sums of products of bytes pass through 16 bits, 4 * 15 * 128 at
 * most. */
#define BYTE_PRODUCT(w, x) _mm256_maddubs_epi16(w, _mm256_loadu_si256((const __m256i *)(x)))
TARGET static inline __m256i plane_avx2(__m256i low_0, __m256i high_0, __m256i low_1,
                                        __m256i high_1, const int8_t *x) {
  __m256i sum = _mm256_add_epi16(
      _mm256_add_epi16(BYTE_PRODUCT(low_0, x), BYTE_PRODUCT(low_1, x + 32)),
      _mm256_add_epi16(BYTE_PRODUCT(high_0, x + 64), BYTE_PRODUCT(high_1, x + 96)));
  return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}
#define UNPACK(p)                                                                            \
  const __m256i mask = _mm256_set1_epi8(15);                                                 \
  __m256i packed_0 = _mm256_loadu_si256((const __m256i *)(p)),                               \
          packed_1 = _mm256_loadu_si256((const __m256i *)(p) + 1),                           \
          low_0 = _mm256_and_si256(packed_0, mask), low_1 = _mm256_and_si256(packed_1, mask), \
          high_0 = _mm256_and_si256(_mm256_srli_epi16(packed_0, 4), mask),                   \
          high_1 = _mm256_and_si256(_mm256_srli_epi16(packed_1, 4), mask)
#define PACKED_PRODUCT(x)                                                                       \
  _mm256_cvtepi32_ps(_mm256_add_epi32(                                                          \
      _mm256_slli_epi32(plane_avx2(low_0, high_0, low_1, high_1, x), 8),                        \
      plane_avx2(low_0, high_0, low_1, high_1, (x) + 128)))
#define NIBBLE_AVX2(w, shift) \
  _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(w, shift), _mm256_set1_epi32(15)))
#define NIBBLE_0(w) _mm256_cvtepi32_ps(_mm256_and_si256(w, _mm256_set1_epi32(15)))
#define NIBBLE_1(w) NIBBLE_AVX2(w, 4)
#define NIBBLE_2(w) NIBBLE_AVX2(w, 8)
#define NIBBLE_3(w) NIBBLE_AVX2(w, 12)
#define NIBBLE_4(w) NIBBLE_AVX2(w, 16)
#define NIBBLE_5(w) NIBBLE_AVX2(w, 20)
#define NIBBLE_6(w) NIBBLE_AVX2(w, 24)
#define NIBBLE_7(w) _mm256_cvtepi32_ps(_mm256_srli_epi32(w, 28))
#include "integer.inc"
#include "prompt.inc"
#include "attention.inc"
#include "rows.inc"
#include "undefine.inc"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma,f16c")))
#define NAME(name) name##_avx512
#define SET_NAME "avx512"
#define V __m512
#define WORDS __m512i
#define LANES 16
TARGET static inline __m512i load_part_avx512(const uint32_t *from, int64_t count) {
  return _mm512_maskz_loadu_epi32((__mmask16)((1u << count) - 1), from);
}
TARGET static inline __m512 load_kind_avx512(const char *w, int kind, int64_t k) {
  if (kind == KIND_F32) return _mm512_loadu_ps((const float *)w + k);
  __m256i half = _mm256_loadu_si256((const __m256i *)((const uint16_t *)w + k));
  if (kind == KIND_F16) return _mm512_cvtph_ps(half);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
/* A permutation reads the low four bits of each index alone: it is mask and conversion in one. */
TARGET static inline __m512 nibble_avx512(__m512i words) {
  const __m512 values =
      _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_permutexvar_ps(words, values);
}
#define SET1(a) _mm512_set1_ps(a)
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, a) _mm512_storeu_ps(p, a)
#define LOAD_WORDS(p) _mm512_loadu_si512(p)
#define LOAD_KIND(w, kind, k) load_kind_avx512(w, kind, k)
#define ADD(a, b) _mm512_add_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define FNMA(a, b, c) _mm512_fnmadd_ps(a, b, c)
#define SUM(a) _mm512_reduce_add_ps(a)
#define F16_NUMBER(h) _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)))
#define NIBBLE_0(w) nibble_avx512(w)
#define NIBBLE_1(w) nibble_avx512(_mm512_srli_epi32(w, 4))
#define NIBBLE_2(w) nibble_avx512(_mm512_srli_epi32(w, 8))
#define NIBBLE_3(w) nibble_avx512(_mm512_srli_epi32(w, 12))
#define NIBBLE_4(w) nibble_avx512(_mm512_srli_epi32(w, 16))
#define NIBBLE_5(w) nibble_avx512(_mm512_srli_epi32(w, 20))
#define NIBBLE_6(w) nibble_avx512(_mm512_srli_epi32(w, 24))
#define NIBBLE_7(w) nibble_avx512(_mm512_srli_epi32(w, 28))
/* Rows as in rows.inc, 32 weights at a time: each byte is spread over two 16-bit lanes, the even
 * column's nibble and the odd one's lowest, by which a permutation looks up the group's values. */
TARGET static void restore_avx512(const Int4Matrix *m, int64_t first, int64_t last, void *out,
                                  int64_t kind) {
  int64_t groups = m->columns / m->group;
  const __m512 numbers =
      _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i upper = _mm512_add_epi32(lower, _mm512_set1_epi32(8));
  for (int64_t row = first; row < last; row++) {
    const uint8_t *bytes = (const uint8_t *)(m->packed + row * (m->columns / 8));
    int64_t place = (row - first) * m->columns;
    for (int64_t group = 0; group < groups; group++) {
      float scale = restored_number(m->scales, m->scale_kind, row * groups + group);
      __m512 zero = _mm512_set1_ps((float)m->zeros[row * groups + group]);
      __m512 table = _mm512_mul_ps(_mm512_sub_ps(numbers, zero), _mm512_set1_ps(scale));
      __m512i bits = _mm512_castps_si512(table);
      __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
      bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
      __m256i halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
      __m512i twice = _mm512_broadcast_i64x4(halves);
      for (int64_t k = 0; k < m->group; k += 32) {
        int64_t at = place + group * m->group + k;
        int64_t left = m->group - k < 32 ? 8 : 16;
        __m128i packed = left == 16 ? _mm_loadu_si128((const __m128i *)bytes)
                                    : _mm_loadl_epi64((const __m128i *)bytes);
        bytes += left;
        __m512i spread = _mm512_cvtepu8_epi32(packed);
        if (kind == KIND_BF16) {
          __m512i pairs = _mm512_or_si512(spread, _mm512_slli_epi32(spread, 12));
          __m512i values = _mm512_permutexvar_epi16(pairs, twice);
          uint16_t *to = (uint16_t *)out + at;
          if (left == 16)
            _mm512_storeu_si512(to, values);
          else
            _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(values));
        } else {
          __m512 even = _mm512_permutexvar_ps(spread, table);
          __m512 uneven = _mm512_permutexvar_ps(_mm512_srli_epi32(spread, 4), table);
          float *to = (float *)out + at;
          _mm512_storeu_ps(to, _mm512_permutex2var_ps(even, lower, uneven));
          if (left == 16)
            _mm512_storeu_ps(to + 16, _mm512_permutex2var_ps(even, upper, uneven));
        }
      }
    }
  }
}
#define RESTORE restore_avx512
#include "prompt.inc"
#include "attention.inc"
#include "rows.inc"

/* The same with products of bytes. */
#undef TARGET
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")))
#define MUL(a, b) _mm512_mul_ps(a, b)
#define LOAD_BYTES(p) \
  _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(p))))
TARGET static inline __m512i plane_avx512(__m512i low, __m512i high, const int8_t *x) {
  __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), low, _mm512_loadu_si512(x));
  return _mm512_dpbusd_epi32(sum, high, _mm512_loadu_si512(x + 64));
}
#define UNPACK(p)                                                              \
  const __m512i mask = _mm512_set1_epi8(15);                                   \
  __m512i packed = _mm512_loadu_si512(p), low = _mm512_and_si512(packed, mask), \
          high = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask)
#define PACKED_PRODUCT(x)                                                         \
  _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(plane_avx512(low, high, x), 8), \
                                      plane_avx512(low, high, (x) + 128)))
#include "integer.inc"

TARGET static void prepare_avx512_vnni(const Int4Matrix *m, const float *x, float *prepared) {
  if (m->group % 128 == 0)
    prepare_integer_avx512(m, x, prepared);
  else
    prepare_floats(m, x, prepared);
}

TARGET static void int4_rows_avx512_vnni(const Int4Matrix *m, const float *prepared,
                                         int64_t batch, int64_t first, int64_t last, float *out,
                                         int64_t stride) {
  if (m->group % 128 == 0)
    integer_rows_avx512(m, prepared, batch, first, last, out, stride);
  else
    float_rows_avx512(m, prepared, batch, first, last, out, stride);
}

static const Kernels kernels_avx512_vnni = {
    "avx512_vnni",  prepare_avx512_vnni, int4_rows_avx512_vnni, dense_rows_avx512,
    restore_avx512, attend_avx512,       swiglu_avx512,         read_avx512,
    PROMPT_KERNELS,
};
#include "undefine.inc"
#endif

/* What this machine can run, the best first. */
static int known(const Kernels *found[4]) {
  int count = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    if (__builtin_cpu_supports("avx512vnni")) found[count++] = &kernels_avx512_vnni;
    found[count++] = &kernels_avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    found[count++] = &kernels_avx2;
#endif
  found[count++] = &kernels_generic;
  return count;
}

static _Atomic(const Kernels *) chosen;

const Kernels *vila_kernels(void) {
  const Kernels *kernels = chosen;
  if (!kernels) {
    const Kernels *found[4];
    known(found);
    chosen = kernels = found[0];
  }
  return kernels;
}

const char *vila_instruction_set(void) { return vila_kernels()->name; }

/* Run the kernels of this name from now on, NULL for the best. Returns 0, or -1 where the machine
 * does not know them. Not while another thread computes. */
int vila_choose(const char *instruction_set) {
  const Kernels *found[4];
  int count = known(found);
  for (int i = 0; i < count; i++) {
    if (!instruction_set || !strcmp(instruction_set, found[i]->name)) {
      chosen = found[i];
      return 0;
    }
  }
  return -1;
}
