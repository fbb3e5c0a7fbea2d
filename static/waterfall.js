// @ts-check
// Where the time of a turn went: from `rejoinder.turn.timeline` to bars, and figures over many turns.

/** @type {Record<string, string>} what is reached at the end of each stretch */
const LABELS = {
  pause_detected: "Silence noticed",
  asr_final: "Words recognised",
  llm_request: "Model asked",
  llm_first_token: "First token",
  first_clause: "First clause",
  tts_first_audio: "Voice ready",
  endpoint: "Turn judged over",
  first_audio: "Audio sent",
  voice_to_voice: "Audible",
};

/**
 * @typedef {{name: string, label: string, start: number, length: number}} Bar times in ms after the end of speech
 * @typedef {{total: number, bars: Bar[], drafts: {outcome: string, saved_ms: number}[]}} Turn
 */

/** One turn. @param {any} timeline @returns {Turn} */
export function turn(timeline) {
  let start = 0;
  const bars = timeline.spans_ms.map((/** @type {{name: string, ms: number}} */ { name, ms }) => {
    const bar = { name, label: LABELS[name] ?? name.replaceAll("_", " "), start, length: ms };
    start += ms;
    return bar;
  });
  return { total: timeline.marks_ms.voice_to_voice ?? start, bars, drafts: timeline.drafts ?? [] };
}

/** The end of a scale that holds so much, and its steps. @param {number} ms */
export function scale(ms) {
  const step = [50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000].find((step) => ms / step <= 5) ?? 20_000;
  const end = Math.max(1, Math.ceil(ms / step)) * step;
  return { end, steps: Array.from({ length: end / step + 1 }, (_, index) => index * step) };
}

/** @param {Turn[]} turns */
export function figures(turns) {
  const drafts = turns.flatMap((turn) => turn.drafts);
  const kept = drafts.filter((draft) => draft.outcome === "hit");
  return {
    turns: turns.length,
    median: median(turns.map((turn) => turn.total)),
    best: turns.length ? Math.min(...turns.map((turn) => turn.total)) : undefined,
    drafts: drafts.length,
    kept: kept.length,
    saved: median(kept.map((draft) => draft.saved_ms)),
  };
}

/** @param {number[]} numbers */
function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : sorted.length ? (sorted[middle - 1] + sorted[middle]) / 2 : undefined;
}
