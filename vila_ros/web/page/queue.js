// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// The queue: filters, counts, and a list of which only the rows in sight are elements.

import { thumbnailAddress } from "./calls.js";
import { byId, clamp, make } from "./parts.js";

const ROW = 66;
const SPARE = 6;

export class Queue {
  // open(id): a row was chosen.
  constructor({ open }) {
    this.open = open;
    this.all = [];
    this.shown = [];
    this.place = new Map();
    this.current = null;
    this.verdict = "pending";
    this.elements = new Map();
    this.list = byId("list");
    this.rows = byId("rows");
    this.list.addEventListener("scroll", () => this.#draw(), { passive: true });
    new ResizeObserver(() => this.#draw()).observe(this.list);
    this.list.addEventListener("keydown", (event) => this.#key(event));
    byId("search").addEventListener("input", () => this.filter());
    for (const name of ["miner", "recording", "order"]) {
      byId(name).addEventListener("change", () => this.filter());
    }
    for (const button of document.querySelectorAll(".segments button")) {
      button.addEventListener("click", () => this.show(button.dataset.verdict));
    }
  }

  load(answer) {
    this.all = answer.candidates;
    this.recordings = answer.recordings;
    this.row = new Map(this.all.map((row) => [row.id, row]));
    for (const row of this.all) {
      row.text = `${row.title} ${row.id} ${this.recordings[row.recording]} ${row.camera}`.toLowerCase();
    }
    const miners = [...new Set(this.all.flatMap((row) => row.miners))].sort();
    byId("miner").append(...miners.map((miner) => make("option", { value: miner }, miner)));
    byId("recording").append(
      ...this.recordings.map((name, index) => make("option", { value: index }, name)),
    );
    this.filter();
  }

  show(verdict) {
    this.verdict = verdict;
    for (const button of document.querySelectorAll(".segments button")) {
      button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
    }
    this.filter();
  }

  // Which rows are shown, by what the filters say now. The current one stays in sight until left.
  filter() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const miner = byId("miner").value;
    const recording = byId("recording").value;
    const fits = (row) =>
      (!miner || row.miners.includes(miner)) &&
      (!recording || row.recording === Number(recording)) &&
      words.every((word) => row.text.includes(word));
    const found = this.all.filter(fits);
    this.shown = found.filter((row) => !this.verdict || row.verdict === this.verdict);
    if (byId("order").value === "time") {
      this.shown.sort((a, b) => a.recording - b.recording || a.stamp - b.stamp);
    }
    this.#place();
    const count = { "": found.length, pending: 0, accepted: 0, rejected: 0 };
    for (const row of found) count[row.verdict] += 1;
    for (const button of document.querySelectorAll(".segments button")) {
      button.querySelector("b").textContent = count[button.dataset.verdict].toLocaleString("en");
    }
    this.rows.replaceChildren();
    this.elements.clear();
    this.#count();
    this.#draw();
  }

  #place() {
    this.place = new Map(this.shown.map((row, index) => [row.id, index]));
    this.rows.style.height = `${this.shown.length * ROW}px`;
  }

  #count() {
    const of = this.shown.length === this.all.length ? "" : ` of ${this.all.length.toLocaleString("en")}`;
    byId("count").textContent = `${this.shown.length.toLocaleString("en")}${of} candidates`;
  }

  // A row has another verdict; it stays where it is until the filters are used again.
  update(id, verdict, revision) {
    const row = this.row.get(id);
    if (!row || row.revision > revision) return;
    if (row.verdict !== verdict) {
      for (const [which, by] of [[row.verdict, -1], [verdict, 1]]) {
        const figure = document.querySelector(`.segments button[data-verdict="${which}"] b`);
        figure.textContent = (Number(figure.textContent.replaceAll(",", "")) + by).toLocaleString("en");
      }
    }
    Object.assign(row, { verdict, revision });
    const index = this.place.get(id);
    if (index !== undefined && this.elements.has(index)) {
      this.elements.get(index).remove();
      this.elements.delete(index);
      this.#draw();
    }
  }

  tally() {
    const count = { accepted: 0, rejected: 0, all: this.all.length };
    for (const row of this.all) if (row.verdict in count) count[row.verdict] += 1;
    return count;
  }

  select(id) {
    this.current = id;
    const index = this.place.get(id);
    if (index === undefined) {
      this.#marks();
      return;
    }
    const top = index * ROW;
    const { scrollTop, clientHeight } = this.list;
    if (top < scrollTop) this.list.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) this.list.scrollTop = top + ROW - clientHeight;
    this.#draw();
    this.#marks();
  }

  #marks() {
    for (const [index, element] of this.elements) {
      const chosen = this.shown[index].id === this.current;
      element.setAttribute("aria-selected", String(chosen));
      if (chosen) this.list.setAttribute("aria-activedescendant", element.id);
    }
  }

  // The id of the row so many places on from the current one; undecided: the next that is open.
  neighbour(by, undecided = false) {
    const here = this.place.get(this.current) ?? (by > 0 ? -1 : this.shown.length);
    for (let index = here + by; index >= 0 && index < this.shown.length; index += by) {
      if (!undecided || this.shown[index].verdict === "pending") return this.shown[index].id;
    }
    return null;
  }

  #draw() {
    const { scrollTop, clientHeight } = this.list;
    const from = clamp(Math.floor(scrollTop / ROW) - SPARE, 0, this.shown.length);
    const to = clamp(Math.ceil((scrollTop + clientHeight) / ROW) + SPARE, 0, this.shown.length);
    for (const [index, element] of this.elements) {
      if (index < from || index >= to) {
        element.remove();
        this.elements.delete(index);
      }
    }
    for (let index = from; index < to; index += 1) {
      if (!this.elements.has(index)) {
        const element = this.#element(this.shown[index], index);
        this.elements.set(index, element);
        this.rows.append(element);
      }
    }
    this.#marks();
  }

  #element(row, index) {
    const element = make(
      "div",
      {
        class: `row ${row.verdict}`,
        role: "option",
        id: `row-${index}`,
        "aria-selected": String(row.id === this.current),
        "aria-setsize": this.shown.length,
        "aria-posinset": index + 1,
        "data-id": row.id,
        onclick: () => this.open(row.id),
      },
      make("img", { src: thumbnailAddress(row.id), alt: "", width: 84, height: 51, decoding: "async" }),
      make(
        "div",
        {},
        make("div", { class: "what" }, row.title),
        make(
          "div",
          { class: "meta" },
          make("span", { class: `dot ${row.verdict}`, title: row.verdict }),
          make(
            "span",
            { class: "from" },
            `${row.score.toFixed(2)} · ${row.camera} · ${this.recordings[row.recording]}`,
          ),
          make("span", { class: "hidden" }, row.verdict),
        ),
      ),
    );
    element.style.top = `${index * ROW}px`;
    return element;
  }

  #key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    const ends = { Home: 0, End: this.shown.length - 1 };
    if (by === undefined && !(event.key in ends)) return;
    event.preventDefault();
    event.stopPropagation();
    const here = this.place.get(this.current) ?? -1;
    const index = event.key in ends ? ends[event.key] : clamp(here + by, 0, this.shown.length - 1);
    if (this.shown[index]) this.open(this.shown[index].id);
  }
}
