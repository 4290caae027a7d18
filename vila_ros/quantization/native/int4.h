/* Copyright 2026 The vila_ros authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Int4 matrices and a decoder's step on the CPU. Activations and sums are float32; weights are read
 * where they lie, so that a step costs little more than reading them once. Loaded by native.py,
 * whose ctypes structures mirror the ones here.
 */
#ifndef VILA_INT4_H
#define VILA_INT4_H

#include <stdint.h>

enum { KIND_F32 = 0, KIND_F16 = 1, KIND_BF16 = 2 };

/* weight[o][k] = (q[o][k] - zeros[o][k / group]) * scales[o][k / group]; bits 4i to 4i+3 of
 * packed[o][j] are q[o][8j + i]. columns and group are multiples of 16. */
typedef struct {
  const uint32_t *packed;
  const void *scales;
  const uint8_t *zeros;
  const float *input_scale; /* [columns], or NULL for 1 */
  const float *bias;        /* [rows], or NULL */
  int64_t rows, columns, group;
  int64_t scale_kind;
} Int4Matrix;

/* weight [rows][columns] in one of the kinds. */
typedef struct {
  const void *weight;
  int64_t rows, columns, kind;
} DenseMatrix;

typedef struct {
  Int4Matrix query, key, value, output, gate, up, down;
  const float *input_norm, *post_norm; /* [hidden] */
} DecoderLayer;

typedef struct {
  int64_t layers, hidden, heads, kv_heads, head_dim, mlp;
  float epsilon, scaling;
  const DecoderLayer *layer;
  const float *norm;
  DenseMatrix embeddings, head;
} DecoderModel;

/* One new token for each of `batch` sequences. tokens: in, and the most probable next ones
 * out; best: their logits. cosine, sine [...][head_dim], of which angles says the row of each
 * sequence. keys, values: one pointer a layer, float32 [slots][kv_heads][capacity][head_dim].
 * logits [batch][vocabulary]. */
typedef struct {
  int64_t batch, capacity;
  int64_t *tokens;
  float *best;
  const float *cosine, *sine;
  const int64_t *angles, *slots, *positions;
  float *const *keys;
  float *const *values;
  float *logits;
} DecoderStep;

/* A prompt between its products; what each function reads and writes stands beside it in prompt.c.
 * Numbers of 16 bits are bfloat16; bias and scale may be NULL. */
typedef struct {
  int64_t rows, start, size, mlp, heads, kv_heads, head_dim, capacity;
  float epsilon, scaling;
  float *hidden;
  const uint16_t *added, *projected;
  const float *bias, *scale, *weight, *cosine, *sine, *mixed;
  uint16_t *normed, *active;
  float *query, *keys, *values;
} PromptRows;

const char *vila_instruction_set(void);
int vila_choose(const char *instruction_set);
int vila_linear(const Int4Matrix *matrix, const float *x, int64_t batch, float *out, int threads);
int vila_dense(const DenseMatrix *matrix, const float *x, int64_t batch, float *out, int threads);
int vila_dequantise(const Int4Matrix *matrix, int64_t first, int64_t last, void *out, int64_t kind,
                    int threads);
int vila_decode(const DecoderModel *model, const DecoderStep *step, int threads);
int vila_prompt_norm(const PromptRows *rows, int threads);
int vila_prompt_gate(const PromptRows *rows, int threads);
int vila_prompt_turn(const PromptRows *rows, int threads);
int vila_prompt_attend(const PromptRows *rows, int threads);
int vila_prompt_narrow(const PromptRows *rows, int threads);
double vila_read(const void *data, int64_t bytes, int threads);

/* Internal: kernels of one instruction set. `prepare` lays out a vector as `int4_rows` reads it, in
 * vila_prepared(columns) floats at a multiple of 64 bytes. */
typedef struct {
  const char *name;
  void (*prepare)(const Int4Matrix *, const float *x, float *prepared);
  void (*int4_rows)(const Int4Matrix *, const float *prepared, int64_t batch, int64_t first,
                    int64_t last, float *out, int64_t stride);
  void (*dense_rows)(const DenseMatrix *, const float *x, int64_t batch, int64_t first,
                     int64_t last, float *out, int64_t stride);
  void (*dequantise_rows)(const Int4Matrix *, int64_t first, int64_t last, void *out, int64_t kind);
  void (*attend)(const float *query, int64_t queries, const float *keys, const float *values,
                 int64_t seen, int64_t head_dim, float scaling, float *scores, float *out);
  void (*swiglu)(const float *gate, const float *up, int64_t count, float *out);
  double (*read)(const void *data, int64_t bytes);
  void (*norm_row)(const float *x, const float *weight, float epsilon, int64_t count,
                   uint16_t *out);
  void (*add_row)(const uint16_t *x, const float *bias, int64_t count, float *out);
  void (*gate_row)(const uint16_t *gate, const uint16_t *up, const float *scale, int64_t count,
                   uint16_t *out);
  void (*narrow_row)(const float *x, const float *scale, int64_t count, uint16_t *out);
  void (*widen_row)(const uint16_t *x, const float *bias, int64_t count, float *out);
  void (*turn)(float *head, const float *cosine, const float *sine, int64_t size);
  void (*attend_six)(const float *const queries[6], const float *keys, int64_t stride,
                     const float *values, int64_t seen, int64_t total, int64_t head_dim, float scaling,
                     float *scores, float *out);
} Kernels;

const Kernels *vila_kernels(void);
static inline int64_t vila_padded(int64_t columns) { return (columns + 127) / 128 * 128; }
static inline int64_t vila_prepared(int64_t columns) { return vila_padded(columns) * 9 / 8; }
/* Floats at a multiple of 64 bytes, to be freed; NULL without memory. */
float *vila_floats(int64_t count);
void vila_row(const DenseMatrix *matrix, int64_t row, float *out);

/* Work shared by a few threads: all run `work`, meet at barriers, and claim stretches [first, last)
 * of a phase's units until none is left. */
#define LONGEST 4 /* units claimed at once */
typedef struct Team Team;
typedef void (*TeamWork)(Team *team, int member, void *argument);
int vila_team_run(int threads, int64_t phases, TeamWork work, void *argument);
int vila_team_claim(Team *team, int member, int64_t phase, int64_t units, int64_t *first,
                    int64_t *last);
void vila_team_barrier(Team *team);

#endif
