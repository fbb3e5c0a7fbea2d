// @ts-check
// Events over the data channel "oai-events", audio as Opus over one peer connection.

import { Failure } from "./failures.js";

const OPENING = 6_000; // ms
const LOST = 4_000; // ms without a route before the call counts as lost

export class WebRtcTransport {
  name = "WebRTC";

  /** @param {import("./call.js").Means} means */
  constructor({ url, key, microphone, sound }) {
    this.url = url;
    this.key = key;
    this.microphone = /** @type {import("./audio.js").Microphone} */ (microphone);
    this.sound = sound;
    this.peer = new RTCPeerConnection();
    this.events = this.peer.createDataChannel("oai-events");
    /** @type {(event: any) => void} */
    this.onevent = () => {};
    /** @type {(failure: Failure) => void} */
    this.onclosed = () => {};
    /** @type {(heard: import("./audio.js").Heard) => void} */
    this.onheard = () => {};
    this.gain = sound.context.createGain();
    this.gain.connect(sound.out);
    this.item = "";
    this.began = 0; // when the answer began to sound, in ms of the page's clock, pauses left out
    this.paused = 0;
    this.sounding = false;
    this.tick = () => this.progress();
  }

  /** Raises Failure. */
  async open() {
    this.peer.ontrack = ({ streams: [stream] }) => this.attach(stream);
    this.sender = this.peer.addTrack(this.microphone.track, /** @type {MediaStream} */ (this.microphone.stream));
    this.microphone.ontrack = (track) => void this.sender?.replaceTrack(track);
    await this.peer.setLocalDescription();
    await this.gathered();
    const answer = await this.call();
    await this.peer.setRemoteDescription({ type: "answer", sdp: answer });
    await new Promise((done, fail) => {
      const late = setTimeout(() => fail(new Failure("webrtc")), OPENING);
      this.events.onmessage = ({ data }) => {
        clearTimeout(late);
        this.receive(JSON.parse(data));
        done(undefined);
      };
      this.events.onclose = () => {
        fail(new Failure("webrtc"));
        this.onclosed(new Failure("lost"));
      };
      this.peer.onconnectionstatechange = () => {
        clearTimeout(this.leash);
        const { connectionState } = this.peer;
        if (connectionState === "failed") {
          fail(new Failure("webrtc"));
          this.onclosed(new Failure("lost"));
        }
        if (connectionState === "disconnected") this.leash = setTimeout(() => this.onclosed(new Failure("lost")), LOST);
      };
    });
  }

  /** The addresses of this machine are part of the offer; there is no later word on them. */
  async gathered() {
    const { peer } = this;
    if (peer.iceGatheringState === "complete") return;
    await new Promise((done) => {
      const late = setTimeout(done, 500);
      peer.onicegatheringstatechange = () => {
        if (peer.iceGatheringState !== "complete") return;
        clearTimeout(late);
        done(undefined);
      };
    });
  }

  /** The server's answer to our offer. */
  async call() {
    const address = new URL("v1/realtime/calls?model=rejoinder&extensions=1", this.url);
    const headers = { "Content-Type": "application/sdp", ...(this.key && { Authorization: `Bearer ${this.key}` }) };
    const body = this.peer.localDescription?.sdp;
    const response = await fetch(address, { method: "POST", headers, body }).catch(() => {
      throw new Failure("unreachable");
    });
    if (!response.ok) throw await Failure.refused(response, "webrtc");
    return response.text();
  }

  /** @param {MediaStream} stream */
  attach(stream) {
    this.element = new Audio(); // Chromium lets a remote track flow only while an element plays it
    this.element.muted = true;
    this.element.srcObject = stream;
    void this.element.play().catch(() => {});
    this.source = this.sound.context.createMediaStreamSource(stream);
    this.source.connect(this.gain);
  }

  /** @param {boolean} listening */
  async listen(listening) {
    await this.sender?.replaceTrack(listening ? this.microphone.track : null);
  }

  /** @param {object} event */
  send(event) {
    if (this.events.readyState === "open") this.events.send(JSON.stringify(event));
  }

  /** @param {any} event */
  receive(event) {
    const now = performance.now();
    if (event.type === "response.output_item.added" && event.item.type === "message") this.item = event.item.id;
    if (event.type === "output_audio_buffer.started") {
      this.began = now;
      this.paused = 0;
      this.sounding = true;
      this.volume(1);
      this.progress();
    }
    if (event.type === "rejoinder.interjection") {
      if (event.state === "held") this.paused = this.paused || now;
      else if (this.paused) {
        this.began += now - this.paused;
        this.paused = 0;
      }
    }
    const cut = event.type === "input_audio_buffer.speech_started" || event.type === "output_audio_buffer.cleared";
    if (cut || event.type === "output_audio_buffer.stopped") this.stopped(cut);
    this.onevent(event);
  }

  /** @param {boolean} cut */
  stopped(cut) {
    if (!this.sounding) return;
    this.sounding = false;
    if (cut) this.volume(0);
    this.onheard({ itemId: this.item, ms: cut ? this.position : Infinity, playing: false });
  }

  progress() {
    if (!this.sounding) return;
    this.onheard({ itemId: this.item, ms: this.position, playing: true });
    requestAnimationFrame(this.tick);
  }

  get position() {
    const { context } = this.sound;
    return Math.max(0, (this.paused || performance.now()) - this.began - 1000 * (context.outputLatency || 0));
  }

  /** @param {number} gain */
  volume(gain) {
    this.gain.gain.setTargetAtTime(gain, this.sound.context.currentTime, 0.005);
  }

  /** @param {string} itemId */
  place(itemId) {
    return this.sounding && itemId === this.item ? performance.now() - this.began : 0;
  }

  async interrupt() {
    this.send({ type: this.sounding ? "output_audio_buffer.clear" : "response.cancel" });
    this.stopped(true);
  }

  close() {
    this.onclosed = () => {};
    this.events.onclose = null;
    this.sounding = false;
    clearTimeout(this.leash);
    this.microphone.ontrack = () => {};
    this.source?.disconnect();
    this.gain.disconnect();
    if (this.element) this.element.srcObject = null;
    this.peer.close();
  }
}
