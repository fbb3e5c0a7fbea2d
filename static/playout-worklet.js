// @ts-check
// The answer at the loudspeaker's rate, out of the jitter buffer; tells twenty times a second what has been played.

import { JitterBuffer } from "./jitter-buffer.js";
import { Resampler } from "./resampler.js";

const RATE = 24_000;
const PULL = RATE / 400; // samples taken at a time
const REPORT = 0.05; // seconds

class Playout extends AudioWorkletProcessor {
  constructor() {
    super();
    this.buffer = new JitterBuffer(RATE);
    this.resampler = new Resampler(RATE, sampleRate);
    this.pulled = new Float32Array(PULL);
    this.ready = new Float32Array(0);
    this.reported = 0;
    this.port.onmessage = ({ data }) => this.told(data);
  }

  /** @param {{what: string, item?: any, first?: any, samples?: any, gain?: any, ask?: number}} message */
  told({ what, item, first, samples, gain, ask }) {
    if (what === "audio") this.buffer.push(item, first, Float32Array.from(samples, (sample) => sample / 32768));
    else if (what === "finish") this.buffer.finish(item);
    else if (what === "soften") this.buffer.soften(gain);
    else if (what === "stop") {
      this.port.postMessage({ ...this.buffer.position, ask });
      this.buffer.stop();
    }
  }

  /** @param {Float32Array[][]} _ @param {Float32Array[][]} outputs */
  process(_, [[out]]) {
    while (this.ready.length < out.length) {
      this.buffer.pull(this.pulled);
      const more = this.resampler.push(this.pulled);
      const joined = new Float32Array(this.ready.length + more.length);
      joined.set(this.ready);
      joined.set(more, this.ready.length);
      this.ready = joined;
    }
    out.set(this.ready.subarray(0, out.length));
    this.ready = this.ready.slice(out.length);
    const { playing } = this.buffer;
    if (currentTime >= this.reported + REPORT || (this.sounded && !playing)) {
      if (playing || this.sounded) this.port.postMessage(this.buffer.position);
      this.reported = currentTime;
      this.sounded = playing;
    }
    return true;
  }
}

registerProcessor("playout", Playout);
