import { createServer, type Server } from 'node:http';
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

type SigningKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];

/** An OpenID Connect issuer: keys of its own, tokens, and its key set over HTTP. */
export class FakeIssuer {
  readonly issuer = 'https://login.test';
  /** How often the key set was asked for. */
  asked = 0;
  /** Answers the key set with this status. */
  status = 200;
  readonly #keys = new Map<string, { readonly key: SigningKey; readonly jwk: JWK }>();
  #server: Server | undefined;

  async addKey(kid: string, alg = 'ES256'): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    this.#keys.set(kid, { key: privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg } });
  }

  removeKey(kid: string): void {
    this.#keys.delete(kid);
  }

  get keySet(): { readonly keys: readonly JWK[] } {
    return { keys: [...this.#keys.values()].map(({ jwk }) => jwk) };
  }

  /** A good token at this time, unless `wrong` says otherwise; undefined drops a claim. */
  async token(
    nowMs: number,
    wrong: { readonly [claim: string]: unknown } = {},
    { kid = [...this.#keys.keys()][0]!, alg = this.#keys.get(kid)?.jwk.alg ?? 'ES256' } = {},
  ): Promise<string> {
    const now = Math.floor(nowMs / 1000);
    const claims: JWTPayload = {
      iss: this.issuer,
      sub: 'alice',
      aud: 'key-server',
      iat: now,
      exp: now + 300,
      tenant: 'acme',
      roles: ['cvmp-auditors'],
      ...wrong,
    };
    for (const [name, value] of Object.entries(claims))
      if (value === undefined) delete claims[name];
    return new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(this.#keys.get(kid)!.key);
  }

  /** Serves the key set on loopback. @returns its URL */
  async listen(): Promise<string> {
    this.#server = createServer((_, response) => {
      this.asked += 1;
      response.writeHead(this.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(this.keySet));
    });
    await new Promise<void>((resolve) => this.#server!.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    return `http://127.0.0.1:${port}/jwks`;
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.#server?.close(resolve) ?? resolve(undefined));
  }
}
