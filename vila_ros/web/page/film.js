// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// The moments before and after: a strip of pictures, of which one is shown in place of the frame.

import { frameAddress, getStrip, imageAddress } from "./calls.js";
import { byId, make } from "./parts.js";

const PLAY_MS = 160;

export class Film {
  // show(address, seconds): a moment is shown; seconds is 0 for the candidate's own frame.
  constructor({ show }) {
    this.show = show;
    this.id = null;
    this.frames = [];
    this.index = -1;
    this.own = -1;
    this.timer = 0;
    this.strip = byId("strip");
    byId("play").addEventListener("click", () => this.play());
    byId("return").addEventListener("click", () => this.back());
    this.strip.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(by);
    });
  }

  async open(id) {
    this.stop();
    this.id = id;
    this.frames = [];
    this.strip.replaceChildren();
    let answer;
    try {
      answer = await getStrip(id);
    } catch (error) {
      answer = { frames: [], message: error.message };
    }
    if (this.id !== id) return; // another one was opened meanwhile
    this.frames = answer.frames;
    this.own = this.frames.reduce(
      (best, frame, index) =>
        Math.abs(frame.seconds) < Math.abs(this.frames[best].seconds) ? index : best,
      0,
    );
    this.index = this.own;
    byId("play").disabled = this.frames.length < 2;
    if (!this.frames.length) {
      this.strip.replaceChildren(make("p", { class: "message" }, answer.message));
      return;
    }
    this.strip.replaceChildren(...this.frames.map((frame, index) => this.#moment(frame, index)));
    this.#mark(false);
  }

  #moment(frame, index) {
    const seconds = frame.seconds;
    const label = index === this.own ? "frame" : `${seconds > 0 ? "+" : "−"}${Math.abs(seconds).toFixed(2)} s`;
    return make(
      "div",
      {
        class: `moment${index === this.own ? " own" : ""}`,
        role: "option",
        "aria-label": label,
        onclick: () => this.go(index),
      },
      make("img", { src: frameAddress(this.id, frame.at, "small"), alt: "", decoding: "async", draggable: "false" }),
      make("span", {}, label),
    );
  }

  move(by) {
    this.go(this.index + by);
  }

  go(index) {
    if (!(index in this.frames)) return false;
    this.stop();
    this.#to(index, "full");
    return true;
  }

  #to(index, size) {
    this.index = index;
    const frame = this.frames[index];
    const own = index === this.own;
    this.show(own ? imageAddress(this.id) : frameAddress(this.id, frame.at, size), own ? 0 : frame.seconds);
    this.#mark(true);
  }

  #mark(smooth) {
    [...this.strip.children].forEach((child, index) => {
      child.setAttribute("aria-selected", String(index === this.index));
    });
    const element = this.strip.children[this.index];
    if (!element) return;
    const left = element.offsetLeft - this.strip.offsetLeft - (this.strip.clientWidth - element.clientWidth) / 2;
    this.strip.scrollTo({ left, behavior: smooth && !this.timer ? "smooth" : "auto" });
  }

  back() {
    if (this.index !== this.own) this.go(this.own);
    this.stop();
  }

  play() {
    if (this.timer) {
      this.stop();
      return;
    }
    if (this.frames.length < 2) return;
    if (this.index >= this.frames.length - 1) this.index = -1;
    byId("play").classList.add("playing");
    byId("play").setAttribute("aria-label", "Pause");
    const step = () => {
      if (this.index + 1 >= this.frames.length) {
        this.stop();
        this.#to(this.own, "full");
        return;
      }
      this.#to(this.index + 1, "full");
    };
    this.timer = setInterval(step, PLAY_MS);
    step();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    byId("play").classList.remove("playing");
    byId("play").setAttribute("aria-label", "Play");
  }
}
