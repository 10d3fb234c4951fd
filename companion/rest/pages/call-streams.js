// Whose media come in, and over which transceivers: a section of the relay's names its user in msid.

export class RemoteStreams {
  #streams = new Map();

  // Bring them up to date with what was agreed last; give [user, stream] of each that changed, the
  // stream being null for who sends nothing any more. `parties` are the call's.
  update(pc, parties) {
    const others = parties.filter(({ state, me }) => state === "in" && !me);
    const tracks = new Map(others.map(({ user }) => [user, new Set()]));
    const named = namedUsers(pc.remoteDescription.sdp);
    for (const { mid, receiver, currentDirection } of pc.getTransceivers()) {
      if (!["recvonly", "sendrecv"].includes(currentDirection)) continue;
      const name = named.get(mid);
      // between two there are no names: it can only be the other one
      const alone = others.length === 1 && !parties.some(({ user }) => user === name);
      tracks.get(alone ? others[0].user : name)?.add(receiver.track);
    }
    const gone = [...this.#streams.keys()].filter((user) => !tracks.get(user)?.size);
    gone.forEach((user) => this.#streams.delete(user));
    const changed = [...tracks].filter(([user, wanted]) => wanted.size && this.#hold(user, wanted));
    return [...gone.map((user) => [user, null]),
      ...changed.map(([user]) => [user, this.#streams.get(user)])];
  }

  #hold(user, wanted) {
    const stream = this.#streams.get(user) ?? new MediaStream();
    const before = stream.getTracks();
    before.filter((track) => !wanted.has(track)).forEach((track) => stream.removeTrack(track));
    wanted.forEach((track) => stream.addTrack(track));
    const known = this.#streams.has(user);
    this.#streams.set(user, stream);
    return !known || before.length !== wanted.size || before.some((track) => !wanted.has(track));
  }
}

function namedUsers(sdp) {
  const sections = sdp.split(/^m=/m).slice(1);
  return new Map(sections.map((one) => [
    one.match(/^a=mid:(.+?)\r?$/m)?.[1], one.match(/^a=msid:(\S+)/m)?.[1],
  ]));
}
