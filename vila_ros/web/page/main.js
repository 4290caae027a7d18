// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// The review page: what happens when something is opened, changed or decided.

import { getCandidate, getChanges, getQueue, imageAddress } from "./calls.js";
import { Canvas } from "./canvas.js";
import { Film } from "./film.js";
import { Form } from "./form.js";
import { Keys } from "./keys.js";
import { byId, clock, make, toast } from "./parts.js";
import { Queue } from "./queue.js";
import { Saving } from "./saving.js";
import { Working } from "./working.js";

const POLL_MS = 4000;
const FIELD = "input, textarea, select";

const answer = await getQueue();
const working = new Working(answer.groups);
const decided = []; // ids in the order of this page's decisions, for undo
let change = answer.change;
let candidate = null;
let opening = 0;

// Where things are kept between visits.
const remembered = (name, otherwise) => localStorage.getItem(`vila-review-${name}`) ?? otherwise;
const remember = (name, value) => localStorage.setItem(`vila-review-${name}`, value);

const saving = new Saving({
  tell: (state, text, why) => {
    const place = byId("saving");
    place.dataset.state = state;
    place.lastElementChild.textContent = text;
    place.title = why;
    if (state === "failed") toast(why);
  },
  value: () => working.value(),
  note: () => working.note,
  reviewer: () => byId("reviewer").value.trim(),
  saved: (id, review) => {
    queue.update(id, review.verdict, review.revision);
    showProgress();
    if (candidate?.id !== id) return;
    candidate.review = review;
    showVerdict();
    form.renderHistory();
  },
  conflict: (message) => {
    byId("conflict").hidden = false;
    byId("conflict").firstElementChild.textContent = message;
    byId("keep-mine").focus();
  },
});

function changed(place) {
  if (!working.changed(place)) return;
  saving.changed();
}

const canvas = new Canvas({
  working,
  changed: (place) => {
    changed(place);
    form.renderRegions();
  },
  chosen: (key, enter) => form.choose(key, enter),
});
const form = new Form({
  working,
  changed,
  chosen: (key) => {
    canvas.choose(key, false);
    form.choose(key);
  },
  redraw: () => canvas.render(),
});
form.chosenKey = () => canvas.key;

const film = new Film({
  show: (address, seconds) => {
    canvas.picture(address);
    canvas.setAway(seconds !== 0);
    const elsewhere = byId("elsewhere");
    elsewhere.hidden = seconds === 0;
    const side = seconds < 0 ? "before" : "after";
    elsewhere.firstElementChild.textContent = `${Math.abs(seconds).toFixed(2)} s ${side} the frame`;
  },
});

const queue = new Queue({ open });

async function open(id) {
  if (id === null || candidate?.id === id) return;
  const turn = (opening += 1);
  if (!(await saving.flush())) {
    toast("First settle what is not saved yet.");
    return;
  }
  queue.select(id);
  let found;
  try {
    found = await candidateOf(id);
  } catch (error) {
    toast(error.message);
    return;
  }
  if (turn !== opening) return; // another one was chosen meanwhile
  candidate = found;
  byId("empty").hidden = true;
  byId("conflict").hidden = true;
  saving.open(id, found.review);
  working.load(found.review.annotation, found.review.note);
  byId("elsewhere").hidden = true;
  canvas.open(found.width, found.height);
  canvas.setAway(false);
  canvas.picture(imageAddress(id));
  form.open(found);
  showHeading();
  showVerdict();
  film.open(id);
  history.replaceState(null, "", `#${id}`);
  const next = queue.neighbour(1);
  if (next) expect(next);
}

// What is likely to be opened next is asked for before it is.
let expected = { id: null, answer: null };

function expect(id) {
  expected = { id, answer: getCandidate(id).catch(() => null) };
  new Image().src = imageAddress(id);
}

async function candidateOf(id) {
  if (expected.id === id) {
    const found = await expected.answer;
    // Not what has been decided since, in this tab or another one.
    if (found && found.review.revision === queue.row.get(id).revision) return found;
  }
  return getCandidate(id);
}

function showHeading() {
  const name = candidate.recording.split("/").pop();
  byId("title").textContent = `${name} · ${candidate.camera} · ${clock(Number(candidate.stamp_ns) / 1e9)}`;
  byId("title").title = candidate.recording;
  byId("also").textContent = candidate.also ? `and ${candidate.also} alike` : "";
  byId("reasons").replaceChildren(
    ...candidate.reasons.map((reason) => make("li", {}, make("b", {}, reason.miner), reason.text)),
  );
}

function showVerdict() {
  const { verdict, edited, undoable, reviewer } = candidate.review;
  const words = { pending: "open", accepted: "accepted", rejected: "rejected" }[verdict];
  byId("verdict").className = `badge ${verdict}`;
  byId("verdict").textContent = edited && verdict !== "rejected" ? `${words}, edited` : words;
  byId("verdict").title = reviewer ? `by ${reviewer}` : "";
  byId("undo").disabled = !undoable && !decided.length;
  byId("accept").lastElementChild.textContent = verdict === "accepted" ? "Accepted" : "Accept";
}

function showProgress() {
  const { accepted, rejected, all } = queue.tally();
  byId("bar-accepted").style.width = `${(100 * accepted) / Math.max(all, 1)}%`;
  byId("bar-rejected").style.width = `${(100 * rejected) / Math.max(all, 1)}%`;
  const done = accepted + rejected;
  byId("track").setAttribute("aria-valuemax", all);
  byId("track").setAttribute("aria-valuenow", done);
  const figure = (number) => number.toLocaleString("en");
  byId("progress-text").textContent = `${figure(done)} of ${figure(all)} decided`;
}

async function decide(action) {
  if (!candidate) return;
  const { id } = candidate;
  film.back();
  const review = await saving.decide(action);
  if (!review) return;
  if (decided.at(-1) !== id) decided.push(id);
  const next = queue.neighbour(1, true) ?? queue.neighbour(-1, true);
  if (next) open(next);
  else toast("That was the last one that was open here.");
}

// The last decision of this page, also when another candidate has been opened since.
async function undo() {
  const id = decided.pop() ?? candidate?.id;
  if (!id) return;
  if (candidate?.id !== id) await open(id);
  if (candidate?.id !== id || !candidate.review.undoable) return;
  const review = await saving.decide("undo");
  if (review) show(review);
}

// Show another state of the same candidate.
function show({ annotation, note }) {
  working.load(annotation, note);
  canvas.choose(null, false);
  canvas.render();
  form.render();
  showVerdict();
}

// One step back or forth of what was done on this page since the candidate was opened.
function step(by) {
  if (!working.move(by)) return;
  saving.changed();
  canvas.choose(null, false);
  canvas.render();
  form.render();
}

function showBoxes(visible) {
  canvas.setVisible(visible);
  byId("toggle-boxes").setAttribute("aria-pressed", String(visible));
}

const THEMES = ["auto", "dark", "light"];

function theme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").title = `Theme: ${name === "auto" ? "automatic" : name}`;
  remember("theme", name);
}

function toggleQueue(shown) {
  byId("queue").classList.toggle("open", shown);
  byId("show-queue").setAttribute("aria-expanded", String(byId("queue").classList.contains("open")));
}

function escape(event) {
  const { target } = event;
  if (target.matches?.(FIELD)) target.blur();
  else if (canvas.key !== null) canvas.choose(null);
  else film.back();
  toggleQueue(false);
}

byId("accept").addEventListener("click", () => decide("accept"));
byId("reject").addEventListener("click", () => decide("reject"));
byId("undo").addEventListener("click", undo);
byId("next").addEventListener("click", () => open(queue.neighbour(1)));
byId("previous").addEventListener("click", () => open(queue.neighbour(-1)));
byId("add-box").addEventListener("click", () => addBox());
byId("toggle-boxes").addEventListener("click", () => showBoxes(!canvas.visible));
byId("zoom-in").addEventListener("click", () => canvas.zoom(1.5));
byId("zoom-out").addEventListener("click", () => canvas.zoom(1 / 1.5));
byId("zoom-fit").addEventListener("click", () => canvas.fit());
byId("show-help").addEventListener("click", () => byId("help").showModal());
byId("show-queue").addEventListener("click", () => toggleQueue());
byId("theme").addEventListener("click", () => {
  const now = THEMES.indexOf(document.documentElement.dataset.theme);
  theme(THEMES[(now + 1) % THEMES.length]);
});
byId("keep-mine").addEventListener("click", async () => {
  byId("conflict").hidden = true;
  await saving.keepMine();
});
byId("take-theirs").addEventListener("click", () => {
  byId("conflict").hidden = true;
  const review = saving.stuck;
  candidate.review = review;
  saving.open(candidate.id, review);
  queue.update(candidate.id, review.verdict, review.revision);
  show(review);
});
byId("reviewer").addEventListener("change", () => remember("reviewer", byId("reviewer").value.trim()));
addEventListener("pagehide", () => saving.leave());
addEventListener("beforeunload", (event) => {
  if (saving.stuck || byId("saving").dataset.state === "failed") event.preventDefault();
});

function addBox() {
  if (!candidate) return;
  film.back();
  showBoxes(true);
  canvas.addBox();
}

new Keys(
  [
    ["Decide", [
      [["A"], "Accept, and go on", ["a"], () => void decide("accept")],
      [["R"], "Reject, and go on", ["r"], () => void decide("reject")],
      [["U"], "Undo the last decision", ["u"], () => void undo()],
      [["Ctrl", "Enter"], "Accept while typing", ["Ctrl+Enter"], () => void decide("accept")],
    ]],
    ["Move", [
      [["J", "↓"], "Next candidate", ["j", "ArrowDown"], () => void open(queue.neighbour(1))],
      [["K", "↑"], "Previous candidate", ["k", "ArrowUp"], () => void open(queue.neighbour(-1))],
      [["←", "→"], "Moments before and after", ["ArrowLeft", "ArrowRight"], (event) => film.move(event.key === "ArrowLeft" ? -1 : 1)],
      [["Space"], "Play the moments", [" "], () => film.play()],
      [["/"], "Search", ["/"], () => { toggleQueue(true); byId("search").focus(); }],
      [["Esc"], "Leave a field, a box, a moment", ["Escape"], escape],
    ]],
    ["Edit", [
      [["E"], "Edit the text", ["e"], () => form.focusFirst()],
      [["N"], "New box (or drag on the frame)", ["n"], addBox],
      [["Tab"], "From box to box", [], null],
      [["←", "↑", "↓", "→"], "Move a box; Shift: by 10", [], null],
      [["Alt", "←…→"], "Resize a box; Shift: by 10", [], null],
      [["Enter"], "Name the box", [], null],
      [["Del"], "Delete the box", ["Delete", "Backspace"], () => canvas.removeChosen()],
      [["Ctrl", "Z"], "Step back", ["Ctrl+z"], () => step(-1)],
      [["Ctrl", "Shift", "Z"], "Step forth", ["Ctrl+Shift+z", "Ctrl+y"], () => step(1)],
    ]],
    ["View", [
      [["+", "−"], "Zoom; the wheel does, too", ["+", "=", "-"], (event) => canvas.zoom(event.key === "-" ? 1 / 1.5 : 1.5)],
      [["Shift", "drag"], "Move the picture", [], null],
      [["0"], "Whole frame", ["0"], () => canvas.fit()],
      [["B"], "Show or hide boxes", ["b"], () => showBoxes(!canvas.visible)],
      [["?"], "This help", ["?"], () => byId("help").showModal()],
    ]],
  ],
  ["Escape", "Ctrl+Enter"],
);

// What other tabs decide.
async function poll() {
  try {
    const { change: now, rows } = await getChanges(change);
    change = now;
    for (const [id, verdict, revision] of rows) queue.update(id, verdict, revision);
    if (rows.length) showProgress();
  } catch {
    // The server is away; saving tells it where it matters.
  }
}
setInterval(() => document.visibilityState === "visible" && poll(), POLL_MS);

theme(remembered("theme", "auto"));
byId("folder").textContent = answer.folder;
byId("reviewer").value = remembered("reviewer", answer.reviewer);
byId("categories").append(...answer.categories.map((name) => make("option", { value: name })));
document.title = `${answer.folder} · vila review`;
queue.load(answer);
showProgress();
const wanted = decodeURIComponent(location.hash.slice(1));
const first = queue.row.has(wanted) ? wanted : (queue.shown[0] ?? queue.all[0])?.id ?? null;
if (first && !queue.place.has(first)) queue.show("");
if (first === null) {
  byId("empty").hidden = false;
  byId("empty").textContent = "There is nothing to review: no candidates were found.";
} else {
  await open(first);
}
document.documentElement.dataset.ready = "true";
