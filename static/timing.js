// @ts-check
// The fold-out panel: a waterfall of each turn, newest first, and figures over all of them.

import { figures, scale, turn } from "./waterfall.js";

const SHOWN = 30;

export class Timing {
  /** @param {{list: HTMLElement, none: HTMLElement, median: HTMLElement, turns: HTMLElement, kept: HTMLElement}} parts */
  constructor(parts) {
    this.parts = parts;
    /** @type {import("./waterfall.js").Turn[]} */
    this.turns = [];
  }

  /** @param {any} timeline of a `rejoinder.turn.timeline` */
  add(timeline) {
    if (timeline.llm) return; // told again, with what the language model did
    const added = turn(timeline);
    this.turns.push(added);
    const { list, none } = this.parts;
    none.hidden = true;
    list.prepend(drawn(added, this.turns.length));
    while (list.childElementCount > SHOWN) list.lastElementChild?.remove();
    const { turns, median, kept, drafts } = figures(this.turns);
    this.parts.turns.textContent = String(turns);
    this.parts.median.replaceChildren(String(Math.round(median ?? 0)), small(" ms"));
    this.parts.kept.replaceChildren(...(drafts ? [String(kept), small(` of ${drafts}`)] : ["–"]));
  }
}

/** @param {import("./waterfall.js").Turn} turn @param {number} number */
function drawn(turn, number) {
  const row = element("li", "turn");
  const table = row.appendChild(element("table"));
  const caption = table.appendChild(element("caption", "", `Turn ${number}`));
  caption.append(element("span", "", `${Math.round(turn.total)} ms`));
  const body = table.appendChild(element("tbody"));
  const { end, steps } = scale(turn.total);
  for (const { name, label, start, length } of turn.bars) {
    const line = body.appendChild(element("tr"));
    const head = line.appendChild(element("th", "", label));
    head.setAttribute("scope", "row");
    const track = line.appendChild(element("td")).appendChild(element("span", "track"));
    track.style.backgroundSize = `${(100 * steps[1]) / end}% 100%`;
    const bar = track.appendChild(element("span", `bar s-${name}`));
    bar.style.left = `${(100 * start) / end}%`;
    bar.style.width = `${(100 * length) / end}%`;
    line.append(element("td", "", String(Math.round(length))));
  }
  const drafts = turn.drafts.map(({ outcome, saved_ms }) =>
    outcome === "hit" ? `A draft was kept, ${Math.round(saved_ms)} ms saved.` : "A draft was thrown away.",
  );
  if (drafts.length) row.append(element("p", "", drafts.join(" ")));
  return row;
}

/** @param {string} text */
function small(text) {
  return element("small", "", text);
}

/** @param {string} name @param {string} [className] @param {string} [text] */
function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
