// @ts-check
// Events as text and audio as binary frames over one WebSocket (subprotocol rejoinder.v1).

import { Failure } from "./failures.js";

const OPENING = 8_000; // ms
const UNSENT = 96_000; // bytes, two seconds of sound; beyond, sound is left out until the network has caught up
const DEAD = 200; // frames left out in a row after which nobody is taken to be there: 4 s
const REPORT = 250; // ms between reports of what has sounded
const SOFT = 10 ** (-15 / 20); // the server's own volume under a voice

export class WebSocketTransport {
  name = "WebSocket";

  /** @param {import("./call.js").Means} means */
  constructor({ url, key, microphone, speaker }) {
    this.url = url;
    this.key = key;
    this.microphone = microphone;
    this.speaker = speaker;
    /** @type {(event: any) => void} */
    this.onevent = () => {};
    /** @type {(failure: Failure) => void} */
    this.onclosed = () => {};
    /** @type {(heard: import("./audio.js").Heard) => void} */
    this.onheard = () => {};
    /** @type {WebSocket | undefined} */
    this.socket = undefined;
    this.listening = true;
    this.reported = 0;
    this.answer = "";
    this.unsent = 0;
  }

  /** Raises Failure. */
  async open() {
    const address = new URL("v1/realtime?model=rejoinder&extensions=1", this.url);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const protocols = ["rejoinder.v1", ...(this.key ? [`openai-insecure-api-key.${this.key}`] : [])];
    await new Promise((done, fail) => {
      try {
        this.socket = new WebSocket(address, protocols);
      } catch {
        return fail(new Failure("key"));
      }
      const late = setTimeout(() => this.socket?.close(4000, "late"), OPENING);
      this.socket.binaryType = "arraybuffer";
      this.socket.onmessage = ({ data }) => {
        clearTimeout(late);
        this.receive(data);
        done(undefined);
      };
      this.socket.onclose = ({ code, reason }) => {
        clearTimeout(late);
        const failure = Failure.closed(code, reason);
        fail(failure);
        this.onclosed(failure);
      };
    });
    if (this.microphone) this.microphone.onframe = (pcm) => this.hear(pcm);
    this.speaker.onheard = (heard) => this.heard(heard);
  }

  /** @param {ArrayBuffer} pcm */
  hear(pcm) {
    const { socket } = this;
    if (!this.listening || socket?.readyState !== 1) return;
    if (socket.bufferedAmount < UNSENT) {
      this.unsent = 0;
      return socket.send(pcm);
    }
    if (++this.unsent === DEAD) this.onclosed(new Failure("lost"));
  }

  /** Whether the microphone is sent at all. @param {boolean} listening */
  async listen(listening) {
    this.listening = listening;
  }

  /** @param {object} event */
  send(event) {
    if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(event));
  }

  /** @param {string | ArrayBuffer} data */
  receive(data) {
    if (typeof data !== "string") return this.sound(data);
    const event = JSON.parse(data);
    if (event.type === "response.output_audio.done") this.speaker.finish(event.item_id);
    if (event.type === "rejoinder.interjection") {
      this.report(this.speaker.heard);
      this.speaker.soften({ ducked: SOFT, held: 0 }[/** @type {string} */ (event.state)] ?? 1);
    }
    const cut = event.type === "response.done" && event.response.status === "cancelled";
    if (cut || event.type === "input_audio_buffer.speech_started") void this.silence();
    return this.onevent(event);
  }

  /** One binary frame: see "Binary audio" in docs/protocol.md. @param {ArrayBuffer} frame */
  sound(frame) {
    const header = new DataView(frame);
    const length = header.getUint8(1);
    if (header.getUint8(0) !== 1) return;
    const itemId = new TextDecoder().decode(new Uint8Array(frame, 8, length - 8)).replace(/\0+$/, "");
    this.answer = itemId;
    this.speaker.play(itemId, header.getUint32(4, true), new Int16Array(frame.slice(length)));
  }

  /** @param {import("./audio.js").Heard} heard */
  heard(heard) {
    const now = performance.now();
    if (!heard.playing || now - this.reported >= REPORT) {
      this.reported = now;
      this.report(heard);
    }
    this.onheard(heard);
  }

  /** @param {import("./audio.js").Heard} heard */
  report({ itemId, ms }) {
    if (itemId) this.send({ type: "rejoinder.playback", item_id: itemId, audio_ms: ms });
  }

  /** Milliseconds of an item at which what comes now will sound. @param {string} itemId */
  place(itemId) {
    return this.speaker.length(itemId);
  }

  async silence() {
    if (!this.speaker.heard.playing && !this.answer) return;
    const { answer } = this;
    this.answer = "";
    const heard = await this.speaker.stop(answer);
    this.report(heard);
    this.onheard({ ...heard, playing: false });
  }

  /** The caller wants no more of the answer. */
  async interrupt() {
    await this.silence();
    this.send({ type: "response.cancel" });
  }

  close() {
    this.onclosed = () => {};
    if (this.microphone) this.microphone.onframe = () => {};
    this.speaker.onheard = () => {};
    void this.speaker.stop(this.answer);
    this.socket?.close(1000);
  }
}
