// @ts-check
// Which words of an answer have sounded. The words of a stretch come just before its sound, so that each stretch begins
// where the sound received by then ends; within it words are spread by their length.

const PER_LETTER = 62; // ms, until the stretch's end is known

/** @typedef {{text: string, start: number}} Stretch `start` in ms of the answer's sound */

/**
 * How many letters have begun to sound, up to the end of a word.
 * @param {Stretch[]} stretches @param {number} ms played @param {number} [end] of all sound, once it is known
 */
export function lit(stretches, ms, end) {
  let letters = 0;
  for (const [index, { text, start }] of stretches.entries()) {
    const next = stretches[index + 1]?.start ?? end;
    const length = next !== undefined && next > start ? next - start : text.length * PER_LETTER;
    const share = (ms - start) / length;
    if (share <= 0) break;
    if (share < 1) return letters + wordEnd(text, Math.floor(share * text.length));
    letters += text.length;
  }
  return letters;
}

/** @param {string} text @param {number} at */
function wordEnd(text, at) {
  const space = text.slice(at).search(/\s/);
  return space < 0 ? text.length : at + space;
}
