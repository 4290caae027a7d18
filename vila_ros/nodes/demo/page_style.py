# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the demonstration's page looks, by light and by night."""

STYLE = """
:root { --ground: #f6f7f9; --card: #ffffff; --ink: #16191f; --soft: #5b6472; --line: #e1e5eb;
  --accent: #2f6df6; --good: #147a3f; --good-ground: #e3f5ea; --bad: #b3261e; --bad-ground: #fdeaea;
  --wait: #c3cad6; --look: #2f6df6; --say: #17a2a2; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0f1217; --card: #181c23; --ink: #e8ebf0; --soft: #98a2b3; --line: #2a303a;
    --accent: #7aa5ff; --good: #6fdc9c; --good-ground: #16301f; --bad: #ff9a92;
    --bad-ground: #3a1b1a; --wait: #465063; --look: #6b97ff; --say: #41c7c0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 20px 72px; }
h1 { margin: 0 0 6px; font-size: 34px; letter-spacing: -0.02em; }
h2 { margin: 44px 0 14px; font-size: 20px; letter-spacing: -0.01em; }
h3 { margin: 0; font-size: 17px; }
p { margin: 0; }
main > header > p { color: var(--soft); max-width: 74ch; }
.score { margin: 20px 0 0; font-size: 20px; color: var(--ink) !important; }
.score b { font-size: 38px; letter-spacing: -0.02em; color: var(--accent); }
.score .meter { display: block; height: 10px; max-width: 420px; margin-top: 4px; }
.meter { background: var(--line); border-radius: 99px; overflow: hidden; }
.meter i { display: block; height: 100%; background: var(--accent); border-radius: 99px; }
dl { display: flex; flex-wrap: wrap; gap: 10px 36px; margin: 20px 0; }
dt { font-size: 13px; color: var(--soft); }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.verdict { margin-bottom: 8px; }
.model { padding: 10px 14px; border-left: 3px solid var(--accent); background: var(--card);
  border-radius: 0 8px 8px 0; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 10px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr));
  gap: 16px; align-items: start; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 16px 18px; min-width: 0; }
article > header { display: flex; gap: 12px; align-items: flex-start;
  justify-content: space-between; }
.badge { flex: none; padding: 2px 10px; border-radius: 99px; font-size: 13px; font-weight: 600;
  background: var(--line); color: var(--soft); }
.good .badge { background: var(--good-ground); color: var(--good); }
.bad .badge { background: var(--bad-ground); color: var(--bad); }
.way, .truth, figcaption, .times { font-size: 13px; color: var(--soft); }
.said { margin-top: 8px; font-size: 18px; overflow-wrap: anywhere; }
.cards .said::before { content: "\\201C"; } .cards .said::after { content: "\\201D"; }
.cards .plain .said { font-size: 16px; }
.truth { margin-top: 2px; }
.fault { color: var(--bad); font-size: 14px; }
figure { margin: 0; min-width: 0; }
figure img, .missing { display: block; width: 100%; border-radius: 8px; background: var(--line); }
.missing { padding: 24px 8px; text-align: center; font-size: 13px; color: var(--soft); }
figcaption { margin-top: 2px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.film { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 8px;
  margin-top: 12px; }
.film figure:only-child { grid-column: 1 / -1; max-width: 320px; }
.chances { list-style: none; margin: 10px 0 0; padding: 0; font-size: 14px; display: grid;
  grid-template-columns: minmax(72px, auto) 1fr auto; gap: 0 12px; align-items: center; }
.chances li { display: contents; }
.chances li span:last-child { text-align: right; font-variant-numeric: tabular-nums;
  color: var(--soft); }
.chances .meter { height: 8px; }
.times { margin-top: 12px; }
.bar { display: flex; height: 6px; margin-bottom: 4px; border-radius: 99px; overflow: hidden;
  background: var(--line); }
.bar .wait { background: var(--wait); } .bar .look { background: var(--look); }
.bar .say { background: var(--say); }
.notes { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr));
  gap: 12px; }
.notes article { display: grid; grid-template-columns: 116px 1fr; gap: 14px; padding: 12px; }
.notes .said { margin: 0; font-size: 15px; }
.table { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; padding: 6px 18px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
td { padding: 7px 18px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.ok { color: var(--good); } td.warn, td.error { color: var(--bad); }
"""
