// What one side measures of a call, from one report to the next (W3C webrtc-stats).

const round = (value, digits = 3) => Number(value.toFixed(digits));

export class Meter {
  #pc;
  #before = { at: 0, bytes: 0, packets: 0, lost: 0, samples: 0, concealed: 0 };

  constructor(pc) {
    this.#pc = pc;
  }

  async read() {
    const report = await this.#pc.getStats();
    const now = this.#count(report);
    const before = this.#before;
    this.#before = now;
    const stats = { connection: this.#pc.connectionState.replace("closed", "failed") };
    const packets = now.packets - before.packets + (now.lost - before.lost);
    if (before.at && packets > 0) {
      stats.loss = round(Math.min(1, Math.max(0, (now.lost - before.lost) / packets)));
      stats.bitrate_kbps = round(((now.bytes - before.bytes) * 8) / (now.at - before.at), 1);
    }
    const samples = now.samples - before.samples;
    if (samples > 0) {
      stats.concealed = round(Math.min(1, Math.max(0, (now.concealed - before.concealed) / samples)));
    }
    if (now.jitter !== null) stats.jitter_ms = round(now.jitter * 1000, 1);
    return { ...stats, ...this.#path(report) };
  }

  #count(report) {
    const now = { at: performance.now(), bytes: 0, packets: 0, lost: 0, samples: 0, concealed: 0, jitter: null };
    for (const one of report.values()) {
      if (one.type !== "inbound-rtp") continue;
      now.bytes += one.bytesReceived ?? 0;
      now.packets += one.packetsReceived ?? 0;
      now.lost += one.packetsLost ?? 0;
      now.samples += one.totalSamplesReceived ?? 0;
      now.concealed += one.concealedSamples ?? 0;
      now.jitter = Math.max(now.jitter ?? 0, one.jitter ?? 0);
    }
    return now;
  }

  #path(report) {
    const all = [...report.values()];
    const transport = all.find((one) => one.type === "transport" && one.selectedCandidatePairId);
    // a pair stays nominated after ICE left it; only a browser that tells no more is taken at that
    const pair = transport
      ? report.get(transport.selectedCandidatePairId)
      : all.find((one) => one.type === "candidate-pair" && one.nominated && one.state === "succeeded");
    if (!pair) return {};
    const local = report.get(pair.localCandidateId);
    const path = {};
    if (pair.currentRoundTripTime !== undefined) path.rtt_ms = round(pair.currentRoundTripTime * 1000, 1);
    if (local) path.candidate = local.candidateType;
    return path;
  }
}
