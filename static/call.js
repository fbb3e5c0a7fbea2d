// @ts-check
// One call: devices, connection and its repair, and what the caller can do.

import { Microphone, Mute, Sound, Speaker } from "./audio.js";
import { Conversation } from "./conversation.js";
import { Failure, diagnose } from "./failures.js";
import { WebRtcTransport } from "./transport-webrtc.js";
import { WebSocketTransport } from "./transport-websocket.js";

const TAIL = 200; // ms the microphone stays open after the key was let go
const SHORTEST = 150; // ms; a shorter press is no turn
const LOST = 300; // ms of the caller's sound that are worth a word
const BACKOFF = [500, 1_000, 2_000, 4_000, 8_000, 15_000]; // ms

/**
 * @typedef {"idle" | "connecting" | "on" | "waiting"} State
 * @typedef {"listening" | "hearing" | "thinking" | "answering"} Phase
 * @typedef {{transport: "auto" | "webrtc" | "websocket", mode: "free" | "hold", input: string, output: string}} Settings
 * @typedef {{url: URL, key: string, sound: Sound, speaker: Speaker | Mute, microphone?: Microphone}} Means
 * @typedef {WebRtcTransport | WebSocketTransport} Transport
 */

export class Call {
  /** @param {Settings} settings @param {URL} url the server's */
  constructor(settings, url) {
    this.settings = settings;
    this.url = url;
    this.key = "";
    this.muted = false;
    this.held = 0;
    /** @type {State} */
    this.state = "idle";
    /** @type {Phase} */
    this.phase = "listening";
    this.conversation = new Conversation();
    /** @type {Set<string>} */
    this.responses = new Set();
    this.noWebRtc = false;
    this.unsaid = ""; // typed before there was a call
    /** @type {Sound | undefined} */
    this.sound = undefined;
    /** @type {Speaker | Mute | undefined} */
    this.speaker = undefined;
    /** @type {Microphone | undefined} */
    this.microphone = undefined;
    /** @type {Transport | undefined} */
    this.transport = undefined;
    this.number = 0; // of the attempt: what belongs to an earlier one is over
    /** Something of the above has changed. */
    this.onchange = () => {};
    /** What went wrong, and ms to the next attempt; nothing: all is well again. @type {(failure?: Failure, wait?: number) => void} */
    this.onfailure = () => {};
    /** @type {(timeline: any) => void} */
    this.ontimeline = () => {};
    /** @type {(text: string) => void} */
    this.onhint = () => {};
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.devicesChanged());
    window.addEventListener("online", () => this.hurry());
  }

  /** Call, or, in a call that was only typed, speak as well. @param {boolean} [speaking] */
  async start(speaking = true) {
    if (this.state === "on" && speaking && !this.microphone) this.leave();
    else if (this.state !== "idle") return;
    const number = ++this.number;
    this.set("connecting");
    try {
      await this.devices(speaking);
      if (number === this.number) await this.connect(number);
    } catch (error) {
      if (number !== this.number) return;
      const failure = known(error);
      if (failure.words.again) await this.again(number, failure);
      else this.end(failure);
    }
  }

  /** @param {boolean} speaking */
  async devices(speaking) {
    if (!window.isSecureContext) {
      if (speaking) throw new Failure("insecure");
      this.speaker ??= new Mute();
      return;
    }
    if (!window.AudioWorkletNode || !navigator.mediaDevices) throw new Failure("unsupported");
    const asked = speaking && !this.microphone ? Microphone.ask(this.settings.input) : undefined;
    asked?.catch(() => {}); // it is waited for below
    if (!this.sound) {
      const sound = (this.sound = new Sound());
      sound.onpaused = (paused) => this.paused(paused);
      await sound.open();
      this.speaker = new Speaker(sound);
      await sound.choose(this.settings.output).catch(() => {});
    }
    if (!asked) return;
    const stream = await asked.catch((error) => {
      throw Failure.microphone(error);
    });
    if (this.state === "idle") return stream.getTracks().forEach((track) => track.stop());
    this.microphone = new Microphone(this.sound);
    this.microphone.onlost = () => void this.chooseInput("");
    this.microphone.mute(this.muted);
    this.microphone.use(stream);
  }

  /** @param {number} number */
  async connect(number) {
    const kinds = this.kinds();
    for (const [index, Kind] of kinds.entries()) {
      const { url, key, microphone } = this;
      const sound = /** @type {Sound} */ (this.sound); // WebRTC has a microphone, and so there is sound
      const speaker = /** @type {Speaker | Mute} */ (this.speaker);
      const transport = new Kind({ url, key, sound, speaker, microphone });
      this.transport = transport;
      transport.onevent = (event) => this.transport === transport && this.receive(transport, event);
      transport.onheard = (heard) => this.heard(heard);
      try {
        await transport.open();
      } catch (error) {
        transport.close();
        const failure = await diagnose(url, key, known(error));
        if (number !== this.number) return;
        if (failure.kind !== "webrtc" || index + 1 === kinds.length) throw failure;
        this.noWebRtc = true;
        continue;
      }
      if (number !== this.number) return transport.close();
      transport.onclosed = (failure) => this.closed(failure);
      return this.connected();
    }
  }

  kinds() {
    const { transport } = this.settings;
    if (!this.microphone || transport === "websocket" || !window.RTCPeerConnection) return [WebSocketTransport];
    if (transport === "webrtc") return [WebRtcTransport];
    return this.noWebRtc ? [WebSocketTransport] : [WebRtcTransport, WebSocketTransport];
  }

  connected() {
    this.configure();
    for (const event of this.conversation.replay()) this.send(event);
    this.phase = "listening";
    this.set("on");
    this.onfailure(this.sound?.silent ? new Failure("paused") : undefined);
    if (this.unsaid) this.say(this.unsaid);
    this.unsaid = "";
  }

  configure() {
    const free = this.settings.mode === "free";
    const turn_detection = free ? { type: "semantic_vad" } : null;
    const input = { transcription: { model: "rejoinder" }, turn_detection };
    this.send({ type: "session.update", session: { type: "realtime", output_modalities: [this.sound ? "audio" : "text"], audio: { input } } });
    void this.transport?.listen(free);
  }

  /** @param {object} event */
  send(event) {
    this.transport?.send(event);
  }

  /** @param {Transport} transport @param {any} event */
  receive(transport, event) {
    this.conversation.apply(event, (itemId) => transport.place(itemId));
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        return this.turn("hearing");
      case "input_audio_buffer.committed":
        return this.turn("thinking");
      case "input_audio_buffer.cleared":
        return this.turn("listening");
      case "response.created":
        this.responses.add(event.response.id);
        return this.phase === "answering" ? undefined : this.turn("thinking");
      case "response.done":
        this.responses.delete(event.response.id);
        if (event.response.status === "failed") this.onhint(event.response.status_details?.error?.message ?? "");
        return this.phase === "thinking" ? this.turn("listening") : undefined;
      case "rejoinder.turn.timeline":
        return this.ontimeline(event.timeline);
      case "rejoinder.audio_gap":
        if (this.phase !== "hearing" || event.end_ms - event.start_ms < LOST) return undefined;
        return this.onhint("Some of what you said did not arrive. Say it again if the answer does not fit.");
      case "rejoinder.degraded":
        return this.onhint(event.message);
      case "error":
        return event.error.code === "response_cancel_not_active" ? undefined : this.onhint(event.error.message);
      default:
        return undefined;
    }
  }

  /** @param {import("./audio.js").Heard} heard */
  heard(heard) {
    this.conversation.played(heard);
    if (heard.playing && this.phase === "thinking") this.turn("answering");
    if (!heard.playing && this.phase === "answering") this.turn(this.responses.size ? "thinking" : "listening");
  }

  /** @param {Phase} phase */
  turn(phase) {
    if (phase === this.phase) return;
    this.phase = phase;
    this.onchange();
  }

  /** @param {State} state */
  set(state) {
    this.state = state;
    this.onchange();
  }

  /** What the caller does ---------------------------------------------------------------------------------------- */

  /** @param {boolean} muted */
  mute(muted) {
    this.muted = muted;
    this.microphone?.mute(muted);
    this.onchange();
  }

  async interrupt() {
    if (this.phase !== "answering" && this.phase !== "thinking") return;
    await this.transport?.interrupt();
    this.turn("listening");
  }

  /** Hold to talk. @param {boolean} down */
  async hold(down) {
    const { transport } = this;
    if (this.state !== "on" || this.settings.mode !== "hold" || !transport || down === Boolean(this.held)) return;
    if (down) {
      this.held = performance.now();
      this.onchange();
      await this.interrupt();
      this.send({ type: "input_audio_buffer.clear" });
      if (this.held) await transport.listen(true);
      return;
    }
    const long = performance.now() - this.held >= SHORTEST;
    this.held = 0;
    this.onchange();
    await new Promise((done) => setTimeout(done, TAIL));
    if (this.held || transport !== this.transport) return;
    await transport.listen(false);
    if (!long) {
      this.send({ type: "input_audio_buffer.clear" });
      return this.onhint("Hold while you speak, and let go when you are done.");
    }
    this.send({ type: "input_audio_buffer.commit" });
    this.send({ type: "response.create" });
  }

  /** Say something in writing; calls where there is no call. @param {string} text */
  async type(text) {
    if (this.state === "on") return this.say(text);
    this.unsaid = text;
    return this.start(false);
  }

  /** @param {string} text */
  async say(text) {
    await this.interrupt();
    const content = [{ type: "input_text", text }];
    this.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    this.send({ type: "response.create" });
  }

  /** @param {Partial<Settings>} changes */
  async change(changes) {
    const before = { ...this.settings };
    Object.assign(this.settings, changes);
    const { transport, mode, input, output } = this.settings;
    if (transport !== before.transport) this.noWebRtc = false;
    if (transport !== before.transport && this.state === "on") await this.restart();
    else if (mode !== before.mode && this.state === "on") this.configure();
    if (input !== before.input && this.microphone) await this.chooseInput(input);
    if (output !== before.output) await this.sound?.choose(output).catch(() => this.onhint("That loudspeaker cannot be used."));
    this.onchange();
  }

  /** Another connection, same conversation. */
  async restart() {
    this.leave();
    this.set("idle");
    await this.start(Boolean(this.microphone));
  }

  /** Begin anew. */
  async forget() {
    this.conversation.clear();
    if (this.state === "on") await this.restart();
  }

  /** @param {string} deviceId */
  async chooseInput(deviceId) {
    try {
      const stream = await Microphone.ask(deviceId);
      this.microphone?.use(stream);
    } catch (error) {
      this.onfailure(/** @type {Error} */ (error).name === "NotFoundError" ? new Failure("unplugged") : Failure.microphone(/** @type {Error} */ (error)));
    }
  }

  /** A chosen device may have come back, or another default. */
  async devicesChanged() {
    this.onchange();
    const { microphone } = this;
    if (microphone?.stream && microphone.track.readyState === "ended") await this.chooseInput(this.settings.input);
    if (this.settings.output) await this.sound?.choose(this.settings.output).catch(() => this.sound?.choose("").catch(() => {}));
  }

  /** @param {boolean} paused */
  paused(paused) {
    if (this.state === "on") this.onfailure(paused ? new Failure("paused") : undefined);
  }

  /** The connection -------------------------------------------------------------------------------------------- */

  /** @param {Failure} failure */
  closed(failure) {
    this.leave();
    if (failure.words.again) void this.again(++this.number, failure);
    else this.end(failure);
  }

  /** Connect again, less and less often, until it works or the caller has enough. @param {number} number @param {Failure} failure */
  async again(number, failure) {
    for (let attempt = 0; number === this.number; attempt++) {
      const wait = BACKOFF[Math.min(attempt, BACKOFF.length - 1)] * (0.8 + 0.4 * Math.random());
      this.set("waiting");
      this.onfailure(failure, wait);
      await new Promise((done) => {
        this.hurry = () => done(undefined);
        setTimeout(done, wait);
      });
      if (number !== this.number) return;
      try {
        this.set("connecting");
        if (!this.speaker) await this.devices(Boolean(this.microphone));
        return await this.connect(number);
      } catch (error) {
        failure = known(error);
        if (number === this.number && !failure.words.again) return this.end(failure);
      }
    }
  }

  /** Do not wait for the next attempt. */
  hurry() {}

  leave() {
    this.transport?.close();
    this.transport = undefined;
    this.responses.clear();
    this.held = 0;
    this.phase = "listening";
    this.conversation.broken();
  }

  /** Hang up. @param {Failure} [failure] */
  end(failure) {
    this.number++;
    this.leave();
    this.microphone?.close();
    this.speaker?.close();
    this.sound?.close();
    this.microphone = this.speaker = this.sound = undefined;
    this.set("idle");
    this.onfailure(failure);
  }
}

/** @param {any} error @returns {Failure} */
function known(error) {
  if (error instanceof Failure) return error;
  console.error(error);
  return new Failure("broken", "");
}
