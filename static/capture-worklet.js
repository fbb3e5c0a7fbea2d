// @ts-check
// The microphone at the wire's rate: 20 ms of 16-bit mono samples a message.

import { Resampler } from "./resampler.js";

const RATE = 24_000;
const FRAME = RATE / 50;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process([[samples]]) {
    if (!samples) return true;
    for (const sample of this.resampler.push(samples)) {
      this.frame[this.filled++] = Math.round(Math.max(-1, Math.min(1, sample)) * 32767);
      if (this.filled === FRAME) {
        this.port.postMessage(this.frame.buffer, [this.frame.buffer]);
        this.frame = new Int16Array(FRAME);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
