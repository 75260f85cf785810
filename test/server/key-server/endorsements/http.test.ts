import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { selfSigned } from '#server/host/self-signed.js';
import type { TlsIdentity } from '#server/host/tls.js';
import { HttpClient, type HttpOptions } from '#server/key-server/endorsements/http.js';

let tls: TlsIdentity;
beforeAll(async () => {
  tls = await selfSigned(['localhost'], Date.now());
});

/** A service over TLS. @returns its port */
async function secureService(): Promise<number> {
  const { certificate: cert, key } = tls;
  const server = createHttps({ cert, key }, (_request, response) => response.end('certificate'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A proxy that tunnels to this port, whatever it is asked for. */
async function proxy(port: number): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createHttp();
  server.on('connect', (request, socket) => {
    asked.push(request.url ?? '');
    const onward = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(socket);
      socket.pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

async function get(url: string, options: Partial<HttpOptions> = {}): Promise<string> {
  const client = new HttpClient({
    proxyUrl: undefined,
    ca: undefined,
    answerBytesMax: 1000,
    ...options,
  });
  onTestFinished(() => client.close());
  try {
    const { status, body } = await client.get(url, new AbortController().signal);
    return `${status} ${Buffer.from(body)}`;
  } catch (error) {
    return error instanceof CvmpError ? `${error.code} ${error.message}` : String(error);
  }
}

describe('requests to vendors', () => {
  test('TLS is verified: by the CA of the configuration, or those that Node trusts', async () => {
    const url = `https://localhost:${await secureService()}/x`;
    expect(await get(url, { ca: tls.certificate })).toBe('200 certificate');
    expect(await get(url)).toMatch(/^ENDORSEMENT_UNAVAILABLE .*(self.signed|certificate)/);
  });

  test('TLS is verified by name', async () => {
    const url = `https://127.0.0.1:${await secureService()}/x`;
    expect(await get(url, { ca: tls.certificate })).toMatch(/^ENDORSEMENT_UNAVAILABLE/);
  });

  test('a proxy is asked for a tunnel; TLS is with the service', async () => {
    const { url: proxyUrl, asked } = await proxy(await secureService());
    const got = await get('https://localhost/x', { proxyUrl, ca: tls.certificate });
    expect(got).toBe('200 certificate');
    expect(asked).toEqual(['localhost:443']);
    expect(await get('https://vendor.example/x', { proxyUrl, ca: tls.certificate })).toMatch(
      /^ENDORSEMENT_UNAVAILABLE/,
    );
  });

  test('nobody there', async () => {
    expect(await get('http://127.0.0.1:1/x')).toMatch(/^ENDORSEMENT_UNAVAILABLE .*ECONNREFUSED/);
  });
});
