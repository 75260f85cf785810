import { chmodSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Attester, checkOwnReport, hardwareOf } from '#agent/attester/attester.js';
import { passportAttester } from '#agent/attester/passport.js';
import { parseAgentConfig, printAgentConfig } from '#agent/config.js';
import { fromBase64Url, toBase64Url, utf8 } from '#core/bytes.js';
import { decodeCoseKey } from '#core/cose/key.js';
import { parseSign1, verifySign1 } from '#core/cose/sign1.js';
import { confirmationReportData } from '#core/ear/passport.js';
import { signJwt } from '#core/ear/token.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { crypto } from '#crypto';
import { ear } from '../../core/ear/made.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const reportData = crypto.randomBytes(64);
const configDocument = crypto.randomBytes(40);
const folder = temporaryFolder('passport');
let monotonic = 0;
const options = { configDocument, monotonic: () => monotonic };
let jwt: Uint8Array;
let server: Server;
let answer: { status: number; body: Uint8Array };
const asked: Record<string, string>[] = [];

/** Hardware that puts its report data behind a mark. */
const hardware: Attester = {
  profiles: ['snp'],
  evidence: async (data) => Uint8Array.of(1, ...data),
  close: () => {},
};

beforeAll(async () => {
  jwt = await signJwt(await crypto.generateEcKey('P-256'), ear());
  answer = { status: 200, body: jwt };
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      asked.push(JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>);
      response.writeHead(answer.status).end(answer.body);
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
});
afterAll(() => new Promise((closed) => server.close(closed)));

const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/appraise`;
const byUrl = (reuseMs = 0) =>
  passportAttester(
    hardware,
    { target: { kind: 'url', url: url() }, deadlineMs: 5000, reuseMs },
    options,
  );
const byProgram = (script: string, deadlineMs = 5000) => {
  const path = join(folder, 'verifier');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return passportAttester(
    hardware,
    { target: { kind: 'program', path }, deadlineMs, reuseMs: 0 },
    options,
  );
};

describe('passport model: an external verifier is asked (RFC 9334 s.5.1)', () => {
  test('a URL gets Binding, evidence over it and config document, and answers with an EAR', async () => {
    const attester = byUrl();
    expect(attester.profiles).toEqual(['ear']);
    const collection = decodeCmw(await attester.evidence(reportData));
    expect([...collection.keys()]).toEqual(['ear']);
    expect(collection.get('ear')).toEqual({
      mediaType: 'application/eat+jwt',
      value: jwt,
      indicator: 8,
    });
    expect(asked.at(-1)).toEqual({
      binding: toBase64Url(reportData),
      evidence: toBase64Url(Uint8Array.of(1, ...reportData)),
      evidence_type: 'application/cmw+cbor',
      config_document: toBase64Url(configDocument),
    });
  });

  test('a program gets the same on its standard input, and writes the EAR', async () => {
    writeFileSync(join(folder, 'ear.jwt'), jwt);
    const attester = byProgram(`cat > ${folder}/asked.json; cat ${folder}/ear.jwt; echo`);
    const collection = decodeCmw(await attester.evidence(reportData));
    expect(collection.get('ear')?.value).toEqual(Uint8Array.of(...jwt, 10));
  });

  test('a result that is used again names a key of this agent, and each session gets a proof', async () => {
    const attester = byUrl(60_000);
    const before = asked.length;
    const proofOf = async (data: Uint8Array) => {
      const collection = decodeCmw(await attester.evidence(data));
      return parseSign1(collection.get('ear-proof')!.value);
    };
    const first = await proofOf(reportData);
    const request = asked.at(-1)!;
    const key = decodeCoseKey(fromBase64Url(request.confirmation_key!), 'confirmation_key');
    expect(request.binding).toBe(toBase64Url(confirmationReportData(key)));
    expect(await verifySign1(first, key)).toEqual(reportData);
    monotonic += 59_999;
    expect(await verifySign1(await proofOf(new Uint8Array(64)), key)).toEqual(new Uint8Array(64));
    expect(asked.length).toBe(before + 1);
    monotonic += 1;
    await proofOf(reportData);
    expect(asked.length).toBe(before + 2);
    expect(asked.at(-1)?.confirmation_key).not.toBe(request.confirmation_key);
  });

  test('the own report is looked at without asking anybody', async () => {
    const before = asked.length;
    await checkOwnReport(byUrl(), crypto.randomBytes);
    expect(asked.length).toBe(before);
    expect(hardwareOf(byUrl())).toBe(hardware);
  });

  test('what is no EAR, a refusal, a failure and silence are no result', async () => {
    answer = { status: 200, body: utf8('no EAR') };
    expect(await refusalOf(byUrl().evidence(reportData))).toMatch(/MALFORMED/);
    answer = { status: 403, body: jwt };
    expect(await refusalOf(byUrl().evidence(reportData))).toBe('UNAVAILABLE');
    answer = { status: 200, body: new Uint8Array((1 << 20) + 1) };
    expect(await refusalOf(byUrl().evidence(reportData))).toBe('UNAVAILABLE');
    answer = { status: 200, body: jwt };
    const failing = byProgram('echo "no such evidence" >&2; exit 3');
    expect(await refusalOf(failing.evidence(reportData))).toBe('UNAVAILABLE');
    const silent = byProgram('exec sleep 60', 100);
    expect(await refusalOf(silent.evidence(reportData))).toBe('UNAVAILABLE');
  });
});

describe('configuration', () => {
  const text = (ear: string) =>
    `key_server_address: k:7443\nconfig_document_file: c\ntsm: {configfs: /c}\ndeliver: {kind: file, path: k}\n${ear}`;
  const parse = (line: string) => parseAgentConfig(text(line), '/etc/cvmp');

  test('a program or a URL, with a deadline', () => {
    expect(parse('ear: {program: get-ear}').ear).toEqual({
      target: { kind: 'program', path: '/etc/cvmp/get-ear' },
      deadlineMs: 20_000,
      reuseMs: 0,
    });
    const config = parse(
      'ear: {url: "https://v.example/appraise", deadline_ms: 500, reuse_seconds: 60}',
    );
    expect(config.ear).toEqual({
      target: { kind: 'url', url: 'https://v.example/appraise' },
      deadlineMs: 500,
      reuseMs: 60_000,
    });
    expect(parseAgentConfig(printAgentConfig(config), '/').ear).toEqual(config.ear);
    expect(parse('').ear).toBeUndefined();
  });

  test.each([
    'ear: {}',
    'ear: {program: a, url: "https://b"}',
    'ear: {url: "file:///b"}',
    'ear: {program: a, more: b}',
  ])('%s is refused', (line) => {
    expect(() => parse(line)).toThrow(/ear/);
  });
});
