import type { GrpcStream } from './parties/grpc-stream.js';

/** One stream's part of a round. */
export interface Lane {
  readonly stream: GrpcStream;
  /** To send, in this order. */
  readonly frames: readonly Buffer[];
}

/** What a lane got, by order of arrival. */
export interface LaneResult {
  readonly answers: readonly Buffer[];
  /** Milliseconds, by order of sending and of arrival. */
  readonly sentAt: Float64Array;
  readonly gotAt: Float64Array;
}

export interface RoundResult {
  readonly seconds: number;
  readonly lanes: readonly LaneResult[];
}

/** Keeps so many requests of each lane in flight until all its frames are answered. */
export async function closedLoop(lanes: readonly Lane[], inFlight: number): Promise<RoundResult> {
  const from = performance.now();
  const results = await Promise.all(lanes.map((lane) => runLane(lane, inFlight)));
  return { seconds: (performance.now() - from) / 1000, lanes: results };
}

function runLane({ stream, frames }: Lane, inFlight: number): Promise<LaneResult> {
  const { length } = frames;
  const answers: Buffer[] = [];
  const sentAt = new Float64Array(length);
  const gotAt = new Float64Array(length);
  let sent = 0;
  const send = () => {
    sentAt[sent] = performance.now();
    stream.send(frames[sent]!);
    sent += 1;
  };
  const all = new Promise<LaneResult>((resolve) => {
    stream.onMessage = (answer) => {
      gotAt[answers.length] = performance.now();
      answers.push(answer);
      if (sent < length) send();
      else if (answers.length === length) resolve({ answers, sentAt, gotAt });
    };
  });
  while (sent < Math.min(inFlight, length)) send();
  return stream.orEnded(all);
}
