// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// The annotation that is being worked on, and its steps back and forth.

const SUMMARY = "description and explanation";
const SAME_STEP_MS = 1200;

export class Working {
  constructor(groups) {
    this.groups = groups;
    this.load({}, "");
  }

  // Take an annotation in CODA-LM's structure; what could be undone before is forgotten.
  load(annotation, note) {
    this.#read({ annotation, note });
    this.steps = [this.#now()];
    this.step = 0;
    this.lastPlace = "";
    this.lastTime = 0;
  }

  #now() {
    return JSON.stringify({ annotation: this.value(), note: this.note });
  }

  #read({ annotation, note }) {
    this.note = note;
    const general = annotation.general_perception || {};
    this.general = Object.fromEntries(
      this.groups.map((group) => [group, (general[group] || []).map((item) => ({ ...item }))]),
    );
    this.summary = general[SUMMARY] || "";
    this.regions = Object.values(annotation.region_perception || {}).map((region) => ({
      key: Working.key++,
      box: [...region.box],
      category: region.category_name,
      text: region[SUMMARY],
    }));
    this.suggestion = annotation.driving_suggestion || "";
  }

  static key = 1;

  value() {
    const regions = this.regions.map((region, index) => [
      String(index + 1),
      { [SUMMARY]: region.text, box: region.box, category_name: region.category },
    ]);
    return {
      general_perception: { ...this.general, [SUMMARY]: this.summary },
      region_perception: Object.fromEntries(regions),
      driving_suggestion: this.suggestion,
    };
  }

  add(box, category = "") {
    const region = { key: Working.key++, box, category, text: "" };
    this.regions.push(region);
    return region;
  }

  remove(key) {
    this.regions = this.regions.filter((region) => region.key !== key);
  }

  // Note that something was changed. place: typing on in one place is one step. True if so.
  changed(place = "") {
    const now = this.#now();
    if (now === this.steps[this.step]) return false;
    const goesOn = place && place === this.lastPlace && Date.now() - this.lastTime < SAME_STEP_MS;
    this.steps.length = this.step + 1;
    if (goesOn && this.step > 0) this.steps[this.step] = now;
    else this.steps[++this.step] = now;
    this.lastPlace = place;
    this.lastTime = Date.now();
    return true;
  }

  // One step back (-1) or forth (1); false at the end.
  move(by) {
    if (!(this.step + by in this.steps)) return false;
    this.step += by;
    this.lastPlace = "";
    this.#read(JSON.parse(this.steps[this.step]));
    return true;
  }
}
