# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the report does when it is used: theme, filters, and a closer look at a moment."""

from __future__ import annotations

THEME_SCRIPT = """
"use strict";
(() => {
  const root = document.documentElement;
  let kept = null;
  try { kept = localStorage.getItem("vila-theme"); } catch { /* not for files */ }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = kept || (dark ? "dark" : "light");
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => {
      button.textContent = root.dataset.theme === "dark" ? "Light" : "Dark";
      const other = button.textContent.toLowerCase();
      button.setAttribute("aria-label", `Switch to ${other} colours`);
    };
    name();
    button.addEventListener("click", () => {
      root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("vila-theme", root.dataset.theme); } catch { /* not for files */ }
      name();
    });
  });
})();
"""

MOMENTS_SCRIPT = """
"use strict";
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const moments = [...document.querySelectorAll(".moment")];
  const count = document.getElementById("shown");
  const dialog = document.getElementById("closer");
  let open = -1;

  function filter() {
    const want = Object.fromEntries(new FormData(form));
    const words = want.search.trim().toLowerCase();
    let shown = 0, answers = 0;
    for (const moment of moments) {
      let any = false;
      for (const item of moment.querySelectorAll("li")) {
        const data = item.dataset;
        const fits = (!want.question || data.question === want.question)
          && (!want.model || data.model === want.model)
          && (!want.outcome || data.outcome === want.outcome)
          && (!words || item.textContent.toLowerCase().includes(words));
        item.hidden = !fits;
        any = any || fits;
        answers += fits ? 1 : 0;
      }
      moment.hidden = !any;
      shown += any ? 1 : 0;
    }
    count.textContent = `${answers} answers at ${shown} moments`;
  }

  function visible(from, step) {
    for (let at = from + step; at >= 0 && at < moments.length; at += step)
      if (!moments[at].hidden) return at;
    return -1;
  }

  function show(at) {
    if (at < 0) return;
    open = at;
    const moment = moments[at];
    dialog.querySelector("h3").textContent = moment.querySelector("h3").textContent;
    const image = dialog.querySelector("img");
    const source = moment.querySelector("img");
    image.hidden = !source;
    if (source) { image.src = source.src; image.alt = source.alt; }
    const list = dialog.querySelector("ul");
    list.replaceChildren(...[...moment.querySelectorAll("li:not([hidden])")].map(
      (item) => item.cloneNode(true)));
    document.getElementById("before").disabled = visible(at, -1) < 0;
    document.getElementById("after").disabled = visible(at, 1) < 0;
    if (!dialog.open) dialog.showModal();
  }

  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  moments.forEach((moment, at) =>
    moment.querySelector("button.picture")?.addEventListener("click", () => show(at)));
  document.getElementById("before").addEventListener("click", () => show(visible(open, -1)));
  document.getElementById("after").addEventListener("click", () => show(visible(open, 1)));
  document.getElementById("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(visible(open, -1));
    if (event.key === "ArrowRight") show(visible(open, 1));
  });
  filter();
})();
"""
