// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// Keyboard shortcuts: one table for what they do and for the help that names them.

import { byId, make } from "./parts.js";

export class Keys {
  // sections: [title, [[keys for people, text, keys, action], …]]. Keys as in KeyboardEvent.key,
  // with "Ctrl+" in front. typing: those that work in a field, too.
  constructor(sections, typing) {
    this.actions = new Map();
    this.typing = typing;
    const shown = [];
    for (const [title, rows] of sections) {
      shown.push(make("h3", {}, title));
      for (const [names, text, keys, action] of rows) {
        shown.push(
          make("div", {}, make("span", {}, names.map((name) => make("kbd", {}, name))), make("span", {}, text)),
        );
        for (const key of keys) this.actions.set(key, action);
      }
    }
    byId("shortcuts").append(...shown);
    document.addEventListener("keydown", (event) => this.#press(event));
  }

  #press(event) {
    if (event.defaultPrevented || event.isComposing || byId("help").open) return;
    const { target } = event;
    const types = target.matches?.("input, textarea, select");
    const control = event.ctrlKey || event.metaKey;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const key = `${control ? "Ctrl+" : ""}${control && event.shiftKey ? "Shift+" : ""}${name}`;
    if (types && !this.typing.includes(key)) return;
    if (event.altKey) return;
    // Space and Enter press a button that has the focus.
    if ((key === " " || key === "Enter") && target.matches?.("button, summary")) return;
    const action = this.actions.get(key);
    if (!action) return;
    if (action(event) !== false) event.preventDefault();
  }
}
