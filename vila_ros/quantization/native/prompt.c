/* Copyright 2026 The vila_ros authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * The work between a prompt's products, each piece shared by the team over rows: what a framework
 * does in a dozen passes over float32, most of them through memory.
 */
#include <stdlib.h>

#include "int4.h"

#define ROWS 8 /* a unit of work */

typedef struct {
  const PromptRows *rows;
  void (*row)(const PromptRows *, int64_t row);
} Pass;

static void pass_work(Team *team, int member, void *argument) {
  Pass *pass = argument;
  int64_t count = pass->rows->rows, units = (count + ROWS - 1) / ROWS;
  for (int64_t first, last; vila_team_claim(team, member, 0, units, &first, &last);)
    for (int64_t row = first * ROWS; row < last * ROWS && row < count; row++)
      pass->row(pass->rows, row);
}

static int pass_over(const PromptRows *rows, void (*row)(const PromptRows *, int64_t),
                     int threads) {
  Pass pass = {.rows = rows, .row = row};
  return vila_team_run(threads, 1, pass_work, &pass);
}

static void norm(const PromptRows *p, int64_t row) {
  float *hidden = p->hidden + row * p->size;
  if (p->added) vila_kernels()->add_row(p->added + row * p->size, p->bias, p->size, hidden);
  if (p->normed)
    vila_kernels()->norm_row(hidden, p->weight, p->epsilon, p->size, p->normed + row * p->size);
}

/* hidden += added + bias; normed = the norm of that. Either may be missing. */
int vila_prompt_norm(const PromptRows *rows, int threads) { return pass_over(rows, norm, threads); }

static void gate(const PromptRows *p, int64_t row) {
  const uint16_t *both = p->projected + row * 2 * p->mlp;
  vila_kernels()->gate_row(both, both + p->mlp, p->scale, p->mlp, p->active + row * p->mlp);
}

/* active = silu(gate) * up * scale, from projected [rows][gate, up]. */
int vila_prompt_gate(const PromptRows *rows, int threads) { return pass_over(rows, gate, threads); }

static void turn(const PromptRows *p, int64_t row) {
  const Kernels *kernels = vila_kernels();
  int64_t size = p->head_dim, heads = p->heads, kv_heads = p->kv_heads;
  const uint16_t *from = p->projected + row * (heads + 2 * kv_heads) * size;
  const float *cosine = p->cosine + row * size, *sine = p->sine + row * size;
  for (int64_t head = 0; head < heads + 2 * kv_heads; head++, from += size) {
    int64_t kv = head - heads, value = kv - kv_heads;
    int64_t place = ((value >= 0 ? value : kv) * p->capacity + row) * size;
    float *to = kv < 0 ? p->query + (row * heads + head) * size
                       : (value < 0 ? p->keys : p->values) + place;
    kernels->widen_row(from, p->bias ? p->bias + head * size : NULL, size, to);
    if (value < 0) kernels->turn(to, cosine, sine, size);
  }
}

/* query [rows][heads][head_dim], and keys and values [kv_heads][capacity][head_dim] from their first
 * new position on, from projected [rows][query, key, value]; cosine and sine [rows][head_dim]. */
int vila_prompt_turn(const PromptRows *rows, int threads) { return pass_over(rows, turn, threads); }

static void narrow(const PromptRows *p, int64_t row) {
  int64_t count = p->heads * p->head_dim;
  vila_kernels()->narrow_row(p->mixed + row * count, p->scale, count, p->active + row * count);
}

/* active = mixed * scale. */
int vila_prompt_narrow(const PromptRows *rows, int threads) {
  return pass_over(rows, narrow, threads);
}

typedef struct {
  const PromptRows *rows;
  int64_t seen, stride, scratch;
  float *keys; /* [kv_heads][head_dim][stride], turned over */
  float *own;  /* scratch of each member */
} Attention;

#define SIDE 16

static void turn_over(const float *keys, int64_t seen, int64_t size, int64_t stride, float *out) {
  for (int64_t p = 0; p < seen; p += SIDE)
    for (int64_t d = 0; d < size; d++)
      for (int64_t i = p; i < p + SIDE && i < seen; i++) out[d * stride + i] = keys[i * size + d];
  for (int64_t d = 0; d < size; d++)
    for (int64_t i = seen; i < stride; i++) out[d * stride + i] = 0.0f;
}

static void attend_work(Team *team, int member, void *argument) {
  const Attention *a = argument;
  const PromptRows *p = a->rows;
  int64_t size = p->head_dim, sixes = (p->rows + 5) / 6, shared = p->heads / p->kv_heads;
  for (int64_t first, last; vila_team_claim(team, member, 0, p->kv_heads, &first, &last);)
    for (int64_t kv = first; kv < last; kv++)
      turn_over(p->keys + kv * p->capacity * size, a->seen, size, a->stride,
                a->keys + kv * size * a->stride);
  vila_team_barrier(team);
  float *scores = a->own + member * a->scratch, *out = scores + 6 * a->stride;
  /* Heads after one another, as several share their keys. */
  for (int64_t first, last; vila_team_claim(team, member, 1, p->heads * sixes, &first, &last);) {
    for (int64_t unit = first; unit < last; unit++) {
      int64_t head = unit / sixes, row = unit % sixes * 6, kv = head / shared;
      const float *queries[6];
      for (int64_t i = 0; i < 6; i++)
        queries[i] = p->query + ((row + i < p->rows ? row + i : row) * p->heads + head) * size;
      vila_kernels()->attend_six(queries, a->keys + kv * size * a->stride, a->stride,
                                 p->values + kv * p->capacity * size, p->start + row + 1, a->seen,
                                 size, p->scaling, scores, out);
      for (int64_t i = 0; i < 6 && row + i < p->rows; i++)
        vila_kernels()->narrow_row(out + i * size, p->scale ? p->scale + head * size : NULL, size,
                                   p->active + ((row + i) * p->heads + head) * size);
    }
  }
}

/* active = causal attention of query * scale, over all keys and values [kv_heads][capacity][head_dim]
 * from position 0 on; the first query stands at `start`. */
int vila_prompt_attend(const PromptRows *rows, int threads) {
  if (threads > 64) threads = 64;
  if (threads < 1) threads = 1;
  Attention a = {.rows = rows, .seen = rows->start + rows->rows};
  a.stride = (a.seen + 63) / 64 * 64;
  a.scratch = 6 * (a.stride + (rows->head_dim + 15) / 16 * 16);
  int64_t count = rows->kv_heads * rows->head_dim * a.stride;
  a.keys = vila_floats(count + a.scratch * threads);
  if (!a.keys) return -1;
  a.own = a.keys + count;
  int status = vila_team_run(threads, 2, attend_work, &a);
  free(a.keys);
  return status;
}
