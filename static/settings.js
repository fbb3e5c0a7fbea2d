// @ts-check
// The caller's choices, kept in this browser. The key is not among them.

import { devices } from "./audio.js";

const PLACE = "rejoinder.settings";

/** @typedef {import("./call.js").Settings} Settings */

/** @type {Settings} */
const FIRST = { transport: "auto", mode: "free", input: "", output: "" };

/** @returns {Settings} */
export function remembered() {
  try {
    return { ...FIRST, ...JSON.parse(localStorage.getItem(PLACE) ?? "{}") };
  } catch {
    return { ...FIRST };
  }
}

/** @param {Settings} settings */
export function remember(settings) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(settings));
  } catch {
    // a browser that stores nothing: the choice holds until the page is closed
  }
}

/** Shows the choices in the form, and tells of changes. @param {HTMLFormElement} form @param {Settings} settings @param {(change: Partial<Settings>) => void} onchange */
export function form(form, settings, onchange) {
  const fields = /** @type {Record<keyof Settings, any>} */ (/** @type {unknown} */ (form.elements));
  const show = async () => {
    fields.mode.value = settings.mode;
    fields.transport.value = settings.transport;
    await list(fields.input, "audioinput", settings.input, "The system's microphone");
    await list(fields.output, "audiooutput", settings.output, "The system's loudspeaker");
    fields.output.disabled = !("setSinkId" in (window.AudioContext?.prototype ?? {}));
  };
  form.addEventListener("change", ({ target }) => {
    const { name, value } = /** @type {HTMLSelectElement} */ (target);
    onchange({ [name]: value });
  });
  navigator.mediaDevices?.addEventListener?.("devicechange", () => void show());
  return show;
}

/** @param {HTMLSelectElement} select @param {"audioinput" | "audiooutput"} kind @param {string} chosen @param {string} first */
async function list(select, kind, chosen, first) {
  const found = await devices(kind);
  const options = found.map(({ deviceId, label }, index) => new Option(label || `Device ${index + 1}`, deviceId));
  select.replaceChildren(new Option(first, ""), ...options);
  select.value = found.some(({ deviceId }) => deviceId === chosen) ? chosen : "";
}
