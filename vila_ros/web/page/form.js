// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// The fields of the annotation. Typing changes the working copy; only what is added or removed
// makes new elements, so that the focus stays where it is.

import { byId, clock, colorOf, make } from "./parts.js";

const GROWS = CSS.supports("field-sizing", "content");

function grow(area) {
  if (GROWS) return;
  area.style.height = "0";
  area.style.height = `${area.scrollHeight + 2}px`;
}

export class Form {
  // changed(place): something was typed, added or removed. chosen(key): a box's fields were entered.
  constructor({ working, changed, chosen, redraw }) {
    Object.assign(this, { working, changed, onChosen: chosen, redraw });
    this.form = byId("form");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.candidate = null;
  }

  open(candidate) {
    this.candidate = candidate;
    this.render();
    this.form.parentElement.scrollTop = 0;
  }

  render() {
    const { working } = this;
    this.form.replaceChildren(
      this.#heading("Scene", null, null),
      this.#text("Description and explanation", "summary", working.summary, (text) => (working.summary = text)),
      this.#text("Driving suggestion", "suggestion", working.suggestion, (text) => (working.suggestion = text)),
      this.#text("Note to colleagues", "note", working.note, (text) => (working.note = text), 2000),
      this.#heading("Regions", working.regions.length, null),
      make("div", { id: "regions" }, this.#regions()),
      this.#heading("What matters", null, null),
      ...working.groups.map((group) => this.#group(group)),
      this.#provenance(),
    );
    for (const area of this.form.querySelectorAll("textarea")) grow(area);
  }

  // Only the boxes' fields, as they change by the frame as well.
  renderRegions() {
    const place = byId("regions");
    if (!place) return;
    place.replaceChildren(...this.#regions());
    this.form.querySelector("h2 .count-of").textContent = this.working.regions.length || "";
    for (const area of place.querySelectorAll("textarea")) grow(area);
  }

  // The history has grown; what was unfolded stays so.
  renderHistory() {
    const place = this.form.querySelector(".steps");
    if (place) place.replaceChildren(...this.#steps());
  }

  #steps() {
    const { history } = this.candidate.review;
    if (!history.length) return [make("p", {}, "Nobody has decided yet.")];
    const line = (step) =>
      `${clock(step.time).slice(0, 19)}  ${step.action} → ${step.verdict}${step.reviewer ? ` by ${step.reviewer}` : ""}`;
    return [make("ul", { class: "history figures" }, history.map((step) => make("li", {}, line(step))))];
  }

  // Another box is the chosen one. enter: the focus goes to its category.
  choose(key, enter) {
    for (const card of this.form.querySelectorAll(".region")) {
      const chosen = card.dataset.key === String(key);
      card.classList.toggle("chosen", chosen);
      if (chosen) {
        card.scrollIntoView({ block: "nearest" });
        if (enter) card.querySelector("input").select();
      }
    }
  }

  focusFirst() {
    this.form.querySelector("#field-summary")?.focus();
  }

  #heading(text, count, action) {
    return make("h2", {}, text, count === null ? null : make("span", { class: "count-of" }, count || ""), action);
  }

  #text(label, name, value, write, most = 8000) {
    const area = make("textarea", {
      id: `field-${name}`,
      rows: 1,
      maxlength: most,
      oninput: () => {
        write(area.value);
        grow(area);
        this.changed(name);
      },
    });
    area.value = value;
    return make("label", { class: "field" }, make("span", {}, label), area);
  }

  #regions() {
    const { regions } = this.working;
    if (!regions.length) {
      return [make("p", { class: "nothing" }, "No boxes. Drag on the frame, or press N.")];
    }
    return regions.map((region, index) => this.#region(region, index));
  }

  #region(region, index) {
    const name = `region-${region.key}`;
    const category = make("input", {
      id: `field-${name}-category`,
      list: "categories",
      maxlength: 200,
      spellcheck: "false",
      placeholder: "what it is",
      oninput: () => {
        region.category = category.value;
        card.style.setProperty("--c", colorOf(region.category || "box"));
        this.changed(`${name}-category`);
        this.redraw();
      },
    });
    category.value = region.category;
    const [x, y, width, height] = region.box.map((edge) => Math.round(edge));
    const card = make(
      "div",
      {
        class: `card region${region.key === this.chosenKey?.() ? " chosen" : ""}`,
        "data-key": region.key,
        role: "group",
        "aria-label": `Box ${index + 1}`,
        onfocusin: () => this.onChosen(region.key),
      },
      make("label", { class: "field" }, make("span", {}, `${index + 1} · Category`), category),
      make(
        "button",
        {
          type: "button",
          class: "quiet remove",
          title: "Delete this box (Del)",
          "aria-label": `Delete box ${index + 1}`,
          onclick: () => {
            this.working.remove(region.key);
            this.changed();
            this.renderRegions();
            this.redraw();
          },
        },
        "×",
      ),
      this.#text("Description and explanation", name, region.text, (text) => (region.text = text)),
      make("div", { class: "box-size figures" }, `${width} × ${height} px at ${x}, ${y}`),
    );
    card.style.setProperty("--c", colorOf(region.category || "box"));
    return card;
  }

  #group(group) {
    const items = this.working.general[group];
    const title = group.replaceAll("_", " ");
    const place = make("div", { class: `group${items.length ? " filled" : ""}` });
    const add = make(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Add to ${title}`,
        onclick: () => {
          items.push({ description: "", explanation: "" });
          this.changed();
          const fresh = this.#group(group);
          place.replaceWith(fresh);
          fresh.querySelector(".card:last-child textarea").focus();
        },
      },
      "+ Add",
    );
    place.append(
      make("h3", {}, title, items.length ? make("b", {}, items.length) : null, add),
      ...items.map((item, index) => this.#item(group, title, items, item, index, place)),
    );
    return place;
  }

  #item(group, title, items, item, index, place) {
    const name = `${group.replaceAll(" ", "-")}-${index}`;
    return make(
      "div",
      { class: "card", role: "group", "aria-label": `${title} ${index + 1}` },
      this.#text("Description", `${name}-description`, item.description, (text) => (item.description = text)),
      make(
        "button",
        {
          type: "button",
          class: "quiet remove",
          "aria-label": `Remove ${title} ${index + 1}`,
          title: "Remove",
          onclick: () => {
            items.splice(index, 1);
            this.changed();
            const fresh = this.#group(group);
            place.replaceWith(fresh);
            fresh.querySelector("h3 button").focus();
          },
        },
        "×",
      ),
      this.#text("Explanation", `${name}-explanation`, item.explanation, (text) => (item.explanation = text)),
    );
  }

  #provenance() {
    const { draft, topic, recording, stamp_ns: stamp } = this.candidate;
    const answers = draft.answers.map((answer) => [
      make("div", {}, `${answer.section.replaceAll("_", " ")}${answer.error ? ": " : ""}`, answer.error ? make("span", { class: "error" }, answer.error) : null),
      make("pre", {}, answer.text || "(nothing)"),
    ]);
    return make(
      "div",
      { class: "provenance" },
      make("details", {}, make("summary", {}, "History"), make("div", { class: "steps" }, this.#steps())),
      make(
        "details",
        {},
        make("summary", {}, draft.model ? `Drafted by ${draft.model} (${draft.runtime})` : "Not drafted by a model"),
        answers,
      ),
      make("details", {}, make("summary", {}, "Frame"), make("pre", {}, `${recording}\n${topic}\nstamp ${stamp} ns`)),
    );
  }
}
