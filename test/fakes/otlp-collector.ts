import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface CollectedSpan {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly {
    readonly key: string;
    readonly value: { readonly stringValue?: string; readonly intValue?: string };
  }[];
  readonly status: { readonly code: number; readonly message?: string };
}

/** A collector that speaks OTLP/HTTP with JSON on loopback. */
export interface Collector {
  readonly url: string;
  readonly spans: CollectedSpan[];
  /** Bodies as they came. */
  readonly bodies: string[];
  /** With what it answers from now on. */
  answer: number;
}

export async function startCollector(): Promise<Collector> {
  const collector = { url: '', spans: [] as CollectedSpan[], bodies: [] as string[], answer: 200 };
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString();
    if (collector.answer === 200) {
      collector.bodies.push(body);
      const isTraces = request.url === '/v1/traces' && request.method === 'POST';
      if (isTraces && request.headers['content-type'] === 'application/json') {
        collector.spans.push(...spansOf(JSON.parse(body)));
      }
    }
    response.writeHead(collector.answer, { 'content-type': 'application/json' });
    response.end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  collector.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return collector;
}

interface Traces {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: CollectedSpan['attributes'] };
    readonly scopeSpans: readonly { readonly spans: readonly Omit<CollectedSpan, 'service'>[] }[];
  }[];
}

function spansOf({ resourceSpans }: Traces): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const name = resource.attributes.find(({ key }) => key === 'service.name');
    const service = name?.value.stringValue ?? '';
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => ({ ...span, service })));
  });
}
