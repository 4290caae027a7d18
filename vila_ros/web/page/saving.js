// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// Saves what is changed, a moment after it was; one request at a time, none of them lost.

import { decide, Refused } from "./calls.js";

const WAIT_MS = 600;
const RETRY_MS = 2500;

const SAYS = {
  saved: "Saved",
  changed: "Unsaved",
  saving: "Saving…",
  failed: "Not saved, trying again",
  conflict: "Changed elsewhere",
};

export class Saving {
  // tell(state, text): how it stands. value(), note(): what is on the page. reviewer(): whose it is.
  constructor({ tell, value, note, reviewer, saved, conflict }) {
    Object.assign(this, { tell, value, note, reviewer, onSaved: saved, onConflict: conflict });
    this.id = null;
    this.revision = 0;
    this.dirty = false;
    this.stuck = null;
    this.timer = 0;
    this.queue = Promise.resolve();
  }

  // Another candidate is worked on, as the server has it.
  open(id, review) {
    clearTimeout(this.timer);
    this.id = id;
    this.revision = review.revision;
    this.dirty = false;
    this.stuck = null;
    this.#state("saved");
  }

  changed() {
    this.dirty = true;
    if (this.stuck) return;
    this.#state("changed");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), WAIT_MS);
  }

  // Save now what is not saved; true if everything is.
  async flush() {
    clearTimeout(this.timer);
    await this.queue;
    if (this.stuck) return false;
    if (!this.dirty) return true;
    return (await this.#send("edit")) !== null;
  }

  // accept, reject or undo; the review after it, or null if it was not taken.
  async decide(action) {
    clearTimeout(this.timer);
    await this.queue;
    if (this.stuck) return null;
    // Undo goes back from what is on the page, so that must be there first.
    if (action === "undo" && this.dirty && (await this.#send("edit")) === null) return null;
    return this.#send(action);
  }

  // While the page closes: no time to wait for an answer.
  leave() {
    if (!this.dirty || this.stuck || this.id === null) return;
    decide(this.#decision("edit"), true).catch(() => {});
    this.dirty = false;
  }

  keepMine() {
    this.revision = this.stuck.revision;
    this.stuck = null;
    this.dirty = true;
    return this.flush();
  }

  #decision(action) {
    const decision = { id: this.id, action, revision: this.revision, reviewer: this.reviewer() };
    if (action !== "undo" && this.dirty) {
      decision.annotation = this.value();
      decision.note = this.note();
    }
    return decision;
  }

  #send(action) {
    const sent = this.queue.then(async () => {
      const { id } = this;
      const decision = this.#decision(action);
      const wasDirty = this.dirty;
      this.dirty = false;
      this.#state("saving");
      try {
        const { review } = await decide(decision);
        this.revision = review.revision;
        this.#state(this.dirty ? "changed" : "saved");
        this.onSaved(id, review);
        return review;
      } catch (error) {
        this.dirty = wasDirty || this.dirty;
        this.#failed(error);
        return null;
      }
    });
    this.queue = sent.catch(() => null);
    return sent;
  }

  #failed(error) {
    if (error instanceof Refused && error.status === 409) {
      this.stuck = error.answer.review;
      this.#state("conflict", error.message);
      this.onConflict(error.message, this.stuck);
      return;
    }
    const text = error instanceof Refused ? error.message : "The server does not answer.";
    this.#state("failed", text);
    if (this.dirty) this.timer = setTimeout(() => this.flush(), RETRY_MS);
  }

  #state(state, why = "") {
    this.tell(state, SAYS[state], why);
  }
}
