// @ts-check
// The conversation on the page. What is certain, what may still change and what has not sounded yet look different.

/** @typedef {import("./conversation.js").Item} Item */

const NAMES = { user: "You", assistant: "Answer" };
const NEAR = 80; // px from the end within which the newest is kept in view

export class Transcript {
  /** @param {{list: HTMLElement, scroll: HTMLElement, welcome: HTMLElement, latest: HTMLElement, spoken: HTMLElement}} parts */
  constructor(parts) {
    this.parts = parts;
    /** @type {Map<string, {row: HTMLElement, certain: Text, rest: HTMLElement, mark: HTMLElement, told: boolean}>} */
    this.rows = new Map();
    this.following = true;
    parts.scroll.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = parts.scroll;
      this.following = scrollHeight - scrollTop - clientHeight < NEAR;
      parts.latest.hidden = this.following;
    });
    parts.latest.addEventListener("click", () => this.follow(true));
    new ResizeObserver(() => this.follow()).observe(parts.scroll);
  }

  /** @param {Item} item */
  show(item) {
    const row = this.rows.get(item.id) ?? this.add(item);
    const lit = item.role === "user" ? item.text.length : item.lit;
    set(row.certain, item.text.slice(0, lit));
    const waits = item.role === "user" && !item.over && !item.text && !item.tentative;
    row.rest.className = waits ? "dots" : item.role === "user" ? "tentative" : "unsaid";
    const gap = item.role === "user" && item.text && item.tentative ? " " : "";
    set(row.rest, waits ? "…" : item.role === "user" ? gap + item.tentative : item.text.slice(lit));
    row.mark.hidden = !item.cut;
    row.row.hidden = item.role === "assistant" && !item.text;
    if (item.over && !row.told && item.text) {
      row.told = true;
      this.announce(`${NAMES[item.role]}: ${item.text}`);
    }
    this.follow();
  }

  /** @param {Item} item */
  remove(item) {
    this.rows.get(item.id)?.row.remove();
    this.rows.delete(item.id);
    this.parts.welcome.hidden = this.rows.size > 0;
  }

  /** @param {Item} item */
  add(item) {
    const row = document.createElement("li");
    row.className = item.role;
    const who = document.createElement("span");
    who.className = "who";
    who.textContent = NAMES[item.role];
    const said = document.createElement("span");
    said.className = "said";
    const certain = said.appendChild(document.createTextNode(""));
    const rest = document.createElement("span");
    const mark = document.createElement("span");
    mark.className = "cut";
    mark.textContent = "interrupted";
    row.append(who, said, rest, " ", mark);
    this.parts.list.append(row);
    this.parts.welcome.hidden = true;
    const made = { row, certain, rest, mark, told: false };
    this.rows.set(item.id, made);
    return made;
  }

  /** @param {boolean} [always] */
  follow(always) {
    if (always) this.following = true;
    if (this.following) this.parts.scroll.scrollTop = this.parts.scroll.scrollHeight;
  }

  /** For screen readers: whole sentences, once. @param {string} text */
  announce(text) {
    const line = document.createElement("p");
    line.textContent = text;
    this.parts.spoken.append(line);
    while (this.parts.spoken.childElementCount > 4) this.parts.spoken.firstElementChild?.remove();
  }
}

/** @param {Node} node @param {string} text */
function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
