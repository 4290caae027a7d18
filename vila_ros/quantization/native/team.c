/* Copyright 2026 The vila_ros authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * A few threads that do one piece of work together. Between two pieces they sleep, so that a robot's
 * other processes have the cores; within one they wait by spinning for some microseconds, because
 * the kernel's wake-up would cost as much as the work between two barriers, and yield after that.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "int4.h"

#define MAX_THREADS 64
#define SPINS 4000

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

struct Team {
  pthread_mutex_t lock;
  pthread_cond_t wake;
  int started, members;
  uint64_t generation;
  TeamWork work;
  void *argument;
  atomic_int arrived, finished;
  atomic_uint turn;
  atomic_long *claims;
  int64_t claims_size, phases;
  uint64_t begins_after[MAX_THREADS]; /* the generation that was over when a member began */
};

/* One team a process: calls from several threads take turns. */
static Team team = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;

static void *member_main(void *number) {
  int member = (int)(intptr_t)number;
  uint64_t seen = team.begins_after[member];
  for (;;) {
    pthread_mutex_lock(&team.lock);
    while (team.generation == seen || member >= team.members) {
      seen = team.generation;
      pthread_cond_wait(&team.wake, &team.lock);
    }
    seen = team.generation;
    TeamWork work = team.work;
    void *argument = team.argument;
    pthread_mutex_unlock(&team.lock);
    work(&team, member, argument);
    atomic_fetch_add(&team.finished, 1);
  }
  return NULL;
}

static void forget_members(void) {
  team.started = 0;
  pthread_mutex_init(&team.lock, NULL);
  pthread_cond_init(&team.wake, NULL);
  pthread_mutex_init(&turn_lock, NULL);
}

static int start_members(int wanted) {
  static int registered;
  if (!registered) {
    /* A forked child has none of the threads. */
    pthread_atfork(NULL, NULL, forget_members);
    registered = 1;
  }
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  while (team.started < wanted - 1) {
    pthread_t thread;
    intptr_t number = team.started + 1;
    team.begins_after[number] = team.generation;
    if (pthread_create(&thread, &detached, member_main, (void *)number)) break;
    team.started++;
  }
  pthread_attr_destroy(&detached);
  return team.started + 1;
}

/* Returns 0, or -1 without memory. */
int vila_team_run(int threads, int64_t phases, TeamWork work, void *argument) {
  if (threads < 1) threads = 1;
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  pthread_mutex_lock(&turn_lock);
  /* A line of its own for each member's counts of neighbouring phases. */
  phases = (phases + 7) / 8 * 8;
  if (team.claims_size < phases * threads) {
    atomic_long *grown = realloc(team.claims, (size_t)(phases * threads) * sizeof *grown);
    if (!grown) {
      pthread_mutex_unlock(&turn_lock);
      return -1;
    }
    team.claims = grown;
    team.claims_size = phases * threads;
  }
  int available = start_members(threads);
  if (threads > available) threads = available;
  team.phases = phases;
  for (int64_t i = 0; i < phases * threads; i++) atomic_store(&team.claims[i], 0);
  atomic_store(&team.arrived, 0);
  atomic_store(&team.finished, 1);
  pthread_mutex_lock(&team.lock);
  team.members = threads;
  team.work = work;
  team.argument = argument;
  team.generation++;
  if (threads > 1) pthread_cond_broadcast(&team.wake);
  pthread_mutex_unlock(&team.lock);
  work(&team, 0, argument);
  for (int spins = 0; atomic_load(&team.finished) < threads; spins++) {
    if (spins < SPINS)
      PAUSE();
    else
      sched_yield();
  }
  pthread_mutex_unlock(&turn_lock);
  return 0;
}

/* A member's own part comes first, in stretches that lie side by side, so that what a processor
 * fetches ahead is its own; then what is left of the others'. */
int vila_team_claim(Team *of, int member, int64_t phase, int64_t units, int64_t *first,
                    int64_t *last) {
  for (int i = 0; i < of->members; i++) {
    int owner = (member + i) % of->members;
    int64_t begin = units * owner / of->members, end = units * (owner + 1) / of->members;
    atomic_long *claimed = &of->claims[owner * of->phases + phase];
    int64_t left = end - begin - atomic_load_explicit(claimed, memory_order_relaxed);
    if (left <= 0) continue;
    int64_t wanted = left < 2 * LONGEST ? (left + 1) / 2 : LONGEST;
    *first = begin + atomic_fetch_add_explicit(claimed, wanted, memory_order_relaxed);
    *last = *first + wanted < end ? *first + wanted : end;
    if (*first < end) return 1;
  }
  return 0;
}

void vila_team_barrier(Team *of) {
  if (of->members == 1) return;
  unsigned turn = atomic_load(&of->turn);
  if (atomic_fetch_add(&of->arrived, 1) + 1 == of->members) {
    atomic_store(&of->arrived, 0);
    atomic_fetch_add(&of->turn, 1);
    return;
  }
  for (int spins = 0; atomic_load(&of->turn) == turn; spins++) {
    if (spins < SPINS)
      PAUSE();
    else
      sched_yield();
  }
}
