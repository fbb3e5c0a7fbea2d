// <live-captions room="lecture" server="https://captions.example.org"></live-captions>
//
// Shows what is said in a room. Committed text is in a live region, so that screen readers say each word once; the words
// that may still change stand after it, outside that region.
//
// Attributes  room, server (default: where this script came from), ticket (where rooms need one), history (scrolls back)
// Parts       captions, text, lines, committed, cue, tentative, status
// Properties  --captions-color, -background, -tentative, -font, -size, -lines, -padding, -radius
// Event       captionsstate: detail.state is "waiting", "live", "paused", "ended", "full", "lost" or
//             "refused"
(() => {
  "use strict";

  const SOURCE = document.currentScript ? document.currentScript.src : location.href;
  const RTL = new Set(["ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"]);
  const SILENT = 40_000; // ms; the server says something every 15 s
  const SOON = 1_000, LATE = 30_000, WAITING = 4_000; // ms between attempts: after a loss, at most, for a room to open
  const KEPT = 40, KEPT_HISTORY = 2_000; // cues in the page
  const WORDS = {
    waiting: "Waiting for captions …",
    live: "",
    paused: "The speaker is away",
    ended: "The captions have ended",
    lost: "Connection lost, trying again …",
    full: "All places are taken, trying again …",
    refused: "These captions need a ticket",
  };

  const STYLE = `
    :host { display: block; font: var(--captions-font, 500 1rem/1.4 system-ui, sans-serif); }
    :host([hidden]) { display: none; }
    .captions { position: relative; box-sizing: border-box; height: 100%; font-size: var(--captions-size, 1.375rem);
      line-height: 1.4; color: var(--captions-color, #fff); background: var(--captions-background, #14151a);
      padding: var(--captions-padding, .6em .9em); border-radius: var(--captions-radius, .5rem); }
    .text { height: calc(var(--captions-lines, 3) * 1.4em); overflow: hidden; overflow-wrap: anywhere;
      overflow-anchor: none; display: flex; flex-direction: column; }
    :host([history]) .captions { display: flex; flex-direction: column; justify-content: flex-end; }
    :host([history]) .text { height: 100%; height: round(down, 100%, 1.4em); overflow-y: auto; scrollbar-gutter: stable; }
    .lines { margin-block-start: auto; white-space: pre-line; }
    .text:focus-visible { outline: 3px solid currentColor; outline-offset: .2em; }
    .tentative { color: var(--captions-tentative, #c3c6d1); font-style: italic; }
    .status { position: absolute; inset-block-start: .5em; inset-inline-end: .6em; max-width: 80%; padding: .15em .6em;
      border-radius: 1em; font-size: max(.6em, .8125rem); color: var(--captions-background, #14151a);
      background: var(--captions-color, #fff); }
    .status:empty { display: none; }
    @media (prefers-reduced-motion: no-preference) {
      .fresh { animation: settle .25s ease-out; }
      @keyframes settle { from { opacity: .55; } }
    }`;

  class LiveCaptions extends HTMLElement {
    static observedAttributes = ["room", "server", "ticket"];

    #text; #lines; #committed; #tentative; #status;
    #cues = new Map(); // number -> { element, text }
    #seen = ""; // where we were, for the server
    #reading = null; // AbortController of the connection
    #renewal = 0;
    #following = true; // the newest line is in view, and is to stay there
    #sizes = new ResizeObserver(() => this.#follow());

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open" });
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
      const box = element("div", "captions");
      this.#text = element("div", "text");
      this.#committed = element("span", "committed");
      this.#committed.setAttribute("role", "log");
      this.#committed.setAttribute("aria-live", "polite");
      this.#committed.setAttribute("aria-label", "Captions");
      this.#tentative = element("span", "tentative");
      this.#tentative.setAttribute("aria-hidden", "true");
      this.#status = element("div", "status");
      this.#status.setAttribute("role", "status");
      this.#lines = element("div", "lines");
      this.#lines.append(this.#committed, this.#tentative);
      this.#text.append(this.#lines);
      this.#text.addEventListener("scroll", () => {
        const { scrollHeight, scrollTop, clientHeight } = this.#text;
        this.#following = scrollHeight - scrollTop - clientHeight < 40;
      });
      box.append(this.#text, this.#status);
      root.append(box);
    }

    /** Right to read a room that is not open to all. */
    get ticket() { return this.getAttribute("ticket") || ""; }
    set ticket(value) { this.setAttribute("ticket", value); }

    connectedCallback() {
      if (this.hasAttribute("history")) {
        this.#text.tabIndex = 0;
        this.#text.setAttribute("role", "region");
        this.#text.setAttribute("aria-label", "All captions");
      }
      this.#sizes.observe(this.#text);
      this.#sizes.observe(this.#lines);
      this.#renew();
    }

    disconnectedCallback() {
      this.#sizes.disconnect();
      this.#stop();
    }

    attributeChangedCallback(name, before, now) {
      if (!this.isConnected || before === now) return;
      if (name !== "ticket") this.#clear();
      this.#renew();
    }

    /** Several changes in a row make one connection. */
    #renew() {
      this.#stop();
      this.#renewal = setTimeout(() => this.#run(), 0);
    }

    #stop() {
      clearTimeout(this.#renewal);
      if (this.#reading) this.#reading.abort();
      this.#reading = null;
    }

    async #run() {
      const room = this.getAttribute("room");
      if (!room) return;
      const reading = (this.#reading = new AbortController());
      let pause = SOON;
      while (!reading.signal.aborted) {
        let wait = WAITING;
        try {
          const status = await this.#read(room, reading.signal, () => { pause = SOON; });
          if (reading.signal.aborted) return;
          if (status === 401 || status === 403) return this.#say("refused");
          if (status === 404) this.#say(this.#seen ? "ended" : "waiting");
          else if (status === 503) this.#say("full");
          else if (status) throw new Error(`status ${status}`);
          else this.#say("ended");
        } catch {
          if (reading.signal.aborted) return;
          this.#say("lost");
          wait = pause;
          pause = Math.min(pause * 2, LATE);
        }
        await sleep(wait * (0.75 + Math.random() / 2), reading.signal);
      }
    }

    /** Read until the room is over; the status where it cannot be read. Throws where the connection breaks off. */
    async #read(room, signal, working) {
      const line = new AbortController();
      const stop = () => line.abort();
      signal.addEventListener("abort", stop, { once: true });
      let watchdog = setTimeout(stop, SILENT);
      try {
        const place = new URL(`/v1/captions/${encodeURIComponent(room)}/events`, this.getAttribute("server") || SOURCE);
        const headers = {};
        if (this.ticket) headers.Authorization = `Bearer ${this.ticket}`;
        if (this.#seen) headers["Last-Event-ID"] = this.#seen;
        const answer = await fetch(place, { headers, signal: line.signal, cache: "no-store", credentials: "omit" });
        if (!answer.ok) return answer.status;
        const chunks = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let rest = ""; ;) {
          const { value, done } = await chunks.read();
          if (done) throw new Error("broken off");
          clearTimeout(watchdog);
          watchdog = setTimeout(stop, SILENT);
          working();
          const events = (rest + value).split("\n\n");
          rest = events.pop();
          for (const event of events) if (this.#take(event)) return 0;
        }
      } finally {
        clearTimeout(watchdog);
        line.abort();
        signal.removeEventListener("abort", stop);
      }
    }

    /** One server-sent event; whether it was the last. */
    #take(event) {
      const fields = {};
      for (const line of event.split("\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
      }
      if (fields.event === "end") return true;
      if (!fields.data) return false;
      if (fields.id && fields.id.split("-")[0] !== this.#seen.split("-")[0]) this.#clear();
      this.#seen = fields.id || this.#seen;
      this.#show(JSON.parse(fields.data));
      return false;
    }

    #show({ cues, tentative, language, live }) {
      const text = this.#text;
      if (language) {
        text.lang = language;
        text.dir = RTL.has(language) ? "rtl" : "ltr";
      }
      const late = cues.length > 1 && !this.#cues.size;
      if (late) this.#hush();
      for (const cue of cues) this.#put(cue, late);
      const last = this.#committed.lastElementChild;
      const open = last && !last.classList.contains("done");
      this.#tentative.textContent = open && tentative ? ` ${tentative}` : tentative;
      this.#prune();
      this.#follow();
      this.#say(live ? "live" : "paused");
    }

    /** Words are appended, so that only they are read out. */
    #put({ id, text, done }, late) {
      let known = this.#cues.get(id);
      if (!known) {
        known = { element: element("span", "cue"), text: "" };
        this.#cues.set(id, known);
      }
      if (!text.startsWith(known.text)) known.element.replaceChildren();
      const more = text.startsWith(known.text) ? text.slice(known.text.length) : text;
      if (more) {
        const words = document.createElement("span");
        words.textContent = more;
        if (!late) words.className = "fresh";
        known.element.append(words);
      }
      known.text = text;
      if (done) {
        known.element.classList.add("done");
        known.element.append("\n");
      }
      if (!known.element.parentNode) this.#committed.append(known.element);
    }

    #follow() {
      if (this.#following) this.#text.scrollTop = this.#text.scrollHeight;
    }

    /** What was said before we came is not read out. */
    #hush() {
      this.#committed.setAttribute("aria-live", "off");
      setTimeout(() => this.#committed.setAttribute("aria-live", "polite"), 500);
    }

    #prune() {
      const most = this.hasAttribute("history") ? KEPT_HISTORY : KEPT;
      for (const [number, { element }] of this.#cues) {
        if (this.#cues.size <= most) return;
        element.remove();
        this.#cues.delete(number);
      }
    }

    #clear() {
      this.#seen = "";
      this.#cues.clear();
      this.#committed.replaceChildren();
      this.#tentative.textContent = "";
    }

    #say(state) {
      if (state !== "live") this.#tentative.textContent = "";
      if (this.#status.textContent !== WORDS[state]) this.#status.textContent = WORDS[state];
      if (this.dataset.state === state) return;
      this.dataset.state = state;
      this.dispatchEvent(new CustomEvent("captionsstate", { detail: { state } }));
    }
  }

  function element(name, part) {
    const made = document.createElement(name);
    made.className = part;
    made.setAttribute("part", part);
    return made;
  }

  function sleep(milliseconds, signal) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
    });
  }

  if (!customElements.get("live-captions")) customElements.define("live-captions", LiveCaptions);
})();
