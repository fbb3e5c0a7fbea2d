// @ts-check
// The audio devices: one context for microphone and loudspeaker, meters on both, and playout of what comes as samples.

const RATE = 24_000;
const CAPTURE = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  channelCount: 1,
};

/** @typedef {{itemId: string, ms: number, playing: boolean}} Heard */

export class Sound {
  constructor() {
    const Context = window.AudioContext;
    this.context = new Context({ latencyHint: "interactive" });
    this.out = this.context.createGain();
    this.outMeter = meter(this.context);
    this.out.connect(this.outMeter).connect(this.context.destination);
    /** Told when the browser has paused all sound, or plays it again. @type {(paused: boolean) => void} */
    this.onpaused = () => {};
    this.silent = false;
    this.context.onstatechange = () => this.check();
    this.wake = () => this.check();
    for (const name of ["pointerdown", "keydown", "visibilitychange"]) document.addEventListener(name, this.wake, true);
  }

  /** Browsers pause a context without a click, in a call on the phone, after sleep: it is taken up again. */
  check() {
    const state = /** @type {string} */ (this.context.state);
    if (state === "suspended" || state === "interrupted") void this.context.resume();
    const silent = state !== "running" && state !== "closed";
    if (silent !== this.silent) this.onpaused(silent);
    this.silent = silent;
  }

  /** The worklets, and sound allowed; to be called in a click. */
  async open() {
    const here = (/** @type {string} */ name) => new URL(name, import.meta.url).href;
    const worklet = this.context.audioWorklet;
    await Promise.all([
      worklet.addModule(here("capture-worklet.js")),
      worklet.addModule(here("playout-worklet.js")),
      Promise.race([this.context.resume(), new Promise((done) => setTimeout(done, 500))]),
    ]);
    this.check();
  }

  /** Which loudspeaker; only where the browser can choose. @param {string} deviceId */
  async choose(deviceId) {
    const context = /** @type {any} */ (this.context);
    if (context.setSinkId && (context.sinkId || "") !== deviceId) await context.setSinkId(deviceId);
  }

  /** Seconds between a sample's leaving the graph and its being heard. */
  get latency() {
    return this.context.outputLatency || this.context.baseLatency || 0;
  }

  close() {
    for (const name of ["pointerdown", "keydown", "visibilitychange"]) document.removeEventListener(name, this.wake, true);
    this.context.onstatechange = null;
    void this.context.close();
  }
}

/** The microphone: a track for WebRTC, 20 ms frames of 16-bit samples at 24 kHz for `onframe`. */
export class Microphone {
  /** @param {Sound} sound */
  constructor(sound) {
    this.context = sound.context;
    this.meter = meter(this.context);
    this.node = new AudioWorkletNode(this.context, "capture", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    this.meter.connect(this.node);
    /** @type {(pcm: ArrayBuffer) => void} */
    this.onframe = () => {};
    /** Told of another track. @type {(track: MediaStreamTrack) => void} */
    this.ontrack = () => {};
    /** The microphone was unplugged or taken away. */
    this.onlost = () => {};
    this.node.port.onmessage = ({ data }) => this.onframe(data);
    this.muted = false;
    /** @type {MediaStream | undefined} */
    this.stream = undefined;
  }

  /** Ask for a device; an empty name is the system's choice. Raises what getUserMedia does. @param {string} deviceId */
  static async ask(deviceId) {
    if (!deviceId) return capture(CAPTURE);
    return capture({ ...CAPTURE, deviceId: { exact: deviceId } }).catch((error) => {
      if (error.name === "OverconstrainedError" || error.name === "NotFoundError") return capture(CAPTURE);
      throw error;
    });
  }

  /** @param {MediaStream} stream */
  use(stream) {
    this.release();
    this.stream = stream;
    this.source = this.context.createMediaStreamSource(stream);
    this.source.connect(this.meter);
    this.track.enabled = !this.muted;
    this.track.onended = () => this.onlost();
    this.ontrack(this.track);
  }

  get track() {
    return /** @type {MediaStream} */ (this.stream).getAudioTracks()[0];
  }

  /** A muted microphone sends silence: the browser itself takes the sound away. @param {boolean} muted */
  mute(muted) {
    this.muted = muted;
    if (this.stream) this.track.enabled = !muted;
  }

  release() {
    this.source?.disconnect();
    for (const track of this.stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
  }

  close() {
    this.release();
    this.node.port.onmessage = null;
    this.node.disconnect();
  }
}

/** Plays the answers that come as samples, and knows what of them has been heard. */
export class Speaker {
  /** @param {Sound} sound */
  constructor(sound) {
    this.sound = sound;
    this.node = new AudioWorkletNode(sound.context, "playout", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.connect(sound.out);
    /** @type {(heard: Heard) => void} */
    this.onheard = () => {};
    /** @type {string[]} the worklet knows items by their number here */
    this.items = [""];
    /** @type {Map<string, number>} samples that came of each item */
    this.came = new Map();
    /** @type {Set<string>} */
    this.dropped = new Set();
    /** @type {Heard} */
    this.heard = { itemId: "", ms: 0, playing: false };
    /** @type {((heard: Heard) => void)[]} */
    this.asked = [];
    this.node.port.onmessage = ({ data }) => this.told(data);
  }

  /** @param {import("./jitter-buffer.js").Position & {ask?: number}} position */
  told({ item, played, playing, ask }) {
    const ms = Math.max(0, (played / RATE - this.sound.latency) * 1000);
    this.heard = { itemId: this.items[item], ms: Math.round(ms), playing };
    if (ask) this.asked.shift()?.(this.heard);
    else this.onheard(this.heard);
  }

  /** @param {string} itemId @param {number} first index of the first sample @param {Int16Array} samples */
  play(itemId, first, samples) {
    if (this.dropped.has(itemId)) return;
    this.came.set(itemId, first + samples.length);
    this.node.port.postMessage({ what: "audio", item: this.number(itemId), first, samples });
  }

  /** Milliseconds of an item that have come. @param {string} itemId */
  length(itemId) {
    return ((this.came.get(itemId) ?? 0) / RATE) * 1000;
  }

  /** All of an item has come. @param {string} itemId */
  finish(itemId) {
    this.node.port.postMessage({ what: "finish", item: this.number(itemId) });
  }

  /** The server goes on at another volume; what is here already follows. @param {number} gain */
  soften(gain) {
    this.node.port.postMessage({ what: "soften", gain });
  }

  /** Fade out at once; what else comes of these items is not played. @param {string} itemId @returns {Promise<Heard>} where it stopped */
  stop(itemId) {
    if (itemId) this.dropped.add(itemId);
    if (this.heard.itemId) this.dropped.add(this.heard.itemId);
    const known = { ...this.heard };
    this.heard.playing = false;
    if (this.sound.context.state !== "running") return Promise.resolve(known);
    return new Promise((done) => {
      this.asked.push(done);
      this.node.port.postMessage({ what: "stop", ask: 1 });
    });
  }

  /** @param {string} itemId */
  number(itemId) {
    const known = this.items.lastIndexOf(itemId);
    return known > 0 ? known : this.items.push(itemId) - 1;
  }

  close() {
    this.node.port.onmessage = null;
    this.node.disconnect();
  }
}

/** In place of a Speaker where the browser gives no sound: answers are read. */
export class Mute {
  heard = { itemId: "", ms: 0, playing: false };
  /** @type {(heard: Heard) => void} */
  onheard = () => {};
  play() {}
  finish() {}
  soften() {}
  length() {
    return 0;
  }
  async stop() {
    return this.heard;
  }
  close() {}
}

/** @param {MediaTrackConstraints} audio */
function capture(audio) {
  return navigator.mediaDevices.getUserMedia({ audio });
}

/** @param {AudioContext} context */
function meter(context) {
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  return analyser;
}

const samples = new Float32Array(1024);

/** How loud it is, 0 to 1 on a scale of decibels. @param {AnalyserNode | undefined} analyser */
export function level(analyser) {
  if (!analyser) return 0;
  analyser.getFloatTimeDomainData(samples);
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  return Math.max(0, Math.min(1, 1 + (10 * Math.log10(power + 1e-9)) / 60));
}

/** The devices there are; their names are known once the microphone was allowed. @param {"audioinput" | "audiooutput"} kind */
export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all.filter((device) => device.kind === kind && device.deviceId && device.deviceId !== "default");
}
