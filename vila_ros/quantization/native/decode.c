/* Copyright 2026 The vila_ros authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products, and one decode step of a Llama or Qwen2 from embeddings to logits. The whole step
 * is one piece of work for the team: between two products stand barriers of a microsecond, where a
 * framework's calls would cost as much as reading the weights.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "int4.h"

#define UNIT 32                   /* rows */
#define STRETCH (UNIT * LONGEST) /* rows claimed at once, at most: some microseconds of reading */

/* Rows [first, last) of a product, as vila_team_claim gives out units. */
static int claim_rows(Team *team, int member, int64_t phase, int64_t rows, int64_t *first,
                      int64_t *last) {
  if (!vila_team_claim(team, member, phase, (rows + UNIT - 1) / UNIT, first, last)) return 0;
  *first *= UNIT;
  *last = *last * UNIT < rows ? *last * UNIT : rows;
  return 1;
}

/* Single products */

typedef struct {
  const Int4Matrix *matrix;
  const DenseMatrix *dense;
  const float *x;
  float *prepared;
  int64_t batch, first, last, kind;
  float *out;
  char *bytes;
} Product;

static void int4_work(Team *team, int member, void *argument) {
  Product *p = argument;
  int64_t rows = p->matrix->rows;
  for (int64_t first, last; claim_rows(team, member, 0, rows, &first, &last);)
    vila_kernels()->int4_rows(p->matrix, p->prepared, p->batch, first, last, p->out, rows);
}

/* Prepared vectors of `batch` rows [batch][columns]. */
static void prepare_all(const Int4Matrix *m, const float *x, int64_t batch, float *prepared) {
  for (int64_t b = 0; b < batch; b++)
    vila_kernels()->prepare(m, x + b * m->columns, prepared + b * vila_prepared(m->columns));
}

float *vila_floats(int64_t count) {
  return aligned_alloc(64, (size_t)(count + 15) / 16 * 64);
}

int vila_linear(const Int4Matrix *matrix, const float *x, int64_t batch, float *out, int threads) {
  float *prepared = vila_floats(batch * vila_prepared(matrix->columns));
  if (!prepared) return -1;
  prepare_all(matrix, x, batch, prepared);
  Product product = {.matrix = matrix, .prepared = prepared, .batch = batch, .out = out};
  int status = vila_team_run(threads, 1, int4_work, &product);
  free(prepared);
  return status;
}

static void dense_work(Team *team, int member, void *argument) {
  Product *p = argument;
  int64_t rows = p->dense->rows;
  for (int64_t first, last; claim_rows(team, member, 0, rows, &first, &last);)
    vila_kernels()->dense_rows(p->dense, p->x, p->batch, first, last, p->out, rows);
}

int vila_dense(const DenseMatrix *matrix, const float *x, int64_t batch, float *out, int threads) {
  Product product = {.dense = matrix, .x = x, .batch = batch, .out = out};
  return vila_team_run(threads, 1, dense_work, &product);
}

static void dequantise_work(Team *team, int member, void *argument) {
  Product *p = argument;
  int64_t rows = p->last - p->first, size = p->kind == KIND_F32 ? 4 : 2;
  for (int64_t first, last; claim_rows(team, member, 0, rows, &first, &last);)
    vila_kernels()->dequantise_rows(p->matrix, p->first + first, p->first + last,
                                    p->bytes + first * p->matrix->columns * size, p->kind);
}

int vila_dequantise(const Int4Matrix *matrix, int64_t first, int64_t last, void *out, int64_t kind,
                    int threads) {
  Product product = {.matrix = matrix, .first = first, .last = last, .bytes = out, .kind = kind};
  return vila_team_run(threads, 1, dequantise_work, &product);
}

typedef struct {
  const char *data;
  int64_t bytes;
  double sums[64];
} Reading;

#define READ_UNIT (1 << 18)

static void read_work(Team *team, int member, void *argument) {
  Reading *r = argument;
  int64_t units = r->bytes / READ_UNIT;
  for (int64_t first, last; vila_team_claim(team, member, 0, units, &first, &last);)
    r->sums[member] +=
        vila_kernels()->read(r->data + first * READ_UNIT, (last - first) * READ_UNIT);
}

/* Reads memory once, as the products do: the bandwidth that they are measured against. bytes: a
 * multiple of 256 KiB. */
double vila_read(const void *data, int64_t bytes, int threads) {
  Reading reading = {.data = data, .bytes = bytes};
  vila_team_run(threads, 1, read_work, &reading);
  double sum = 0.0;
  for (int i = 0; i < 64; i++) sum += reading.sums[i];
  return sum;
}

/* A step */

enum { PHASES_A_LAYER = 5 };

typedef struct {
  const DecoderModel *model;
  const DecoderStep *step;
  int64_t scratch, longest;
  float *hidden, *query, *key, *value, *mixed, *active;
  float *own; /* scratch floats for each member */
  int members;
} Stepping;

static void normalise(const float *x, const float *weight, int64_t size, float epsilon,
                      float *out) {
  float lanes[16] = {0.0f}, sum = 0.0f;
  int64_t i = 0;
  for (; i + 16 <= size; i += 16)
    for (int lane = 0; lane < 16; lane++) lanes[lane] += x[i + lane] * x[i + lane];
  for (; i < size; i++) sum += x[i] * x[i];
  for (int lane = 0; lane < 16; lane++) sum += lanes[lane];
  float factor = 1.0f / sqrtf(sum / (float)size + epsilon);
  for (i = 0; i < size; i++) out[i] = weight[i] * (x[i] * factor);
}

/* Whether one prepared vector serves two matrices. */
static int alike(const Int4Matrix *a, const Int4Matrix *b) {
  return a->input_scale == b->input_scale && a->group == b->group;
}

static void project(Team *team, int member, Stepping *s, const DecoderLayer *layer, int64_t phase,
                    float *own) {
  const DecoderModel *model = s->model;
  int64_t hidden = model->hidden, batch = s->step->batch;
  float *prepared = own, *normed = own + batch * vila_prepared(hidden);
  for (int64_t b = 0; b < batch; b++)
    normalise(s->hidden + b * hidden, layer->input_norm, hidden, model->epsilon,
              normed + b * hidden);
  const Int4Matrix *matrices[3] = {&layer->query, &layer->key, &layer->value};
  float *targets[3] = {s->query, s->key, s->value};
  const Int4Matrix *before = NULL;
  int64_t starts[4] = {0};
  for (int i = 0; i < 3; i++)
    starts[i + 1] = starts[i] + (matrices[i]->rows + UNIT - 1) / UNIT * UNIT;
  for (int64_t first, last; claim_rows(team, member, phase, starts[3], &first, &last);) {
    for (int i = 0; i < 3; i++) {
      const Int4Matrix *m = matrices[i];
      int64_t from = first > starts[i] ? first - starts[i] : 0;
      int64_t to = last - starts[i] < m->rows ? last - starts[i] : m->rows;
      if (from >= to) continue;
      if (!before || !alike(m, before)) prepare_all(m, normed, batch, prepared);
      before = m;
      vila_kernels()->int4_rows(m, prepared, batch, from, to, targets[i], m->rows);
    }
  }
}

/* One head of keys and values of one sequence: the new row is stored, its queries attend. */
static void attend_head(const Stepping *s, int64_t number, int64_t b, int64_t kv, float *scores) {
  const DecoderModel *model = s->model;
  const DecoderStep *step = s->step;
  int64_t size = model->head_dim, shared = model->heads / model->kv_heads;
  int64_t position = step->positions[b], bytes = size * (int64_t)sizeof(float);
  const float *cosine = step->cosine + step->angles[b] * size;
  const float *sine = step->sine + step->angles[b] * size;
  int64_t place = (step->slots[b] * model->kv_heads + kv) * step->capacity * size;
  float *keys = step->keys[number] + place, *values = step->values[number] + place;
  float *key = s->key + (b * model->kv_heads + kv) * size;
  float *query = s->query + (b * model->heads + kv * shared) * size;
  vila_kernels()->turn(key, cosine, sine, size);
  memcpy(keys + position * size, key, (size_t)bytes);
  memcpy(values + position * size, s->value + (b * model->kv_heads + kv) * size, (size_t)bytes);
  for (int64_t q = 0; q < shared; q++)
    vila_kernels()->turn(query + q * size, cosine, sine, size);
  vila_kernels()->attend(query, shared, keys, values, position + 1, size, model->scaling, scores,
                         s->mixed + (b * model->heads + kv * shared) * size);
}

static void attend(Team *team, int member, Stepping *s, int64_t number, int64_t phase,
                   float *own) {
  int64_t heads = s->model->kv_heads, all = s->step->batch * heads;
  for (int64_t first, last; vila_team_claim(team, member, phase, all, &first, &last);)
    for (; first < last; first++) attend_head(s, number, first / heads, first % heads, own);
}

/* hidden += matrix x, by rows. */
static void add_product(Team *team, int member, Stepping *s, const Int4Matrix *m, const float *x,
                        int64_t phase, float *own) {
  int64_t batch = s->step->batch, hidden = s->model->hidden;
  prepare_all(m, x, batch, own);
  float *out = own + batch * vila_prepared(m->columns);
  for (int64_t first, last; claim_rows(team, member, phase, m->rows, &first, &last);) {
    vila_kernels()->int4_rows(m, own, batch, first, last, out - first, STRETCH);
    for (int64_t b = 0; b < batch; b++)
      for (int64_t row = first; row < last; row++)
        s->hidden[b * hidden + row] += out[b * STRETCH + row - first];
  }
}

static void feed_forward(Team *team, int member, Stepping *s, const DecoderLayer *layer,
                         int64_t phase, float *own) {
  const DecoderModel *model = s->model;
  int64_t hidden = model->hidden, batch = s->step->batch, mlp = model->mlp;
  int64_t size = batch * vila_prepared(hidden);
  float *gate_x = own, *up_x = own, *normed = own + 2 * size;
  float *gate = normed + batch * hidden, *up = gate + batch * STRETCH;
  for (int64_t b = 0; b < batch; b++)
    normalise(s->hidden + b * hidden, layer->post_norm, hidden, model->epsilon,
              normed + b * hidden);
  prepare_all(&layer->gate, normed, batch, gate_x);
  if (!alike(&layer->gate, &layer->up)) {
    up_x = own + size;
    prepare_all(&layer->up, normed, batch, up_x);
  }
  for (int64_t first, last; claim_rows(team, member, phase, mlp, &first, &last);) {
    vila_kernels()->int4_rows(&layer->gate, gate_x, batch, first, last, gate - first, STRETCH);
    vila_kernels()->int4_rows(&layer->up, up_x, batch, first, last, up - first, STRETCH);
    for (int64_t b = 0; b < batch; b++)
      vila_kernels()->swiglu(gate + b * STRETCH, up + b * STRETCH, last - first,
                             s->active + b * mlp + first);
  }
}

static void step_work(Team *team, int member, void *argument) {
  Stepping *s = argument;
  const DecoderModel *model = s->model;
  const DecoderStep *step = s->step;
  float *own = s->own + member * s->scratch;
  for (int64_t number = 0; number < model->layers; number++) {
    const DecoderLayer *layer = &model->layer[number];
    int64_t phase = number * PHASES_A_LAYER;
    project(team, member, s, layer, phase, own);
    vila_team_barrier(team);
    attend(team, member, s, number, phase + 1, own);
    vila_team_barrier(team);
    add_product(team, member, s, &layer->output, s->mixed, phase + 2, own);
    vila_team_barrier(team);
    feed_forward(team, member, s, layer, phase + 3, own);
    vila_team_barrier(team);
    add_product(team, member, s, &layer->down, s->active, phase + 4, own);
    vila_team_barrier(team);
  }
  int64_t hidden = model->hidden, rows = model->head.rows;
  for (int64_t b = 0; b < step->batch; b++)
    normalise(s->hidden + b * hidden, model->norm, hidden, model->epsilon, own + b * hidden);
  int64_t phase = model->layers * PHASES_A_LAYER;
  for (int64_t first, last; claim_rows(team, member, phase, rows, &first, &last);)
    vila_kernels()->dense_rows(&model->head, own, step->batch, first, last, step->logits, rows);
}

/* The highest of some numbers, the first of equals; one that is invalid is above all. */
static int64_t highest(const float *numbers, int64_t count) {
  float lanes[16], most = numbers[0];
  int invalid = 0;
  for (int lane = 0; lane < 16; lane++) lanes[lane] = most;
  for (int64_t i = 0; i < count; i++) {
    float *lane = lanes + i % 16;
    *lane = numbers[i] > *lane ? numbers[i] : *lane;
    invalid |= numbers[i] != numbers[i];
  }
  for (int lane = 0; lane < 16; lane++) most = lanes[lane] > most ? lanes[lane] : most;
  for (int64_t i = 0; i < count; i++)
    if (invalid ? numbers[i] != numbers[i] : numbers[i] == most) return i;
  return 0;
}

/* Returns 0, or -1 without memory. */
int vila_decode(const DecoderModel *model, const DecoderStep *step, int threads) {
  int64_t batch = step->batch, longest = 0;
  for (int64_t b = 0; b < batch; b++)
    if (step->positions[b] + 1 > longest) longest = step->positions[b] + 1;
  int64_t queries = model->heads * model->head_dim, keys = model->kv_heads * model->head_dim;
  int64_t widest = model->mlp > model->hidden ? model->mlp : model->hidden;
  if (queries > widest) widest = queries;
  int64_t scratch = batch * (model->hidden + 2 * vila_prepared(widest) + 2 * STRETCH);
  int64_t scores = model->heads / model->kv_heads * longest;
  if (scores > scratch) scratch = scores;
  scratch = (scratch + 15) / 16 * 16;
  if (threads > 64) threads = 64;
  if (threads < 1) threads = 1;
  int64_t shared = batch * (model->hidden + 2 * queries + 2 * keys + model->mlp);
  shared = (shared + 15) / 16 * 16;
  float *memory = vila_floats(shared + scratch * threads);
  if (!memory) return -1;
  Stepping stepping = {.model = model, .step = step, .scratch = scratch, .hidden = memory};
  stepping.query = stepping.hidden + batch * model->hidden;
  stepping.key = stepping.query + batch * queries;
  stepping.value = stepping.key + batch * keys;
  stepping.mixed = stepping.value + batch * keys;
  stepping.active = stepping.mixed + batch * queries;
  stepping.own = memory + shared;
  for (int64_t b = 0; b < batch; b++)
    vila_row(&model->embeddings, step->tokens[b], stepping.hidden + b * model->hidden);
  int status =
      vila_team_run(threads, model->layers * PHASES_A_LAYER + 1, step_work, &stepping);
  free(memory);
  for (int64_t b = 0; b < batch; b++) {
    const float *logits = step->logits + b * model->head.rows;
    step->tokens[b] = highest(logits, model->head.rows);
    step->best[b] = logits[step->tokens[b]];
  }
  return status;
}
