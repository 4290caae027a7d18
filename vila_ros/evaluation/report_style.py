# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The look of the report: light and dark, on screens of any width and on paper."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light;
  --paper: #fbfbf9; --card: #ffffff; --ink: #1c2024; --soft: #60656c; --line: #e3e3de;
  --grid: #ecece7; --accent: #2457c5; --good: #1a7f4b; --bad: #c0342b; --warn: #8a5a00;
  --good-soft: #e4f4ea; --bad-soft: #fbe9e7; --plain-soft: #f0f0ec;
  --m0: #2457c5; --m1: #c2571a; --m2: #11806a; --m3: #8b3fb5; --m4: #a38200; --m5: #b3305f;
  --shadow: 0 1px 2px rgb(20 24 28 / 6%), 0 4px 16px rgb(20 24 28 / 5%);
}
:root[data-theme="dark"] {
  color-scheme: dark;
  --paper: #121417; --card: #1a1d21; --ink: #e8eaed; --soft: #a2a8b0; --line: #30353b;
  --grid: #282c32; --accent: #8ab0ff; --good: #5ecb92; --bad: #ff8a80; --warn: #e9b860;
  --good-soft: #173326; --bad-soft: #3d1f1d; --plain-soft: #24282d;
  --m0: #8ab0ff; --m1: #ffab73; --m2: #5fd3ba; --m3: #d3a1f2; --m4: #e0c75a; --m5: #f79ac0;
  --shadow: none;
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 4.5rem; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem 4rem; }
header.top {
  position: sticky; top: 0; z-index: 5; background: color-mix(in srgb, var(--paper) 88%, transparent);
  backdrop-filter: blur(8px); border-bottom: 1px solid var(--line);
}
header.top > div {
  max-width: 76rem; margin: 0 auto; padding: .6rem 1.25rem; display: flex; gap: .5rem 1.1rem;
  align-items: center; flex-wrap: wrap;
}
header.top strong { font-size: 1rem; margin-right: auto; }
header.top nav { display: flex; gap: 1rem; }
a { color: var(--accent); text-underline-offset: .2em; text-decoration-thickness: 1px; }
header.top nav a { text-decoration: none; color: var(--soft); }
header.top nav a:hover { color: var(--ink); }
h1 { font-size: 2rem; line-height: 1.15; letter-spacing: -.02em; margin: 2.2rem 0 .4rem; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 2.8rem 0 .9rem; }
h3 { font-size: 1.05rem; margin: 0; }
h4 { font-size: .82rem; font-weight: 600; color: var(--soft); margin: 0 0 .5rem; }
p { margin: .3rem 0 .8rem; max-width: 78ch; }
.soft { color: var(--soft); }
.small { font-size: .86rem; }
.facts { display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; color: var(--soft); }
.facts b { color: var(--ink); font-weight: 600; }
.pill {
  display: inline-block; border-radius: 99px; padding: .1rem .7rem; font-weight: 600;
  font-size: .86rem; background: var(--plain-soft); color: var(--soft);
}
.pill.good { background: var(--good-soft); color: var(--good); }
.pill.bad { background: var(--bad-soft); color: var(--bad); }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 1.2rem 1.3rem; margin: 0 0 1.1rem; box-shadow: var(--shadow);
}
.card > header { display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: baseline; }
.card > header + p { margin-top: .2rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.2rem 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .38rem .9rem .38rem 0; border-bottom: 1px solid var(--line); vertical-align: baseline; }
th { font-weight: 600; color: var(--soft); font-size: .82rem; white-space: nowrap; }
td.number, th.number { text-align: right; }
tbody tr:last-child > * { border-bottom: 0; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em; background: var(--c); }
.good { color: var(--good); } .bad { color: var(--bad); }
svg { display: block; width: 100%; max-width: 56rem; height: auto; overflow: visible; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg text.ink { fill: var(--ink); }
@media (max-width: 46rem) { .wide > svg { min-width: 34rem; } }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--line); }
svg .truth { stroke: var(--ink); fill: none; stroke-width: 1.5; }
svg .band { fill: var(--plain-soft); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .86rem; color: var(--soft); margin: 0 0 .6rem; }
.matrix td { text-align: center; padding: .45rem .6rem; border: 2px solid var(--card); border-radius: 6px; }
.matrix th { padding: .3rem .6rem; border: 0; }
.matrix td { background: color-mix(in srgb, var(--c) calc(var(--share) * 62%), var(--plain-soft)); }
.matrix td.zero { color: var(--soft); }
.controls {
  display: flex; flex-wrap: wrap; gap: .7rem 1rem; align-items: end; margin: 0 0 1rem;
}
.controls label { display: grid; gap: .15rem; font-size: .82rem; color: var(--soft); }
select, input, button {
  font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: 9px; padding: .38rem .7rem; min-height: 2.3rem;
}
button { cursor: pointer; }
button:hover, select:hover, input:hover { border-color: var(--soft); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.moments { display: grid; align-items: start; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1rem; }
.moment { background: var(--card); border: 1px solid var(--line); border-radius: 14px; overflow: hidden; box-shadow: var(--shadow); display: flex; flex-direction: column; }
.moment button.picture { all: unset; cursor: zoom-in; display: block; background: #000; }
.moment button.picture:focus-visible { outline: 3px solid var(--accent); outline-offset: -3px; }
.moment img { display: block; width: 100%; height: auto; }
.moment .none { aspect-ratio: 16 / 10; display: grid; place-items: center; color: var(--soft); background: var(--plain-soft); }
.moment h3 { font-size: .86rem; font-weight: 600; padding: .6rem .9rem .1rem; }
.moment ul { list-style: none; margin: 0; padding: 0 .9rem .7rem; font-size: .88rem; }
.moment li { padding: .35rem 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
.moment li:first-child { border-top: 0; }
.answer-head { display: flex; gap: .5rem; color: var(--soft); font-size: .82rem; }
.answer-head .mark { margin-left: auto; font-weight: 600; }
.clip { display: -webkit-box; -webkit-line-clamp: 4; -webkit-box-orient: vertical; overflow: hidden; }
dialog .clip { -webkit-line-clamp: none; }
dialog {
  border: 1px solid var(--line); border-radius: 16px; padding: 0; max-width: min(60rem, 94vw);
  width: 100%; background: var(--card); color: var(--ink);
}
dialog::backdrop { background: rgb(10 12 14 / 62%); }
dialog .bar { display: flex; gap: .5rem; padding: .7rem 1rem; align-items: center; border-bottom: 1px solid var(--line); }
dialog .bar h3 { margin-right: auto; }
dialog img { width: 100%; max-height: 58vh; object-fit: contain; background: #000; display: block; }
dialog ul { list-style: none; margin: 0; padding: .6rem 1.2rem 1.2rem; }
dialog li { padding: .4rem 0; overflow-wrap: anywhere; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: .5rem; z-index: 9; background: var(--card); padding: .4rem .8rem; }
[hidden] { display: none !important; }
footer { margin-top: 3rem; color: var(--soft); font-size: .86rem; }
@media (max-width: 40rem) { header.top nav { display: none; } h1 { font-size: 1.6rem; } }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  header.top, .controls, dialog { display: none; } .card, .moment { break-inside: avoid; box-shadow: none; }
}
"""  # noqa: E501
