// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// The frame: boxes are drawn, chosen, moved and resized here, by mouse and by keyboard.

import { byId, clamp, colorOf, draw, set } from "./parts.js";

const LEAST = 4; // pixels of the screen that a drag must have to be a box
const SMALLEST = 1; // pixels of the frame
const CORNERS = { nw: [0, 0], n: [0.5, 0], ne: [1, 0], e: [1, 0.5], se: [1, 1], s: [0.5, 1], sw: [0, 1], w: [0, 0.5] };
const CURSORS = { nw: "nwse", se: "nwse", ne: "nesw", sw: "nesw", n: "ns", s: "ns", e: "ew", w: "ew" };
const MOST_ZOOM = 16;
const HANDLE = 9; // pixels of the screen

const ruler = document.createElement("canvas").getContext("2d");

// Pixels of the screen that a box's name takes.
function textWidth(text) {
  ruler.font = `650 12px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

export class Canvas {
  // changed(place): a box was changed. chosen(key): one was chosen, null for none.
  constructor({ working, changed, chosen }) {
    Object.assign(this, { working, changed, onChosen: chosen });
    this.svg = byId("canvas");
    this.layer = byId("boxes");
    this.handles = byId("handles");
    this.size = { width: 16, height: 9 };
    this.sight = { x: 0, y: 0, width: 16, height: 9 };
    this.key = null;
    this.visible = true;
    this.away = false;
    this.drag = null;
    this.svg.addEventListener("pointerdown", (event) => this.#down(event));
    this.svg.addEventListener("pointermove", (event) => this.#move(event));
    this.svg.addEventListener("pointerup", (event) => this.#up(event));
    this.svg.addEventListener("pointercancel", () => this.#cancel());
    this.svg.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.svg.addEventListener("keydown", (event) => this.#press(event));
    new ResizeObserver(() => this.render()).observe(this.svg);
  }

  // Another frame, whole.
  open(width, height) {
    this.size = { width, height };
    this.key = null;
    this.#cancel();
    set(byId("picture"), { width, height });
    this.fit();
  }

  picture(address) {
    byId("picture").setAttribute("href", address);
  }

  // Another moment is shown: boxes do not belong to it.
  setAway(away) {
    this.away = away;
    this.#cancel();
    this.svg.classList.toggle("away", away);
    this.render();
  }

  setVisible(visible) {
    this.visible = visible;
    this.render();
  }

  fit() {
    this.sight = { x: 0, y: 0, ...this.size };
    this.#look();
  }

  // Zoom by a factor about a point of the frame, the middle if none.
  zoom(factor, about) {
    const { sight, size } = this;
    const width = clamp(sight.width / factor, size.width / MOST_ZOOM, size.width);
    const height = (width * size.height) / size.width;
    const point = about || { x: sight.x + sight.width / 2, y: sight.y + sight.height / 2 };
    const rest = width / sight.width;
    this.sight = {
      x: clamp(point.x - (point.x - sight.x) * rest, 0, size.width - width),
      y: clamp(point.y - (point.y - sight.y) * rest, 0, size.height - height),
      width,
      height,
    };
    this.#look();
  }

  #look() {
    const { x, y, width, height } = this.sight;
    this.svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
    byId("zoom").textContent = `${Math.round((100 * this.size.width) / width)}%`;
    this.render();
  }

  // A new box in the middle of what is in sight.
  addBox() {
    const { x, y, width, height } = this.sight;
    const box = [x + width * 0.375, y + height * 0.375, width * 0.25, height * 0.25].map(Math.round);
    const region = this.working.add(box);
    this.changed();
    this.render();
    this.choose(region.key);
    this.focus(region.key);
  }

  removeChosen() {
    if (this.key === null) return false;
    const index = this.working.regions.findIndex((region) => region.key === this.key);
    this.working.remove(this.key);
    this.changed();
    const next = this.working.regions[Math.min(index, this.working.regions.length - 1)];
    this.choose(next ? next.key : null);
    this.render();
    if (next) this.focus(next.key);
    return true;
  }

  choose(key, tell = true) {
    if (this.key === key) return;
    this.key = key;
    this.render();
    if (tell) this.onChosen(key);
  }

  focus(key) {
    this.layer.querySelector(`[data-key="${key}"]`)?.focus({ preventScroll: true });
  }

  // Pixels of the screen for one of the frame.
  get #scale() {
    return this.svg.getScreenCTM()?.a || 1;
  }

  render() {
    const focused = document.activeElement?.closest?.(".box")?.dataset.key;
    const shown = this.visible && !this.away ? this.working.regions : [];
    const unit = 1 / this.#scale;
    const boxes = shown.map((region, index) => this.#box(region, index, unit));
    // The chosen one last, on top of the others.
    this.layer.replaceChildren(...boxes);
    this.handles.replaceChildren();
    const chosen = shown.find((region) => region.key === this.key);
    if (chosen) this.#drawHandles(chosen, unit);
    if (focused) this.focus(focused);
  }

  #box(region, index, unit) {
    const [x, y, width, height] = region.box;
    const name = region.category || "box";
    const label = `${index + 1} ${name.replaceAll("_", " ")}`;
    const chosen = region.key === this.key;
    const wide = (textWidth(label) + 10) * unit;
    const high = 18 * unit;
    const gap = (chosen ? HANDLE : 1) * unit; // the handles stand out of the box
    const above = y - high - gap >= this.sight.y ? y - high - gap : y + height + gap;
    const tag = draw("rect", { class: "tag", x, y: above, width: wide, height: high, rx: 3 * unit });
    const text = draw("text", { x: x + 5 * unit, y: above + 13 * unit, "font-size": 12 * unit });
    text.textContent = label;
    const area = { x, y, width, height };
    const group = draw(
      "g",
      {
        class: `box${chosen ? " chosen" : ""}`,
        "data-key": region.key,
        tabindex: 0,
        role: "button",
        "aria-pressed": String(chosen),
        "aria-label": `Box ${label}: ${Math.round(width)} by ${Math.round(height)} pixels at ${Math.round(x)}, ${Math.round(y)}`,
        onfocus: () => this.choose(region.key),
      },
      draw("rect", { class: "halo", ...area }),
      draw("rect", { class: "edge", ...area }),
      tag,
      text,
    );
    group.style.setProperty("--c", colorOf(region.category || "box"));
    return group;
  }

  #drawHandles(region, unit) {
    const [x, y, width, height] = region.box;
    const side = HANDLE * unit;
    for (const [name, [right, down]] of Object.entries(CORNERS)) {
      // On a small box the corners alone, outside of it, so that it can be seen.
      if (name.length === 1 && Math.min(width, height) < 4 * side) continue;
      const handle = draw("rect", {
        class: "handle",
        "data-handle": name,
        x: x + width * right + (right - 1) * side,
        y: y + height * down + (down - 1) * side,
        width: side,
        height: side,
        rx: 2 * unit,
      });
      handle.style.cursor = `${CURSORS[name]}-resize`;
      this.handles.append(handle);
    }
  }

  #point(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(
      this.svg.getScreenCTM().inverse(),
    );
    return { x: at.x, y: at.y };
  }

  #down(event) {
    if (event.button === 1 || (event.button === 0 && event.shiftKey)) {
      event.preventDefault();
      this.#start(event, { kind: "pan", from: { x: event.clientX, y: event.clientY }, sight: { ...this.sight } });
      this.svg.classList.add("panning");
      return;
    }
    if (event.button !== 0 || this.away) return;
    event.preventDefault();
    const from = this.#point(event);
    const handle = event.target.dataset?.handle;
    const key = Number(event.target.closest?.(".box")?.dataset.key) || null;
    if (handle && this.key !== null) {
      this.#start(event, { kind: "resize", handle, from, box: [...this.#chosen().box] });
    } else if (key !== null) {
      this.choose(key);
      this.focus(key);
      this.#start(event, { kind: "move", from, box: [...this.#chosen().box] });
    } else {
      this.#start(event, { kind: "draw", from, screen: { x: event.clientX, y: event.clientY } });
    }
  }

  #start(event, drag) {
    this.drag = { ...drag, moved: false };
    this.svg.setPointerCapture(event.pointerId);
  }

  #chosen() {
    return this.working.regions.find((region) => region.key === this.key);
  }

  #move(event) {
    const { drag } = this;
    if (!drag) return;
    if (drag.kind === "pan") {
      const { sight, from } = drag;
      const scale = this.#scale;
      this.sight.x = clamp(sight.x - (event.clientX - from.x) / scale, 0, this.size.width - sight.width);
      this.sight.y = clamp(sight.y - (event.clientY - from.y) / scale, 0, this.size.height - sight.height);
      this.#look();
      return;
    }
    const to = this.#point(event);
    if (drag.kind === "draw") {
      const far = Math.hypot(event.clientX - drag.screen.x, event.clientY - drag.screen.y);
      drag.moved ||= far >= LEAST;
      if (drag.moved) {
        drag.box = this.#between(drag.from, to);
        const [x, y, width, height] = drag.box;
        set(byId("drawn"), { x, y, width, height, hidden: false });
      }
      return;
    }
    drag.moved = true;
    const by = { x: to.x - drag.from.x, y: to.y - drag.from.y };
    const region = this.#chosen();
    if (!region) return;
    region.box =
      drag.kind === "move" ? this.#moved(drag.box, by.x, by.y) : this.#resized(drag.box, drag.handle, by);
    this.render();
  }

  #up() {
    const { drag } = this;
    this.#cancel();
    if (!drag || drag.kind === "pan") return;
    if (drag.kind === "draw") {
      if (!drag.moved) {
        this.choose(null);
        return;
      }
      const [, , width, height] = drag.box;
      if (width < SMALLEST || height < SMALLEST) return;
      const region = this.working.add(drag.box);
      this.changed();
      this.render();
      this.choose(region.key);
      this.onChosen(region.key, true);
    } else if (drag.moved) {
      this.changed();
      this.render();
    }
  }

  #cancel() {
    this.drag = null;
    byId("drawn").setAttribute("hidden", "");
    this.svg.classList.remove("panning");
  }

  #between(one, other) {
    const { width, height } = this.size;
    const [left, right] = [one.x, other.x].map((x) => clamp(x, 0, width)).sort((a, b) => a - b);
    const [top, bottom] = [one.y, other.y].map((y) => clamp(y, 0, height)).sort((a, b) => a - b);
    return [left, top, right - left, bottom - top].map((edge) => Math.round(edge * 10) / 10);
  }

  #moved([x, y, width, height], right, down) {
    return [
      clamp(x + right, 0, this.size.width - width),
      clamp(y + down, 0, this.size.height - height),
      width,
      height,
    ].map((edge) => Math.round(edge * 10) / 10);
  }

  #resized([x, y, width, height], handle, by) {
    let [left, top, right, bottom] = [x, y, x + width, y + height];
    if (handle.includes("w")) left += by.x;
    if (handle.includes("e")) right += by.x;
    if (handle.includes("n")) top += by.y;
    if (handle.includes("s")) bottom += by.y;
    const box = this.#between({ x: left, y: top }, { x: right, y: bottom });
    return [box[0], box[1], Math.max(SMALLEST, box[2]), Math.max(SMALLEST, box[3])];
  }

  #wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), this.#point(event));
  }

  // On a box that has the focus: arrows move it, with Alt they resize it, Shift makes steps of 10.
  #press(event) {
    const region = this.#chosen();
    if (!region || !event.target.closest(".box") || event.ctrlKey || event.metaKey) return;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (arrow) {
      event.preventDefault();
      event.stopPropagation();
      const [right, down] = arrow.map((step) => step * (event.shiftKey ? 10 : 1));
      region.box = event.altKey
        ? this.#resized(region.box, "se", { x: right, y: down })
        : this.#moved(region.box, right, down);
      this.changed("arrows");
      this.render();
    } else if (event.key === "Enter") {
      event.preventDefault();
      event.stopPropagation();
      this.onChosen(region.key, true);
    }
  }
}
