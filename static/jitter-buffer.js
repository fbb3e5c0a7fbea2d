// @ts-check
// What an answer waits in before it sounds: enough that a late packet is not heard, no more than the network needs.
// It fades wherever sound begins or ends out of turn, and knows to the sample what has been played.

const TARGET = 0.06; // seconds gathered before sound begins
const LONGEST_TARGET = 0.24;
const GROWTH = 1.5; // of the target, when it ran dry in mid-answer
const EASING = 0.9; // of the target, after an answer without a gap
const RAMP = 0.01; // seconds from silence to full volume
const ROOM = 60; // seconds held at most; what comes beyond is lost

/**
 * @typedef {{item: number, first: number, samples: Float32Array}} Piece
 * @typedef {{item: number, played: number, buffered: number, playing: boolean, gaps: number}} Position
 */

export class JitterBuffer {
  /** @param {number} rate Hz */
  constructor(rate) {
    this.rate = rate;
    this.target = TARGET;
    this.gaps = 0;
    /** @type {Piece[]} */
    this.pieces = [];
    this.offset = 0; // samples played of the first piece
    this.buffered = 0;
    this.item = 0;
    this.played = 0; // of the item
    this.playing = false;
    this.finished = new Set();
    this.waited = 0; // samples since there is something to play
    this.gain = 0;
    this.soft = 1;
    this.softLeft = 0; // samples that are played at the soft volume
    this.fading = false;
    this.last = 0;
    this.gapped = false;
  }

  /** More of an item; `first` is the index of the first sample within it. @param {number} item @param {number} first @param {Float32Array} samples */
  push(item, first, samples) {
    if (this.fading) this.forget();
    if (this.buffered + samples.length > ROOM * this.rate) return;
    this.pieces.push({ item, first, samples });
    this.buffered += samples.length;
  }

  /** No more of an item will come. @param {number} item */
  finish(item) {
    this.finished.add(item);
  }

  /** Plays what is held now at another volume; the sender has seen to what comes later. @param {number} gain */
  soften(gain) {
    this.soft = gain;
    this.softLeft = gain === 1 ? 0 : this.buffered;
  }

  /** Falls silent, and forgets what has not sounded. */
  stop() {
    this.finished.clear();
    this.soft = 1;
    this.softLeft = 0;
    if (!this.playing) return this.forget();
    let left = Math.ceil(RAMP * this.rate);
    const kept = [];
    for (const piece of this.pieces) {
      if (left <= 0) break;
      kept.push(piece);
      left -= piece.samples.length - (kept.length === 1 ? this.offset : 0);
    }
    this.pieces = kept;
    this.buffered = kept.reduce((sum, piece) => sum + piece.samples.length, -this.offset);
    this.fading = true;
  }

  /** The next samples to be heard. @param {Float32Array} out */
  pull(out) {
    if (!this.playing && this.buffered) this.await(out.length);
    const step = 1 / (RAMP * this.rate);
    for (let i = 0; i < out.length; i++) {
      const piece = this.playing ? this.pieces[0] : undefined;
      if (!piece || (this.fading && this.gain <= 0)) {
        if (this.playing) this.dry();
        this.last *= 0.97; // no click
        out[i] = this.last;
        continue;
      }
      const goal = this.fading ? 0 : this.softLeft > 0 ? this.soft : 1;
      this.gain += Math.max(-step, Math.min(step, goal - this.gain));
      this.last = out[i] = piece.samples[this.offset++] * this.gain;
      if (piece.item !== this.item) this.finished.delete(this.item);
      this.item = piece.item;
      this.played = piece.first + this.offset;
      this.buffered--;
      this.softLeft--;
      if (this.offset === piece.samples.length) {
        this.pieces.shift();
        this.offset = 0;
      }
    }
  }

  /** @returns {Position} */
  get position() {
    const { item, played, buffered, playing, gaps } = this;
    return { item, played, buffered, playing, gaps };
  }

  /** Begins once enough is gathered, or no more is to be expected. @param {number} samples */
  await(samples) {
    this.waited += samples;
    const enough = this.target * this.rate;
    if (this.buffered < enough && this.waited < 2 * enough && !this.finished.has(this.pieces[0].item)) return;
    this.playing = true;
    this.gain = 0;
  }

  /** Nothing is left to play. */
  dry() {
    const over = this.finished.delete(this.item);
    if (!over && !this.fading && this.soft === 1) {
      this.gaps++;
      this.gapped = true;
      this.target = Math.min(this.target * GROWTH, LONGEST_TARGET);
    } else if (over) {
      if (!this.gapped) this.target = Math.max(this.target * EASING, TARGET);
      this.gapped = false;
    }
    this.forget();
  }

  forget() {
    this.pieces = [];
    this.offset = 0;
    this.buffered = 0;
    this.playing = false;
    this.fading = false;
    this.waited = 0;
    this.softLeft = 0;
  }
}
