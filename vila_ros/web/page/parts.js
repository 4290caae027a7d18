// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// Small pieces that every module of the page uses.

export const byId = (id) => document.getElementById(id);

// An element with attributes, listeners (onclick: …) and children; text stays text.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  set(element, attributes);
  element.append(...children);
  return element;
}

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === false || value === null || value === undefined) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

export const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

// Distinct, light enough for dark text and visible on pictures.
const COLORS = ["#ffd166", "#5ad1ff", "#8ce99a", "#ff9bb3", "#c9a6ff", "#ffb072", "#6be3cf", "#f7f48b", "#9db8ff", "#f49bf0"];

export function colorOf(name) {
  let sum = 7;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return COLORS[sum % COLORS.length];
}

let toastTimer = 0;

export function toast(text) {
  const place = byId("toast");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (place.hidden = true), 4000);
}

const A_YEAR = 3.2e7;

// A stamp for people: the date and time, UTC; seconds where a recording's time begins at zero.
export function clock(seconds) {
  if (seconds < A_YEAR) return `${seconds.toFixed(2)} s`;
  return new Date(seconds * 1000).toISOString().slice(0, 21).replace("T", " ");
}
