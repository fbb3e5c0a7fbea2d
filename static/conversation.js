// @ts-check
// What was said, put together from the server's events. No page, no sound: it runs anywhere.

import { lit } from "./words.js";

const REPLAYED = 20; // items told to a new session after the old one was lost

/**
 * @typedef {object} Item
 * @property {string} id
 * @property {"user" | "assistant"} role
 * @property {string} text what is certain
 * @property {string} tentative what may still change
 * @property {import("./words.js").Stretch[]} stretches of an answer
 * @property {number} lit letters of an answer that have sounded
 * @property {boolean} over nothing more will come
 * @property {boolean} cut it was interrupted
 * @property {boolean} sounding
 * @property {number} [end] ms of all its sound, once it is known
 */

export class Conversation {
  constructor() {
    /** @type {Map<string, Item>} */
    this.items = new Map();
    /** @type {(item: Item) => void} */
    this.onchange = () => {};
    /** @type {(item: Item) => void} */
    this.onremove = () => {};
    this.speech = ""; // the utterance that is open
  }

  /**
   * @param {any} event of the server
   * @param {(itemId: string) => number} place ms of an answer at which what comes now will sound
   */
  apply(event, place) {
    const item = this.items.get(event.item_id);
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.speech = event.item_id;
        return this.change(this.item(event.item_id, "user"));
      case "input_audio_buffer.committed":
        this.speech = "";
        return this.change(this.item(event.item_id, "user"));
      case "input_audio_buffer.cleared":
        if (this.speech) this.remove(this.speech);
        this.speech = "";
        return undefined;
      case "conversation.item.added":
        return this.added(event.item);
      case "conversation.item.deleted":
        return this.remove(event.item_id);
      case "conversation.item.input_audio_transcription.delta":
        return this.change(this.item(event.item_id, "user"), (item) => (item.text += event.delta));
      case "rejoinder.transcript.tentative":
        return this.change(this.item(event.item_id, "user"), (item) => (item.tentative = event.text));
      case "conversation.item.input_audio_transcription.completed":
        return this.heard(this.item(event.item_id, "user"), event.transcript);
      case "conversation.item.input_audio_transcription.failed":
        return this.heard(this.item(event.item_id, "user"), "(not understood)");
      case "response.output_audio_transcript.delta":
        return this.said(this.item(event.item_id, "assistant"), event.delta, place(event.item_id));
      case "response.output_text.delta":
        return this.said(this.item(event.item_id, "assistant"), event.delta, 0);
      case "response.output_audio_transcript.done":
        return item && this.whole(item, event.transcript, place(event.item_id));
      case "response.output_text.done":
        return item && this.whole(item, event.text, 0);
      case "response.done":
        for (const { id } of event.response.output) this.ended(id, event.response.status);
        return undefined;
      default:
        return undefined;
    }
  }

  /** So much of an answer has sounded. @param {import("./audio.js").Heard} heard */
  played({ itemId, ms, playing }) {
    const item = this.items.get(itemId);
    if (!item || item.cut) return;
    item.sounding = playing;
    const letters = !playing && item.over ? item.text.length : lit(item.stretches, ms, item.end);
    if (letters > item.lit || !playing) this.change(item, () => (item.lit = Math.max(item.lit, letters)));
  }

  /** What a new session is told of the old one: events. */
  replay() {
    const told = [...this.items.values()].filter((item) => item.text.trim()).slice(-REPLAYED);
    return told.map(({ id, role, text }) => {
      const type = role === "user" ? "input_text" : "output_text";
      return { type: "conversation.item.create", item: { id, type: "message", role, content: [{ type, text }] } };
    });
  }

  /** The connection is gone: nothing that is open will go on. */
  broken() {
    this.speech = "";
    for (const item of [...this.items.values()]) {
      if (item.over) continue;
      item.text = (item.text + (item.text && item.tentative && " ") + item.tentative).trim();
      if (item.text) this.change(item, () => Object.assign(item, { over: true, tentative: "", cut: item.role === "assistant" }));
      else this.remove(item.id);
    }
  }

  clear() {
    for (const id of [...this.items.keys()]) this.remove(id);
  }

  /** @param {any} wire an item as it is sent */
  added(wire) {
    if (wire.type !== "message" || wire.role === "system") return;
    const written = wire.content?.find((/** @type {any} */ part) => part.text)?.text;
    const item = this.item(wire.id, wire.role);
    if (item.over) return;
    if (written) this.whole(item, written, 0);
    this.change(item);
  }

  /** @param {Item} item @param {string} transcript */
  heard(item, transcript) {
    if (!transcript.trim()) return this.remove(item.id);
    return this.change(item, () => Object.assign(item, { text: transcript, tentative: "", over: true }));
  }

  /** @param {Item} item @param {string} text @param {number} start */
  said(item, text, start) {
    item.stretches.push({ text, start });
    this.change(item, () => (item.text += text));
  }

  /** All words are known; of a cut answer those that were heard. @param {Item} item @param {string} text @param {number} end */
  whole(item, text, end) {
    item.end = end;
    const cut = item.stretches.length > 0 && text.trim().length < item.text.trim().length;
    this.change(item, () => Object.assign(item, { text, cut, lit: cut || !item.stretches.length ? text.length : item.lit, over: true }));
  }

  /** @param {string} id @param {string} status */
  ended(id, status) {
    const item = this.items.get(id);
    if (!item) return;
    if (status === "cancelled" && !item.text.trim()) return this.remove(id);
    const cut = item.cut || status === "cancelled";
    const all = cut || !item.sounding;
    this.change(item, () => Object.assign(item, { over: true, cut, lit: all ? item.text.length : item.lit }));
  }

  /** @param {string} id @param {"user" | "assistant"} role @returns {Item} */
  item(id, role) {
    const known = this.items.get(id);
    if (known) return known;
    /** @type {Item} */
    const item = { id, role, text: "", tentative: "", stretches: [], lit: 0, over: false, cut: false, sounding: false };
    this.items.set(id, item);
    return item;
  }

  /** @param {Item} item @param {(item: Item) => void} [how] */
  change(item, how) {
    how?.(item);
    this.onchange(item);
  }

  /** @param {string} id */
  remove(id) {
    const item = this.items.get(id);
    this.items.delete(id);
    if (item) this.onremove(item);
  }
}
