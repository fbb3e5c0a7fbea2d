// @ts-check
// Streaming conversion of sample rates: a polyphase low-pass of windowed sinc taps (J. O. Smith, "Digital Audio
// Resampling"; Kaiser window). Nothing above the smaller of the two bands passes, so that nothing folds back.

const ZEROS = 24; // zero crossings on each side
const CUTOFF = 0.9; // of the smaller band; with these zero crossings the stop band begins at its end
const BETA = 9; // the window's shape: about 90 dB

export class Resampler {
  /**
   * @param {number} from Hz
   * @param {number} to Hz
   */
  constructor(from, to) {
    const common = divisor(from, to);
    this.up = to / common;
    this.down = from / common;
    const band = Math.min(1, to / from) * CUTOFF;
    const half = Math.ceil((ZEROS * CUTOFF) / band);
    this.taps = 2 * half;
    this.phases = Array.from({ length: this.up }, (_, phase) => taps(half, phase / this.up, band));
    this.buffer = new Float32Array(this.taps * 2 + 4096);
    this.length = half - 1; // silence before the first sample, so that the first output is the first input
    this.phase = 0;
    this.at = 0;
  }

  /**
   * @param {Float32Array} input the next samples
   * @returns {Float32Array} as many as can be told by now; half the filter's length late
   */
  push(input) {
    if (this.length + input.length > this.buffer.length) {
      const larger = new Float32Array(2 * (this.length + input.length));
      larger.set(this.buffer.subarray(0, this.length));
      this.buffer = larger;
    }
    this.buffer.set(input, this.length);
    this.length += input.length;
    const output = new Float32Array(Math.ceil((input.length * this.up) / this.down) + 1);
    let made = 0;
    while (this.at + this.taps <= this.length) {
      const filter = this.phases[this.phase];
      let sum = 0;
      for (let k = 0; k < this.taps; k++) sum += filter[k] * this.buffer[this.at + k];
      output[made++] = sum;
      this.phase += this.down;
      this.at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    const spent = Math.min(this.at, this.length);
    this.buffer.copyWithin(0, spent, this.length);
    this.length -= spent;
    this.at -= spent;
    return output.subarray(0, made);
  }
}

/** @param {number} a @param {number} b @returns {number} */
function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}

/** @param {number} half @param {number} fraction @param {number} band @returns {Float32Array} */
function taps(half, fraction, band) {
  const filter = new Float32Array(2 * half);
  let sum = 0;
  for (let k = 0; k < filter.length; k++) {
    const t = k - half + 1 - fraction;
    const x = Math.PI * band * t;
    const edge = Math.max(0, 1 - (t / half) ** 2);
    filter[k] = (x ? Math.sin(x) / x : 1) * bessel(BETA * Math.sqrt(edge));
    sum += filter[k];
  }
  return filter.map((tap) => tap / sum);
}

/** The modified Bessel function of order zero. @param {number} x */
function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-9; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
