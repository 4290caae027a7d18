// Copyright 2026 The vila_ros authors
// SPDX-License-Identifier: Apache-2.0
// The calls of the server. Addresses are relative, so that the token stays in front of them.

export class Refused extends Error {
  constructor(status, answer) {
    super(answer.error || `The server answered ${status}.`);
    this.status = status;
    this.answer = answer;
  }
}

const address = (call, parameters = {}) => {
  const text = new URLSearchParams(parameters).toString();
  return `api/${call}${text ? `?${text}` : ""}`;
};

async function answerOf(response) {
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

export const getQueue = async () => answerOf(await fetch(address("queue")));
export const getChanges = async (since) => answerOf(await fetch(address("changes", { since })));
export const getCandidate = async (id) => answerOf(await fetch(address("candidate", { id })));
export const getStrip = async (id) => answerOf(await fetch(address("strip", { id })));
export const imageAddress = (id) => address("image", { id });
export const thumbnailAddress = (id) => address("thumbnail", { id });
export const frameAddress = (id, at, size) => address("frame", { id, at, size });

// keepalive: the request outlives the page, for what is saved while it closes.
export async function decide(decision, keepalive = false) {
  return answerOf(
    await fetch("api/decide", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(decision),
      keepalive,
    }),
  );
}
