// @ts-check
// The page: what the call tells is shown, what the person does is passed on.

import { level } from "./audio.js";
import { Call } from "./call.js";
import { form, remember, remembered } from "./settings.js";
import { Timing } from "./timing.js";
import { Transcript } from "./transcript.js";

const HINT = 6_000; // ms a hint stays

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const at = (id) => /** @type {T} */ (document.getElementById(id));
const settings = remembered();
const call = new Call(settings, new URL(document.baseURI));
const transcript = new Transcript({
  list: at("transcript"),
  scroll: at("scroll"),
  welcome: at("welcome"),
  latest: at("latest"),
  spoken: at("spoken"),
});
const timing = new Timing({
  list: at("turns"),
  none: at("no-turns"),
  median: at("f-median"),
  turns: at("f-turns"),
  kept: at("f-kept"),
});
const talk = at("talk");

call.conversation.onchange = (item) => transcript.show(item);
call.conversation.onremove = (item) => transcript.remove(item);
call.ontimeline = (timeline) => timing.add(timeline);

// What is going on ---------------------------------------------------------------------------------------------

const PHASES = { listening: "Listening", hearing: "Hearing you", thinking: "Thinking", answering: "Answering" };
const STATES = { idle: "Ready", connecting: "Connecting", waiting: "Not connected" };
let announced = "";

call.onchange = () => {
  const { state, phase, muted } = call;
  const on = state === "on";
  const holding = on && settings.mode === "hold" && Boolean(call.microphone);
  const typing = on && !call.microphone;
  let text = on ? PHASES[phase] : STATES[state];
  if (on && phase === "listening") text = typing ? "Typing only" : holding ? "Hold to talk" : muted ? "Muted" : text;
  if (call.held) text = "Hearing you";
  at("state-text").textContent = text;
  at("state").dataset.state = on ? (phase === "hearing" || call.held ? "hearing" : "on") : state;
  at("via").textContent = on ? (call.transport?.name ?? "") : "";
  const label = !on || typing ? "Talk" : holding ? "Hold" : muted ? "Unmute" : "Mute";
  at("talk-label").textContent = state === "connecting" || state === "waiting" ? "Wait" : label;
  at("talk-icon").setAttribute("href", on && !typing && !holding && muted ? "#i-mic-off" : "#i-mic");
  talk.setAttribute("aria-busy", String(state === "connecting" || state === "waiting"));
  talk.setAttribute("aria-pressed", String(holding ? Boolean(call.held) : on && !typing && muted));
  at("interrupt").toggleAttribute("disabled", !on || (phase !== "answering" && phase !== "thinking"));
  at("end").toggleAttribute("disabled", state === "idle");
  const told = on ? "Connected" : STATES[state];
  if (told !== announced && announced !== "") at("told").textContent = told;
  announced = told;
};

/** @type {ReturnType<typeof setTimeout> | undefined} */
let fading;

/** @param {string} title @param {string} advice @param {[string, () => void, boolean?][]} buttons */
function notice(title, advice, buttons) {
  clearTimeout(fading);
  const box = document.createElement("section");
  box.className = "notice";
  const strong = document.createElement("strong");
  strong.textContent = title;
  const text = document.createElement("p");
  text.textContent = advice;
  const row = document.createElement("div");
  for (const [label, act, second] of buttons) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    if (second) button.className = "second";
    button.addEventListener("click", act);
    row.append(button);
  }
  box.append(strong, text, row);
  at("notice").replaceChildren(box);
}

const hush = () => at("notice").replaceChildren();

call.onfailure = (failure, wait) => {
  if (!failure) return hush();
  const { title, advice, remedy } = failure.words;
  /** @type {[string, () => void, boolean?]} */
  const close = ["Close", hush, true];
  if (wait) {
    const text = `${advice} Next attempt in ${Math.max(1, Math.round(wait / 1000))} s.`;
    return notice(title, text, [["Try now", () => call.hurry()], ["Give up", () => call.end(), true]]);
  }
  if (remedy === "key") return askKey();
  if (remedy === "wake") return notice(title, advice, [["Hear again", () => call.sound?.check()]]);
  if (remedy === "type") return notice(title, advice, [["Type", () => at("typed").focus()], close]);
  if (remedy === "retry") return notice(title, advice, [["Try again", () => (hush(), void call.start())], close]);
  return notice(title, advice, [close]);
};

call.onhint = (text) => {
  notice(text, "", [["Close", hush, true]]);
  fading = setTimeout(hush, HINT);
};

// What the person does -----------------------------------------------------------------------------------------

const holds = () => settings.mode === "hold" && call.state === "on" && Boolean(call.microphone);

talk.addEventListener("click", () => {
  if (holds()) return undefined;
  if (call.state === "on" && call.microphone) return call.mute(!call.muted);
  hush();
  return void call.start();
});
talk.addEventListener("pointerdown", (event) => {
  if (!holds()) return;
  talk.setPointerCapture(event.pointerId);
  void call.hold(true);
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) talk.addEventListener(name, () => void call.hold(false));
talk.addEventListener("contextmenu", (event) => event.preventDefault());
at("interrupt").addEventListener("click", () => void call.interrupt());
at("end").addEventListener("click", () => call.end());

/** Space belongs to what has the focus, unless that is the talk button or nothing. @param {KeyboardEvent} event */
const free = ({ target }) => !document.querySelector("dialog[open]") && (target === document.body || target === talk || target === at("scroll"));

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) void call.interrupt();
  if (![" ", "Enter"].includes(event.key) || !holds() || !free(event)) return;
  if (event.key === "Enter" && event.target !== talk) return;
  event.preventDefault();
  if (!event.repeat) void call.hold(true);
});
document.addEventListener("keyup", (event) => {
  if (event.key === " " || event.key === "Enter") void call.hold(false);
});
window.addEventListener("blur", () => void call.hold(false));

at("message").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = /** @type {HTMLInputElement} */ (at("typed"));
  const text = field.value.trim();
  if (!text || call.state === "connecting" || call.state === "waiting") return;
  field.value = "";
  transcript.follow(true);
  void call.type(text);
});

at("timing-toggle").addEventListener("click", () => {
  const shown = at("timing").toggleAttribute("hidden") === false;
  at("timing-toggle").setAttribute("aria-expanded", String(shown));
});

const dialog = /** @type {HTMLDialogElement} */ (at("settings"));
const show = form(/** @type {HTMLFormElement} */ (dialog.querySelector("form")), settings, (change) => {
  void call.change(change).then(() => remember(settings));
});
at("settings-open").addEventListener("click", () => void show().then(() => dialog.showModal()));
at("forget").addEventListener("click", () => void call.forget());

const keyDialog = /** @type {HTMLDialogElement} */ (at("key-dialog"));
const keyField = /** @type {HTMLInputElement} */ (at("key"));

function askKey() {
  hush();
  at("key-title").textContent = call.key ? "The server does not take this key" : "This server wants a key";
  keyField.value = "";
  keyDialog.returnValue = "";
  keyDialog.showModal();
}

at("key-cancel").addEventListener("click", () => keyDialog.close());
keyDialog.addEventListener("close", () => {
  const key = keyField.value.trim();
  keyField.value = "";
  if (keyDialog.returnValue !== "use" || !key) return;
  call.key = key;
  void call.start();
});

// Levels -------------------------------------------------------------------------------------------------------

/** @param {HTMLElement} where @param {number} value */
const shows = (where, value) => where.style.setProperty("--level", value.toFixed(2));
let was = 0;
let wasOut = 0;

function meters() {
  was = Math.max(call.muted ? 0 : level(call.microphone?.meter), was * 0.9);
  wasOut = Math.max(level(call.sound?.outMeter), wasOut * 0.9);
  shows(at("level-in"), was);
  shows(at("level-out"), wasOut);
  shows(talk, was);
  requestAnimationFrame(meters);
}

call.onchange();
meters();
